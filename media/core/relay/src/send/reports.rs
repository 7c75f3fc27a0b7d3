//! What a sender says of itself: when, how much, at what time (RFC 3550 §6.4.1).

use std::time::{Duration, Instant};

use wire::{media::Ticks, rtcp::Reporter, send::Source};

/// A report goes out so often (RFC 3550 §6.2).
const REPORT: Duration = Duration::from_secs(5);

/// Time that is off by more shows a gap: receivers do not believe reports that differ much more from arrival.
const GAP_US: i64 = 5_000_000;

/// What comes earliest within so long is followed: of late sound and its pictures, the pictures.
const WINDOW_US: i64 = 1_000_000;

/// Where all of a window is off by so much, the source stood still, as a playback that was paused, or ran ahead.
const STOOD_US: i64 = 250_000;

/// Else the clock is moved by at most a two-thousandth of the time that passed.
const SLOWLY: i64 = 2_000;

/// What the wall clock shows at a time of the stream, in reports: one clock for all that is sent of it, in whatever form
/// and to whomever. A report says when something belongs, not when it left: sound that came late, or a picture that
/// waited behind others, belongs where it always did.
///
/// It begins with what comes first and follows the source slowly, if its clock is off; at once across a gap, and within
/// two seconds where the source stood still for less than one.
#[derive(Debug, Default)]
pub(crate) struct Clock(Option<Course>);

/// Where the clock is, in microseconds.
#[derive(Debug)]
struct Course {
    /// What the wall clock showed at the stream's zero.
    zero: i64,
    /// When the present window began.
    window: i64,
    /// How late the earliest was that came within it.
    least: i64,
    /// All of it is late so far: what is told now may soon be wrong.
    doubtful: bool,
}

impl Clock {
    /// Something of this time came at `wall_us`.
    pub(crate) fn handle(&mut self, wall_us: u64, time: Ticks) {
        let (wall, found) = (wall_us.cast_signed(), wall_us.cast_signed().saturating_sub(micros(time)));
        let begun = Course { zero: found, window: wall, least: 0, doubtful: false };
        let course = self.0.get_or_insert(begun);
        let late = found.saturating_sub(course.zero);
        if late.saturating_abs() >= GAP_US {
            *course = Course { zero: found, window: wall, least: 0, doubtful: false };
            return;
        }
        let passed = wall - course.window;
        if passed < WINDOW_US {
            course.least = course.least.min(late);
            course.doubtful &= course.least >= STOOD_US;
            return;
        }
        let stood = course.least.abs() >= STOOD_US;
        let most = if stood { GAP_US } else { passed.min(GAP_US) / SLOWLY };
        course.zero += course.least.clamp(-most, most);
        course.window = wall;
        course.least = found - course.zero;
        // One window at a time, for what is slow all along is to be told of, too.
        course.doubtful = !course.doubtful && course.least >= STOOD_US;
    }

    /// The wall clock at a time of the stream, in microseconds; `None` before anything came, and while it may have to move.
    pub(crate) fn wall_us(&self, time: Ticks) -> Option<i64> {
        let course = self.0.as_ref().filter(|course| !course.doubtful)?;
        Some(course.zero.saturating_add(micros(time)))
    }
}

/// A moment of the stream as the packets of one form state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The wall clock there, in microseconds.
    pub(crate) wall_us: i64,
    /// The timestamp that belongs there, and how many there are in a second.
    pub(crate) timestamp: u32,
    pub(crate) rate: u32,
}

impl Moment {
    /// The timestamp of another moment of the wall clock.
    fn timestamp_at(self, wall_us: u64) -> u32 {
        let apart = i128::from(wall_us) - i128::from(self.wall_us);
        let steps = apart * i128::from(self.rate) / 1_000_000;
        // Timestamps count modulo 2³².
        self.timestamp.wrapping_add(steps.cast_unsigned() as u32)
    }
}

fn micros(time: Ticks) -> i64 {
    time.0.saturating_mul(100) / 9
}

pub(crate) struct Reports {
    reporter: Reporter,
    reported: Option<Instant>,
    /// Something went out on the clock that reports are about.
    begun: bool,
}

impl Reports {
    pub(crate) fn new(ssrc: u32) -> Self {
        Self { reporter: Reporter::new(ssrc, "relay"), reported: None, begun: false }
    }

    /// A packet goes out whose clock reports are about.
    pub(crate) fn note(&mut self) {
        self.begun = true;
    }

    /// A report, with the first packet and then every 5 s: `wall_us`, the time at which it is sent (RFC 3550 §6.4.1), and
    /// the timestamp that belongs there by a `moment` of the stream, whatever of it was sent so far.
    pub(crate) fn due(
        &mut self,
        (now, wall_us): (Instant, u64),
        moment: Option<Moment>,
        source: &Source,
    ) -> Option<Vec<u8>> {
        let moment = moment.filter(|_| self.begun)?;
        if self.reported.is_some_and(|at| now.saturating_duration_since(at) < REPORT) {
            return None;
        }
        self.reported = Some(now);
        Some(self.reporter.sender_report(wall_us, moment.timestamp_at(wall_us), source.sent()))
    }

