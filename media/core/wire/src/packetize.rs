//! Access units into RTP packets, one track each: H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640, `AAC-hbr`),
//! G.711 (RFC 3551 §4.5.14) and Opus (RFC 7587).
//!
//! A packet is a [`Chunk`]: its head holds the RTP header and whatever the payload format puts in front, its body is a
//! view of the access unit, so that all who receive a stream share one copy of the picture.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    aac::FRAME_SAMPLES,
    chunk::Chunk,
    media::{AccessUnit, AudioCodec, Kind, Ticks, VideoCodec, VideoTrack},
    nal::{self, NalKind},
};

/// Bytes of an RTP header without CSRC list and extension.
pub const HEADER: usize = 12;

/// Bytes of a packet from its RTP header on, unless told otherwise: fits an Ethernet frame behind UDP, IPv6 and a tunnel.
pub const PACKET_MAX: usize = 1400;

/// Room that is asked for at least; below it the formats' own headers would not fit.
const PACKET_MIN: usize = 64;

/// Sound whose time is within a 50th of a second of where the last packet ended follows it without a gap: times in
/// 90 kHz, rounded, must not show as jitter.
const GAPLESS: u32 = 50;

/// How many timestamps of sound there are in a second.
pub(crate) fn sound_rate(codec: AudioCodec, sample_rate: u32) -> u32 {
    // RFC 7587 §4.1: Opus counts 48 kHz whatever it was recorded at.
    if codec == AudioCodec::Opus { 48_000 } else { sample_rate }
}

/// What a packetizer of one track is made of.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// 0..=127, as the session description says.
    pub payload_type: u8,
    /// Synchronisation source of all packets.
    pub ssrc: u32,
    /// First sequence number; random (RFC 3550 §5.1).
    pub first_seq: u16,
    /// Added to all timestamps; random (RFC 3550 §5.1).
    pub timestamp_offset: u32,
    /// Bytes of a packet at most.
    pub packet_max: usize,
}

/// Makes the packets of one track.
#[derive(Debug)]
pub struct Packetizer {
    options: Options,
    seq: u16,
    /// Where the last unit of sound ended, in samples.
    sound_end: Option<u32>,
    packets: u32,
    octets: u32,
}

impl Packetizer {
    /// One that has sent nothing.
    pub fn new(options: Options) -> Self {
        let options = Options { packet_max: options.packet_max.max(PACKET_MIN), ..options };
        Self { seq: options.first_seq, options, sound_end: None, packets: 0, octets: 0 }
    }

    /// The sequence number of the next packet.
    pub fn next_seq(&self) -> u16 {
        self.seq
    }

    /// Packets and payload octets so far, as a sender report counts them (RFC 3550 §6.4.1).
    pub fn sent(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }

    /// The RTP timestamp of `time` on this track's clock of `rate`.
    pub fn timestamp(&self, time: Ticks, rate: u32) -> u32 {
        let samples = i128::from(time.0) * i128::from(rate) / i128::from(Ticks::PER_SECOND);
        // Modulo 2³², as RTP counts.
        (samples.cast_unsigned() as u32).wrapping_add(self.options.timestamp_offset)
    }

    /// Appends the packets of `unit` to `out`. A unit whose tracks do not announce it, or that is empty, makes none.
    pub fn packetize(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>) {
        match unit.kind {
            Kind::Video => {
                if let Some(track) = &unit.tracks.video {
                    self.video(unit, track, out);
                }
            }
            Kind::Audio => {
                if let Some(track) = &unit.tracks.audio {
                    self.audio(unit, track.codec, track.sample_rate, out);
                }
            }
        }
    }

