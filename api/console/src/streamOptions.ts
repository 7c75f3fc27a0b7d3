// What is chosen for a stream: shown beside what counts by default, changed, and given back to the defaults.

import { button, element, once } from "./dom";
import { complaintOf, reasonOf } from "./play/form";
import { NO_COMPLAINT, refusal, type Complaint } from "./refusals";
import { either, numeric, one, some, type Setting } from "./settings";
import type { OptionsView, StreamCalls } from "./streamApi";
import { text } from "./text";

const FORMS = {
  flv: "FLV",
  ts: "TS",
  fmp4: "fMP4",
  hls: "HLS",
  "ll-hls": "LL-HLS",
  rtmp: "RTMP",
  rtsp: "RTSP",
  webrtc: "WebRTC",
};
const SEGMENTS = { ts: "TS", fmp4: "fMP4", ll: "LL-HLS" };
const RECORDINGS = { flv: "FLV", fmp4: "fMP4", hls: "HLS (fMP4 + m3u8)" };
const MEBIBYTE = 1 << 20;
const MILLISECOND = 0.001;

export class OptionPanel {
  readonly view = element("div");
  /** Shown once it is filled: saved before, it would overwrite what was chosen. */
  private readonly form: HTMLFormElement;
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly done = element("p", { class: "note", role: "status" });
  private readonly settings: readonly Setting[] = [
    some("forms", "forms", "formsHint", FORMS),
    either("audio", "sound", "soundHint"),
    numeric("viewers_max", "viewersMax", "viewersMaxHint", ""),
    numeric("no_viewers", "noViewers", "noViewersHint", text("seconds")),
    numeric("gop_bytes_max", "gopKept", "gopKeptHint", "MiB", MEBIBYTE),
    either("from_gop", "fromGop", "fromGopHint"),
    numeric("hls_segment", "hlsSegment", "hlsSegmentHint", text("seconds")),
    numeric("hls_segments", "hlsSegments", "hlsSegmentsHint", ""),
    some("hls_always", "hlsAlways", "hlsAlwaysHint", SEGMENTS),
    numeric("merge_write", "mergeWrite", "mergeWriteHint", "ms", MILLISECOND),
    one("recording_form", "recordingForm", "recordingFormHint", { auto: text("fittingForm"), ...RECORDINGS }),
  ];

  constructor(private readonly stream: StreamCalls) {
    const reset = button(text("toDefaults"), () => {
      once(save, async () => {
        if (window.confirm(text("reallyDefaults", { name: this.stream.name }))) await this.put({});
      });
    });
    const save = element("button", { type: "submit", class: "primary" }, text("save"));
    const actions = element("div", { class: "line" }, save, reset, this.done);
    this.form = element(
      "form",
      { class: "settings", novalidate: "" }, // the API judges, and says what it wants
      ...this.settings.map((one) => one.view),
      this.note,
      actions,
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      once(save, () => this.put(Object.fromEntries(this.settings.map((one) => [one.name, one.read()]))));
    });
    void this.load();
  }

  stop(): void {
    // nothing runs
  }

  private async load(): Promise<void> {
    try {
      this.fill(await this.stream.options());
      this.view.replaceChildren(this.form);
    } catch (error) {
      const retry = button(text("tryAgain"), () => {
        once(retry, () => this.load());
      });
      const note = element("p", { class: "error", role: "alert" }, reasonOf(error));
      this.view.replaceChildren(note, retry);
    }
  }

  private fill({ own, effective }: OptionsView): void {
    for (const one of this.settings) one.fill(own[one.name], effective[one.name]);
  }

  private async put(chosen: Record<string, unknown>): Promise<void> {
    this.complain(NO_COMPLAINT);
    try {
      this.fill(await this.stream.choose(chosen));
      this.done.textContent = text("savedNow");
    } catch (error) {
      this.complain(complaintOf(error));
    }
  }

  private complain(complaint: Complaint): void {
    this.done.textContent = "";
    const said = refusal(
      complaint,
      this.settings.map((one) => one.name),
    );
    for (const one of this.settings) one.complain(said.fields.get(one.name) ?? "", said.reason);
    this.note.textContent = said.rest;
    this.view.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }
}
