//! Walks the boxes of an fMP4 file: `moov`, then pairs of `moof` and `mdat`, which count once both are whole.

use super::{Found, Want, scan::HEAD_MAX};
use crate::{fmp4, media::Ticks};

const BOX_HEADER_SIZE: usize = 8;
/// A fragment lists its samples in 16 bytes each: far more than a second holds.
const MOOF_MAX: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The header of the box at this offset.
    Header(u64),
    /// All of the `moof` at this offset.
    Moof(u64, usize),
    /// The header of the `mdat` that belongs to the `moof` just read.
    Mdat(u64, Fragment),
    Done,
}

/// What a `moof` says.
#[derive(Debug, Clone, Copy, Default)]
struct Fragment {
    start: u64,
    frames: u64,
    /// Bytes of all samples.
    bytes: u64,
    /// The video's first time, its last picture's, and its end.
    video: Option<(Ticks, Ticks, Ticks)>,
    key: bool,
}

#[derive(Debug)]
pub(super) struct Fmp4Scan {
    size: u64,
    step: Step,
    has_moov: bool,
    pub(super) found: Found,
}

impl Fmp4Scan {
    pub(super) fn new(size: u64) -> Self {
        Self { size, step: Step::Header(0), has_moov: false, found: Found::new() }
    }

    pub(super) fn want(&self) -> Option<Want> {
        match self.step {
            Step::Header(offset) | Step::Mdat(offset, _) => Some(Want { offset, length: BOX_HEADER_SIZE }),
            // Its own header was seen; reading goes on behind it.
            Step::Moof(offset, size) => {
                let length = size - BOX_HEADER_SIZE;
                Some(Want { offset: offset + BOX_HEADER_SIZE as u64, length })
            }
            Step::Done => None,
        }
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        self.step = self.step(bytes).unwrap_or(Step::Done);
    }

    fn step(&mut self, bytes: &[u8]) -> Option<Step> {
        match self.step {
            Step::Header(offset) => {
                let (name, size) = header(bytes)?;
                let end = offset.checked_add(size).filter(|end| *end <= self.size)?;
                match &name {
                    b"moof" if self.has_moov => {
                        let possible = BOX_HEADER_SIZE + 1..=MOOF_MAX;
                        let size = usize::try_from(size).ok().filter(|size| possible.contains(size))?;
                        Some(Step::Moof(offset, size))
                    }
                    b"ftyp" | b"moov" | b"free" | b"sidx" => {
                        self.has_moov |= name == *b"moov";
                        if self.found.frames == 0 && end <= HEAD_MAX as u64 {
                            self.found.head = end as usize;
                        }
                        self.found.size = end;
                        Some(Step::Header(end))
                    }
                    _ => None,
                }
            }
            Step::Moof(offset, size) => {
                let mut fragment = Fragment { start: offset, ..Fragment::default() };
                for (name, track) in boxes(bytes) {
                    if name == *b"traf" {
                        fragment.add(track)?;
                    }
                }
                (bytes.len() == size - BOX_HEADER_SIZE).then_some(Step::Mdat(offset + size as u64, fragment))
            }
            Step::Mdat(offset, fragment) => {
                let (name, size) = header(bytes)?;
                let end = offset.checked_add(size).filter(|end| *end <= self.size)?;
                if name != *b"mdat" || size != BOX_HEADER_SIZE as u64 + fragment.bytes {
                    return None;
                }
                self.accept(end, &fragment);
                Some(Step::Header(end))
            }
            Step::Done => None,
        }
    }

    fn accept(&mut self, end: u64, fragment: &Fragment) {
        self.found.size = end;
        if self.found.frames == 0 && fragment.video.is_some() && !fragment.key {
            return;
        }
        self.found.frames += fragment.frames;
        if let Some((first, last, end)) = fragment.video {
            if fragment.key {
                self.found.index.push(first, fragment.start);
            }
            self.found.last = self.found.last.max(last);
            self.found.duration = self.found.duration.max(end);
        }
    }
}

impl Fragment {
    /// Adds what a `traf` says; `None` if it is not one of ours.
    fn add(&mut self, track: &[u8]) -> Option<()> {
        let (mut id, mut start, mut samples) = (None, None, None);
        for (name, content) in boxes(track) {
            match &name {
                b"tfhd" => id = word(content, 4),
                b"tfdt" => start = content.get(4..)?.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)),
                b"trun" => samples = Some(content),
                _ => {}
            }
        }
        let (start, samples) = (start.filter(|start| (0..1 << 60).contains(start))?, samples?);
        let count = word(samples, 4)?;
        let is_video = id? == fmp4::VIDEO_ID;
        let entry = if is_video { 16 } else { 8 };
        let entries = samples.get(12..)?.chunks_exact(entry);
        if entries.len() != count as usize || count == 0 || !entries.remainder().is_empty() {
            return None;
        }
        let (mut last, mut end) = (start, start);
        self.key |=
            is_video && entries.clone().next().and_then(|first| word(first, 8)) == Some(fmp4::SYNC_SAMPLE);
        for sample in entries {
            last = end;
            end += i64::from(word(sample, 0)?);
            self.bytes += u64::from(word(sample, 4)?);
        }
        self.frames += u64::from(count);
        if is_video {
            self.video = Some((Ticks(start), Ticks(last), Ticks(end)));
        }
        Some(())
    }
}

/// Name and size of a box; a size that our files never have is none.
fn header(bytes: &[u8]) -> Option<([u8; 4], u64)> {
    let (size, name) = bytes.first_chunk::<BOX_HEADER_SIZE>()?.split_at(4);
    let size = word(size, 0).filter(|size| *size >= BOX_HEADER_SIZE as u32)?;
    Some((name.first_chunk().copied()?, size.into()))
}

/// The boxes that stand whole in `data`.
fn boxes(mut data: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (name, size) = header(data)?;
        let (content, rest) = data.split_at_checked(usize::try_from(size).ok()?)?;
        data = rest;
        Some((name, &content[BOX_HEADER_SIZE..]))
    })
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}
