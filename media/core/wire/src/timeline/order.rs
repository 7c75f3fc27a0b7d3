//! Decoding times of pictures that come without: in which order they are decoded and shown.

use crate::media::Ticks;

/// Pictures that may be shown before one decoded earlier, when no DTS tells.
const REORDER_MAX: u32 = 4;

/// The order of pictures as parameter sets state it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Stated {
    depth: u32,
    /// From one picture to the next.
    step: i64,
}

impl Stated {
    /// How long so many pictures stand.
    fn after(self, pictures: u32) -> i64 {
        i64::from(pictures) * self.step
    }

    /// How long the first picture waits to be shown: until all that may come before it are decoded.
    pub(super) fn lead(self) -> i64 {
        self.after(self.depth)
    }
}

/// The order of a stream's pictures: what is stated of it, and what they show.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Order {
    window: Window,
    depth: u32, // as learnt
    stated: Stated,
}

impl Order {
    /// Takes what parameter sets state. A rate by which pictures would be held back for more than a second is no rate of
    /// a camera: it is taken for 25 per second.
    pub(super) fn state(&mut self, depth: u32, step: Ticks) {
        let stated = Stated { depth: depth.min(REORDER_MAX), step: step.0 };
        let sensible = (0..=Ticks::PER_SECOND).contains(&stated.lead());
        self.stated = if sensible { stated } else { Stated { step: Ticks::PER_SECOND / 25, ..stated } };
    }

    pub(super) fn stated(&self) -> Stated {
        self.stated
    }

    /// So many pictures may be shown before one that was decoded earlier.
    pub(super) fn depth(&self) -> u32 {
        self.depth.max(self.stated.depth)
    }

    /// What was learnt is void: the clock is another one.
    pub(super) fn forget(&mut self) {
        (self.window, self.depth) = (Window::default(), 0);
    }

    /// The same pictures, by another clock.
    pub(super) fn restarted(self) -> Self {
        Self { window: Window::default(), ..self }
    }

    /// The decoding time for a presentation time without one: with pictures out of order, the least of the
    /// latest `depth` + 1 (all that are earlier have been decoded).
    pub(super) fn decoding(&mut self, stated: Stated, pts: i64) -> i64 {
        let known = self.window.times();
        let later = known.len() as u32 - known.partition_point(|&other| other <= pts) as u32;
        if later > self.depth.max(stated.depth) && known.iter().any(|&other| other < pts) {
            self.depth = later.min(REORDER_MAX);
        }
        if known.is_empty() {
            for before in (1..=stated.depth).rev() {
                self.window.insert(pts - stated.after(before));
            }
        }
        self.window.insert(pts);
        let (times, depth) = (self.window.times(), self.depth.max(stated.depth));
        times[times.len().saturating_sub(depth as usize + 1)]
    }
}

/// The latest presentation times, sorted.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    times: [i64; REORDER_MAX as usize + 1],
    used: usize,
}

impl Window {
    fn times(&self) -> &[i64] {
        &self.times[..self.used]
    }

    /// Takes a time; the least goes if there is no room.
    fn insert(&mut self, time: i64) {
        let at = self.times().partition_point(|&other| other <= time);
        if self.used < self.times.len() {
            self.times.copy_within(at..self.used, at + 1);
            self.times[at] = time;
            self.used += 1;
        } else if at > 0 {
            self.times.copy_within(1..at, 0);
            self.times[at - 1] = time;
        }
    }
}
