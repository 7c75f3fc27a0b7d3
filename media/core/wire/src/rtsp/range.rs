//! Which part of a stream is meant, and how fast it runs: the headers Range (RFC 2326 §3.6, §3.7, §12.29), Speed (§12.35) and Scale
//! (§12.34), and where packets go on (RTP-Info, §12.33).

use std::fmt;

const DAY_MS: u64 = 86_400_000;
/// Digits of a number of seconds or hours.
const DIGITS_MAX: usize = 10;

/// A moment of a stream; no two units can be compared without knowing the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Where the stream is.
    Now,
    /// Milliseconds since its beginning.
    Npt(u64),
    /// Milliseconds of the UNIX epoch.
    Clock(u64),
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Now => out.write_str("now"),
            Self::Npt(ms) => write!(out, "{}.{:03}", ms / 1000, ms % 1000),
            Self::Clock(ms) => {
                let (year, month, day) = date(ms / DAY_MS);
                let (seconds, ms) = (ms % DAY_MS / 1000, ms % 1000);
                let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                write!(out, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{ms:03}Z")
            }
        }
    }
}

/// A part of a stream. An end that is not told is the stream's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub start: Option<Moment>,
    /// Where it ends.
    pub end: Option<Moment>,
}

impl Range {
    /// From where a live stream is, on.
    pub const NOW: Self = Self { start: Some(Moment::Now), end: None };

    /// Reads a header in `npt` or `clock`; `None` if it is broken, or in other units. When it is to begin (`;time=`) is
    /// passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.split(';').next()?.split_once('=')?;
        let (start, end) = rest.split_once('-')?;
        let read = match unit.trim() {
            unit if unit.eq_ignore_ascii_case("npt") => npt,
            unit if unit.eq_ignore_ascii_case("clock") => clock,
            _ => return None,
        };
        let moment = |text: &str| match text.trim() {
            "" => Some(None),
            text => read(text).map(Some),
        };
        let (start, end) = (moment(start)?, moment(end)?);
        let tells = (start.is_some() || end.is_some()) && end != Some(Moment::Now);
        tells.then_some(Self { start, end })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = matches!(self.start.or(self.end), Some(Moment::Clock(_)));
        out.write_str(if clock { "clock=" } else { "npt=" })?;
        self.start.map_or(Ok(()), |start| start.fmt(out))?;
        out.write_str("-")?;
        self.end.map_or(Ok(()), |end| end.fmt(out))
    }
}

/// What PLAY asks for beyond going on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wish {
    /// Which part; `None`: from where the stream stands.
    pub range: Option<Range>,
    /// How fast; a finite number.
    pub scale: Option<f64>,
    /// How fast it is to be delivered, whatever its times say; a finite number.
    pub speed: Option<f64>,
}

/// What PLAY comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Played {
    /// The part that is sent.
    pub range: Range,
    /// How fast.
    pub scale: f64,
    /// How fast it is delivered, for who asked for that.
    pub speed: Option<f64>,
}

/// The next packet of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackStart {
    /// Number of the track.
    pub track: usize,
    /// The packet's sequence number.
    pub seq: u16,
    /// The RTP timestamp that belongs to the beginning of the range.
    pub timestamp: u32,
}

/// Reads a Scale or a Speed header.
pub(super) fn scale(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|scale: &f64| scale.is_finite())
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let plain = digits.contains(&text.len()) && text.bytes().all(|letter| letter.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Seconds with a fraction, of which milliseconds count.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().all(|letter| letter.is_ascii_digit());
    let ms = digits.then(|| format!("{fraction:0<3}"))?;
    Some(number(whole, 1..=DIGITS_MAX)? * 1000 + number(&ms[..3], 3..=3)?)
}

fn npt(text: &str) -> Option<Moment> {
    if text.eq_ignore_ascii_case("now") {
        return Some(Moment::Now);
    }
    let mut parts = text.split(':');
    let ms = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (only, None, ..) => seconds(only)?,
        (hours, Some(minutes), Some(rest), None) => {
            let minutes = number(minutes, 1..=2).filter(|minutes| *minutes < 60)?;
            let rest = seconds(rest).filter(|ms| *ms < 60_000)?;
            (number(hours, 1..=DIGITS_MAX)? * 60 + minutes) * 60_000 + rest
        }
        _ => return None,
    };
    Some(Moment::Npt(ms))
}

