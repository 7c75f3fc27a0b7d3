//! Walks the tags of an FLV file: header to header, each confirmed by the size that stands behind it.

use super::{Found, Want, scan::HEAD_MAX};
use crate::media::Ticks;

const FILE_HEADER_SIZE: u64 = 13;
const TAG_HEADER_SIZE: usize = 11;
/// A tag's header and what tells a frame from a sequence header.
const LOOK: usize = TAG_HEADER_SIZE + 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The file's header.
    Begin,
    /// The header of the tag at this offset.
    Tag(u64),
    /// The end of the tag that ends here, and the header of the next.
    End(u64, Tag),
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Tag {
    start: u64,
    size: u32,
    millis: u32,
    content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Key,
    Picture,
    Sound,
    Other,
}

#[derive(Debug)]
pub(super) struct FlvScan {
    size: u64,
    step: Step,
    pub(super) found: Found,
    /// Tags before the first frame were all headers so far.
    in_head: bool,
    has_video: bool,
    picture: Option<(Ticks, Ticks)>,
}

impl FlvScan {
    pub(super) fn new(size: u64) -> Self {
        let (step, found) = (Step::Begin, Found::new());
        Self { size, step, found, in_head: true, has_video: false, picture: None }
    }

    pub(super) fn want(&self) -> Option<Want> {
        match self.step {
            Step::Begin => Some(Want { offset: 0, length: FILE_HEADER_SIZE as usize }),
            Step::Tag(offset) => Some(Want { offset, length: LOOK }),
            Step::End(end, _) => Some(Want { offset: end, length: 4 + LOOK }),
            Step::Done => None,
        }
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        self.step = match self.step {
            Step::Begin if bytes.len() == FILE_HEADER_SIZE as usize && bytes.starts_with(b"FLV\x01") => {
                self.has_video = bytes[4] & 1 == 1;
                self.found.size = FILE_HEADER_SIZE;
                Step::Tag(FILE_HEADER_SIZE)
            }
            Step::Tag(start) => self.tag(start, bytes),
            Step::End(end, tag) => match bytes.split_first_chunk() {
                Some((size, next)) if u32::from_be_bytes(*size) == tag.size => {
                    self.accept(end + 4, tag);
                    self.tag(end + 4, next)
                }
                _ => Step::Done,
            },
            Step::Begin | Step::Done => Step::Done,
        };
    }

    /// Reads the header at `start`; the tag counts once its end was seen.
    fn tag(&self, start: u64, bytes: &[u8]) -> Step {
        let Some((&[kind, s2, s1, s0, t2, t1, t0, t3, 0, 0, 0], rest)) = bytes.split_first_chunk() else {
            return Step::Done;
        };
        let size = TAG_HEADER_SIZE as u32 + u32::from_be_bytes([0, s2, s1, s0]);
        let end = start + u64::from(size);
        let Some(content) = content(kind, rest).filter(|_| end + 4 <= self.size) else { return Step::Done };
        Step::End(end, Tag { start, size, millis: u32::from_be_bytes([t3, t2, t1, t0]), content })
    }

    fn accept(&mut self, end: u64, tag: Tag) {
        let begun = self.found.frames > 0;
        let at = Ticks::from_millis(tag.millis.into());
        match tag.content {
            Content::Other => {
                if self.in_head && end <= HEAD_MAX as u64 {
                    self.found.head = end as usize;
                }
                self.found.size = end;
                return;
            }
            Content::Sound if !begun && self.has_video => {}
            Content::Picture if !begun => {}
            Content::Key | Content::Picture => {
                let lasted = self.picture.map_or(Ticks(0), |(before, _)| at - before);
                self.picture = Some((at, lasted));
                if tag.content == Content::Key {
                    self.found.index.push(at, tag.start);
                }
                self.found.frames += 1;
            }
            Content::Sound => self.found.frames += 1,
        }
        self.in_head = false;
        self.found.size = end;
        self.found.last = self.found.last.max(at);
        let picture = self.picture.map_or(Ticks(0), |(at, lasted)| at + lasted);
        self.found.duration = self.found.last.max(picture);
    }
}

/// What a tag holds; `None` if it is none.
fn content(kind: u8, body: &[u8]) -> Option<Content> {
    Some(match (kind, body) {
        // Enhanced RTMP: CodedFrames and CodedFramesX.
        (9, &[first, ..]) if first & 0x80 != 0 => match (first & 0x0F, first >> 4 & 7) {
            (1 | 3, 1) => Content::Key,
            (1 | 3, _) => Content::Picture,
            _ => Content::Other,
        },
        (9, &[first, 1, ..]) => {
            if first >> 4 == 1 {
                Content::Key
            } else {
                Content::Picture
            }
        }
        // Sound format 10 says in its next byte whether it is a frame or the configuration.
        (8, &[first, 0, ..]) if first >> 4 == 10 => Content::Other,
        // And format 9 in the lower bits of the first one.
        (8, &[first, ..]) if first >> 4 == 9 && first & 0x0F != 1 => Content::Other,
        (8, [_, ..]) => Content::Sound,
        (8 | 9 | 18, _) => Content::Other,
        _ => return None,
    })
}
