import { expect, test } from "vitest";
import { clock, DAY_MS, dateText, recordedAt, within } from "./day";

const midnight = new Date("2026-03-01T16:00:00Z");

test("what lies across midnight is cut to the day", () => {
  expect(within("2026-03-01T15:59:00Z", "2026-03-01T16:01:00Z", midnight)).toEqual({ from: 0, to: 60_000 });
  expect(within("2026-03-02T15:59:00Z", "2026-03-02T16:01:00Z", midnight)).toEqual({
    from: DAY_MS - 60_000,
    to: DAY_MS,
  });
  expect(within("2026-03-02T16:00:00Z", "2026-03-02T16:01:00Z", midnight)).toBeNull();
});

test("a moment in a gap is the beginning of what comes next", () => {
  const spans = [
    { from: 1000, to: 2000 },
    { from: 5000, to: 6000 },
  ];
  expect([0, 1500, 2000, 4999, 5999, 6000].map((moment) => recordedAt(spans, moment))).toEqual([
    1000,
    1500,
    5000,
    5000,
    5999,
    null,
  ]);
});

test("moments and days as people read them", () => {
  expect([clock(0), clock(3_661_999), clock(DAY_MS)]).toEqual(["00:00:00", "01:01:01", "24:00:00"]);
  expect(dateText(new Date(2026, 2, 1), -1)).toBe("2026-02-28");
});
