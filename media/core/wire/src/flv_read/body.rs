//! What the bodies of FLV tags say (Adobe, "Video File Format Specification", version 10.1, §E.4.2, §E.4.3; Veovera,
//! "Enhanced RTMP", v2). RTMP's audio and video messages have the same bodies.

use bytes::Bytes;

use crate::media::{AudioCodec, VideoCodec};

/// The body of a video tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Video {
    /// A configuration record.
    Header(VideoCodec, Bytes),
    /// NAL units, and how many milliseconds after its timestamp the picture is shown.
    Picture(VideoCodec, i32, Bytes),
    /// Commands, metadata, the end of a sequence.
    Aside,
    /// A coding that the relay does not carry.
    Unsupported(&'static str),
}

/// The body of an audio tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Audio {
    /// An `AudioSpecificConfig`.
    Header(Bytes),
    /// A frame of AAC.
    Aac(Bytes),
    /// An identification header of Opus.
    OpusHead(Bytes),
    /// A packet of Opus.
    Opus(Bytes),
    /// Samples, and the number of channels.
    G711(AudioCodec, u8, Bytes),
    /// Metadata, the end of a sequence.
    Aside,
    /// A coding that the relay does not carry.
    Unsupported(&'static str),
}

const COMMAND: u8 = 5; // a frame type that is no picture
const EXTENDED: u8 = 0x80;

/// The packet types of Enhanced RTMP that both kinds of tags have.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3; // video: without a composition time
const METADATA: u8 = 4;
const MOD_EX: u8 = 7;

/// Reads a video body; `None` if it is cut, or of a form that nobody has defined.
pub(crate) fn video(body: &Bytes) -> Option<Video> {
    let first = *body.first()?;
    if first & EXTENDED != 0 {
        return extended_video(first, body);
    }
    let codec = match first & 0x0F {
        7 => VideoCodec::H264,
        12 => VideoCodec::H265, // agreed among older servers and players
        number => return Some(Video::Unsupported(video_name(number))),
    };
    if first >> 4 == COMMAND {
        return Some(Video::Aside);
    }
    match *body.get(1)? {
        0 => Some(Video::Header(codec, rest(body, 5)?)),
        1 => Some(Video::Picture(codec, composition(body, 2)?, rest(body, 5)?)),
        2 => Some(Video::Aside),
        _ => None,
    }
}

fn extended_video(first: u8, body: &Bytes) -> Option<Video> {
    let (packet_type, at) = packet_type(first & 0x0F, body)?;
    if first >> 4 & 7 == COMMAND && packet_type != METADATA {
        return Some(Video::Aside);
    }
    if packet_type > METADATA {
        return Some(Video::Unsupported("video in multiple tracks or MPEG-2 TS"));
    }
    let codec = match body.get(at..at + 4)? {
        b"avc1" => VideoCodec::H264,
        b"hvc1" | b"hev1" => VideoCodec::H265,
        b"av01" => return Some(Video::Unsupported("AV1")),
        b"vp09" => return Some(Video::Unsupported("VP9")),
        b"vp08" => return Some(Video::Unsupported("VP8")),
        b"vvc1" => return Some(Video::Unsupported("H.266")),
        _ => return Some(Video::Unsupported("video of an unknown type")),
    };
    let at = at + 4;
    Some(match packet_type {
        SEQUENCE_START => Video::Header(codec, rest(body, at)?),
        CODED_FRAMES => Video::Picture(codec, composition(body, at)?, rest(body, at + 3)?),
        CODED_FRAMES_X => Video::Picture(codec, 0, rest(body, at)?),
        _ => Video::Aside,
    })
}

/// Reads an audio body; `None` if it is cut, or of a form that nobody has defined.
pub(crate) fn audio(body: &Bytes) -> Option<Audio> {
    let first = *body.first()?;
    let channels = 1 + (first & 1);
    match first >> 4 {
        10 => match *body.get(1)? {
            0 => Some(Audio::Header(rest(body, 2)?)),
            1 => Some(Audio::Aac(rest(body, 2)?)),
            _ => None,
        },
        7 => Some(Audio::G711(AudioCodec::G711A, channels, rest(body, 1)?)),
        8 => Some(Audio::G711(AudioCodec::G711U, channels, rest(body, 1)?)),
        9 => extended_audio(first, body),
        13 => Some(Audio::Opus(rest(body, 1)?)), // agreed among older servers
        number => Some(Audio::Unsupported(audio_name(number))),
    }
}

