// A day of recordings as numbers: where each lies on the bar, what is at a moment. No clock, no page.

export const DAY_MS = 86_400_000;

export interface Span {
  /** Milliseconds since midnight. */
  from: number;
  to: number;
}

/** The part of it that lies within the day; null if none does. */
export function within(begin: string, end: string, midnight: Date): Span | null {
  const from = Math.max(0, Date.parse(begin) - midnight.getTime());
  const to = Math.min(DAY_MS, Date.parse(end) - midnight.getTime());
  return from < to ? { from, to } : null;
}

/** The moment itself if it was recorded, else the next that was; null behind the last. `spans` are in order. */
export function recordedAt(spans: readonly Span[], moment: number): number | null {
  for (const span of spans) if (moment < span.to) return Math.max(moment, span.from);
  return null;
}

/** HH:MM:SS of a moment of the day. */
export function clock(moment: number): string {
  const seconds = Math.floor(moment / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** YYYY-MM-DD as this clock shows it, `days` later. */
export function dateText(at: Date, days = 0): string {
  const moved = new Date(at.getFullYear(), at.getMonth(), at.getDate() + days);
  const parts = [moved.getFullYear(), moved.getMonth() + 1, moved.getDate()];
  return parts.map((part) => String(part).padStart(2, "0")).join("-");
}
