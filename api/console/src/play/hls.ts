// HLS of fragments, in short parts. The library comes when it is first wanted.

import { mediaSourceLacks, reasonOf, type Form } from "./form";

export const hls: Form = {
  id: "hls",
  label: "HLS",
  address: (play) => play.hls_ll,
  lacks: mediaSourceLacks,
  start(video, address, _tracks, failed) {
    let stopped = false;
    let destroy = (): void => undefined;
    import("hls.js").then(
      ({ default: Hls }) => {
        if (stopped) return;
        const player = new Hls({ lowLatencyMode: true });
        destroy = () => {
          player.destroy();
        };
        player.on(Hls.Events.ERROR, (_event, data) => {
          if (data.fatal) failed(data.details);
        });
        player.loadSource(address);
        player.attachMedia(video);
        video.play().catch(() => undefined);
      },
      (error: unknown) => {
        failed(reasonOf(error));
      },
    );
    return {
      stop: () => {
        stopped = true;
        destroy();
      },
    };
  },
};
