// The calls this page makes. Errors carry the server's own words, for they tell the operator what to do.

export interface StreamFigures {
  video_codec: string | null;
  width: number;
  height: number;
  fps: number;
  audio_codec: string | null;
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

export interface Session {
  token: string;
  project: string;
  user: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface ErrorBody {
  error_msg?: string;
  detail?: string;
}

async function call(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, init);
  if (response.ok) return response;
  let message = `${String(response.status)} ${response.statusText}`;
  try {
    const body = (await response.json()) as ErrorBody;
    message = body.error_msg ?? body.detail ?? message;
  } catch {
    // not JSON: the status line says it all
  }
  throw new ApiError(response.status, message);
}

export async function logIn(name: string, password: string): Promise<Session> {
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
  const response = await call(`/gb/v1/channels?${query.toString()}`, {
    headers: { "X-Auth-Token": session.token },
  });
  return (await response.json()) as ChannelPage;
}

export async function diagnose(session: Session, channel: Channel): Promise<Diagnosis> {
  const { device_id, channel_id } = channel;
  const response = await call(`/gb/v1/channels/${device_id}/${channel_id}/diagnosis`, {
    headers: { "X-Auth-Token": session.token },
  });
  return (await response.json()) as Diagnosis;
}

export async function setInvited(session: Session, channel: Channel, invited: boolean): Promise<void> {
  const { device_id, channel_id } = channel;
  await call(`/v1/${session.project}/devices/${device_id}/channels/${channel_id}`, {
    method: "PUT",
    headers: { "X-Auth-Token": session.token, "Content-Type": "application/json" },
    body: JSON.stringify({ state: invited ? "ACTIVE" : "STOPPED" }),
  });
}
