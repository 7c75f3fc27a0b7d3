//! One clean clock for both tracks of a stream, from the timestamps that devices send.
//!
//! Those wrap (33 bits in PES, 32 in RTP), jump when a device sets its clock or a playback seeks, stand still, or
//! run backwards. Each source timestamp is mapped by adding an offset. The offset changes only when the mapped
//! time is more than 10 s from both the track's last unit and from what arrival suggests; the other track then
//! takes the new offset over, so that sound and picture stay together.

use std::time::{Duration, Instant};

use crate::{
    fault::Fault,
    media::{Kind, Ticks},
};

/// More than this from the expected time is a jump.
const JUMP: i64 = 10 * Ticks::PER_SECOND;
/// So many units in a row that do not move forward are no reordering but a broken clock.
const STUCK: u32 = 4;
/// A picture is shown at most so long after it was decoded.
const DELAY_MAX: i64 = 5 * Ticks::PER_SECOND;
/// Sound is put in step with the picture when it is off by more (20 ms): sender reports are not exact to the sample.
const TIE_SLACK: i64 = Ticks::PER_SECOND / 50;
/// Pictures that may be shown before one decoded earlier, when no DTS tells.
const REORDER_MAX: usize = 4;

/// When a unit claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// From a PES header: 33 bits.
    Pes {
        /// Presentation time.
        pts: u64,
        /// Decoding time, if it is stated.
        dts: Option<u64>,
    },
    /// From the RTP header, already in 90 kHz; it wraps at 2³² ticks of the payload's clock, which is told.
    Rtp {
        /// The timestamp in the payload's clock.
        timestamp: u32,
        /// Ticks per second of that clock.
        rate: u32,
    },
    /// From the RTP header of sound whose place beside the pictures is known from sender reports (RFC 3550 §6.4.1).
    Tied {
        /// The timestamp in the payload's clock.
        timestamp: u32,
        /// Ticks per second of that clock.
        rate: u32,
        /// The RTP timestamp, in 90 kHz, that a picture of the same instant would have.
        picture: u32,
    },
    /// From an FLV tag or an RTMP message: milliseconds that wrap at 2³².
    Millis {
        /// Decoding time.
        decoded: u32,
        /// How long after it the unit is shown.
        delay: i32,
    },
    /// So long after the unit before.
    After(Ticks),
    /// Nothing is known but the arrival.
    Arrival,
}

/// A unit's times on the clean clock, and what was wrong with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// Strictly rising within the track.
    pub dts: Ticks,
    /// Never before `dts`.
    pub pts: Ticks,
    /// What was put right.
    pub fault: Option<Fault>,
}

/// A counter that wraps, unrolled to 64 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Unwrap(Option<i64>);

impl Unwrap {
    /// The value nearest to the last one that equals `value` in the low `bits`.
    fn next(&mut self, value: u64, bits: u32) -> i64 {
        let last = self.0.unwrap_or(value.cast_signed());
        let period = 1_i64 << bits;
        let delta = (value.cast_signed() - last).rem_euclid(period);
        let delta = if delta >= period / 2 { delta - period } else { delta };
        self.0 = Some(last + delta);
        last + delta
    }
}

/// How often an RTP clock of 90 kHz really ticks: some devices count milliseconds, or samples of sound.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    first: Option<(Instant, i64)>,
    frames: u32,
    /// Multiplier and divisor, once known.
    scale: Option<(i64, i64)>,
}

impl Unit {
    const FRAMES: u32 = 25;
    const WRONG: [(i64, i64); 2] = [(90, 1), (45, 4)];

    /// Takes a frame's time in the device's ticks; true if they turn out to be others than thought.
    fn measure(&mut self, now: Instant, units: i64) -> bool {
        let (then, first) = *self.first.get_or_insert((now, units));
        self.frames += 1;
        let (passed, counted) = (ticks(now.saturating_duration_since(then)), units - first);
        if self.scale.is_some() || self.frames < Self::FRAMES || passed < Ticks::PER_SECOND {
            return false;
        }
        let fits = |&(times, by): &(i64, i64)| {
            let scaled = counted.saturating_mul(times) / by;
            (passed / 10 * 7..=passed / 10 * 13).contains(&scaled)
        };
        let wrong = Self::WRONG.into_iter().find(fits);
        self.scale = wrong.or(Some((1, 1)));
        wrong.is_some()
    }

