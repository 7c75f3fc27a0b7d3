// What the API refused, told apart by the field it names: "gop_bytes_max: 0 to 10; forms[0]: …". No page.

import type { Reason } from "./reasons";

/** What was thrown, as far as it matters here. */
export interface Complaint {
  readonly message: string;
  /** The one field that is wrong, if the API names it apart from the message. */
  readonly field: string | null;
  readonly reason: Reason | null;
}

export const NO_COMPLAINT: Complaint = { message: "", field: null, reason: null };

export interface Refusal {
  /** By the field's name in the API. */
  readonly fields: ReadonlyMap<string, string>;
  /** Why, where that is known by more than words. */
  readonly reason: Reason | null;
  /** What belongs to none of the fields. */
  readonly rest: string;
}

/** A reason may hold semicolons itself, so a part begins only where one of `names` does. */
export function refusal({ message, field, reason }: Complaint, names: readonly string[]): Refusal {
  if (field !== null && names.includes(field)) {
    const own = message.replace(new RegExp(`^${field}(?:[.[][^: ]*)?: `), "");
    return { fields: new Map([[field, own]]), rest: "", reason };
  }
  const start = new RegExp(`(?:^|; )(${names.join("|")})(?:[.[][^: ]*)?: `, "g");
  const found = [...message.matchAll(start)];
  const first = found[0];
  if (first === undefined) return { fields: new Map(), rest: message, reason };
  const fields = new Map<string, string>();
  found.forEach((part, at) => {
    const said = message.slice(part.index + part[0].length, found[at + 1]?.index);
    const [, name = ""] = part;
    fields.set(name, [fields.get(name), said].filter(Boolean).join("; "));
  });
  return { fields, rest: message.slice(0, first.index), reason };
}
