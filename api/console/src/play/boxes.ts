// What an initialisation segment says of its codings, as Media Source Extensions want to hear it (RFC 6381).

const CONTAINERS = new Set(["moov", "trak", "mdia", "minf", "stbl"]);

interface Box {
  kind: string;
  body: DataView;
}

function* boxes(data: DataView): Generator<Box> {
  let at = 0;
  while (at + 8 <= data.byteLength) {
    const size = data.getUint32(at);
    if (size < 8 || at + size > data.byteLength) return;
    const kind = String.fromCharCode(...new Uint8Array(data.buffer, data.byteOffset + at + 4, 4));
    yield { kind, body: new DataView(data.buffer, data.byteOffset + at + 8, size - 8) };
    at += size;
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(2, "0");
}

function part(data: DataView, from: number): DataView {
  const at = Math.min(from, data.byteLength);
  return new DataView(data.buffer, data.byteOffset + at, data.byteLength - at);
}

/** The compatibility flags are told with their bits turned round. */
function turned(value: number): number {
  let result = 0;
  for (let bit = 0; bit < 32; bit++) if ((value >>> bit) & 1) result |= 1 << (31 - bit);
  return result >>> 0;
}

function h265(kind: string, record: DataView): string {
  const [first, flags, level] = [record.getUint8(1), record.getUint32(2), record.getUint8(12)];
  const space = ["", "A", "B", "C"][first >> 6] ?? "";
  const constraints: number[] = [];
  for (let at = 6; at < 12; at++) constraints.push(record.getUint8(at));
  while (constraints.length > 0 && constraints.at(-1) === 0) constraints.pop();
  const tier = (first >> 5) & 1 ? "H" : "L";
  const tail = constraints.map((byte) => `.${byte.toString(16).toUpperCase()}`).join("");
  return `${kind}.${space}${String(first & 31)}.${turned(flags).toString(16).toUpperCase()}.${tier}${String(level)}${tail}`;
}

function coding({ kind, body }: Box): string | null {
  const inner = (skip: number, wanted: string): DataView | null => {
    for (const box of boxes(part(body, skip))) if (box.kind === wanted) return box.body;
    return null;
  };
  if (kind === "avc1") {
    const record = inner(78, "avcC");
    return record === null ? null : `avc1.${[1, 2, 3].map((at) => hex(record.getUint8(at))).join("")}`;
  }
  if (kind === "hvc1" || kind === "hev1") {
    const record = inner(78, "hvcC");
    return record === null ? null : h265(kind, record);
  }
  if (kind === "mp4a") return "mp4a.40.2";
  return kind === "Opus" ? "opus" : null;
}

/** The codings of all tracks, or null if the segment shows none. Never throws: what cannot be read is not there. */
export function codecsOf(segment: ArrayBuffer): string | null {
  const found: string[] = [];
  const look = (data: DataView): void => {
    for (const box of boxes(data)) {
      if (CONTAINERS.has(box.kind)) look(box.body);
      else if (box.kind === "stsd")
        for (const entry of boxes(part(box.body, 8))) {
          const name = coding(entry);
          if (name !== null) found.push(name);
        }
    }
  };
  try {
    look(new DataView(segment));
  } catch {
    return null;
  }
  return found.length === 0 ? null : found.join(",");
}
