//! From ready frames whose coding and times are known to access units: for sources within the process, which demultiplex
//! (or decode and encode) themselves.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::{
    media::{AccessUnit, AudioCodec, VideoCodec, VideoTrack},
    nal,
    packetize::announces_itself,
    timeline::Stamp,
    units::Units,
    unpack::{Options, Output},
};

/// Before each NAL unit.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Times in PES have 33 bits, and so have ours where they enter: the timeline unrolls them again.
const TIME_BITS: u32 = 33;

/// Makes the access units of one stream; see the module.
#[derive(Debug)]
pub struct RawReader {
    units: Units,
}

impl RawReader {
    /// A stream that has not begun.
    pub fn new(options: Options) -> Self {
        Self { units: Units::new(options) }
    }

    /// Sound of this coding is to come: the start waits a moment for it. `config` is the `AudioSpecificConfig` of AAC, which
    /// must be given; false if it cannot be read.
    pub fn announce_audio(&mut self, codec: AudioCodec, channels: u8, config: &Bytes) -> bool {
        self.units.change_audio(codec);
        self.units.sound.set_channels(channels);
        codec != AudioCodec::Aac || self.units.sound.handle_config(config)
    }

    /// A picture with start codes; times in ticks of 90 kHz.
    pub fn handle_video(&mut self, now: Instant, codec: VideoCodec, pts: i64, dts: i64, data: BytesMut) {
        self.units.change_video(codec);
        self.units.handle_annex_b(now, data, stamp(pts, dts));
    }

    /// A frame of the sound that was announced.
    pub fn handle_audio(&mut self, now: Instant, codec: AudioCodec, pts: i64, data: Bytes) {
        let stamp = stamp(pts, pts);
        match codec {
            AudioCodec::Aac => self.units.handle_aac(now, data, stamp),
            _ => self.units.handle_audio(now, data, stamp),
        }
    }

    /// Frames are missing: video goes on at the next key frame.
    pub fn handle_gap(&mut self) {
        self.units.handle_video_gap();
    }

    /// Lets time pass; early calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.units.handle_timeout(now);
    }

    /// When to call `handle_timeout`.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.units.next_timeout()
    }

    /// The next output, or `None` until something is handled.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.units.poll_output()
    }
}

/// Bytes that [`write_annex_b`] needs.
pub fn annex_b_len(unit: &AccessUnit, track: &VideoTrack) -> usize {
    unit.data.len() + missing_sets(unit, track).map(|set| START_CODE.len() + set.len()).sum::<usize>()
}

/// Writes a picture with start codes, and the parameter sets before it where decoding can start and the device did not put
/// them there. Lengths before NAL units have 4 bytes, and so have start codes: nothing moves.
pub fn write_annex_b(unit: &AccessUnit, track: &VideoTrack, mut out: &mut [u8]) {
    let mut put = |nal: &[u8]| {
        let taken = std::mem::take(&mut out);
        let Some((code, rest)) = taken.split_at_mut_checked(START_CODE.len()) else { return };
        let Some((body, rest)) = rest.split_at_mut_checked(nal.len()) else { return };
        code.copy_from_slice(&START_CODE);
        body.copy_from_slice(nal);
        out = rest;
    };
    missing_sets(unit, track).for_each(|set| put(set));
    nal::length_prefixed(&unit.data).for_each(put);
}

fn missing_sets<'a>(unit: &AccessUnit, track: &'a VideoTrack) -> impl Iterator<Item = &'a Bytes> + use<'a> {
    let wanted = unit.key && !announces_itself(unit, track);
    [&track.vps, &track.sps, &track.pps].into_iter().flatten().filter(move |_| wanted)
}

