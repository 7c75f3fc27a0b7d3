//! How long a pull waits before it connects again. Pure: time and chance are passed in.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(60);
/// A source that flowed for so long is taken for sound again.
const SOUND: Duration = Duration::from_secs(60);

/// Waits that double, each shortened by chance, so that the pulls of a server that was away do not return as one.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// The source came to its own end: the next wait is the first one.
    pub(crate) fn handle_end(&mut self) {
        self.next = self.first;
    }

    /// The wait after a failure; the source had flowed for `flowed`. `chance` is anything.
    pub(crate) fn wait(&mut self, flowed: Duration, chance: u64) -> Duration {
        if flowed >= SOUND {
            self.next = self.first;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        let quarter = wait.as_millis() as u64 / 4;
        wait.saturating_sub(Duration::from_millis(chance % (quarter + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_minute_of_flow() {
        let mut backoff = Backoff::new(FIRST);
        let waits: Vec<_> = (0..9).map(|_| backoff.wait(Duration::ZERO, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.wait(SOUND.saturating_sub(Duration::from_secs(1)), 0).as_secs(), 60);
        assert_eq!(backoff.wait(SOUND, 0).as_secs(), 1);
        assert_eq!(backoff.wait(Duration::ZERO, 0).as_secs(), 2);
        backoff.handle_end();
        assert_eq!(backoff.wait(Duration::ZERO, 0).as_secs(), 1, "an end is no failure");
    }

    #[test]
    fn chance_shortens_a_wait_by_a_quarter_at_most() {
        for chance in 0..10_000 {
            let mut backoff = Backoff::new(Duration::from_secs(8));
            let wait = backoff.wait(Duration::ZERO, chance);
            assert!((6_000..=8_000).contains(&wait.as_millis()), "{wait:?}");
        }
        assert_eq!(Backoff::new(FIRST).wait(Duration::ZERO, 250).as_millis(), 750);
    }
}
