//! Low-Latency HLS (draft-pantos-hls-rfc8216bis, "Low-Latency HLS"): a segment is told of in parts as they are made, a
//! playlist may be asked for before it says what is wanted of it, and a part before it is there.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    AccessUnit, Arc, Content, Init, Segment, Segmenter, Ticks, Window, fmp4, is_reference, is_start, number,
};

/// Length of parts, where pictures come often enough.
const TARGET: Ticks = Ticks::from_millis(200);
/// Parts of so many newest segments are listed (draft §6.2.2: three target durations).
const WITH_PARTS: usize = 3;
/// A playlist further ahead than this is not waited for (draft §6.2.5.2).
const AHEAD: u64 = 2;

/// A piece of a segment.
#[derive(Debug, Clone)]
pub(super) struct Part {
    duration: Ticks,
    /// It begins with a key frame.
    independent: bool,
    pub(super) data: Bytes,
}

/// The parts that are ready of a segment that is not.
#[derive(Debug)]
pub(super) struct Begun {
    sequence: u64,
    discontinuity: bool,
    init: Option<Arc<Init>>,
    wall_ms: i64,
    parts: Vec<Part>,
}

/// The part being written.
#[derive(Debug)]
pub(super) struct Open {
    start: Ticks,
    independent: bool,
    /// The last unit that decides where parts end, and how far it was from the one before.
    last: Ticks,
    interval: Ticks,
    /// Bytes of the segment's parts before this one.
    pub(super) bytes_before: usize,
}

impl Open {
    pub(super) fn new(unit: &AccessUnit) -> Self {
        Self {
            start: unit.dts,
            independent: is_start(unit),
            last: unit.dts,
            interval: Ticks(0),
            bytes_before: 0,
        }
    }

    /// Whether the part ends before `unit`, for with it the part would be too long.
    fn ends_before(&mut self, unit: &AccessUnit) -> bool {
        if !is_reference(unit) || unit.dts <= self.last {
            return false;
        }
        self.interval = unit.dts - self.last;
        self.last = unit.dts;
        unit.dts - self.start + self.interval > TARGET
    }
}

impl Segmenter {
    /// Ends the open part if `unit` does not belong to it any more.
    pub(super) fn cut_part(&mut self, unit: &AccessUnit) -> bool {
        let Some(mut open) = self.open.take_if(|open| open.part.ends_before(unit)) else { return false };
        self.finish_part(&mut open, unit.dts);
        let bytes_before = open.parts.iter().map(|part| part.data.len()).sum();
        let interval = open.part.interval;
        open.part = Open { interval, bytes_before, ..Open::new(unit) };
        self.open = Some(open);
        true
    }

    /// Writes the open part, which lasts until `end`.
    pub(super) fn finish_part(&mut self, open: &mut super::Open, end: Ticks) {
        let Content::Fmp4(fragment) = &mut open.content else { return };
        if fragment.is_empty() {
            return;
        }
        self.fragments += 1;
        let data =
            std::mem::replace(fragment, fmp4::Fragment::new()).write(&open.tracks, self.fragments, end);
        let duration = Ticks((end - open.part.start).0.max(1));
        open.parts.push(Part { duration, independent: open.part.independent, data });
    }

    /// What is ready of the open segment.
    pub(super) fn begun(&self) -> Option<Begun> {
        let open = self.open.as_ref().filter(|open| !open.parts.is_empty())?;
        Some(Begun {
            sequence: self.next_sequence,
            discontinuity: open.discontinuity,
            init: open.init.clone(),
            wall_ms: self.options.epoch_ms + open.start.as_millis(),
            parts: open.parts.clone(),
        })
    }
}