fn stamp(pts: i64, dts: i64) -> Stamp {
    let wrap = |time: i64| time.cast_unsigned() & ((1 << TIME_BITS) - 1);
    Stamp::Pes { pts: wrap(pts), dts: Some(wrap(dts)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{media::Kind, opus, test_clock, testing};

    fn reader() -> RawReader {
        RawReader::new(Options::default())
    }

    fn key_frame() -> BytesMut {
        let nals = [testing::H264_SPS, testing::H264_PPS, testing::H264_IDR];
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect::<Vec<u8>>().as_slice().into()
    }

    fn outputs(reader: &mut RawReader) -> Vec<Output> {
        std::iter::from_fn(|| reader.poll_output()).collect()
    }

    #[test]
    fn opus_beside_h264_begins_with_both_tracks() {
        let (mut reader, now) = (reader(), test_clock::start());
        assert!(reader.announce_audio(AudioCodec::Opus, 2, &Bytes::new()));
        reader.handle_video(now, VideoCodec::H264, 3000, 0, key_frame());
        assert!(outputs(&mut reader).is_empty(), "it waits for the sound");
        // What looks like ADTS is not: the coding was stated.
        reader.handle_audio(
            now,
            AudioCodec::Opus,
            100,
            Bytes::from_static(&[0xFF, 0xF1, 0x50, 0x80, 1, 2, 3, 4]),
        );
        let outputs = outputs(&mut reader);
        let Output::Tracks(tracks) = &outputs[0] else { panic!("{outputs:?}") };
        let audio = tracks.audio.as_ref().unwrap();
        assert_eq!((audio.codec, audio.sample_rate, audio.channels), (AudioCodec::Opus, 48_000, 2));
        assert_eq!(audio.config, opus::head(2));
        let units: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Unit(unit) => Some((unit.kind, unit.key, unit.pts - unit.dts)),
                _ => None,
            })
            .collect();
        assert_eq!(units.len(), 2);
        assert_eq!((units[0].0, units[0].1, units[0].2.0), (Kind::Video, true, 3000));
    }

    #[test]
    fn a_key_frame_is_written_with_its_sets_once() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let track = tracks.video.as_ref().unwrap();
        let write = |key, nals: &[&[u8]]| {
            let mut unit = testing::video(&tracks, 0, 0, key);
            unit.data = testing::length_prefixed(nals).into();
            let mut out = vec![0; annex_b_len(&unit, track)];
            write_annex_b(&unit, track, &mut out);
            out
        };
        let with_codes =
            |nals: &[&[u8]]| nals.iter().flat_map(|nal| [&START_CODE, *nal].concat()).collect::<Vec<_>>();
        let whole = with_codes(&[testing::H264_SPS, testing::H264_PPS, testing::H264_IDR]);
        assert_eq!(write(true, &[testing::H264_IDR]), whole);
        assert_eq!(write(true, &[testing::H264_SPS, testing::H264_PPS, testing::H264_IDR]), whole);
        assert_eq!(write(false, &[testing::H264_IDR]), with_codes(&[testing::H264_IDR]));
    }

    #[test]
    fn aac_without_a_readable_configuration_is_refused() {
        let mut reader = reader();
        assert!(!reader.announce_audio(AudioCodec::Aac, 1, &Bytes::new()));
        assert!(reader.announce_audio(AudioCodec::Aac, 1, &Bytes::from_static(&[0x15, 0x88])));
    }

    #[test]
    fn after_a_gap_a_key_frame_is_awaited() {
        let (mut reader, now) = (reader(), test_clock::start());
        reader.handle_video(now, VideoCodec::H264, 0, 0, key_frame());
        reader.handle_timeout(now + std::time::Duration::from_secs(2));
        assert!(outputs(&mut reader).iter().any(|output| matches!(output, Output::Unit(_))));
        reader.handle_gap();
        let picture = BytesMut::from(&[0, 0, 0, 1, 0x41, 0x9A, 0x00][..]);
        reader.handle_video(now, VideoCodec::H264, 3600, 3600, picture);
        assert!(!outputs(&mut reader).iter().any(|output| matches!(output, Output::Unit(_))));
    }
}
