//! Figures measured over the last seconds. No clock.

use wire::media::Ticks;

/// Whole seconds that a rate is averaged over.
const WINDOW: u64 = 4;
const SLOTS: usize = WINDOW as usize + 1;

/// Bytes a second, averaged over the last whole seconds. Small, for every packet counts: 4 GiB in a second is the most it
/// tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    slots: [u32; SLOTS],
    newest: u32,
    since: Option<u32>,
}

impl Rate {
    /// Counts `bytes` in second `second`.
    pub(crate) fn add(&mut self, second: u64, bytes: u64) {
        let second = narrow(second);
        self.since.get_or_insert(second);
        self.advance(second);
        let slot = &mut self.slots[second as usize % SLOTS];
        *slot = slot.saturating_add(narrow(bytes));
    }

    /// Bits per second as of `second`; a stream younger than a second shows what it has brought so far.
    pub(crate) fn bps(&mut self, second: u64) -> u64 {
        let Some(since) = self.since else { return 0 };
        let second = narrow(second);
        self.advance(second);
        let current = u64::from(self.slots[second as usize % SLOTS]);
        match u64::from(second - since).min(WINDOW) {
            0 => current * 8,
            seconds => (self.slots.into_iter().map(u64::from).sum::<u64>() - current) * 8 / seconds,
        }
    }

    fn advance(&mut self, second: u32) {
        let passed = second.saturating_sub(self.newest).min(SLOTS as u32);
        for step in 0..passed {
            self.slots[(second - step) as usize % SLOTS] = 0;
        }
        self.newest = self.newest.max(second);
    }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What of their own time the pictures span at most that the frame rate is measured over.
const SPAN: Ticks = Ticks::from_millis(4000);

/// Pictures are counted for so long at a time; `SPAN` has one more of these.
const COUNTED: Ticks = Ticks::from_millis(1000);
const COUNTS: usize = 5;

/// Frame rate and GOP length of the video.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pictures {
    /// The first picture of each count, oldest first.
    firsts: [Ticks; COUNTS],
    counts: [u32; COUNTS],
    used: usize,
    last: Ticks,
    since_key: Option<u32>,
    gop: u32,
    last_second: u64,
}

impl Pictures {
    /// Notes a picture with decoding time `dts` that came in second `second`.
    pub(crate) fn add(&mut self, second: u64, dts: Ticks, key: bool) {
        self.last_second = second;
        self.last = dts;
        if self.used == 0 || dts - self.firsts[self.used - 1] >= COUNTED {
            self.begin_count(dts);
        }
        let count = &mut self.counts[self.used - 1];
        *count = count.saturating_add(1);
        if key {
            if let Some(count) = self.since_key {
                self.gop = count;
            }
            self.since_key = Some(0);
        }
        self.since_key = self.since_key.map(|count| count + 1);
    }

    /// Forgets counts that are too old, and begins another one.
    fn begin_count(&mut self, dts: Ticks) {
        let old = self.firsts[..self.used].iter().take_while(|&&first| dts - first > SPAN).count();
        self.firsts.copy_within(old..self.used, 0);
        self.counts.copy_within(old..self.used, 0);
        // The others began a second after each other at least, so that there is room.
        self.used = (self.used - old).min(COUNTS - 1);
        (self.firsts[self.used], self.counts[self.used]) = (dts, 0);
        self.used += 1;
    }

    /// Pictures a second; 0 when none came for some seconds.
    pub(crate) fn fps(&self, second: u64) -> f64 {
        let ticks = i32::try_from((self.last - self.firsts[0]).0).unwrap_or(i32::MAX);
        if ticks <= 0 || self.used == 0 || second > self.last_second + WINDOW {
            return 0.0;
        }
        let pictures = self.counts[..self.used].iter().fold(0_u32, |sum, &count| sum.saturating_add(count));
        f64::from(pictures - 1) * 90_000.0 / f64::from(ticks)
    }

    /// Pictures from key frame to key frame, the last full one; 0 before.
    pub(crate) fn gop(&self) -> u32 {
        self.gop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_whole_seconds_and_fades_to_zero() {
        let mut rate = Rate::default();
        assert_eq!(rate.bps(7), 0);
        rate.add(7, 500);
        assert_eq!(rate.bps(7), 4000);
        rate.add(7, 500);
        rate.add(8, 3000);
        assert_eq!(rate.bps(8), 8000, "the second that runs does not count");
        assert_eq!(rate.bps(9), 16_000);
        assert_eq!(rate.bps(11), 8000);
        assert_eq!(rate.bps(12), 6000, "second 7 is out of the window");
        assert_eq!(rate.bps(100), 0);
    }

    #[test]
    fn pictures_are_counted_by_their_own_clock() {
        let mut pictures = Pictures::default();
        for number in 0..105_u32 {
            pictures.add(u64::from(number / 25), Ticks(i64::from(number) * 3600), number % 50 == 0);
        }
        assert!((pictures.fps(4) - 25.0).abs() < 1e-9);
        assert_eq!(pictures.gop(), 50);
        assert!(pictures.fps(20) < f64::EPSILON);
    }

    #[test]
    fn a_pause_in_the_pictures_own_time_does_not_count() {
        let mut pictures = Pictures::default();
        for number in 0..100_i64 {
            pictures.add(0, Ticks(number * 3600), false);
        }
        for number in 0..100_i64 {
            pictures.add(0, Ticks(1_000_000 + number * 9000), false);
        }
        assert!((pictures.fps(0) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn equal_or_single_times_divide_nothing() {
        let mut pictures = Pictures::default();
        pictures.add(0, Ticks(5), true);
        pictures.add(0, Ticks(5), false);
        assert!(pictures.fps(0) < f64::EPSILON);
    }
}
