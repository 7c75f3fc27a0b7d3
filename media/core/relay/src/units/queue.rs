//! What waits for a subscriber: references to a stream's units, bounded in bytes, with a bell that rings while some wait.
//!
//! A subscriber that is too slow loses what waits, and goes on at the next key frame: what it is given can always be
//! decoded, and is never old.

use std::{
    cell::Cell,
    collections::VecDeque,
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};
use wire::media::{AccessUnit, Kind};

use crate::{door::Seat, hub::gop::begins, table::lock, viewers::ViewerStats};

/// What a waiting unit takes beside its bytes.
const OVERHEAD: usize = 128;

#[derive(Default)]
struct Waiting {
    units: VecDeque<AccessUnit>,
    bytes: usize,
    /// Nothing is taken until a unit that one can begin with.
    begun: bool,
    ended: bool,
}

/// Which of a stream's units are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    bytes_max: usize,
    wanted: Wanted,
    bell: OwnedFd,
    dropped: AtomicU64,
}

impl Queue {
    pub(crate) fn new(wanted: Wanted, bytes_max: usize) -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (waiting, dropped) = Default::default();
        Ok(Self { waiting, bytes_max, wanted, bell, dropped })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Units that came and were not handed out, since it began.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes that were taken; `None` if nobody wants any more.
    fn push(&self, unit: &AccessUnit) -> Option<u64> {
        let mut waiting = lock(&self.waiting);
        if waiting.ended {
            return None;
        }
        let wanted = if unit.kind == Kind::Video { self.wanted.video } else { self.wanted.audio };
        if !wanted {
            return Some(0);
        }
        let size = unit.data.len() + OVERHEAD;
        if waiting.begun && waiting.bytes + size > self.bytes_max {
            self.dropped.fetch_add(waiting.units.len() as u64, Ordering::Relaxed);
            waiting.units.clear();
            (waiting.bytes, waiting.begun) = (0, false);
        }
        if !waiting.begun {
            // A single unit larger than all that may wait is handed on alone.
            if self.wanted.video && !begins(unit) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return Some(0);
            }
            waiting.begun = true;
        }
        waiting.bytes += size;
        waiting.units.push_back(unit.clone());
        if waiting.units.len() == 1 {
            self.ring();
        }
        Some(unit.data.len() as u64)
    }

    fn ring(&self) {
        // Cannot fail but for a full counter, and then the bell rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Nothing more comes, or nobody wants any more; what waits can still be taken.
    pub(crate) fn end(&self) {
        let mut waiting = lock(&self.waiting);
        if !std::mem::replace(&mut waiting.ended, true) {
            self.ring();
        }
    }

    /// Takes up to `limit` units, and says whether nothing will follow. The bell is silent once none waits, and rings for
    /// ever after the end.
    pub(crate) fn take(&self, limit: usize) -> (Vec<AccessUnit>, bool) {
        let mut waiting = lock(&self.waiting);
        let count = limit.min(waiting.units.len());
        let taken: Vec<_> = waiting.units.drain(..count).collect();
        waiting.bytes -= taken.iter().map(|unit| unit.data.len() + OVERHEAD).sum::<usize>();
        let empty = waiting.units.is_empty();
        if empty && !waiting.ended {
            let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        }
        (taken, empty && waiting.ended)
    }

    fn is_over(&self) -> bool {
        lock(&self.waiting).ended
    }
}

/// The shard's end of a subscription; dropping it ends the subscription.
pub(crate) struct UnitTap {
    pub(crate) queue: Arc<Queue>,
    /// What its viewer is counted as.
    pub(crate) protocol: &'static str,
    /// Where its viewer is, if that is known.
    pub(crate) peer: Option<IpAddr>,
    /// What its viewer calls itself.
    pub(crate) agent: String,
    /// Begin with the cached GOP.
    pub(crate) from_gop: bool,
    /// Its place among the viewers, if it counts as one.
    pub(crate) seat: Option<Seat>,
    /// Bytes that were taken.
    pub(crate) taken: Cell<u64>,
}

