// WebRTC by one request (WHEP). The session is ended at the server when the player is closed.

import { refused } from "../api";
import { reasonOf, type Form, type Running } from "./form";

const GATHER_MS = 2000;

function decodes(kind: "video" | "audio", coding: string): boolean {
  const found = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
  return found.some((codec) => codec.mimeType.toLowerCase() === `${kind}/${coding}`);
}

/** The server answers without knowing our candidates by name; waiting for them shortly lets it connect to us too. */
async function gathered(connection: RTCPeerConnection): Promise<void> {
  if (connection.iceGatheringState === "complete") return;
  await new Promise<void>((resolve) => {
    window.setTimeout(resolve, GATHER_MS);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState === "complete") resolve();
    });
  });
}

class Whep implements Running {
  private readonly connection = new RTCPeerConnection();
  private session: string | null = null;
  private over = false;

  constructor(
    video: HTMLVideoElement,
    private readonly address: string,
    private readonly failed: (reason: string) => void,
  ) {
    const stream = new MediaStream();
    video.srcObject = stream;
    this.connection.addEventListener("track", (event) => {
      stream.addTrack(event.track);
    });
    this.connection.addEventListener("connectionstatechange", () => {
      if (["failed", "closed", "disconnected"].includes(this.connection.connectionState))
        this.fail(this.connection.connectionState);
    });
    this.begin().then(
      () => video.play().catch(() => undefined),
      (error: unknown) => {
        this.fail(reasonOf(error));
      },
    );
  }

  stop(): void {
    if (this.over) return;
    this.over = true;
    this.connection.close();
    if (this.session !== null) void fetch(this.session, { method: "DELETE", keepalive: true });
  }

  private fail(reason: string): void {
    if (this.over) return;
    this.stop();
    this.failed(reason);
  }

  private async begin(): Promise<void> {
    for (const kind of ["video", "audio"]) this.connection.addTransceiver(kind, { direction: "recvonly" });
    await this.connection.setLocalDescription();
    await gathered(this.connection);
    const answer = await fetch(this.address, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: this.connection.localDescription?.sdp ?? "",
    });
    if (!answer.ok) throw await refused(answer);
    const location = answer.headers.get("Location");
    if (location !== null) this.session = new URL(location, this.address).href;
    if (this.over) {
      if (this.session !== null) void fetch(this.session, { method: "DELETE" });
      return;
    }
    await this.connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  }
}

export const whep: Form = {
  id: "whep",
  label: "WebRTC",
  address: (play) => play.whep,
  lacks: (tracks) => ({ video: tracks.video_codec === "H265" && !decodes("video", "h265"), audio: false }),
  start: (video, address, _tracks, failed) => new Whep(video, address, failed),
};
