// HTTP-FLV, made into fragments for Media Source Extensions in the page.

import mpegts from "mpegts.js";
import { mediaSourceLacks, type Form } from "./form";

export const flv: Form = {
  id: "flv",
  label: "FLV",
  address: (play) => play.http_flv,
  lacks: mediaSourceLacks,
  start(video, address, tracks, failed) {
    const player = mpegts.createPlayer(
      { type: "flv", isLive: true, url: address, hasAudio: tracks.audio_codec === "AAC" },
      { liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 2, lazyLoad: false },
    );
    player.on(mpegts.Events.ERROR, (kind: string, detail: string) => {
      failed(`${kind}: ${detail}`);
    });
    player.attachMediaElement(video);
    player.load();
    void player.play();
    return {
      stop: () => {
        player.destroy();
      },
    };
  },
};
