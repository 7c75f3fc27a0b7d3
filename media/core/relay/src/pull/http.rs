//! Sources behind http and https. What a body is, it says itself: FLV, a transport stream or a playlist, whatever the
//! URL ends in.

use std::{convert::Infallible, future::Future, iter, time::Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout_at;
use wire::{
    flv_read::FlvReader,
    ts_read::TsReader,
    unpack::{Options, Output},
};

use super::{
    attempt::{Attempt, Vigil},
    failure::Failure,
    fetch::{Answer, fetch},
    hls,
};
use crate::{clock, config::Transport, feed::Portion};

/// Bytes that brought nothing yet are told of at the latest when there are so many.
const PORTION: u64 = 64 << 10;
/// So many bytes of a body show what it is.
const LOOK: usize = 10;

/// Where bytes come from, piece by piece.
pub(super) trait Chunks {
    /// The next piece; `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;
}

impl Chunks for Answer {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match self.body.frame().await {
            None => Ok(None),
            Some(Err(error)) => Err(Failure::Broken(error)),
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        }
    }
}

/// Reads a body.
pub(super) trait Reader {
    fn handle_bytes(&mut self, now: Instant, data: &[u8]) -> Result<(), Failure>;
    /// Nothing follows: what is open is complete if it may be.
    fn handle_end(&mut self, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn next_timeout(&self) -> Option<Instant>;
    fn poll_output(&mut self) -> Option<Output>;
    /// Tags or packets that came since it was asked last.
    fn take_messages(&mut self) -> u32;
}

impl Reader for FlvReader {
    fn handle_bytes(&mut self, now: Instant, data: &[u8]) -> Result<(), Failure> {
        self.handle_bytes(now, data).map_err(Failure::NotFlv)
    }
    fn handle_end(&mut self, _now: Instant) {} // a tag says how long it is
    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.next_timeout()
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }
    fn take_messages(&mut self) -> u32 {
        self.take_tags()
    }
}

impl Reader for TsReader {
    fn handle_bytes(&mut self, now: Instant, data: &[u8]) -> Result<(), Failure> {
        self.handle_bytes(now, data).map_err(Failure::NotTs)
    }
    fn handle_end(&mut self, now: Instant) {
        self.handle_end(now);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.next_timeout()
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }
    fn take_messages(&mut self) -> u32 {
        self.take_packets()
    }
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Flv,
    Ts,
    Playlist,
}

impl Body {
    /// By its first bytes; a transport stream may begin within a packet where its type is stated.
    fn of(first: &[u8], media_type: &str) -> Option<Self> {
        let text = first.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first);
        let stated = media_type.to_ascii_lowercase();
        if first.starts_with(b"FLV") {
            Some(Self::Flv)
        } else if text.starts_with(b"#EXTM3U") {
            Some(Self::Playlist)
        } else if first.first() == Some(&0x47) || first.get(4) == Some(&0x47) || stated.contains("mp2t") {
            Some(Self::Ts)
        } else {
            None
        }
    }
}

/// Fetches the stream until it fails.
pub(super) async fn run(attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    let mut answer = {
        let _turn = attempt.turn().await;
        fetch(
            attempt.order,
            &attempt.order.location,
            attempt.trust(),
            attempt.judge(),
            attempt.patience.answer,
        )
        .await?
    };
    attempt.connected(answer.peer);
    // A live stream has no length.
    let is_file = answer.body.size_hint().exact().is_some();
    let first = look(&mut answer, attempt).await?;
    let ended = match Body::of(&first, &answer.media_type) {
        Some(Body::Flv) => {
            attempt.carried_by(Transport::HttpFlv, "flv");
            flow(answer, first, FlvReader::new(Options::default()), attempt).await
        }
        Some(Body::Ts) => {
            attempt.carried_by(Transport::HttpTs, "ts");
            flow(answer, first, TsReader::new(Options::default()), attempt).await
        }
        Some(Body::Playlist) => hls::run(answer, first, attempt).await,
        None => Err(Failure::UnknownBody),
    };
    ended.map_err(|failure| match failure {
        Failure::Ended if is_file => Failure::FileEnd,
        other => other,
    })
}

/// The first bytes of a body.
async fn look(answer: &mut Answer, attempt: &Attempt<'_>) -> Result<Bytes, Failure> {
    let mut first = BytesMut::new();
    let due = clock::now() + attempt.patience.silence;
    while first.len() < LOOK {
        match timeout_at(due.into(), answer.chunk()).await {
            Ok(Ok(None)) if first.is_empty() => return Err(Failure::Ended),
            Ok(Ok(None)) => break,
            Ok(Err(failure)) => return Err(failure),
            Ok(Ok(Some(data))) => first.extend_from_slice(&data),
            Err(_) => return Err(Failure::Silent(attempt.patience.silence)),
        }
    }
    Ok(first.freeze())
}

/// Reads a source to its end; `first` of it was taken already.
pub(super) async fn flow(
    mut source: impl Chunks,
    first: Bytes,
    mut reader: impl Reader,
    attempt: &mut Attempt<'_>,
) -> Result<Infallible, Failure> {
    let mut vigil = Vigil::new(attempt.patience);
    let mut portion = Portion { bytes: first.len() as u64, ..Portion::default() };
    let mut failure = reader.handle_bytes(clock::now(), &first).err();
    loop {
        portion.outputs.extend(iter::from_fn(|| reader.poll_output()));
        portion.messages += reader.take_messages();
        vigil.made(&portion.outputs);
        // Bytes in the middle of a tag need not be told of one by one.
        if failure.is_some() || !portion.outputs.is_empty() || portion.bytes >= PORTION {
            attempt.send(std::mem::take(&mut portion)).await?;
            // Waiting for the stream to take it was not the server's silence.
            vigil.heard();
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        vigil.check()?;
        let due = reader.next_timeout().map_or(vigil.due(), |due| due.min(vigil.due()));
        failure = match timeout_at(due.into(), source.chunk()).await {
            Ok(Ok(None)) => {
                reader.handle_end(clock::now());
                Some(Failure::Ended)
            }
            Ok(Err(failure)) => Some(failure),
            Ok(Ok(Some(data))) => {
                vigil.heard();
                portion.bytes += data.len() as u64;
                reader.handle_bytes(clock::now(), &data).err()
            }
            Err(_) => {
                reader.handle_timeout(clock::now());
                None
            }
        };
    }
}
