// A day as a bar: what was recorded, what is missing, where the playback stands. A click chooses a moment.

import { clock, DAY_MS, type Span } from "./day";
import { element } from "./dom";
import { text } from "./text";
import "./timeline.css";

function piece({ from, to }: Span, kind: string, title: string): HTMLElement {
  const made = element("span", { class: kind, title });
  made.style.left = `${String((100 * from) / DAY_MS)}%`;
  made.style.width = `${String((100 * (to - from)) / DAY_MS)}%`;
  return made;
}

export class Timeline {
  readonly view = element("div", { class: "timeline" });
  private readonly bar = element("div", {
    class: "bar",
    role: "slider",
    tabindex: "0",
    "aria-label": text("moment"),
  });
  private readonly needle = element("span", { class: "needle", hidden: "" });

  constructor(private readonly choose: (moment: number) => void) {
    const hours = [0, 3, 6, 9, 12, 15, 18, 21, 24].map((hour) =>
      element("span", {}, `${String(hour).padStart(2, "0")}:00`),
    );
    this.view.append(this.bar, element("div", { class: "hours" }, ...hours));
    this.bar.setAttribute("aria-valuemin", "0");
    this.bar.setAttribute("aria-valuemax", String(DAY_MS / 1000));
    this.bar.addEventListener("click", (event) => {
      const { left, width } = this.bar.getBoundingClientRect();
      this.choose(Math.min(Math.max((event.clientX - left) / width, 0), 1) * DAY_MS);
    });
    this.bar.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 10_000, ArrowLeft: -10_000 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const now = Number(this.bar.getAttribute("aria-valuenow") ?? "0") * 1000;
      this.choose(Math.min(Math.max(now + step, 0), DAY_MS));
    });
  }

  draw(recorded: readonly Span[], missing: readonly (Span & { cause: string })[]): void {
    const range = ({ from, to }: Span): string => `${clock(from)} – ${clock(to)}`;
    this.bar.replaceChildren(
      ...missing.map((gap) => piece(gap, "gap", `${range(gap)} ${gap.cause}`)),
      ...recorded.map((span) => piece(span, "recorded", range(span))),
      this.needle,
    );
  }

  /** Where the playback stands; null: none runs. */
  point(moment: number | null): void {
    this.needle.hidden = moment === null;
    this.needle.style.left = `${String((100 * (moment ?? 0)) / DAY_MS)}%`;
    this.bar.setAttribute("aria-valuenow", String(Math.round((moment ?? 0) / 1000)));
    this.bar.setAttribute("aria-valuetext", moment === null ? "" : clock(moment));
  }
}