impl Window {
    /// Whether a player can begin: there is a whole segment.
    pub fn is_playable(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Whether the playlist tells of a whole segment, or of a part, as a blocking request wants it (draft §6.2.5.2): a part
    /// that its segment did not have in the end is the first of the next.
    pub fn tells_of(&self, sequence: u64, part: Option<u64>) -> bool {
        let next = self.segments.last().map_or(0, |segment| segment.sequence + 1);
        match (&self.begun, part) {
            _ if self.ended => true,
            _ if sequence < next => {
                let last = self.segments.last().filter(|last| last.sequence == sequence);
                let beyond =
                    last.is_some_and(|last| part.is_some_and(|part| part >= last.parts.len() as u64));
                !beyond || self.begun.is_some()
            }
            (Some(begun), Some(part)) => begun.sequence == sequence && part < begun.parts.len() as u64,
            _ => false,
        }
    }

    /// Whether a request may wait for this segment: it is one of the next.
    pub fn may_wait_for(&self, sequence: u64) -> bool {
        self.segments.last().is_none_or(|last| sequence <= last.sequence + AHEAD)
    }

    /// Whether this file is the part that comes next.
    pub fn is_next(&self, file: &str) -> bool {
        !self.ended && address(file).is_some_and(|address| address == self.next_part())
    }

    /// How long segments are at most, in seconds.
    pub fn target_s(&self) -> u64 {
        self.target_s.unsigned_abs()
    }

    pub(super) fn part(&self, sequence: u64, part: usize) -> Option<&Part> {
        let parts = match &self.begun {
            Some(begun) if begun.sequence == sequence => &begun.parts,
            _ => &self.segments.iter().find(|segment| segment.sequence == sequence)?.parts,
        };
        parts.get(part)
    }

    fn next_part(&self) -> (u64, usize) {
        match &self.begun {
            Some(begun) => (begun.sequence, begun.parts.len()),
            None => (self.segments.last().map_or(0, |segment| segment.sequence + 1), 0),
        }
    }
}

/// Segment and part in the name of a part's file.
pub(super) fn address(file: &str) -> Option<(u64, usize)> {
    let (sequence, part) = file.strip_suffix(".m4s")?.split_once('.')?;
    Some((number(sequence)?, usize::try_from(number(part)?).ok()?))
}

/// A segment's bytes.
pub(super) fn joined(parts: &[Part]) -> Bytes {
    let mut out = BytesMut::with_capacity(parts.iter().map(|part| part.data.len()).sum());
    for part in parts {
        out.put_slice(&part.data);
    }
    out.freeze()
}

/// The playlist with parts; `query` is repeated in every address.
pub(super) fn playlist(window: &Window, query: &str) -> String {
    let listed = &window.segments[window.late..];
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let with_parts = listed.len().saturating_sub(WITH_PARTS);
    let begun = window.begun.as_ref().map_or(&[][..], |begun| &begun.parts);
    let parts = listed.iter().skip(with_parts).flat_map(|segment| &segment.parts).chain(begun);
    let target = parts.map(|part| part.duration).max().unwrap_or(TARGET).max(TARGET);
    let mut out = Playlist { text: String::with_capacity(4096), query, init: None };
    let sequence = listed.first().map_or(window.next_part().0, |segment| segment.sequence);
    out.put(format_args!("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:{}\n", window.target_s));
    let hold_back = seconds(Ticks(target.0 * 3));
    out.put(format_args!("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold_back}\n"));
    out.put(format_args!(
        "#EXT-X-PART-INF:PART-TARGET={}\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n",
        seconds(target)
    ));
    if window.discontinuities > 0 {
        out.put(format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{}\n", window.discontinuities));
    }
    if listed.iter().all(|segment| segment.independent) {
        out.put(format_args!("#EXT-X-INDEPENDENT-SEGMENTS\n"));
    }
    for (at, segment) in listed.iter().enumerate() {
        let Segment { sequence, discontinuity, init, wall_ms, .. } = &**segment;
        out.begin(*discontinuity, init.as_ref(), *wall_ms);
        if at >= with_parts {
            out.parts(*sequence, &segment.parts);
        }
        out.put(format_args!("#EXTINF:{},\nhls.ll/{sequence}.m4s", seconds(segment.duration)));
        out.end_address();
    }
    if let Some(Begun { sequence, discontinuity, init, wall_ms, parts }) = &window.begun {
        out.begin(*discontinuity, init.as_ref(), *wall_ms);
        out.parts(*sequence, parts);
    }
    if window.ended {
        out.text.push_str(super::END);
        return out.text;
    }
    let (sequence, part) = window.next_part();
    let query = std::mem::take(&mut out.query);
    out.put(format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"hls.ll/{sequence}.{part}.m4s{query}\"\n"));
    out.text
}

struct Playlist {
    text: String,
    query: String,
    /// The initialisation segment last named.
    init: Option<u64>,
}

impl Playlist {
    fn put(&mut self, line: std::fmt::Arguments) {
        self.text.write_fmt(line).unwrap_or_default();
    }

    fn end_address(&mut self) {
        self.text.push_str(&self.query);
        self.text.push('\n');
    }

    /// What stands before a segment.
    fn begin(&mut self, discontinuity: bool, init: Option<&Arc<Init>>, wall_ms: i64) {
        if discontinuity {
            self.put(format_args!("#EXT-X-DISCONTINUITY\n"));
        }
        if let Some(id) = init.map(|init| init.id).filter(|id| self.init != Some(*id)) {
            let query = std::mem::take(&mut self.query);
            self.put(format_args!("#EXT-X-MAP:URI=\"hls.ll/init-{id}.mp4{query}\"\n"));
            self.query = query;
            self.init = Some(id);
        }
        self.put(format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", date_time(wall_ms)));
    }

    fn parts(&mut self, sequence: u64, parts: &[Part]) {
        for (number, part) in parts.iter().enumerate() {
            let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
            let line = format!(
                "#EXT-X-PART:DURATION={},URI=\"hls.ll/{sequence}.{number}.m4s{}\"{independent}\n",
                seconds(part.duration),
                self.query
            );
            self.text.push_str(&line);
        }
    }
}

/// Decimal seconds.
fn seconds(duration: Ticks) -> String {
    format!("{}.{:05}", duration.0 / 90_000, duration.0 % 90_000 * 10 / 9)
}

/// ISO 8601 in UTC, of UNIX milliseconds ("chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn date_time(wall_ms: i64) -> String {
    let (days, rest) = (wall_ms.div_euclid(86_400_000), wall_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hls::{Container, LISTED, SegmenterOptions},
        media::{AudioCodec, VideoCodec},
        testing,
    };

