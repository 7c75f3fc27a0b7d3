// A way to bring live video into a <video>: what it needs of the browser, and what it starts.

import { ApiError, type PlayAddresses } from "../api";
import type { Complaint } from "../refusals";

export interface Tracks {
  video_codec: string | null;
  audio_codec: string | null;
}

export interface Running {
  stop(): void;
}

export interface Form {
  readonly id: string;
  readonly label: string;
  /** Where it plays; null where the server does not offer it. */
  address(play: PlayAddresses): string | null;
  /** What of the stream this browser cannot play in this form. */
  lacks(tracks: Tracks): { video: boolean; audio: boolean };
  /** Starts; `failed` is called once, when it ends by itself. */
  start(video: HTMLVideoElement, address: string, tracks: Tracks, failed: (reason: string) => void): Running;
}

const H265 = 'video/mp4; codecs="hvc1.1.6.L93.B0"';

/** What Media Source Extensions cannot play: H.265 in most browsers, every sound but AAC. */
export function mediaSourceLacks(tracks: Tracks): { video: boolean; audio: boolean } {
  return {
    video: tracks.video_codec === "H265" && !MediaSource.isTypeSupported(H265),
    audio: tracks.audio_codec !== null && tracks.audio_codec !== "AAC",
  };
}

/** What an error says of itself, told apart by field. */
export function complaintOf(error: unknown): Complaint {
  if (error instanceof ApiError) return error;
  return { message: reasonOf(error), field: null, reason: null };
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
