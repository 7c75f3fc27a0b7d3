// What the API refused, told apart by the field it names: "gop_bytes_max: 0 to 10; forms[0]: …". No page.

export interface Refusal {
  /** By the field's name in the API. */
  readonly fields: ReadonlyMap<string, string>;
  /** What belongs to none of the fields. */
  readonly rest: string;
}

/** A reason may hold semicolons itself, so a part begins only where one of `names` does. */
export function refusal(message: string, names: readonly string[]): Refusal {
  const start = new RegExp(`(?:^|; )(${names.join("|")})(?:[.[][^: ]*)?: `, "g");
  const found = [...message.matchAll(start)];
  const first = found[0];
  if (first === undefined) return { fields: new Map(), rest: message };
  const fields = new Map<string, string>();
  found.forEach((part, at) => {
    const said = message.slice(part.index + part[0].length, found[at + 1]?.index);
    const [, name = ""] = part;
    fields.set(name, [fields.get(name), said].filter(Boolean).join("; "));
  });
  return { fields, rest: message.slice(0, first.index) };
}
