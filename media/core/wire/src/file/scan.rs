//! How much of a file that a crash left is whole. Nothing in it is believed: a size counts only if what stands there
//! fits, and the file is read a few bytes at a time, wherever the scan wants them next.

use super::{Form, Index, Summary, flv_scan::FlvScan, fmp4_scan::Fmp4Scan};
use crate::media::Ticks;

/// Bytes that the scan wants to see next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Bytes since the file's beginning; rises from want to want.
    pub offset: u64,
    /// At most so many; fewer only at the file's end.
    pub length: usize,
}

/// What was found to be whole.
#[derive(Debug, Clone)]
pub struct Found {
    /// Bytes to keep.
    pub size: u64,
    /// Bytes at the front, to read, patch with `Summary` and write back; never more than 1 MiB.
    pub head: usize,
    /// Pictures and runs of sound.
    pub frames: u64,
    /// From the file's zero to its last frame, in fMP4 its last picture.
    pub last: Ticks,
    /// From the file's zero to its end.
    pub duration: Ticks,
    /// Key frames.
    pub index: Index,
}

impl Found {
    pub(super) fn new() -> Self {
        let (last, duration) = (Ticks(0), Ticks(0));
        Self { size: 0, head: 0, frames: 0, last, duration, index: Index::new(Index::CAPACITY_MAX) }
    }

    /// What to write into the head.
    pub fn summary(&self) -> Summary<'_> {
        let entries = self.index.entries_below(self.size);
        Summary { duration: self.duration, size: self.size, entries }
    }
}

/// A head is never longer: the index of both forms has at most 3,600 entries.
pub(super) const HEAD_MAX: usize = 1 << 20;

/// Scans one file.
#[derive(Debug)]
pub struct Scan(Kind);

#[derive(Debug)]
enum Kind {
    Flv(FlvScan),
    Fmp4(Fmp4Scan),
}

impl Scan {
    /// Scans a file of this form with `size` bytes.
    pub fn new(form: Form, size: u64) -> Self {
        Self(match form {
            Form::Flv => Kind::Flv(FlvScan::new(size)),
            Form::Fmp4 => Kind::Fmp4(Fmp4Scan::new(size)),
        })
    }

    /// What it wants to see, or `None` if it saw enough.
    pub fn want(&self) -> Option<Want> {
        match &self.0 {
            Kind::Flv(scan) => scan.want(),
            Kind::Fmp4(scan) => scan.want(),
        }
    }

    /// Takes the bytes that it wanted; fewer mean that the file ends there.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Flv(scan) => scan.handle_bytes(bytes),
            Kind::Fmp4(scan) => scan.handle_bytes(bytes),
        }
    }

    /// What is whole; `None` if that holds no frame.
    pub fn finish(self) -> Option<Found> {
        let found = match self.0 {
            Kind::Flv(scan) => scan.found,
            Kind::Fmp4(scan) => scan.found,
        };
        Some(found).filter(|found| found.frames > 0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        file::FileMuxer,
        media::{AudioCodec, VideoCodec},
        testing,
    };

    /// Scans bytes in memory; checks that it goes forward, and bounds what it reads at once.
    pub fn scan(form: Form, data: &[u8]) -> Option<Found> {
        let mut scan = Scan::new(form, data.len() as u64);
        let mut before = None;
        while let Some(want) = scan.want() {
            assert!(before < Some(want.offset) && want.length <= HEAD_MAX, "{want:?} after {before:?}");
            before = Some(want.offset);
            let start = usize::try_from(want.offset).expect("small").min(data.len());
            scan.handle_bytes(&data[start..(start + want.length).min(data.len())]);
        }
        scan.finish()
    }

    const FORMS: [(Form, VideoCodec); 4] = [
        (Form::Flv, VideoCodec::H264),
        (Form::Flv, VideoCodec::H265),
        (Form::Fmp4, VideoCodec::H264),
        (Form::Fmp4, VideoCodec::H265),
    ];

    /// A file of three GOPs with sound, and its end after each unit.
    fn file(form: Form, codec: VideoCodec) -> (Vec<u8>, Vec<(usize, u64)>, FileMuxer) {
        let tracks = Arc::new(testing::tracks(codec, Some(AudioCodec::Aac)));
        let mut muxer = FileMuxer::in_form(form, &tracks, Ticks(0), 16);
        let mut data = muxer.head().to_vec();
        let mut ends = vec![(data.len(), 0)];
        for number in 0..15 {
            let at = number * 40;
            let mut out = Vec::new();
            muxer.write(&testing::video(&tracks, at, at + 80, number % 5 == 0), &mut out);
            muxer.write(&testing::audio(&tracks, at + 10, 50), &mut out);
            muxer.flush(&mut out);
            for chunk in &out {
                data.extend_from_slice(&chunk.to_bytes());
                let carried = if form == Form::Flv { 1 } else { 2 };
                ends.push((data.len(), ends.last().map_or(0, |end| end.1) + carried));
            }
        }
        muxer.finish(None, &mut Vec::new());
        (data, ends, muxer)
    }

    #[test]
    fn cut_anywhere_what_was_whole_before_is_found() {
        for (form, codec) in FORMS {
            let (data, ends, _) = file(form, codec);
            for cut in 0..=data.len() {
                let (size, frames) = *ends.iter().rev().find(|(end, _)| *end <= cut).unwrap_or(&(0, 0));
                let found = scan(form, &data[..cut]);
                let got = found.as_ref().map_or((0, 0), |found| (found.size as usize, found.frames));
                assert_eq!(
                    got,
                    if frames == 0 { (0, 0) } else { (size, frames) },
                    "{form:?} {codec:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn a_salvaged_whole_file_is_the_one_that_would_have_been_closed() {
        for (form, codec) in FORMS {
            let (mut data, _, muxer) = file(form, codec);
            let found = scan(form, &data).expect("frames");
            // Of fMP4 the pictures' times alone are looked at.
            let last = if form == Form::Flv { 570 } else { 560 };
            assert_eq!((found.frames, found.last.as_millis()), (30, last));
            assert_eq!(found.head, muxer.head().len());
            let mut head = data[..found.head].to_vec();
            found.summary().write_into(form, &mut head);
            assert_eq!(head, muxer.finished_head(data.len() as u64, muxer.duration()), "{form:?} {codec:?}");
            data[..head.len()].copy_from_slice(&head);
            assert_eq!(scan(form, &data).expect("frames").frames, 30, "a closed file can be scanned too");
        }
    }

    #[test]
    fn zeros_where_the_disk_had_nothing_yet_end_it() {
        for (form, codec) in FORMS {
            let (data, ends, _) = file(form, codec);
            let (end, frames) = ends[ends.len() / 2];
            let torn = [&data[..end], &vec![0; 5000][..]].concat();
            let found = scan(form, &torn).expect("frames");
            assert_eq!((found.size as usize, found.frames), (end, frames));
        }
    }

    #[test]
    fn an_empty_moof_is_none() {
        let (data, ends, _) = file(Form::Fmp4, VideoCodec::H265);
        let end = ends[3].0;
        let found = scan(Form::Fmp4, &[&data[..end], b"\0\0\0\x08moof", &data[end..]].concat());
        assert_eq!(found.expect("frames").size, end as u64);
    }

    #[test]
    fn nonsense_is_no_file() {
        for form in [Form::Flv, Form::Fmp4] {
            for data in [&[][..], b"FLV", &[0; 100], &[0xFF; 100], b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x09"] {
                assert!(scan(form, data).is_none());
            }
        }
    }
}
