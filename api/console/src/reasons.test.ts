import { expect, test } from "vitest";

import { chineseReasons } from "./chineseReasons";
import { fieldOf, readReason, sayReason } from "./reasons";

test("a reason is read with its values", () => {
  expect(readReason("not_found?kind=record+plan&name=%E9%97%A8%26")).toEqual({
    code: "not_found",
    values: { kind: "record plan", name: "门&" },
  });
  expect(readReason("stream_name")).toEqual({ code: "stream_name", values: {} });
  expect([readReason(null), readReason("")]).toEqual([null, null]);
});

test("the field that is wrong is named without its part", () => {
  expect(fieldOf(readReason("invalid?field=forms%5B1%5D"))).toBe("forms");
  expect(fieldOf(readReason("plan_name"))).toBeNull();
});

test("a reason that is known is said in the reader's language", () => {
  const reason = readReason("url.characters?field=url&most=1024");
  expect(sayReason(reason, "url: at most 1024 characters", true)).toContain("最长 1024 个字符");
  expect(sayReason(reason, "url: at most 1024 characters", false)).toBe("url: at most 1024 characters");
  expect(sayReason(readReason("range?field=port&low=1&high=9"), "port: 1 to 9", true)).toBe(
    "port: 须在 1 至 9 之间。",
  );
  expect(sayReason(readReason("not_found?kind=stream&name=gate"), "no stream gate", true)).toBe(
    "没有名为 gate 的流。",
  );
  expect(sayReason(readReason("not_found?kind=barn&name=red"), "no barn red", true)).toContain("未找到 red");
});

test("what is not known keeps the words of the API", () => {
  expect(sayReason(readReason("brand_new?field=x"), "x: of a later version", true)).toBe(
    "未能完成：x: of a later version",
  );
  expect(sayReason(null, "502 Bad Gateway", true)).toContain("502 Bad Gateway");
});

test("no sentence has a place for a value that its reason does not bring", () => {
  const brought = new Set(["name", "total", "low", "high", "most", "least", "wait"]);
  for (const [code, said] of Object.entries(chineseReasons))
    for (const [, value] of said.matchAll(/\{(\w+)\}/g)) expect(brought, code).toContain(value);
});
