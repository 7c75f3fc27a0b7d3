//! Finds the tags in the bytes of an FLV file or stream (§E.2 to §E.4.1).
//!
//! ```text
//! "FLV" version flags offset(4)   size before(4)   kind size(3) time(3) time's high byte id(3) body   size before(4) …
//! ```
//!
//! A tag is handed on when the size behind it agrees. Some writers put nought there, or the size without its header:
//! that is counted, if another tag follows. Else the tag is damaged, and the search begins one byte behind its start
//! for one whose size agrees. A file header between tags begins the stream anew, as behind a proxy that reconnected.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use crate::fault::Fault;

/// What a tag holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    /// Sound.
    Audio,
    /// A picture.
    Video,
    /// Values in AMF, such as onMetaData.
    Script,
}

/// A tag of a stream, or a message of RTMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it holds.
    pub kind: TagKind,
    /// Its timestamp in milliseconds; it wraps.
    pub millis: u32,
    /// What stands behind its header.
    pub body: Bytes,
}

/// Bytes that are no FLV; close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FlvError {
    /// They do not begin with a file header.
    #[error("the bytes are no FLV: they begin with {0:02x?}")]
    NoHeader([u8; 3]),
    /// No tag in 1 MiB.
    #[error("no FLV tag in {} bytes", GIVE_UP)]
    Lost,
}

/// What the bytes contained.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The file header: whether it announces sound.
    Header { audio: bool },
    /// A whole tag.
    Tag(Tag),
    /// A whole tag with a wrong size behind it.
    OddTag(Tag),
    /// Bytes were skipped for this reason, and with them perhaps a picture.
    Gap(Fault),
}

const HEADER: usize = 9;
const TAG_HEADER: usize = 11;
const BACK_POINTER: usize = 4;
/// A file header may be so long.
const OFFSET_MAX: usize = 1024;
/// So many bytes without a tag are no FLV.
const GIVE_UP: usize = 1 << 20;

/// Where the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a file header.
    Header,
    /// Before a tag.
    Tag,
    /// In a tag that is too big: so many bytes of it, and of the size behind it, are still to come.
    TooBig(usize),
    /// Looking for a tag: so many bytes were skipped.
    Search(usize),
}

/// What stands at the front of the buffer.
enum Front {
    More,
    Tag,
    OddTag,
    TooBig(usize),
    Header,
    Nonsense,
}

/// Splits bytes into tags. It holds at most one incomplete tag and what was handled last.
#[derive(Debug)]
pub(crate) struct Splitter {
    buffer: BytesMut,
    state: State,
    body_max: usize,
}

impl Splitter {
    /// Before the first byte. A tag with a larger body than `body_max` is skipped.
    pub(crate) fn new(body_max: usize) -> Self {
        Self { buffer: BytesMut::new(), state: State::Header, body_max }
    }

