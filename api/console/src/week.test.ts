import { expect, test } from "vitest";

import { ALWAYS, cover, EMPTY, fromTimes, painted, read, spanOf, toTimes, written } from "./week";

test("what is typed is read to the minute, in the ways that people write it", () => {
  expect(read("8-12:30, 14:00–18:00")).toEqual([
    { from: 480, to: 750 },
    { from: 840, to: 1080 },
  ]);
  expect(read("20：15～24：00")).toEqual([{ from: 1215, to: 1440 }]);
  expect(read(" ")).toEqual([]);
  expect(read("10:00-11:00; 10:30 - 12")).toEqual([{ from: 600, to: 720 }]);
});

test("what is no range is not guessed at", () => {
  for (const typed of ["8", "12-8", "8-8", "8-25", "8:60-9", "8-9-10", "noon-13", "23:30-24:01"])
    expect(read(typed), typed).toBeNull();
});

test("painting adds and takes away whole hours, and leaves minutes elsewhere alone", () => {
  const typed = EMPTY.map((ranges, day) => (day === 1 ? (read("8:15-9:30") ?? []) : ranges));
  const more = painted(typed, { day: 2, hour: 10 }, { day: 1, hour: 9 }, true);
  expect(more.map(written)).toEqual(["", "08:15–11:00", "09:00–11:00", "", "", "", ""]);
  const less = painted(more, { day: 1, hour: 9 }, { day: 1, hour: 9 }, false);
  expect(written(less[1] ?? [])).toBe("08:15–09:00, 10:00–11:00");
});

test("an hour knows whether it is wanted", () => {
  const ranges = read("8:15-10") ?? [];
  expect([7, 8, 9].map((hour) => cover(ranges, spanOf({ day: 0, hour })))).toEqual(["none", "some", "all"]);
});

test("the API's times are the week and back", () => {
  const times = [
    { days: ["MON", "TUE"], start: "20:15", end: "24:00" },
    { days: ["TUE"], start: "00:00", end: "06:30" },
  ];
  const week = fromTimes(times);
  expect(week.map(written)).toEqual(["20:15–24:00", "00:00–06:30, 20:15–24:00", "", "", "", "", ""]);
  expect(fromTimes(toTimes(week))).toEqual(week);
  expect(toTimes(ALWAYS)).toEqual([
    { days: ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"], start: "00:00", end: "24:00" },
  ]);
});
