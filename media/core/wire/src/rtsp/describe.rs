//! Our own streams as session descriptions (RFC 2326 annex C), and the payload formats they promise.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::Range;
use crate::media::{AudioCodec, AudioTrack, Kind, Tracks, VideoCodec, VideoTrack};

/// How one track is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackFormat {
    /// Which track.
    pub kind: Kind,
    /// Payload type of its packets.
    pub payload_type: u8,
    /// Units of RTP timestamps in a second.
    pub clock_rate: u32,
}

/// Payload type of all video.
const VIDEO_TYPE: u8 = 96;

/// Payload type of sound that has none of its own.
const AUDIO_TYPE: u8 = 97;

/// The tracks that are sent, in the order of their numbers (`trackID=0`, `trackID=1`).
pub fn track_formats(tracks: &Tracks) -> Vec<TrackFormat> {
    let video = tracks.video.as_ref().map(|_| TrackFormat {
        kind: Kind::Video,
        payload_type: VIDEO_TYPE,
        clock_rate: 90_000,
    });
    let audio = tracks.audio.as_ref().map(|track| {
        // RFC 3551 §6: the static types are of 8 kHz and one channel.
        let plain = track.sample_rate == 8_000 && track.channels == 1;
        let (payload_type, clock_rate) = match track.codec {
            AudioCodec::G711A if plain => (8, 8_000),
            AudioCodec::G711U if plain => (0, 8_000),
            AudioCodec::Opus => (AUDIO_TYPE, 48_000),
            _ => (AUDIO_TYPE, track.sample_rate),
        };
        TrackFormat { kind: Kind::Audio, payload_type, clock_rate }
    });
    video.into_iter().chain(audio).collect()
}

/// The description of a stream; `session` is a number that differs from stream to stream, `range` what can be played.
pub fn describe(tracks: &Tracks, session: u64, range: Range) -> String {
    let mut out = format!(
        "v=0\r\no=- {session} 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:{range}\r\n"
    );
    for (number, format) in track_formats(tracks).iter().enumerate() {
        let kind = if format.kind == Kind::Video { "video" } else { "audio" };
        // Writing into a String cannot fail.
        let _ = write!(out, "m={kind} 0 RTP/AVP {}\r\n", format.payload_type);
        match (format.kind, &tracks.video, &tracks.audio) {
            (Kind::Video, Some(track), _) => put_video(&mut out, format.payload_type, track),
            (Kind::Audio, _, Some(track)) => put_audio(&mut out, *format, track),
            _ => {}
        }
        let _ = write!(out, "a=control:trackID={number}\r\n");
    }
    out
}

fn put_video(out: &mut String, payload_type: u8, track: &VideoTrack) {
    let _ = match track.codec {
        VideoCodec::H264 => {
            let profile = track.sps.first().and_then(|sps| sps.get(1..4)).map(hex).unwrap_or_default();
            let sets = sets(track.sps.iter().chain(&track.pps));
            write!(
                out,
                "a=rtpmap:{payload_type} H264/90000\r\na=fmtp:{payload_type} packetization-mode=1;\
                 profile-level-id={profile};sprop-parameter-sets={sets}\r\n"
            )
        }
        VideoCodec::H265 => write!(
            out,
            "a=rtpmap:{payload_type} H265/90000\r\na=fmtp:{payload_type} sprop-vps={};sprop-sps={};sprop-pps={}\r\n",
            sets(track.vps.iter()),
            sets(track.sps.iter()),
            sets(track.pps.iter())
        ),
    };
}

fn put_audio(out: &mut String, format: TrackFormat, track: &AudioTrack) {
    let TrackFormat { payload_type, clock_rate, .. } = format;
    let channels = track.channels;
    let _ = match track.codec {
        AudioCodec::G711A => write!(out, "a=rtpmap:{payload_type} PCMA/{clock_rate}/{channels}\r\n"),
        AudioCodec::G711U => write!(out, "a=rtpmap:{payload_type} PCMU/{clock_rate}/{channels}\r\n"),
        // RFC 7587 §7: two channels whatever is sent.
        AudioCodec::Opus => {
            let stereo = u8::from(channels > 1);
            write!(
                out,
                "a=rtpmap:{payload_type} opus/48000/2\r\na=fmtp:{payload_type} sprop-stereo={stereo}\r\n"
            )
        }
        AudioCodec::Aac => write!(
            out,
            "a=rtpmap:{payload_type} MPEG4-GENERIC/{clock_rate}/{channels}\r\na=fmtp:{payload_type} streamtype=5;\
             profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}\r\n",
            hex(&track.config)
        ),
    };
}

fn sets<'a>(sets: impl Iterator<Item = &'a Bytes>) -> String {
    sets.map(|set| STANDARD.encode(set)).collect::<Vec<_>>().join(",")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rtsp::Description, testing};

    #[test]
    fn what_is_described_is_read_again() {
        let cases = [
            (VideoCodec::H264, Some(AudioCodec::Aac), "H264", Some(("MPEG4-GENERIC", 16_000, 97))),
            (VideoCodec::H265, Some(AudioCodec::G711A), "H265", Some(("PCMA", 8_000, 8))),
            (VideoCodec::H264, Some(AudioCodec::G711U), "H264", Some(("PCMU", 8_000, 0))),
            (VideoCodec::H265, None, "H265", None),
            (VideoCodec::H264, Some(AudioCodec::Opus), "H264", Some(("OPUS", 48_000, 97))),
        ];
        for (video, audio, name, sound) in cases {
            let tracks = testing::tracks(video, audio);
            let found = Description::parse(describe(&tracks, 7, Range::NOW).as_bytes()).unwrap();
            assert_eq!(found.control, "*");
            assert_eq!(found.media[0].encoding, name);
            let track = tracks.video.as_ref().unwrap();
            let announced: Vec<_> =
                [&track.vps, &track.sps, &track.pps].into_iter().flatten().cloned().collect();
            assert_eq!(found.media[0].parameter_sets(), announced);
            let heard = found.media.get(1);
            let told = heard.map(|one| (one.encoding.as_str(), one.clock_rate, one.payload_type));
            assert_eq!(told, sound);
            if audio == Some(AudioCodec::Aac) {
                assert_eq!(heard.unwrap().audio_config().unwrap(), tracks.audio.unwrap().config);
            }
            let controls: Vec<_> = found.media.iter().map(|one| one.control.as_str()).collect();
            assert_eq!(controls, &["trackID=0", "trackID=1"][..found.media.len()]);
        }
    }

    #[test]
    fn sound_of_unusual_rates_gets_a_type_of_its_own() {
        let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A));
        tracks.audio.as_mut().unwrap().sample_rate = 16_000;
        let formats = track_formats(&tracks);
        assert_eq!((formats[1].payload_type, formats[1].clock_rate), (AUDIO_TYPE, 16_000));
        assert!(describe(&tracks, 1, Range::NOW).contains("a=rtpmap:97 PCMA/16000/1\r\n"));
        tracks.video = None;
        assert_eq!(track_formats(&tracks).len(), 1);
        assert!(describe(&tracks, 1, Range::NOW).contains("a=control:trackID=0\r\n"));
    }
}
