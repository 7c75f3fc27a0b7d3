//! Reads our own files back: units in decoding order with times from the file's zero, from any key frame of the index on.
//!
//! Nothing in a file is believed: sizes are bounded, and a part that cannot be read ends the file with an error, not with
//! a panic. Whoever has the file gives its bytes ([`Source`]).

use std::{io, sync::Arc};

use bytes::Bytes;
use thiserror::Error;

use super::{Entry, Form, read_flv::FlvBody, read_fmp4::Fmp4Body};
use crate::media::{AccessUnit, Ticks, Tracks};

/// A file's bytes.
pub trait Source {
    /// Up to `length` bytes from `offset` on; fewer only at the file's end.
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Bytes>;
}

impl Source for &[u8] {
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(Bytes::copy_from_slice(&self[start..start.saturating_add(length).min(self.len())]))
    }
}

/// A file that cannot be read on.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What stands there is not what our files have.
    #[error("not one of our recordings at byte {0}")]
    Malformed(u64),
}

/// What the head of a file says.
#[derive(Debug, Clone)]
pub struct Head {
    /// The tracks that it announces.
    pub tracks: Arc<Tracks>,
    /// From its first time to its end; zero if it was never finished.
    pub duration: Ticks,
    /// Key frames, in order; the first one is that which the file begins with.
    pub entries: Vec<Entry>,
    /// Bytes of `ftyp` and `moov` (fMP4), or up to the first frame (FLV).
    pub size: u64,
}

#[derive(Debug)]
enum Body {
    Flv(FlvBody),
    Fmp4(Fmp4Body),
}

/// Reads one file.
#[derive(Debug)]
pub struct FileReader {
    head: Head,
    body: Body,
}

impl FileReader {
    /// Reads the head of a file of this form.
    pub fn open(form: Form, source: &mut dyn Source) -> Result<Self, ReadError> {
        let (head, body) = match form {
            Form::Flv => FlvBody::open(source).map(|(head, body)| (head, Body::Flv(body)))?,
            Form::Fmp4 => Fmp4Body::open(source).map(|(head, body)| (head, Body::Fmp4(body)))?,
        };
        Ok(Self { head, body })
    }

    /// What the head says.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Goes on at the last key frame of the index at or before `to`; the index may know every second one only.
    pub fn seek(&mut self, to: Ticks) {
        let number = self.head.entries.partition_point(|entry| entry.at <= to).saturating_sub(1);
        if let Some(entry) = self.head.entries.get(number) {
            self.go(entry.offset);
        }
    }

    /// Goes on at the first key frame of the index behind `after`; false if there is none.
    pub fn skip(&mut self, after: Ticks) -> bool {
        let number = self.head.entries.partition_point(|entry| entry.at <= after);
        let found = self.head.entries.get(number).map(|entry| entry.offset);
        if let Some(offset) = found {
            self.go(offset);
        }
        found.is_some()
    }

    fn go(&mut self, offset: u64) {
        match &mut self.body {
            Body::Flv(body) => body.go(offset),
            Body::Fmp4(body) => body.go(offset),
        }
    }

