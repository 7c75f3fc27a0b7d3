// The week of a record plan: which minutes of which days, painted by hours, typed to the minute. No page.

export const DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"] as const;
export type Day = (typeof DAYS)[number];
export const DAY_MINUTES = 1440;

/** Minutes since midnight; `to` is not part of it. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** The ranges of each of the seven days, in order and apart from each other; Monday is the first. */
export type Week = readonly (readonly Range[])[];

/** As the API tells and takes it. */
export interface WeekTimes {
  days: string[];
  start: string;
  end: string;
}

export const EMPTY: Week = DAYS.map(() => []);
export const ALWAYS: Week = DAYS.map(() => [{ from: 0, to: DAY_MINUTES }]);

/** In order; those that overlap or meet are one. */
export function merged(ranges: readonly Range[]): Range[] {
  const found: Range[] = [];
  for (const one of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = found.at(-1);
    if (last !== undefined && one.from <= last.to)
      found[found.length - 1] = { from: last.from, to: Math.max(last.to, one.to) };
    else found.push(one);
  }
  return found;
}

function without(ranges: readonly Range[], { from, to }: Range): Range[] {
  return ranges
    .flatMap((one) => [
      { from: one.from, to: Math.min(one.to, from) },
      { from: Math.max(one.from, to), to: one.to },
    ])
    .filter((one) => one.from < one.to);
}

/** How much of a span is covered: none, some, or all of it. */
export function cover(ranges: readonly Range[], { from, to }: Range): "none" | "some" | "all" {
  const minutes = ranges.reduce(
    (sum, one) => sum + Math.max(0, Math.min(one.to, to) - Math.max(one.from, from)),
    0,
  );
  return minutes === 0 ? "none" : minutes === to - from ? "all" : "some";
}

/** A cell of the grid. */
export interface Hour {
  readonly day: number;
  readonly hour: number;
}

export function spanOf({ hour }: Hour): Range {
  return { from: hour * 60, to: (hour + 1) * 60 };
}

/** The week with the rectangle between two cells wanted, or not wanted any more. */
export function painted(week: Week, one: Hour, other: Hour, wanted: boolean): Week {
  const [top, bottom] = [Math.min(one.day, other.day), Math.max(one.day, other.day)];
  const span = {
    from: Math.min(one.hour, other.hour) * 60,
    to: (Math.max(one.hour, other.hour) + 1) * 60,
  };
  return week.map((ranges, day) => {
    if (day < top || day > bottom) return ranges;
    return wanted ? merged([...ranges, span]) : without(ranges, span);
  });
}

function clock(minutes: number): string {
  return [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, "0")).join(":");
}

function minutes(text: string): number | null {
  const [, hours, more = "0"] = /^(\d{1,2})(?:[:：](\d{2}))?$/.exec(text) ?? [];
  if (hours === undefined) return null;
  const found = Number(hours) * 60 + Number(more);
  return Number(more) < 60 && found <= DAY_MINUTES ? found : null;
}

/** "08:00–12:30, 14:00–18:00". */
export function written(ranges: readonly Range[]): string {
  return ranges.map(({ from, to }) => `${clock(from)}–${clock(to)}`).join(", ");
}

/** What somebody typed: "8-12:30, 14–18"; null if that cannot be read. Nothing is no range. */
export function read(typed: string): Range[] | null {
  const parts = typed
    .split(/[,;，；、]/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
  const found: Range[] = [];
  for (const part of parts) {
    const [first = "", second = "", ...more] = part.split(/\s*[-–—~～]\s*/);
    const [from, to] = [minutes(first), minutes(second)];
    if (from === null || to === null || from >= to || more.length > 0) return null;
    found.push({ from, to });
  }
  return merged(found);
}

export function fromTimes(times: readonly WeekTimes[]): Week {
  return DAYS.map((day) =>
    merged(
      times
        .filter((one) => one.days.includes(day))
        .map((one) => ({ from: minutes(one.start) ?? 0, to: minutes(one.end) ?? 0 })),
    ),
  );
}

export function toTimes(week: Week): WeekTimes[] {
  const found = new Map<string, WeekTimes>();
  week.forEach((ranges, at) => {
    for (const one of ranges) {
      const key = written([one]);
      const times = found.get(key) ?? { days: [], start: clock(one.from), end: clock(one.to) };
      times.days.push(DAYS[at] ?? "MON");
      found.set(key, times);
    }
  });
  return [...found.values()];
}