    fn apply(&self, units: i64) -> i64 {
        self.scale.map_or(units, |(times, by)| units.saturating_mul(times) / by)
    }
}

/// Which clock a track's offset belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Domain {
    Pes,
    Rtp,
}

#[derive(Debug, Default)]
struct Track {
    pes: Unwrap,
    rtp: Unwrap,
    unit: Unit,
    offsets: [Option<i64>; 2], // by domain: some frames of a device may lack PES times
    sources: [i64; 2],         // the last source times
    last: Option<(Instant, i64)>,
    stuck: u32,
    /// Reordering without DTS: the latest presentation times, sorted.
    window: Vec<i64>,
    depth: usize,
}

impl Track {
    /// Where the next unit is expected if the device's clock is right.
    fn expected(&self, now: Instant) -> Option<i64> {
        let (then, dts) = self.last?;
        Some(dts + ticks(now.saturating_duration_since(then)))
    }

    /// When on the clean clock a unit of this RTP timestamp would be; `None` before anything told, or where the clock
    /// counts in units of its own.
    fn place(&self, timestamp: u32) -> Option<i64> {
        let offset = self.offsets[Domain::Rtp as usize]?;
        let mut unwrap = self.rtp;
        unwrap.0?;
        let plain = self.unit.scale.is_none_or(|scale| scale == (1, 1));
        plain.then(|| unwrap.next(u64::from(timestamp), 32) + offset)
    }

    /// Takes the offset that puts `units` at `place`, unless it is as good as the one in force.
    fn tie(&mut self, units: i64, place: i64) {
        let (offset, own) = (place - units, self.offsets[Domain::Rtp as usize]);
        if own.is_none_or(|own| (own - offset).abs() > TIE_SLACK) {
            self.offsets[Domain::Rtp as usize] = Some(offset);
        }
        if units > self.sources[Domain::Rtp as usize] {
            self.stuck = 0; // it moves: put back behind the last unit, it will come up to it
        }
    }

    /// Whether a mapped time fits to the last unit or to arrival.
    fn fits(&self, now: Instant, mapped: i64) -> bool {
        let near = |place: i64| (mapped - place).abs() <= JUMP;
        self.last.is_none_or(|(_, dts)| near(dts)) || self.expected(now).is_some_and(near)
    }

    fn forget_order(&mut self) {
        self.window.clear();
        self.depth = 0;
    }

    /// The decoding time for a presentation time without one: with pictures out of order, the least of the
    /// latest `depth` + 1 (all that are earlier have been decoded).
    fn decoding(&mut self, pts: i64) -> i64 {
        let later = self.window.iter().filter(|&&other| other > pts).count();
        if later > self.depth && self.window.iter().any(|&other| other < pts) {
            self.depth = later.min(REORDER_MAX);
        }
        let at = self.window.partition_point(|&other| other <= pts);
        self.window.insert(at, pts);
        if self.window.len() > REORDER_MAX + 1 {
            self.window.remove(0);
        }
        self.window[self.window.len().saturating_sub(self.depth + 1)]
    }
}

/// The clock of one stream.
#[derive(Debug, Default)]
pub struct Timeline {
    video: Track,
    audio: Track,
}

impl Timeline {
    /// A clock that starts at zero with the first unit.
    pub fn new() -> Self {
        Self::default()
    }

    /// The source begins anew: its clock is another one, which is no jump.
    pub fn handle_restart(&mut self) {
        for track in [&mut self.video, &mut self.audio] {
            let (last, depth) = (track.last, track.depth);
            *track = Track { last, depth, ..Track::default() };
        }
    }

