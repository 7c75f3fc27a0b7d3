//! Copies of one receiver's packets for whoever diagnoses it. Bounded: the newest are dropped while the reader is slow.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;

/// Copied bytes that may wait, whatever the number of packets.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// One copied packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TappedPacket {
    /// When it came, in microseconds of the UNIX epoch.
    pub at_us: u64,
    /// It came over TCP.
    pub tcp: bool,
    /// The whole RTP or RTCP packet.
    pub data: Bytes,
}

#[derive(Default)]
struct Waiting {
    packets: VecDeque<TappedPacket>,
    bytes: usize,
}

/// The queue between a shard and the reader.
pub(crate) struct TapQueue {
    waiting: Mutex<Waiting>,
    packets_max: usize,
    dropped: AtomicU64,
    closed: AtomicBool,
}

impl TapQueue {
    pub(crate) fn new(packets_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            packets_max,
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Copies a packet; false if it did not fit.
    pub(crate) fn push(&self, at_us: u64, tcp: bool, data: &[u8]) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.packets.len() >= self.packets_max || waiting.bytes + data.len() > BYTES_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        waiting.bytes += data.len();
        waiting.packets.push_back(TappedPacket { at_us, tcp, data: Bytes::copy_from_slice(data) });
        true
    }

    /// Whether the reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// The reader's end; dropping it ends the copying.
pub struct Tap {
    pub(crate) queue: Arc<TapQueue>,
}

impl Tap {
    /// Takes up to `limit` packets in order of arrival; empty if none wait.
    pub fn read(&self, limit: usize) -> Vec<TappedPacket> {
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = limit.min(waiting.packets.len());
        let taken: Vec<_> = waiting.packets.drain(..count).collect();
        waiting.bytes -= taken.iter().map(|packet| packet.data.len()).sum::<usize>();
        taken
    }

    /// Packets that were not copied because too many waited.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }

    /// Ends the copying.
    pub fn close(&self) {
        self.queue.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_dropped_while_the_reader_is_slow() {
        let tap = Tap { queue: Arc::new(TapQueue::new(2)) };
        assert!(tap.queue.push(1, false, b"one"));
        assert!(tap.queue.push(2, true, b"two"));
        assert!(!tap.queue.push(3, false, b"three"));
        assert_eq!(tap.dropped(), 1);
        let taken = tap.read(10);
        assert_eq!(taken.iter().map(|packet| &packet.data[..]).collect::<Vec<_>>(), [b"one", b"two"]);
        assert!(tap.queue.push(4, false, b"four"));
        assert_eq!(tap.read(10)[0].at_us, 4);
        tap.close();
        assert!(tap.queue.is_closed());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let tap = Tap { queue: Arc::new(TapQueue::new(usize::MAX)) };
        let packet = vec![0; BYTES_MAX / 4];
        let fitted = (0..5).filter(|_| tap.queue.push(0, false, &packet)).count();
        assert_eq!((fitted, tap.read(10).len(), tap.dropped()), (4, 4, 1));
    }
}
