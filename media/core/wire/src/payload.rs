//! Names and numbers of payloads: in the interface, in SDP, and in program stream maps.

use crate::{
    aac::Config,
    media::{AudioCodec, VideoCodec},
    opus,
    ps::MapEntry,
};

/// What the packets of a stream carry, as found by probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Program stream (ISO/IEC 13818-1 §2.5) over RTP.
    Ps,
    /// H.264 NAL units (RFC 6184, or Annex B bytes).
    H264,
    /// H.265 NAL units (RFC 7798, or Annex B bytes).
    H265,
    /// Bare G.711 A-law.
    G711A,
    /// Bare G.711 µ-law.
    G711U,
    /// AAC (RFC 3640).
    Aac,
    /// Opus (RFC 7587).
    Opus,
    /// Transport stream.
    Ts,
    /// FLV: tags of HTTP-FLV, or messages of RTMP.
    Flv,
}

impl Payload {
    /// Its name in the interface: `ps`, `h264`, `h265`, `g711a`, `g711u`, `aac`, `opus`, `ts`, `flv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ps => "ps",
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::G711A => "g711a",
            Self::G711U => "g711u",
            Self::Aac => "aac",
            Self::Opus => "opus",
            Self::Ts => "ts",
            Self::Flv => "flv",
        }
    }
}

/// Sound in packets of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BareAudio {
    G711(AudioCodec),
    Aac { rate: u32, stated: bool },
    Opus,
    Unsupported(&'static str),
}

impl BareAudio {
    /// Its coding; `None` if it is not carried.
    pub(crate) fn codec(self) -> Option<AudioCodec> {
        match self {
            Self::G711(codec) => Some(codec),
            Self::Aac { .. } => Some(AudioCodec::Aac),
            Self::Opus => Some(AudioCodec::Opus),
            Self::Unsupported(_) => None,
        }
    }
}

/// What an answer says of a payload type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Main(Announced),
    Audio(BareAudio),
}

/// Encoding names of video, or of what carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    Ps,
    Video(VideoCodec),
}

/// The sound of static payload types (RFC 3551 §6).
pub(crate) fn static_audio(payload_type: u8) -> Option<BareAudio> {
    Some(match payload_type {
        0 => BareAudio::G711(AudioCodec::G711U),
        8 => BareAudio::G711(AudioCodec::G711A),
        4 => BareAudio::Unsupported("G.723.1"),
        9 => BareAudio::Unsupported("G.722"),
        18 => BareAudio::Unsupported("G.729"),
        _ => return None,
    })
}

/// Reads an encoding name, `NAME` or `NAME/rate` or `NAME/rate/channels`.
pub(crate) fn expected(name: &str) -> Option<Expected> {
    let mut parts = name.split('/');
    let encoding = parts.next()?.trim().to_ascii_uppercase();
    let rate =
        parts.next().and_then(|rate| rate.trim().parse().ok()).filter(|rate| (7_000..=96_000).contains(rate));
    Some(match encoding.as_str() {
        "PS" | "MP2P" => Expected::Main(Announced::Ps),
        "H264" => Expected::Main(Announced::Video(VideoCodec::H264)),
        "H265" | "HEVC" => Expected::Main(Announced::Video(VideoCodec::H265)),
        "PCMA" => Expected::Audio(BareAudio::G711(AudioCodec::G711A)),
        "PCMU" => Expected::Audio(BareAudio::G711(AudioCodec::G711U)),
        "OPUS" => Expected::Audio(BareAudio::Opus),
        "MPEG4-GENERIC" | "AAC" => Expected::Audio(BareAudio::Aac {
            rate: rate.unwrap_or(Config::ASSUMED.sample_rate),
            stated: rate.is_some(),
        }),
        _ => return None,
    })
}

/// The video coding of a stream type, or the name of one that is not carried (ISO/IEC 13818-1 table 2-34,
/// GB/T 28181-2016 annex C).
pub(crate) fn video_of_stream_type(stream_type: u8) -> Result<VideoCodec, &'static str> {
    match stream_type {
        0x1B => Ok(VideoCodec::H264),
        0x24 => Ok(VideoCodec::H265),
        0x10 => Err("MPEG-4"),
        0x02 => Err("MPEG-2"),
        0x80 => Err("SVAC"),
        _ => Err("video of an unknown type"),
    }
}

/// The audio coding of a stream of a map, or the name of one that is not carried. A type for private data says nothing,
/// what the stream is registered by does.
pub(crate) fn audio_of_entry(entry: MapEntry) -> Result<AudioCodec, &'static str> {
    match (entry.stream_type, entry.registration) {
        (0x06, Some(opus::REGISTRATION)) => Ok(AudioCodec::Opus),
        (stream_type, _) => audio_of_stream_type(stream_type),
    }
}

/// The audio coding of a stream type, or the name of one that is not carried.
fn audio_of_stream_type(stream_type: u8) -> Result<AudioCodec, &'static str> {
    match stream_type {
        0x90 => Ok(AudioCodec::G711A),
        0x91 => Ok(AudioCodec::G711U),
        0x0F => Ok(AudioCodec::Aac),
        0x92 => Err("G.722.1"),
        0x93 => Err("G.723.1"),
        0x99 => Err("G.729"),
        0x9B => Err("SVAC audio"),
        0x11 => Err("AAC LATM"),
        0x03 | 0x04 => Err("MPEG audio"),
        _ => Err("audio of an unknown type"),
    }
}