    /// That nothing more comes, for whoever was reported to.
    pub(crate) fn goodbye(&self) -> Option<Vec<u8>> {
        self.reported.map(|_| self.reporter.goodbye())
    }
}

#[cfg(test)]
mod tests {
    use wire::rtcp::{Message, messages};

    use super::*;
    use crate::clock;

    const WALL: u64 = 1_700_000_000_000_000;
    const AT: i64 = WALL.cast_signed();

    fn millis(ms: u64) -> Ticks {
        Ticks::from_millis(ms.cast_signed())
    }

    /// A second of pictures of these times, which come from `WALL` + `begun` ms on; what is told then of their zero.
    fn run(clock: &mut Clock, times: std::ops::Range<u64>, begun: u64) -> Vec<Option<i64>> {
        let pictures = times.clone().step_by(40).map(|time| {
            clock.handle(WALL + (begun + time - times.start) * 1000, millis(time));
            clock.wall_us(Ticks(0)).map(|wall| wall - AT)
        });
        pictures.collect()
    }

    #[test]
    fn what_comes_late_belongs_where_it_always_did() {
        let mut clock = Clock::default();
        assert_eq!(clock.wall_us(Ticks(0)), None);
        clock.handle(WALL, millis(1000));
        for number in 1..1000 {
            let time = 1000 + number * 40;
            clock.handle(WALL + number * 40_000, millis(time));
            clock.handle(WALL + number * 40_000, millis(time - 320)); // its sound
        }
        let picture = clock.wall_us(millis(41_000)).unwrap() - AT;
        assert!((picture - 40_000_000).abs() < 1_000, "{picture}");
    }

    #[test]
    fn a_source_whose_clock_is_off_is_followed_slowly_and_a_gap_at_once() {
        let mut clock = Clock::default();
        for second in 0..36_000_u64 {
            // A ten-thousandth slow.
            clock.handle(WALL + second * 1_000_100, millis(second * 1000));
        }
        let wall = clock.wall_us(millis(35_999_000)).unwrap();
        assert!((wall - AT - 35_999 * 1_000_100).abs() < 2_000);
        clock.handle(WALL + 50_000_000_000, millis(36_000_000));
        assert_eq!(clock.wall_us(millis(36_000_000)), Some(AT + 50_000_000_000));
    }

    #[test]
    fn a_playback_that_stood_still_is_told_rightly_when_it_goes_on() {
        for pause in [300, 700, 1500, 3000, 4900, 60_000] {
            let mut clock = Clock::default();
            assert!(run(&mut clock, 0..4000, 0).iter().all(|told| *told == Some(0)));
            let told = run(&mut clock, 4000..9000, 4000 + pause);
            let right = Some(pause.cast_signed() * 1000);
            assert!(told[50..].iter().all(|told| *told == right), "{pause}: {told:?}");
            if pause > 1000 {
                assert!(told.iter().all(|told| told.is_none() || *told == right), "nothing wrong: {told:?}");
            }
        }
    }

    #[test]
    fn a_source_that_stalls_and_catches_up_is_never_told_wrongly() {
        let mut clock = Clock::default();
        run(&mut clock, 0..4000, 0);
        for time in (4000..7000).step_by(40) {
            clock.handle(WALL + 7_000_000, millis(time));
            assert!(clock.wall_us(Ticks(0)).is_none_or(|wall| (wall - AT).abs() < 1_000));
        }
        assert!(run(&mut clock, 7000..9000, 7000).iter().all(|told| *told == Some(0)));
    }

    #[test]
    fn what_is_slow_all_along_is_told_of_too() {
        let mut clock = Clock::default();
        let told = (0..400_u64).map(|number| {
            clock.handle(WALL + number * 160_000, millis(number * 40)); // a quarter of its speed
            clock.wall_us(Ticks(0))
        });
        assert!(told.flatten().count() > 100);
    }

    #[test]
    fn a_report_tells_the_time_at_which_it_is_sent() {
        let now = clock::now();
        let mut reports = Reports::new(7);
        let source = Source::new(7, 96, 0);
        // The newest picture came half a second ago, or states a time that is still to come.
        let moment = |ahead: i64| Moment { wall_us: AT + ahead, timestamp: u32::MAX - 10_000, rate: 90_000 };
        assert_eq!(reports.due((now, WALL), Some(moment(0)), &source), None, "nothing was sent");
        reports.note();
        for (number, (ahead, apart)) in
            [(-500_000, 45_000), (0, 0), (200_000, -18_000)].into_iter().enumerate()
        {
            let now = now + REPORT * number as u32;
            assert_eq!(reports.due((now, WALL), None, &source), None);
            let report = reports.due((now, WALL), Some(moment(ahead)), &source).unwrap();
            let Some(Message::SenderReport { ntp, rtp_timestamp, .. }) = messages(&report).next() else {
                panic!("{report:?}")
            };
            assert_eq!(ntp, (1_700_000_000 + 2_208_988_800) << 32);
            assert_eq!(rtp_timestamp.wrapping_sub(u32::MAX - 10_000).cast_signed(), apart);
            assert_eq!(reports.due((now, WALL), Some(moment(ahead)), &source), None, "only every 5 s");
        }
    }
}
