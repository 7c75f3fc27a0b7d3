//! `HEVCDecoderConfigurationRecord`: H.265's parameter sets as FLV and MP4 announce them (ISO/IEC 14496-15 §8.3.3.1).

use std::fmt::Write;

use bytes::{BufMut, Bytes};

use crate::{bits, media::VideoTrack};

/// What the record repeats of a sequence parameter set (ITU-T H.265 §7.3.2.2).
struct Summary {
    /// `general_profile_space` to `general_level_idc`.
    profile_tier_level: [u8; 12],
    sub_layers: u8,
    nesting: u8,
    chroma: u8,
    luma_depth: u8,
    chroma_depth: u8,
}

/// The record of `track`, for NAL units behind 4-byte lengths; `None` without a usable parameter set of each kind.
/// All sets stand in it and none need stand in the samples, as the sample entry `hvc1` asks.
pub fn configuration_record(track: &VideoTrack) -> Option<Vec<u8>> {
    let summary = summarise(track.sps.first()?)?;
    track.vps.first()?;
    track.pps.first()?;
    let mut out = vec![1];
    out.put_slice(&summary.profile_tier_level);
    out.put_u16(0xF000); // min_spatial_segmentation_idc unknown
    out.put_u8(0xFC); // parallelismType unknown
    out.put_u8(0xFC | summary.chroma);
    out.put_u8(0xF8 | summary.luma_depth);
    out.put_u8(0xF8 | summary.chroma_depth);
    out.put_u16(0); // avgFrameRate unknown
    out.put_u8(summary.sub_layers << 3 | summary.nesting << 2 | 3); // NAL unit lengths of 4 bytes
    out.put_u8(3);
    for (nal_type, sets) in [(32, &track.vps), (33, &track.sps), (34, &track.pps)] {
        put_sets(&mut out, nal_type, sets);
    }
    Some(out)
}

/// The codec parameter such as `hvc1.1.6.L93.B0` (ISO/IEC 14496-15 §E.3); `None` if the set is broken.
pub fn codec_parameter(sps: &[u8]) -> Option<String> {
    let ptl = summarise(sps)?.profile_tier_level;
    let space = ["", "A", "B", "C"][usize::from(ptl[0] >> 6)];
    let tier = if ptl[0] & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([ptl[1], ptl[2], ptl[3], ptl[4]]).reverse_bits();
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", ptl[0] & 0x1F, ptl[11]);
    let constraints = &ptl[5..11];
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        write!(text, ".{byte:X}").ok()?;
    }
    Some(text)
}

/// One array of the record: complete, so that a reader need not look into the samples.
fn put_sets(out: &mut Vec<u8>, nal_type: u8, sets: &[Bytes]) {
    let sets: Vec<_> = sets.iter().filter(|set| u16::try_from(set.len()).is_ok()).take(64).collect();
    out.put_u8(0x80 | nal_type);
    out.put_u16(sets.len() as u16);
    for set in sets {
        out.put_u16(set.len() as u16);
        out.put_slice(set);
    }
}

fn summarise(sps: &[u8]) -> Option<Summary> {
    let payload = bits::unescape(sps.get(2..)?, 256);
    let first = *payload.first()?;
    let profile_tier_level = payload.get(1..13)?.try_into().ok()?;
    let sub_layers_minus1 = first >> 1 & 7;
    let mut bits = bits::Bits::new(&payload[13..]);
    let [chroma, luma_depth, chroma_depth] = sample_format(&mut bits, sub_layers_minus1).unwrap_or([1, 0, 0]);
    Some(Summary {
        profile_tier_level,
        sub_layers: sub_layers_minus1 + 1,
        nesting: first & 1,
        chroma,
        luma_depth,
        chroma_depth,
    })
}

/// `chroma_format_idc` and both bit depths minus 8, which follow the sub-layers' levels.
fn sample_format(bits: &mut bits::Bits, sub_layers_minus1: u8) -> Option<[u8; 3]> {
    if sub_layers_minus1 > 0 {
        let present: Vec<u32> = (0..8).map(|_| bits.read(2)).collect::<Option<_>>()?;
        for flags in &present[..usize::from(sub_layers_minus1)] {
            bits.skip((flags >> 1) as usize * 88 + (flags & 1) as usize * 8)?;
        }
    }
    bits.ue()?; // sps_seq_parameter_set_id
    let chroma = bits.ue()?;
    if chroma == 3 {
        bits.read(1)?; // separate_colour_plane_flag
    }
    bits.ue()?; // width
    bits.ue()?; // height
    if bits.read(1)? == 1 {
        for _ in 0..4 {
            bits.ue()?; // conformance window
        }
    }
    let depths = [bits.ue()?, bits.ue()?];
    (chroma <= 3 && depths.iter().all(|depth| *depth <= 7)).then_some([
        chroma as u8,
        depths[0] as u8,
        depths[1] as u8,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{media::VideoCodec, testing};

    #[test]
    fn the_record_repeats_the_sequence_parameter_set() {
        let track = testing::tracks(VideoCodec::H265, None).video.expect("video");
        let record = configuration_record(&track).expect("sets are complete");
        assert_eq!(record[..13], [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 60]);
        assert_eq!(record[13..23], [0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0, 0x0F, 3]);
        assert_eq!(record[23..28], [0xA0, 0, 1, 0, 24]);
        let sets = 3 * 5 + track.vps[0].len() + track.sps[0].len() + track.pps[0].len();
        assert_eq!(record.len(), 23 + sets);
        assert_eq!(codec_parameter(&track.sps[0]).as_deref(), Some("hvc1.1.6.L60.90"));
    }

    #[test]
    fn a_set_cut_anywhere_never_harms() {
        let mut track = testing::tracks(VideoCodec::H265, None).video.expect("video");
        for size in 0..testing::H265_SPS.len() {
            track.sps = vec![Bytes::from_static(&testing::H265_SPS[..size])];
            let record = configuration_record(&track);
            assert_eq!(record.is_some(), codec_parameter(&track.sps[0]).is_some(), "cut at {size}");
        }
    }
}
