// Days and distances from UTC of time zones: names of the IANA database, or GMT+HH:00. No page.

import { DAY_MS, dateText } from "./day";

const HOUR_MS = 3_600_000;
const FIXED = /^GMT[+-]/;

function isoDay(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** The zone's distance from UTC at that moment, as whole hours, for that is what retentions know. */
export function fixedZone(zone: string, at: Date): string {
  if (FIXED.test(zone)) return zone;
  const told = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" })
    .formatToParts(at)
    .find((part) => part.type === "timeZoneName")?.value;
  return `GMT${/[+-]\d\d/.exec(told ?? "")?.[0] ?? "+00"}:00`;
}

/** The zone as browsers call it, who know `+08:00` and no GMT before it. */
export function browserZone(zone: string): string {
  return FIXED.test(zone) ? zone.slice(3) : zone;
}

/** YYYY-MM-DD as clocks of the zone show it; as this one's, if the browser does not know the zone. */
export function dayIn(zone: string, at: Date): string {
  const hours = /^GMT([+-]\d{1,2})(?::00)?$/.exec(zone)?.[1];
  if (hours !== undefined) return isoDay(at.getTime() + Number(hours) * HOUR_MS);
  try {
    return new Intl.DateTimeFormat("en-CA", {
      timeZone: zone,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
    }).format(at);
  } catch {
    return dateText(at);
  }
}

/** YYYY-MM-DD of a moment in the zone whose `day` began at `midnight`; every day of it has 24 hours. */
export function dayBeside(day: string, midnight: string, at: Date): string {
  const days = Math.floor((at.getTime() - Date.parse(midnight)) / DAY_MS);
  return isoDay(Date.parse(day) + days * DAY_MS);
}