    /// 2026-03-01T08:00:00Z.
    const EPOCH: i64 = 1_772_352_000_000;

    fn segmenter() -> Segmenter {
        let target = Ticks::from_millis(2000);
        let container = Container::LowLatency;
        Segmenter::new(SegmenterOptions {
            container,
            target,
            listed: LISTED,
            first_sequence: 100,
            epoch_ms: EPOCH,
        })
    }

    /// The windows that pictures at 25 Hz make, a key frame a second, with sound beside them.
    fn windows(to_ms: i64) -> Vec<Arc<Window>> {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)));
        let mut segmenter = segmenter();
        let mut windows = Vec::new();
        for at in 0..to_ms / 40 {
            windows.extend(segmenter.write(&testing::video(&tracks, at * 40, at * 40, at % 25 == 0)));
            windows.extend(segmenter.write(&testing::audio(&tracks, at * 40 + 5, 100)));
        }
        windows
    }

    #[test]
    fn parts_are_told_of_as_they_are_made() {
        let windows = windows(1500);
        let others =
            [1, 2, 3, 4].map(|at| format!("#EXT-X-PART:DURATION=0.20000,URI=\"hls.ll/100.{at}.m4s?k=v\"\n"));
        let expected = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.60000\n\
             #EXT-X-PART-INF:PART-TARGET=0.20000\n#EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-MAP:URI=\"hls.ll/init-100.mp4?k=v\"\n#EXT-X-PROGRAM-DATE-TIME:2026-03-01T08:00:00.000Z\n\
             #EXT-X-PART:DURATION=0.20000,URI=\"hls.ll/100.0.m4s?k=v\",INDEPENDENT=YES\n{}\
             #EXTINF:1.00000,\nhls.ll/100.m4s?k=v\n#EXT-X-PROGRAM-DATE-TIME:2026-03-01T08:00:01.000Z\n\
             #EXT-X-PART:DURATION=0.20000,URI=\"hls.ll/101.0.m4s?k=v\",INDEPENDENT=YES\n\
             #EXT-X-PART:DURATION=0.20000,URI=\"hls.ll/101.1.m4s?k=v\"\n\
             #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"hls.ll/101.2.m4s?k=v\"\n",
            others.concat()
        );
        assert_eq!(windows.last().expect("windows").playlist("k=v"), expected);
    }

    #[test]
    fn a_segment_is_its_parts() {
        let windows = windows(2500);
        let window = windows.last().expect("windows");
        let parts: Vec<u8> =
            (0..5).flat_map(|part| window.resource(&format!("100.{part}.m4s")).expect("a part")).collect();
        assert_eq!(window.resource("100.m4s").expect("the segment"), parts);
        for wrong in ["100.5.m4s", "100..m4s", "100.0.ts", "99.0.m4s", "100.0.0.m4s", "100.+1.m4s"] {
            assert!(window.resource(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_window_knows_what_it_tells_of() {
        let windows = windows(1500);
        let window = windows.last().expect("windows");
        for (sequence, part, told) in [
            (100, None, true),
            (100, Some(4), true),
            (100, Some(9), true), // the first of 101, which is there
            (101, None, false),
            (101, Some(1), true),
            (101, Some(2), false),
            (102, Some(0), false),
            (7, Some(3), true),
        ] {
            assert_eq!(window.tells_of(sequence, part), told, "{sequence} {part:?}");
        }
        assert!(window.may_wait_for(102) && !window.may_wait_for(103));
        assert!(window.is_next("101.2.m4s") && !window.is_next("101.3.m4s") && !window.is_next("101.m4s"));
    }

    #[test]
    fn pictures_that_are_rare_make_longer_parts() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H265, None));
        let mut segmenter = segmenter();
        let units = (0..9).map(|at| testing::video(&tracks, at * 500, at * 500, at % 2 == 0));
        let window = units.filter_map(|unit| segmenter.write(&unit)).last().expect("a window");
        assert!(window.playlist("").contains("PART-TARGET=0.50000\n"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (wall_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_772_352_000_123, "2026-03-01T08:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date_time(wall_ms), text);
        }
    }
}
