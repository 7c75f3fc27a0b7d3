//! The fragments of an fMP4 file of ours, back as units.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Entry,
    read::{Head, ReadError, Source},
};
use crate::{
    aac, avc, fmp4, hevc,
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    nal, opus,
    parameter_sets::ParameterSets,
};

const HEADER: usize = 8;
/// `ftyp`, `moov` and the index of an hour.
const HEAD_MAX: usize = 256 << 10;
const MOOF_MAX: usize = 1 << 20;
const MDAT_MAX: usize = 64 << 20;
/// Fields before the boxes of a sample entry.
const VIDEO_FIELDS: usize = 78;
const AUDIO_FIELDS: usize = 28;

#[derive(Debug)]
pub(super) struct Fmp4Body {
    at: u64,
    tracks: Arc<Tracks>,
}

impl Fmp4Body {
    pub(super) fn open(source: &mut dyn Source) -> Result<(Head, Self), ReadError> {
        let data = source.read(0, HEAD_MAX)?;
        let (mut at, mut size, mut tracks, mut duration, mut entries) =
            (0, 0, Tracks::default(), Ticks(0), Vec::new());
        while let Some((name, content)) = first(&data[at..]) {
            let end = at + HEADER + content.len();
            match &name {
                b"moov" => {
                    (tracks, duration) = movie(content);
                    size = end as u64;
                }
                b"sidx" => entries = index(content, end as u64),
                b"ftyp" | b"free" => {}
                _ => break,
            }
            at = end;
        }
        if size == 0 {
            return Err(ReadError::Malformed(at as u64));
        }
        if entries.first().is_none_or(|entry: &Entry| entry.offset != at as u64) {
            entries = vec![Entry { at: Ticks(0), offset: at as u64 }];
        }
        let tracks = Arc::new(tracks);
        let body = Self { at: at as u64, tracks: Arc::clone(&tracks) };
        Ok((Head { tracks, duration, entries, size }, body))
    }

    pub(super) fn go(&mut self, offset: u64) {
        self.at = offset;
    }

    /// One fragment.
    pub(super) fn read(
        &mut self,
        source: &mut dyn Source,
        out: &mut Vec<AccessUnit>,
    ) -> Result<bool, ReadError> {
        let begin = self.at;
        let wrong = || ReadError::Malformed(begin);
        let head = source.read(begin, HEADER)?;
        if head.len() < HEADER {
            return Ok(false);
        }
        let moof_size = size(&head, *b"moof", MOOF_MAX).ok_or_else(wrong)?;
        let moof = source.read(begin, moof_size + HEADER)?;
        let Some(next) = moof.get(moof_size..) else { return Ok(false) };
        let mdat_size = size(next, *b"mdat", MDAT_MAX).ok_or_else(wrong)?;
        let mdat = source.read(begin + moof_size as u64, mdat_size)?;
        if mdat.len() < mdat_size {
            return Ok(false);
        }
        let from = out.len();
        for (name, track) in boxes(&moof[HEADER..moof_size]) {
            if name == *b"traf" {
                self.track(track, moof_size, &mdat, out).ok_or_else(wrong)?;
            }
        }
        out[from..].sort_by_key(|unit| (unit.dts, unit.kind == Kind::Audio));
        self.at = begin + (moof_size + mdat_size) as u64;
        Ok(true)
    }

    /// The samples of one `traf`; `None` if it is not one of ours.
    fn track(&self, traf: &[u8], moof_size: usize, mdat: &Bytes, out: &mut Vec<AccessUnit>) -> Option<()> {
        let (mut id, mut start, mut run) = (None, None, None);
        for (name, content) in boxes(traf) {
            match &name {
                b"tfhd" => id = word(content, 4),
                b"tfdt" => start = content.get(4..)?.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)),
                b"trun" => run = Some(content),
                _ => {}
            }
        }
        let (start, run) = (start.filter(|start| (0..1 << 50).contains(start))?, run?);
        let is_video = id? == fmp4::VIDEO_ID;
        let (kind, entry) = if is_video { (Kind::Video, 16) } else { (Kind::Audio, 8) };
        let scale = match kind {
            Kind::Video => Ticks::PER_SECOND,
            Kind::Audio => self.tracks.audio.as_ref().map_or(0, |track| i64::from(track.sample_rate)),
        };
        let mut at = (word(run, 8)? as usize).checked_sub(moof_size)?;
        let mut time = start;
        for sample in run.get(12..)?.chunks_exact(entry) {
            let length = word(sample, 4)? as usize;
            let end = at.checked_add(length).filter(|end| at >= HEADER && *end <= mdat.len())?;
            // A picture that the disk spoilt, or that no track announces, is left out.
            let whole = !is_video
                || self.tracks.video.is_some()
                    && nal::is_length_prefixed(mdat.get(at..end).unwrap_or_default());
            if scale > 0 && whole {
                let dts = Ticks(ticks(time, scale));
                let offset = if is_video { word(sample, 12)?.cast_signed().max(0) } else { 0 };
                let key = !is_video || word(sample, 8)? == fmp4::SYNC_SAMPLE;
                let (data, tracks) = (mdat.slice(at..end), Arc::clone(&self.tracks));
                out.push(AccessUnit { kind, dts, pts: dts + Ticks(offset.into()), key, data, tracks });
            }
            time += i64::from(word(sample, 0)?);
            at = end;
        }
        Some(())
    }
}