    /// Takes the next bytes; call `poll` afterwards until it gives nothing.
    pub(crate) fn handle_bytes(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next piece, or `None` until more bytes come. After an error there is nothing more.
    pub(crate) fn poll(&mut self) -> Result<Option<Piece>, FlvError> {
        loop {
            let searched = match self.state {
                State::Header => return self.header(),
                State::TooBig(0) => {
                    self.state = State::Tag;
                    None
                }
                State::TooBig(left) => {
                    let now = left.min(self.buffer.len());
                    if now == 0 {
                        return Ok(None);
                    }
                    self.buffer.advance(now);
                    self.state = State::TooBig(left - now);
                    continue;
                }
                State::Tag => None,
                State::Search(skipped) => Some(skipped),
            };
            match (front(&self.buffer, self.body_max), searched) {
                (Front::More, _) => return Ok(None),
                (Front::Header, None) => self.state = State::Header,
                (Front::Tag, None) => return Ok(Some(Piece::Tag(self.take()))),
                (Front::OddTag, None) => return Ok(Some(Piece::OddTag(self.take()))),
                (Front::TooBig(size), None) => {
                    self.state = State::TooBig(size);
                    return Ok(Some(Piece::Gap(Fault::FrameTooBig)));
                }
                (Front::Header | Front::Tag, Some(_)) => {
                    self.state = State::Tag;
                    return Ok(Some(Piece::Gap(Fault::Resync)));
                }
                (Front::Nonsense | Front::OddTag | Front::TooBig(_), searched) => {
                    let skipped = searched.unwrap_or(0) + 1;
                    if skipped > GIVE_UP {
                        return Err(FlvError::Lost);
                    }
                    self.buffer.advance(1);
                    self.state = State::Search(skipped);
                }
            }
        }
    }

    fn header(&mut self) -> Result<Option<Piece>, FlvError> {
        let Some(&start) = self.buffer.first_chunk::<3>() else { return Ok(None) };
        if start != *b"FLV" {
            return Err(FlvError::NoHeader(start));
        }
        let Some(&[_, _, _, _, flags, a, b, c, d]) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let offset = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(HEADER..=OFFSET_MAX).contains(&offset) {
            return Err(FlvError::NoHeader(start));
        }
        // The size of the tag before the first one: nought, but some writers leave it out.
        let Some(&behind) = self.buffer.get(offset..).and_then(<[u8]>::first_chunk::<BACK_POINTER>) else {
            return Ok(None);
        };
        let left_out = kind(behind[0]).is_some();
        self.buffer.advance(if left_out { offset } else { offset + BACK_POINTER });
        self.state = State::Tag;
        Ok(Some(Piece::Header { audio: flags & 4 != 0 }))
    }

    /// Takes the whole tag off the front. Its body is copied, so that a small one does not keep the buffer alive.
    fn take(&mut self) -> Tag {
        let tag = self.buffer.split_to(TAG_HEADER + body_len(&self.buffer) + BACK_POINTER);
        let millis = u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]);
        let body = Bytes::copy_from_slice(&tag[TAG_HEADER..tag.len() - BACK_POINTER]);
        Tag { kind: kind(tag[0]).unwrap_or(TagKind::Script), millis, body }
    }
}

/// What stands at the front of `data`.
fn front(data: &[u8], body_max: usize) -> Front {
    const FILE: [u8; 4] = *b"FLV\x01";
    if data.is_empty() {
        return Front::More;
    }
    if FILE.starts_with(&data[..data.len().min(FILE.len())]) {
        return match *data {
            [_, _, _, _, flags, 0, 0, 0, 9, ..] if flags & !5 == 0 => Front::Header,
            _ if data.len() >= HEADER => Front::Nonsense,
            _ => Front::More,
        };
    }
    if !begins_tag(data) {
        return Front::Nonsense;
    }
    if data.len() < TAG_HEADER {
        return Front::More;
    }
    let body = body_len(data);
    let whole = TAG_HEADER + body + BACK_POINTER;
    if body > body_max {
        return Front::TooBig(whole);
    }
    let Some((tag, behind)) = data.split_at_checked(whole) else { return Front::More };
    let [.., a, b, c, d] = *tag else { return Front::Nonsense };
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    if size == TAG_HEADER + body {
        Front::Tag
    } else if size == 0 || size == body || (behind.len() >= TAG_HEADER && begins_tag(behind)) {
        Front::OddTag
    } else if begins_tag(behind) {
        Front::More
    } else {
        Front::Nonsense
    }
}

/// Whether `data`, as far as it goes, is the header of a tag: of a known kind, not encrypted, stream id nought.
fn begins_tag(data: &[u8]) -> bool {
    data.first().is_none_or(|&first| kind(first).is_some())
        && data.iter().take(TAG_HEADER).skip(8).all(|&byte| byte == 0)
}

fn kind(byte: u8) -> Option<TagKind> {
    match byte {
        8 => Some(TagKind::Audio),
        9 => Some(TagKind::Video),
        15 | 18 => Some(TagKind::Script), // AMF3 and AMF0
        _ => None,
    }
}

