import { expect, test } from "vitest";
import { bitRate, describe, viewerCount } from "./format";

const figures = {
  video_codec: "H264",
  width: 1280,
  height: 720,
  fps: 24.96,
  audio_codec: "PCMA",
  without_sound: [],
  rate_in_bps: 4_096_000,
  received: 4511,
  expected: 4512,
  viewers: { "http-flv": 2, hls: 1 },
};

test("rates have the unit that fits", () => {
  expect([bitRate(12), bitRate(64_000), bitRate(4_096_000)]).toEqual(["12 bit/s", "64 kbit/s", "4.1 Mbit/s"]);
});

test("a stream in one line", () => {
  expect(describe(figures)).toBe("H264 1280×720 · 25.0 fps · PCMA · 4.1 Mbit/s · 4511/4512");
  expect(describe({ ...figures, video_codec: null, expected: 0 })).toBe("PCMA · 4.1 Mbit/s");
});

test("viewers of all protocols count", () => {
  expect(viewerCount(figures)).toBe(3);
});