    fn video(&mut self, unit: &AccessUnit, track: &VideoTrack, out: &mut Vec<Chunk>) {
        let timestamp = self.timestamp(unit.pts, 90_000);
        let first = out.len();
        // Sets that the device sends only now and then are repeated before each picture where decoding can start.
        if unit.key && !announces_itself(unit, track) {
            for set in [&track.vps, &track.sps, &track.pps].into_iter().flatten() {
                self.nal_unit(track.codec, timestamp, set, out);
            }
        }
        let mut group = Vec::new();
        let mut group_size = 0;
        let aggregate = if track.codec == VideoCodec::H264 { 1 } else { 2 };
        let room = self.options.packet_max - HEADER;
        for nal in nal_units(&unit.data) {
            let size = 2 + nal.len();
            if !group.is_empty() && aggregate + group_size + size > room {
                self.group(track.codec, timestamp, &mut group, out);
                group_size = 0;
            }
            if nal.len() > room {
                self.nal_unit(track.codec, timestamp, &nal, out);
            } else {
                group.push(nal);
                group_size += size;
            }
        }
        self.group(track.codec, timestamp, &mut group, out);
        if out.len() > first
            && let Some(last) = out.last_mut()
        {
            set_marker(last);
        }
    }

    /// NAL units that fit one packet together: alone as they are, several in a STAP-A (RFC 6184 §5.7.1) or an
    /// aggregation packet (RFC 7798 §4.4.2).
    fn group(&mut self, codec: VideoCodec, timestamp: u32, group: &mut Vec<Bytes>, out: &mut Vec<Chunk>) {
        if let [nal] = group.as_slice() {
            let head = self.head(timestamp, nal.len(), 0);
            out.push(Chunk { head: head.freeze(), body: nal.clone(), tail: None });
        } else if !group.is_empty() {
            let size = 2 + group.iter().map(|nal| 2 + nal.len()).sum::<usize>();
            let mut head = self.head(timestamp, size, size);
            match codec {
                VideoCodec::H264 => {
                    let importance = group.iter().map(|nal| nal[0] & 0x60).max().unwrap_or(0);
                    head.put_u8(importance | 0x18);
                }
                VideoCodec::H265 => head.put_slice(&aggregation_header(group)),
            }
            for nal in group.iter() {
                head.put_u16(nal.len() as u16);
                head.put_slice(nal);
            }
            out.push(Chunk::from_bytes(head.freeze()));
        }
        group.clear();
    }

    /// One NAL unit, in fragments if it must be: FU-A (RFC 6184 §5.8), FU (RFC 7798 §4.4.3).
    fn nal_unit(&mut self, codec: VideoCodec, timestamp: u32, nal: &Bytes, out: &mut Vec<Chunk>) {
        let room = self.options.packet_max - HEADER;
        if nal.len() <= room {
            let head = self.head(timestamp, nal.len(), 0);
            return out.push(Chunk { head: head.freeze(), body: nal.clone(), tail: None });
        }
        let (indicator, kind, header): (&[u8], u8, usize) = match codec {
            VideoCodec::H264 => (&[nal[0] & 0xE0 | 0x1C], nal[0] & 0x1F, 1),
            VideoCodec::H265 => (&[nal[0] & 0x81 | 0x31 << 1, nal[1]], nal[0] >> 1 & 0x3F, 2),
        };
        let mut start = header;
        while start < nal.len() {
            let end = nal.len().min(start + room - indicator.len() - 1);
            let first = if start == header { 0x80 } else { 0 };
            let last = if end == nal.len() { 0x40 } else { 0 };
            let mut head = self.head(timestamp, indicator.len() + 1 + end - start, indicator.len() + 1);
            head.put_slice(indicator);
            head.put_u8(first | last | kind);
            out.push(Chunk { head: head.freeze(), body: nal.slice(start..end), tail: None });
            start = end;
        }
    }

