// Fields of a form whose value may be left to a default: numbers, yes or no, some of several. Each shows what the
// API said of it below itself.

import { element } from "./dom";
import type { Reason } from "./reasons";
import { text, type Word } from "./text";
import "./settings.css";

export interface Setting {
  /** As the API calls it. */
  readonly name: string;
  readonly view: HTMLElement;
  /** Shows what was chosen (null: nothing), and what counts. */
  fill(own: unknown, effective: unknown): void;
  /** What is chosen; null: the default. */
  read(): unknown;
  /** `why` is the reason as a code, if it is known. */
  complain(reason: string, why: Reason | null): void;
}

export interface Frame {
  readonly view: HTMLElement;
  complain(reason: string): void;
}

/** A control with its label before, its explanation and what is wrong with it below. */
export function frame(
  name: string,
  label: string,
  hint: string,
  control: HTMLElement,
  shown = control,
): Frame {
  const note = element("p", { class: "error", role: "alert", id: `${name}-error` });
  const explained = element("p", { class: "hint", id: `${name}-hint` }, hint);
  control.id = `${name}-field`;
  control.setAttribute("aria-describedby", `${name}-hint ${name}-error`);
  const one = control instanceof HTMLInputElement || control instanceof HTMLSelectElement;
  const labelled = one
    ? element("label", { class: "label", for: control.id }, label)
    : element("span", { class: "label", id: `${name}-label` }, label);
  if (!one) control.setAttribute("aria-labelledby", labelled.id);
  return {
    view: element(
      "div",
      { class: "setting", "data-setting": name },
      labelled,
      element("div", {}, shown, hint === "" ? null : explained, note),
    ),
    complain: (reason) => {
      note.textContent = reason;
      if (reason === "") control.removeAttribute("aria-invalid");
      else control.setAttribute("aria-invalid", "true");
    },
  };
}

/** What the API says of a number, in the units of the field. */
function limit(reason: string, why: Reason | null, unit: string, times: number): string {
  const { most, least } = why?.values ?? {};
  const shown = (value: string): string =>
    `${String(Number((Number(value) / times).toPrecision(6)))} ${unit}`.trim();
  if (why?.code === "whole_number") return text("wholeNumber");
  if (why?.code === "number") return text("aNumber");
  if (most !== undefined) return text("atMost", { value: shown(most) });
  if (least !== undefined) return text("atLeast", { value: shown(least) });
  return reason;
}

/** A number; empty, the default counts. The API has `times` as much of it: `unit` is what people think in. */
export function numeric(name: string, word: Word, hint: Word, unit: string, times = 1): Setting {
  const input = element("input", { type: "number", step: "any", inputmode: "decimal", name });
  const shown = element("span", { class: "measured" }, input, unit === "" ? null : ` ${unit}`);
  const people = (value: unknown): string =>
    typeof value === "number" ? String(Number((value / times).toPrecision(15))) : "";
  const framed = frame(name, text(word), text(hint), input, shown);
  return {
    name,
    view: framed.view,
    complain: (reason, why) => {
      framed.complain(reason === "" ? "" : limit(reason, why, unit, times));
    },
    fill: (own, effective) => {
      input.value = people(own);
      input.placeholder = own === null ? people(effective) : text("byDefault");
    },
    read: () => {
      if (input.validity.badInput) return input.value; // no number: the API says so
      return input.value === "" ? null : Number((Number(input.value) * times).toPrecision(15));
    },
  };
}

/** Yes, no, or as by default. */
export function either(name: string, word: Word, hint: Word): Setting {
  const byDefault = element("option", { value: "" }, text("byDefault"));
  const input = element(
    "select",
    { name },
    byDefault,
    element("option", { value: "true" }, text("on")),
    element("option", { value: "false" }, text("off")),
  );
  return {
    name,
    ...frame(name, text(word), text(hint), input),
    fill: (own, effective) => {
      input.value = typeof own === "boolean" ? String(own) : "";
      const now = own === null ? ` (${text(effective === true ? "on" : "off")})` : "";
      byDefault.textContent = text("byDefault") + now;
    },
    read: () => (input.value === "" ? null : input.value === "true"),
  };
}

/** One of `choices`, by what they are called; or as by default. */
export function one(name: string, word: Word, hint: Word, choices: Record<string, string>): Setting {
  const byDefault = element("option", { value: "" }, text("byDefault"));
  const options = Object.entries(choices).map(([value, label]) => element("option", { value }, label));
  const input = element("select", { name }, byDefault, ...options);
  return {
    name,
    ...frame(name, text(word), text(hint), input),
    fill: (own, effective) => {
      input.value = typeof own === "string" ? own : "";
      const now =
        own === null && typeof effective === "string" ? ` (${choices[effective] ?? effective})` : "";
      byDefault.textContent = text("byDefault") + now;
    },
    read: () => (input.value === "" ? null : input.value),
  };
}

/** Some of `choices`, by what they are called; or as by default. */
export function some(name: string, word: Word, hint: Word, choices: Record<string, string>): Setting {
  const check = (value: string, label: string): [HTMLInputElement, HTMLElement] => {
    const box = element("input", { type: "checkbox", name, value });
    return [box, element("label", {}, box, label)];
  };
  const [byDefault, first] = check("", text("byDefault"));
  const boxes = Object.entries(choices).map(([value, label]) => check(value, label));
  const input = element("fieldset", { class: "some" }, first, ...boxes.map(([, label]) => label));
  const follow = (): void => {
    for (const [box] of boxes) box.disabled = byDefault.checked;
  };
  byDefault.addEventListener("change", follow);
  byDefault.checked = true; // until it is filled, nothing is chosen
  follow();
  return {
    name,
    ...frame(name, text(word), text(hint), input),
    fill: (own, effective) => {
      byDefault.checked = own === null;
      for (const [box] of boxes) box.checked = Array.isArray(effective) && effective.includes(box.value);
      follow();
    },
    read: () => (byDefault.checked ? null : boxes.flatMap(([box]) => (box.checked ? [box.value] : []))),
  };
}
