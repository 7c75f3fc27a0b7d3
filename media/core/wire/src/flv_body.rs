//! What FLV's tags and RTMP's messages carry alike (Adobe, "Video File Format Specification", version 10.1, §E.4.2 and
//! §E.4.3; Veovera, "Enhanced RTMP", v2, "Enhanced Video" and "Enhanced Audio").

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    amf::Value,
    avc,
    flv::{FlvOptions, H265},
    hevc,
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    sample,
};

pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const SCRIPT: u8 = 18;
const AAC: u8 = 0xAF; // sound format 10; the other bits are fixed for AAC (§E.4.2.1)
const HVC1: [u8; 4] = *b"hvc1";
const OPUS: [u8; 4] = *b"Opus";
const EXTENDED_AUDIO: u8 = 0x90; // sound format 9; the packet type stands in the other bits

/// The tracks that were announced last.
#[derive(Debug, Default)]
pub(crate) struct Announced(Option<Arc<Tracks>>);

impl Announced {
    /// Whether `tracks` must be announced before going on; nothing was announced means that the head does it.
    pub(crate) fn is_news(&mut self, tracks: &Arc<Tracks>) -> bool {
        match &self.0 {
            Some(known) if Arc::ptr_eq(known, tracks) => false,
            known => {
                let news = known.as_ref().is_some_and(|known| known != tracks);
                self.0 = Some(Arc::clone(tracks));
                news
            }
        }
    }
}

impl FlvOptions {
    /// Type, first bytes and payload of a unit; `None` if its track is not carried.
    pub(crate) fn body(self, unit: &AccessUnit) -> Option<(u8, Prefix, Bytes)> {
        match unit.kind {
            Kind::Video => {
                let track = unit.tracks.video.as_ref()?;
                Some((VIDEO, self.video_prefix(unit, track), sample::without_announced_sets(unit, track)))
            }
            Kind::Audio => Some((AUDIO, self.audio_prefix(self.sound(&unit.tracks)?)?, unit.data.clone())),
        }
    }

    /// The audio track, if it is carried.
    pub(crate) fn sound(self, tracks: &Tracks) -> Option<&AudioTrack> {
        tracks.audio.as_ref().filter(|track| self.audio && self.audio_prefix(track).is_some())
    }

    /// onMetaData, with more properties behind ours: names with values, as AMF0.
    pub(crate) fn metadata(self, tracks: &Tracks, properties: &[u8]) -> Vec<u8> {
        let mut entries = Vec::new();
        if let Some(track) = &tracks.video {
            entries.push(("width".into(), Value::Number(track.width.into())));
            entries.push(("height".into(), Value::Number(track.height.into())));
            if let Some((numerator, denominator)) = track.rate.filter(|rate| rate.1 > 0) {
                entries
                    .push(("framerate".into(), Value::Number(f64::from(numerator) / f64::from(denominator))));
            }
            entries.push(("videocodecid".into(), Value::Number(self.codec_id(track.codec))));
        }
        if let Some(track) = self.sound(tracks) {
            let format = match track.codec {
                AudioCodec::Opus => u32::from_be_bytes(OPUS),
                _ => self.audio_prefix(track).map_or(0, |prefix| prefix.bytes[0] >> 4).into(),
            };
            entries.push(("audiocodecid".into(), Value::Number(format.into())));
            entries.push(("audiosamplerate".into(), Value::Number(track.sample_rate.into())));
            entries.push(("audiosamplesize".into(), Value::Number(16.0)));
            entries.push(("stereo".into(), Value::Boolean(track.channels > 1)));
        }
        let mut out = Vec::with_capacity(256);
        Value::String("onMetaData".into()).write(&mut out);
        Value::EcmaArray(entries).write(&mut out);
        let end = out.split_off(out.len() - 3);
        out.extend_from_slice(properties);
        out.extend_from_slice(&end);
        out
    }

    fn codec_id(self, codec: VideoCodec) -> f64 {
        match (codec, self.h265) {
            (VideoCodec::H264, _) => 7.0,
            (VideoCodec::H265, H265::Codec12) => 12.0,
            (VideoCodec::H265, H265::Enhanced) => u32::from_be_bytes(HVC1).into(),
        }
    }

