//! The parameter sets in force in a video stream, and what their fields say.

pub mod h264;
pub mod h265;

use bytes::Bytes;
use thiserror::Error;

use crate::{
    bits::Bits,
    media::{Ticks, VideoCodec, VideoTrack},
    nal::{self, NalKind, ParameterSet},
};

/// A sequence parameter set that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SpsError {
    /// It ends before its fields do, or a field has a value that its standard forbids.
    #[error("the sequence parameter set is cut or malformed")]
    Malformed,
    /// The picture is empty or larger than 16384 in a direction.
    #[error("a picture of {0} by {1} pixels")]
    Size(u32, u32),
}

/// What a sequence parameter set states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpsInfo {
    /// `profile_idc`, `general_profile_idc`.
    pub profile: u8,
    /// H.264: the byte of constraint flags; H.265: `general_profile_compatibility_flags`.
    pub compatibility: u32,
    /// `level_idc`, `general_level_idc`.
    pub level: u8,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub luma_depth: u8,
    /// Bits of a chroma sample.
    pub chroma_depth: u8,
    /// Display width in pixels, cropping applied.
    pub width: u32,
    /// Display height in pixels, cropping applied.
    pub height: u32,
    /// Frames per second as numerator and denominator, if the VUI states it.
    pub rate: Option<(u32, u32)>,
    /// How many pictures at most are decoded before one and shown behind it, if the set states it.
    pub reorder: Option<u32>,
}

const SIDE_MAX: u32 = 16_384;
/// Sets of one kind that a stream may have in force, and the size of one.
const SETS_MAX: usize = 16;
const SET_BYTES_MAX: usize = 4096;

/// Reads a sequence parameter set (NAL header first).
pub fn parse_sps(codec: VideoCodec, nal: &[u8]) -> Result<SpsInfo, SpsError> {
    let info = match codec {
        VideoCodec::H264 => h264::parse(nal),
        VideoCodec::H265 => h265::parse(nal),
    }
    .ok_or(SpsError::Malformed)?;
    let sides = 1..=SIDE_MAX;
    if sides.contains(&info.width) && sides.contains(&info.height) {
        Ok(info)
    } else {
        Err(SpsError::Size(info.width, info.height))
    }
}

/// How many pictures are decoded before one that is shown earlier, and how long a picture stands (40 ms, if it is not
/// stated), as a track's sequence parameter set states it; `None` if it does not.
pub(crate) fn reordering(track: &VideoTrack) -> Option<(u32, Ticks)> {
    let info = parse_sps(track.codec, track.sps.first()?).ok()?;
    let (frames, seconds) = info.rate.unwrap_or((25, 1));
    let step = Ticks::PER_SECOND * i64::from(seconds) / i64::from(frames.max(1));
    Some((info.reorder?, Ticks(step)))
}

/// Steps over what the VUI begins with in both codings: aspect ratio, overscan, colours (ITU-T H.264 §E.1.1, H.265 §E.2.1).
fn skip_looks(bits: &mut Bits) -> Option<()> {
    if bits.flag()? && bits.read(8)? == 255 {
        bits.skip(32)?; // sar_width, sar_height
    }
    if bits.flag()? {
        bits.skip(1)?; // overscan_appropriate_flag
    }
    if bits.flag()? {
        bits.skip(4)?; // video_format, video_full_range_flag
        if bits.flag()? {
            bits.skip(24)?; // colour description
        }
    }
    if bits.flag()? {
        bits.ue()?; // chroma_sample_loc_type
        bits.ue()?;
    }
    Some(())
}

/// A rate as a fraction in lowest terms, if it makes sense (up to 480 frames per second).
fn rate(time_scale: u32, units_in_tick: u32) -> Option<(u32, u32)> {
    let mut pair = (time_scale, units_in_tick);
    while pair.1 != 0 {
        pair = (pair.1, pair.0 % pair.1);
    }
    let sensible = units_in_tick > 0 && time_scale > 0 && time_scale / units_in_tick <= 480;
    sensible.then(|| (time_scale / pair.0, units_in_tick / pair.0))
}

/// The sets of one coding that are in force.
#[derive(Debug, Clone)]
pub struct ParameterSets {
    codec: VideoCodec,
    video: Vec<Bytes>,
    sequence: Vec<Bytes>,
    picture: Vec<Bytes>,
}

impl ParameterSets {
    /// None yet.
    pub fn new(codec: VideoCodec) -> Self {
        Self { codec, video: vec![], sequence: vec![], picture: vec![] }
    }

