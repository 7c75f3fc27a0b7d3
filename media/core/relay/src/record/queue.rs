//! What waits for the disk: references to a recording's units, bounded in bytes.
//!
//! When the bound is reached the newest are dropped, up to the next key frame that finds the queue half empty: what is
//! written can always be decoded. The shard takes an uncontended lock a unit, and wakes nobody: the writer comes by.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use wire::media::{AccessUnit, Ticks};

use super::{
    meters::{Meters, count},
    teller::Teller,
};
use crate::{hub::gop::begins, shard::turn::Turn, table::lock};

/// Bytes that may wait in one recording: half a minute of 4 Mbit/s.
pub(crate) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a waiting unit takes beside its bytes.
const OVERHEAD: usize = 128;

/// A unit and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) unit: AccessUnit,
    pub(crate) at: Instant,
    /// Milliseconds of the UNIX epoch, as the system's clock said.
    pub(crate) wall_ms: u64,
    /// Units that were dropped before this one.
    pub(crate) lost_before: u64,
    /// The source broke off before it.
    pub(crate) after_break: bool,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stopped,
    Ended,
}

#[derive(Default)]
struct Waiting {
    units: VecDeque<Arrived>,
    bytes: usize,
    /// Dropped since the last unit that fitted.
    lost: u64,
    skipping: bool,
    /// The source broke off behind the last unit.
    broken: bool,
    /// No unit of the first batch is earlier.
    earliest: Option<Ticks>,
    end: Option<End>,
}

/// What the writer took.
pub(crate) struct Batch {
    pub(crate) units: VecDeque<Arrived>,
    /// More wait.
    pub(crate) more: bool,
    /// The source broke off behind the last unit.
    pub(crate) broken: bool,
    pub(crate) earliest: Option<Ticks>,
    /// Nothing more will come; so many were dropped behind the last unit.
    pub(crate) end: Option<(End, u64)>,
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    bytes_max: usize,
    meters: Arc<Meters>,
}

/// What became of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pushed {
    Waits,
    /// It is the first one that did not fit.
    Overflow,
    Dropped,
    Over,
}

impl Queue {
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        Self { waiting: Mutex::default(), bytes_max: BYTES_MAX, meters }
    }

    fn push(&self, mut arrived: Arrived) -> Pushed {
        let mut waiting = lock(&self.waiting);
        if waiting.end.is_some() {
            return Pushed::Over;
        }
        if waiting.skipping && !(begins(&arrived.unit) && waiting.bytes <= self.bytes_max / 2) {
            waiting.lost += 1;
            return Pushed::Dropped;
        }
        let size = arrived.unit.data.len() + OVERHEAD;
        if waiting.bytes + size > self.bytes_max || !self.meters.enqueue(size as u64) {
            waiting.lost += 1;
            let before = std::mem::replace(&mut waiting.skipping, true);
            return if before { Pushed::Dropped } else { Pushed::Overflow };
        }
        waiting.skipping = false;
        waiting.bytes += size;
        self.meters.note_queue(waiting.bytes as u64);
        arrived.lost_before = std::mem::take(&mut waiting.lost);
        arrived.after_break |= std::mem::take(&mut waiting.broken);
        waiting.units.push_back(arrived);
        Pushed::Waits
    }

    /// Nothing more comes; the first reason counts.
    pub(crate) fn end(&self, end: End) {
        lock(&self.waiting).end.get_or_insert(end);
    }

    /// Nothing that follows belongs to what came before.
    fn note_break(&self) {
        lock(&self.waiting).broken = true;
    }

    /// Takes the oldest units, about `bytes` of them.
    pub(crate) fn take(&self, bytes: usize) -> Batch {
        let mut waiting = lock(&self.waiting);
        let (mut count, mut size) = (0, 0);
        for arrived in &waiting.units {
            if size >= bytes {
                break;
            }
            count += 1;
            size += arrived.unit.data.len() + OVERHEAD;
        }
        let units: VecDeque<_> = waiting.units.drain(..count).collect();
        waiting.bytes -= size;
        self.meters.dequeue(size as u64);
        let more = !waiting.units.is_empty();
        let end = waiting.end.filter(|_| !more).map(|end| (end, std::mem::take(&mut waiting.lost)));
        let broken = !more && std::mem::take(&mut waiting.broken);
        Batch { units, more, broken, earliest: waiting.earliest.take(), end }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.meters.dequeue(lock(&self.waiting).bytes as u64);
    }
}

/// The shard's end of a recording; dropping it ends the recording.
pub(crate) struct Tap {
    queue: Arc<Queue>,
    teller: Arc<Teller>,
}

impl Tap {
    pub(crate) fn new(queue: Arc<Queue>, teller: Arc<Teller>) -> Self {
        Self { queue, teller }
    }

