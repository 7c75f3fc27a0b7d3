//! FLV as a live stream (Adobe, "Video File Format Specification", version 10.1, annex E), with H.265 and Opus in the form
//! of Enhanced RTMP (Veovera, v2), or for older players H.265 under codec id 12, and no Opus.
//!
//! Timestamps are the stream's own, in milliseconds, and wrap with 32 bits as FLV's do.

use bytes::Bytes;

use crate::{
    chunk::Chunk,
    flv_body::{self, Announced},
    media::{AccessUnit, Tracks},
};

/// How H.265 is written. Who does not know the enhanced form of video does not know that of sound either, which is the
/// only one that Opus has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum H265 {
    /// FourCC `hvc1` in the extended tag header: what ffmpeg, VLC, OBS and mpegts.js read.
    #[default]
    Enhanced,
    /// Codec id 12 in the plain tag header, agreed among older players and never standardised.
    Codec12,
}

/// What a viewer asked for; viewers with equal options share a muxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlvOptions {
    /// The form of H.265.
    pub h265: H265,
    /// Whether the sound is carried.
    pub audio: bool,
}

impl FlvOptions {
    /// Whether anything of these tracks is carried.
    pub fn carries(self, tracks: &Tracks) -> bool {
        tracks.video.is_some() || self.sound(tracks).is_some()
    }
}

impl Default for FlvOptions {
    fn default() -> Self {
        Self { h265: H265::Enhanced, audio: true }
    }
}

const TAG_HEADER_SIZE: usize = 11;

/// Writes one stream as FLV. It remembers only which tracks it announced, so that a change is announced in time.
#[derive(Debug)]
pub struct FlvMuxer {
    options: FlvOptions,
    announced: Announced,
}

impl FlvMuxer {
    /// A muxer for viewers with these options.
    pub fn new(options: FlvOptions) -> Self {
        Self { options, announced: Announced::default() }
    }

    /// What a viewer gets first, whenever it joins: file header, onMetaData and sequence headers. What follows should
    /// be the chunk of a key frame.
    pub fn head(&self, tracks: &Tracks) -> Bytes {
        self.head_with(tracks, &[]).into()
    }

    /// The head with more properties in onMetaData: names with values, as AMF0.
    pub(crate) fn head_with(&self, tracks: &Tracks, properties: &[u8]) -> Vec<u8> {
        let has_video = tracks.video.is_some();
        let has_audio = self.options.sound(tracks).is_some();
        let mut out = Vec::with_capacity(512 + properties.len());
        out.extend_from_slice(b"FLV\x01");
        out.push(u8::from(has_audio) << 2 | u8::from(has_video));
        out.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0]); // size of this header, PreviousTagSize0
        put_tag(&mut out, flv_body::SCRIPT, 0, &self.options.metadata(tracks, properties));
        self.put_sequence_headers(&mut out, tracks, 0);
        out
    }

    /// The chunk of one unit: its tag, after new sequence headers if its tracks differ from those of the unit before.
    /// `None` if its track is not carried.
    pub fn write(&mut self, unit: &AccessUnit) -> Option<Chunk> {
        let (kind, prefix, body) = self.options.body(unit)?;
        let prefix = prefix.bytes();
        let size = u32::try_from(prefix.len() + body.len()).ok().filter(|size| *size < 1 << 24)?;
        let millis = flv_body::timestamp(unit.dts);
        let mut head = Vec::with_capacity(TAG_HEADER_SIZE + prefix.len());
        if self.announced.is_news(&unit.tracks) {
            self.put_sequence_headers(&mut head, &unit.tracks, millis);
        }
        put_tag_header(&mut head, kind, millis, size);
        head.extend_from_slice(prefix);
        let tail = Some((TAG_HEADER_SIZE as u32 + size).to_be_bytes());
        Some(Chunk { head: head.into(), body, tail })
    }

    fn put_sequence_headers(&self, out: &mut Vec<u8>, tracks: &Tracks, millis: u32) {
        for (kind, body) in self.options.sequence_headers(tracks) {
            put_tag(out, kind, millis, &body);
        }
    }
}

fn put_tag(out: &mut Vec<u8>, kind: u8, millis: u32, data: &[u8]) {
    put_tag_header(out, kind, millis, data.len() as u32);
    out.extend_from_slice(data);
    out.extend_from_slice(&((TAG_HEADER_SIZE + data.len()) as u32).to_be_bytes());
}

