//! The reader's end of a subscription.

use std::{net::IpAddr, os::fd::RawFd, sync::Arc};

use wire::media::{AccessUnit, Tracks};

use super::queue::{Queue, Wanted};

/// What a subscription is asked to be.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
    /// Begin with the cached GOP, else with the next key frame.
    pub from_gop: bool,
    /// Bytes that may wait.
    pub bytes_max: usize,
    /// What it is counted as among the viewers; empty if it is none.
    pub protocol: &'static str,
    /// Where a viewer is, if that is known.
    pub peer: Option<IpAddr>,
    /// What a viewer calls itself.
    pub agent: String,
}

impl Subscribe {
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted { video: self.video, audio: self.audio }
    }
}

/// One thing that is read.
#[derive(Debug, Clone)]
pub enum Item {
    /// The tracks of what follows.
    Tracks(Arc<Tracks>),
    /// A picture or a run of sound.
    Unit(AccessUnit),
}

/// A stream's units for one reader; dropping it ends it.
pub struct Subscription {
    queue: Arc<Queue>,
    told: std::sync::Mutex<Option<Arc<Tracks>>>,
}

impl Subscription {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, told: std::sync::Mutex::default() }
    }

    /// A descriptor that is readable while units wait, and after the end; it stays ours.
    pub fn fd(&self) -> RawFd {
        self.queue.fd()
    }

    /// Takes up to `limit` units, with their tracks before the first one that has them; and whether nothing will follow.
    pub fn read(&self, limit: usize) -> (Vec<Item>, bool) {
        let (units, ended) = self.queue.take(limit);
        let mut told = crate::table::lock(&self.told);
        let mut items = Vec::with_capacity(units.len() + 1);
        for unit in units {
            if !told.as_ref().is_some_and(|known| Arc::ptr_eq(known, &unit.tracks)) {
                if told.as_deref() != Some(&*unit.tracks) {
                    items.push(Item::Tracks(Arc::clone(&unit.tracks)));
                }
                *told = Some(Arc::clone(&unit.tracks));
            }
            items.push(Item::Unit(unit));
        }
        (items, ended)
    }

    /// Units that were lost because too many waited, or that came before one could begin.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Ends it.
    pub fn close(&self) {
        self.queue.end();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.close();
    }
}
