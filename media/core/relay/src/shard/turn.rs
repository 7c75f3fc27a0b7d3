//! What every step of a shard is handed: the time, and where to tell what happened.

use std::time::Instant;

use super::poll::Poll;
use crate::{config::Config, events::EventQueue, metrics::Metrics};

/// When a turn began.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// Whole seconds since the shard began.
    pub(crate) second: u64,
    /// Milliseconds of the UNIX epoch.
    pub(crate) wall_ms: u64,
}

/// One turn of a shard's loop.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    /// Whole seconds since the shard began.
    pub(crate) second: u64,
    /// Milliseconds of the UNIX epoch, for people.
    pub(crate) wall_ms: u64,
    pub(crate) metrics: &'a Metrics,
    pub(crate) poll: &'a Poll,
    pub(crate) events: &'a EventQueue,
    pub(crate) config: &'a Config,
}
