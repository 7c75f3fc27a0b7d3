// Figures as people read them.

import type { StreamFigures } from "./api";

export function bitRate(bps: number): string {
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  if (bps >= 1e3) return `${(bps / 1e3).toFixed(0)} kbit/s`;
  return `${bps.toFixed(0)} bit/s`;
}

export function describe(stream: StreamFigures): string {
  const parts: string[] = [];
  if (stream.video_codec !== null) {
    parts.push(`${stream.video_codec} ${String(stream.width)}×${String(stream.height)}`);
    parts.push(`${stream.fps.toFixed(1)} fps`);
  }
  if (stream.audio_codec !== null) parts.push(stream.audio_codec);
  parts.push(bitRate(stream.rate_in_bps));
  if (stream.expected > 0) parts.push(`${String(stream.received)}/${String(stream.expected)}`);
  return parts.join(" · ");
}

export function viewerCount(stream: StreamFigures): number {
  return Object.values(stream.viewers).reduce((sum, count) => sum + count, 0);
}

export function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e3).toFixed(0)} kB`;
}

/** How long it lasted: 35 s, 12 min, 1 h 05 min. */
export function span(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${String(Math.round(ms / 1000))} s`;
  if (minutes < 60) return `${String(minutes)} min`;
  return `${String(Math.floor(minutes / 60))} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** When it began, as this clock shows it; with the day if that is not today. */
export function since(moment: string, now = new Date()): string {
  const at = new Date(moment);
  return at.toDateString() === now.toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}
