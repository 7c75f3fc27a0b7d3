import { expect, test } from "vitest";

import { fakeDocument } from "./fakeDom";

const made = fakeDocument();
const { Tabs } = await import("./tabs");

test("arrows go from tab to tab, but not where the browser has them for itself", () => {
  const shown: string[] = [];
  const tab = (id: string) => ({
    id,
    label: id,
    build: () => {
      shown.push(id);
      return { view: document.createElement("div"), stop: () => undefined };
    },
  });
  new Tabs(["a", "b", "c"].map(tab));
  const first = made.find((one) => one.listeners.has("keydown"));
  let taken = 0;
  const press = (key: string, held: object = {}): void => {
    first?.listeners.get("keydown")?.({ key, preventDefault: () => taken++, ...held });
  };
  for (const held of ["altKey", "ctrlKey", "metaKey", "shiftKey"]) press("ArrowLeft", { [held]: true });
  expect([shown, taken]).toEqual([["a"], 0]);
  press("ArrowLeft");
  expect([shown, taken]).toEqual([["a", "c"], 1]);
});