/// A time on another scale, rounded to the nearest tick.
fn ticks(time: i64, scale: i64) -> i64 {
    let product = i128::from(time) * i128::from(Ticks::PER_SECOND) + i128::from(scale / 2);
    product.div_euclid(i128::from(scale)) as i64
}

/// The tracks of a `moov`, and the length in its `mehd`.
fn movie(moov: &[u8]) -> (Tracks, Ticks) {
    let (mut tracks, mut duration) = (Tracks::default(), Ticks(0));
    for (name, content) in boxes(moov) {
        match &name {
            b"trak" => {
                let table = [*b"mdia", *b"minf", *b"stbl", *b"stsd"];
                let Some(entries) = table.iter().try_fold(content, |content, name| inner(content, *name))
                else {
                    continue;
                };
                match entries.get(8..).and_then(first) {
                    Some((name, entry)) if matches!(&name, b"hvc1" | b"avc1") => {
                        tracks.video = video(name, entry);
                    }
                    Some((name, entry)) => tracks.audio = audio(name, entry),
                    None => {}
                }
            }
            b"mvex" => {
                let millis = inner(content, *b"mehd").and_then(|mehd| mehd.get(4..)?.first_chunk().copied());
                let millis = millis.map_or(0, i64::from_be_bytes);
                duration = Ticks::from_millis(millis.clamp(0, 1 << 40));
            }
            _ => {}
        }
    }
    (tracks, duration)
}

fn video(name: [u8; 4], entry: &[u8]) -> Option<VideoTrack> {
    let boxes = entry.get(VIDEO_FIELDS..)?;
    let (codec, record) = match &name {
        b"hvc1" => (VideoCodec::H265, hevc::read_record(inner(boxes, *b"hvcC")?)?),
        _ => (VideoCodec::H264, avc::read_record(inner(boxes, *b"avcC")?)?),
    };
    let mut sets = ParameterSets::new(codec);
    sets.handle_unit(record.sets.into_iter()).ok()?;
    sets.track()
}

fn audio(name: [u8; 4], entry: &[u8]) -> Option<AudioTrack> {
    let channels = *entry.get(17)?;
    let sample_rate = word(entry, 24)? >> 16;
    let config = match &name {
        b"Opus" => opus::head(channels),
        b"mp4a" => {
            // Behind the fields of ES_Descriptor and DecoderConfigDescriptor as we write them.
            let descriptor = inner(entry.get(AUDIO_FIELDS..)?, *b"esds")?.get(4 + 20..)?;
            let &[5, size, ref rest @ ..] = descriptor else { return None };
            Bytes::copy_from_slice(rest.get(..usize::from(size))?)
        }
        _ => Bytes::new(),
    };
    let codec = match &name {
        b"mp4a" => AudioCodec::Aac,
        b"Opus" => AudioCodec::Opus,
        b"alaw" => AudioCodec::G711A,
        b"ulaw" => AudioCodec::G711U,
        _ => return None,
    };
    // The rate has no room in the entry above 65,535 Hz; the configuration always tells.
    let stated = aac::Config::parse(&config).map(|config| config.sample_rate);
    Some(AudioTrack { codec, sample_rate: stated.unwrap_or(sample_rate), channels, config })
}

/// The references of a `sidx` of version 1 whose box ends at `end`.
fn index(sidx: &[u8], end: u64) -> Vec<Entry> {
    let long = |at: usize| sidx.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    let (Some(mut at), Some(gap)) = (long(12), long(20)) else { return Vec::new() };
    let Some(mut offset) = end.checked_add(gap) else { return Vec::new() };
    let references = sidx.get(32..).unwrap_or_default().chunks_exact(12);
    references
        .map_while(|reference| {
            let entry = Entry { at: Ticks(i64::try_from(at).ok()?), offset };
            offset = offset.checked_add((word(reference, 0)? & 0x7FFF_FFFF).into())?;
            at = at.checked_add(word(reference, 4)?.into())?;
            Some(entry)
        })
        .collect()
}

/// The size of a box with this name.
fn size(header: &[u8], name: [u8; 4], max: usize) -> Option<usize> {
    let size = word(header, 0)? as usize;
    (header.get(4..8)? == name && (HEADER..=max).contains(&size)).then_some(size)
}

fn first(data: &[u8]) -> Option<([u8; 4], &[u8])> {
    boxes(data).next()
}

fn inner(data: &[u8], name: [u8; 4]) -> Option<&[u8]> {
    boxes(data).find(|(found, _)| *found == name).map(|(_, content)| content)
}

/// The boxes that stand whole in `data`.
fn boxes(mut data: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = word(data, 0)? as usize;
        let name = *data.get(4..)?.first_chunk()?;
        let content = data.get(HEADER..size)?;
        data = &data[size..];
        Some((name, content))
    })
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}
