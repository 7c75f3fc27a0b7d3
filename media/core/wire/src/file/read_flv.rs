//! The tags of an FLV file of ours, back as units.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;

use super::{
    Entry, Index,
    flv::{DURATION, POSITIONS, TIMES},
    read::{Head, ReadError, Source},
};
use crate::{
    aac, avc,
    flv_read::body::{self, Audio, Video},
    hevc,
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec},
    nal, opus,
    parameter_sets::ParameterSets,
};

const FILE_HEADER: usize = 13;
const TAG_HEADER: usize = 11;
/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// A longer tag is none of ours.
const TAG_MAX: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct FlvBody {
    at: u64,
    tracks: Arc<Tracks>,
}

struct Tag {
    kind: u8,
    millis: u32,
    body: Bytes,
}

impl FlvBody {
    pub(super) fn open(source: &mut dyn Source) -> Result<(Head, Self), ReadError> {
        let data = source.read(0, CHUNK)?;
        if data.len() < FILE_HEADER || !data.starts_with(b"FLV\x01") {
            return Err(ReadError::Malformed(0));
        }
        let has_sound = data[4] & 4 != 0;
        let mut body = Self { at: FILE_HEADER as u64, tracks: Arc::default() };
        let (mut at, mut begin) = (FILE_HEADER, None);
        let (mut duration, mut entries) = (Ticks(0), Vec::new());
        // Sound is not announced in the head unless it is AAC: its first run tells.
        while let Ok((tag, next)) = tag(&data, at, 0) {
            if tag.kind == 18 && begin.is_none() {
                (duration, entries) = index(&tag.body);
            } else if body.unit(&tag).is_some() {
                begin.get_or_insert(at as u64);
            }
            at = next;
            if begin.is_some() && (!has_sound || body.tracks.audio.is_some()) {
                break;
            }
        }
        let size = begin.unwrap_or(at as u64);
        if entries.first().is_none_or(|entry| entry.offset != size) {
            entries = vec![Entry { at: Ticks(0), offset: size }];
        }
        body.at = size;
        let tracks = Arc::clone(&body.tracks);
        Ok((Head { tracks, duration, entries, size }, body))
    }

    pub(super) fn go(&mut self, offset: u64) {
        self.at = offset;
    }

    pub(super) fn read(
        &mut self,
        source: &mut dyn Source,
        out: &mut Vec<AccessUnit>,
    ) -> Result<bool, ReadError> {
        let mut data = source.read(self.at, CHUNK)?;
        if data.is_empty() {
            return Ok(false);
        }
        if let Err(Cut::Short(need)) = tag(&data, 0, self.at).map(|_| ())
            && need > data.len()
        {
            data = source.read(self.at, need)?;
        }
        let mut at = 0;
        loop {
            match tag(&data, at, self.at) {
                Ok((tag, next)) => {
                    out.extend(self.unit(&tag));
                    at = next;
                }
                Err(Cut::Malformed(offset)) => return Err(ReadError::Malformed(offset)),
                Err(Cut::Short(_)) => break,
            }
        }
        self.at += at as u64;
        Ok(at > 0)
    }

