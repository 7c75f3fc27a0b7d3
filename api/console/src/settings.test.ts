import { beforeAll, expect, test, vi } from "vitest";

import { fakeDocument, FakeElement } from "./fakeDom";
import type { Setting } from "./settings";

const CHOICES = { auto: "automatic", hls: "HLS" };
let made: FakeElement[];
let one: (choices: Record<string, string>) => Setting;

beforeAll(async () => {
  made = fakeDocument();
  vi.stubGlobal("HTMLInputElement", FakeElement);
  vi.stubGlobal("HTMLSelectElement", FakeElement);
  const settings = await import("./settings");
  one = (choices) => settings.one("recording_form", "recordingForm", "recordingFormHint", choices);
});

/** The setting with its select, and the option that stands for the default. */
function shown(): [Setting, FakeElement, FakeElement] {
  made.length = 0;
  const setting = one(CHOICES);
  const [byDefault] = made;
  const select = made.find((each) => each.children[0] === byDefault);
  if (byDefault === undefined || select === undefined) throw new Error("no select");
  return [setting, select, byDefault];
}

test("what was chosen is shown, and given back as the API calls it", () => {
  const [setting, select, byDefault] = shown();
  setting.fill("hls", "hls");
  expect([select.value, byDefault.textContent, setting.read()]).toEqual(["hls", "default", "hls"]);
  select.value = "auto";
  expect(setting.read()).toBe("auto");
});

test("nothing chosen is the default, which says what it is", () => {
  const [setting, select, byDefault] = shown();
  setting.fill(null, "auto");
  expect([select.value, byDefault.textContent, setting.read()]).toEqual(["", "default (automatic)", null]);
  setting.fill(null, "unheard-of");
  expect(byDefault.textContent).toBe("default (unheard-of)");
});
