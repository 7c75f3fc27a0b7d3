//! Asks a server for its stream: request, redirects, and whether the answer is a body as it is.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    connect::{Judge, Trust, connect},
    failure::Failure,
    location::Location,
    order::Order,
};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;
/// Bytes and fields of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// An answer whose body comes as it is.
pub(super) struct Answer {
    pub(super) body: Incoming,
    pub(super) peer: SocketAddr,
    /// What the server calls it.
    pub(super) media_type: String,
    /// Where it was found, behind all redirects.
    pub(super) location: Location,
    /// Reads the connection; it ends with the answer.
    _connection: Reader,
}

/// A task that ends when this is dropped.
struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The answer from `location`, wherever redirects lead. What `order` has of headers goes to its own server only.
pub(super) async fn fetch(
    order: &Order,
    location: &Location,
    trust: &Trust,
    may: Judge,
    patience: Duration,
) -> Result<Answer, Failure> {
    fetch_range(order, location, None, trust, may, patience).await
}

/// The same of some bytes only: the first, and how many.
pub(super) async fn fetch_range(
    order: &Order,
    location: &Location,
    range: Option<(u64, u64)>,
    trust: &Trust,
    may: Judge,
    patience: Duration,
) -> Result<Answer, Failure> {
    let mut location = location.clone();
    for _ in 0..=REDIRECTS_MAX {
        let (response, peer, connection) = ask(order, &location, range, trust, may, patience).await?;
        let status = response.status();
        let leads = response.headers().get(header::LOCATION).filter(|_| status.is_redirection());
        if let Some(leads) = leads {
            let leads = String::from_utf8_lossy(leads.as_bytes());
            location = location.follow(&leads).map_err(Failure::BadRedirect)?;
            continue;
        }
        let partial = range.is_some() && status == http::StatusCode::PARTIAL_CONTENT;
        if range.is_some() && status == http::StatusCode::OK {
            return Err(Failure::NoRange);
        }
        if !partial && status != http::StatusCode::OK {
            return Err(Failure::Status(status));
        }
        if let Some(coding) =
            response.headers().get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity")
        {
            return Err(Failure::Encoded(
                String::from_utf8_lossy(coding.as_bytes()).chars().take(40).collect(),
            ));
        }
        let media_type = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let media_type = String::from_utf8_lossy(media_type.unwrap_or_default()).into_owned();
        return Ok(Answer {
            body: response.into_body(),
            peer,
            media_type,
            location,
            _connection: connection,
        });
    }
    Err(Failure::Redirects(REDIRECTS_MAX))
}

async fn ask(
    order: &Order,
    location: &Location,
    range: Option<(u64, u64)>,
    trust: &Trust,
    may: Judge,
    patience: Duration,
) -> Result<(Response<Incoming>, SocketAddr, Reader), Failure> {
    let slow = |_| Failure::Slow(patience);
    let connecting = connect(location, trust, may);
    let (stream, peer) = timeout(patience, connecting).await.map_err(slow)??;
    let asking = async {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            // Cameras and small servers write heads as they like.
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::NotHttp)?;
        let reader = Reader(tokio::spawn(async {
            // What breaks it breaks the answer too, which tells.
            let _ = connection.await;
        }));
        let response =
            sender.send_request(request(order, location, range)).await.map_err(Failure::NotHttp)?;
        Ok::<_, Failure>((response, reader))
    };
    let (response, reader) = timeout(patience, asking).await.map_err(slow)??;
    Ok((response, peer, reader))
}

fn request(order: &Order, location: &Location, range: Option<(u64, u64)>) -> Request<Empty<Bytes>> {
    let mut headers = HeaderMap::new();
    if location.is_same_origin(&order.location) {
        headers.clone_from(&order.headers);
    }
    headers.extend(location.authorization.clone().map(|value| (header::AUTHORIZATION, value)));
    // A host with letters that no header may hold has not been parsed as one.
    headers.extend(HeaderValue::try_from(location.authority()).map(|host| (header::HOST, host)));
    if let Some((first, len)) = range {
        let last = first.saturating_add(len).saturating_sub(1);
        headers.extend(
            HeaderValue::try_from(format!("bytes={first}-{last}")).map(|range| (header::RANGE, range)),
        );
    }
    for (name, value) in [
        (header::USER_AGENT, concat!("media-relay/", env!("CARGO_PKG_VERSION"))),
        (header::ACCEPT, "*/*"),
        (header::ACCEPT_ENCODING, "identity"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    let mut request = Request::new(Empty::new());
    *request.headers_mut() = headers;
    // The target was part of a URL that parsed.
    *request.uri_mut() = location.target.parse().unwrap_or_default();
    request
}
