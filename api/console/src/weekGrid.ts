// A week as days by hours: painted with the pointer or the keyboard, or typed to the minute beside each day.

import { button, element } from "./dom";
import { text } from "./text";
import {
  cover,
  DAY_MINUTES,
  DAYS,
  EMPTY,
  painted,
  read,
  spanOf,
  written,
  type Hour,
  type Range,
  type Week,
} from "./week";
import "./weekGrid.css";

const HOURS = 24;
const MOVES: Record<string, readonly [day: number, hour: number]> = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
};

function pieces(ranges: readonly Range[]): HTMLElement[] {
  return ranges.map((one) => {
    const made = element("span", { class: "wanted", "aria-hidden": "true" });
    made.style.left = `${String((100 * one.from) / DAY_MINUTES)}%`;
    made.style.width = `${String((100 * (one.to - one.from)) / DAY_MINUTES)}%`;
    return made;
  });
}

/** The week at a glance. */
export function weekPicture(week: Week): HTMLElement {
  const told = week.map((ranges, day) => `${text(DAYS[day] ?? "MON")} ${written(ranges) || "–"}`).join("\n");
  return element(
    "div",
    { class: "weekPicture", role: "img", "aria-label": told, title: told },
    ...week.map((ranges) => element("div", { class: "bar" }, ...pieces(ranges))),
  );
}

interface Row {
  readonly layer: HTMLElement;
  readonly cells: readonly HTMLElement[];
  readonly typed: HTMLInputElement;
  readonly note: HTMLElement;
}

export class WeekGrid {
  readonly view = element("div", { class: "week", role: "grid", "aria-label": text("week") });
  private readonly rows: readonly Row[] = DAYS.map((_, day) => this.row(day));
  private shown: Week = EMPTY;
  private at: Hour = { day: 0, hour: 8 };
  /** While it is painted: where that began, what was there before, and whether hours are added or taken away. */
  private stroke: { from: Hour; before: Week; wanted: boolean } | null = null;

  constructor() {
    this.view.prepend(this.scale());
    this.view.addEventListener("pointermove", (event) => {
      this.drag(event);
    });
    const end = (): void => {
      this.stroke = null;
    };
    this.view.addEventListener("pointerup", end);
    this.view.addEventListener("pointercancel", () => {
      if (this.stroke !== null) this.set(this.stroke.before); // the browser scrolls instead
      end();
    });
    this.rows.forEach((_, day) => {
      this.drawBar(day);
    });
  }

  /** Null while something that was typed cannot be read. */
  get week(): Week | null {
    return this.rows.every((row) => row.note.textContent === "") ? this.shown : null;
  }

  set(week: Week): void {
    const before = this.shown;
    this.shown = week;
    week.forEach((ranges, day) => {
      if (ranges === before[day]) return; // what is wrong there stays until it is mended
      this.drawBar(day);
      this.write(day);
    });
  }

  /** To what must be mended. */
  focusWrong(): void {
    this.rows.find((row) => row.note.textContent !== "")?.typed.focus();
  }

  private scale(): HTMLElement {
    const hours = [0, 6, 12, 18, 24].map((hour) => element("span", {}, String(hour)));
    return element("div", { class: "scale", "aria-hidden": "true" }, ...hours);
  }

  private row(day: number): Row {
    const name = text(DAYS[day] ?? "MON");
    const layer = element("div", { class: "layer" });
    const cells = Array.from({ length: HOURS }, (_, hour) => this.cell({ day, hour }, name));
    const bar = element("div", { class: "bar", role: "presentation" }, layer, ...cells);
    const note = element("p", { class: "error", role: "alert", id: `week-${String(day)}-error` });
    const typed = element("input", {
      "aria-label": text("timesOf", { day: name }),
      "aria-describedby": note.id,
      placeholder: text("noTimes"),
      name: DAYS[day] ?? "",
      autocomplete: "off",
    });
    typed.addEventListener("input", () => {
      this.type(day, typed.value);
    });
    typed.addEventListener("change", () => {
      if (read(typed.value) !== null) this.write(day);
    });
    const copy = button("⇊", () => {
      const ranges = this.shown[day] ?? [];
      this.set(this.shown.map(() => ranges));
    });
    copy.title = text("toAllDays", { day: name });
    copy.setAttribute("aria-label", copy.title);
    this.view.append(
      element(
        "div",
        { class: "day", role: "row" },
        element("span", { class: "name", role: "rowheader" }, name),
        bar,
        element("div", { class: "typed", role: "gridcell" }, typed, copy),
        note,
      ),
    );
    return { layer, cells, typed, note };
  }

