//! The boxes of ISO/IEC 14496-12 that fragmented files need. Everything is read from one slice and nothing is trusted:
//! a box that does not fit its parent ends the reading of that parent.

use std::ops::Range;

use super::Coding;

/// What a track is, from `moov`.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) id: u32,
    /// `vide` or `soun`.
    pub(super) handler: [u8; 4],
    timescale: u32,
    /// Form of its samples, such as `avc1`.
    pub(super) entry: [u8; 4],
    /// The record of its coding.
    pub(super) config: bytes::Bytes,
    /// Where presentation begins, in the track's time (§8.6.6).
    edit: i64,
    defaults: Defaults,
}

/// What a sample is where it does not say.
#[derive(Debug, Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    size: u32,
}

/// Samples of one track in one fragment.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) track_id: u32,
    pub(super) samples: Vec<Sample>,
}

/// One sample: where its bytes are, and its times in 90 kHz.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) range: Range<usize>,
    pub(super) dts: i64,
    pub(super) pts: i64,
}

/// `size` bytes at `at` as a number, big endian.
fn be(data: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = data.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

/// The boxes in a slice: name, where the whole begins, and body.
fn boxes(data: &[u8]) -> impl Iterator<Item = ([u8; 4], usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = data.get(at..)?;
        let (head, _) = rest.split_first_chunk::<8>()?;
        let [s0, s1, s2, s3, name @ ..] = *head;
        let (header, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(be(rest, 8, 8)?).ok()?),
            size => (8, size as usize),
        };
        let body = rest.get(header..size)?;
        let begin = at;
        at += size;
        Some((name, begin, body))
    })
}

fn child(data: &[u8], name: [u8; 4]) -> Option<&[u8]> {
    boxes(data).find(|found| found.0 == name).map(|found| found.2)
}

/// The tracks of an initialisation section whose form was understood.
pub(super) fn tracks(data: &[u8]) -> Option<Vec<Track>> {
    let movie = child(data, *b"moov")?;
    let extends = child(movie, *b"mvex").unwrap_or_default();
    let defaults = |id: u32| {
        let mut found = boxes(extends).filter(|found| found.0 == *b"trex");
        let found = found.find(|found| be(found.2, 4, 4) == Some(u64::from(id)));
        let field = |at| found.and_then(|found| be(found.2, at, 4)).unwrap_or(0) as u32;
        Defaults { duration: field(12), size: field(16) }
    };
    let tracks = boxes(movie).filter(|found| found.0 == *b"trak").filter_map(|found| track(found.2));
    Some(tracks.map(|track| Track { defaults: defaults(track.id), ..track }).take(16).collect())
}

fn track(data: &[u8]) -> Option<Track> {
    let header = child(data, *b"tkhd")?;
    let id = be(header, if header.first() == Some(&1) { 20 } else { 12 }, 4)? as u32;
    let media = child(data, *b"mdia")?;
    let clock = child(media, *b"mdhd")?;
    let timescale = be(clock, if clock.first() == Some(&1) { 20 } else { 12 }, 4)? as u32;
    let handler: [u8; 4] = child(media, *b"hdlr")?.get(8..12)?.try_into().ok()?;
    if timescale == 0 || ![*b"vide", *b"soun"].contains(&handler) {
        return None;
    }
    let table = child(child(media, *b"minf")?, *b"stbl")?;
    let (entry, _, body) = boxes(child(table, *b"stsd")?.get(8..)?).next()?;
    let config = if handler == *b"vide" {
        let inner = body.get(78..)?;
        child(inner, *b"avcC").or_else(|| child(inner, *b"hvcC"))
    } else {
        let inner = body.get(28..)?;
        child(inner, *b"esds").and_then(specific_config).or_else(|| child(inner, *b"dOps"))
    };
    let config = config.unwrap_or_default();
    let config = bytes::Bytes::copy_from_slice(config);
    let edit = child(data, *b"edts").and_then(|edits| child(edits, *b"elst")).and_then(edit).unwrap_or(0);
    Some(Track { id, handler, timescale, entry, config, edit, defaults: Defaults::default() })
}

/// Where the first edit that is not empty begins.
fn edit(list: &[u8]) -> Option<i64> {
    let wide = list.first() == Some(&1);
    let count = be(list, 4, 4)?.min(16) as usize;
    let size = if wide { 20 } else { 12 };
    (0..count).find_map(|number| {
        let at = 8 + number * size;
        let begin = if wide {
            be(list, at + 8, 8)?.cast_signed()
        } else {
            i64::from((be(list, at + 4, 4)? as u32).cast_signed())
        };
        (begin >= 0).then_some(begin)
    })
}

