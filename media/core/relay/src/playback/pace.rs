//! When each unit of a playback is due, and with what time it goes out: one clock that never runs back, whatever is
//! sought, slowed or jumped over. No disk; `now` is passed in.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{
    media::{AccessUnit, Kind, Ticks, Tracks},
    unpack::Output,
};

/// Above it only key frames go out.
const KEYS_ABOVE: f64 = 4.0;
/// While all pictures go out, at most so many times what was recorded in a second is read in one.
const READ_MAX: f64 = 4.0;
/// How long a picture lasts that nothing is known of.
const PICTURE: Ticks = Ticks::from_millis(40);
/// Who is later than this does not catch up.
const LATE: Duration = Duration::from_secs(2);
/// Longer pauses between pictures of one file are shortened at speeds that leave pictures out: nobody waits so long.
const STEP_MAX: Ticks = Ticks::from_millis(12_000);

struct Waiting {
    unit: AccessUnit,
    /// Milliseconds of the UNIX epoch.
    wall_ms: u64,
}

/// A file's time and the time it goes out with.
#[derive(Clone, Copy)]
struct Anchor {
    file: Ticks,
    out: Ticks,
    /// Sound before it belongs to pictures that are not shown.
    cut: bool,
}

pub(super) struct Pace {
    speed: f64,
    /// How fast it goes out, whatever its times say.
    delivery: f64,
    paused: bool,
    waiting: VecDeque<Waiting>,
    anchor: Option<Anchor>,
    /// The moment at which this time is due.
    clock: Option<(Instant, Ticks)>,
    /// The newest times that went out: video, audio.
    last: [Option<Ticks>; 2],
    /// File time and length of the last picture taken in.
    picture: Option<Ticks>,
    /// What the next file's first picture keeps from the last one.
    gap: Ticks,
    jumped: bool,
    tracks: Option<(Arc<Tracks>, Arc<Tracks>)>,
    position_ms: Option<u64>,
}

impl Pace {
    pub(super) fn new(speed: f64, paused: bool) -> Self {
        Self {
            speed,
            delivery: 1.0,
            paused,
            waiting: VecDeque::new(),
            anchor: None,
            clock: None,
            last: [None; 2],
            picture: None,
            gap: PICTURE,
            jumped: true,
            tracks: None,
            position_ms: None,
        }
    }

    pub(super) fn speed(&self) -> f64 {
        self.speed
    }

    pub(super) fn delivery(&self) -> f64 {
        self.delivery
    }

    /// From now on it goes out so many times as fast, or less where too much would be read; its times stay what they are.
    pub(super) fn set_delivery(&mut self, delivery: f64) {
        self.delivery = delivery;
        self.bound_delivery();
        self.clock = None;
    }

    fn bound_delivery(&mut self) {
        if !self.keys_only() {
            self.delivery = self.delivery.min(READ_MAX / self.speed);
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn keys_only(&self) -> bool {
        self.speed > KEYS_ABOVE
    }

    pub(super) fn has_units(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the unit that went out last came in the first place.
    pub(super) fn position_ms(&self) -> Option<u64> {
        self.position_ms
    }

    /// The same of the next one.
    pub(super) fn next_position_ms(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.wall_ms)
    }

    /// The time that the next unit goes out with, and when it came in the first place. Sound that is left out behind a seek
    /// does not count.
    pub(super) fn next_out_position(&mut self) -> Option<(Ticks, u64)> {
        let out = self.out_of_next()?;
        let (next, anchor) = (self.waiting.front()?, self.anchor?);
        if anchor.cut && next.unit.dts < anchor.file {
            let cut = (anchor.file - next.unit.dts).as_millis();
            return Some((anchor.out, next.wall_ms.saturating_add_signed(cut)));
        }
        Some((out, next.wall_ms))
    }

    /// The tracks of what goes out next, if they were not told yet.
    pub(super) fn announce(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        if let Some(tracks) = self.waiting.front().map(|next| Arc::clone(&next.unit.tracks)) {
            self.effective(&tracks, &mut outputs);
        }
        outputs
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.clock = None;
    }

    /// Another speed from the next unit on; true if what waits was read for one that is too different.
    pub(super) fn set_speed(&mut self, speed: f64) -> bool {
        let keys_before = self.keys_only();
        let silent_before = self.is_silent();
        self.speed = speed;
        self.bound_delivery();
        self.clock = None;
        if let Some(next) = self.waiting.front() {
            self.anchor = Some(Anchor { file: next.unit.dts, out: self.next_out(), cut: true });
        }
        if silent_before != self.is_silent() {
            self.tracks = None;
        }
        keys_before != self.keys_only()
    }

    /// What waits is not wanted any more; what comes next is from elsewhere.
    pub(super) fn handle_jump(&mut self) {
        self.waiting.clear();
        self.clock = None;
        self.gap = PICTURE;
        self.jumped = true;
        self.anchor = None;
    }

    /// Takes what was read; `fresh` units begin another file, or another place in it.
    pub(super) fn handle_units(
        &mut self,
        start_ms: u64,
        fresh: bool,
        duration: Ticks,
        units: Vec<AccessUnit>,
    ) {
        if fresh {
            self.anchor = None;
        }
        for unit in units {
            if unit.kind == Kind::Video {
                let before = self.picture.replace(unit.dts);
                // The last picture of a file lasts until the file's end.
                let length = if duration > unit.dts { duration - unit.dts } else { PICTURE };
                let step =
                    before.filter(|before| *before < unit.dts).map_or(PICTURE, |before| unit.dts - before);
                self.gap = if self.keys_only() { step.min(STEP_MAX) } else { length.min(step.max(PICTURE)) };
            }
            let wall_ms = start_ms.saturating_add(unit.dts.as_millis().max(0).cast_unsigned());
            self.waiting.push_back(Waiting { unit, wall_ms });
        }
    }

    /// When the next unit is due; `None` while it stands still, or nothing waits.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let out = self.out_of_next()?;
        let (at, time) = *self.clock.get_or_insert((now, out));
        let due = at + duration_of(Ticks((out - time).0.max(0))).div_f64(self.delivery);
        if now.saturating_duration_since(due) > LATE {
            self.clock = Some((now, out));
            return Some(now);
        }
        Some(due)
    }

    /// Everything that is due by `until`.
    pub(super) fn take(&mut self, until: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        while self.due(until).is_some_and(|due| due <= until) {
            let Some(out) = self.out_of_next() else { break };
            let Some(Waiting { unit, wall_ms }) = self.waiting.pop_front() else { break };
            self.position_ms = Some(wall_ms);
            let cut = self.anchor.is_some_and(|anchor| anchor.cut && unit.dts < anchor.file);
            if unit.kind == Kind::Audio && (self.is_silent() || cut) {
                continue;
            }
            let tracks = self.effective(&unit.tracks, &mut outputs);
            let number = usize::from(unit.kind == Kind::Audio);
            let dts = self.last[number].map_or(out, |last| out.max(last + Ticks(1)));
            self.last[number] = Some(dts);
            let shown = self.scaled(unit.pts - unit.dts);
            outputs.push(Output::Unit(AccessUnit { dts, pts: dts + shown, tracks, ..unit }));
        }
        outputs
    }

    fn is_silent(&self) -> bool {
        (self.speed - 1.0).abs() > 1e-6
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "times of a day at most"
    )]
    fn scaled(&self, time: Ticks) -> Ticks {
        Ticks((time.0 as f64 / self.speed).round() as i64)
    }

