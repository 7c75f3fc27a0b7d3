// The calls about one stream: who takes it, where it comes from, what is kept of it.

import { ask, type PlayAddresses, type Session, type StreamFigures } from "./api";

export interface Stream {
  name: string;
  access_type: "GB28181" | "RTMP" | "HTTP-FLV";
  share_type: string;
  state: "ACTIVE" | "STOPPED";
  source: { state: string; peer: string | null; reason: string; reason_code: string } | null;
  stream: StreamFigures | null;
  play: PlayAddresses | null;
}

export interface Viewer {
  id: number;
  protocol: string;
  peer: string | null;
  since: string;
  bytes_out: number;
  skips: number;
  user_agent: string;
}

export interface Push {
  push_id: string;
  url: string;
  state: string;
  bytes_out: number;
  reason: string;
  reason_code: string;
}

export interface Sender {
  id: number;
  transport: string;
  payload: string;
  ssrc: number;
  peer: string | null;
  state: string;
  bytes: number;
}

export interface Input {
  /** What it is called in whatever place. */
  id: string;
  number: number;
  url: string;
  backup: string;
  active: boolean;
  ready: boolean;
}

export interface Recording {
  id: string;
  begin: string;
  end: string;
  size_bytes: number;
  video: string;
  url: string;
}

export interface Gap {
  begin: string;
  end: string;
  cause: string;
  frames: number;
}

export interface Playback {
  id: string;
  position: string;
  speed: number;
  paused: boolean;
  play: PlayAddresses;
}

/** What is chosen for a stream, by name (null: nothing), and what counts. */
export interface OptionsView {
  own: Record<string, unknown>;
  effective: Record<string, unknown>;
}

export interface NewStream {
  name: string;
  access_type: "RTMP" | "HTTP-FLV";
  encode_type: "H264" | "H265";
  share_type: "PRIVATE" | "PUBLIC";
  url?: string;
}

export interface PushAddress {
  server: string;
  stream_key: string;
  rtsp: string | null;
  whip: string | null;
}

/** The streams of a project. */
export class Streams {
  constructor(private readonly session: Session) {}

  /** Those made by hand, by name. */
  async own(offset: number, limit: number): Promise<{ total: number; streams: Stream[] }> {
    const query = new URLSearchParams({ own: "true", offset: String(offset), limit: String(limit) });
    return ask(this.session, "GET", `/gb/v1/streams?${query.toString()}`);
  }

  async create(made: NewStream): Promise<void> {
    await ask(this.session, "POST", `/v1/${this.session.project}/streams`, made);
    await this.setActive(made.name, true);
  }

  async setActive(name: string, active: boolean): Promise<void> {
    await ask(this.session, "PUT", this.stored(name), { state: active ? "ACTIVE" : "STOPPED" });
  }

  async remove(name: string): Promise<void> {
    await ask(this.session, "DELETE", this.stored(name));
  }

  private stored(name: string): string {
    return `/v1/${this.session.project}/streams/${encodeURIComponent(name)}`;
  }
}

/** One stream, and all that hangs on it. */
export class StreamCalls {
  private readonly path: string;

  constructor(
    private readonly session: Session,
    readonly name: string,
  ) {
    this.path = `/gb/v1/streams/${encodeURIComponent(name)}`;
  }

  async show(): Promise<Stream> {
    return this.ask("GET", "");
  }

  async pushAddress(): Promise<PushAddress> {
    return this.ask("POST", "/push-address");
  }

  async viewers(): Promise<Viewer[]> {
    return (await this.ask<{ viewers: Viewer[] }>("GET", "/viewers")).viewers;
  }

  async kick(viewer: Viewer): Promise<void> {
    await this.ask("DELETE", `/viewers/${String(viewer.id)}`);
  }

  async pushes(): Promise<Push[]> {
    return (await this.ask<{ pushes: Push[] }>("GET", "/pushes")).pushes;
  }

  async addPush(url: string): Promise<void> {
    await this.ask("POST", "/pushes", { url });
  }

  async removePush(push: Push): Promise<void> {
    await this.ask("DELETE", `/pushes/${push.push_id}`);
  }

  async senders(): Promise<Sender[]> {
    return (await this.ask<{ senders: Sender[] }>("GET", "/senders")).senders;
  }

  async addSender(transport: string, host: string, port: number, ssrc: number): Promise<void> {
    await this.ask("POST", "/senders", { transport, host, port, ssrc });
  }

  async removeSender(sender: Sender): Promise<void> {
    await this.ask("DELETE", `/senders/${String(sender.id)}`);
  }

  async inputs(): Promise<Input[]> {
    return (await this.ask<{ inputs: Input[] }>("GET", "/inputs")).inputs;
  }

  async switchInput({ number, id }: Input): Promise<void> {
    await this.ask("POST", "/inputs/switch", { number, id });
  }

  async addInput(url: string, backup: string): Promise<void> {
    await this.ask("POST", "/inputs", { url, backup });
  }

  async removeInput({ number, id }: Input): Promise<void> {
    await this.ask("DELETE", `/inputs/${String(number)}?id=${id}`);
  }

  async options(): Promise<OptionsView> {
    return this.ask("GET", "/options");
  }

  /** In the place of all that was chosen before. */
  async choose(chosen: Record<string, unknown>): Promise<OptionsView> {
    return this.ask("PUT", "/options", chosen);
  }

  async recordings(begin: Date, end: Date): Promise<Recording[]> {
    const query = new URLSearchParams({ begin: begin.toISOString(), end: end.toISOString() });
    const found = await this.ask<{ recordings: Recording[] }>("GET", `/recordings?${query.toString()}`);
    return found.recordings;
  }

  /** `begin` is midnight in the time zone of the stream's retention. */
  async gaps(day: string): Promise<{ begin: string; gaps: Gap[] }> {
    return this.ask("GET", `/recordings/gaps?day=${day}`);
  }

  async playBack(begin: Date, end: Date, speed: number): Promise<Playback> {
    return this.ask("POST", "/playbacks", { begin, end, speed, paused: true });
  }

  async playback(id: string): Promise<Playback> {
    return this.ask("GET", `/playbacks/${id}`);
  }

  async steer(id: string, wish: { position?: Date; speed?: number; paused?: boolean }): Promise<Playback> {
    return this.ask("PATCH", `/playbacks/${id}`, wish);
  }

  async endPlayback(id: string): Promise<void> {
    await this.ask("DELETE", `/playbacks/${id}`);
  }

  private async ask<T>(method: string, more: string, body?: unknown): Promise<T> {
    return ask<T>(this.session, method, this.path + more, body);
  }
}