    /// Times the next unit of a track, which arrived at `now`.
    pub fn handle_unit(&mut self, now: Instant, kind: Kind, stamp: Stamp) -> Timed {
        let (track, other) = match kind {
            Kind::Video => (&mut self.video, &self.audio),
            Kind::Audio => (&mut self.audio, &self.video),
        };
        let expected = track.expected(now).or_else(|| other.expected(now)).unwrap_or(0);
        let mut rescaled = false;
        let (domain, source, delay) = match stamp {
            Stamp::Pes { pts, dts } => {
                let shown = track.pes.next(pts & MASK_33, 33);
                let delay = dts.map(|dts| behind(pts, dts));
                (Domain::Pes, shown - delay.unwrap_or(0), delay)
            }
            Stamp::Rtp { timestamp, rate } => {
                let units = track.rtp.next(u64::from(timestamp), 32);
                if kind == Kind::Video && track.unit.measure(now, units) {
                    rescaled = true;
                    track.offsets[Domain::Rtp as usize] = None;
                }
                let units = if kind == Kind::Video { track.unit.apply(units) } else { units };
                (Domain::Rtp, scale(units, rate), None)
            }
            Stamp::Tied { timestamp, rate, picture } => {
                let units = scale(track.rtp.next(u64::from(timestamp), 32), rate);
                let place = other.place(picture).filter(|place| (place - expected).abs() <= JUMP);
                if let Some(place) = place {
                    track.tie(units, place);
                }
                (Domain::Rtp, units, Some(0))
            }
            Stamp::Millis { decoded, delay } => {
                let millis = track.rtp.next(u64::from(decoded), 32);
                let delay = (i64::from(delay) * 90).clamp(0, DELAY_MAX);
                (Domain::Rtp, millis * 90, Some(delay))
            }
            Stamp::After(step) => return after(track, now, step, expected),
            Stamp::Arrival => return settle(track, now, expected, expected, Some(Fault::TimestampMissing)),
        };
        let (offset, jumped) = choose(track, other, now, domain, source, expected);
        track.offsets[domain as usize] = Some(offset);
        if jumped {
            track.forget_order();
        }
        let moved = source - std::mem::replace(&mut track.sources[domain as usize], source);
        let mapped = source + offset;
        let (dts, pts) = match delay {
            Some(delay) => (mapped, mapped + delay),
            None => (track.decoding(mapped), mapped),
        };
        let fault =
            if rescaled { Some(Fault::TimestampUnit) } else { jumped.then_some(Fault::TimestampJump) };
        if track.last.is_none_or(|(_, last)| dts > last) {
            track.stuck = 0;
            return settle(track, now, dts, pts, fault);
        }
        stuck(track, other, now, domain, moved, (dts, pts), fault)
    }
}

const MASK_33: u64 = (1 << 33) - 1;

/// How long before it is shown a picture is decoded; 0 if the two make no sense together.
fn behind(pts: u64, dts: u64) -> i64 {
    let delay = (pts.wrapping_sub(dts) & MASK_33).cast_signed();
    if delay <= DELAY_MAX { delay } else { 0 }
}

fn scale(units: i64, rate: u32) -> i64 {
    let rate = i64::from(rate.max(1));
    if rate == Ticks::PER_SECOND {
        units
    } else {
        (i128::from(units) * i128::from(Ticks::PER_SECOND) / i128::from(rate)) as i64
    }
}

fn ticks(time: Duration) -> i64 {
    (time.as_nanos().min(u128::from(u32::MAX) * 1_000_000_000) * 9 / 100_000) as i64
}

/// The offset for a source time: the track's own if it fits, else the other track's, else a new one.
fn choose(
    track: &Track,
    other: &Track,
    now: Instant,
    domain: Domain,
    source: i64,
    expected: i64,
) -> (i64, bool) {
    let (own, others) = (track.offsets[domain as usize], other.offsets[domain as usize]);
    let fits = |&offset: &i64| {
        if track.last.is_some() { track.fits(now, source + offset) } else { other.fits(now, source + offset) }
    };
    if let Some(offset) = own.filter(fits) {
        return (offset, false);
    }
    let offset = others.filter(fits).unwrap_or(expected - source);
    (offset, own.is_some())
}

