//! What a sender says of itself: when, how much, at what time (RFC 3550 §6.4.1).

use std::time::{Duration, Instant};

use wire::{rtcp::Reporter, send::Source};

use crate::shard::turn::Turn;

/// A report goes out so often (RFC 3550 §6.2).
const REPORT: Duration = Duration::from_secs(5);

pub(crate) struct Reports {
    reporter: Reporter,
    reported: Option<Instant>,
    /// The latest time that went out on the clock that reports are about.
    timestamp: Option<u32>,
}

impl Reports {
    pub(crate) fn new(ssrc: u32) -> Self {
        Self { reporter: Reporter::new(ssrc, "relay"), reported: None, timestamp: None }
    }

    /// A packet of this time goes out.
    pub(crate) fn note(&mut self, timestamp: u32) {
        self.timestamp = Some(timestamp);
    }

    /// A report, with the first packet and then every 5 s.
    pub(crate) fn due(&mut self, turn: Turn<'_>, source: &Source) -> Option<Vec<u8>> {
        let timestamp = self.timestamp?;
        if self.reported.is_some_and(|at| turn.now.saturating_duration_since(at) < REPORT) {
            return None;
        }
        self.reported = Some(turn.now);
        Some(self.reporter.sender_report(turn.wall_ms * 1000, timestamp, source.sent()))
    }

    /// That nothing more comes, for whoever was reported to.
    pub(crate) fn goodbye(&self) -> Option<Vec<u8>> {
        self.reported.map(|_| self.reporter.goodbye())
    }
}
