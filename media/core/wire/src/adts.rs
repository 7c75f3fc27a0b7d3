//! Puts ADTS headers in front of raw AAC frames (ISO/IEC 13818-7 §6.2), as MPEG-TS wants them.

use crate::{
    aac::{Config, RATES},
    media::AudioTrack,
};

/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 7;

/// The header of a frame of `size` bytes; `None` if ADTS cannot express the track's configuration or the size.
pub fn header(track: &AudioTrack, size: usize) -> Option<[u8; HEADER_SIZE]> {
    let config = Config::parse(&track.config)?;
    let profile = match config.object_type {
        object_type @ 1..=4 => object_type - 1,
        5 | 29 => 1, // SBR and PS lie over a core of low complexity, which is what ADTS names
        _ => return None,
    };
    let rate = RATES.iter().position(|rate| *rate == config.sample_rate)? as u8;
    let channels = config.channels & 7;
    let length = u16::try_from(size + HEADER_SIZE).ok().filter(|length| *length < 1 << 13)?;
    Some([
        0xFF,
        0xF1, // MPEG-4, no CRC
        profile << 6 | rate << 2 | channels >> 2,
        (channels & 3) << 6 | (length >> 11) as u8,
        (length >> 3) as u8,
        (length as u8 & 7) << 5 | 0x1F,
        0xFC, // variable rate, one raw block
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::{AudioCodec, VideoCodec},
        testing,
    };
    use bytes::Bytes;

    #[test]
    fn the_header_says_what_the_configuration_says() {
        let mut track = testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)).audio.expect("audio");
        let expected = [0xFF, 0xF1, 0x60, 0x40, 0x20, 0xFF, 0xFC]; // low complexity, 16 kHz, mono, 256 + 7 bytes
        assert_eq!(header(&track, 256), Some(expected));
        track.config = Bytes::from_static(&[0x17, 0x80, 0x1F, 0x40, 0x08]); // the rate written out: 16 kHz
        assert_eq!(header(&track, 256), Some(expected));
    }

    #[test]
    fn what_adts_cannot_say_is_refused() {
        let mut track = testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)).audio.expect("audio");
        assert_eq!(header(&track, 8192 - HEADER_SIZE), None);
        assert!(header(&track, 8191 - HEADER_SIZE).is_some());
        track.config = Bytes::from_static(&[0x14]);
        assert_eq!(header(&track, 256), None);
    }
}
