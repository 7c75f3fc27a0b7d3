// The streams that have a record plan: what is recorded of each, what is missing of today; given to others, taken away.

import { element } from "./dom";
import { span, since } from "./format";
import { PLANS_PERIOD_MS, type Keeping, type Plan, type Plans } from "./planApi";
import { reasonOf } from "./play/form";
import { Pager } from "./pager";
import { field, Fresh, line, select, table } from "./table";
import { statusText, text } from "./text";
import { fixedZone } from "./zone";

const PAGE_SIZE = 20;
const MISSING_MS = 60_000;
const HOURS = 24;

export class PlanStreams {
  readonly view: HTMLElement;
  readonly planId: string;
  private readonly pager = new Pager(PAGE_SIZE, () => void this.list.refresh());
  private readonly names = element("datalist", { id: "streams" });
  private readonly missing = new Map<string, { at: number; shown: HTMLElement }>();
  private readonly list: Fresh;
  private called: ReadonlyMap<string, string> = new Map();

  /** `plan` is as it was saved last; `changed` is called when more or fewer streams have it. */
  constructor(
    private readonly plans: Plans,
    private readonly plan: () => Plan,
    private readonly changed: () => void,
  ) {
    this.planId = plan().plan_id;
    this.list = new Fresh(() => this.draw(), PLANS_PERIOD_MS);
    this.view = element(
      "div",
      { class: "planned" },
      element("h2", {}, text("streamsOfPlan")),
      this.list.view,
      this.pager.view,
      this.form(),
      this.names,
    );
    void this.suggest();
  }

  stop(): void {
    this.list.stop();
  }

  private async draw(): Promise<HTMLElement> {
    const { total, streams } = await this.plans.streams(this.planId, this.pager.offset, PAGE_SIZE);
    this.pager.draw(total);
    await Promise.all(streams.map((one) => this.look(one.stream_name)));
    const rows = streams.map((one) => [
      this.title(one.stream_name),
      one.recording_since !== null
        ? text("recordingNow", { since: since(one.recording_since) })
        : text(one.wanted ? "doesNotFlow" : "notWanted"),
      this.missing.get(one.stream_name)?.shown.cloneNode(true) ?? "–",
      this.list.act(text("remove"), one.stream_name, async () => {
        await this.plans.take(this.planId, one.stream_name);
        this.changed();
      }),
    ]);
    return table([text("streamName"), text("standing"), text("missingToday"), ""], rows);
  }

  private title(name: string): HTMLElement {
    const called = this.called.get(name) ?? "";
    return called === ""
      ? element("span", {}, name)
      : element("span", { class: "what" }, called, element("code", {}, name));
  }

  /** Once a minute: it is asked for each stream apart. */
  private async look(name: string): Promise<void> {
    if (Date.now() - (this.missing.get(name)?.at ?? 0) < MISSING_MS) return;
    const shown = await this.plans.missing(name, this.plan().timezone, new Date()).then(
      (found) => {
        const total = [...found.values()].reduce((sum, one) => sum + one, 0);
        const causes = [...found].map(([cause, ms]) => `${statusText(cause)}: ${span(ms)}`).join("\n");
        return total > 0
          ? element("span", { class: "bad", title: causes }, span(total))
          : element("span", {}, "–");
      },
      (error: unknown) => element("span", { title: reasonOf(error) }, "?"),
    );
    this.missing.set(name, { at: Date.now(), shown });
  }

  private async suggest(): Promise<void> {
    this.called = await this.plans.suggestions().catch(() => new Map<string, string>());
    const options = [...this.called].map(([value, label]) =>
      element("option", label === "" ? { value } : { value, label }),
    );
    this.names.replaceChildren(...options);
    await this.list.refresh();
  }

  private form(): HTMLElement {
    const name = field("stream", text("streamName"), { list: "streams", autocomplete: "off", class: "wide" });
    const place = select("place", text("recordingsGo"), {
      "": text("asSet"),
      local: text("toLocal"),
      obs: text("toBucket"),
    });
    const days = field("days", text("keptDays"), { type: "number", min: "1", max: "3650" });
    const bucket = field("bucket", text("bucket"));
    const path = field("path", text("pathInBucket"));
    days.required = path.required = false;
    const choose = (): void => {
      days.hidden = days.disabled = place.value === "";
      bucket.hidden = bucket.disabled = path.hidden = path.disabled = place.value !== "obs";
    };
    place.addEventListener("change", choose);
    choose();
    const form = line([name, place, days, bucket, path], text("add"), async (values) => {
      const stream = values["stream"] ?? "";
      if (place.value !== "") await this.plans.keep(stream, this.keeping(values));
      await this.plans.give(this.planId, stream);
      this.changed();
      await this.list.refresh();
    });
    form.addEventListener("reset", () => window.setTimeout(choose));
    return form;
  }

  private keeping(values: Record<string, string>): Keeping {
    const { place = "", days = "", bucket, path } = values;
    return {
      store_type: place,
      timezone: fixedZone(this.plan().timezone, new Date()),
      ...(days === "" ? { retention_forever: true } : { retention_in_hour: Number(days) * HOURS }),
      ...(place === "obs" ? { bucket: bucket ?? "", path: path ?? "" } : {}),
    };
  }
}
