// One record plan: its name, time zone and week, and once it is there, the streams that have it.

import { button, element, once } from "./dom";
import type { Plan, Plans } from "./planApi";
import { PlanStreams } from "./planStreams";
import { complaintOf } from "./play/form";
import { NO_COMPLAINT, refusal, type Complaint } from "./refusals";
import { frame, type Frame } from "./settings";
import { text } from "./text";
import { ALWAYS, EMPTY, fromTimes, toTimes } from "./week";
import { WeekGrid } from "./weekGrid";

const FIXED = Array.from({ length: 27 }, (_, at) => {
  const hours = at - 12;
  return `GMT${hours < 0 ? "-" : "+"}${String(Math.abs(hours)).padStart(2, "0")}:00`;
});

export class PlanEditor {
  readonly view: HTMLElement;
  private readonly title = element("h2");
  private readonly name = element("input", { name: "name", maxlength: "64", autocomplete: "off" });
  private readonly zone = element("input", { name: "timezone", list: "zones", autocomplete: "off" });
  private readonly grid = new WeekGrid();
  private readonly fields: ReadonlyMap<string, Frame>;
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly done = element("p", { class: "note", role: "status" });
  private readonly below = element("div");
  private streams: PlanStreams | null = null;
  private stopped = false;

  constructor(
    private readonly plans: Plans,
    public plan: Plan | null,
    private readonly saved: () => void,
    close: () => void,
  ) {
    this.fields = new Map([
      ["name", frame("name", text("planName"), "", this.name)],
      ["timezone", frame("timezone", text("timeZone"), text("timeZoneHint"), this.zone)],
      ["week", frame("week", text("week"), text("weekHint"), this.grid.view, this.weekView())],
    ]);
    const zones = [...FIXED, ...Intl.supportedValuesOf("timeZone")];
    const save = element("button", { type: "submit", class: "primary" }, text("save"));
    const form = element(
      "form",
      { class: "settings", novalidate: "" },
      ...[...this.fields.values()].map((one) => one.view),
      element("datalist", { id: "zones" }, ...zones.map((value) => element("option", { value }))),
      this.note,
      element("div", { class: "line" }, save, this.done),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      once(save, () => this.save());
    });
    this.view = element(
      "section",
      { class: "player editor" },
      element("header", {}, this.title, button(text("close"), close)),
      form,
      this.below,
    );
    this.name.value = plan?.name ?? "";
    this.zone.value = plan?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    this.grid.set(fromTimes(plan?.week ?? []));
    this.show(plan);
  }

  stop(): void {
    this.stopped = true;
    this.streams?.stop();
  }

  private weekView(): HTMLElement {
    const fill = (label: string, week: typeof EMPTY): HTMLElement =>
      button(label, () => {
        this.grid.set(week.map((ranges) => [...ranges]));
      });
    const fills = element(
      "div",
      { class: "line" },
      fill(text("wholeWeek"), ALWAYS),
      fill(text("clear"), EMPTY),
    );
    return element("div", {}, this.grid.view, fills);
  }

  private show(plan: Plan | null): void {
    this.title.textContent = plan?.name ?? text("newPlan");
    if (plan === null || plan.plan_id === this.streams?.planId) return;
    this.streams = new PlanStreams(this.plans, () => this.plan ?? plan, this.saved);
    this.below.replaceChildren(this.streams.view);
  }

  private async save(): Promise<void> {
    const { week } = this.grid;
    this.complain(NO_COMPLAINT);
    if (week === null) {
      this.grid.focusWrong();
      return;
    }
    const wish = { name: this.name.value.trim(), timezone: this.zone.value.trim(), week: toTimes(week) };
    try {
      const { plan } = this;
      this.plan = plan === null ? await this.plans.create(wish) : await this.plans.change(plan.plan_id, wish);
      this.saved();
      if (this.stopped) return; // closed in the meantime: nobody would stop what is begun now
      this.done.textContent = text(plan === null ? "planMade" : "savedNow");
      this.show(this.plan);
    } catch (error) {
      this.complain(complaintOf(error));
    }
  }

  private complain(complaint: Complaint): void {
    this.done.textContent = "";
    const said = refusal(complaint, [...this.fields.keys()]);
    for (const [name, field] of this.fields) field.complain(said.fields.get(name) ?? "");
    this.note.textContent = said.rest;
    this.view.querySelector<HTMLElement>("input[aria-invalid]")?.focus();
  }
}