    /// What a tag holds; a sequence header changes the tracks.
    fn unit(&mut self, tag: &Tag) -> Option<AccessUnit> {
        let dts = Ticks::from_millis(tag.millis.into());
        let first = *tag.body.first()?;
        match tag.kind {
            9 => match body::video(&tag.body)? {
                Video::Header(codec, record) => {
                    self.video_header(codec, &record);
                    None
                }
                // One that the disk spoilt is left out.
                Video::Picture(_, delay, data)
                    if nal::is_length_prefixed(&data) && self.tracks.video.is_some() =>
                {
                    let pts = Ticks((dts + Ticks::from_millis(delay.into())).0.max(dts.0));
                    self.make(Kind::Video, dts, pts, first >> 4 & 7 == 1, data)
                }
                _ => None,
            },
            8 => match body::audio(&tag.body)? {
                Audio::Header(config) => {
                    let read = aac::Config::parse(&config)?;
                    let (sample_rate, channels) = (read.sample_rate, read.channels);
                    self.audio(AudioTrack { codec: AudioCodec::Aac, sample_rate, channels, config });
                    None
                }
                Audio::Aac(data) if self.tracks.audio.is_some() => {
                    self.make(Kind::Audio, dts, dts, true, data)
                }
                Audio::OpusHead(config) => {
                    let channels = opus::stated_channels(&config)?;
                    let (codec, sample_rate) = (AudioCodec::Opus, opus::RATE);
                    self.audio(AudioTrack { codec, sample_rate, channels, config });
                    None
                }
                Audio::Opus(data) if self.tracks.audio.is_some() => {
                    self.make(Kind::Audio, dts, dts, true, data)
                }
                Audio::G711(codec, channels, data) => {
                    self.audio(AudioTrack { codec, sample_rate: 8000, channels, config: Bytes::new() });
                    self.make(Kind::Audio, dts, dts, true, data)
                }
                _ => None,
            },
            _ => None,
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it ends the arms of a match that gives options")]
    fn make(&self, kind: Kind, dts: Ticks, pts: Ticks, key: bool, data: Bytes) -> Option<AccessUnit> {
        Some(AccessUnit { kind, dts, pts, key, data, tracks: Arc::clone(&self.tracks) })
    }

    fn video_header(&mut self, codec: VideoCodec, record: &[u8]) {
        let read = match codec {
            VideoCodec::H264 => avc::read_record(record),
            VideoCodec::H265 => hevc::read_record(record),
        };
        let mut sets = ParameterSets::new(codec);
        let Some(read) = read.filter(|read| read.length_size == 4) else { return };
        if sets.handle_unit(read.sets.into_iter()).is_ok()
            && let Some(track) = sets.track()
            && self.tracks.video.as_ref() != Some(&track)
        {
            self.tracks = Arc::new(Tracks { video: Some(track), audio: self.tracks.audio.clone() });
        }
    }

    fn audio(&mut self, track: AudioTrack) {
        if self.tracks.audio.as_ref() != Some(&track) {
            self.tracks = Arc::new(Tracks { video: self.tracks.video.clone(), audio: Some(track) });
        }
    }
}

/// Why there is no tag.
enum Cut {
    /// So many bytes would be needed.
    Short(usize),
    Malformed(u64),
}

/// The tag at `at` of `data`, which stands at `base` of the file, and where the next one begins.
fn tag(data: &Bytes, at: usize, base: u64) -> Result<(Tag, usize), Cut> {
    let rest = &data[at.min(data.len())..];
    let Some(&[kind, s2, s1, s0, t2, t1, t0, t3, ..]) = rest.first_chunk::<TAG_HEADER>() else {
        return Err(Cut::Short(TAG_HEADER));
    };
    let size = u32::from_be_bytes([0, s2, s1, s0]) as usize;
    let end = TAG_HEADER + size;
    if !matches!(kind, 8 | 9 | 18) || size > TAG_MAX {
        return Err(Cut::Malformed(base + at as u64));
    }
    let Some(behind) = rest.get(end..end + 4) else { return Err(Cut::Short(end + 4)) };
    if behind != (end as u32).to_be_bytes() {
        return Err(Cut::Malformed(base + at as u64));
    }
    let body = data.slice(at + TAG_HEADER..at + end);
    Ok((Tag { kind, millis: u32::from_be_bytes([t3, t2, t1, t0]), body }, at + end + 4))
}

/// `duration` and `keyframes` of our onMetaData.
fn index(script: &[u8]) -> (Ticks, Vec<Entry>) {
    let duration = memmem::find(script, DURATION).and_then(|at| number(script, at + DURATION.len()));
    let positions = array(script, POSITIONS);
    let times = array(script, TIMES);
    let entries = positions.into_iter().zip(times);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "AMF has doubles only")]
    let entries =
        entries.map(|(offset, at)| Entry { at: seconds(at), offset: offset.max(0.0) as u64 }).collect();
    (duration.map_or(Ticks(0), seconds), entries)
}

/// The numbers of a strict array behind its name.
fn array(script: &[u8], name: &[u8]) -> Vec<f64> {
    let Some(at) = memmem::find(script, name).map(|at| at + name.len()) else { return Vec::new() };
    let count = script
        .get(at..at + 4)
        .map_or(0, |count| u32::from_be_bytes([count[0], count[1], count[2], count[3]]));
    let count = (count as usize).min(Index::CAPACITY_MAX);
    (0..count).map_while(|n| number(script, at + 4 + n * 9 + 1)).collect()
}

fn number(script: &[u8], at: usize) -> Option<f64> {
    Some(f64::from_be_bytes(*script.get(at..)?.first_chunk()?)).filter(|number| number.is_finite())
}

#[expect(clippy::cast_possible_truncation, reason = "a file lasts a day at most")]
fn seconds(number: f64) -> Ticks {
    Ticks::from_millis((number.clamp(0.0, 1e7) * 1000.0).round() as i64)
}
