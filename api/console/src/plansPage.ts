// Record plans: which there are, what each says now, and what is recorded because of them.

import type { Session } from "./api";
import { button, element } from "./dom";
import { since } from "./format";
import { Pager } from "./pager";
import { Plans, PLANS_PERIOD_MS, type Plan } from "./planApi";
import { PlanEditor } from "./planEditor";
import { Fresh, table } from "./table";
import { text } from "./text";
import { fromTimes } from "./week";
import { weekPicture } from "./weekGrid";
import { browserZone } from "./zone";
import "./plans.css";

const PAGE_SIZE = 50;
const SHOWN = 100;

/** A moment of the next days, as the plan's own clock shows it, or this one if the browser does not know that. */
function moment(at: string, zone: string): string {
  const shown: Intl.DateTimeFormatOptions = {
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    ...(Date.parse(at) - Date.now() > 6 * 86_400_000 ? { day: "numeric", month: "short" } : {}),
  };
  try {
    return new Date(at).toLocaleString(undefined, { ...shown, timeZone: browserZone(zone) });
  } catch {
    return new Date(at).toLocaleString(undefined, shown);
  }
}

/** What it says now, and until when. */
function standing({ wanted, changes_at: at, timezone }: Plan): string {
  if (at === null) return text(wanted ? "planAlways" : "planNever");
  return text(wanted ? "planWants" : "planRests", { moment: moment(at, timezone) });
}

export class PlansPage {
  readonly view: HTMLElement;
  private readonly stage = element("div", { class: "stage" });
  private readonly count = element("span", { class: "count" });
  private readonly pager = new Pager(PAGE_SIZE, () => void this.list.refresh());
  private readonly plans: Plans;
  private readonly list: Fresh;
  private readonly recording: Fresh;
  private editor: PlanEditor | null = null;

  constructor(session: Session) {
    this.plans = new Plans(session);
    this.list = new Fresh(() => this.draw(), PLANS_PERIOD_MS);
    this.recording = new Fresh(() => this.drawRecording(), PLANS_PERIOD_MS);
    const make = button(
      text("newPlan"),
      () => {
        this.edit(null);
      },
      "primary",
    );
    const heading = element(
      "div",
      { class: "heading" },
      element("h2", {}, text("plans"), " ", this.count),
      make,
    );
    this.view = element(
      "main",
      {},
      this.stage,
      heading,
      this.list.view,
      this.pager.view,
      element("h2", {}, text("recordedNow")),
      this.recording.view,
    );
  }

  stop(): void {
    this.list.stop();
    this.recording.stop();
    this.editor?.stop();
  }

  private async draw(): Promise<HTMLElement> {
    const { total, plans } = await this.plans.list(this.pager.offset, PAGE_SIZE);
    this.count.textContent = String(total);
    this.pager.draw(total);
    if (total === 0) return element("p", { class: "note" }, text("noPlans"));
    return element("div", { class: "channels" }, ...plans.map((one) => this.row(one)));
  }

  private async drawRecording(): Promise<HTMLElement> {
    const { total, streams } = await this.plans.recording(SHOWN);
    const rows = streams.map((one) => [
      one.stream_name,
      one.plan_name,
      one.recording_since === null
        ? text("doesNotFlow")
        : text("recordingNow", { since: since(one.recording_since) }),
    ]);
    const drawn = table([text("streamName"), text("plan"), text("standing")], rows);
    const more = total - streams.length;
    if (more > 0) drawn.append(element("p", { class: "note" }, text("andMore", { count: String(more) })));
    return drawn;
  }

  private row(plan: Plan): HTMLElement {
    const remove = this.list.act(text("remove"), plan.plan_id, async () => {
      if (!window.confirm(text("reallyRemovePlan", { name: plan.name }))) return;
      await this.plans.remove(plan.plan_id);
      if (this.editor?.plan?.plan_id === plan.plan_id) this.close();
    });
    const edit = button(text("edit"), () => {
      this.edit(plan);
    });
    return element(
      "article",
      { class: "channel plan", "data-plan": plan.plan_id },
      weekPicture(fromTimes(plan.week)),
      element(
        "div",
        { class: "what" },
        element("strong", {}, plan.name),
        element("span", { class: plan.wanted ? "status FLOWING" : "status" }, standing(plan)),
        element(
          "span",
          { class: "figures" },
          `${plan.timezone} · ${text("streamsHaveIt", { count: String(plan.streams) })}`,
        ),
      ),
      element("div", { class: "actions" }, edit, remove),
    );
  }

  private edit(plan: Plan | null): void {
    this.editor?.stop();
    this.editor = new PlanEditor(
      this.plans,
      plan,
      () => {
        void this.list.refresh();
        void this.recording.refresh();
      },
      () => {
        this.close();
      },
    );
    this.stage.replaceChildren(this.editor.view);
    this.stage.scrollIntoView({ behavior: "smooth" });
  }

  private close(): void {
    this.editor?.stop();
    this.editor = null;
    this.stage.replaceChildren();
  }
}