fn clock(text: &str) -> Option<Moment> {
    let (day, time) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't'])?;
    if day.len() != 8 || !day.is_ascii() || !time.is_ascii() || time.len() < 6 {
        return None;
    }
    let part = |text: &str, below: u64| number(text, 2..=2).filter(|part| *part < below);
    let (year, month, date_of) = (number(&day[..4], 4..=4)?, part(&day[4..6], 13)?, part(&day[6..], 32)?);
    let days = days(year, month, date_of).filter(|days| date(*days) == (year, month, date_of))?;
    let (hours, minutes) = (part(&time[..2], 24)?, part(&time[2..4], 60)?);
    let rest = seconds(&time[4..]).filter(|ms| *ms < 60_000)?;
    Some(Moment::Clock(days * DAY_MS + (hours * 60 + minutes) * 60_000 + rest))
}

/// Days of a year that begins in March, up to the month (counted from March).
const fn days_to(month: u64) -> u64 {
    (153 * month + 2) / 5
}

/// Days from 1970 to a date of the Gregorian calendar; `None` before. Years begin in March: a leap day is their last one.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + days_to(month) + day.checked_sub(1)?;
    days.checked_sub(BEFORE_1970)
}

/// Days from 1 March of the year 0 to 1970.
const BEFORE_1970: u64 = 719_468;

/// Year, month and day of the month.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + BEFORE_1970;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, calendar) = (era * 400 + year, if month < 10 { month + 3 } else { month - 9 });
    (year + u64::from(calendar < 3), calendar, day - days_to(month) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: Option<Moment>, end: Option<Moment>) -> Range {
        Range { start, end }
    }

    #[test]
    fn parts_are_read_in_seconds_and_by_the_clock() {
        let cases = [
            ("npt=0.000-", range(Some(Moment::Npt(0)), None)),
            ("npt = 12.5 - 20", range(Some(Moment::Npt(12_500)), Some(Moment::Npt(20_000)))),
            ("NPT=1:02:03.0049-", range(Some(Moment::Npt(3_723_004)), None)),
            ("npt=now-;time=19970123T153600Z", Range::NOW),
            ("npt=-20", range(None, Some(Moment::Npt(20_000)))),
            ("clock=19700101T000000Z-", range(Some(Moment::Clock(0)), None)),
            (
                "clock=20000229T120000.25Z-20231114T221320Z",
                range(Some(Moment::Clock(951_825_600_250)), Some(Moment::Clock(1_700_000_000_000))),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Range::parse(text), Some(expected), "{text}");
            let written = expected.to_string();
            assert_eq!(Range::parse(&written), Some(expected), "{written}");
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in [
            "",
            "npt",
            "npt=",
            "npt=-",
            "npt=5",
            "npt=+5-",
            "npt=-now",
            "npt=1:60:00-",
            "npt=1:00-",
            "npt=1:2:3:4-",
            "npt=.5-",
            "npt=5.x-",
            "npt=99999999999-",
            "smpte=10:07:33-",
            "clock=20010229T000000Z-",
            "clock=20011301T000000Z-",
            "clock=20010100T000000Z-",
            "clock=19691231T235959Z-",
            "clock=20010101T240000Z-",
            "clock=20010101T0000Z-",
            "clock=20010101T000000-",
            "clock=2001é01T000000Z-",
            "clock=20010101T0é000Z-",
        ] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_has_its_date() {
        let mut before = date(0);
        assert_eq!(before, (1970, 1, 1));
        for number in 1..200_000 {
            let (year, month, day) = date(number);
            assert_eq!(days(year, month, day), Some(number));
            assert!((year, month, day) > before && (1..13).contains(&month) && (1..32).contains(&day));
            before = (year, month, day);
        }
        assert_eq!(date(11_016), (2000, 2, 29));
    }

    #[test]
    fn scales_are_finite_numbers() {
        assert_eq!((scale(" 2.5"), scale("-1")), (Some(2.5), Some(-1.0)));
        for text in ["", "fast", "inf", "nan", "1e999"] {
            assert_eq!(scale(text), None, "{text}");
        }
    }
}
