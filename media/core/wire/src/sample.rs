//! An access unit's NAL units as the muxers take them apart.

use bytes::Bytes;

use crate::media::{AccessUnit, VideoCodec, VideoTrack};

/// The part a NAL unit plays (ITU-T H.264 table 7-1, ITU-T H.265 table 7-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Access unit delimiter.
    Delimiter,
    /// VPS, SPS or PPS.
    ParameterSet,
    /// Anything else.
    Content,
}

impl Role {
    pub(crate) fn of(codec: VideoCodec, nal: &[u8]) -> Self {
        let first = nal.first().copied().unwrap_or_default();
        match (codec, first & 0x1F, first >> 1 & 0x3F) {
            (VideoCodec::H264, 9, _) | (VideoCodec::H265, _, 35) => Self::Delimiter,
            (VideoCodec::H264, 7 | 8, _) | (VideoCodec::H265, _, 32..=34) => Self::ParameterSet,
            _ => Self::Content,
        }
    }
}

/// The NAL units behind 4-byte lengths; ends at a length that lies.
#[derive(Clone)]
pub(crate) struct NalUnits<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (nal, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(nal)
    }
}

/// The unit's data without the delimiter and the parameter sets at its front that `track` announces anyway. Nothing
/// is copied. A set that is not announced stays: without it the picture could not be decoded.
pub(crate) fn without_announced_sets(unit: &AccessUnit, track: &VideoTrack) -> Bytes {
    let mut skipped = 0;
    for nal in NalUnits(&unit.data) {
        let droppable = match Role::of(track.codec, nal) {
            Role::Delimiter => true,
            Role::ParameterSet => {
                [&track.vps, &track.sps, &track.pps].into_iter().flatten().any(|set| set == nal)
            }
            Role::Content => false,
        };
        if !droppable {
            break;
        }
        skipped += 4 + nal.len();
    }
    unit.data.slice(skipped..)
}
