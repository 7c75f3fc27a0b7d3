//! A stream whose frames come from code that may not wait: they are queued, and a task feeds them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel, error::TrySendError},
    time::timeout,
};
use wire::{
    media::{AudioCodec, VideoCodec},
    raw::RawReader,
    unpack::Options,
};

use crate::{
    clock,
    feed::{Closed, Feeder, Portion},
    table::lock,
};

/// Frames that may wait, and their bytes.
const FRAMES_MAX: usize = 512;
const BYTES_MAX: usize = 8 << 20;
/// Without anything to wait for, the task looks up so often.
const IDLE: Duration = Duration::from_secs(3600);

/// One thing that is fed; times in ticks of 90 kHz.
#[derive(Debug)]
pub enum Fresh {
    /// Sound of this coding is to come.
    Audio(AudioCodec, u8, Bytes),
    /// A picture with start codes: `pts`, `dts`.
    Picture(VideoCodec, i64, i64, BytesMut),
    /// A frame of sound: `pts`.
    Sound(AudioCodec, i64, Bytes),
}

impl Fresh {
    fn size(&self) -> usize {
        match self {
            Self::Audio(..) => 0,
            Self::Picture(.., data) => data.len(),
            Self::Sound(.., data) => data.len(),
        }
    }
}

/// A frame, and whether some were lost before it.
pub(crate) struct Queued {
    fresh: Fresh,
    gap: bool,
}

#[derive(Default)]
struct State {
    bytes: AtomicUsize,
    dropped: AtomicU64,
    gap: AtomicBool,
    reason: Mutex<Option<String>>,
}

/// Feeds one stream; the stream ends with it, and it with the stream.
pub struct UnitFeed {
    receiver: u64,
    state: Arc<State>,
    sender: Mutex<Option<Sender<Queued>>>,
}

/// The task's end.
pub(crate) struct Intake {
    state: Arc<State>,
    frames: Receiver<Queued>,
}

impl UnitFeed {
    pub(crate) fn new(receiver: u64) -> (Self, Intake) {
        let (sender, frames) = channel(FRAMES_MAX);
        let state: Arc<State> = Arc::default();
        let feed = Self { receiver, state: Arc::clone(&state), sender: Mutex::new(Some(sender)) };
        (feed, Intake { state, frames })
    }

    /// The stream's id.
    pub fn id(&self) -> u64 {
        self.receiver
    }

    /// Queues a frame; false if it was dropped, because too many wait, and all pictures after it up to the next key frame
    /// will be. `Closed` if the stream is over.
    pub fn push(&self, fresh: Fresh) -> Result<bool, Closed> {
        let sender = lock(&self.sender);
        let Some(sender) = sender.as_ref() else { return Err(Closed) };
        if sender.is_closed() {
            return Err(Closed);
        }
        let size = fresh.size();
        if self.state.bytes.load(Ordering::Relaxed) + size > BYTES_MAX {
            return Ok(self.lose());
        }
        let gap = self.state.gap.swap(false, Ordering::Relaxed);
        self.state.bytes.fetch_add(size, Ordering::Relaxed);
        match sender.try_send(Queued { fresh, gap }) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.state.bytes.fetch_sub(size, Ordering::Relaxed);
                if matches!(error, TrySendError::Closed(_)) { Err(Closed) } else { Ok(self.lose()) }
            }
        }
    }

    fn lose(&self) -> bool {
        self.state.dropped.fetch_add(1, Ordering::Relaxed);
        self.state.gap.store(true, Ordering::Relaxed);
        false
    }

    /// Frames that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Ends the stream once what waits was fed; the first reason counts.
    pub fn close(&self, reason: &str) {
        lock(&self.state.reason).get_or_insert_with(|| reason.to_owned());
        lock(&self.sender).take();
    }
}

/// Feeds what is queued until the feed or the stream is closed.
pub(crate) async fn carry(mut intake: Intake, mut feeder: Feeder) {
    let mut reader = RawReader::new(Options::default());
    loop {
        let now = clock::now();
        let wait = reader.next_timeout().map_or(IDLE, |due| due.saturating_duration_since(now));
        let Ok(next) = feeder.unless_closed(timeout(wait, intake.frames.recv())).await else { break };
        let now = clock::now();
        let mut portion = Portion::default();
        match next {
            Ok(None) => break,
            Ok(Some(queued)) => {
                let size = queued.fresh.size();
                intake.state.bytes.fetch_sub(size, Ordering::Relaxed);
                (portion.messages, portion.bytes) = (1, size as u64);
                handle(&mut reader, now, queued);
            }
            Err(_) => reader.handle_timeout(now),
        }
        portion.outputs.extend(std::iter::from_fn(|| reader.poll_output()));
        if (portion.messages > 0 || !portion.outputs.is_empty()) && feeder.send(portion).await == Err(Closed)
        {
            break;
        }
    }
    let reason = lock(&intake.state.reason).take();
    match reason {
        Some(reason) => feeder.close(reason, "closed"),
        None => drop(feeder), // which tells that its source is gone
    }
}

fn handle(reader: &mut RawReader, now: std::time::Instant, queued: Queued) {
    if queued.gap {
        reader.handle_gap();
    }
    match queued.fresh {
        Fresh::Audio(codec, channels, config) => {
            // Whoever feeds AAC has checked that its configuration can be read.
            reader.announce_audio(codec, channels, &config);
        }
        Fresh::Picture(codec, pts, dts, data) => reader.handle_video(now, codec, pts, dts, data),
        Fresh::Sound(codec, pts, data) => reader.handle_audio(now, codec, pts, data),
    }
}
