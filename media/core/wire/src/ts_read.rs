//! Reads a transport stream from a connection, a file or datagrams: packets are found in the bytes, wherever these begin.
//!
//! Packets lie 188 bytes apart, 192 (a time stamp of 4 bytes before each, as recorders write) or 204 (16 bytes of
//! Reed-Solomon behind each): only what begins with the sync byte is read.

use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::{
    fault::Fault,
    frames::{Event, Frame},
    media::Kind,
    timeline::Stamp,
    transport::{PACKET, SYNC, Transport},
    units::Units,
    unpack::{Options, Output, Payload},
};

/// Distances of packets.
const STRIDES: [usize; 3] = [188, 192, 204];
/// So many sync bytes at one distance are no accident.
const SYNCS: usize = 4;
/// Bytes that may be searched for packets.
const SEARCH_MAX: usize = 1 << 20;

/// What came is no transport stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TsError {
    /// No packets were found for long.
    #[error("no packets of a transport stream in {SEARCH_MAX} bytes")]
    NoSync,
}

/// From the bytes of a transport stream to access units.
#[derive(Debug)]
pub struct TsReader {
    limit: usize,
    buffer: BytesMut,
    stride: Option<usize>,
    searched: usize,
    transport: Transport,
    units: Units,
    count: u32,
    told: bool,
}

impl TsReader {
    /// Before the first byte.
    pub fn new(options: Options) -> Self {
        let limit = options.frame_bytes_max;
        Self {
            limit,
            buffer: BytesMut::new(),
            stride: None,
            searched: 0,
            transport: Transport::of_bytes(limit),
            units: Units::new(options),
            count: 0,
            told: false,
        }
    }

    /// Takes the next bytes. After an error nothing more comes of it.
    pub fn handle_bytes(&mut self, now: Instant, data: &[u8]) -> Result<(), TsError> {
        self.buffer.extend_from_slice(data);
        while let Some(stride) = self.stride.or_else(|| self.search(SYNCS)) {
            self.stride = Some(stride);
            self.read(now, stride);
            if self.stride.is_some() {
                return Ok(());
            }
        }
        if self.searched > SEARCH_MAX { Err(TsError::NoSync) } else { Ok(()) }
    }

    /// No more bytes follow these: a file or segment ends, and with it the last picture.
    pub fn handle_end(&mut self, now: Instant) {
        if let Some(stride) = self.stride.or_else(|| self.search(1)) {
            self.stride = Some(stride);
            self.read(now, stride);
        }
        self.buffer.clear();
        self.stride = None;
        self.transport.handle_end();
        self.drain(now);
    }

    /// Packets are missing; video goes on at the next key frame.
    pub fn handle_gap(&mut self) {
        self.buffer.clear();
        self.stride = None;
        if self.transport.handle_gap() {
            self.units.fault(Fault::DamagedUnit);
        }
        self.units.sound.handle_gap();
        self.units.handle_video_gap();
    }

    /// What follows is another stream, with a clock and tracks of its own; this stream's clock goes on.
    pub fn handle_restart(&mut self) {
        self.buffer.clear();
        self.stride = None;
        self.transport = Transport::of_bytes(self.limit);
        self.units.handle_restart();
    }

