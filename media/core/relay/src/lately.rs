//! Streams that ended a moment ago: players of HLS are behind, and fetch the end of a stream that is no more.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::table::Entry;

/// A player asks again within a target duration, and is a few segments behind.
const KEPT: Duration = Duration::from_secs(30);
/// Streams kept at once, each with the segments of one playlist.
const KEPT_MAX: usize = 256;

/// They are found by name, until another stream takes it.
#[derive(Default)]
pub(crate) struct Lately {
    ended: HashMap<String, (Arc<Entry>, Instant)>,
}

impl Lately {
    /// Keeps a stream that ended, if somebody plays it by HLS.
    pub(crate) fn keep(&mut self, now: Instant, key: String, entry: Arc<Entry>) {
        self.expire(now);
        if entry.feeds.players() > 0 && self.ended.len() < KEPT_MAX {
            self.ended.insert(key, (entry, now));
        }
    }

    /// The stream that ended under this name a moment ago.
    pub(crate) fn get(&self, now: Instant, key: &str) -> Option<Arc<Entry>> {
        let (entry, ended) = self.ended.get(key)?;
        (now.saturating_duration_since(*ended) < KEPT).then(|| Arc::clone(entry))
    }

    /// Another stream has the name.
    pub(crate) fn forget(&mut self, now: Instant, key: &str) {
        self.expire(now);
        self.ended.remove(key);
    }

    fn expire(&mut self, now: Instant) {
        self.ended.retain(|_, (_, ended)| now.saturating_duration_since(*ended) < KEPT);
    }
}
