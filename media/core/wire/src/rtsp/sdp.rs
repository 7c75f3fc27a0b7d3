//! Session descriptions as cameras, encoders and servers send them in DESCRIBE and ANNOUNCE (RFC 8866, RFC 2326 annex C).
//! Only what is needed to receive the tracks is read, and everything else skipped: order and spelling differ too much.

use bytes::Bytes;
use thiserror::Error;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::media::Kind;

/// Tracks of a session at most; those behind are ignored.
const MEDIA_MAX: usize = 16;

/// Why a description is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SdpError {
    /// Not text.
    #[error("the description is no text")]
    NotText,
    /// Nothing that we know in it.
    #[error("the description has no track of video or audio")]
    NoTracks,
}

/// One track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDescription {
    /// Video or audio; others are left out.
    pub kind: Kind,
    /// The first payload type of the list.
    pub payload_type: u8,
    /// Encoding name in capitals, from rtpmap or the payload type (RFC 3551 §6); empty if unknown.
    pub encoding: String,
    /// Units of RTP timestamps in a second.
    pub clock_rate: u32,
    /// Channels of sound.
    pub channels: u8,
    /// Where to SETUP it: absolute, or relative to the session; empty if none is stated.
    pub control: String,
    /// fmtp parameters, names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl MediaDescription {
    /// A parameter of fmtp.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Parameter sets that are announced: `sprop-parameter-sets` (RFC 6184 §8.1), `sprop-vps`, `-sps`, `-pps` (RFC 7798 §7.1).
    pub fn parameter_sets(&self) -> Vec<Bytes> {
        ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"]
            .iter()
            .filter_map(|name| self.parameter(name))
            .flat_map(|value| value.split(','))
            .filter_map(|set| STANDARD.decode(set.trim()).ok())
            .filter(|set| !set.is_empty())
            .take(32)
            .map(Bytes::from)
            .collect()
    }

    /// `config` of AAC (RFC 3640 §4.1), the AudioSpecificConfig.
    pub fn audio_config(&self) -> Option<Vec<u8>> {
        let text = self.parameter("config")?;
        let digits: Vec<_> = text.bytes().map(|byte| (byte as char).to_digit(16)).collect::<Option<_>>()?;
        (digits.len() % 2 == 0 && digits.len() <= 64)
            .then(|| digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// `a=control` of the session; empty if none is stated.
    pub control: String,
    /// Video and audio in order.
    pub media: Vec<MediaDescription>,
}

impl Description {
    /// Reads a description of bounded size.
    pub fn parse(data: &[u8]) -> Result<Self, SdpError> {
        // Names of streams may be in any encoding; what matters is ASCII.
        let text = String::from_utf8_lossy(data);
        if text.contains('\0') {
            return Err(SdpError::NotText);
        }
        let mut found = Self::default();
        let mut skipping = false;
        for line in text.lines().map(str::trim) {
            if let Some(value) = line.strip_prefix("m=") {
                let media = (found.media.len() < MEDIA_MAX).then(|| read_media(value)).flatten();
                skipping = media.is_none();
                found.media.extend(media);
            } else if let Some(value) = line.strip_prefix("a=").filter(|_| !skipping) {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                match found.media.last_mut() {
                    Some(media) => read_attribute(media, name, value.trim()),
                    None if name == "control" => value.trim().clone_into(&mut found.control),
                    None => {}
                }
            }
        }
        if found.media.is_empty() { Err(SdpError::NoTracks) } else { Ok(found) }
    }
}

/// `video 0 RTP/AVP 96 97`.
fn read_media(value: &str) -> Option<MediaDescription> {
    let mut words = value.split_whitespace();
    let kind = match words.next()? {
        "video" => Kind::Video,
        "audio" => Kind::Audio,
        _ => return None,
    };
    let payload_type = words.nth(2)?.parse().ok().filter(|number| *number < 128)?;
    let (encoding, clock_rate) = match payload_type {
        0 => ("PCMU", 8_000),
        8 => ("PCMA", 8_000),
        33 => ("MP2T", 90_000),
        _ => ("", 90_000),
    };
    let (control, parameters) = (String::new(), Vec::new());
    Some(MediaDescription {
        kind,
        payload_type,
        encoding: encoding.to_owned(),
        clock_rate,
        channels: 1,
        control,
        parameters,
    })
}

fn read_attribute(media: &mut MediaDescription, name: &str, value: &str) {
    match name {
        "control" => value.clone_into(&mut media.control),
        "rtpmap" => {
            if let Some(map) = of_type(media.payload_type, value) {
                let mut parts = map.split('/');
                media.encoding = parts.next().unwrap_or_default().trim().to_ascii_uppercase();
                let rate = parts.next().and_then(|rate| rate.trim().parse().ok());
                media.clock_rate = rate.filter(|rate| *rate > 0).unwrap_or(media.clock_rate);
                media.channels = parts.next().and_then(|count| count.trim().parse().ok()).unwrap_or(1);
            }
        }
        "fmtp" => {
            if let Some(list) = of_type(media.payload_type, value) {
                media.parameters = list
                    .split(';')
                    .filter_map(|one| one.trim().split_once('='))
                    .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
                    .take(32)
                    .collect();
            }
        }
        _ => {}
    }
}

/// What an attribute says of one payload type.
fn of_type(payload_type: u8, value: &str) -> Option<&str> {
    let (number, rest) = value.split_once(char::is_whitespace)?;
    (number.parse() == Ok(payload_type)).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cameras_description_is_read() {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=Media Presentation\r\na=control:*\r\nt=0 0\r\n\
            m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 X/1\r\n\
            a=fmtp:96 packetization-mode=1; profile-level-id=64000D; sprop-parameter-sets=Z2Q=,aO8=\r\na=control:trackID=1\r\n\
            m=application 0 RTP/AVP 107\r\na=control:trackID=9\r\n\
            m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/16000/2\na=fmtp:97 config=1410;mode=AAC-hbr\na=control:rtsp://a/b/trackID=2\n\
            m=audio 0 RTP/AVP 8\n";
        let found = Description::parse(text.as_bytes()).unwrap();
        assert_eq!((found.control.as_str(), found.media.len()), ("*", 3));
        let [video, aac, g711] = &found.media[..] else { panic!() };
        assert_eq!((video.encoding.as_str(), video.control.as_str()), ("H264", "trackID=1"));
        assert_eq!(video.parameter_sets(), [&b"\x67\x64"[..], b"\x68\xEF"]);
        assert_eq!((aac.encoding.as_str(), aac.clock_rate, aac.channels), ("MPEG4-GENERIC", 16_000, 2));
        assert_eq!(
            (aac.audio_config(), aac.control.as_str()),
            (Some(vec![0x14, 0x10]), "rtsp://a/b/trackID=2")
        );
        assert_eq!((g711.encoding.as_str(), g711.clock_rate), ("PCMA", 8_000));
    }

    #[test]
    fn nonsense_is_refused_or_skipped() {
        assert_eq!(Description::parse(b"v=0\r\n"), Err(SdpError::NoTracks));
        assert_eq!(Description::parse(b"m=video 0 RTP/AVP 96\0"), Err(SdpError::NotText));
        let odd = b"m=video 0 RTP/AVP\nm=video 0 RTP/AVP 300\nm=video 0 RTP/AVP 96\na=rtpmap:96\na=fmtp:96 =;;a\na=rtpmap:96 H265/0\n";
        let found = Description::parse(odd).unwrap();
        assert_eq!((found.media.len(), found.media[0].clock_rate), (1, 90_000));
        assert_eq!(found.media[0].audio_config(), None);
        let many = "m=audio 0 RTP/AVP 0\n".repeat(1000);
        assert_eq!(Description::parse(many.as_bytes()).unwrap().media.len(), MEDIA_MAX);
    }
}
