// What is chosen for a stream: shown beside what counts by default, changed, and given back to the defaults.

import { button, element } from "./dom";
import { reasonOf } from "./play/form";
import { refusal } from "./refusals";
import { either, numeric, some, type Setting } from "./settings";
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
const MEBIBYTE = 1 << 20;
const MILLISECOND = 0.001;

export class OptionPanel {
  readonly view: HTMLFormElement;
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
  ];

  constructor(private readonly stream: StreamCalls) {
    const reset = button(text("toDefaults"), () => {
      if (window.confirm(text("reallyDefaults", { name: this.stream.name }))) void this.put({});
    });
    const actions = element(
      "div",
      { class: "line" },
      element("button", { type: "submit", class: "primary" }, text("save")),
      reset,
      this.done,
    );
    this.view = element(
      "form",
      { class: "settings", novalidate: "", hidden: "" }, // the API judges, and says what it wants
      ...this.settings.map((one) => one.view),
      this.note,
      actions,
    );
    this.view.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.put(Object.fromEntries(this.settings.map((one) => [one.name, one.read()])));
    });
    void this.load();
  }

  stop(): void {
    // nothing runs
  }

  private async load(): Promise<void> {
    try {
      this.fill(await this.stream.options());
    } catch (error) {
      this.note.textContent = reasonOf(error);
    }
    this.view.hidden = false; // not before: what was typed by then would be lost
  }

  private fill({ own, effective }: OptionsView): void {
    for (const one of this.settings) one.fill(own[one.name], effective[one.name]);
  }

  private async put(chosen: Record<string, unknown>): Promise<void> {
    this.complain("");
    try {
      this.fill(await this.stream.choose(chosen));
      this.done.textContent = text("savedNow");
    } catch (error) {
      this.complain(reasonOf(error));
    }
  }

  private complain(message: string): void {
    this.done.textContent = "";
    const said = refusal(
      message,
      this.settings.map((one) => one.name),
    );
    for (const one of this.settings) one.complain(said.fields.get(one.name) ?? "");
    this.note.textContent = said.rest;
    this.view.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }
}
