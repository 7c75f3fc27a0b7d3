// One picture: HTTP-FLV through Media Source Extensions. Sound that browsers cannot decode is left out and said so.

import mpegts from "mpegts.js";
import type { Channel, PlayAddresses } from "./api";
import { button, element } from "./dom";
import { describe } from "./format";
import { text } from "./text";

const H265 = 'video/mp4; codecs="hvc1.1.6.L93.B0"';

function playable(codec: string | null): boolean {
  return codec !== "H265" || MediaSource.isTypeSupported(H265);
}

function addressList(play: PlayAddresses): HTMLElement {
  const rows = (
    [
      ["HTTP-FLV", play.http_flv],
      ["WS-FLV", play.ws_flv],
      ["HTTP-TS", play.http_ts],
      ["WS-TS", play.ws_ts],
      ["HTTP-fMP4", play.http_fmp4],
      ["WS-fMP4", play.ws_fmp4],
      ["HLS (TS)", play.hls],
      ["HLS (fMP4)", play.hls_fmp4],
      ["LL-HLS", play.hls_ll],
      ["RTMP", play.rtmp],
      ["RTSP", play.rtsp],
    ] as const
  ).flatMap(([label, address]) =>
    address === null
      ? []
      : [element("div", { class: "address" }, element("span", {}, label), element("code", {}, address))],
  );
  return element("div", { class: "addresses" }, ...rows);
}

export class Player {
  readonly view = element("section", { class: "player" });
  private readonly note = element("p", { class: "note", role: "status" });
  private readonly figures = element("p", { class: "figures" });
  private player: mpegts.Player | null = null;

  constructor(
    private readonly channel: Channel,
    onClose: () => void,
  ) {
    const head = element(
      "header",
      {},
      element("h2", {}, channel.name),
      button(text("close"), () => {
        this.stop();
        onClose();
      }),
    );
    this.view.append(head);
    const { stream, play } = channel;
    if (stream === null || play === null) return;
    this.figures.textContent = describe(stream);
    if (playable(stream.video_codec)) this.start(play, stream.audio_codec);
    else this.note.textContent = text("noVideo", { codec: stream.video_codec ?? "" });
    this.view.append(this.note, this.figures, addressList(play));
  }

  get key(): string {
    return `${this.channel.device_id}/${this.channel.channel_id}`;
  }

  update(channel: Channel): void {
    if (channel.stream !== null) this.figures.textContent = describe(channel.stream);
  }

  stop(): void {
    this.player?.destroy();
    this.player = null;
    this.view.remove();
  }

  private start(play: PlayAddresses, audioCodec: string | null): void {
    const video = element("video", { controls: "", autoplay: "", playsinline: "" });
    video.muted = true; // browsers start a muted video without a click
    this.view.append(video);
    const sound = audioCodec === "AAC";
    const codec = audioCodec ?? "";
    const still = audioCodec === null || sound ? "" : text("noSound", { codec });
    this.note.textContent = text("waiting");
    video.addEventListener("playing", () => (this.note.textContent = still));
    this.player = mpegts.createPlayer(
      { type: "flv", isLive: true, url: play.http_flv, hasAudio: sound },
      { liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 2, lazyLoad: false },
    );
    this.player.on(mpegts.Events.ERROR, (kind: string, detail: string) => {
      this.note.textContent = text("lost", { reason: `${kind}: ${detail}` });
    });
    this.player.attachMediaElement(video);
    this.player.load();
    void this.player.play();
  }
}
