//! Streams that we fetch: FLV over HTTP or HTTPS, from a server that has them.
//!
//! A pull is one task that feeds its stream for as long as it is open: it connects, reads, and connects again with
//! growing waits when the source fails. Where it may connect to is judged anew each time, see `address`.

mod address;
mod backoff;
mod connect;
mod failure;
mod fetch;
mod location;

use std::{
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout_at},
};
use wire::{
    fault::Fault,
    flv_read::FlvReader,
    unpack::{Options, Output},
};

use self::{
    backoff::Backoff,
    connect::{Judge, Trust},
    failure::Failure,
    fetch::{Answer, Order, fetch},
    location::Location,
};
use crate::{
    clock,
    config::PlayRights,
    error::Error,
    events::Kind,
    feed::{Closed, Feeder, Portion},
};

/// Pulls that connect at once; others wait for their turn.
const CONNECTING_MAX: usize = 128;
/// Bytes that brought nothing yet are told of at the latest when there are so many.
const PORTION: u64 = 64 << 10;
/// Header fields that a pull may be given.
const HEADERS_MAX: usize = 32;
/// Fields that belong to the connection, and are not the caller's to set.
const OURS: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

/// What a pulled stream is asked to be.
#[derive(Debug, Clone)]
pub struct OpenPull {
    /// First part of the stream's name.
    pub app: String,
    /// Second part of the stream's name.
    pub name: String,
    /// Where it is, with user and password if need be.
    pub url: String,
    /// Who may play.
    pub rights: PlayRights,
    /// Whether addresses that are not of the public internet may be connected to.
    pub allow_private: bool,
    /// Fields of the request, for this server only.
    pub headers: Vec<(String, String)>,
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Resolving, connecting and TLS together; then the answer's head as long again.
    answer: Duration,
    /// A connection that brings no byte for so long is closed.
    silence: Duration,
    /// One that brings bytes and no media too.
    media: Duration,
    /// The first wait before connecting again.
    retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { answer: seconds(10), silence: seconds(10), media: seconds(30), retry: seconds(1) }
    }
}

/// What all pulls of a core share.
pub(crate) struct Puller {
    patience: Patience,
    /// Which addresses are public.
    judge: Judge,
    trust: Trust,
    turns: Semaphore,
    /// Connections tried.
    pub(crate) tried: AtomicU64,
    /// Of these, those that brought no stream.
    pub(crate) failed: AtomicU64,
    /// Streams that were flowing and broke off.
    pub(crate) lost: AtomicU64,
}

impl Default for Puller {
    fn default() -> Self {
        let turns = Semaphore::new(CONNECTING_MAX);
        let (tried, failed, lost) = Default::default();
        Self {
            patience: Patience::default(),
            judge: address::is_public,
            trust: Trust::default(),
            turns,
            tried,
            failed,
            lost,
        }
    }
}

/// A pull that can be begun.
#[derive(Debug)]
pub(crate) struct Pull {
    order: Order,
    allow_private: bool,
}

impl Pull {
    /// Checks what can be checked without the network.
    pub(crate) fn new(wanted: &OpenPull) -> Result<Self, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("cannot pull: {error}"));
        let location = Location::parse(&wanted.url).map_err(|error| invalid(&error))?;
        let address = location.address().map(|address| address.to_canonical());
        if let Some(address) =
            address.filter(|address| !wanted.allow_private && !address::is_public(*address))
        {
            return Err(invalid(&Failure::Forbidden(address.to_string())));
        }
        let headers = headers(&wanted.headers).map_err(|error| invalid(&error))?;
        Ok(Self { order: Order { location, headers }, allow_private: wanted.allow_private })
    }

    /// Feeds the stream until it is closed.
    pub(crate) async fn run(self, puller: Arc<Puller>, mut feeder: Feeder) {
        let mut closed = pin!(feeder.closed());
        {
            let mut work = pin!(self.repeat(&puller, &mut feeder));
            poll_fn(|cx| match closed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Closed),
                Poll::Pending => work.as_mut().poll(cx),
            })
            .await;
        }
        feeder.close("closed");
    }

    async fn repeat(&self, puller: &Puller, feeder: &mut Feeder) -> Closed {
        let mut backoff = Backoff::new(puller.patience.retry);
        let mut reader = FlvReader::new(Options::default());
        loop {
            feeder.tell(Kind::Connecting, vec![("url", self.order.location.to_string())]);
            puller.tried.fetch_add(1, Ordering::Relaxed);
            let (flowed, failure) = match self.connect(puller).await {
                Ok(answer) => {
                    reader.handle_reconnect();
                    let begun = clock::now();
                    feeder.connected(answer.peer);
                    match flow(answer, puller.patience, &mut reader, feeder).await {
                        Ok(failure) => (Some(clock::now().saturating_duration_since(begun)), failure),
                        Err(closed) => return closed,
                    }
                }
                Err(failure) => (None, failure),
            };
            let wait = backoff.wait(flowed.unwrap_or_default(), RandomState::new().hash_one(0));
            let detail = vec![
                ("reason", failure.to_string()),
                ("cause", failure.cause()),
                ("retry_ms", wait.as_millis().to_string()),
            ];
            if flowed.is_some() {
                puller.lost.fetch_add(1, Ordering::Relaxed);
                feeder.disconnected(detail);
            } else {
                puller.failed.fetch_add(1, Ordering::Relaxed);
                feeder.tell(Kind::ConnectFailed, detail);
            }
            sleep(wait).await;
        }
    }

    async fn connect(&self, puller: &Puller) -> Result<Answer, Failure> {
        let _turn = puller.turns.acquire().await; // it is never closed
        let may: Judge = if self.allow_private { |_| true } else { puller.judge };
        fetch(&self.order, &puller.trust, may, puller.patience.answer).await
    }
}

