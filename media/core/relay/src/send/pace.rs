//! How fast a target's datagrams leave: what a switch between us and it can take. No socket, no clock.

use std::time::{Duration, Instant};

/// So many packets may leave at once: an ordinary picture.
const BURST: usize = 24;

/// More than that leaves in portions at this distance, each of so many packets at least.
const STEP: Duration = Duration::from_millis(2);
const PORTION: usize = 12;

/// Spreads what is too much for one burst, such as a key frame.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    /// When all that waits now is to have left, and when the next portion may.
    run: Option<(Instant, Instant)>,
}

impl Pacer {
    /// How many of the `waiting` packets may leave at `now`, so that all have left after `spread`.
    pub(crate) fn allow(&mut self, now: Instant, waiting: usize, spread: Duration) -> usize {
        if waiting == 0 || (self.run.is_none() && waiting <= BURST) {
            self.run = None;
            return waiting;
        }
        let (until, next) = self.run.unwrap_or((now + spread, now));
        if now < next {
            return 0;
        }
        let left = until.saturating_duration_since(now).as_micros() / STEP.as_micros();
        let portion = waiting.div_ceil(usize::try_from(left).unwrap_or(1).max(1)).max(PORTION).min(waiting);
        self.run = (portion < waiting).then_some((until, now + STEP));
        portion
    }

    /// The system takes no more now: what is left is tried again in a moment.
    pub(crate) fn hold(&mut self, now: Instant) {
        self.run = Some((now + STEP, now + STEP));
    }

    /// When to ask again even if nothing comes.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.run.map(|(_, next)| next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SPREAD: Duration = Duration::from_millis(32);

    #[test]
    fn an_ordinary_picture_leaves_at_once() {
        let (mut pacer, now) = (Pacer::default(), clock::now());
        assert_eq!(pacer.allow(now, BURST, SPREAD), BURST);
        assert_eq!((pacer.next_timeout(), pacer.allow(now, 0, SPREAD)), (None, 0));
    }

    #[test]
    fn a_key_frame_is_spread_evenly_and_in_time() {
        let (mut pacer, start) = (Pacer::default(), clock::now());
        let (mut waiting, mut now, mut largest) = (220, start, 0);
        while waiting > 0 {
            let portion = pacer.allow(now, waiting, SPREAD);
            largest = largest.max(portion);
            waiting -= portion;
            now = pacer.next_timeout().unwrap_or(now);
        }
        assert!(largest <= 16, "{largest} packets at once");
        assert!(now - start <= SPREAD);
    }

    #[test]
    fn what_comes_meanwhile_waits_its_turn_and_delays_nothing() {
        let (mut pacer, start) = (Pacer::default(), clock::now());
        let mut waiting = 500 - pacer.allow(start, 500, SPREAD);
        waiting += 10;
        assert_eq!(pacer.allow(start + STEP / 2, waiting, SPREAD), 0);
        let mut now = start;
        for _ in 0..16 {
            now += STEP;
            waiting -= pacer.allow(now, waiting, SPREAD);
        }
        assert_eq!((waiting, pacer.next_timeout()), (0, None));
    }

    #[test]
    fn what_the_system_did_not_take_is_tried_again_soon() {
        let (mut pacer, now) = (Pacer::default(), clock::now());
        pacer.hold(now);
        assert_eq!(pacer.allow(now, 5, SPREAD), 0);
        assert_eq!(pacer.allow(now + STEP, 5, SPREAD), 5);
    }
}