    fn audio(&mut self, unit: &AccessUnit, codec: AudioCodec, rate: u32, out: &mut Vec<Chunk>) {
        if unit.data.is_empty() {
            return;
        }
        let timestamp = self.sound_timestamp(unit.pts, sound_rate(codec, rate));
        match codec {
            AudioCodec::Aac => {
                self.aac(timestamp, &unit.data, out);
                self.sound_end = Some(timestamp.wrapping_add(FRAME_SAMPLES));
            }
            AudioCodec::G711A | AudioCodec::G711U => {
                let mut at = timestamp;
                for start in (0..unit.data.len()).step_by(self.options.packet_max - HEADER) {
                    let end = unit.data.len().min(start + self.options.packet_max - HEADER);
                    let head = self.head(at, end - start, 0);
                    let body = unit.data.slice(start..end);
                    out.push(Chunk { head: head.freeze(), body, tail: None });
                    at = at.wrapping_add((end - start) as u32);
                }
                self.sound_end = Some(at);
            }
            AudioCodec::Opus => {
                let head = self.head(timestamp, unit.data.len(), 0);
                out.push(Chunk { head: head.freeze(), body: unit.data.clone(), tail: None });
                self.sound_end = None;
            }
        }
    }

    /// One frame of AAC: 16 bits of length in bits, then size and index in 13 and 3 bits (RFC 3640 §3.3.6). The marker says
    /// that the frame ends here; fragments repeat the size of the whole (§3.2.1).
    fn aac(&mut self, timestamp: u32, frame: &Bytes, out: &mut Vec<Chunk>) {
        if frame.len() >= 1 << 13 {
            return; // cannot be said in 13 bits
        }
        let room = self.options.packet_max - HEADER - 4;
        for start in (0..frame.len()).step_by(room) {
            let end = frame.len().min(start + room);
            let mut head = self.head(timestamp, 4 + end - start, 4);
            head.put_u16(16);
            head.put_u16((frame.len() as u16) << 3);
            out.push(Chunk { head: head.freeze(), body: frame.slice(start..end), tail: None });
        }
        if let Some(last) = out.last_mut() {
            set_marker(last);
        }
    }

    fn sound_timestamp(&mut self, time: Ticks, rate: u32) -> u32 {
        let stated = self.timestamp(time, rate);
        match self.sound_end {
            Some(end) if stated.wrapping_sub(end).cast_signed().unsigned_abs() < rate / GAPLESS => end,
            _ => stated,
        }
    }

    /// The header of the next packet, with room for `more` bytes behind it.
    fn head(&mut self, timestamp: u32, payload: usize, more: usize) -> BytesMut {
        let mut head = BytesMut::with_capacity(HEADER + more);
        head.put_u8(0x80);
        head.put_u8(self.options.payload_type & 0x7F);
        head.put_u16(self.seq);
        head.put_u32(timestamp);
        head.put_u32(self.options.ssrc);
        self.seq = self.seq.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
        head
    }
}

/// Sets the marker bit of a packet that nobody else has seen yet.
fn set_marker(packet: &mut Chunk) {
    let head = std::mem::take(&mut packet.head);
    let mut head = head.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    head[1] |= 0x80;
    packet.head = head.freeze();
}

/// Whether a key frame brings all the parameter sets it needs.
pub(crate) fn announces_itself(unit: &AccessUnit, track: &VideoTrack) -> bool {
    let sequence =
        |nal: &[u8]| matches!(nal::kind(track.codec, nal), NalKind::Set(nal::ParameterSet::Sequence));
    nal::length_prefixed(&unit.data).any(sequence)
}

/// The NAL units of an access unit as views; empty ones and what a wrong length would reach beyond are left out.
fn nal_units(data: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    nal::length_prefixed(data).filter(|nal| nal.len() > 1).map(|nal| data.slice_ref(nal))
}