    /// Begins with the units since the last key frame; when they came is told from their times.
    pub(crate) fn begin<'a>(&self, turn: Turn<'_>, units: impl Iterator<Item = &'a AccessUnit>) {
        self.put_cached(turn.now, turn.wall_ms, units);
    }

    pub(super) fn put_cached<'a>(
        &self,
        now: Instant,
        wall_ms: u64,
        units: impl Iterator<Item = &'a AccessUnit>,
    ) {
        let units: Vec<_> = units.collect();
        let newest = units.iter().map(|unit| unit.dts).max();
        lock(&self.queue.waiting).earliest = units.iter().map(|unit| unit.dts).min();
        for unit in units {
            let age_ms = newest.map_or(0, |newest| (newest - unit.dts).as_millis().max(0).cast_unsigned());
            let at = now.checked_sub(Duration::from_millis(age_ms)).unwrap_or(now);
            let wall_ms = wall_ms.saturating_sub(age_ms);
            self.put(Arrived { unit: unit.clone(), at, wall_ms, lost_before: 0, after_break: false });
        }
    }

    /// Takes the next unit; false if nobody wants it any more.
    pub(crate) fn handle_unit(&self, turn: Turn<'_>, unit: &AccessUnit) -> bool {
        let (at, wall_ms) = (turn.now, turn.wall_ms);
        self.put(Arrived { unit: unit.clone(), at, wall_ms, lost_before: 0, after_break: false })
    }

    /// The stream's source broke off: the open file is over, and the next key frame begins another one.
    pub(crate) fn handle_break(&self) {
        self.queue.note_break();
    }

    /// Whether the recording is over.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.queue.waiting).end.is_some()
    }

    pub(super) fn put(&self, arrived: Arrived) -> bool {
        let pushed = self.queue.push(arrived);
        if pushed == Pushed::Overflow {
            count(&self.queue.meters.failures, 1);
            // Told from here, for the writer may hang in the very call that is too slow.
            self.teller.failed("the disk is too slow: frames are dropped up to a key frame".to_owned(), 1);
        }
        pushed != Pushed::Over
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.queue.end(End::Ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, record::testing};

    fn arrived(unit: AccessUnit) -> Arrived {
        Arrived { unit, at: clock::now(), wall_ms: 0, lost_before: 0, after_break: false }
    }

    fn small(bytes_max: usize) -> (Queue, Arc<Meters>) {
        let meters: Arc<Meters> = Arc::default();
        (Queue { waiting: Mutex::default(), bytes_max, meters: Arc::clone(&meters) }, meters)
    }

    #[test]
    fn what_does_not_fit_is_dropped_up_to_a_key_frame_that_finds_room() {
        let (queue, _) = small(10 * (OVERHEAD + 100));
        let push = |key| queue.push(arrived(testing::picture(0, key, 100)));
        assert_eq!(push(true), Pushed::Waits);
        assert!((0..9).all(|_| push(false) == Pushed::Waits));
        assert_eq!(
            (push(false), push(false), push(true)),
            (Pushed::Overflow, Pushed::Dropped, Pushed::Dropped)
        );
        assert_eq!(queue.take(3 * (OVERHEAD + 100)).units.len(), 3);
        assert_eq!(push(true), Pushed::Dropped, "it is not half empty yet");
        assert_eq!(queue.take(2 * (OVERHEAD + 100)).units.len(), 2);
        assert_eq!((push(false), push(true), push(false)), (Pushed::Dropped, Pushed::Waits, Pushed::Waits));
        let batch = queue.take(usize::MAX);
        let lost: Vec<_> = batch.units.iter().map(|arrived| arrived.lost_before).collect();
        assert_eq!(lost, [0, 0, 0, 0, 0, 5, 0]);
        assert!(!batch.more && batch.end.is_none());
    }

    #[test]
    fn the_end_comes_behind_the_last_unit() {
        let (queue, meters) = small(1000);
        assert_eq!(queue.push(arrived(testing::picture(0, true, 100))), Pushed::Waits);
        assert_eq!(queue.push(arrived(testing::picture(1, false, 100))), Pushed::Waits);
        assert_eq!(queue.push(arrived(testing::picture(2, false, 10_000))), Pushed::Overflow);
        queue.end(End::Stopped);
        queue.end(End::Ended);
        assert_eq!(queue.push(arrived(testing::picture(3, true, 1))), Pushed::Over);
        let first = queue.take(1);
        assert!(first.more && first.end.is_none());
        assert_eq!(queue.take(1).end, Some((End::Stopped, 1)));
        let mut totals = std::collections::BTreeMap::new();
        meters.add_to(&mut totals);
        assert_eq!(
            (totals["relay_record_queue_bytes"], totals["relay_record_queue_bytes_max"] > 0.0),
            (0.0, true)
        );
    }
}
