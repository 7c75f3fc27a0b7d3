//! One clean clock for both tracks of a stream, from the timestamps that devices send.
//!
//! Those wrap (33 bits in PES, 32 in RTP), jump when a device sets its clock or a playback seeks, stand still, or
//! run backwards. Each source timestamp is mapped by adding an offset. The offset changes only when the mapped
//! time is more than 10 s from both the track's last unit and from what arrival suggests; the other track then
//! takes the new offset over, so that sound and picture stay together.
//!
//! Where a source begins, and where sound is put back beside its picture, the first sound may belong to a time that is
//! over: before the first picture, or that of what was heard already. It is `early`, and to be left out.

mod order;

use std::time::{Duration, Instant};

use crate::{
    fault::Fault,
    media::{Kind, Ticks},
    timeline::order::{Order, Stated},
};

/// More than this from the expected time is a jump.
const JUMP: i64 = 10 * Ticks::PER_SECOND;
/// So many units in a row that do not move forward are no reordering but a broken clock.
const STUCK: u32 = 4;
/// A picture is shown at most so long after it was decoded.
const DELAY_MAX: i64 = 5 * Ticks::PER_SECOND;
/// Sound is put in step with the picture when it is off by more (20 ms): sender reports are not exact to the sample.
const TIE_SLACK: i64 = Ticks::PER_SECOND / 50;
/// Units of a track follow each other by at least a millisecond: the clocks of FLV and RTMP count no finer.
pub(crate) const STEP: i64 = Ticks::PER_SECOND / 1000;

/// Sound this much before the clock's zero belongs to the first picture: sender reports are no more exact than that.
const START_SLACK: i64 = Ticks::PER_SECOND / 200;

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
    /// Rising within the track by a millisecond at least.
    pub dts: Ticks,
    /// Never before `dts`.
    pub pts: Ticks,
    /// What was put right.
    pub fault: Option<Fault>,
    /// It is sound of a time that is over, and to be left out: `dts` is where it would have been, which may be negative.
    pub early: bool,
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

/// How often a clock of 90 kHz really ticks: some devices count milliseconds, or samples of sound.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    first: Option<(Instant, i64)>,
    last: Option<Instant>,
    frames: u32,
    /// Multiplier and divisor, once known.
    scale: Option<(i64, i64)>,
}

impl Unit {
    const FRAMES: u32 = 25;
    const MILLISECONDS: (i64, i64) = (90, 1);
    const SAMPLES: (i64, i64) = (45, 4);
    /// Who is silent for longer may have stood still meanwhile: what was measured says nothing.
    const PAUSE: Duration = Duration::from_secs(3);

    /// Takes a frame's time in the device's ticks; true if they turn out to be among `wrong`.
    fn measure(&mut self, now: Instant, units: i64, wrong: &[(i64, i64)]) -> bool {
        if self.last.replace(now).is_some_and(|last| now.saturating_duration_since(last) > Self::PAUSE) {
            (self.first, self.frames) = (None, 0);
        }
        let (then, first) = *self.first.get_or_insert((now, units));
        self.frames = self.frames.saturating_add(1);
        let (passed, counted) = (ticks(now.saturating_duration_since(then)), units - first);
        if self.scale.is_some() || self.frames < Self::FRAMES || passed < Ticks::PER_SECOND {
            return false;
        }
        let fits = |&(times, by): &(i64, i64)| {
            let scaled = counted.saturating_mul(times) / by;
            (passed / 10 * 7..=passed / 10 * 13).contains(&scaled)
        };
        let found = wrong.iter().copied().find(fits);
        self.scale = found.or(Some((1, 1)));
        found.is_some()
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
    units: [Unit; 2],          // by domain
    offsets: [Option<i64>; 2], // by domain: some frames of a device may lack PES times
    sources: [i64; 2],         // the last source times
    last: Option<(Instant, i64)>,
    /// The latest time that a unit is shown at, and when that unit came.
    newest: Option<(Instant, i64)>,
    stuck: u32,
    /// A unit of it was taken since it began, or was put back.
    joined: bool,
    /// When the last unit was that was left out, if none was taken since.
    early: Option<i64>,
    order: Order,
}

impl Track {
    /// Where the next unit is expected if the device's clock is right.
    fn expected(&self, now: Instant) -> Option<i64> {
        let (then, dts) = self.last?;
        Some(dts + ticks(now.saturating_duration_since(then)))
    }

