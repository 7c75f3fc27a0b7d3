//! Answers media routes: who may play, and what a player gets first.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use wire::websocket;

use super::{
    Shared,
    directory::{Directory, Form, Framing, Player},
    hls,
    reply::{self, Body, Problem},
    rights::{self, Claim, Refusal},
    route::{Query, Route, Target},
    takeover::{Destination, TakeOver},
};

/// How long the application may take to judge a token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);
/// Where clients show their token.
const TOKEN: &str = "x-auth-token";

/// What becomes of a request.
pub(super) enum Answer {
    /// hyper writes it.
    Reply(Response<Body>),
    /// The socket leaves hyper.
    TakeOver(TakeOver),
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self::Reply(response)
    }
}

impl From<Result<Response<Body>, Problem>> for Answer {
    fn from(result: Result<Response<Body>, Problem>) -> Self {
        Self::Reply(result.unwrap_or_else(Problem::into))
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        Self::Reply(problem.into())
    }
}

pub(super) const UNKNOWN_STREAM: Problem =
    Problem::new(StatusCode::NOT_FOUND, "stream_not_found", "there is no such stream at the moment");

/// Answers a request for `route` from `peer` at `now_s` (UNIX seconds).
pub(super) async fn answer(
    shared: &Shared,
    peer: SocketAddr,
    request: &Parts,
    route: Route,
    now_s: u64,
) -> Answer {
    match request.method {
        Method::OPTIONS => return reply::options().into(),
        Method::GET | Method::HEAD => {}
        _ => {
            let message = "media is read with GET or HEAD";
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            return problem.with(header::ALLOW, "GET, HEAD, OPTIONS").into();
        }
    }
    let query = Query::parse(request.uri.query().unwrap_or_default());
    let live_form = match route.target {
        Target::Live(format) => Some(query.form(format)),
        _ => None,
    };
    let token = request.headers.get(TOKEN).and_then(|token| token.to_str().ok());
    let protocol = live_form.map_or("hls", |form| form.protocol(is_websocket(&request.headers)).name());
    let Route { app, name, .. } = &route;
    let claim =
        Claim { app, name, peer, protocol, query: &query, token, proof: None, again: live_form.is_none() };
    let directory = shared.directory.as_ref();
    let name = match rights::admit(directory, &shared.play_key, &claim, now_s, TOKEN_PATIENCE).await {
        Ok(name) => name,
        Err(refusal) => return Problem::from(refusal).into(),
    };
    let route = Route { name, ..route };
    let Route { app, name, .. } = &route;
    let agent = agent(&request.headers);
    let player = Player { key: viewer(peer, &request.headers, &query), peer, agent: &agent };
    match &route.target {
        Target::Live(format) => live(directory, request, &route, query.form(*format)),
        Target::Playlist(container) => match directory.segments(app, name, *container, player) {
            Ok(feed) => hls::playlist(feed, &query).await.into(),
            Err(denied) => Problem::from(Refusal::from(denied)).into(),
        },
        Target::File(container, file) => match directory.segments(app, name, *container, player) {
            Ok(feed) => hls::segment(feed, *container, file).await.into(),
            Err(denied) => Problem::from(Refusal::from(denied)).into(),
        },
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, later) = match refusal {
            Refusal::UnknownStream => return UNKNOWN_STREAM,
            Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some("1")),
            Refusal::TooManyViewers | Refusal::SoundUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, Some("5"))
            }
            _ => (StatusCode::FORBIDDEN, None),
        };
        let problem = Self::new(status, refusal.code(), refusal.message());
        later.into_iter().fold(problem, |problem, later| problem.with(header::RETRY_AFTER, later))
    }
}

fn live(directory: &dyn Directory, request: &Parts, route: &Route, form: Form) -> Answer {
    let (head, framing) = if is_websocket(&request.headers) {
        match handshake(request) {
            Ok(head) => (head, Framing::WebSocket),
            Err(refusal) => return refusal.into(),
        }
    } else if request.method == Method::HEAD {
        return reply::media(form.media_type(), 0, reply::full(Bytes::new())).into();
    } else {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nCache-Control: no-store\r\n\
             Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n",
            form.media_type()
        );
        (head, Framing::Plain)
    };
    let seat = match directory.seat(&route.app, &route.name, form.output()) {
        Ok(seat) => seat,
        Err(denied) => return Problem::from(Refusal::from(denied)).into(),
    };
    let (app, name, agent) = (route.app.clone(), route.name.clone(), agent(&request.headers));
    let destination = Destination::Stream { app, name, form, framing, seat, agent };
    Answer::TakeOver(TakeOver { head: head.into(), destination })
}

/// What a client calls itself, not longer than lists of viewers should show.
fn agent(headers: &HeaderMap) -> String {
    let said = headers.get(header::USER_AGENT).map_or(&b""[..], http::HeaderValue::as_bytes);
    wire::agent::agent(&String::from_utf8_lossy(said))
}

/// Whether the client asks to speak WebSocket (RFC 6455 §4.2.1).
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &header::CONNECTION, "upgrade") && has_token(headers, &header::UPGRADE, "websocket")
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

/// The answer to a good handshake (RFC 6455 §4.2.2). The first subprotocol offered is agreed to: players offer names of
/// their own, and browsers give up if none is chosen.
fn handshake(request: &Parts) -> Result<String, Problem> {
    let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let bad = |message| Problem::new(StatusCode::BAD_REQUEST, "bad_handshake", message);
    if request.method != Method::GET {
        return Err(bad("a WebSocket begins with GET"));
    }
    if text(header::SEC_WEBSOCKET_VERSION) != Some("13") {
        let message = "only version 13 of WebSocket is spoken";
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "bad_handshake", message);
        return Err(problem.with(header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let key = text(header::SEC_WEBSOCKET_KEY).filter(|key| websocket::is_key(key));
    let accept = websocket::accept_key(key.ok_or(bad("Sec-WebSocket-Key is not 16 bytes in base64"))?);
    let offered = text(header::SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.split(',').next());
    let agreed = match offered.map(str::trim) {
        None | Some("") => String::new(),
        Some(protocol) => format!("Sec-WebSocket-Protocol: {protocol}\r\n"),
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{agreed}\r\n"
    ))
}

/// The same number for all requests of one HLS player, as far as address, player, signature and token tell.
fn viewer(peer: SocketAddr, headers: &HeaderMap, query: &Query) -> u64 {
    let mut hasher = DefaultHasher::new();
    peer.ip().hash(&mut hasher);
    headers.get(header::USER_AGENT).map(http::HeaderValue::as_bytes).hash(&mut hasher);
    query.sign.hash(&mut hasher);
    query.token.hash(&mut hasher);
    headers.get(TOKEN).map(http::HeaderValue::as_bytes).hash(&mut hasher);
    hasher.finish()
}
