//! `AVCDecoderConfigurationRecord`: H.264's parameter sets as FLV and MP4 announce them (ISO/IEC 14496-15 §5.3.3.1).

use bytes::{BufMut, Bytes};

use crate::{
    media::{VideoCodec, VideoTrack},
    parameter_sets::parse_sps,
    sample::{self, Record},
};

/// The record of `track`, for NAL units behind 4-byte lengths; `None` without a usable parameter set of each kind.
pub fn configuration_record(track: &VideoTrack) -> Option<Vec<u8>> {
    let &[_, profile, compatibility, level, ..] = track.sps.first()?.as_ref() else { return None };
    track.pps.first()?;
    let mut out = vec![1, profile, compatibility, level, 0xFC | 3];
    put_sets(&mut out, 0xE0, 31, &track.sps);
    put_sets(&mut out, 0, 255, &track.pps);
    if !matches!(profile, 66 | 77 | 88) {
        let info = parse_sps(VideoCodec::H264, &track.sps[0]).ok();
        let (chroma, luma, colour) =
            info.map_or((1, 8, 8), |info| (info.chroma_format, info.luma_depth, info.chroma_depth));
        out.extend_from_slice(&[0xFC | chroma, 0xF8 | (luma - 8), 0xF8 | (colour - 8), 0]);
    }
    Some(out)
}

/// Reads a record; `None` if it is cut. What High profiles have behind the sets is not needed.
pub(crate) fn read_record(record: &[u8]) -> Option<Record<'_>> {
    let (head, mut rest) = record.split_first_chunk::<6>()?;
    let mut sets = Vec::new();
    sample::take_sets(&mut rest, usize::from(head[5] & 0x1F), &mut sets)?;
    let (pictures, mut rest) = rest.split_first()?;
    sample::take_sets(&mut rest, usize::from(*pictures), &mut sets)?;
    Some(Record { length_size: usize::from(head[4] & 3) + 1, sets })
}

/// The codec parameter of RFC 6381 §3.3, such as `avc1.64001f`; `None` if the set is too short.
pub fn codec_parameter(sps: &[u8]) -> Option<String> {
    let &[_, profile, compatibility, level, ..] = sps else { return None };
    Some(format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"))
}

/// A count over `flags`, then each set behind its length in two bytes.
fn put_sets(out: &mut Vec<u8>, flags: u8, limit: usize, sets: &[Bytes]) {
    let sets: Vec<_> = sets.iter().filter(|set| u16::try_from(set.len()).is_ok()).take(limit).collect();
    out.put_u8(flags | sets.len() as u8);
    for set in sets {
        out.put_u16(set.len() as u16);
        out.put_slice(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_high_profile_record_ends_with_the_sample_format() {
        let mut track = testing::tracks(VideoCodec::H264, None).video.expect("video");
        let record = configuration_record(&track).expect("sets are complete");
        assert_eq!(record[..8], [1, 0x64, 0, 0x0D, 0xFF, 0xE1, 0, 25]);
        assert_eq!(record[8..33], *testing::H264_SPS);
        assert_eq!(record[33..], [&[1, 0, 4], testing::H264_PPS, &[0xFD, 0xF8, 0xF8, 0]].concat());
        assert_eq!(codec_parameter(&track.sps[0]).as_deref(), Some("avc1.64000d"));

        track.sps = vec![Bytes::from_static(&[0x67, 0x42, 0xC0, 0x1E, 0xDA])];
        let record = configuration_record(&track).expect("sets are complete");
        assert_eq!(record[record.len() - 4..], *testing::H264_PPS, "Baseline has no such end");
    }

    #[test]
    fn a_record_reads_back_and_a_cut_one_is_refused() {
        let track = testing::tracks(VideoCodec::H264, None).video.expect("video");
        let record = configuration_record(&track).expect("sets are complete");
        let sets = vec![testing::H264_SPS, testing::H264_PPS];
        assert_eq!(read_record(&record), Some(Record { length_size: 4, sets }));
        let needed = record.len() - 4; // without the sample format
        (0..record.len()).for_each(|cut| assert_eq!(read_record(&record[..cut]).is_some(), cut >= needed));
    }

    #[test]
    fn without_sets_there_is_no_record() {
        let mut track = testing::tracks(VideoCodec::H264, None).video.expect("video");
        track.sps = vec![Bytes::from_static(&[0x67, 0x42])];
        assert_eq!(configuration_record(&track), None);
        track.sps.clear();
        assert_eq!(configuration_record(&track), None);
    }
}