fn extended_audio(first: u8, body: &Bytes) -> Option<Audio> {
    let (packet_type, at) = packet_type(first & 0x0F, body)?;
    if packet_type > METADATA {
        return Some(Audio::Unsupported("sound in multiple tracks"));
    }
    let opus = match body.get(at..at + 4)? {
        b"mp4a" => false,
        b"Opus" => true,
        b".mp3" => return Some(Audio::Unsupported("MP3")),
        _ => return Some(Audio::Unsupported("audio of an unknown type")),
    };
    let content = rest(body, at + 4)?;
    Some(match packet_type {
        SEQUENCE_START if opus => Audio::OpusHead(content),
        SEQUENCE_START => Audio::Header(content),
        CODED_FRAMES if opus => Audio::Opus(content),
        CODED_FRAMES => Audio::Aac(content),
        SEQUENCE_END | METADATA => Audio::Aside, // 4 states where the loudspeakers stand
        _ => return None,
    })
}

/// The packet type behind its modifiers (`ModEx`: a size, that much data, then four bits of kind and the next packet
/// type), and where what follows begins.
fn packet_type(first: u8, body: &[u8]) -> Option<(u8, usize)> {
    let (mut packet_type, mut at) = (first, 1);
    while packet_type == MOD_EX {
        let mut size = usize::from(*body.get(at)?) + 1;
        at += 1;
        if size == 256 {
            size = usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])) + 1;
            at += 2;
        }
        packet_type = *body.get(at + size)? & 0x0F;
        at += size + 1;
    }
    Some((packet_type, at))
}

/// `SI24`.
fn composition(body: &[u8], at: usize) -> Option<i32> {
    let &[a, b, c] = body.get(at..at + 3)? else { return None };
    Some(i32::from_be_bytes([a, b, c, 0]) >> 8)
}

fn rest(body: &Bytes, at: usize) -> Option<Bytes> {
    (at <= body.len()).then(|| body.slice(at..))
}

fn video_name(number: u8) -> &'static str {
    match number {
        2 => "H.263",
        3 | 6 => "screen video",
        4 | 5 => "VP6",
        13 => "AV1",
        _ => "video of an unknown type",
    }
}

