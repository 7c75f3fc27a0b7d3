// One picture, by the way that is chosen: HTTP-FLV, HLS, fMP4 or WebRTC. What the browser cannot play is said.

import type { PlayAddresses } from "./api";
import { element } from "./dom";
import { flv } from "./play/flv";
import { fmp4 } from "./play/fmp4";
import type { Form, Running, Tracks } from "./play/form";
import { hls } from "./play/hls";
import { whep } from "./play/whep";
import { text } from "./text";

const FORMS: readonly Form[] = [flv, whep, fmp4, hls];
const CHOSEN = "form";

/** The form that was chosen last, or another one if the browser cannot show the stream by it; null if by none. */
function usable(forms: readonly Form[], tracks: Tracks): Form | null {
  const chosen = forms.find((form) => form.id === localStorage.getItem(CHOSEN));
  const order = chosen === undefined ? forms : [chosen, ...forms];
  return order.find((form) => !form.lacks(tracks).video) ?? null;
}

export class Player {
  readonly view = element("div", { class: "picture" });
  private readonly forms: readonly Form[];
  private readonly buttons: ReadonlyMap<Form, HTMLButtonElement>;
  private readonly choice = element("div", { class: "choice", role: "group", "aria-label": text("playBy") });
  private readonly frame = element("div", { class: "frame" });
  private readonly note = element("p", { class: "note", role: "status" });
  private running: Running | null = null;

  constructor(
    private readonly play: PlayAddresses,
    private readonly tracks: Tracks,
  ) {
    this.forms = FORMS.filter((form) => form.address(play) !== null);
    this.buttons = new Map(this.forms.map((form) => [form, this.button(form)]));
    this.choice.append(...this.buttons.values());
    this.view.append(this.choice, this.frame, this.note);
    const form = usable(this.forms, tracks);
    if (form === null) this.note.textContent = text("noVideo", { codec: tracks.video_codec ?? "" });
    else this.start(form);
  }

  stop(): void {
    this.running?.stop();
    this.running = null;
  }

  private start(form: Form): void {
    this.stop();
    const video = element("video", { controls: "", autoplay: "", playsinline: "", "data-form": form.id });
    video.muted = true; // browsers start a muted video without a click
    this.frame.replaceChildren(video);
    for (const [one, made] of this.buttons) made.setAttribute("aria-pressed", String(one === form));
    this.note.textContent = text("waiting");
    const codec = this.tracks.audio_codec ?? "";
    const still = form.lacks(this.tracks).audio ? text("noSound", { codec }) : "";
    video.addEventListener("playing", () => (this.note.textContent = still));
    this.running = form.start(video, form.address(this.play) ?? "", this.tracks, (reason) => {
      this.note.textContent = text("lost", { reason });
    });
  }

  private button(form: Form): HTMLButtonElement {
    const can = !form.lacks(this.tracks).video;
    const made = element("button", { type: "button", ...(can ? {} : { disabled: "" }) }, form.label);
    made.addEventListener("click", () => {
      localStorage.setItem(CHOSEN, form.id);
      this.start(form);
    });
    return made;
  }
}