    /// What is taken now by the source, as far as arrival tells: what comes at once belongs together when it is shown.
    fn newest(&self, now: Instant) -> Option<i64> {
        let (then, pts) = self.newest?;
        Some(pts + ticks(now.saturating_duration_since(then)))
    }

    /// Takes a source time; true if its clock turns out to count something else, one of `wrong`: it has no offset then.
    fn measure(&mut self, now: Instant, domain: Domain, units: i64, wrong: &[(i64, i64)]) -> bool {
        let found = self.units[domain as usize].measure(now, units, wrong);
        if found {
            self.offsets[domain as usize] = None;
        }
        found
    }

    /// When on the clean clock a unit of this RTP timestamp would be; `None` before anything told, or where the clock
    /// counts in units of its own.
    fn place(&self, timestamp: u32) -> Option<i64> {
        let offset = self.offsets[Domain::Rtp as usize]?;
        let mut unwrap = self.rtp;
        unwrap.0?;
        let plain = self.units[Domain::Rtp as usize].scale.is_none_or(|scale| scale == (1, 1));
        plain.then(|| unwrap.next(u64::from(timestamp), 32) + offset)
    }

    /// Takes the offset that puts `units` at `place`, unless it is as good as the one in force.
    fn tie(&mut self, units: i64, place: i64) {
        let (offset, own) = (place - units, self.offsets[Domain::Rtp as usize]);
        if own.is_none_or(|own| (own - offset).abs() > TIE_SLACK) {
            self.offsets[Domain::Rtp as usize] = Some(offset);
            self.joined &= own.is_none_or(|own| own < offset);
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

    /// Whether a unit at `time` comes before what may follow. Sound only is left out: pictures refer to each other.
    fn precedes(&self, kind: Kind, time: i64) -> bool {
        kind == Kind::Audio && !self.joined && time < self.last.map_or(-START_SLACK, |(_, last)| last + STEP)
    }

    /// Leaves a unit out.
    fn leave_out(&mut self, time: i64, fault: Option<Fault>) -> Timed {
        self.early = Some(time);
        Timed { dts: Ticks(time), pts: Ticks(time), fault, early: true }
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
            let Track { last, newest, order, .. } = *track;
            *track = Track { last, newest, order: order.restarted(), ..Track::default() };
        }
    }

    /// What parameter sets state: how many pictures are decoded before one that is shown earlier (0 if they do not say),
    /// and how long a picture stands. What is not stated is learnt from the first that come out of order, whose times
    /// suffer.
    pub fn handle_order(&mut self, depth: u32, step: Ticks) {
        self.video.order.state(depth, step);
    }

    /// Times the next unit of a track, which arrived at `now`.
    pub fn handle_unit(&mut self, now: Instant, kind: Kind, stamp: Stamp) -> Timed {
        let (track, other) = match kind {
            Kind::Video => (&mut self.video, &self.audio),
            Kind::Audio => (&mut self.audio, &self.video),
        };
        // RTP has no decoding times at all; a PES packet without one is decoded when it is shown (ISO/IEC 13818-1
        // §2.4.3.7), and so are frames between such packets that lack their times.
        let bare = matches!(stamp, Stamp::Rtp { .. }) && track.pes.0.is_none();
        let stated = if bare { track.order.stated() } else { Stated::default() };
        let lead = stated.lead();
        let expected = match (track.expected(now), other.newest(now)) {
            (Some(own), _) => own + lead,
            (None, other) => other.unwrap_or(lead),
        };
        let mut rescaled = false;
        let (domain, source, delay) = match stamp {
            Stamp::Pes { pts, dts } => {
                let shown = track.pes.next(pts & MASK_33, 33);
                rescaled = track.measure(now, Domain::Pes, shown, &[Unit::MILLISECONDS]);
                let unit = track.units[Domain::Pes as usize];
                let delay = dts.map(|dts| unit.apply(behind(pts, dts)));
                (Domain::Pes, unit.apply(shown) - delay.unwrap_or(0), delay)
            }
            Stamp::Rtp { timestamp, rate } => {
                let units = track.rtp.next(u64::from(timestamp), 32);
                if kind == Kind::Audio {
                    (Domain::Rtp, scale(units, rate), None)
                } else {
                    rescaled = track.measure(now, Domain::Rtp, units, &[Unit::MILLISECONDS, Unit::SAMPLES]);
                    (Domain::Rtp, scale(track.units[Domain::Rtp as usize].apply(units), rate), None)
                }
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
            Stamp::After(step) => return after(track, now, kind, step, expected),
            Stamp::Arrival => return settle(track, now, expected, expected, Some(Fault::TimestampMissing)),
        };
        let (offset, jumped) = choose(track, other, now, domain, source, expected);
        track.offsets[domain as usize] = Some(offset);
        if jumped {
            track.order.forget();
        }
        let moved = source - std::mem::replace(&mut track.sources[domain as usize], source);
        let mapped = source + offset;
        let (dts, pts) = match delay {
            Some(delay) => (mapped, mapped + delay),
            None => (track.order.decoding(stated, mapped), mapped),
        };
        let fault =
            if rescaled { Some(Fault::TimestampUnit) } else { jumped.then_some(Fault::TimestampJump) };
        if track.precedes(kind, dts) {
            track.stuck = if moved > 0 { 0 } else { track.stuck + 1 };
            if track.stuck < STUCK {
                return track.leave_out(dts, fault);
            }
        }
        if track.last.is_none_or(|(_, last)| dts > last) {
            track.stuck = 0;
            return settle(track, now, dts, pts, fault);
        }
        stuck(track, other, now, domain, (moved, lead), (dts, pts), fault)
    }
}

/// What a time of a PES packet keeps (ISO/IEC 13818-1 §2.4.3.7).
pub(crate) const MASK_33: u64 = (1 << 33) - 1;

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
    let own = track.offsets[domain as usize];
    let fits = |&offset: &i64| {
        if track.last.is_some() { track.fits(now, source + offset) } else { other.fits(now, source + offset) }
    };
    if let Some(offset) = own.filter(fits) {
        return (offset, false);
    }
    let offset = other.offsets[domain as usize].filter(fits).unwrap_or(expected - source);
    (offset, own.is_some())
}

/// A unit whose time does not move forward. A few are squeezed in behind the last one; then either the clock
/// runs but was set back (a new offset), or it stands (arrival takes its place).
fn stuck(
    track: &mut Track,
    other: &Track,
    now: Instant,
    domain: Domain,
    (moved, lead): (i64, i64),
    (dts, pts): (i64, i64),
    fault: Option<Fault>,
) -> Timed {
    track.stuck += 1;
    if track.stuck < STUCK + 2 * track.order.depth() {
        return settle(track, now, dts, pts, fault); // pictures whose order is being learnt are behind at first
    }
    let expected = track.expected(now).unwrap_or(0);
    if moved <= 0 {
        return settle(track, now, expected, expected, Some(Fault::TimestampStill));
    }
    let last = track.last.map_or(0, |(_, last)| last);
    let source = track.sources[domain as usize];
    let shared = other.offsets[domain as usize].filter(|&offset| source + offset - lead > last);
    let offset = shared.filter(|&offset| track.fits(now, source + offset));
    let offset = offset.unwrap_or(expected.max(last + 1) + lead - source);
    track.offsets[domain as usize] = Some(offset);
    track.order.forget();
    track.stuck = 0;
    let decoded = source + offset - lead;
    settle(track, now, decoded, decoded + lead.max(pts - dts), Some(Fault::TimestampJump))
}

/// A unit without own time, at a known distance to the one before.
fn after(track: &mut Track, now: Instant, kind: Kind, step: Ticks, expected: i64) -> Timed {
    let before = track.early.or(track.last.map(|(_, last)| last));
    let time = before.map_or(expected, |before| before + step.0);
    if track.early.is_some() && track.precedes(kind, time) {
        return track.leave_out(time, None);
    }
    settle(track, now, time, time, None)
}

/// Fixes a unit's times: a millisecond behind the last one or more, not negative, PTS not before DTS.
fn settle(track: &mut Track, now: Instant, dts: i64, pts: i64, fault: Option<Fault>) -> Timed {
    let dts = track.last.map_or(dts, |(_, last)| dts.max(last + STEP)).max(0);
    let pts = pts.clamp(dts, dts + DELAY_MAX);
    track.last = Some((now, dts));
    if track.newest.is_none_or(|(_, newest)| pts >= newest) {
        track.newest = Some((now, pts));
    }
    (track.joined, track.early) = (true, None);
    Timed { dts: Ticks(dts), pts: Ticks(pts), fault, early: false }
}

#[cfg(test)]
mod tests;
