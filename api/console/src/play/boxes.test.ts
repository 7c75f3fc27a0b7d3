import { expect, test } from "vitest";
import { codecsOf } from "./boxes";

function box(kind: string, ...bodies: number[][]): number[] {
  const body = bodies.flat();
  const size = body.length + 8;
  const bytes = [size >>> 24, (size >>> 16) & 255, (size >>> 8) & 255, size & 255];
  return [...bytes, ...Array.from(kind, (letter) => letter.charCodeAt(0)), ...body];
}

function track(...entry: number[]): number[] {
  const table = box("stsd", [0, 0, 0, 0, 0, 0, 0, 1], entry);
  return box("trak", box("mdia", box("minf", box("stbl", table))));
}

const fixed = Array<number>(78).fill(0);
const avc = track(...box("avc1", fixed, box("avcC", [1, 0x64, 0x00, 0x1f])));
const hevc = track(...box("hvc1", fixed, box("hvcC", [1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93])));
const aac = track(...box("mp4a", Array<number>(28).fill(0)));

test.each([
  [[...avc, ...aac], "avc1.64001f,mp4a.40.2"],
  [hevc, "hvc1.1.6.L93.B0"],
  [track(...box("Opus", Array<number>(28).fill(0))), "opus"],
])("the codings of an initialisation segment", (tracks, codecs) => {
  expect(codecsOf(new Uint8Array([...box("ftyp", [0, 0, 0, 0]), ...box("moov", tracks)]).buffer)).toBe(
    codecs,
  );
});

test("whatever is cut off or broken shows nothing, and does not throw", () => {
  const whole = box("moov", avc);
  for (let length = 0; length < whole.length; length++)
    expect(codecsOf(new Uint8Array(whole.slice(0, length)).buffer)).toBeNull();
  const cut = track(...box("avc1", fixed, box("avcC", [1])));
  expect(codecsOf(new Uint8Array(box("moov", cut)).buffer)).toBeNull();
});
