import { expect, test } from "vitest";

import { refusal, type Complaint } from "./refusals";

const NAMES = ["hls_segment", "hls_segments", "forms", "week"];

function said(message: string, field: string | null = null): Complaint {
  return { message, field, reason: null };
}

test("each field gets its own reason", () => {
  const { fields, rest } = refusal(said("hls_segment: 0.5 to 10; forms[1]: Invalid enum value"), NAMES);
  expect(rest).toBe("");
  expect([...fields]).toEqual([
    ["hls_segment", "0.5 to 10"],
    ["forms", "Invalid enum value"],
  ]);
});

test("a name that begins like another is told from it, and a reason keeps its semicolons", () => {
  expect([...refusal(said("hls_segments: 3 to 30"), NAMES).fields]).toEqual([["hls_segments", "3 to 30"]]);
  expect([...refusal(said("week: it ends on its day; over midnight there are two"), NAMES).fields]).toEqual([
    ["week", "it ends on its day; over midnight there are two"],
  ]);
});

test("what names no field stays whole", () => {
  expect(refusal(said("the stream is being deleted; try later"), NAMES)).toEqual({
    fields: new Map(),
    rest: "the stream is being deleted; try later",
    reason: null,
  });
});

test("a field that is named apart from the words gets them, if it is here", () => {
  expect([...refusal(said("forms: 须为整数。", "forms"), NAMES).fields]).toEqual([["forms", "须为整数。"]]);
  expect(refusal(said("须为整数。", "elsewhere"), NAMES).rest).toBe("须为整数。");
});