  private cell(at: Hour, name: string): HTMLElement {
    const { from, to } = spanOf(at);
    const label = `${name} ${written([{ from, to }])}`;
    const made = element("span", { class: "hour", role: "gridcell", "aria-label": label, title: label });
    made.dataset["day"] = String(at.day);
    made.dataset["hour"] = String(at.hour);
    made.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      made.releasePointerCapture(event.pointerId); // a finger would keep all moves to the first cell
      this.focus(at);
      this.stroke = { from: at, before: this.shown, wanted: this.lacks(at) };
      this.paint(at);
    });
    made.addEventListener("keydown", (event) => {
      this.key(event, at);
    });
    return made;
  }

  private lacks({ day, hour }: Hour): boolean {
    return cover(this.shown[day] ?? [], spanOf({ day, hour })) !== "all";
  }

  private drag(event: PointerEvent): void {
    if (this.stroke === null) return;
    if (event.buttons === 0) {
      this.stroke = null; // it was let go outside
      return;
    }
    const under = document.elementFromPoint(event.clientX, event.clientY);
    if (!(under instanceof HTMLElement) || !this.view.contains(under)) return;
    const { day, hour } = under.dataset;
    if (day !== undefined && hour !== undefined) this.paint({ day: Number(day), hour: Number(hour) });
  }

  private paint(to: Hour): void {
    if (this.stroke === null) return;
    const { before, from, wanted } = this.stroke;
    this.set(painted(before, from, to, wanted));
  }

  /** Arrows go from hour to hour, with Shift they paint as the hour that they leave is; Space and Enter turn it over. */
  private key(event: KeyboardEvent, at: Hour): void {
    if (event.key === " " || event.key === "Enter") {
      this.set(painted(this.shown, at, at, this.lacks(at)));
    } else {
      const [days, hours] = MOVES[event.key] ?? [];
      const ends: Record<string, number> = { Home: 0, End: HOURS - 1 };
      const end = ends[event.key];
      if (days === undefined && end === undefined) return;
      const to = {
        day: Math.min(Math.max(at.day + (days ?? 0), 0), DAYS.length - 1),
        hour: end ?? Math.min(Math.max(at.hour + (hours ?? 0), 0), HOURS - 1),
      };
      if (event.shiftKey) this.set(painted(this.shown, at, to, !this.lacks(at)));
      this.focus(to);
    }
    event.preventDefault();
  }

  private focus(at: Hour): void {
    const before = this.at;
    this.at = at;
    this.drawBar(before.day);
    this.drawBar(at.day);
    this.rows[at.day]?.cells[at.hour]?.focus();
  }

  private type(day: number, typed: string): void {
    const ranges = read(typed);
    this.complain(day, ranges === null ? text("badTimes") : "");
    if (ranges === null) return;
    this.shown = this.shown.map((one, other) => (other === day ? ranges : one));
    this.drawBar(day);
  }

  private complain(day: number, reason: string): void {
    const row = this.rows[day];
    if (row === undefined) return;
    row.note.textContent = reason;
    if (reason === "") row.typed.removeAttribute("aria-invalid");
    else row.typed.setAttribute("aria-invalid", "true");
  }

  /** What was typed, as it was understood. */
  private write(day: number): void {
    const row = this.rows[day];
    if (row !== undefined) row.typed.value = written(this.shown[day] ?? []);
    this.complain(day, "");
  }

  private drawBar(day: number): void {
    const row = this.rows[day];
    const ranges = this.shown[day] ?? [];
    row?.layer.replaceChildren(...pieces(ranges));
    row?.cells.forEach((cell, hour) => {
      cell.setAttribute("aria-selected", String(cover(ranges, spanOf({ day, hour })) === "all"));
      cell.tabIndex = this.at.day === day && this.at.hour === hour ? 0 : -1;
    });
  }
}
