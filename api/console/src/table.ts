// Small tables, lines that are filled in, and lists that keep themselves fresh while they are seen.

import { button, element } from "./dom";
import { reasonOf } from "./play/form";
import { text } from "./text";

export type Cell = Node | string;

export function table(headings: readonly string[], rows: readonly (readonly Cell[])[]): HTMLElement {
  if (rows.length === 0) return element("p", { class: "note" }, text("nothing"));
  const head = element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)));
  const cells = (row: readonly Cell[]): HTMLElement[] =>
    row.map((cell, at) => element("td", { "data-heading": headings[at] ?? "" }, cell));
  const lines = rows.map((row) => element("tr", {}, ...cells(row)));
  return element(
    "div",
    { class: "table" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)),
  );
}

/** A line of fields with a button; `submit` gets the values. It is emptied when that went well. */
export function line(
  fields: readonly HTMLElement[],
  label: string,
  submit: (values: Record<string, string>) => Promise<void>,
): HTMLElement {
  const note = element("p", { class: "error", role: "alert" });
  const form = element(
    "form",
    { class: "line" },
    ...fields,
    element("button", { type: "submit" }, label),
    note,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values: Record<string, string> = {};
    for (const [name, value] of new FormData(form))
      if (typeof value === "string") values[name] = value.trim();
    note.textContent = "";
    submit(values).then(
      () => {
        form.reset();
      },
      (error: unknown) => (note.textContent = reasonOf(error)),
    );
  });
  return form;
}

export function field(
  name: string,
  placeholder: string,
  more: Record<string, string> = {},
): HTMLInputElement {
  return element("input", { name, placeholder, "aria-label": placeholder, required: "", ...more });
}

export function select(name: string, label: string, options: Record<string, string>): HTMLSelectElement {
  const choices = Object.entries(options).map(([value, shown]) => element("option", { value }, shown));
  return element("select", { name, "aria-label": label }, ...choices);
}

const REFRESH_MS = 2000;

/** Draws what `load` brings, again and again, until it is stopped. Errors are shown above what was there. */
export class Fresh {
  readonly view = element("div", { class: "fresh" });
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly body = element("div", {});
  private timer = 0;
  private stopped = false;
  private drawn = "";

  constructor(private readonly load: () => Promise<HTMLElement>) {
    this.view.append(this.note, this.body);
    void this.refresh();
  }

  async refresh(): Promise<void> {
    window.clearTimeout(this.timer);
    try {
      const drawn = await this.load();
      // What somebody points at stays under the pointer: nothing is drawn anew that did not change.
      const html = drawn.outerHTML;
      if (html !== this.drawn) this.replace(drawn);
      this.drawn = html;
      this.note.textContent = "";
    } catch (error) {
      this.note.textContent = reasonOf(error);
    }
    window.clearTimeout(this.timer);
    if (!this.stopped) this.timer = window.setTimeout(() => void this.refresh(), REFRESH_MS);
  }

  /** The button that the keyboard was at stays the one that it is at. */
  private replace(drawn: HTMLElement): void {
    const at = document.activeElement;
    const held = at instanceof HTMLButtonElement && this.body.contains(at) ? at : null;
    this.body.replaceChildren(drawn);
    if (held === null) return;
    const same = [...drawn.querySelectorAll("button")].find(
      (one) => one.dataset["key"] === held.dataset["key"] && one.textContent === held.textContent,
    );
    same?.focus({ preventScroll: true });
  }

  /** A button that does something to the thing called `key`, and shows what became of it. */
  act(label: string, key: string | number, work: () => Promise<void>): HTMLButtonElement {
    const made = button(label, () => {
      work().then(
        () => this.refresh(),
        (error: unknown) => (this.note.textContent = reasonOf(error)),
      );
    });
    made.dataset["key"] = String(key);
    return made;
  }

  stop(): void {
    this.stopped = true;
    window.clearTimeout(this.timer);
  }
}
