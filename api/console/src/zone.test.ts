import { expect, test } from "vitest";

import { browserZone, dayBeside, dayIn, fixedZone } from "./zone";

const WINTER = new Date("2026-01-10T20:00:00Z");
const SUMMER = new Date("2026-07-10T20:00:00Z");

test("retentions are told whole hours from UTC, as they are at that moment", () => {
  expect(fixedZone("GMT-03:00", WINTER)).toBe("GMT-03:00");
  expect(fixedZone("GMT", WINTER)).toBe("GMT+00:00");
  expect(fixedZone("UTC", WINTER)).toBe("GMT+00:00");
  expect(fixedZone("Asia/Shanghai", WINTER)).toBe("GMT+08:00");
  expect(fixedZone("Europe/Berlin", WINTER)).toBe("GMT+01:00");
  expect(fixedZone("Europe/Berlin", SUMMER)).toBe("GMT+02:00");
  expect(fixedZone("America/New_York", SUMMER)).toBe("GMT-04:00");
});

test("browsers are told what they know", () => {
  expect(["GMT", "GMT+08:00", "Asia/Shanghai"].map(browserZone)).toEqual(["GMT", "+08:00", "Asia/Shanghai"]);
});

test("a day is that of the zone", () => {
  expect(dayIn("GMT+08:00", WINTER)).toBe("2026-01-11");
  expect(dayIn("Asia/Shanghai", WINTER)).toBe("2026-01-11");
  expect(dayIn("GMT+03:00", WINTER)).toBe("2026-01-10");
  expect(dayIn("GMT", WINTER)).toBe("2026-01-10");
  expect(dayIn("GMT-12:00", new Date("2026-01-10T11:59:00Z"))).toBe("2026-01-09");
});

test("where a day began tells which day it is there", () => {
  const midnight = "2026-01-09T16:00:00Z"; // of the 10th, in GMT+08:00
  expect(dayBeside("2026-01-10", midnight, new Date("2026-01-09T15:59:59Z"))).toBe("2026-01-09");
  expect(dayBeside("2026-01-10", midnight, new Date("2026-01-09T16:00:00Z"))).toBe("2026-01-10");
  expect(dayBeside("2026-01-10", midnight, new Date("2026-01-10T15:59:59Z"))).toBe("2026-01-10");
  expect(dayBeside("2026-01-10", midnight, WINTER)).toBe("2026-01-11");
});
