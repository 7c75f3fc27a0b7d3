//! Who watches a stream, for people, and how one of them is sent away.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{clock, table::lock};

/// A viewer at one moment; the names are those of `media/_core.pyi`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each figure is described once, in media/_core.pyi")]
pub struct ViewerStats {
    pub id: u64,
    pub protocol: &'static str,
    pub peer: Option<String>,
    pub since_ms: u64,
    pub bytes_out: u64,
    pub skips: u64,
    pub user_agent: String,
}

/// The id of another viewer; none is used twice.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The places of a stream that are taken, by who sits there.
#[derive(Debug, Default)]
pub struct Seats(Mutex<HashSet<u64>>);

impl Seats {
    /// How many are taken.
    pub(crate) fn taken(&self) -> u32 {
        lock(&self.0).len() as u32
    }

    /// Whether this viewer has one.
    pub(crate) fn has(&self, viewer: u64) -> bool {
        lock(&self.0).contains(&viewer)
    }
}

/// A place among the viewers of a stream; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    viewer: u64,
    since_ms: u64,
    seats: Arc<Seats>,
}

impl Seat {
    /// Takes a place for a viewer who is new.
    pub fn new(seats: &Arc<Seats>) -> Self {
        let viewer = next_id();
        lock(&seats.0).insert(viewer);
        Self { viewer, since_ms: clock::wall_ms(), seats: Arc::clone(seats) }
    }

    /// Since when, in milliseconds of the UNIX epoch.
    pub(crate) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Who sits there.
    pub(crate) fn viewer(&self) -> u64 {
        self.viewer
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seats.0).remove(&self.viewer);
    }
}