/// Reads an answer to its end, and says why it ended.
async fn flow(
    mut answer: Answer,
    patience: Patience,
    reader: &mut FlvReader,
    feeder: &mut Feeder,
) -> Result<Failure, Closed> {
    let mut heard = clock::now();
    let mut media = heard;
    let mut portion = Portion::default();
    loop {
        let (silence, no_media) = (heard + patience.silence, media + patience.media);
        let due = reader.next_timeout().into_iter().chain([silence, no_media]).min().unwrap_or(silence);
        let mut failure = match timeout_at(due.into(), answer.body.frame()).await {
            Ok(None) => Some(Failure::Ended),
            Ok(Some(Err(error))) => Some(Failure::Broken(error)),
            Ok(Some(Ok(frame))) => {
                heard = clock::now();
                let data = frame.into_data().unwrap_or_default();
                portion.bytes += data.len() as u64;
                reader.handle_bytes(heard, &data).err().map(Failure::NotFlv)
            }
            Err(_) => {
                let now = clock::now();
                reader.handle_timeout(now);
                (now >= silence).then_some(Failure::Silent(patience.silence))
            }
        };
        portion.outputs.extend(std::iter::from_fn(|| reader.poll_output()));
        portion.messages += reader.take_tags();
        if portion.outputs.iter().any(is_media) {
            media = clock::now();
        } else if failure.is_none() && clock::now() >= no_media {
            failure = Some(Failure::NoMedia(patience.media));
        }
        // Bytes in the middle of a tag need not be told of one by one.
        if failure.is_some() || !portion.outputs.is_empty() || portion.bytes >= PORTION {
            feeder.send(std::mem::take(&mut portion)).await?;
            // Waiting for the stream to take it was not the server's silence.
            heard = clock::now();
        }
        if let Some(failure) = failure {
            return Ok(failure);
        }
    }
}

/// Whether something shows that media flows, be it that it waits for a key frame.
fn is_media(output: &Output) -> bool {
    matches!(output, Output::Unit(_) | Output::Fault(Fault::KeyFrameAwaited))
}

/// The caller's header fields.
fn headers(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    if fields.len() > HEADERS_MAX {
        return Err(format!("more than {HEADERS_MAX} header fields"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let bad = |_| format!("{name:?} is no header field");
        let name_read =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("{name:?} is no header field"))?;
        if OURS.contains(&name_read) || value.len() > 4096 {
            return Err(format!("the header field {name:?} cannot be set"));
        }
        let mut value = HeaderValue::try_from(value.as_str()).map_err(bad)?;
        value.set_sensitive(true);
        headers.append(name_read, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod odd_servers;

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(url: &str, headers: &[(&str, &str)]) -> Result<Pull, Error> {
        Pull::new(&OpenPull {
            app: "a".to_owned(),
            name: "n".to_owned(),
            url: url.to_owned(),
            rights: PlayRights::default(),
            allow_private: false,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        })
    }

    #[test]
    fn what_can_be_refused_at_once_is() {
        assert!(pull("http://example.org/cam.flv", &[("X-Key", "7"), ("Cookie", "a=b")]).is_ok());
        for url in
            ["http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "https://[::1]/", "http://169.254.169.254/x"]
        {
            let error = pull(url, &[]).unwrap_err().to_string();
            assert!(error.contains("public"), "{url}: {error}");
        }
        for header in [("Host", "x"), ("transfer-encoding", "chunked"), ("a b", "c"), ("X", "a\r\nb")] {
            assert!(pull("http://example.org/", &[header]).is_err(), "{header:?}");
        }
        assert!(pull("http://example.org/", &[("X", "y"); 33]).is_err());
    }
}
