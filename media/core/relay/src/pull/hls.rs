//! HLS (RFC 8216): a playlist, perhaps by way of one that lists playlists, and the segments it names. Segments come in
//! pieces of seconds; what is in them is handed on at the pace of its own clock.

pub(super) mod segments;

use std::{collections::VecDeque, convert::Infallible, future::Future, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{sleep_until, timeout_at};
use wire::{
    playlist::{self, Follower, Key, Media, Next, Playlist},
    unpack::Output,
};

use self::segments::Segments;
use super::{
    attempt::Attempt,
    connect::{Judge, Trust},
    failure::Failure,
    fetch::{Answer, fetch, fetch_range},
    location::Location,
    order::Order,
    pacing::Pacing,
};
use crate::{clock, config::Transport, feed::Portion};

/// Bytes of a playlist.
const PLAYLIST_MAX: usize = 4 << 20;
/// Bytes of a segment, and of an initialisation section.
const SEGMENT_MAX: usize = 64 << 20;
const INIT_MAX: usize = 1 << 20;
/// Requests in a row that may fail before the pull does.
const FAILURES_MAX: u32 = 3;
/// How much of the stream is fetched before it is due.
const AHEAD: Duration = Duration::from_secs(2);
/// Between two tries of what failed.
const RETRY: Duration = Duration::from_millis(500);

/// What one segment brought.
struct Batch {
    outputs: Vec<Output>,
    messages: u32,
    bytes: u64,
}

/// Fetches what comes next, over and over.
struct Producer<'a> {
    order: &'a Order,
    trust: &'a Trust,
    may: Judge,
    patience: Duration,
    list: Location,
    follower: Follower,
    segments: Segments,
    /// The initialisation section in force, by its address and range.
    map: Option<(String, Option<(u64, u64)>)>,
    key: Option<(String, [u8; 16])>,
    failures: u32,
}

type Production<'a> = Pin<Box<dyn Future<Output = (Producer<'a>, Result<Batch, Failure>)> + Send + 'a>>;

/// Plays the list whose first bytes came already, until it ends or fails.
pub(super) async fn run(
    answer: Answer,
    first: Bytes,
    attempt: &mut Attempt<'_>,
) -> Result<Infallible, Failure> {
    attempt.carried_by(Transport::Hls, "ts");
    let mut producer = Producer {
        order: attempt.order,
        trust: attempt.trust(),
        may: attempt.judge(),
        patience: attempt.patience.answer,
        list: answer.location.clone(),
        follower: Follower::new(),
        segments: Segments::default(),
        map: None,
        key: None,
        failures: 0,
    };
    let text = body(answer, first, "the playlist", PLAYLIST_MAX, producer.patience).await?;
    producer.begin(&text).await?;
    play(producer, attempt).await
}

/// Fetches a little ahead and hands on what is due.
async fn play<'a>(producer: Producer<'a>, attempt: &mut Attempt<'a>) -> Result<Infallible, Failure> {
    let mut production: Option<Production<'a>> = Some(Box::pin(producer.next()));
    let mut idle: Option<Producer<'a>> = None;
    let mut queue: VecDeque<(Output, u64, u32)> = VecDeque::new();
    let mut pacing = Pacing::default();
    let mut due = None;
    let mut failure = None;
    let mut payload = "ts";
    let mut media = clock::now();
    loop {
        // One wait at a time is planned: for the first unit of the queue.
        if due.is_none()
            && let Some(at) = queue.iter().find_map(|(output, ..)| dts(output))
        {
            let ahead = idle.as_ref().is_some_and(Producer::is_behind);
            due = Some(pacing.due(clock::now(), at, ahead));
        }
        if let (Some(_), None) = (&idle, &failure)
            && left(&queue) < AHEAD
            && let Some(producer) = idle.take()
        {
            production = Some(Box::pin(producer.next()));
        }
        if queue.is_empty() {
            if let Some(failure) = failure.take() {
                return Err(failure);
            }
            if clock::now() >= media + attempt.patience.media * 2 {
                return Err(Failure::NoMedia(attempt.patience.media * 2));
            }
        }
        if let Some(running) = &mut production {
            let wait = due.unwrap_or_else(|| clock::now() + attempt.patience.media);
            if let Ok((producer, made)) = timeout_at(wait.into(), running.as_mut()).await {
                production = None;
                match made {
                    Ok(batch) => {
                        if payload != producer.segments.payload() {
                            payload = producer.segments.payload();
                            attempt.carried_by(Transport::Hls, payload);
                        }
                        enqueue(&mut queue, batch);
                        idle = Some(producer);
                    }
                    Err(error) => failure = Some(error),
                }
                continue;
            }
        } else if let Some(due) = due {
            sleep_until(due.into()).await;
        }
        if due.take().is_some() {
            let portion = take(&mut queue);
            media = clock::now();
            attempt.send(portion).await?;
        } else if production.is_none() && !queue.is_empty() {
            // Nothing in it has a time: faults, or tracks without units.
            attempt.send(take(&mut queue)).await?;
        }
    }
}