    /// How many packets came since it was asked last.
    pub fn take_packets(&mut self) -> u32 {
        std::mem::take(&mut self.count)
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

    /// Reads whole packets while they begin where they should; else the distance is unknown again.
    fn read(&mut self, now: Instant, stride: usize) {
        while self.buffer.len() >= PACKET {
            if self.buffer[0] != SYNC {
                self.stride = None;
                self.units.fault(Fault::Resync);
                break;
            }
            self.transport.handle_data(&self.buffer[..PACKET]);
            self.count += 1;
            if !std::mem::replace(&mut self.told, true) {
                self.units.tell(Output::Payload(Payload::Ts));
            }
            self.drain(now);
            if self.buffer.len() < stride {
                // The tail of the packet that was read is still to come; its sync byte is gone.
                if stride > PACKET {
                    self.buffer.advance(PACKET);
                    self.owed(stride - PACKET);
                } else {
                    self.buffer.clear();
                }
                break;
            }
            self.buffer.advance(stride);
        }
    }

    /// Drops what there is of `bytes` between packets; what is missing of it is searched past.
    fn owed(&mut self, bytes: usize) {
        let there = self.buffer.len().min(bytes);
        self.buffer.advance(there);
        if there < bytes {
            self.stride = None;
        }
    }

    /// Finds the distance of packets, and drops what stands before the first one.
    fn search(&mut self, syncs: usize) -> Option<usize> {
        let mut at = 0;
        while let Some(next) = memchr::memchr(SYNC, &self.buffer[at..]) {
            at += next;
            let rest = &self.buffer[at..];
            let fits = |&stride: &usize| (0..syncs).all(|number| rest.get(number * stride) == Some(&SYNC));
            if let Some(stride) = STRIDES.into_iter().find(fits) {
                self.buffer.advance(at);
                self.searched = 0;
                return Some(stride);
            }
            if rest.len() <= STRIDES[2] * (syncs - 1) {
                break; // it may be one, once more is there
            }
            at += 1;
        }
        let kept = memchr::memchr(SYNC, &self.buffer[at..]).map_or(self.buffer.len(), |next| at + next);
        self.searched += kept;
        self.buffer.advance(kept);
        None
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.transport.poll_event() {
            match event {
                Event::Frame(Frame { kind: Kind::Video, data, stamp }) => {
                    self.units.handle_annex_b(now, data, timed(stamp));
                    if let Some(codec) = self.units.codec() {
                        self.transport.set_codec(codec);
                    }
                }
                Event::Frame(Frame { kind: Kind::Audio, data, stamp }) => {
                    self.units.handle_audio(now, data.freeze(), timed(stamp));
                }
                Event::Map { video, audio } => self.units.handle_map(video, audio),
                Event::VideoGap => self.units.handle_video_gap(),
                Event::Fault(fault) => self.units.fault(fault),
            }
        }
    }
}

/// Without RTP around it, a frame's time is its PES packet's, or none.
fn timed(stamp: Stamp) -> Stamp {
    match stamp {
        Stamp::Rtp { .. } => Stamp::Arrival,
        stamp => stamp,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        media::{AccessUnit, AudioCodec, AudioTrack, Tracks, VideoCodec},
        opus,
        test_clock::start,
        testing,
        ts::TsMuxer,
    };

    /// Pictures of different sizes with sound beside them.
    fn stream(pictures: i64, audio: Option<AudioCodec>) -> (Vec<AccessUnit>, Vec<u8>) {
        stream_of(&Arc::new(testing::tracks(VideoCodec::H264, audio)), pictures)
    }

    fn stream_of(tracks: &Arc<Tracks>, pictures: i64) -> (Vec<AccessUnit>, Vec<u8>) {
        let (mut muxer, mut out, mut units) = (TsMuxer::new(), BytesMut::new(), vec![]);
        for number in 0..pictures {
            let key = number % 5 == 0;
            if key {
                muxer.write_tables(tracks, &mut out);
            }
            let mut picture = testing::video(tracks, number * 40, number * 40, key);
            let nal = [
                &[if key { 0x65 } else { 0x41 }, 0x88][..],
                &vec![7; 100 + number.cast_unsigned() as usize * 31],
            ]
            .concat();
            let sets: &[&[u8]] = if key {
                &[testing::H264_AUD, testing::H264_SPS, testing::H264_PPS]
            } else {
                &[testing::H264_AUD]
            };
            picture.data = testing::length_prefixed(&[sets, &[&nal[..]]].concat()).into();
            assert!(muxer.write(&picture, &mut out));
            units.push(picture);
            if tracks.audio.is_some() {
                let sound = testing::audio(tracks, number * 40 + 7, 160);
                assert!(muxer.write(&sound, &mut out));
                units.push(sound);
            }
        }
        (units, out.to_vec())
    }

    fn read(bytes: &[u8], step: usize) -> Vec<AccessUnit> {
        let mut reader = TsReader::new(Options::default());
        let mut units = vec![];
        for piece in bytes.chunks(step) {
            reader.handle_bytes(start(), piece).unwrap();
            units.extend(std::iter::from_fn(|| reader.poll_output()));
        }
        reader.handle_end(start());
        units.extend(std::iter::from_fn(|| reader.poll_output()));
        units
            .into_iter()
            .filter_map(|output| if let Output::Unit(unit) = output { Some(unit) } else { None })
            .collect()
    }

    fn assert_same(units: &[AccessUnit], expected: &[AccessUnit]) {
        for kind in [Kind::Video, Kind::Audio] {
            let of = |units: &[AccessUnit]| -> Vec<_> {
                let units = units.iter().filter(|unit| unit.kind == kind);
                let first = expected[0].dts.0;
                units.map(|unit| (unit.data.clone(), unit.key, unit.dts.0 - first)).collect()
            };
            assert_eq!(of(units), of(expected));
        }
    }

    #[test]
    fn every_unit_comes_out_however_the_bytes_are_cut() {
        for audio in [AudioCodec::G711A, AudioCodec::Opus] {
            let (expected, bytes) = stream(12, Some(audio));
            for step in [1, 187, 188, 1000, usize::MAX] {
                let units = read(&bytes, step);
                assert_same(&units, &expected);
                let track = units.last().and_then(|unit| unit.tracks.audio.clone());
                assert_eq!(track, expected[0].tracks.audio);
            }
        }
    }

    #[test]
    fn opus_has_the_channels_that_its_descriptor_states() {
        for channels in [1, 2] {
            let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Opus));
            tracks.audio =
                tracks.audio.map(|audio| AudioTrack { channels, config: opus::head(channels), ..audio });
            let (_, bytes) = stream_of(&Arc::new(tracks.clone()), 3);
            let units = read(&bytes, PACKET);
            assert_eq!(units.last().unwrap().tracks.audio, tracks.audio);
        }
    }

    #[test]
    fn packets_are_found_at_any_distance_and_behind_anything() {
        let (expected, bytes) = stream(12, None);
        let packets = || bytes.chunks(PACKET);
        let stamped: Vec<u8> = packets().flat_map(|packet| [&[0, 1, 2, 3], packet].concat()).collect();
        let coded: Vec<u8> = packets().flat_map(|packet| [packet, &[9; 16]].concat()).collect();
        let behind = [&[0x47, 5, 6, 0x47, 0, 0x47][..], &bytes].concat();
        for bytes in [stamped, coded, behind] {
            assert_same(&read(&bytes, 1316), &expected);
        }
    }

    #[test]
    fn a_hole_costs_the_pictures_up_to_the_next_key_frame() {
        let (expected, mut bytes) = stream(15, None);
        let hole = bytes.len() / 2;
        bytes.drain(hole..hole + 100);
        let units = read(&bytes, 4096);
        assert!(units.len() < expected.len() && units.len() >= 10, "{}", units.len());
        let resumed = units.windows(2).find(|pair| pair[1].dts.0 - pair[0].dts.0 > 3600).expect("a gap");
        assert!(resumed[1].key);
    }

    #[test]
    fn what_is_no_transport_stream_is_given_up() {
        let mut reader = TsReader::new(Options::default());
        let noise = vec![0x11; 64 << 10];
        let given_up = (0..20).find(|_| reader.handle_bytes(start(), &noise).is_err());
        assert_eq!(given_up, Some(16));
        let mut reader = TsReader::new(Options::default());
        let syncs = vec![SYNC; 64 << 10];
        // Empty packets are read and say nothing.
        assert!((0..40).all(|_| reader.handle_bytes(start(), &syncs).is_ok()));
    }

    #[test]
    fn another_stream_behind_a_restart_goes_on_where_the_last_one_ended() {
        let (_, bytes) = stream(10, None);
        let mut reader = TsReader::new(Options::default());
        let mut times = vec![];
        for _ in 0..3 {
            reader.handle_bytes(start(), &bytes).unwrap();
            reader.handle_end(start());
            reader.handle_restart();
            while let Some(output) = reader.poll_output() {
                if let Output::Unit(unit) = output {
                    times.push(unit.dts);
                }
            }
        }
        assert_eq!(times.len(), 30);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