    /// Behind all that went out; where the stream begins, some room is left for sound that is older than the picture.
    fn next_out(&self) -> Ticks {
        let video = self.last[0].map(|last| last + self.scaled(self.gap));
        video.or_else(|| self.last[1].map(|last| last + PICTURE)).unwrap_or(Ticks::from_millis(1000))
    }

    /// The time that the next unit goes out with; the first one after a jump decides what the clock goes on from.
    fn out_of_next(&mut self) -> Option<Ticks> {
        if self.anchor.is_none() {
            let first =
                self.waiting.iter().find(|one| one.unit.kind == Kind::Video).or(self.waiting.front())?;
            let file = first.unit.dts;
            self.anchor = Some(Anchor { file, out: self.next_out(), cut: std::mem::take(&mut self.jumped) });
        }
        let (next, anchor) = (self.waiting.front()?, self.anchor?);
        Some(anchor.out + self.scaled(next.unit.dts - anchor.file))
    }

    /// The tracks that players are told of: without sound, if none goes out.
    fn effective(&mut self, tracks: &Arc<Tracks>, outputs: &mut Vec<Output>) -> Arc<Tracks> {
        if let Some((of, told)) = &self.tracks
            && Arc::ptr_eq(of, tracks)
        {
            return Arc::clone(told);
        }
        let mut wanted = Tracks::clone(tracks);
        if self.is_silent() && wanted.video.is_some() {
            wanted.audio = None;
        }
        let same = self.tracks.as_ref().map(|(_, told)| told).filter(|told| ***told == wanted);
        let told = same.cloned().unwrap_or_else(|| {
            let told = Arc::new(wanted);
            outputs.push(Output::Tracks(Arc::clone(&told)));
            told
        });
        self.tracks = Some((Arc::clone(tracks), Arc::clone(&told)));
        told
    }
}

fn duration_of(time: Ticks) -> Duration {
    Duration::from_nanos(time.0.cast_unsigned().saturating_mul(100_000) / 9)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock;

    #[test]
    fn what_is_read_of_all_pictures_is_bounded() {
        let mut pace = Pace::new(1.0, false);
        for (speed, delivery) in [(4.0, 1.0), (2.0, 2.0), (3.0, 4.0 / 3.0), (0.25, 4.0), (16.0, 4.0)] {
            pace.set_speed(speed);
            pace.set_delivery(4.0);
            assert!((pace.delivery() - delivery).abs() < 1e-9, "{speed}: {}", pace.delivery());
        }
        pace.set_speed(4.0);
        assert!((pace.delivery() - 1.0).abs() < 1e-9, "the speed came second");
        pace.set_delivery(0.25);
        assert!((pace.delivery() - 0.25).abs() < 1e-9, "slower is as wished");
    }

    #[test]
    fn a_faster_delivery_changes_no_times_and_keeps_the_sound() {
        let mut pace = Pace::new(1.0, false);
        pace.set_delivery(4.0);
        let kinds = |number: i64| if number % 2 == 0 { Kind::Video } else { Kind::Audio };
        let unit = |number: i64| AccessUnit {
            kind: kinds(number),
            dts: Ticks::from_millis(number * 100),
            pts: Ticks::from_millis(number * 100),
            key: true,
            data: Bytes::new(),
            tracks: Arc::default(),
        };
        pace.handle_units(0, true, Ticks::from_millis(1100), (0..11).map(unit).collect());
        let now = clock::now();
        let mut times = Vec::new();
        for step in 0..=10_i64 {
            let outputs = pace.take(now + Duration::from_millis(25 * step.unsigned_abs()));
            times.extend(outputs.into_iter().filter_map(|output| match output {
                Output::Unit(unit) => Some((step, unit.dts.as_millis())),
                _ => None,
            }));
        }
        let expected: Vec<_> = (0..=10).map(|number| (number, 1000 + number * 100)).collect();
        assert_eq!(times, expected, "a second in a quarter of one");
        assert_eq!(pace.due(now), None);
    }
}
