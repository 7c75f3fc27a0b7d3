import { expect, test } from "vitest";

import { refusal } from "./refusals";

const NAMES = ["hls_segment", "hls_segments", "forms", "week"];

test("each field gets its own reason", () => {
  const { fields, rest } = refusal("hls_segment: 0.5 to 10; forms[1]: Invalid enum value", NAMES);
  expect(rest).toBe("");
  expect([...fields]).toEqual([
    ["hls_segment", "0.5 to 10"],
    ["forms", "Invalid enum value"],
  ]);
});

test("a name that begins like another is told from it, and a reason keeps its semicolons", () => {
  expect([...refusal("hls_segments: 3 to 30", NAMES).fields]).toEqual([["hls_segments", "3 to 30"]]);
  expect([...refusal("week: it ends on its day; over midnight there are two", NAMES).fields]).toEqual([
    ["week", "it ends on its day; over midnight there are two"],
  ]);
});

test("what names no field stays whole", () => {
  expect(refusal("the stream is being deleted; try later", NAMES)).toEqual({
    fields: new Map(),
    rest: "the stream is being deleted; try later",
  });
});