/// FLVTAG (§E.4.1): the timestamp's highest byte stands behind the lower three.
fn put_tag_header(out: &mut Vec<u8>, kind: u8, millis: u32, size: u32) {
    let [_, s2, s1, s0] = size.to_be_bytes();
    let [t3, t2, t1, t0] = millis.to_be_bytes();
    out.extend_from_slice(&[kind, s2, s1, s0, t2, t1, t0, t3, 0, 0, 0]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        media::{AudioCodec, VideoCodec},
        testing,
    };

    fn muxer(h265: H265) -> FlvMuxer {
        FlvMuxer::new(FlvOptions { h265, audio: true })
    }

    #[test]
    fn the_head_announces_what_there_is() {
        let tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac));
        let head = muxer(H265::Enhanced).head(&tracks);
        assert_eq!(head[..13], *b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
        let tags = testing::flv_tags(&head[13..]);
        assert_eq!(tags.iter().map(|tag| tag.kind).collect::<Vec<_>>(), [18, 9, 8]);
        assert_eq!(tags[1].data[..5], [0x17, 0, 0, 0, 0]);
        assert_eq!(tags[2].data, [0xAF, 0, 0x14, 0x08]);

        let silent = FlvMuxer::new(FlvOptions { audio: false, ..FlvOptions::default() }).head(&tracks);
        assert_eq!(silent[4], 1);
        assert_eq!(testing::flv_tags(&silent[13..]).len(), 2);
    }

    #[test]
    fn a_picture_is_one_tag_over_the_units_own_bytes() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let unit = testing::video(&tracks, 40, 120, true);
        let chunk = muxer(H265::Enhanced).write(&unit).expect("video is carried");
        assert_eq!(chunk.body.as_ptr_range().end, unit.data.as_ptr_range().end, "referenced, not copied");
        let [tag] = testing::flv_tags(&chunk.to_bytes()).try_into().expect("one tag");
        assert_eq!((tag.kind, tag.millis), (9, 40));
        assert_eq!(tag.data[..5], [0x17, 1, 0, 0, 80]);
        assert_eq!(
            tag.data[5..],
            *testing::length_prefixed(&[testing::H264_IDR]),
            "announced sets are left out"
        );
    }

    #[test]
    fn a_parameter_set_that_was_not_announced_stays() {
        let mut tracks = testing::tracks(VideoCodec::H264, None);
        tracks.video.as_mut().expect("video").pps = vec![Bytes::from_static(&[0x68, 1, 2, 3])];
        let unit = testing::video(&Arc::new(tracks), 0, 0, true);
        let body = muxer(H265::Enhanced).write(&unit).expect("video is carried").body;
        let roles: Vec<_> = crate::nal::length_prefixed(&body).map(|nal| nal[0] & 0x1F).collect();
        assert_eq!(roles, [8, 5]);
    }

    #[test]
    fn h265_is_written_in_either_form() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H265, None));
        let [level, late] =
            [(0, 0, true), (40, 80, false)].map(|(d, p, key)| testing::video(&tracks, d, p, key));
        let first = |h265, unit| muxer(h265).write(unit).expect("video is carried").head[11..].to_vec();
        assert_eq!(first(H265::Enhanced, &level), [&[0x93], &b"hvc1"[..]].concat());
        assert_eq!(first(H265::Enhanced, &late), [&[0xA1], &b"hvc1"[..], &[0, 0, 40]].concat());
        assert_eq!(first(H265::Codec12, &level), [0x1C, 1, 0, 0, 0]);
        assert_eq!(first(H265::Codec12, &late), [0x2C, 1, 0, 0, 40]);
    }

    #[test]
    fn changed_tracks_are_announced_before_the_unit() {
        let before = Arc::new(testing::tracks(VideoCodec::H264, None));
        let after = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::Aac)));
        let mut muxer = muxer(H265::Enhanced);
        muxer.write(&testing::video(&before, 0, 0, true));
        let chunk = muxer.write(&testing::video(&after, 40, 40, true)).expect("video is carried");
        let heads: Vec<_> = testing::flv_tags(&chunk.to_bytes()).iter().map(|tag| tag.data[0]).collect();
        assert_eq!(heads, [0x90, 0xAF, 0x93]);
        let again = muxer.write(&testing::video(&after, 80, 80, true)).expect("video is carried");
        assert_eq!(testing::flv_tags(&again.to_bytes()).len(), 1);
    }

    #[test]
    fn a_unit_that_is_not_carried_announces_nothing_in_vain() {
        let before = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Opus)));
        let after = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::Opus)));
        let mut muxer = muxer(H265::Codec12);
        muxer.write(&testing::video(&before, 0, 0, true));
        assert!(muxer.write(&testing::audio(&after, 20, 100)).is_none());
        let chunk = muxer.write(&testing::video(&after, 40, 40, true)).expect("video is carried");
        assert_eq!(testing::flv_tags(&chunk.to_bytes()).len(), 2);
    }

    #[test]
    fn timestamps_wrap_with_32_bits() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let chunk = muxer(H265::Enhanced).write(&testing::audio(&tracks, (1 << 32) + 0x0102_0304, 160));
        let [tag] =
            testing::flv_tags(&chunk.expect("G.711 is carried").to_bytes()).try_into().expect("one tag");
        assert_eq!((tag.millis, tag.data[0], tag.data.len()), (0x0102_0304, 0x72, 161));
    }

    #[test]
    fn what_flv_cannot_carry_is_left_out() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Opus)));
        assert_eq!(muxer(H265::Codec12).head(&tracks)[4], 1);
        assert!(muxer(H265::Codec12).write(&testing::audio(&tracks, 0, 100)).is_none());
    }

    #[test]
    fn opus_is_written_in_the_enhanced_form() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Opus)));
        let head = muxer(H265::Enhanced).head(&tracks);
        assert_eq!(head[4], 5);
        let tags = testing::flv_tags(&head[13..]);
        assert_eq!(tags[2].data, [&[0x90], &b"Opus"[..], &crate::opus::head(2)].concat());
        let codec = [&b"\0\x0caudiocodecid\0"[..], &f64::from(0x4F70_7573).to_be_bytes()].concat();
        assert!(tags[0].data.windows(codec.len()).any(|window| window == codec));
        let chunk = muxer(H265::Enhanced).write(&testing::audio(&tracks, 0, 100)).expect("Opus is carried");
        assert_eq!(testing::flv_tags(&chunk.to_bytes())[0].data[..6], [0x91, b'O', b'p', b'u', b's', 0xD5]);
    }
}