/// RFC 7798 §4.4.2: type 48, the lowest layer and the lowest temporal id of all.
fn aggregation_header(group: &[Bytes]) -> [u8; 2] {
    let forbidden = group.iter().map(|nal| nal[0] & 0x80).fold(0, |one, other| one | other);
    let layer = |nal: &Bytes| u16::from(nal[0] & 1) << 5 | u16::from(nal[1] >> 3);
    let layer = group.iter().map(layer).min().unwrap_or(0);
    let temporal = group.iter().map(|nal| nal[1] & 7).min().unwrap_or(1);
    [forbidden | 0x30 << 1 | (layer >> 5) as u8, (layer as u8) << 3 | temporal]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        media::Tracks,
        rtp::Packet,
        rtp_aac::{AacReader, Layout},
        test_clock, testing,
        unpack::{self, Output, Unpacker},
    };

    const TYPE: u8 = 96;

    fn options(packet_max: usize) -> Options {
        Options {
            payload_type: TYPE,
            ssrc: 7,
            first_seq: 65_530,
            timestamp_offset: u32::MAX - 10,
            packet_max,
        }
    }

    fn packets(unit: &AccessUnit, packet_max: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        Packetizer::new(options(packet_max)).packetize(unit, &mut out);
        out.iter().map(|chunk| chunk.to_bytes().to_vec()).collect()
    }

    /// A picture whose NAL units have these sizes, and bytes that tell where they are.
    fn picture(tracks: &Arc<Tracks>, dts_ms: i64, key: bool, sizes: &[usize]) -> AccessUnit {
        let h264 = tracks.video.as_ref().unwrap().codec == VideoCodec::H264;
        let mut unit = testing::video(tracks, dts_ms, dts_ms, key);
        let mut data = if key { unit.data.to_vec() } else { Vec::new() };
        for (number, &size) in sizes.iter().enumerate() {
            let mut nal: Vec<u8> = (0..size).map(|byte| (byte * 7 + number) as u8 | 1).collect();
            let first = if number == 0 && !key { 0x80 } else { 0x01 }; // a key frame has a slice already
            match (h264, key) {
                (true, _) => nal[..2].copy_from_slice(&[if key { 0x65 } else { 0x41 }, first]),
                (false, true) => nal[..3].copy_from_slice(&[0x26, 0x01, first]),
                (false, false) => nal[..3].copy_from_slice(&[0x02, 0x01, first]),
            }
            data.extend((size as u32).to_be_bytes());
            data.extend(nal);
        }
        unit.data = data.into();
        unit
    }

    /// What our own receiver makes of the packets.
    fn received(name: &str, packets: &[Vec<u8>]) -> Vec<AccessUnit> {
        let mut unpacker = Unpacker::new(unpack::Options::default());
        unpacker.expect([(TYPE, name)]);
        let mut units = Vec::new();
        for data in packets {
            unpacker.handle_packet(test_clock::start(), &Packet::parse(data).unwrap());
        }
        unpacker.handle_timeout(test_clock::start() + std::time::Duration::from_secs(20));
        while let Some(output) = unpacker.poll_output() {
            match output {
                Output::Unit(unit) => units.push(unit),
                Output::Fault(fault) => panic!("{fault:?}"),
                _ => {}
            }
        }
        units
    }

    #[test]
    fn pictures_come_out_as_they_went_in() {
        for codec in [VideoCodec::H264, VideoCodec::H265] {
            let tracks = Arc::new(testing::tracks(codec, None));
            let sizes: [&[usize]; 6] =
                [&[5000, 3], &[3], &[1388], &[1389], &[90_000, 700, 700, 2000], &[20; 200]];
            let sent: Vec<_> = (0..)
                .zip(&sizes)
                .map(|(number, sizes)| picture(&tracks, number * 40, number == 0, sizes))
                .collect();
            for packet_max in [PACKET_MIN, 100, 1400] {
                let mut packetizer = Packetizer::new(options(packet_max));
                let mut out = Vec::new();
                for unit in &sent {
                    packetizer.packetize(unit, &mut out);
                }
                assert!(out.iter().all(|packet| packet.len() <= packet_max));
                let data: Vec<_> = out.iter().map(|packet| packet.to_bytes().to_vec()).collect();
                assert_eq!(packetizer.sent().0 as usize, data.len());
                let name = if codec == VideoCodec::H264 { "H264" } else { "H265" };
                let units = received(name, &data);
                // The last picture is known to be whole only by the one after it.
                assert!(units.len() >= sent.len() - 1, "{codec:?} {packet_max}: {}", units.len());
                for (unit, sent) in units.iter().zip(&sent) {
                    assert!(unit.data == sent.data, "{codec:?} {packet_max} {:?}", sent.dts);
                    assert_eq!(unit.key, sent.key);
                }
            }
        }
    }

    #[test]
    fn the_marker_ends_a_picture_and_numbers_run_on() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let mut packetizer = Packetizer::new(options(1400));
        let mut out = Vec::new();
        for number in 0..3 {
            packetizer.packetize(&picture(&tracks, number * 40, number == 0, &[4000]), &mut out);
        }
        let data: Vec<_> = out.iter().map(Chunk::to_bytes).collect();
        let packets: Vec<_> = data.iter().map(|data| Packet::parse(data).unwrap()).collect();
        let mut seq = 65_530_u16;
        for packet in &packets {
            assert_eq!((packet.seq, packet.ssrc, packet.payload_type), (seq, 7, TYPE));
            seq = seq.wrapping_add(1);
        }
        assert_eq!(seq, packetizer.next_seq());
        let times: Vec<_> =
            packets.iter().filter(|packet| packet.marker).map(|packet| packet.timestamp).collect();
        assert_eq!(times, [u32::MAX - 10, 3589, 7189], "one mark a picture, across the wrap");
    }

    #[test]
    fn small_nal_units_share_a_packet() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let sent = packets(&testing::video(&tracks, 0, 0, true), 1400);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0][12], 0x78, "STAP-A, as important as its most important unit");
        let tracks = Arc::new(testing::tracks(VideoCodec::H265, None));
        let sent = packets(&testing::video(&tracks, 0, 0, true), 1400);
        assert_eq!((sent.len(), &sent[0][12..14]), (1, &[0x60, 1][..]));
    }

    #[test]
    fn a_key_frame_without_parameter_sets_gets_them() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let mut unit = testing::video(&tracks, 0, 0, true);
        unit.data = testing::length_prefixed(&[testing::H264_IDR]).into();
        let sent = packets(&unit, 1400);
        assert_eq!(&sent[0][12..], testing::H264_SPS);
        assert_eq!(&sent[1][12..], testing::H264_PPS);
        assert_eq!((&sent[2][12..], sent[2][1]), (testing::H264_IDR, 0x80 | TYPE));
    }

    #[test]
    fn aac_has_its_headers_and_comes_out_as_it_went_in() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)));
        let mut packetizer = Packetizer::new(options(1400));
        let mut out = Vec::new();
        for number in 0..4 {
            packetizer.packetize(&testing::audio(&tracks, number * 64, 300), &mut out);
        }
        let data: Vec<_> = out.iter().map(|packet| packet.to_bytes().to_vec()).collect();
        assert_eq!(&data[0][12..16], &[0, 16, 0x09, 0x60]);
        let times: Vec<_> = data.iter().map(|data| Packet::parse(data).unwrap().timestamp).collect();
        assert!(times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 1024), "{times:?}");
        for data in &data {
            let mut frames = Vec::new();
            let packet = Packet::parse(data).unwrap();
            let mut reader = AacReader::new(Layout::HBR, 16_000);
            reader.handle_packet(&packet, |frame, _| frames.push(frame)).unwrap();
            assert_eq!(frames, [vec![0xD5; 300]]);
        }
        out.clear();
        packetizer.packetize(&testing::audio(&tracks, 256, 4000), &mut out);
        let marks: Vec<_> = out.iter().map(|packet| packet.head[1] & 0x80 != 0).collect();
        assert_eq!(marks, [false, false, true], "fragments of one frame");
        out.clear();
        packetizer.packetize(&testing::audio(&tracks, 320, 1 << 13), &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn sound_of_8_khz_counts_samples_without_jitter() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut packetizer = Packetizer::new(options(1400));
        let mut out = Vec::new();
        for (at, size) in [(0, 160), (21, 160), (39, 3000), (415, 160), (600, 160)] {
            packetizer.packetize(&testing::audio(&tracks, at, size), &mut out);
        }
        let start = u32::MAX - 10;
        let times: Vec<_> = out
            .iter()
            .map(|packet| Packet::parse(&packet.to_bytes()).unwrap().timestamp.wrapping_sub(start))
            .collect();
        assert_eq!(times, [0, 160, 320, 320 + 1388, 320 + 2776, 3320, 4800], "a real gap stays one");
    }
}
