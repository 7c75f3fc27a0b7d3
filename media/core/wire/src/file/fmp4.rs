//! What an fMP4 file has beyond live segments: its length in `mehd`, and a segment index (`sidx`, ISO/IEC 14496-12
//! §8.16.3) over the fragments that begin with a key frame, in a place that is `free` until the end.

use bytes::{BufMut, BytesMut};

use super::{Index, Summary, put_at};
use crate::{
    fmp4::{self, Heading},
    media::{Ticks, Tracks},
};

const BOX_HEADER_SIZE: usize = 8;
/// `mehd` of version 1.
const MEHD_SIZE: usize = 20;
/// A `sidx` of version 1 without references.
const SIDX_SIZE: usize = 40;
const REFERENCE_SIZE: usize = 12;
/// `starts_with_SAP`, `SAP_type` 1: the subsegment begins with a key frame.
const BEGINS_WITH_KEY_FRAME: u32 = 0x9000_0000;

/// The head of a file whose index may grow to `capacity` entries.
pub(super) fn head(tracks: &Tracks, capacity: usize) -> Vec<u8> {
    let room = SIDX_SIZE + capacity.min(Index::CAPACITY_MAX) * REFERENCE_SIZE;
    let mut out = BytesMut::with_capacity(1024 + room);
    let heading = Heading { timed: true, ..Heading::default() };
    fmp4::put_init(&mut out, tracks, heading);
    fmp4::put_box(&mut out, *b"free", |out| out.put_bytes(0, room));
    out.into()
}

/// Writes the summary into `head`, whose end behind `moov` is reserved.
pub(super) fn patch(head: &mut [u8], summary: &Summary<'_>) {
    let Some(moov) = boxes(head, 0, head.len()).filter(|found| found.name == *b"moov").last() else { return };
    let within = |outer: &Found, name: &[u8; 4]| {
        boxes(head, outer.start + BOX_HEADER_SIZE, outer.end).find(|found| found.name == *name)
    };
    let length = within(&moov, b"mvex").and_then(|mvex| within(&mvex, b"mehd"));
    // Once patched, the index stands there already, and `free` behind it.
    let is_reserved = |found: Found| matches!(&found.name, b"free" | b"sidx");
    let reserved = boxes(head, moov.end, head.len()).all(is_reserved).then_some(moov.end);
    if let Some(mehd) = length.filter(|mehd| mehd.end - mehd.start == MEHD_SIZE) {
        put_at(head, mehd.end - 8, &summary.duration.as_millis().to_be_bytes());
    }
    if let Some(reserved) = reserved
        && let Some(index) = index(summary, head.len() as u64, head.len() - reserved)
    {
        put_at(head, reserved, &index);
    }
}

struct Found {
    name: [u8; 4],
    start: usize,
    end: usize,
}

/// The boxes that stand whole between two offsets.
fn boxes(data: &[u8], mut start: usize, end: usize) -> impl Iterator<Item = Found> {
    std::iter::from_fn(move || {
        let header: &[u8; BOX_HEADER_SIZE] = data.get(start..end)?.first_chunk()?;
        let [s3, s2, s1, s0, name @ ..] = *header;
        let size = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
        let found = Found { name, start, end: start.checked_add(size)? };
        start = found.end;
        (size >= BOX_HEADER_SIZE && found.end <= end).then_some(found)
    })
}

/// `sidx`, and `free` for the rest of `room`; `None` if there is nothing to refer to, or it cannot be said in `sidx`.
/// `begin` is where the first fragment stands.
fn index(summary: &Summary<'_>, begin: u64, room: usize) -> Option<BytesMut> {
    let capacity = room.checked_sub(SIDX_SIZE + BOX_HEADER_SIZE)? / REFERENCE_SIZE;
    let entries = &summary.entries[..summary.entries.len().min(capacity)];
    let first = entries.first().filter(|entry| entry.offset == begin)?;
    let size = SIDX_SIZE + entries.len() * REFERENCE_SIZE;
    let mut out = BytesMut::with_capacity(room);
    fmp4::put_full_box(&mut out, *b"sidx", 1, 0, |out| {
        out.put_u32(fmp4::VIDEO_ID);
        out.put_u32(Ticks::PER_SECOND as u32);
        out.put_i64(first.at.0);
        out.put_u64((room - size) as u64); // from here to the first fragment
        out.put_u16(0);
        out.put_u16(entries.len() as u16);
        let ends = entries.iter().skip(1).map(|entry| (entry.at, entry.offset));
        for (entry, (end, end_offset)) in entries.iter().zip(ends.chain([(summary.duration, summary.size)])) {
            let bytes = end_offset.checked_sub(entry.offset).filter(|bytes| *bytes < 1 << 31)?;
            let length = u32::try_from((end - entry.at).0).ok()?;
            out.put_u32(bytes as u32);
            out.put_u32(length);
            out.put_u32(BEGINS_WITH_KEY_FRAME);
        }
        Some(())
    })?;
    let rest = room - size;
    fmp4::put_box(&mut out, *b"free", |out| out.put_bytes(0, rest - BOX_HEADER_SIZE));
    Some(out)
}

#[cfg(test)]
mod tests {
    use memchr::memmem;

    use super::*;
    use crate::{file::Entry, media::VideoCodec, testing};

    #[test]
    fn the_index_takes_the_place_that_was_free() {
        let tracks = testing::tracks(VideoCodec::H265, None);
        let before = head(&tracks, 4);
        let begin = before.len() as u64;
        let entries: Vec<_> = (0..6)
            .map(|n| Entry { at: Ticks(n * 90_000), offset: begin + 1000 * n.cast_unsigned() })
            .collect();
        for count in 1..=6_usize {
            let mut after = before.clone();
            let size = begin + 6000;
            patch(&mut after, &Summary { duration: Ticks(90_000 * 6), size, entries: &entries[..count] });
            assert_eq!(after.len(), before.len());
            let at = memmem::find(&after, b"sidx").expect("an index") - 4;
            let kept = count.min(4);
            let word = |at: usize| u32::from_be_bytes(after[at..at + 4].try_into().expect("four bytes"));
            assert_eq!(word(at) as usize, SIDX_SIZE + kept * REFERENCE_SIZE);
            assert_eq!(word(at + 36) as usize, kept);
            let references = (0..kept).map(|n| word(at + SIDX_SIZE + n * REFERENCE_SIZE));
            assert_eq!(u64::from(references.sum::<u32>()), 6000, "all bytes are referred to");
            let free = at + word(at) as usize;
            assert_eq!((word(free) as usize + free, &after[free + 4..free + 8]), (after.len(), &b"free"[..]));
            let mehd = memmem::find(&after, b"mehd").expect("a length");
            assert_eq!(after[mehd + 8..mehd + 16], 6000_u64.to_be_bytes());
        }
    }

    #[test]
    fn a_foreign_head_is_left_alone() {
        let entries = [Entry { at: Ticks(0), offset: 0 }];
        let summary = Summary { duration: Ticks(1), size: 1, entries: &entries };
        let whole = head(&testing::tracks(VideoCodec::H265, None), 3);
        (0..whole.len()).for_each(|length| patch(&mut whole[..length].to_vec(), &summary));
        let mut zeros = vec![0; 100];
        patch(&mut zeros, &summary);
        assert_eq!(zeros, [0; 100]);
    }
}
