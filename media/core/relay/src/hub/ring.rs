//! The newest chunks of one output format, written once and read by all its viewers. No socket, no clock.

use std::{collections::VecDeque, sync::Arc};

use wire::{
    chunk::Chunk,
    media::{Ticks, Tracks},
    rtsp::TrackStart,
    websocket::{FrameHeader, Opcode},
};

/// One chunk as viewers send it; cloning it copies no media.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) chunk: Chunk,
    /// What stands before the chunk on a WebSocket.
    pub(crate) frame: FrameHeader,
    /// A viewer can begin here.
    pub(crate) begins: bool,
    pub(crate) dts: Ticks,
    pub(crate) tracks: Arc<Tracks>,
    /// What the next packets are behind a beginning, where tracks are packets.
    pub(crate) upcoming: Option<Arc<[TrackStart]>>,
}

impl Entry {
    pub(crate) fn new(chunk: Chunk, begins: bool, dts: Ticks, tracks: Arc<Tracks>) -> Self {
        let frame = FrameHeader::new(Opcode::Binary, chunk.len());
        Self { chunk, frame, begins, dts, tracks, upcoming: None }
    }
}

/// Chunks by rising number. It keeps those since the last beginning, and older ones while a viewer needs them; all
/// within a bound.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    first: u64,
    beginning: Option<u64>,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, beginning: None, bytes: 0, bytes_max }
    }

    /// Keeps at most `bytes_max` bytes from now on.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Adds a chunk. `needed` is the number of the oldest chunk that a viewer still waits for.
    pub(crate) fn push(&mut self, entry: Entry, needed: u64) {
        if entry.begins {
            self.beginning = Some(self.end());
        }
        self.bytes += entry.chunk.len();
        self.entries.push_back(entry);
        let keep_from = needed.min(self.beginning.unwrap_or(self.end()));
        while self.first < self.end() && (self.first < keep_from || self.bytes > self.bytes_max) {
            self.pop();
        }
        if self.beginning.is_some_and(|beginning| beginning < self.first) {
            self.beginning = None;
        }
    }

    /// Number of the last chunk that a viewer can begin with, if the ring still has it.
    pub(crate) fn beginning(&self) -> Option<u64> {
        self.beginning
    }

    /// Number that the next chunk will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The chunk with this number; `None` if it is gone or to come.
    pub(crate) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The newest chunk.
    pub(crate) fn newest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.chunk.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn push(ring: &mut Ring, begins: bool, size: usize, needed: u64) {
        let chunk = Chunk::from_bytes(Bytes::from(vec![0; size]));
        ring.push(Entry::new(chunk, begins, Ticks(0), Arc::default()), needed);
    }

    #[test]
    fn keeps_the_last_gop_and_what_a_viewer_still_needs() {
        let mut ring = Ring::new(1000);
        push(&mut ring, true, 10, u64::MAX);
        push(&mut ring, false, 10, u64::MAX);
        push(&mut ring, true, 10, 1);
        assert_eq!((ring.beginning(), ring.end()), (Some(2), 3));
        assert!(ring.get(0).is_none() && ring.get(1).is_some() && ring.get(3).is_none());
        push(&mut ring, false, 10, u64::MAX);
        assert!(ring.get(1).is_none() && ring.get(2).is_some());
    }

    #[test]
    fn the_bound_holds_whatever_viewers_need() {
        let mut ring = Ring::new(100);
        push(&mut ring, true, 60, 0);
        for _ in 0..50 {
            push(&mut ring, false, 30, 0);
            assert!(ring.bytes <= 100);
        }
        assert_eq!((ring.beginning(), ring.end()), (None, 51));
        push(&mut ring, true, 500, 0);
        assert_eq!((ring.beginning(), ring.bytes), (None, 0), "a chunk larger than the ring is not kept");
    }
}
