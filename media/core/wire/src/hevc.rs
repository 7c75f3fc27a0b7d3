//! `HEVCDecoderConfigurationRecord`: H.265's parameter sets as FLV and MP4 announce them (ISO/IEC 14496-15 §8.3.3.1).

use std::fmt::Write;

use bytes::{BufMut, Bytes};

use crate::{
    bits,
    media::{VideoCodec, VideoTrack},
    parameter_sets::parse_sps,
    sample::{self, Record},
};

/// The record of `track`, for NAL units behind 4-byte lengths; `None` without a usable parameter set of each kind.
/// All sets stand in it and none need stand in the samples, as the sample entry `hvc1` asks.
pub fn configuration_record(track: &VideoTrack) -> Option<Vec<u8>> {
    let sps = track.sps.first()?;
    let (layers, general) = profile_tier_level(sps)?;
    let info = parse_sps(VideoCodec::H265, sps).ok();
    let (chroma, luma, colour) =
        info.map_or((1, 8, 8), |info| (info.chroma_format, info.luma_depth, info.chroma_depth));
    track.vps.first()?;
    track.pps.first()?;
    let mut out = vec![1];
    out.put_slice(&general);
    out.put_u16(0xF000); // min_spatial_segmentation_idc unknown
    out.put_u8(0xFC); // parallelismType unknown
    out.put_u8(0xFC | chroma);
    out.put_u8(0xF8 | (luma - 8));
    out.put_u8(0xF8 | (colour - 8));
    out.put_u16(0); // avgFrameRate unknown
    let (sub_layers_minus1, nesting) = (layers >> 1 & 7, layers & 1);
    out.put_u8((sub_layers_minus1 + 1) << 3 | nesting << 2 | 3); // NAL unit lengths of 4 bytes
    out.put_u8(3);
    for (nal_type, sets) in [(32, &track.vps), (33, &track.sps), (34, &track.pps)] {
        put_sets(&mut out, nal_type, sets);
    }
    Some(out)
}

/// Reads a record; `None` if it is cut.
pub(crate) fn read_record(record: &[u8]) -> Option<Record<'_>> {
    let (head, mut rest) = record.split_first_chunk::<23>()?;
    let mut sets = Vec::new();
    for _ in 0..head[22] {
        let (array, behind) = rest.split_first_chunk::<3>()?;
        rest = behind;
        sample::take_sets(&mut rest, usize::from(u16::from_be_bytes([array[1], array[2]])), &mut sets)?;
    }
    Some(Record { length_size: usize::from(head[21] & 3) + 1, sets })
}

/// The codec parameter such as `hvc1.1.6.L93.B0` (ISO/IEC 14496-15 §E.3); `None` if the set is broken.
pub fn codec_parameter(sps: &[u8]) -> Option<String> {
    let (_, ptl) = profile_tier_level(sps)?;
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

/// The byte before `profile_tier_level()`, and its general part: `general_profile_space` to `general_level_idc`
/// (ITU-T H.265 §7.3.2.2.1, §7.3.3).
fn profile_tier_level(sps: &[u8]) -> Option<(u8, [u8; 12])> {
    let payload = bits::unescape(sps.get(2..)?, 13);
    let (first, general) = payload.split_first()?;
    Some((*first, general.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

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
    fn a_record_reads_back_and_a_cut_one_is_refused() {
        let track = testing::tracks(VideoCodec::H265, None).video.expect("video");
        let record = configuration_record(&track).expect("sets are complete");
        let sets = vec![testing::H265_VPS, testing::H265_SPS, testing::H265_PPS];
        assert_eq!(read_record(&record), Some(Record { length_size: 4, sets }));
        (0..record.len()).for_each(|cut| assert_eq!(read_record(&record[..cut]), None, "cut at {cut}"));
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
