//! Recordings: a stream's units as files on a disk, cut at key frames by the clock.
//!
//! A shard puts references to units into a bounded queue and never waits. One thread writes the files of all
//! recordings, another one finishes those that are full (fsync may take its time), so a disk that is slow or full costs
//! frames of recordings and nothing else.

mod calendar;
mod closer;
mod files;
mod meters;
mod queue;
mod recording;
mod salvage;
mod slice;
mod teller;
mod writer;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use wire::file::Form;

pub(crate) use self::queue::Tap;
pub use self::salvage::{Salvaged, salvage};
use self::{
    calendar::Calendar,
    files::Folder,
    meters::Meters,
    queue::{End, Queue},
    recording::Recording,
    teller::Teller,
    writer::Writer,
};
use crate::{
    error::Error,
    events::EventQueue,
    table::{Entry, lock},
};

/// An hour zone further than this from UTC is a mistake.
const UTC_OFFSET_MAX_MS: i64 = 24 * 3_600_000;

/// What a recording is asked to be.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where its files go; it must exist.
    pub directory: PathBuf,
    /// A file ends at the first key frame at or after each multiple of this since local midnight.
    pub slice_ms: u64,
    /// Local time less UTC.
    pub utc_offset_ms: i64,
    /// The form of its files; `None` is the one that most players read, by the coding.
    pub form: Option<Form>,
    /// Repeated in events.
    pub tag: String,
}

/// All recordings of a core. Its threads begin with the first one.
pub(crate) struct Recorder {
    events: Arc<EventQueue>,
    meters: Arc<Meters>,
    state: Mutex<State>,
    queues: Arc<Mutex<HashMap<u64, Arc<Queue>>>>,
    next: AtomicU64,
}

#[derive(Default)]
enum State {
    #[default]
    Unused,
    Running(Writer),
    Closed,
}

impl Recorder {
    pub(crate) fn new(events: Arc<EventQueue>) -> Self {
        let (meters, queues) = (Arc::default(), Arc::default());
        Self { events, meters, state: Mutex::default(), queues, next: AtomicU64::new(1) }
    }

    /// Begins a recording: its id, and the end that the stream's shard gets.
    pub(crate) fn record(&self, entry: &Entry, order: Order) -> Result<(u64, Tap), Error> {
        if order.slice_ms == 0 {
            return Err(Error::Invalid("slice_ms must be positive".to_owned()));
        }
        if order.utc_offset_ms.abs() > UTC_OFFSET_MAX_MS {
            return Err(Error::Invalid(format!("utc_offset_ms {} is more than a day", order.utc_offset_ms)));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let teller = Arc::new(Teller::new(Arc::clone(&self.events), entry, id, order.tag));
        let queue = Arc::new(Queue::new(Arc::clone(&self.meters)));
        let calendar = Calendar { slice_ms: order.slice_ms, utc_offset_ms: order.utc_offset_ms };
        let recording = Recording::new(
            id,
            order.directory,
            order.form,
            calendar,
            Arc::clone(&queue),
            Arc::clone(&teller),
        );
        let mut state = lock(&self.state);
        if matches!(*state, State::Unused) {
            let (meters, queues) = (Arc::clone(&self.meters), Arc::clone(&self.queues));
            let started = Writer::start(Arc::new(Folder), meters, queues);
            *state = State::Running(started.map_err(Error::io("cannot start the recorder"))?);
        }
        let State::Running(writer) = &*state else { return Err(Error::Closed) };
        lock(&self.queues).insert(id, Arc::clone(&queue));
        writer.add(recording);
        Ok((id, Tap::new(queue, teller)))
    }

    /// Ends a recording; an unknown one is ignored.
    pub(crate) fn stop(&self, recording: u64) {
        let queue = lock(&self.queues).get(&recording).cloned();
        if let Some(queue) = queue {
            queue.end(End::Stopped);
            if let State::Running(writer) = &*lock(&self.state) {
                writer.wake();
            }
        }
    }

    /// Finishes all files and joins the threads.
    pub(crate) fn close(&self) {
        let state = std::mem::replace(&mut *lock(&self.state), State::Closed);
        for queue in lock(&self.queues).values() {
            queue.end(End::Ended);
        }
        if let State::Running(writer) = state {
            writer.close();
        }
    }

    /// Adds its counters, by Prometheus name.
    pub(crate) fn add_to(&self, totals: &mut BTreeMap<&'static str, f64>) {
        self.meters.add_to(totals);
    }
}
