//! Figures measured over the last seconds. No clock.

use std::collections::VecDeque;

use wire::media::Ticks;

/// Whole seconds that a rate is averaged over.
const WINDOW: u64 = 4;
const SLOTS: usize = WINDOW as usize + 1;

/// Bytes a second, averaged over the last whole seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    slots: [u64; SLOTS],
    newest: u64,
    since: Option<u64>,
}

impl Rate {
    /// Counts `bytes` in second `second`.
    pub(crate) fn add(&mut self, second: u64, bytes: u64) {
        self.since.get_or_insert(second);
        self.advance(second);
        self.slots[(second % SLOTS as u64) as usize] += bytes;
    }

    /// Bits per second as of `second`; a stream younger than a second shows what it has brought so far.
    pub(crate) fn bps(&mut self, second: u64) -> u64 {
        let Some(since) = self.since else { return 0 };
        self.advance(second);
        let current = self.slots[(second % SLOTS as u64) as usize];
        match (second - since).min(WINDOW) {
            0 => current * 8,
            seconds => (self.slots.iter().sum::<u64>() - current) * 8 / seconds,
        }
    }

    fn advance(&mut self, second: u64) {
        let passed = second.saturating_sub(self.newest).min(SLOTS as u64);
        for step in 0..passed {
            self.slots[((second - step) % SLOTS as u64) as usize] = 0;
        }
        self.newest = self.newest.max(second);
    }
}

/// What of their own time they span at most.
const SPAN: Ticks = Ticks::from_millis(4000);

/// Pictures that the frame rate is measured over at most.
const PICTURES: usize = 128;

/// Frame rate and GOP length of the video.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pictures {
    recent: VecDeque<Ticks>,
    since_key: Option<u32>,
    gop: u32,
    last_second: u64,
}

impl Pictures {
    /// Notes a picture with decoding time `dts` that came in second `second`.
    pub(crate) fn add(&mut self, second: u64, dts: Ticks, key: bool) {
        self.last_second = second;
        while let Some(first) = self.recent.front()
            && (self.recent.len() >= PICTURES || dts - *first > SPAN)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(dts);
        if key {
            if let Some(count) = self.since_key {
                self.gop = count;
            }
            self.since_key = Some(0);
        }
        self.since_key = self.since_key.map(|count| count + 1);
    }

    /// Pictures a second; 0 when none came for some seconds.
    pub(crate) fn fps(&self, second: u64) -> f64 {
        match (self.recent.front(), self.recent.back()) {
            (Some(first), Some(last)) if last > first && second <= self.last_second + WINDOW => {
                let ticks = i32::try_from(last.0 - first.0).unwrap_or(i32::MAX);
                let pictures = u32::try_from(self.recent.len() - 1).unwrap_or(u32::MAX);
                f64::from(pictures) * 90_000.0 / f64::from(ticks)
            }
            _ => 0.0,
        }
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
    fn equal_or_single_times_divide_nothing() {
        let mut pictures = Pictures::default();
        pictures.add(0, Ticks(5), true);
        pictures.add(0, Ticks(5), false);
        assert!(pictures.fps(0) < f64::EPSILON);
    }
}
