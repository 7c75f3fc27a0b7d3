//! What a sender says of itself: when, how much, at what time (RFC 3550 §6.4.1).

use std::time::{Duration, Instant};

use wire::{media::Ticks, rtcp::Reporter, send::Source};

/// A report goes out so often (RFC 3550 §6.2).
const REPORT: Duration = Duration::from_secs(5);

/// Time that is off by more shows a gap: receivers do not believe reports that differ much more from arrival.
const GAP_US: i64 = 5_000_000;

/// The clock is moved by at most a two-thousandth of the time that passed.
const SLOWLY: i64 = 2_000;

/// What the wall clock shows at a time of the stream, in reports: one clock for all that is sent of it, in whatever form
/// and to whomever. A report says when something belongs, not when it left: sound that came late, or a picture that
/// waited behind others, belongs where it always did.
///
/// It begins with what comes first and follows the source slowly, if its clock is off; at once across a gap.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// What the wall clock showed at the stream's zero, and when that was last put right; in microseconds.
    zero: Option<(i64, i64)>,
}

impl Clock {
    /// Something of this time came at `wall_us`.
    pub(crate) fn handle(&mut self, wall_us: u64, time: Ticks) {
        let (wall, found) = (wall_us.cast_signed(), wall_us.cast_signed() - micros(time));
        let zero = match self.zero {
            Some((zero, at)) if (found - zero).abs() < GAP_US => {
                let most = (wall - at).clamp(0, GAP_US) / SLOWLY;
                zero + (found - zero).clamp(-most, most)
            }
            _ => found,
        };
        self.zero = Some((zero, wall));
    }

    /// The wall clock at a time of the stream, in microseconds; `None` before anything came.
    pub(crate) fn wall_us(&self, time: Ticks) -> Option<u64> {
        self.zero.map(|(zero, _)| zero.saturating_add(micros(time)).max(0).cast_unsigned())
    }
}

fn micros(time: Ticks) -> i64 {
    time.0.saturating_mul(100) / 9
}

pub(crate) struct Reports {
    reporter: Reporter,
    reported: Option<Instant>,
    /// Something went out on the clock that reports are about.
    begun: bool,
}

impl Reports {
    pub(crate) fn new(ssrc: u32) -> Self {
        Self { reporter: Reporter::new(ssrc, "relay"), reported: None, begun: false }
    }

    /// A packet goes out whose clock reports are about.
    pub(crate) fn note(&mut self) {
        self.begun = true;
    }

    /// A report, with the first packet and then every 5 s. `moment`: the wall clock in microseconds, and the timestamp
    /// that belongs there.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        moment: Option<(u64, u32)>,
        source: &Source,
    ) -> Option<Vec<u8>> {
        let (wall_us, timestamp) = moment.filter(|_| self.begun)?;
        if self.reported.is_some_and(|at| now.saturating_duration_since(at) < REPORT) {
            return None;
        }
        self.reported = Some(now);
        Some(self.reporter.sender_report(wall_us, timestamp, source.sent()))
    }

    /// That nothing more comes, for whoever was reported to.
    pub(crate) fn goodbye(&self) -> Option<Vec<u8>> {
        self.reported.map(|_| self.reporter.goodbye())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000_000;

    #[test]
    fn what_comes_late_belongs_where_it_always_did() {
        let mut clock = Clock::default();
        assert_eq!(clock.wall_us(Ticks(0)), None);
        clock.handle(WALL, Ticks::from_millis(1000));
        clock.handle(WALL + 320_000, Ticks::from_millis(1000)); // its sound
        let apart = clock.wall_us(Ticks::from_millis(1000)).unwrap() - WALL;
        assert!(apart < 1_000, "{apart}");
        let picture = clock.wall_us(Ticks::from_millis(1320)).unwrap();
        assert!((WALL + 320_000..WALL + 321_000).contains(&picture));
    }

    #[test]
    fn a_source_whose_clock_is_off_is_followed_slowly_and_a_gap_at_once() {
        let mut clock = Clock::default();
        for second in 0..36_000_u64 {
            // A ten-thousandth slow.
            clock.handle(WALL + second * 1_000_100, Ticks::from_millis(second.cast_signed() * 1000));
        }
        let wall = clock.wall_us(Ticks::from_millis(35_999_000)).unwrap();
        assert!(wall.abs_diff(WALL + 35_999 * 1_000_100) < 2_000);
        clock.handle(WALL + 50_000_000_000, Ticks::from_millis(36_000_000));
        assert_eq!(clock.wall_us(Ticks::from_millis(36_000_000)), Some(WALL + 50_000_000_000));
    }
}
