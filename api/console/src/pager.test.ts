import { expect, test } from "vitest";

import { fakeDocument } from "./fakeDom";

fakeDocument();
const { Pager } = await import("./pager");

test("a page that is no more gives way to the last one that there is", () => {
  let turned = 0;
  const pager = new Pager(50, () => turned++);
  pager.offset = 100;
  pager.draw(101);
  expect([pager.offset, turned]).toEqual([100, 0]);
  pager.draw(100);
  expect([pager.offset, turned]).toEqual([50, 1]);
  pager.draw(100);
  expect([pager.offset, turned]).toEqual([50, 1]);
  pager.draw(3);
  expect([pager.offset, turned]).toEqual([0, 2]);
});

test("where nothing is left, the first page is, and nothing is asked again", () => {
  let turned = 0;
  const pager = new Pager(50, () => turned++);
  pager.draw(0);
  pager.offset = 50;
  pager.draw(0);
  expect([pager.offset, turned]).toEqual([0, 0]);
});
