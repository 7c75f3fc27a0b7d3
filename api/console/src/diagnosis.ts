// "Why is there no picture": the findings about one channel as a list, in the order in which video comes about.

import { diagnose, type Channel, type Diagnosis, type Finding, type Session } from "./api";
import { button, element } from "./dom";
import { say } from "./findings";
import { chineseReader, text, type Word } from "./text";
import "./diagnosis.css";

const MARKS = { ok: "✓", waiting: "…", warning: "!", error: "✗" } as const;
const MARK_WORDS: Record<Finding["verdict"], Word> = {
  ok: "ok",
  waiting: "waiting_",
  warning: "warning",
  error: "error",
};

export class DiagnosisPanel {
  readonly view: HTMLElement;
  private readonly list = element("ol", { class: "findings" });
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly title = element("h2", {}, text("diagnosis"));

  constructor(
    private readonly session: Session,
    private readonly channel: Channel,
  ) {
    this.view = element(
      "section",
      { class: "diagnosis", "data-channel": channel.channel_id },
      element(
        "div",
        { class: "diagnosis-head" },
        element("div", {}, this.title, element("code", {}, `${channel.device_id} / ${channel.channel_id}`)),
        element(
          "div",
          { class: "actions" },
          button(text("again"), () => void this.refresh()),
          button(text("close"), () => {
            this.view.remove();
          }),
        ),
      ),
      this.note,
      this.list,
    );
    void this.refresh();
  }

  private async refresh(): Promise<void> {
    try {
      this.show(await diagnose(this.session, this.channel));
      this.note.textContent = "";
    } catch (error) {
      this.note.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  private show(diagnosis: Diagnosis): void {
    const well = diagnosis.main === null || diagnosis.main.code === "unwatched";
    this.title.textContent = text(well ? "wellDiagnosis" : "diagnosis");
    this.list.replaceChildren(...diagnosis.findings.map((finding) => this.line(finding, diagnosis.main)));
  }

  private line(finding: Finding, main: Finding | null): HTMLElement {
    const said = say(finding, chineseReader);
    const first = main !== null && main.step === finding.step && main.code === finding.code;
    const mark = element(
      "span",
      { class: "mark", role: "img", "aria-label": text(MARK_WORDS[finding.verdict]) },
      MARKS[finding.verdict],
    );
    return element(
      "li",
      { class: `finding ${finding.verdict}${first ? " main" : ""}`, "data-code": finding.code },
      mark,
      element("span", { class: "step" }, text(finding.step)),
      element(
        "div",
        {},
        element("p", {}, said.text),
        said.advice === "" ? null : element("p", { class: "advice" }, said.advice),
      ),
    );
  }
}
