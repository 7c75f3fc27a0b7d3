// Words in the language that its user reads: of two, the one that the browser prefers.

import { chinese } from "./chinese";
import { english } from "./english";

export type Word = keyof typeof english;

export const chineseReader = navigator.language.toLowerCase().startsWith("zh");

const dictionary = chineseReader ? chinese : english;

export function text(word: Word, values: Record<string, string> = {}): string {
  return dictionary[word].replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}

export function statusText(status: string): string {
  return status in dictionary ? dictionary[status as Word] : status;
}