fn audio_name(number: u8) -> &'static str {
    match number {
        0 | 3 => "PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        11 => "Speex",
        _ => "audio of an unknown type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(parts: &[&[u8]]) -> Bytes {
        parts.concat().into()
    }

    fn picture(parts: &[&[u8]]) -> Option<(VideoCodec, i32, Vec<u8>)> {
        match video(&bytes(parts)) {
            Some(Video::Picture(codec, composition, data)) => Some((codec, composition, data.to_vec())),
            _ => None,
        }
    }

    #[test]
    fn plain_bodies_of_avc_and_codec_12() {
        let (h264, h265) = (VideoCodec::H264, VideoCodec::H265);
        assert_eq!(video(&bytes(&[&[0x17, 0, 0, 0, 0, 7]])), Some(Video::Header(h264, bytes(&[&[7]]))));
        assert_eq!(video(&bytes(&[&[0x1C, 0, 0, 0, 0, 7]])), Some(Video::Header(h265, bytes(&[&[7]]))));
        assert_eq!(picture(&[&[0x27, 1, 0, 0, 40, 9]]), Some((h264, 40, vec![9])));
        assert_eq!(picture(&[&[0x2C, 1, 0xFF, 0xFF, 0xD8, 9]]), Some((h265, -40, vec![9])));
        for aside in [&[0x17, 2, 0, 0, 0][..], &[0x57, 0]] {
            assert_eq!(video(&bytes(&[aside])), Some(Video::Aside));
        }
        for cut in [&[][..], &[0x17], &[0x17, 1, 0, 0], &[0x17, 3, 0, 0, 0]] {
            assert_eq!(video(&bytes(&[cut])), None, "{cut:?}");
        }
    }

    #[test]
    fn enhanced_bodies_of_both_codings() {
        for (name, codec) in [(b"avc1", VideoCodec::H264), (b"hvc1", VideoCodec::H265)] {
            assert_eq!(video(&bytes(&[&[0x90], name, &[7]])), Some(Video::Header(codec, bytes(&[&[7]]))));
            assert_eq!(picture(&[&[0x91], name, &[0, 0, 40, 9]]), Some((codec, 40, vec![9])));
            assert_eq!(picture(&[&[0xA3], name, &[9]]), Some((codec, 0, vec![9])));
            assert_eq!(video(&bytes(&[&[0x92], name])), Some(Video::Aside));
            assert_eq!(video(&bytes(&[&[0xD4], name, &[2]])), Some(Video::Aside));
            assert_eq!(video(&bytes(&[&[0x91], name, &[0, 0]])), None);
        }
    }

    #[test]
    fn modifiers_are_stepped_over() {
        let nanoseconds: &[u8] = &[0x97, 2, 0, 0, 7, 0x03];
        assert_eq!(picture(&[nanoseconds, b"hvc1", &[9]]), Some((VideoCodec::H265, 0, vec![9])));
        let long = [&[0x97, 255, 1, 43][..], &[0; 300], &[0x07, 0, 0xAA, 0x03]].concat();
        assert_eq!(picture(&[&long, b"avc1", &[9]]), Some((VideoCodec::H264, 0, vec![9])));
        assert_eq!(video(&bytes(&[&[0x97, 255, 255]])), None);
    }

    #[test]
    fn bodies_of_sound() {
        assert_eq!(audio(&bytes(&[&[0xAF, 0, 0x14, 8]])), Some(Audio::Header(bytes(&[&[0x14, 8]]))));
        assert_eq!(audio(&bytes(&[&[0xAF, 1, 5]])), Some(Audio::Aac(bytes(&[&[5]]))));
        assert_eq!(audio(&bytes(&[&[0x72, 5]])), Some(Audio::G711(AudioCodec::G711A, 1, bytes(&[&[5]]))));
        assert_eq!(audio(&bytes(&[&[0x83, 5]])), Some(Audio::G711(AudioCodec::G711U, 2, bytes(&[&[5]]))));
        assert_eq!(audio(&bytes(&[&[0x90], b"mp4a", &[9]])), Some(Audio::Header(bytes(&[&[9]]))));
        assert_eq!(audio(&bytes(&[&[0x91], b"mp4a", &[9]])), Some(Audio::Aac(bytes(&[&[9]]))));
        assert_eq!(audio(&bytes(&[&[0x94], b"mp4a", &[9]])), Some(Audio::Aside));
        assert_eq!(audio(&bytes(&[&[0x90], b"Opus", &[9]])), Some(Audio::OpusHead(bytes(&[&[9]]))));
        assert_eq!(audio(&bytes(&[&[0x91], b"Opus", &[9]])), Some(Audio::Opus(bytes(&[&[9]]))));
        assert_eq!(audio(&bytes(&[&[0xD2, 9]])), Some(Audio::Opus(bytes(&[&[9]]))));
        assert_eq!(audio(&bytes(&[&[0xAF]])), None);
        assert_eq!(audio(&bytes(&[&[0x91], b"mp4"])), None);
    }

    #[test]
    fn other_codings_have_names() {
        for (body, name) in [(&[0x22][..], "H.263"), (&[0x90, b'a', b'v', b'0', b'1'], "AV1")] {
            assert_eq!(video(&bytes(&[body])), Some(Video::Unsupported(name)));
        }
        for (body, name) in
            [(&[0x2F][..], "MP3"), (&[0xB6], "Speex"), (&[0x91, b'.', b'm', b'p', b'3'], "MP3")]
        {
            assert_eq!(audio(&bytes(&[body])), Some(Audio::Unsupported(name)));
        }
    }
}
