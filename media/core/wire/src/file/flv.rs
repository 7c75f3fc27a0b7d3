//! What an FLV file has beyond a live FLV: `duration`, `filesize` and `keyframes` in onMetaData, where players look
//! for them, with room for the key frames to come.
//!
//! ```text
//! onMetaData { width …, duration, filesize, keyframes { filepositions [n], times [n] }, spacer "   …" }
//! ```
//! As many spacers follow as make the whole as long as it was reserved: ffmpeg reads no text of more than 1,023 bytes.

use memchr::memmem;

use super::{Index, Summary, put_at};
use crate::{
    flv::{FlvMuxer, FlvOptions},
    media::{Ticks, Tracks},
};

/// Bytes before the first tag, and those of a tag's header.
const FILE_HEADER_SIZE: usize = 13;
const TAG_HEADER_SIZE: usize = 11;

/// An entry takes a number in each of two arrays.
const ENTRY_SIZE: usize = 2 * 9;

pub(super) const DURATION: &[u8] = b"\0\x08duration\0";
const FILE_SIZE: &[u8] = b"\0\x08filesize\0";
const KEY_FRAMES: &[u8] = b"\0\x09keyframes\x03";
pub(super) const POSITIONS: &[u8] = b"\0\x0Dfilepositions\x0A";
pub(super) const TIMES: &[u8] = b"\0\x05times\x0A";
const OBJECT_END: &[u8] = &[0, 0, 9];
const SPACER: &[u8] = b"\0\x06spacer\x02";
/// Bytes of a spacer with its name.
const SPACER_MAX: usize = 512;
/// `keyframes` and an empty `spacer`, without entries.
const INDEX_SIZE: usize =
    KEY_FRAMES.len() + POSITIONS.len() + 4 + TIMES.len() + 4 + OBJECT_END.len() + SPACER.len() + 2;

/// The head of a file whose index may grow to `capacity` entries.
pub(super) fn head(tracks: &Tracks, capacity: usize) -> Vec<u8> {
    let mut properties = Vec::with_capacity(128 + capacity * ENTRY_SIZE);
    for name in [DURATION, FILE_SIZE] {
        properties.extend_from_slice(name);
        properties.extend_from_slice(&0_f64.to_be_bytes());
    }
    let nothing = Summary { duration: Ticks(0), size: 0, entries: &[] };
    let room = INDEX_SIZE + capacity.min(Index::CAPACITY_MAX) * ENTRY_SIZE;
    properties.extend_from_slice(&index(&nothing, room).unwrap_or_default());
    FlvMuxer::new(FlvOptions::default()).head_with(tracks, &properties)
}

/// Writes the summary into `head`.
pub(super) fn patch(head: &mut [u8], summary: &Summary<'_>) {
    let Some(script) = script_mut(head) else { return };
    if let Some(at) = memmem::find(script, DURATION) {
        put_at(script, at + DURATION.len(), &seconds(summary.duration).to_be_bytes());
    }
    #[expect(clippy::cast_precision_loss, reason = "AMF has doubles only")]
    if let Some(at) = memmem::find(script, FILE_SIZE) {
        put_at(script, at + FILE_SIZE.len(), &(summary.size as f64).to_be_bytes());
    }
    if let Some(at) = memmem::find(script, KEY_FRAMES)
        && let Some(room) = script.len().checked_sub(at + OBJECT_END.len())
        && let Some(index) = index(summary, room)
    {
        put_at(script, at, &index);
    }
}

/// The content of the script tag that follows the file's header.
fn script_mut(head: &mut [u8]) -> Option<&mut [u8]> {
    let &[18, s2, s1, s0, ..] = head.get(FILE_HEADER_SIZE..)? else { return None };
    let size = u32::from_be_bytes([0, s2, s1, s0]) as usize;
    let start = FILE_HEADER_SIZE + TAG_HEADER_SIZE;
    head.get_mut(start..start + size)
}

