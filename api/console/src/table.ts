// Small tables, lines that are filled in, and lists that keep themselves fresh while they are seen.

import { button, element, once } from "./dom";
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
  const send = element("button", { type: "submit" }, label);
  const form = element("form", { class: "line" }, ...fields, send, note);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(send, async () => {
      const values: Record<string, string> = {};
      for (const [name, value] of new FormData(form))
        if (typeof value === "string") values[name] = value.trim();
      note.textContent = "";
      try {
        await submit(values);
        form.reset();
      } catch (error) {
        note.textContent = reasonOf(error);
      }
    });
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
/** What somebody did takes effect within a moment: so often it is looked after it at the usual pace. */
const LOOKS_AFTER = 4;

/** Draws what `load` brings, again and again, until it is stopped. Errors are shown above what was there. */
export class Fresh {
  readonly view = element("div", { class: "fresh" });
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly body = element("div", {});
  private timer = 0;
  private stopped = false;
  private drawn = "";
  private latest = 0;
  private looks = 0;
  private acting = false;

  /** `period`: milliseconds from one look to the next while nobody does anything. */
  constructor(
    private readonly load: () => Promise<HTMLElement>,
    private readonly period = REFRESH_MS,
  ) {
    this.view.append(this.note, this.body);
    void this.look();
  }

  /** Looks at once, for something was changed, and for a while more often. */
  async refresh(): Promise<void> {
    this.looks = LOOKS_AFTER;
    await this.look();
  }

  /** Beside what is drawn, `complaint` is shown. */
  private async look(complaint = ""): Promise<void> {
    window.clearTimeout(this.timer);
    if (this.stopped) return;
    const number = ++this.latest;
    let drawn: HTMLElement | null = null;
    let said = complaint;
    try {
      drawn = await this.load();
    } catch (error) {
      said ||= reasonOf(error);
    }
    if (number !== this.latest) return; // something was done since: what was told then is old
    if (drawn !== null) this.show(drawn);
    this.note.textContent = said;
    const period = this.looks > 0 ? Math.min(REFRESH_MS, this.period) : this.period;
    this.looks = Math.max(0, this.looks - 1);
    this.timer = window.setTimeout(() => void this.look(), period);
  }

  /** What somebody points at stays under the pointer: nothing is drawn anew that did not change. */
  private show(drawn: HTMLElement): void {
    const html = drawn.outerHTML;
    if (html !== this.drawn) this.replace(drawn);
    this.drawn = html;
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
      // One at a time, until the list is drawn anew: some rows are called by their number, which the work may change.
      if (this.acting) return;
      this.acting = true;
      once(made, () =>
        this.perform(work).finally(() => {
          this.acting = false;
        }),
      );
    });
    made.dataset["key"] = String(key);
    return made;
  }

  private async perform(work: () => Promise<void>): Promise<void> {
    window.clearTimeout(this.timer);
    this.latest++; // what is on its way was told before
    let complaint = "";
    try {
      await work();
    } catch (error) {
      complaint = reasonOf(error);
      this.note.textContent = complaint;
    }
    this.looks = LOOKS_AFTER;
    await this.look(complaint);
  }

  stop(): void {
    this.stopped = true;
    this.latest++;
    window.clearTimeout(this.timer);
  }
}
