//! The bandwidth that one receiver may use: a bucket of bytes that fills with time. No clock.

use std::time::{Duration, Instant};

/// What may come at once, as time at the full rate: key frames arrive in bursts.
const DEPTH: Duration = Duration::from_secs(1);

pub(crate) struct Budget {
    bytes_per_second: u64,
    left: u64,
    filled: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant, bits_per_second: u64) -> Self {
        let bytes_per_second = (bits_per_second / 8).max(1);
        Self { bytes_per_second, left: Self::depth(bytes_per_second), filled: now }
    }

    /// Takes `bytes`; false, and nothing taken, if they are beyond the budget.
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> bool {
        self.fill(now);
        self.take_filled(bytes)
    }

    /// The same without looking at the clock: `fill` has.
    pub(crate) fn take_filled(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Takes what came already; false if that leaves nothing.
    pub(crate) fn spend(&mut self, now: Instant, bytes: usize) -> bool {
        self.fill(now);
        self.left = self.left.saturating_sub(bytes as u64);
        self.left > 0
    }

    /// Adds what time has brought.
    pub(crate) fn fill(&mut self, now: Instant) {
        if now <= self.filled {
            return;
        }
        let passed = now.saturating_duration_since(self.filled).min(DEPTH);
        let earned = u128::from(self.bytes_per_second) * passed.as_micros() / 1_000_000;
        if earned > 0 {
            self.left = (self.left + earned as u64).min(Self::depth(self.bytes_per_second));
            self.filled = now;
        }
    }

    fn depth(bytes_per_second: u64) -> u64 {
        bytes_per_second * DEPTH.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn lets_the_rate_through_and_a_burst_of_a_second() {
        let start = clock::now();
        let mut budget = Budget::new(start, 8_000_000);
        let taken = (0..2000).filter(|_| budget.take(start, 1000)).count();
        assert_eq!(taken, 1000);
        let mut later = 0;
        for milli in 1..=3000 {
            let now = start + Duration::from_millis(milli);
            later += (0..3).filter(|_| budget.take(now, 1000)).count();
        }
        assert_eq!(later, 3000, "a third of what came in three seconds");
    }

    #[test]
    fn what_came_already_may_empty_the_bucket() {
        let start = clock::now();
        let mut budget = Budget::new(start, 8_000_000);
        assert!(budget.spend(start, 900_000));
        assert!(!budget.spend(start, 900_000));
        assert!(!budget.take(start, 1));
        assert!(budget.take(start + Duration::from_millis(10), 10_000));
    }
}