/// `keyframes` and spacers, `room` bytes together; `None` if that cannot be. Entries that do not fit are left out.
fn index(summary: &Summary<'_>, room: usize) -> Option<Vec<u8>> {
    let capacity = room.checked_sub(INDEX_SIZE)? / ENTRY_SIZE;
    let entries = &summary.entries[..summary.entries.len().min(capacity)];
    let count = (entries.len() as u32).to_be_bytes();
    let mut out = Vec::with_capacity(room);
    out.extend_from_slice(KEY_FRAMES);
    out.extend_from_slice(POSITIONS);
    out.extend_from_slice(&count);
    #[expect(clippy::cast_precision_loss, reason = "AMF has doubles only")]
    for entry in entries {
        put_number(&mut out, entry.offset as f64);
    }
    out.extend_from_slice(TIMES);
    out.extend_from_slice(&count);
    for entry in entries {
        put_number(&mut out, seconds(entry.at));
    }
    out.extend_from_slice(OBJECT_END);
    let rest = room - out.len();
    let count = rest.div_ceil(SPACER_MAX);
    for number in 0..count {
        let size = rest / count + usize::from(number < rest % count);
        let spaces = size - SPACER.len() - 2;
        out.extend_from_slice(SPACER);
        out.extend_from_slice(&(spaces as u16).to_be_bytes());
        out.resize(out.len() + spaces, b' ');
    }
    Some(out)
}

fn put_number(out: &mut Vec<u8>, number: f64) {
    out.push(0);
    out.extend_from_slice(&number.to_be_bytes());
}

#[expect(clippy::cast_precision_loss, reason = "AMF has doubles only")]
fn seconds(time: Ticks) -> f64 {
    time.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        file::Entry,
        media::{AudioCodec, VideoCodec},
        testing,
    };

    fn number_behind(data: &[u8], name: &[u8]) -> [u8; 8] {
        let at = memmem::find(data, name).expect("it is there") + name.len();
        data[at..at + 8].try_into().expect("eight bytes")
    }

    #[test]
    fn the_head_keeps_its_size_whatever_is_written_into_it() {
        let tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac));
        let before = head(&tracks, 10);
        let entries: Vec<_> =
            (0..12).map(|n| Entry { at: Ticks(n * 90_000), offset: 1000 * n.cast_unsigned() }).collect();
        for count in [0, 1, 10, 12] {
            let mut after = before.clone();
            patch(
                &mut after,
                &Summary { duration: Ticks(90_000 * 12), size: 12_345, entries: &entries[..count] },
            );
            let tags = testing::flv_tags(&after[13..]);
            assert_eq!(tags.iter().map(|tag| tag.kind).collect::<Vec<_>>(), [18, 9, 8]);
            assert_eq!(tags[0].data[tags[0].data.len() - 3..], *OBJECT_END);
            assert_eq!(number_behind(&after, DURATION), 12_f64.to_be_bytes());
            assert_eq!(number_behind(&after, FILE_SIZE), 12_345_f64.to_be_bytes());
            let at = memmem::find(&after, POSITIONS).expect("positions") + POSITIONS.len();
            let kept = count.min(10);
            assert_eq!(after[at..at + 4], (kept as u32).to_be_bytes());
            // Patched again it is what it would have been at once: the room is known from the bytes alone.
            patch(&mut after, &Summary { duration: Ticks(0), size: 0, entries: &[] });
            assert_eq!(after, before);
        }
    }

    #[test]
    fn spacers_fill_any_room() {
        let nothing = Summary { duration: Ticks(0), size: 0, entries: &[] };
        for room in (INDEX_SIZE..3 * SPACER_MAX).chain([INDEX_SIZE + Index::CAPACITY_MAX * ENTRY_SIZE]) {
            let index = index(&nothing, room).expect("there is room");
            assert_eq!(index.len(), room);
            let spacers: Vec<_> = memmem::find_iter(&index, SPACER).collect();
            for (at, end) in spacers.iter().zip(spacers.iter().skip(1).chain([&room])) {
                let behind = at + SPACER.len();
                let length = usize::from(u16::from_be_bytes([index[behind], index[behind + 1]]));
                assert_eq!((behind + 2 + length, length < 512), (*end, true));
            }
        }
        assert!(index(&nothing, INDEX_SIZE - 1).is_none());
    }

    #[test]
    fn a_foreign_head_is_left_alone() {
        let summary = Summary { duration: Ticks(1), size: 1, entries: &[] };
        let live = FlvMuxer::new(FlvOptions::default()).head(&testing::tracks(VideoCodec::H264, None));
        for length in 0..live.len() {
            let mut cut = live[..length].to_vec();
            patch(&mut cut, &summary);
            assert_eq!(cut, live[..length]);
        }
        let whole = head(&testing::tracks(VideoCodec::H264, None), 3);
        (0..whole.len()).for_each(|length| patch(&mut whole[..length].to_vec(), &summary));
    }
}
