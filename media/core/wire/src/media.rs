//! What flows through the relay: tracks and access units. Every reader makes them, every muxer takes them.

use std::sync::Arc;

use bytes::Bytes;

/// A time or duration in ticks of 90 kHz on the stream's own clean 64-bit clock: it starts near zero,
/// never wraps, and never runs backwards between two units of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticks(pub i64);

impl Ticks {
    /// Ticks in one second.
    pub const PER_SECOND: i64 = 90_000;

    /// The same time in milliseconds, rounded down.
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(90)
    }

    /// Ticks that last `millis`.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 90)
    }
}

impl std::ops::Add for Ticks {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::Sub for Ticks {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

/// A video coding that the relay carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

/// An audio coding that the relay carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// ITU-T G.711 A-law.
    G711A,
    /// ITU-T G.711 µ-law.
    G711U,
    /// ISO/IEC 14496-3 AAC.
    Aac,
    /// RFC 6716.
    Opus,
}

/// Which of a stream's tracks: a surveillance stream has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// All that a muxer needs to announce the video before its first picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTrack {
    /// The coding.
    pub codec: VideoCodec,
    /// Display width in pixels, cropping applied.
    pub width: u32,
    /// Display height in pixels, cropping applied.
    pub height: u32,
    /// Frames per second as numerator and denominator, if the parameter sets state it.
    pub rate: Option<(u32, u32)>,
    /// Video parameter sets (H.265 only), NAL units without start code or length.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
}

/// All that a muxer needs to announce the sound before its first sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// The coding.
    pub codec: AudioCodec,
    /// Samples per second.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u8,
    /// `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1) for AAC, `OpusHead` for Opus, else empty.
    pub config: Bytes,
}

/// A stream's tracks as known now; a change of codec or picture size makes a new value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracks {
    /// The video, once a complete set of parameter sets was seen.
    pub video: Option<VideoTrack>,
    /// The audio, once its coding is certain.
    pub audio: Option<AudioTrack>,
}

/// One coded picture, or one run of coded sound, of one instant.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// The track it belongs to.
    pub kind: Kind,
    /// When to decode it. Strictly rising within a track.
    pub dts: Ticks,
    /// When to show it; never before `dts`.
    pub pts: Ticks,
    /// Decoding can start here: an IDR, CRA or BLA picture (H.264 recovery points do not count);
    /// always true for audio.
    pub key: bool,
    /// Video: NAL units, each behind its length in 4 bytes, big endian; parameter sets, AUD and SEI
    /// stay where the device put them. AAC: raw frame without ADTS. G.711: samples.
    pub data: Bytes,
    /// The tracks in force from this unit on; the same `Arc` until something changes.
    pub tracks: Arc<Tracks>,
}