    /// Puts the next units into `out`, about 256 KiB of them; false at the file's end.
    pub fn read(&mut self, source: &mut dyn Source, out: &mut Vec<AccessUnit>) -> Result<bool, ReadError> {
        match &mut self.body {
            Body::Flv(body) => body.read(source, out),
            Body::Fmp4(body) => body.read(source, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        file::FileMuxer,
        media::{AudioCodec, Kind, VideoCodec},
        testing,
    };

    const FORMS: [(Form, VideoCodec); 4] = [
        (Form::Flv, VideoCodec::H264),
        (Form::Flv, VideoCodec::H265),
        (Form::Fmp4, VideoCodec::H264),
        (Form::Fmp4, VideoCodec::H265),
    ];

    /// A file of four seconds with a key frame a second and pictures out of order, and what went in.
    fn file(form: Form, codec: VideoCodec, audio: Option<AudioCodec>) -> (Vec<u8>, Vec<AccessUnit>) {
        let tracks = Arc::new(testing::tracks(codec, audio));
        let mut muxer = FileMuxer::in_form(form, &tracks, Ticks(0), 16);
        let (mut out, mut units) = (Vec::new(), Vec::new());
        for number in 0..100_i64 {
            let (at, key) = (number * 40, number % 25 == 0);
            units.push(testing::video(&tracks, at, at + if key { 0 } else { 80 }, key));
            if audio.is_some() {
                units.push(testing::audio(&tracks, at + 20, 160));
            }
        }
        for unit in &units {
            assert!(muxer.write(unit, &mut out));
        }
        muxer.finish(None, &mut out);
        let body: Vec<u8> = out.iter().flat_map(|chunk| chunk.to_bytes().to_vec()).collect();
        let size = (muxer.head().len() + body.len()) as u64;
        let data = [muxer.finished_head(size, muxer.duration()), body].concat();
        (data, units)
    }

    fn read_all(reader: &mut FileReader, mut data: &[u8]) -> Vec<AccessUnit> {
        let mut units = Vec::new();
        while reader.read(&mut data, &mut units).expect("it is whole") {}
        units
    }

    fn facts(units: &[AccessUnit]) -> Vec<(Kind, i64, i64, bool)> {
        let mut facts: Vec<_> = units
            .iter()
            .map(|unit| (unit.kind, unit.dts.as_millis(), unit.pts.as_millis(), unit.key))
            .collect();
        facts.sort_unstable_by_key(|(kind, dts, ..)| (*dts, *kind == Kind::Audio));
        facts
    }

    #[test]
    fn what_was_written_is_read_back() {
        for (form, codec) in FORMS {
            let codecs = [AudioCodec::G711A, AudioCodec::G711U, AudioCodec::Aac, AudioCodec::Opus];
            for audio in [None].into_iter().chain(codecs.map(Some)) {
                let (data, units) = file(form, codec, audio);
                let mut reader = FileReader::open(form, &mut &data[..]).expect("a file");
                let head = reader.head().clone();
                assert_eq!(
                    head.entries.iter().map(|entry| entry.at.as_millis()).collect::<Vec<_>>(),
                    [0, 1000, 2000, 3000]
                );
                assert_eq!(head.duration.as_millis(), 4000);
                let (video, sound) = (head.tracks.video.as_ref(), head.tracks.audio.as_ref());
                assert_eq!(video.map(|track| track.codec), Some(codec));
                assert_eq!(sound.map(|track| track.codec), audio, "{form:?} {codec:?}");
                let read = read_all(&mut reader, &data);
                assert_eq!(facts(&read), facts(&units), "{form:?} {codec:?} {audio:?}");
                let sizes = |units: &[AccessUnit]| {
                    units
                        .iter()
                        .filter(|unit| unit.kind == Kind::Audio)
                        .map(|unit| unit.data.len())
                        .sum::<usize>()
                };
                assert_eq!(sizes(&read), sizes(&units), "sound keeps its bytes");
            }
        }
    }

    #[test]
    fn a_seek_goes_on_at_the_key_frame_at_or_before() {
        for (form, codec) in FORMS {
            let (data, _) = file(form, codec, Some(AudioCodec::G711A));
            let mut reader = FileReader::open(form, &mut &data[..]).expect("a file");
            for (to, expected) in [(0, 0), (999, 0), (1000, 1000), (2500, 2000), (1_000_000, 3000)] {
                reader.seek(Ticks::from_millis(to));
                let first = read_all(&mut reader, &data);
                assert_eq!(
                    (first[0].dts.as_millis(), first[0].key),
                    (expected, true),
                    "{form:?} {codec:?} {to}"
                );
            }
            assert!(reader.skip(Ticks::from_millis(1000)) && !reader.skip(Ticks::from_millis(3000)));
        }
    }

    #[test]
    fn a_picture_whose_lengths_were_spoilt_is_left_out() {
        for (form, codec) in FORMS {
            let (mut data, units) = file(form, codec, None);
            let picture = &units[30].data;
            let at = (0..data.len()).rfind(|at| data[*at..].starts_with(picture)).expect("it is there");
            data[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
            let mut reader = FileReader::open(form, &mut &data[..]).expect("a file");
            let read = read_all(&mut reader, &data);
            assert_eq!(read.len(), units.len() - 1, "{form:?} {codec:?}");
            assert!(read.iter().all(|unit| crate::nal::is_length_prefixed(&unit.data)));
        }
    }

    #[test]
    fn broken_files_end_and_never_panic() {
        for (form, codec) in FORMS {
            let (data, _) = file(form, codec, Some(AudioCodec::Aac));
            let attempt = |data: &[u8]| {
                let Ok(mut reader) = FileReader::open(form, &mut &data[..]) else { return };
                let (mut source, mut units) = (data, Vec::new());
                for _ in 0..10_000 {
                    if !matches!(reader.read(&mut source, &mut units), Ok(true)) {
                        return;
                    }
                }
                panic!("it never ends");
            };
            for cut in (0..data.len()).step_by(37) {
                attempt(&data[..cut]);
            }
            let mut state = 7_u64;
            for _ in 0..2000 {
                let mut broken = data.clone();
                for _ in 0..4 {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = (state >> 33) as usize % broken.len().min(4000);
                    broken[at] = (state >> 20) as u8;
                }
                attempt(&broken);
            }
        }
    }
}
