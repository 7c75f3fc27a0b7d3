//! Passes requests to the HTTP/1.1 server on the Unix socket behind the door. Bodies are streamed; each client connection
//! has at most one connection upstream, which lives as long as it.

use std::{net::IpAddr, path::Path, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header,
    uri::PathAndQuery,
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

use crate::listener::Proxies;

use super::{
    media::{Answer, is_websocket},
    reply::Problem,
    takeover::{Destination, TakeOver},
};

/// How long the server behind may think before it answers.
const ANSWER: Duration = Duration::from_secs(120);

/// RFC 9110 §7.6.1: these are between two neighbours only, as is what Connection names.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What went wrong upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Nobody listens.
    Away,
    /// It broke off, or did not speak HTTP.
    Broken,
    /// It took too long.
    Late,
}

/// How a request came to us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) client: IpAddr,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
}

impl Came {
    /// The same request, if a trusted proxy tells that somebody else asked it.
    pub(super) fn passed_on(self, proxies: &Proxies, headers: &HeaderMap) -> Self {
        if !proxies.has(self.client) {
            return self;
        }
        // A line that is no text counts too: leaving it out would leave out what the proxy added to it.
        let told = |name| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let lines: Vec<_> = told("x-forwarded-for").collect();
        let secure =
            told("x-forwarded-proto").next_back().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Self {
            client: proxies.client(self.client, lines.iter().map(AsRef::as_ref)),
            scheme: if secure { "https" } else { self.scheme },
        }
    }
}

/// The connection upstream that belongs to one client connection.
#[derive(Default)]
pub(super) struct Upstream {
    sender: Option<http1::SendRequest<Incoming>>,
}

impl Upstream {
    /// Passes a request on and its answer back.
    pub(super) async fn forward(&mut self, socket: &Path, came: Came, request: Request<Incoming>) -> Answer {
        let upgrade = is_websocket(request.headers());
        let request = outbound(request, came, upgrade);
        match self.exchange(socket, request, upgrade).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.sender = None;
                Problem::from(failure).into()
            }
        }
    }

    async fn exchange(
        &mut self,
        socket: &Path,
        request: Request<Incoming>,
        upgrade: bool,
    ) -> Result<Answer, Failure> {
        let answered = timeout(ANSWER, self.send(socket, request)).await;
        let mut response = answered.map_err(|_| Failure::Late)??;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            strip_hop_by_hop(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            return Ok(response.map(BodyExt::boxed).into());
        }
        self.sender = None;
        if !upgrade {
            return Err(Failure::Broken);
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(|_| Failure::Broken)?;
        let destination = Destination::Upstream(upgraded);
        Ok(Answer::TakeOver(TakeOver { head: switching_head(response.headers_mut()), destination }))
    }

    /// Sends on the open connection, or on a new one if that was closed before it took the request.
    async fn send(
        &mut self,
        socket: &Path,
        mut request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Failure> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.sender = Some(sender);
                    return Ok(response);
                }
                Err(mut error) => request = error.take_message().ok_or(Failure::Broken)?,
            }
        }
        let mut sender = connect(socket).await?;
        let response = sender.send_request(request).await.map_err(|_| Failure::Broken)?;
        self.sender = Some(sender);
        Ok(response)
    }
}

async fn connect(socket: &Path) -> Result<http1::SendRequest<Incoming>, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|_| Failure::Away)?;
    let made = http1::Builder::new().handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|_| Failure::Broken)?;
    // It ends with its sender, which the client's connection owns.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// The request as it goes upstream: what only concerned the client's hop is out, and where it came from is in.
fn outbound(request: Request<Incoming>, came: Came, upgrade: bool) -> Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host); // RFC 9112 §3.2.2: the absolute form overrides Host
    }
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    strip_hop_by_hop(&mut parts.headers);
    strip_forwarded(&mut parts.headers);
    parts.headers.entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    if let Ok(address) = HeaderValue::from_str(&came.client.to_canonical().to_string()) {
        parts.headers.insert("x-forwarded-for", address);
    }
    parts.headers.insert("x-forwarded-proto", HeaderValue::from_static(came.scheme));
    if upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    Request::from_parts(parts, body)
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let lists = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names: Vec<HeaderName> =
        lists.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    for name in names.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// What is told of where a request came from is used where a trusted proxy told it, and passed on by nobody.
fn strip_forwarded(headers: &mut HeaderMap) {
    let is_claim = |name: &&HeaderName| {
        matches!(name.as_str(), "forwarded" | "x-real-ip") || name.as_str().starts_with("x-forwarded-")
    };
    let names: Vec<HeaderName> = headers.keys().filter(is_claim).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The head of a 101, to be written by hand.
fn switching_head(headers: &mut HeaderMap) -> Bytes {
    strip_hop_by_hop(headers);
    let mut head =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n".to_vec();
    for (name, value) in headers.iter() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away => {
                let message = "the application behind this port is not there yet";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_away", message)
                    .with(header::RETRY_AFTER, "1")
            }
            Failure::Broken => {
                Self::new(StatusCode::BAD_GATEWAY, "upstream_broken", "the application behind broke off")
            }
            Failure::Late => {
                let message = "the application behind did not answer";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_late", message)
            }
        }
    }
}
