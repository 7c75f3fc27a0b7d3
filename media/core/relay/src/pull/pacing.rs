//! When what was fetched in one piece is handed on: at the pace of its own clock. Pure.

use std::time::{Duration, Instant};

use wire::media::Ticks;

/// Later than this a schedule is given up: what is due goes at once, and the rest keeps its distance to it.
const LATE: Duration = Duration::from_secs(1);
/// A step of the clock beyond it is none.
const STEP_MAX: i64 = 10 * Ticks::PER_SECOND;

/// Spreads units over time by their decoding times.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    last: Option<(Instant, i64)>,
}

impl Pacing {
    /// When the next unit is due. A source that is ahead (more waits than is good) is let flow a twentieth faster.
    pub(super) fn due(&mut self, now: Instant, dts: Ticks, ahead: bool) -> Instant {
        let Some((then, before)) = self.last else {
            self.last = Some((now, dts.0));
            return now;
        };
        let step = dts.0 - before;
        let step = if (0..=STEP_MAX).contains(&step) { step } else { 0 };
        let step = if ahead { step * 19 / 20 } else { step };
        let due = then + Duration::from_micros(step.cast_unsigned() * 100 / 9);
        let due = if now > due + LATE { now } else { due };
        self.last = Some((due, dts.0.max(before)));
        if dts.0 < before - STEP_MAX {
            self.last = Some((due, dts.0));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn units_keep_their_distances_and_a_late_source_begins_a_new_schedule() {
        let mut pacing = Pacing::default();
        let begin = clock::now() + Duration::from_secs(100);
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let ticks = Ticks::from_millis;
        assert_eq!(pacing.due(at(0), ticks(5000), false), at(0));
        assert_eq!(pacing.due(at(0), ticks(5040), false), at(40));
        assert_eq!(pacing.due(at(0), ticks(5030), false), at(40), "sound beside the picture");
        assert_eq!(pacing.due(at(500), ticks(5080), false), at(80), "a little late: at once");
        assert_eq!(pacing.due(at(3000), ticks(5120), false), at(3000), "the source stood still");
        assert_eq!(pacing.due(at(3000), ticks(6120), true), at(3950));
        assert_eq!(pacing.due(at(3000), ticks(60_000), false), at(3950), "a jump is no wait");
        assert_eq!(pacing.due(at(3000), ticks(40), false), at(3950));
        assert_eq!(pacing.due(at(3000), ticks(80), false), at(3990));
    }
}