/// The `AudioSpecificConfig` within `esds` (ISO/IEC 14496-1 §7.2.6.5).
fn specific_config(esds: &[u8]) -> Option<&[u8]> {
    let mut rest = esds.get(4..)?;
    loop {
        let (&tag, behind) = rest.split_first()?;
        let mut len = 0_usize;
        let mut used = 0;
        for &byte in behind.iter().take(4) {
            used += 1;
            len = len << 7 | usize::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = &behind[used..];
        rest = match tag {
            3 => {
                let flags = *body.get(2)?;
                let mut skip = 3;
                skip += if flags & 0x80 != 0 { 2 } else { 0 };
                skip += if flags & 0x40 != 0 { 1 + usize::from(*body.get(skip)?) } else { 0 };
                skip += if flags & 0x20 != 0 { 2 } else { 0 };
                body.get(skip..)?
            }
            4 => body.get(13..)?,
            5 => return body.get(..len.min(body.len())),
            _ => body.get(len..)?,
        };
    }
}

/// The samples of all fragments of a segment; `None` if there are more than `max`.
pub(super) fn fragments(data: &[u8], tracks: &[(Track, Coding)], max: usize) -> Option<Vec<Fragment>> {
    let mut found = Vec::new();
    let mut count = 0;
    for (_, begin, fragment) in boxes(data).filter(|found| found.0 == *b"moof") {
        let mut next = None; // where the data of a track without own offset lie: behind the one before
        for (_, _, traf) in boxes(fragment).filter(|found| found.0 == *b"traf") {
            let header = Header::parse(child(traf, *b"tfhd")?)?;
            let Some(track) = tracks.iter().map(|(track, _)| track).find(|track| track.id == header.track_id)
            else {
                continue;
            };
            let mut reading = Reading {
                base: header.base.unwrap_or(begin),
                defaults: Defaults {
                    duration: header.duration.unwrap_or(track.defaults.duration),
                    size: header.size.unwrap_or(track.defaults.size),
                },
                time: child(traf, *b"tfdt").map_or(Some(0), decode_time)?,
                next,
                track,
                samples: Vec::new(),
            };
            for (_, _, run) in boxes(traf).filter(|found| found.0 == *b"trun") {
                reading.run(run, max - count)?;
            }
            count += reading.samples.len();
            next = reading.next;
            found.push(Fragment { track_id: track.id, samples: reading.samples });
        }
    }
    Some(found)
}

fn decode_time(body: &[u8]) -> Option<i64> {
    let wide = body.first() == Some(&1);
    Some(be(body, 4, if wide { 8 } else { 4 })?.cast_signed())
}

/// `tfhd` (§8.8.7).
struct Header {
    track_id: u32,
    base: Option<usize>,
    duration: Option<u32>,
    size: Option<u32>,
}

impl Header {
    fn parse(body: &[u8]) -> Option<Self> {
        let flags = be(body, 1, 3)?;
        let mut at = 8;
        let mut take = |flag: u64, size: usize| {
            if flags & flag == 0 {
                return Some(None);
            }
            let value = be(body, at, size)?;
            at += size;
            Some(Some(value))
        };
        let base = take(1, 8)?;
        take(2, 4)?;
        let (duration, size) = (take(8, 4)?, take(0x10, 4)?);
        Some(Self {
            track_id: be(body, 4, 4)? as u32,
            base: base.and_then(|base| usize::try_from(base).ok()),
            duration: duration.map(|value| value as u32),
            size: size.map(|value| value as u32),
        })
    }
}

/// One track of a fragment while its runs are read.
struct Reading<'a> {
    base: usize,
    defaults: Defaults,
    time: i64,
    next: Option<usize>,
    track: &'a Track,
    samples: Vec<Sample>,
}

impl Reading<'_> {
    /// `trun` (§8.8.8).
    fn run(&mut self, body: &[u8], max: usize) -> Option<()> {
        let (version, flags) = (*body.first()?, be(body, 1, 3)?);
        let count = be(body, 4, 4)? as usize;
        if count > max.saturating_sub(self.samples.len()) {
            return None;
        }
        let mut at = 8;
        let mut place = self.next.unwrap_or(self.base);
        if flags & 1 != 0 {
            let offset = i64::from((be(body, at, 4)? as u32).cast_signed());
            place = usize::try_from(i64::try_from(self.base).ok()?.checked_add(offset)?).ok()?;
            at += 4;
        }
        at += if flags & 4 != 0 { 4 } else { 0 };
        for _ in 0..count {
            let mut take = |flag: u64, or: u32| {
                if flags & flag == 0 {
                    return Some(or);
                }
                let value = be(body, at, 4)?;
                at += 4;
                Some(value as u32)
            };
            let (duration, size) = (take(0x100, self.defaults.duration)?, take(0x200, self.defaults.size)?);
            take(0x400, 0)?;
            let shift = take(0x800, 0)?;
            let shift = if version == 0 { i64::from(shift) } else { i64::from(shift.cast_signed()) };
            let end = place.checked_add(size as usize)?;
            let shown = self.time.wrapping_add(shift);
            self.samples.push(Sample {
                range: place..end,
                dts: self.ticks(self.time),
                pts: self.ticks(shown),
            });
            place = end;
            self.time = self.time.wrapping_add(i64::from(duration));
        }
        self.next = Some(place);
        Some(())
    }

    fn ticks(&self, time: i64) -> i64 {
        let time = i128::from(time) - i128::from(self.track.edit);
        (time * 90_000).div_euclid(i128::from(self.track.timescale)) as i64
    }
}