/// A unit whose time does not move forward. A few are squeezed in behind the last one; then either the clock
/// runs but was set back (a new offset), or it stands (arrival takes its place).
fn stuck(
    track: &mut Track,
    other: &Track,
    now: Instant,
    domain: Domain,
    moved: i64,
    times: (i64, i64),
    fault: Option<Fault>,
) -> Timed {
    let (dts, pts) = times;
    track.stuck += 1;
    if track.stuck < STUCK {
        return settle(track, now, dts, pts, fault);
    }
    let expected = track.expected(now).unwrap_or(0);
    if moved <= 0 {
        return settle(track, now, expected, expected, Some(Fault::TimestampStill));
    }
    let last = track.last.map_or(0, |(_, last)| last);
    let source = track.sources[domain as usize];
    let shared = other.offsets[domain as usize].filter(|&offset| source + offset > last);
    let offset = shared.filter(|&offset| track.fits(now, source + offset));
    let offset = offset.unwrap_or(expected.max(last + 1) - source);
    track.offsets[domain as usize] = Some(offset);
    track.forget_order();
    track.stuck = 0;
    let mapped = source + offset;
    settle(track, now, mapped, mapped + pts - dts, Some(Fault::TimestampJump))
}

/// A unit without own time, at a known distance to the one before.
fn after(track: &mut Track, now: Instant, step: Ticks, expected: i64) -> Timed {
    let time = track.last.map_or(expected, |(_, last)| last + step.0);
    settle(track, now, time, time, None)
}

