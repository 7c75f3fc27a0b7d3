//! An access unit's NAL units as the muxers want them.

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