fn dts(output: &Output) -> Option<wire::media::Ticks> {
    if let Output::Unit(unit) = output { Some(unit.dts) } else { None }
}

/// How long what waits plays.
fn left(queue: &VecDeque<(Output, u64, u32)>) -> Duration {
    let mut times = queue.iter().filter_map(|(output, ..)| dts(output));
    let first = times.next();
    let last = queue.iter().rev().find_map(|(output, ..)| dts(output));
    let ticks = first.zip(last).map_or(0, |(first, last)| (last.0 - first.0).clamp(0, 900_000));
    Duration::from_micros(ticks.cast_unsigned() * 100 / 9)
}

/// Bytes and messages are spread over what they brought.
fn enqueue(queue: &mut VecDeque<(Output, u64, u32)>, batch: Batch) {
    let count = batch.outputs.len().max(1) as u64;
    let (bytes, messages) = (batch.bytes / count, batch.messages / count as u32);
    let mut rest = (batch.bytes - bytes * count, batch.messages - messages * count as u32);
    for output in batch.outputs {
        let (more_bytes, more_messages) = std::mem::take(&mut rest);
        queue.push_back((output, bytes + more_bytes, messages + more_messages));
    }
}

/// Everything up to and with the first unit.
fn take(queue: &mut VecDeque<(Output, u64, u32)>) -> Portion {
    let mut portion = Portion::default();
    while let Some((output, bytes, messages)) = queue.pop_front() {
        portion.bytes += bytes;
        portion.messages += messages;
        let is_unit = matches!(output, Output::Unit(_));
        portion.outputs.push(output);
        if is_unit {
            break;
        }
    }
    portion
}

