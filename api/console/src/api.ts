// The calls this page makes. Errors say what the server said, in the reader's language as far as that is known.

import { fieldOf, readReason, sayReason, type Reason } from "./reasons";
import { chineseReader } from "./text";

export interface StreamFigures {
  video_codec: string | null;
  width: number;
  height: number;
  fps: number;
  audio_codec: string | null;
  /** Formats of `PlayAddresses` that leave the sound out. */
  without_sound: readonly string[];
  rate_in_bps: number;
  received: number;
  expected: number;
  viewers: Record<string, number>;
}

export interface PlayAddresses {
  http_flv: string;
  ws_flv: string;
  http_ts: string;
  ws_ts: string;
  http_fmp4: string;
  ws_fmp4: string;
  hls: string;
  hls_fmp4: string;
  hls_ll: string;
  rtmp: string | null;
  rtsp: string | null;
  whep: string | null;
}

export interface Channel {
  device_id: string;
  channel_id: string;
  name: string;
  device_state: string;
  invitation_status: string;
  stream_name: string;
  stream: StreamFigures | null;
  play: PlayAddresses | null;
  failure: string | null;
  failure_cause: string | null;
}

export interface Finding {
  step: "registration" | "keepalive" | "catalogue" | "invitation" | "media" | "picture" | "viewers";
  verdict: "ok" | "waiting" | "warning" | "error";
  code: string;
  values: Record<string, string>;
  text: string;
  advice: string;
}

export interface Diagnosis {
  at: string;
  device_id: string;
  channel_id: string | null;
  main: Finding | null;
  findings: Finding[];
}

export interface Login {
  token: string;
  project: string;
  user: string;
}

export interface Session extends Login {
  /** Called when the token is good no more. */
  expired(complaint: string): void;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** Where the API tells one. */
    readonly code: string | null = null,
    readonly reason: Reason | null = null,
  ) {
    super(message);
  }

  /** The field that is wrong, as the API calls it. */
  get field(): string | null {
    return fieldOf(this.reason);
  }
}

interface ErrorBody {
  error_code?: string;
  error_msg?: string;
  detail?: string;
}

/** What a refusal says. */
export async function refused(response: Response): Promise<ApiError> {
  const { status, statusText } = response;
  const body = (await response.json().catch(() => null)) as ErrorBody | null; // not JSON: the status line says it all
  const said = body?.error_msg ?? body?.detail ?? `${String(status)} ${statusText}`;
  const reason = readReason(response.headers.get("X-Error-Reason"));
  return new ApiError(status, sayReason(reason, said, chineseReader), body?.error_code ?? null, reason);
}

async function call(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, init);
  if (response.ok) return response;
  throw await refused(response);
}

/** Status 403 is also that of a bucket that may not be read: only the code tells. */
function isExpiry(error: ApiError): boolean {
  return error.status === 401 || error.code === "VIS.0001";
}

/** A call by who is logged in; what it answers, if it answers anything. */
export async function ask<T>(session: Session, method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { "X-Auth-Token": session.token };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const response = await call(path, init).catch((error: unknown) => {
    if (error instanceof ApiError && isExpiry(error)) session.expired(error.message);
    throw error;
  });
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

export async function logIn(name: string, password: string): Promise<Login> {
  const user = { name, password, domain: { name } };
  const body = { auth: { identity: { methods: ["password"], password: { user } } } };
  const response = await call("/v3/auth/tokens", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const token = response.headers.get("X-Subject-Token");
  const answer = (await response.json()) as { token: { project: { id: string } } };
  if (token === null) throw new ApiError(response.status, "the answer carries no token");
  return { token, project: answer.token.project.id, user: name };
}

export interface ChannelPage {
  total: number;
  channels: Channel[];
}

export async function listChannels(session: Session, offset: number, limit: number): Promise<ChannelPage> {
  const query = new URLSearchParams({ offset: String(offset), limit: String(limit) });
  return ask(session, "GET", `/gb/v1/channels?${query.toString()}`);
}

export async function diagnose(session: Session, channel: Channel): Promise<Diagnosis> {
  return ask(session, "GET", `/gb/v1/channels/${channel.device_id}/${channel.channel_id}/diagnosis`);
}

export async function setInvited(session: Session, channel: Channel, invited: boolean): Promise<void> {
  const path = `/v1/${session.project}/devices/${channel.device_id}/channels/${channel.channel_id}`;
  await ask(session, "PUT", path, { state: invited ? "ACTIVE" : "STOPPED" });
}