impl UnitTap {
    /// Begins with the units since the last key frame, if that is wanted; bytes that were taken.
    pub(crate) fn begin<'a>(&self, units: impl Iterator<Item = &'a AccessUnit>) -> u64 {
        if self.from_gop { units.map(|unit| self.handle_unit(unit).unwrap_or(0)).sum() } else { 0 }
    }

    /// Takes the next unit: its bytes if they were taken, `None` if nobody wants any more.
    pub(crate) fn handle_unit(&self, unit: &AccessUnit) -> Option<u64> {
        let taken = self.queue.push(unit)?;
        self.taken.set(self.taken.get() + taken);
        Some(taken)
    }

    /// Whether this viewer subscribed.
    pub(crate) fn is_of(&self, viewer: u64) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.viewer() == viewer)
    }

    /// Whether it counts as a viewer.
    pub(crate) fn is_viewer(&self) -> bool {
        self.seat.is_some()
    }

    /// What is told of the subscriber, if it is a viewer; it has no port of ours.
    pub(crate) fn stats(&self) -> Option<ViewerStats> {
        let seat = self.seat.as_ref()?;
        Some(ViewerStats {
            id: seat.viewer(),
            protocol: self.protocol,
            peer: self.peer.map(|peer| peer.to_canonical().to_string()),
            since_ms: seat.since_ms(),
            bytes_out: self.taken.get(),
            skips: 0,
            user_agent: self.agent.clone(),
        })
    }

    /// Whether the subscriber is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.queue.is_over()
    }
}

impl Drop for UnitTap {
    fn drop(&mut self) {
        self.queue.end();
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::record::testing;

    const BOTH: Wanted = Wanted { video: true, audio: true };

    fn rings(queue: &Queue) -> bool {
        let mut fds = [PollFd::new(&queue.bell, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    fn sizes(taken: &(Vec<AccessUnit>, bool)) -> Vec<usize> {
        taken.0.iter().map(|unit| unit.data.len()).collect()
    }

    #[test]
    fn begins_at_a_key_frame_and_rings_while_units_wait() {
        let queue = Queue::new(BOTH, 10_000).unwrap();
        assert_eq!(queue.push(&testing::picture(0, false, 10)), Some(0));
        assert!(!rings(&queue));
        let key = testing::picture(1, true, 100);
        assert_eq!(queue.push(&key), Some(key.data.len() as u64));
        queue.push(&testing::picture(2, false, 10));
        assert!(rings(&queue));
        assert_eq!(queue.take(1).0.len(), 1);
        assert!(rings(&queue), "one waits still");
        assert_eq!(queue.take(10).0.len(), 1);
        assert!(!rings(&queue));
        queue.end();
        assert!(rings(&queue) && queue.take(10).1 && rings(&queue));
        assert_eq!(queue.push(&key), None);
    }

    #[test]
    fn too_slow_a_subscriber_goes_on_at_the_next_key_frame() {
        let queue = Queue::new(BOTH, 3 * (100 + OVERHEAD + 64)).unwrap();
        queue.push(&testing::picture(0, true, 100));
        for number in 1..20 {
            queue.push(&testing::picture(number, false, 100));
        }
        assert_eq!(queue.take(100).0.len(), 0, "what waited is old and was dropped");
        queue.push(&testing::picture(20, true, 50));
        queue.push(&testing::picture(21, false, 50));
        assert_eq!((sizes(&queue.take(100)).len(), queue.dropped()), (2, 20));
    }

    #[test]
    fn a_unit_larger_than_the_bound_goes_alone() {
        let queue = Queue::new(BOTH, 1000).unwrap();
        queue.push(&testing::picture(0, true, 5000));
        queue.push(&testing::picture(1, false, 10));
        queue.push(&testing::picture(2, true, 10));
        assert_eq!(sizes(&queue.take(100)).len(), 1);
        assert_eq!(queue.dropped(), 2);
    }
}