    /// The sequence headers that a decoder needs first: type and body of each.
    pub(crate) fn sequence_headers(self, tracks: &Tracks) -> Vec<(u8, Vec<u8>)> {
        let mut headers = Vec::new();
        if let Some(track) = &tracks.video {
            let (prefix, record) = match (track.codec, self.h265) {
                (VideoCodec::H264, _) => (Prefix::new(&[0x17, 0, 0, 0, 0]), avc::configuration_record(track)),
                (VideoCodec::H265, H265::Codec12) => {
                    (Prefix::new(&[0x1C, 0, 0, 0, 0]), hevc::configuration_record(track))
                }
                (VideoCodec::H265, H265::Enhanced) => {
                    (Prefix::new(&[&[0x90], &HVC1[..]].concat()), hevc::configuration_record(track))
                }
            };
            headers.extend(record.map(|record| (VIDEO, [prefix.bytes(), &record].concat())));
        }
        match self.sound(tracks) {
            Some(track) if track.codec == AudioCodec::Aac => {
                headers.push((AUDIO, [&[AAC, 0], &track.config[..]].concat()));
            }
            Some(track) if track.codec == AudioCodec::Opus => {
                headers.push((AUDIO, [&[EXTENDED_AUDIO], &OPUS[..], &track.config].concat()));
            }
            _ => {}
        }
        headers
    }

    /// `AudioTagHeader` (§E.4.2.1) or `ExAudioTagHeader` of a frame; `None` for what is not carried. G.711 has formats 7
    /// and 8, always at 8 kHz, whatever the rate bits say. Opus has no format of old, so that players who want H.265 in
    /// the older form get none.
    fn audio_prefix(self, track: &AudioTrack) -> Option<Prefix> {
        let stereo = u8::from(track.channels > 1);
        match track.codec {
            AudioCodec::Aac if track.config.len() >= 2 => Some(Prefix::new(&[AAC, 1])),
            AudioCodec::G711A => Some(Prefix::new(&[0x72 | stereo])),
            AudioCodec::G711U => Some(Prefix::new(&[0x82 | stereo])),
            AudioCodec::Opus if self.h265 == H265::Enhanced => {
                Some(Prefix::new(&[EXTENDED_AUDIO | 1]).and(&OPUS))
            }
            AudioCodec::Aac | AudioCodec::Opus => None,
        }
    }

    /// `VideoTagHeader` (§E.4.3.1) or `ExVideoTagHeader` of a coded picture.
    fn video_prefix(self, unit: &AccessUnit, track: &VideoTrack) -> Prefix {
        let frame_type: u8 = if unit.key { 1 } else { 2 };
        let offset = unit.pts.as_millis() - unit.dts.as_millis();
        let offset = offset.clamp(0, 0x7F_FFFF).cast_unsigned() as u32;
        let [_, offset @ ..] = offset.to_be_bytes();
        match (track.codec, self.h265) {
            (VideoCodec::H265, H265::Enhanced) if offset == [0; 3] => {
                Prefix::new(&[0x80 | frame_type << 4 | 3]).and(&HVC1) // CodedFramesX: no composition time
            }
            (VideoCodec::H265, H265::Enhanced) => {
                Prefix::new(&[0x80 | frame_type << 4 | 1]).and(&HVC1).and(&offset)
            }
            (codec, _) => {
                let id = if codec == VideoCodec::H264 { 7 } else { 12 };
                Prefix::new(&[frame_type << 4 | id, 1]).and(&offset)
            }
        }
    }
}

/// The few bytes between a tag's header and its payload.
pub(crate) struct Prefix {
    bytes: [u8; 8],
    len: usize,
}

impl Prefix {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: [0; 8], len: 0 }.and(bytes)
    }

    fn and(mut self, more: &[u8]) -> Self {
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The milliseconds of a tag or message: they wrap.
pub(crate) fn timestamp(time: Ticks) -> u32 {
    time.as_millis().cast_unsigned() as u32
}
