import { expect, test } from "vitest";
import type { Finding } from "./api";
import { say } from "./findings";

const refused: Finding = {
  step: "invitation",
  verdict: "error",
  code: "refused",
  values: { status: "486", detail: "Busy Here", hint: "It is busy." },
  text: "The device refused the INVITE with 486 Busy Here.",
  advice: "It is busy.",
};

test("English is what the gateway says", () => {
  expect(say(refused, false)).toEqual({ text: refused.text, advice: refused.advice });
});

test("Chinese is filled from the values, with a hint of its own for each status", () => {
  expect(say(refused, true).text).toBe("设备以 486 Busy Here 拒绝了 INVITE。");
  expect(say(refused, true).advice).toContain("设备忙");
  expect(say({ ...refused, values: { ...refused.values, status: "699" } }, true).advice).toContain(
    "SIP 跟踪",
  );
});

test("what this page does not know yet is said in English", () => {
  expect(say({ ...refused, code: "from_the_future" }, true).text).toBe(refused.text);
});