fn body_len(header: &[u8]) -> usize {
    u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";

    fn tag(kind: u8, body: &[u8], size: usize) -> Vec<u8> {
        let [_, s2, s1, s0] = (body.len() as u32).to_be_bytes();
        [&[kind, s2, s1, s0, 2, 3, 4, 1, 0, 0, 0], body, &(size as u32).to_be_bytes()].concat()
    }

    fn good(kind: u8, body: &[u8]) -> Vec<u8> {
        tag(kind, body, 11 + body.len())
    }

    /// What comes out of `parts`, in short: `H`, `T` and `O` with the first byte of the body, `G` with the fault.
    fn read(parts: &[&[u8]]) -> Result<Vec<String>, FlvError> {
        let mut splitter = Splitter::new(1000);
        let mut seen = vec![];
        for part in parts {
            splitter.handle_bytes(part);
            while let Some(piece) = splitter.poll()? {
                seen.push(match piece {
                    Piece::Header { audio } => format!("H{}", u8::from(audio)),
                    Piece::Tag(tag) => format!("T{}", tag.body.first().copied().unwrap_or(0)),
                    Piece::OddTag(tag) => format!("O{}", tag.body[0]),
                    Piece::Gap(fault) => format!("G{}", fault.name()),
                });
            }
        }
        Ok(seen)
    }

    #[test]
    fn tags_come_out_with_kind_time_and_body() {
        let mut splitter = Splitter::new(1000);
        splitter.handle_bytes(&[FILE, &good(9, &[1, 2, 3])].concat());
        assert_eq!(splitter.poll(), Ok(Some(Piece::Header { audio: true })));
        let body = Bytes::from_static(&[1, 2, 3]);
        assert_eq!(
            splitter.poll(),
            Ok(Some(Piece::Tag(Tag { kind: TagKind::Video, millis: 0x0102_0304, body })))
        );
        assert_eq!(splitter.poll(), Ok(None));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let bytes = [
            FILE,
            &good(8, &[]),
            &tag(9, &[1; 30], 0),
            b"\x09junk",
            &good(9, &[2; 20]),
            FILE,
            &good(18, &[3]),
        ];
        let bytes = bytes.concat();
        let whole = read(&[&bytes]).unwrap();
        assert_eq!(whole, ["H1", "T0", "O1", "Gresync", "T2", "H1", "T3"]);
        for size in 1..bytes.len() {
            assert_eq!(read(&bytes.chunks(size).collect::<Vec<_>>()).unwrap(), whole, "pieces of {size}");
        }
    }

    #[test]
    fn wrong_sizes_behind_tags_are_borne_if_a_tag_follows() {
        for wrong in [0, 5, 3, 77] {
            let odd = tag(9, &[1; 5], wrong);
            let seen = read(&[FILE, &odd, &good(8, &[2])]).unwrap();
            assert_eq!(seen, ["H1", "O1", "T2"], "size {wrong}");
        }
    }

    #[test]
    fn a_damaged_tag_is_dropped_and_the_next_whole_one_found() {
        let lost = &good(9, &[1; 500])[..300];
        let seen = read(&[FILE, &good(8, &[7]), lost, &good(9, &[2; 50]), &good(9, &[3; 300])]).unwrap();
        assert_eq!(seen, ["H1", "T7", "Gresync", "T2", "T3"]);
        let seen = read(&[FILE, lost, FILE, &good(9, &[3; 900])]).unwrap();
        assert_eq!(seen, ["H1", "Gresync", "H1", "T3"]);
    }

    #[test]
    fn a_tag_that_is_too_big_is_stepped_over() {
        let big = good(9, &[1; 5000]);
        let mut splitter = Splitter::new(1000);
        splitter.handle_bytes(FILE);
        assert!(matches!(splitter.poll(), Ok(Some(Piece::Header { .. }))));
        for piece in big.chunks(100) {
            splitter.handle_bytes(piece);
            while splitter.poll().unwrap().is_some() {}
            assert!(splitter.buffer.len() < 200);
        }
        splitter.handle_bytes(&good(8, &[2]));
        assert!(matches!(splitter.poll(), Ok(Some(Piece::Tag(_)))));
    }

    #[test]
    fn what_is_no_flv_is_refused() {
        assert_eq!(read(&[b"<ht", b"ml>"]), Err(FlvError::NoHeader(*b"<ht")));
        assert_eq!(read(&[b"FLV\x01\x05\xFF\xFF\xFF\xFF"]), Err(FlvError::NoHeader(*b"FLV")));
        assert_eq!(read(&[FILE, &vec![0x55; GIVE_UP + 1]]), Err(FlvError::Lost));
        assert_eq!(read(&[FILE, &vec![8; GIVE_UP + 2000]]), Err(FlvError::Lost));
    }

    #[test]
    fn long_headers_and_a_missing_first_size_are_read() {
        let long = b"FLV\x01\x01\0\0\0\x0C\xAA\xAA\xAA\0\0\0\0";
        assert_eq!(read(&[long, &good(9, &[1])]).unwrap(), ["H0", "T1"]);
        assert_eq!(read(&[&FILE[..9], &good(9, &[1])]).unwrap(), ["H1", "T1"]);
    }
}
