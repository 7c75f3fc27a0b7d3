import { expect, test } from "vitest";

import { sayCause } from "./causes";

test("a cause that is known is said in the reader's language", () => {
  const refused = "cannot connect: Connection refused (os error 111)";
  expect(sayCause("connection_refused", refused, true)).toBe("对方拒绝连接");
  expect(sayCause("connection_refused", refused, false)).toBe("cannot connect: Connection refused");
  expect(sayCause("http_404", "the server answered 404 Not Found", true)).toBe("服务器返回 HTTP 404");
  expect(sayCause("rtsp_454", "Session Not Found", true)).toBe("服务器返回 RTSP 454");
});

test("what is not known keeps the words of the API", () => {
  expect(sayCause("brand_new", "of a later version", true)).toBe("of a later version");
  expect(sayCause("", "of an earlier version", true)).toBe("of an earlier version");
  expect(sayCause("toString", "no code", true)).toBe("no code");
});
