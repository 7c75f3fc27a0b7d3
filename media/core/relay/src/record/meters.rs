//! Counters of all recordings of a core.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes that may wait for the disk in all recordings together; beyond it frames are dropped.
const QUEUED_MAX: u64 = 512 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// Recordings that run.
    pub(crate) recordings: AtomicU64,
    /// Files that were finished.
    pub(crate) slices: AtomicU64,
    /// Bytes written.
    pub(crate) bytes: AtomicU64,
    /// Frames that are in no file.
    pub(crate) lost: AtomicU64,
    /// Times that a file could not be made, written or finished.
    pub(crate) failures: AtomicU64,
    /// Bytes that wait for the disk now.
    pub(crate) queued: AtomicU64,
    /// The most that ever waited in one recording.
    pub(crate) queue_max: AtomicU64,
}

impl Meters {
    /// Counts `bytes` as waiting; false if that would be too many.
    pub(crate) fn enqueue(&self, bytes: u64) -> bool {
        if self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUED_MAX {
            self.dequeue(bytes);
            return false;
        }
        true
    }

    pub(crate) fn dequeue(&self, bytes: u64) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes how much waits in one recording.
    pub(crate) fn note_queue(&self, bytes: u64) {
        if bytes > self.queue_max.load(Ordering::Relaxed) {
            self.queue_max.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_to(&self, totals: &mut BTreeMap<&'static str, f64>) {
        for (name, counter) in [
            ("relay_recordings", &self.recordings),
            ("relay_record_slices_total", &self.slices),
            ("relay_record_bytes_total", &self.bytes),
            ("relay_record_frames_lost_total", &self.lost),
            ("relay_record_failures_total", &self.failures),
            ("relay_record_queue_bytes", &self.queued),
            ("relay_record_queue_bytes_max", &self.queue_max),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
            totals.insert(name, counter.load(Ordering::Relaxed) as f64);
        }
    }
}

/// Counts.
pub(crate) fn count(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
