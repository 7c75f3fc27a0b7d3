// Fragments over WebSocket, appended as they come. Nothing is remuxed: the least work a page can have.

import { mediaSourceLacks, reasonOf, type Form } from "./form";
import { codecsOf } from "./boxes";

const KEEP_SECONDS = 10;
const BEHIND_SECONDS = 2;
const WAITING_MAX = 16 * 1024 * 1024;

export const fmp4: Form = {
  id: "fmp4",
  label: "fMP4",
  address: (play) => play.ws_fmp4,
  lacks: (tracks) => ({
    ...mediaSourceLacks(tracks),
    audio: !["AAC", "OPUS", null].includes(tracks.audio_codec),
  }),
  start(video, address, tracks, failed) {
    const source = new MediaSource();
    const url = URL.createObjectURL(source);
    // A sound that this browser cannot decode would refuse the whole: it is left out at the server.
    const wanted = this.lacks(tracks).audio
      ? `${address}${address.includes("?") ? "&" : "?"}audio=0`
      : address;
    let socket: WebSocket | null = null;
    let buffer: SourceBuffer | null = null;
    const waiting: ArrayBuffer[] = [];
    let bytes = 0;
    let over = false;

    const end = (reason: string): void => {
      if (over) return;
      stop();
      failed(reason);
    };
    const stop = (): void => {
      over = true;
      socket?.close();
      video.removeAttribute("src");
      video.load();
      URL.revokeObjectURL(url);
    };
    const pump = (): void => {
      if (over || buffer === null || buffer.updating) return;
      const ranges = buffer.buffered;
      const last = ranges.length - 1;
      try {
        if (last >= 0 && ranges.end(last) - video.currentTime > BEHIND_SECONDS)
          video.currentTime = ranges.end(last) - 0.3;
        if (last >= 0 && video.currentTime < ranges.start(0)) video.currentTime = ranges.start(0);
        if (last >= 0 && video.currentTime - ranges.start(0) > 2 * KEEP_SECONDS) {
          buffer.remove(0, video.currentTime - KEEP_SECONDS);
          return;
        }
        const next = waiting.shift();
        if (next === undefined) return;
        bytes -= next.byteLength;
        buffer.appendBuffer(next);
      } catch (error) {
        end(reasonOf(error));
      }
    };
    const take = (data: ArrayBuffer): void => {
      if (buffer === null) {
        const codecs = codecsOf(data);
        if (codecs === null) {
          end("no codecs in the first fragment");
          return;
        }
        try {
          buffer = source.addSourceBuffer(`video/mp4; codecs="${codecs}"`);
        } catch (error) {
          end(reasonOf(error));
          return;
        }
        buffer.addEventListener("updateend", pump);
      }
      waiting.push(data);
      bytes += data.byteLength;
      if (bytes > WAITING_MAX) end("the browser does not keep up");
      else pump();
    };

    source.addEventListener("sourceopen", () => {
      if (over || socket !== null) return;
      socket = new WebSocket(wanted);
      socket.binaryType = "arraybuffer";
      socket.addEventListener("message", (event: MessageEvent<ArrayBuffer>) => {
        if (!over) take(event.data);
      });
      socket.addEventListener("close", (event) => {
        end(event.reason === "" ? `WebSocket ${String(event.code)}` : event.reason);
      });
    });
    video.src = url;
    video.play().catch(() => undefined);
    return { stop };
  },
};
