//! Small streams for the muxers' tests: parameter sets of x264 and x265 for 352x288 at 25 Hz.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    opus,
};

/// High profile, level 1.3.
pub const H264_SPS: &[u8] =
    b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x50\xa6\x58";
pub const H264_PPS: &[u8] = b"\x68\xef\x8f\xcb";
pub const H264_AUD: &[u8] = b"\x09\xf0";
pub const H264_IDR: &[u8] = b"\x65\x88\x84\x00\x01";
pub const H265_VPS: &[u8] =
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x95\x98\x09";
/// Main profile, level 2.
pub const H265_SPS: &[u8] =
    b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0b\x08\
    \x04\x85\x96\x56\x69\x24\xca\xf0\x16\x80\x80\x00\x00\x03\x00\x80\x00\x00\x0c\x84";
pub const H265_PPS: &[u8] = b"\x44\x01\xc1\x72\xb4\x62\x40";
pub const H265_IDR: &[u8] = b"\x26\x01\xaf\x00\x01";

/// Tracks of the given codings: 25 Hz, mono sound of 8 kHz (AAC: 16 kHz, Opus: stereo of 48 kHz).
pub fn tracks(video: VideoCodec, audio: Option<AudioCodec>) -> Tracks {
    let sets = |sets: &[&'static [u8]]| sets.iter().map(|set| Bytes::from_static(set)).collect::<Vec<_>>();
    let (vps, sps, pps) = match video {
        VideoCodec::H264 => (sets(&[]), sets(&[H264_SPS]), sets(&[H264_PPS])),
        VideoCodec::H265 => (sets(&[H265_VPS]), sets(&[H265_SPS]), sets(&[H265_PPS])),
    };
    let video = VideoTrack { codec: video, width: 352, height: 288, rate: Some((25, 1)), vps, sps, pps };
    let audio = audio.map(|codec| match codec {
        AudioCodec::Aac => {
            AudioTrack { codec, sample_rate: 16_000, channels: 1, config: Bytes::from_static(&[0x14, 0x08]) }
        }
        AudioCodec::Opus => AudioTrack { codec, sample_rate: opus::RATE, channels: 2, config: opus::head(2) },
        _ => AudioTrack { codec, sample_rate: 8_000, channels: 1, config: Bytes::new() },
    });
    Tracks { video: Some(video), audio }
}

/// NAL units behind 4-byte lengths.
pub fn length_prefixed(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), *nal].concat()).collect()
}

/// A picture; a key frame carries its parameter sets.
pub fn video(tracks: &Arc<Tracks>, dts_ms: i64, pts_ms: i64, key: bool) -> AccessUnit {
    let h264 = tracks.video.as_ref().is_some_and(|track| track.codec == VideoCodec::H264);
    let nals: &[&[u8]] = match (h264, key) {
        (true, true) => &[H264_AUD, H264_SPS, H264_PPS, H264_IDR],
        (true, false) => &[&[0x41, 0x9A, 0x00]],
        (false, true) => &[H265_VPS, H265_SPS, H265_PPS, H265_IDR],
        (false, false) => &[&[0x02, 0x01, 0xD0, 0x00]],
    };
    let data = length_prefixed(nals).into();
    let (dts, pts) = (Ticks::from_millis(dts_ms), Ticks::from_millis(pts_ms));
    AccessUnit { kind: Kind::Video, dts, pts, key, data, tracks: Arc::clone(tracks) }
}

/// Sound of `size` bytes.
pub fn audio(tracks: &Arc<Tracks>, dts_ms: i64, size: usize) -> AccessUnit {
    let dts = Ticks::from_millis(dts_ms);
    let data = vec![0xD5; size].into();
    AccessUnit { kind: Kind::Audio, dts, pts: dts, key: true, data, tracks: Arc::clone(tracks) }
}

/// A tag of FLV taken apart.
#[derive(Debug)]
pub struct FlvTag {
    pub kind: u8,
    pub millis: u32,
    pub data: Vec<u8>,
}

/// All tags in `data`, each with its right `PreviousTagSize`.
pub fn flv_tags(mut data: &[u8]) -> Vec<FlvTag> {
    let mut tags = Vec::new();
    while !data.is_empty() {
        let size = u32::from_be_bytes([0, data[1], data[2], data[3]]) as usize;
        let millis = u32::from_be_bytes([data[7], data[4], data[5], data[6]]);
        tags.push(FlvTag { kind: data[0], millis, data: data[11..11 + size].to_vec() });
        assert_eq!(data[11 + size..15 + size], (11 + size as u32).to_be_bytes());
        data = &data[15 + size..];
    }
    tags
}
