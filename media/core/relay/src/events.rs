//! What happened, for whoever decides: a bounded queue with a descriptor that is readable while events wait.

use std::{
    collections::VecDeque,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};

/// Events that may wait; the newest beyond it are lost, counted and told of.
const CAPACITY: usize = 65_536;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A source is about to be connected to.
    Connecting,
    /// A connection that carries the stream stands.
    Connected,
    /// An active receiver gave up connecting; a pull will try again.
    ConnectFailed,
    /// The first packet came.
    FirstPacket,
    /// The stream shows another SSRC than was asked for; it was adopted.
    SsrcMismatch,
    /// The payload is of no known kind.
    WrongPayload,
    /// The tracks are known, or changed.
    Tracks,
    /// The first key frame came.
    FirstKeyFrame,
    /// No packet for the configured time.
    Silent,
    /// Packets came again after `Silent`.
    Resumed,
    /// That connection ended.
    Disconnected,
    /// Nobody watched for the configured time.
    NoViewers,
    /// Packets or connections of a stranger were dropped.
    Rejected,
    /// Somebody wants to publish, and waits for the answer.
    Publish,
    /// A published stream is over: its last event.
    Ended,
    /// A recording finished a file.
    Slice,
    /// Where a playback stands.
    PlaybackPosition,
    /// A recording could not write.
    RecordFailed,
    /// Somebody with a token wants to play a private stream: answer.
    Play,
    /// Somebody wants the stream with its sound as AAC: to be answered like `Play`, once it is there.
    Aac,
    /// A recording is over: its last event.
    RecordEnded,
    /// The files of a TLS certificate changed.
    Certificate,
    /// A sender's packets can flow.
    SenderConnected,
    /// A sender never reached its target: its last event.
    SenderFailed,
    /// A sender is over: its last event.
    SenderEnded,
    /// A server takes the stream that is pushed to it.
    PushConnected,
    /// A push did not reach its server, or lost it; it will try again.
    PushFailed,
    /// A push is over: its last event.
    PushEnded,
    /// Another input of a pulled stream takes over.
    Switched,
    /// An input that stands by is connected.
    StandbyConnected,
    /// An input that stands by is not, and will be tried again.
    StandbyFailed,
    /// Our own fault: the stream was given up.
    Failed,
    /// Events were lost.
    Overflow,
}

impl Kind {
    /// The name used outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::ConnectFailed => "connect_failed",
            Self::FirstPacket => "first_packet",
            Self::SsrcMismatch => "ssrc_mismatch",
            Self::WrongPayload => "wrong_payload",
            Self::Tracks => "tracks",
            Self::FirstKeyFrame => "first_key_frame",
            Self::Silent => "silent",
            Self::Resumed => "resumed",
            Self::Disconnected => "disconnected",
            Self::NoViewers => "no_viewers",
            Self::Rejected => "rejected",
            Self::Publish => "publish",
            Self::Ended => "ended",
            Self::Slice => "slice",
            Self::PlaybackPosition => "playback_position",
            Self::RecordFailed => "record_failed",
            Self::RecordEnded => "record_ended",
            Self::Play => "play",
            Self::Aac => "aac",
            Self::Certificate => "certificate",
            Self::SenderConnected => "sender_connected",
            Self::SenderFailed => "sender_failed",
            Self::SenderEnded => "sender_ended",
            Self::PushConnected => "push_connected",
            Self::PushFailed => "push_failed",
            Self::PushEnded => "push_ended",
            Self::Switched => "switched",
            Self::StandbyConnected => "standby_connected",
            Self::StandbyFailed => "standby_failed",
            Self::Failed => "failed",
            Self::Overflow => "overflow",
        }
    }
}

/// Something happened to a receiver or stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// The receiver's id; 0 for the whole core.
    pub receiver: u64,
    /// First part of the stream's name.
    pub app: Arc<str>,
    /// Second part of the stream's name.
    pub name: Arc<str>,
    /// When, in milliseconds of the UNIX epoch.
    pub at_ms: u64,
    /// What else there is to say.
    pub detail: Vec<(&'static str, String)>,
}

impl Event {
    /// What happened at `at_ms` to a receiver, or to the whole core (0), and the stream that it feeds.
    pub(crate) fn new(
        kind: Kind,
        receiver: u64,
        app: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
        at_ms: u64,
        detail: Vec<(&'static str, String)>,
    ) -> Self {
        Self { kind, receiver, app: app.into(), name: name.into(), at_ms, detail }
    }
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    lost: u64,
}

/// The queue between shards and their listener.
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    bell: OwnedFd,
    pub(crate) lost_total: AtomicU64,
}

impl EventQueue {
    pub(crate) fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { waiting: Mutex::default(), bell, lost_total: AtomicU64::new(0) })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    pub(crate) fn push(&self, event: Event) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.events.len() >= CAPACITY {
            waiting.lost += 1;
            self.lost_total.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.events.push_back(event);
        if waiting.events.len() == 1 {
            // Cannot fail but for a full counter, and then the bell rings already.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// Takes up to `limit` events, oldest first; the bell is silent once none is left.
    pub(crate) fn poll(&self, limit: usize, at_ms: u64) -> Vec<Event> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = limit.min(waiting.events.len());
        let mut taken: Vec<Event> = waiting.events.drain(..count).collect();
        if waiting.events.is_empty() {
            let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
            if waiting.lost > 0 && limit > 0 {
                let detail = vec![("lost", std::mem::take(&mut waiting.lost).to_string())];
                taken.push(Event::new(Kind::Overflow, 0, "", "", at_ms, detail));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn event(receiver: u64) -> Event {
        Event::new(Kind::Silent, receiver, "a", "n", 0, vec![])
    }

    fn rings(queue: &EventQueue) -> bool {
        let mut fds = [PollFd::new(&queue.bell, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn rings_while_events_wait_and_keeps_their_order() {
        let queue = EventQueue::new().unwrap();
        assert!(!rings(&queue));
        (0..5).for_each(|id| queue.push(event(id)));
        assert!(rings(&queue));
        let taken: Vec<u64> = queue.poll(3, 0).iter().map(|event| event.receiver).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert!(rings(&queue));
        assert_eq!(queue.poll(10, 0).len(), 2);
        assert!(!rings(&queue));
        queue.push(event(9));
        assert!(rings(&queue));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_of_once() {
        let queue = EventQueue::new().unwrap();
        (0..CAPACITY as u64 + 7).for_each(|id| queue.push(event(id)));
        let mut taken = queue.poll(usize::MAX, 5);
        let overflow = taken.pop().unwrap();
        assert_eq!((overflow.kind, overflow.detail), (Kind::Overflow, vec![("lost", "7".to_string())]));
        assert_eq!(taken.len(), CAPACITY);
        assert!(queue.poll(10, 0).is_empty());
    }
}