/// Fixes a unit's times: strictly behind the last one, not negative, PTS not before DTS.
fn settle(track: &mut Track, now: Instant, dts: i64, pts: i64, fault: Option<Fault>) -> Timed {
    let dts = track.last.map_or(dts, |(_, last)| dts.max(last + 1)).max(0);
    track.last = Some((now, dts));
    Timed { dts: Ticks(dts), pts: Ticks(pts.clamp(dts, dts + DELAY_MAX)), fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::start;

    const FRAME: i64 = 3600;

    fn pes(pts: i64) -> Stamp {
        Stamp::Pes { pts: pts.cast_unsigned() & MASK_33, dts: None }
    }

    /// Units 40 ms apart with the given stamps.
    fn run(timeline: &mut Timeline, kind: Kind, stamps: impl IntoIterator<Item = Stamp>) -> Vec<Timed> {
        let times = (0..).map(|at| start() + Duration::from_millis(40 * at));
        times.zip(stamps).map(|(now, stamp)| timeline.handle_unit(now, kind, stamp)).collect()
    }

    fn steps(timed: &[Timed]) -> Vec<i64> {
        timed.windows(2).map(|pair| pair[1].dts.0 - pair[0].dts.0).collect()
    }

    #[test]
    fn wraps_are_invisible() {
        let first = (1 << 33) - 2 * FRAME;
        let timed = run(&mut Timeline::new(), Kind::Video, (0..5).map(|n| pes(first + n * FRAME)));
        assert_eq!(timed[0].dts, Ticks(0));
        assert_eq!(steps(&timed), [FRAME; 4]);
        let stamps =
            (0..5_u32).map(|n| Stamp::Rtp { timestamp: (n * 3600).wrapping_sub(7200), rate: 90_000 });
        assert_eq!(steps(&run(&mut Timeline::new(), Kind::Video, stamps)), [FRAME; 4]);
    }

    #[test]
    fn a_jump_is_bridged_by_arrival_and_the_other_track_follows() {
        let mut timeline = Timeline::new();
        let far = 1_000_000_000;
        for n in 0..20_i64 {
            let now = start() + Duration::from_millis(40 * n.cast_unsigned());
            let base = if n < 10 { 500 } else { far };
            let video = timeline.handle_unit(now, Kind::Video, pes(base + n * FRAME));
            let audio = timeline.handle_unit(now, Kind::Audio, pes(base + 90 + n * FRAME));
            assert_eq!((video.dts.0, audio.dts.0), (n * FRAME, n * FRAME + 90), "{n}");
            assert_eq!(video.fault.is_some(), n == 10);
        }
    }

    #[test]
    fn a_clock_that_stands_is_replaced_by_arrival() {
        let timed = run(&mut Timeline::new(), Kind::Video, std::iter::repeat_n(pes(77), 20));
        assert!(timed.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        assert_eq!(timed[19].fault, Some(Fault::TimestampStill));
        assert_eq!(steps(&timed)[8..], [FRAME; 11]);
    }

    #[test]
    fn a_clock_set_back_a_little_goes_on() {
        let stamps = (0..30).map(|n| pes(900_000 + n * FRAME - if n < 10 { 0 } else { 270_000 }));
        let timed = run(&mut Timeline::new(), Kind::Video, stamps);
        assert!(timed.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        assert_eq!(steps(&timed)[14..], [FRAME; 15]);
        assert_eq!(timed.iter().filter(|unit| unit.fault.is_some()).count(), 1);
    }

    #[test]
    fn stated_decoding_times_are_kept() {
        let order: [u32; 7] = [0, 3, 1, 2, 6, 4, 5];
        let stamps = order.iter().zip(0..).map(|(&shown, n)| Stamp::Pes {
            pts: u64::from(90_000 + 3600 * (shown + 1)),
            dts: Some(90_000 + 3600 * n),
        });
        let timed = run(&mut Timeline::new(), Kind::Video, stamps);
        assert_eq!(steps(&timed), [FRAME; 6]);
        let shown: Vec<_> = timed.iter().map(|unit| (unit.pts.0 - timed[0].pts.0) / FRAME).collect();
        assert_eq!(shown, order.map(i64::from));
    }

    #[test]
    fn pictures_out_of_order_without_decoding_times_get_some() {
        let order = (0..20).flat_map(|group| [3, 1, 2].map(|n| group * 3 + n));
        let timed = run(&mut Timeline::new(), Kind::Video, order.map(|n| pes(n * FRAME)));
        assert!(timed.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        let late = &timed[12..];
        assert!(late.iter().all(|unit| unit.pts >= unit.dts && unit.fault.is_none()));
        let shown: Vec<_> = late.iter().map(|unit| (unit.pts.0 - late[0].pts.0) / FRAME).collect();
        assert_eq!(shown[..6], [0, -2, -1, 3, 1, 2]);
    }

    #[test]
    fn an_outage_is_no_jump() {
        let mut timeline = Timeline::new();
        timeline.handle_unit(start(), Kind::Video, pes(0));
        let timed = timeline.handle_unit(start() + Duration::from_mins(1), Kind::Video, pes(60 * 90_000));
        assert_eq!((timed.dts, timed.fault), (Ticks(60 * 90_000), None));
    }

    #[test]
    fn rtp_clocks_of_another_unit_are_scaled() {
        for (step, per) in [(40, "milliseconds"), (320, "8 kHz")] {
            let stamps = (0..60_u32).map(|n| Stamp::Rtp { timestamp: 5000 + n * step, rate: 90_000 });
            let timed = run(&mut Timeline::new(), Kind::Video, stamps);
            assert_eq!(steps(&timed)[30..], [FRAME; 29], "{per}");
            assert_eq!(timed.iter().filter(|unit| unit.fault == Some(Fault::TimestampUnit)).count(), 1);
        }
        let fast = (0..60_u32).map(|n| Stamp::Rtp { timestamp: n * 4 * 3600, rate: 90_000 });
        assert!(run(&mut Timeline::new(), Kind::Video, fast).iter().all(|unit| unit.fault.is_none()));
    }

    #[test]
    fn a_frame_without_pes_time_leaves_the_others_alone() {
        let stamps = (0..30_u32).map(|n| match n % 5 {
            4 => Stamp::Rtp { timestamp: 12_345 + n * 3600, rate: 90_000 },
            _ => pes(i64::from(n) * FRAME),
        });
        let timed = run(&mut Timeline::new(), Kind::Video, stamps);
        assert_eq!(steps(&timed), [FRAME; 29]);
        assert!(timed.iter().all(|unit| unit.fault.is_none()));
    }

    #[test]
    fn milliseconds_wrap_and_state_when_a_picture_is_shown() {
        let stamp = |n: u32| Stamp::Millis { decoded: (n * 40).wrapping_sub(80), delay: 40 };
        let mut timeline = Timeline::new();
        let timed = run(&mut timeline, Kind::Video, (0..5).map(stamp));
        assert_eq!(steps(&timed), [FRAME; 4]);
        assert!(timed.iter().all(|unit| unit.pts.0 - unit.dts.0 == FRAME && unit.fault.is_none()));
        for (decoded, delay, shown) in [(200, -40, 0), (240, i32::MAX, DELAY_MAX)] {
            let stamp = Stamp::Millis { decoded, delay };
            let unit = timeline.handle_unit(start() + Duration::from_secs(1), Kind::Video, stamp);
            assert_eq!(unit.pts.0 - unit.dts.0, shown);
        }
    }

    #[test]
    fn sound_is_put_in_step_with_the_picture_by_reports() {
        let mut timeline = Timeline::new();
        let (mut tracks, mut faults) = (Vec::new(), 0);
        for n in 0..200_u32 {
            // The sound arrives 300 ms before the picture that it belongs to; reports come after 2 s.
            let now = start() + Duration::from_millis(40 * u64::from(n));
            let video = Stamp::Rtp { timestamp: 7_000_000 + n * 3600, rate: 90_000 };
            let (timestamp, rate) = (0xFFFF_FF00_u32.wrapping_add(n * 320 + 2400), 8_000);
            let sound = match n {
                0..50 => Stamp::Rtp { timestamp, rate },
                _ => Stamp::Tied { timestamp, rate, picture: 7_000_000 + n * 3600 + 27_000 },
            };
            let video = timeline.handle_unit(now, Kind::Video, video);
            let sound = timeline.handle_unit(now, Kind::Audio, sound);
            faults += [video.fault, sound.fault].iter().flatten().count();
            tracks.push(sound.dts.0 - video.dts.0);
        }
        assert_eq!((tracks[49], tracks[50], tracks[199], faults), (0, 27_000, 27_000, 0));
        let mut back = 0;
        for n in 200..300_u32 {
            let now = start() + Duration::from_millis(40 * u64::from(n));
            let video = Stamp::Rtp { timestamp: 7_000_000 + n * 3600, rate: 90_000 };
            let timestamp = 0xFFFF_FF00_u32.wrapping_add(n * 320 + 2400);
            let sound = Stamp::Tied { timestamp, rate: 8_000, picture: 7_000_000 + n * 3600 };
            let video = timeline.handle_unit(now, Kind::Video, video);
            let sound = timeline.handle_unit(now, Kind::Audio, sound);
            assert_eq!(sound.fault, None, "{n}");
            back = sound.dts.0 - video.dts.0;
        }
        assert_eq!(back, 0, "it comes back too");
    }

    #[test]
    fn a_source_that_begins_anew_goes_on_at_arrival_without_a_fault() {
        let mut timeline = Timeline::new();
        let mut last = Ticks(0);
        for n in 0..20_u32 {
            if n == 10 {
                timeline.handle_restart();
            }
            let now = start() + Duration::from_millis(40 * u64::from(n));
            let decoded = if n < 10 { 1_000_000 + n * 40 } else { (n - 10) * 40 };
            for kind in [Kind::Video, Kind::Audio] {
                let timed = timeline.handle_unit(now, kind, Stamp::Millis { decoded, delay: 0 });
                assert_eq!((timed.dts.0, timed.fault), (i64::from(n) * FRAME, None), "{n}");
                last = timed.dts;
            }
        }
        assert_eq!(last, Ticks(19 * FRAME));
    }

    #[test]
    fn units_without_time_follow_the_last_one() {
        let stamps = [pes(5), Stamp::After(Ticks(5760)), Stamp::After(Ticks(5760)), Stamp::Arrival];
        let timed = run(&mut Timeline::new(), Kind::Audio, stamps);
        assert_eq!(steps(&timed), [5760, 5760, 3600]);
    }
}