impl Producer<'_> {
    /// Takes the first playlist; one that lists playlists leads to one of them.
    async fn begin(&mut self, text: &[u8]) -> Result<(), Failure> {
        let list = match playlist::parse(text).map_err(Failure::BadPlaylist)? {
            Playlist::Media(media) => media,
            Playlist::Master(variants) => {
                let best = playlist::best(&variants).ok_or(Failure::NestedPlaylist)?;
                self.list = self.list.follow(&best.uri).map_err(Failure::BadRedirect)?;
                self.load().await?
            }
        };
        self.follower.handle_list(clock::now(), list);
        Ok(())
    }

    async fn load(&mut self) -> Result<Media, Failure> {
        let answer = fetch(self.order, &self.list, self.trust, self.may, self.patience).await?;
        let moved = answer.location.clone();
        let text = body(answer, Bytes::new(), "the playlist", PLAYLIST_MAX, self.patience).await?;
        match playlist::parse(&text).map_err(Failure::BadPlaylist)? {
            Playlist::Media(media) => {
                // Names are relative to where the list really is; it is asked for there from now on.
                self.list = moved;
                Ok(media)
            }
            Playlist::Master(_) => Err(Failure::NestedPlaylist),
        }
    }

    /// Whether the list has run ahead of what is played.
    fn is_behind(&self) -> bool {
        !self.follower.is_complete() && self.follower.waiting() > self.follower.target() * 3
    }

    /// What the next segment brings.
    async fn next(mut self) -> (Self, Result<Batch, Failure>) {
        loop {
            match self.step().await {
                Ok(Some(batch)) => {
                    self.failures = 0;
                    return (self, Ok(batch));
                }
                Ok(None) => {}
                Err(failure) if self.failures + 1 < FAILURES_MAX && is_passing(&failure) => {
                    self.failures += 1;
                    tokio::time::sleep(RETRY).await;
                }
                Err(failure) => return (self, Err(failure)),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Batch>, Failure> {
        match self.follower.poll(clock::now()) {
            Next::End => Err(Failure::Complete),
            Next::Stale(patience) => Err(Failure::Stale(patience)),
            Next::Refresh(at) => {
                sleep_until(at.into()).await;
                let now = clock::now();
                let list = self.load().await?;
                self.follower.handle_list(now, list);
                Ok(None)
            }
            Next::Segment { number, segment, gap, anew } => {
                if anew || segment.discontinuity {
                    self.segments.handle_restart();
                    self.map = None;
                } else if gap {
                    self.segments.handle_gap();
                }
                let made = self.fetch_segment(number, &segment).await;
                if made.is_err() {
                    self.follower.handle_missing();
                }
                made.map(Some)
            }
        }
    }

    async fn fetch_segment(&mut self, number: u64, segment: &playlist::Segment) -> Result<Batch, Failure> {
        let mut bytes = 0;
        if let Some(map) = &segment.map {
            let known = (map.uri.clone(), map.range);
            if self.map.as_ref() != Some(&known) {
                let init = self.get(&map.uri, map.range, "the initialisation section", INIT_MAX).await?;
                bytes += init.len() as u64;
                self.segments.handle_init(&init)?;
                self.map = Some(known);
            }
        }
        let data = self.get(&segment.uri, segment.range, "a segment", SEGMENT_MAX).await?;
        bytes += data.len() as u64;
        let data = match segment.key.as_deref() {
            None => data,
            Some(Key::Aes128 { uri, iv }) => {
                let key = self.key(uri).await?;
                let iv = iv.unwrap_or_else(|| u128::from(number).to_be_bytes());
                segments::decrypt(&data, key, iv)?
            }
            Some(Key::Other) => {
                return Err(Failure::Encrypted("segments are encrypted otherwise than by AES-128"));
            }
        };
        let (outputs, messages) = self.segments.handle_segment(&data)?;
        Ok(Batch { outputs, messages, bytes })
    }

    async fn key(&mut self, uri: &str) -> Result<[u8; 16], Failure> {
        if let Some((_, key)) = self.key.as_ref().filter(|(known, _)| known == uri) {
            return Ok(*key);
        }
        let key = self.get(uri, None, "the key", 1024).await?;
        let key = key[..].try_into().map_err(|_| Failure::Encrypted("the key has not 16 bytes"))?;
        self.key = Some((uri.to_owned(), key));
        Ok(key)
    }

    async fn get(
        &self,
        uri: &str,
        range: Option<(u64, u64)>,
        what: &'static str,
        max: usize,
    ) -> Result<Bytes, Failure> {
        let location = self.list.follow(uri).map_err(Failure::BadRedirect)?;
        if range.is_some_and(|(_, len)| len > max as u64) {
            return Err(Failure::TooLarge { what, max });
        }
        let answer = fetch_range(self.order, &location, range, self.trust, self.may, self.patience).await?;
        // A segment that takes longer than it plays cannot be kept up with anyway.
        let patience = (self.follower.target() * 3).max(self.patience);
        body(answer, Bytes::new(), what, max, patience).await
    }
}

/// Whether trying again at once may help.
fn is_passing(failure: &Failure) -> bool {
    !matches!(failure, Failure::Complete | Failure::Stale(_) | Failure::Encrypted(_) | Failure::Closed)
}

/// All of a body, of which `first` came already.
async fn body(
    mut answer: Answer,
    first: Bytes,
    what: &'static str,
    max: usize,
    patience: Duration,
) -> Result<Bytes, Failure> {
    let due = clock::now() + patience;
    let mut data = BytesMut::from(&first[..]);
    loop {
        match timeout_at(due.into(), answer.body.frame()).await {
            Ok(None) => return Ok(data.freeze()),
            Ok(Some(Err(error))) => return Err(Failure::Broken(error)),
            Ok(Some(Ok(frame))) => {
                let frame = frame.into_data().unwrap_or_default();
                if data.len() + frame.len() > max {
                    return Err(Failure::TooLarge { what, max });
                }
                data.extend_from_slice(&frame);
            }
            Err(_) => return Err(Failure::Slow(patience)),
        }
    }
}
