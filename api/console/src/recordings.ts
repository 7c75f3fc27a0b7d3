// What was recorded of a stream on a day: a bar and a list; a moment of it is played back like any stream.

import { clock, DAY_MS, dateText, recordedAt, within, type Span } from "./day";
import { button, element } from "./dom";
import { size } from "./format";
import { reasonOf, type Tracks } from "./play/form";
import { Player } from "./player";
import type { Playback, Recording, StreamCalls } from "./streamApi";
import { select, table } from "./table";
import { statusText, text } from "./text";
import { Timeline } from "./timeline";

const POLL_MS = 1000;
const SPEEDS = { "1": "1×", "0.5": "½×", "2": "2×", "4": "4×", "8": "8×", "16": "16×" };

type Drawn = Recording & Span;

export class RecordingPanel {
  readonly view: HTMLElement;
  private readonly note = element("p", { class: "error", role: "alert" });
  private readonly list = element("div", {});
  private readonly stage = element("div", { class: "replay" });
  private readonly day = element("input", { type: "date", "aria-label": text("day") });
  private readonly speed = select("speed", text("speed"), SPEEDS);
  private readonly pause = button(text("pause"), () => void this.guard(this.turn()));
  private readonly clockFace = element("span", { class: "figures" });
  private readonly timeline = new Timeline((moment) => void this.guard(this.play(moment)));
  private midnight = new Date();
  private recordings: Drawn[] = [];
  private playback: Playback | null = null;
  private player: Player | null = null;
  private timer = 0;
  private stopped = false;

  constructor(
    private readonly stream: StreamCalls,
    private readonly live: Tracks | null,
  ) {
    this.day.value = dateText(new Date());
    this.day.addEventListener("change", () => void this.guard(this.load()));
    this.speed.addEventListener("change", () => void this.guard(this.setSpeed()));
    const turnDay = (label: string, days: number): HTMLElement =>
      button(label, () => {
        this.day.value = dateText(new Date(`${this.day.value}T00:00`), days);
        void this.guard(this.load());
      });
    const days = element("div", { class: "line" }, turnDay("‹", -1), this.day, turnDay("›", 1));
    this.view = element(
      "div",
      { class: "recordings" },
      days,
      this.timeline.view,
      this.note,
      this.stage,
      this.list,
    );
    void this.guard(this.load());
  }

  stop(): void {
    this.stopped = true;
    void this.end().catch(() => undefined);
  }

  private async guard(work: Promise<void>): Promise<void> {
    try {
      await work;
      this.note.textContent = "";
    } catch (error) {
      this.note.textContent = reasonOf(error);
    }
  }

  private async load(): Promise<void> {
    if (this.day.value === "") return;
    await this.end();
    const day = this.day.value;
    const told = await this.stream.gaps(day).catch(() => null); // what is not retained has no gaps, and no zone
    const midnight = told === null ? new Date(`${day}T00:00`) : new Date(told.begin);
    const found = await this.stream.recordings(midnight, new Date(midnight.getTime() + DAY_MS));
    if (this.stopped || day !== this.day.value) return;
    this.midnight = midnight;
    this.recordings = found.flatMap((one) => {
      const span = within(one.begin, one.end, midnight);
      return span === null ? [] : [{ ...one, ...span }];
    });
    const missing = (told?.gaps ?? []).flatMap((gap) => {
      const span = gap.frames > 0 ? null : within(gap.begin, gap.end, midnight);
      return span === null ? [] : [{ ...span, cause: statusText(gap.cause) }];
    });
    this.timeline.draw(this.recordings, missing);
    this.list.replaceChildren(this.rows());
  }

  private rows(): HTMLElement {
    const rows = this.recordings.map((one) => [
      `${clock(one.from)} – ${clock(one.to)}`,
      one.video,
      size(one.size_bytes),
      element(
        "div",
        { class: "actions" },
        button(text("play"), () => void this.guard(this.play(one.from))),
        element("a", { href: one.url, download: "" }, text("download")),
      ),
    ]);
    return table([text("time"), text("coding"), text("size"), ""], rows);
  }

  private async play(moment: number): Promise<void> {
    const at = recordedAt(this.recordings, moment);
    if (at === null) throw new Error(text("nothingThere"));
    const position = new Date(this.midnight.getTime() + at);
    if (this.playback === null) {
      const end = new Date(this.midnight.getTime() + DAY_MS);
      const made = await this.stream.playBack(this.midnight, end, Number(this.speed.value));
      if (this.stopped) {
        await this.stream.endPlayback(made.id);
        return;
      }
      this.playback = made;
      this.show(made);
    }
    this.note.textContent = "";
    this.update(await this.stream.steer(this.playback.id, { position, paused: false }));
    this.poll();
  }

  private show(playback: Playback): void {
    const video = this.recordings[0]?.video ?? "H264";
    const sound = playback.speed === 1 ? (this.live?.audio_codec ?? null) : null;
    this.player?.stop();
    this.player = new Player(playback.play, { video_codec: video, audio_codec: sound });
    const end = button(text("end"), () => void this.guard(this.end()));
    const controls = element("div", { class: "line" }, this.pause, this.speed, this.clockFace, end);
    this.stage.replaceChildren(this.player.view, controls);
  }

  private update(playback: Playback): void {
    if (this.playback?.id !== playback.id) return;
    this.playback = playback;
    const at = Date.parse(playback.position) - this.midnight.getTime();
    this.pause.textContent = text(playback.paused ? "goOn" : "pause");
    this.clockFace.textContent = clock(Math.max(0, at));
    this.timeline.point(at);
  }

  private poll(): void {
    window.clearTimeout(this.timer);
    const { playback } = this;
    if (playback === null || this.stopped) return;
    this.timer = window.setTimeout(() => {
      this.stream.playback(playback.id).then(
        (found) => {
          this.update(found);
          this.poll();
        },
        () => {
          this.clear(); // it is over: its last picture was shown, or somebody ended it
        },
      );
    }, POLL_MS);
  }

  private async turn(): Promise<void> {
    const { playback } = this;
    if (playback !== null) this.update(await this.stream.steer(playback.id, { paused: !playback.paused }));
  }

  private async setSpeed(): Promise<void> {
    if (this.playback === null) return;
    const before = this.playback.speed === 1;
    this.update(await this.stream.steer(this.playback.id, { speed: Number(this.speed.value) }));
    if (before !== (this.playback.speed === 1)) this.show(this.playback); // sound comes, or goes
  }

  private async end(): Promise<void> {
    const { playback } = this;
    this.clear();
    if (playback !== null) await this.stream.endPlayback(playback.id);
  }

  private clear(): void {
    window.clearTimeout(this.timer);
    this.player?.stop();
    this.player = null;
    this.playback = null;
    this.timeline.point(null);
    this.stage.replaceChildren();
  }
}
