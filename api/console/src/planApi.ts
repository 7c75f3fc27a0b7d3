// The calls about record plans: when streams are recorded, and which are.

import { ApiError, ask, listChannels, type Session } from "./api";
import { StreamCalls, Streams, type Gap } from "./streamApi";
import type { WeekTimes } from "./week";
import { dayBeside, dayIn } from "./zone";

export interface PlanWish {
  name: string;
  timezone: string;
  week: WeekTimes[];
}

export interface Plan extends PlanWish {
  plan_id: string;
  /** How many have it. */
  streams: number;
  /** It wants to record now. */
  wanted: boolean;
  /** When it will say otherwise; null: never. */
  changes_at: string | null;
}

export interface PlannedStream {
  stream_name: string;
  plan_id: string;
  plan_name: string;
  wanted: boolean;
  recording_since: string | null;
}

export interface PlannedStreams {
  total: number;
  streams: PlannedStream[];
}

/** Where recordings of a stream go, and for how long they are kept. */
export interface Keeping {
  store_type: string;
  timezone: string;
  retention_in_hour?: number;
  retention_forever?: boolean;
  bucket?: string;
  path?: string;
}

/** Plans change by the hour, and what is recorded now is found by looking at all of them. */
export const PLANS_PERIOD_MS = 30_000;

const PATH = "/gb/v1/record-plans";
const SUGGESTED = 500;

export class Plans {
  constructor(private readonly session: Session) {}

  /** By name. */
  async list(offset: number, limit: number): Promise<{ total: number; plans: Plan[] }> {
    const query = new URLSearchParams({ offset: String(offset), limit: String(limit) });
    return ask(this.session, "GET", `${PATH}?${query.toString()}`);
  }

  async create(wish: PlanWish): Promise<Plan> {
    return ask(this.session, "POST", PATH, wish);
  }

  async change(id: string, wish: PlanWish): Promise<Plan> {
    return ask(this.session, "PUT", `${PATH}/${id}`, wish);
  }

  async remove(id: string): Promise<void> {
    await ask(this.session, "DELETE", `${PATH}/${id}`);
  }

  /** What is recorded now because of a plan, or ought to be. */
  async recording(limit: number): Promise<PlannedStreams> {
    return ask(this.session, "GET", `${PATH}/recording?limit=${String(limit)}`);
  }

  async streams(id: string, offset: number, limit: number): Promise<PlannedStreams> {
    const query = new URLSearchParams({ offset: String(offset), limit: String(limit) });
    return ask(this.session, "GET", `${PATH}/${id}/streams?${query.toString()}`);
  }

  async give(id: string, stream: string): Promise<void> {
    await ask(this.session, "PUT", `${PATH}/${id}/streams`, { add: [stream] });
  }

  async take(id: string, stream: string): Promise<void> {
    await ask(this.session, "PUT", `${PATH}/${id}/streams`, { remove: [stream] });
  }

  async keep(stream: string, keeping: Keeping): Promise<void> {
    const path = `/v1/${this.session.project}/streams/${encodeURIComponent(stream)}/retention`;
    await ask(this.session, "PUT", path, keeping);
  }

  /** Names of streams, with what people call the channels among them. */
  async suggestions(): Promise<ReadonlyMap<string, string>> {
    const [{ streams }, { channels }] = await Promise.all([
      new Streams(this.session).own(0, SUGGESTED),
      listChannels(this.session, 0, SUGGESTED),
    ]);
    return new Map([
      ...streams.map((one) => [one.name, ""] as const),
      ...channels.map((one) => [one.stream_name, one.name] as const),
    ]);
  }

  /**
   * Milliseconds of today that ought to have been recorded and were not, by cause; none of what is not retained.
   * `zone` is likely that of the retention, whose day it is.
   */
  async missing(stream: string, zone: string, now: Date): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    for (const gap of await this.gaps(new StreamCalls(this.session, stream), zone, now))
      if (gap.frames === 0)
        found.set(gap.cause, (found.get(gap.cause) ?? 0) + Date.parse(gap.end) - Date.parse(gap.begin));
    return found;
  }

  private async gaps(stream: StreamCalls, zone: string, now: Date): Promise<Gap[]> {
    const guess = dayIn(zone, now);
    try {
      const told = await stream.gaps(guess);
      const day = dayBeside(guess, told.begin, now);
      return day === guess ? told.gaps : (await stream.gaps(day)).gaps;
    } catch (error) {
      if (error instanceof ApiError && error.reason?.code === "not_retained") return [];
      throw error;
    }
  }
}
