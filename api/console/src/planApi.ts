// The calls about record plans: when streams are recorded, and which are.

import { ask, listChannels, type Session } from "./api";
import { StreamCalls, Streams } from "./streamApi";
import type { WeekTimes } from "./week";

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

const PATH = "/gb/v1/record-plans";
const SUGGESTED = 500;

export class Plans {
  constructor(private readonly session: Session) {}

  async list(): Promise<Plan[]> {
    return (await ask<{ plans: Plan[] }>(this.session, "GET", PATH)).plans;
  }

  async show(id: string): Promise<Plan> {
    return ask(this.session, "GET", `${PATH}/${id}`);
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

  /** Milliseconds of a day that ought to have been recorded and were not, by cause. */
  async missing(stream: string, day: string): Promise<ReadonlyMap<string, number>> {
    const { gaps } = await new StreamCalls(this.session, stream).gaps(day);
    const found = new Map<string, number>();
    for (const gap of gaps)
      if (gap.frames === 0)
        found.set(gap.cause, (found.get(gap.cause) ?? 0) + Date.parse(gap.end) - Date.parse(gap.begin));
    return found;
  }
}
