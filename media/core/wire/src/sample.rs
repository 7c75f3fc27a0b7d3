//! An access unit's NAL units as the muxers want them, and as containers deliver them.

use bytes::Bytes;

use crate::{
    media::{AccessUnit, VideoTrack},
    nal::{self, NalKind},
};

/// The unit's data without the delimiter and the parameter sets at its front that `track` announces anyway. Nothing
/// is copied. A set that is not announced stays: without it the picture could not be decoded.
pub(crate) fn without_announced_sets(unit: &AccessUnit, track: &VideoTrack) -> Bytes {
    let mut skipped = 0;
    for nal in nal::length_prefixed(&unit.data) {
        let droppable = match nal::kind(track.codec, nal) {
            NalKind::Delimiter => true,
            NalKind::Set(_) => {
                [&track.vps, &track.sps, &track.pps].into_iter().flatten().any(|set| set == nal)
            }
            _ => false,
        };
        if !droppable {
            break;
        }
        skipped += 4 + nal.len();
    }
    unit.data.slice(skipped..)
}

/// What a configuration record says: how long the lengths before NAL units are, and the parameter sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Bytes of each length, 1 to 4.
    pub(crate) length_size: usize,
    /// The sets in the order they stand in.
    pub(crate) sets: Vec<&'a [u8]>,
}

/// Takes `count` sets, each behind its length in two bytes, off the front of `data`; `None` if they are cut.
pub(crate) fn take_sets<'a>(data: &mut &'a [u8], count: usize, sets: &mut Vec<&'a [u8]>) -> Option<()> {
    for _ in 0..count {
        let (len, rest) = data.split_first_chunk::<2>()?;
        let (set, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        sets.push(set);
        *data = rest;
    }
    Some(())
}
