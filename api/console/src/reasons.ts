// Why the API refused, in the reader's language: it tells that in English, and as a code with values to say it in others.

import { chineseReasons } from "./chineseReasons";

export interface Reason {
  readonly code: string;
  readonly values: Readonly<Record<string, string>>;
}

/** `url.private?field=url`, as the header has it; null where it says nothing. */
export function readReason(header: string | null): Reason | null {
  if (header === null || header === "") return null;
  const at = header.indexOf("?");
  const [code, query] = at < 0 ? [header, ""] : [header.slice(0, at), header.slice(at + 1)];
  return { code, values: Object.fromEntries(new URLSearchParams(query)) };
}

/** The field that is wrong, as the API calls it: without what part of it. */
export function fieldOf(reason: Reason | null): string | null {
  return reason?.values["field"]?.replace(/[.[].*$/, "") ?? null;
}

/** What is wrong; `english` is what the API said, and what is shown where nothing is known in Chinese. */
export function sayReason(reason: Reason | null, english: string, inChinese: boolean): string {
  if (!inChinese) return english;
  const known = reason === null ? undefined : sentence(reason);
  return known ?? `未能完成：${english}`;
}

/** Of the thing itself, where it is told: `not_found.stream` before `not_found`. What could be said of any field names it. */
function sentence({ code, values }: Reason): string | undefined {
  const of = values["kind"] ?? values["resource"];
  const template = (of === undefined ? undefined : chineseReasons[`${code}.${of}`]) ?? chineseReasons[code];
  const field = values["field"];
  const named = field === undefined || code.includes(".") ? "" : `${field}: `;
  return template === undefined ? undefined : named + fill(template, values);
}

function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}