    /// The coding they belong to.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    fn list(&mut self, set: ParameterSet) -> &mut Vec<Bytes> {
        match set {
            ParameterSet::Video => &mut self.video,
            ParameterSet::Sequence => &mut self.sequence,
            ParameterSet::Picture => &mut self.picture,
        }
    }

    /// Takes the sets of one access unit and tells whether that changed anything. A unit with a new sequence
    /// parameter set replaces all sets of the kinds it has; other new sets replace those with the same id.
    pub fn handle_unit<'a>(
        &mut self,
        nals: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<bool, SpsError> {
        let codec = self.codec;
        let sets = nals.filter_map(|nal| match nal::kind(codec, nal) {
            NalKind::Set(set) if nal.len() <= SET_BYTES_MAX => Some((set, nal)),
            _ => None,
        });
        let mut new = Self::new(codec);
        for (set, nal) in sets.clone() {
            if !self.list(set).iter().any(|known| known == nal) {
                if set == ParameterSet::Sequence {
                    parse_sps(codec, nal)?;
                }
                new.put(set, nal);
            }
        }
        if !new.sequence.is_empty() {
            for (set, _) in sets.clone() {
                self.list(set).clear();
            }
            new = Self::new(codec);
            sets.for_each(|(set, nal)| new.put(set, nal));
        }
        let changed = !(new.video.is_empty() && new.sequence.is_empty() && new.picture.is_empty());
        for set in [ParameterSet::Video, ParameterSet::Sequence, ParameterSet::Picture] {
            for nal in std::mem::take(new.list(set)) {
                self.put(set, &nal);
            }
        }
        Ok(changed)
    }

    /// Adds a set, in place of one with the same id.
    fn put(&mut self, set: ParameterSet, nal: &[u8]) {
        let codec = self.codec;
        let id = id(codec, set, nal);
        let list = self.list(set);
        match list.iter().position(|known| self::id(codec, set, known) == id) {
            Some(at) => list[at] = Bytes::copy_from_slice(nal),
            None if list.len() < SETS_MAX => list.push(Bytes::copy_from_slice(nal)),
            None => {}
        }
    }

    /// The track that they describe, once complete.
    pub fn track(&self) -> Option<VideoTrack> {
        let info = parse_sps(self.codec, self.sequence.first()?).ok()?;
        if self.picture.is_empty() || (self.codec == VideoCodec::H265 && self.video.is_empty()) {
            return None;
        }
        Some(VideoTrack {
            codec: self.codec,
            width: info.width,
            height: info.height,
            rate: info.rate,
            vps: self.video.clone(),
            sps: self.sequence.clone(),
            pps: self.picture.clone(),
        })
    }
}

/// The id of a set; `None` if it is too short to have one.
fn id(codec: VideoCodec, set: ParameterSet, nal: &[u8]) -> Option<u32> {
    match codec {
        VideoCodec::H264 => h264::id(set, nal),
        VideoCodec::H265 => h265::id(set, nal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{H264_PPS, H264_SPS, H265_PPS, H265_SPS, H265_VPS};

    #[test]
    fn a_complete_set_makes_a_track_and_repeating_it_changes_nothing() {
        let mut sets = ParameterSets::new(VideoCodec::H265);
        assert_eq!(sets.handle_unit([H265_SPS, H265_PPS].into_iter()), Ok(true));
        assert_eq!(sets.track(), None);
        assert_eq!(sets.handle_unit([H265_VPS, H265_SPS, H265_PPS].into_iter()), Ok(true));
        let track = sets.track().unwrap();
        assert_eq!((track.width, track.height), (352, 288));
        assert_eq!(sets.handle_unit([H265_VPS, H265_SPS, H265_PPS].into_iter()), Ok(false));
    }

    #[test]
    fn a_new_sequence_set_replaces_the_old_sets() {
        let mut other = H264_SPS.to_vec();
        other[3] = 0x1E; // another level
        let mut sets = ParameterSets::new(VideoCodec::H264);
        assert_eq!(sets.handle_unit([H264_SPS, H264_PPS].into_iter()), Ok(true));
        assert_eq!(sets.handle_unit([&other[..], H264_PPS].into_iter()), Ok(true));
        let track = sets.track().unwrap();
        assert_eq!((track.sps.len(), track.pps.len()), (1, 1));
        assert_eq!(track.sps[0], other);
    }

    #[test]
    fn a_malformed_sequence_set_changes_nothing() {
        let mut sets = ParameterSets::new(VideoCodec::H264);
        assert_eq!(sets.handle_unit([H264_SPS, H264_PPS].into_iter()), Ok(true));
        assert_eq!(sets.handle_unit([&H264_SPS[..5], H264_PPS].into_iter()), Err(SpsError::Malformed));
        assert_eq!(sets.track().unwrap().sps[0], H264_SPS);
    }

    #[test]
    fn rates_are_reduced_and_checked() {
        assert_eq!(rate(50, 2), Some((25, 1)));
        assert_eq!(rate(60_000, 2002), Some((30_000, 1001)));
        assert_eq!(rate(0, 1), None);
        assert_eq!(rate(1, 0), None);
        assert_eq!(rate(90_000, 1), None);
    }
}
