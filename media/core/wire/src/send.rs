//! A live stream as RTP packets for a platform or a device (GB/T 28181-2016 §D and annex C; RFC 3550): a program stream,
//! or the coded pictures and sound themselves.
//!
//! A unit's packets are made once for all receivers of a form, one behind the other, each with its length in front as on
//! a connection (RFC 4571). What differs between receivers stands in the first bytes of each packet: they are written
//! anew for each of them ([`Source::head`]), the payload is shared.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    chunk::Chunk,
    media::{AccessUnit, AudioCodec, Kind},
    packetize::{self, HEADER, PACKET_MAX, Packetizer},
    ps_write::PsMuxer,
};

pub use crate::ps_write::Selection;

/// Stands in the packets for the payload type that a receiver wants for PS or video.
const MAIN: u8 = 96;
/// And for the one of AAC and Opus.
const SOUND: u8 = 97;

/// What the payload of the packets is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A program stream.
    Ps,
    /// H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640), G.711; pictures and sound in one sequence of packets.
    Es,
}

impl Payload {
    /// The name used outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ps => "ps",
            Self::Es => "es",
        }
    }
}

/// What a group of receivers has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    /// What the packets carry.
    pub payload: Payload,
    /// Of which tracks.
    pub selection: Selection,
}

impl Form {
    /// How many timestamps there are in a second on the clock of the packets of `unit`.
    pub fn rate(self, unit: &AccessUnit) -> u32 {
        let sound =
            unit.tracks.audio.as_ref().filter(|_| self.payload == Payload::Es && unit.kind == Kind::Audio);
        sound.map_or(90_000, |track| packetize::sound_rate(track.codec, track.sample_rate))
    }
}

/// Makes the packets of one form.
#[derive(Debug)]
pub struct Muxer {
    form: Form,
    program: PsMuxer,
    video: Packetizer,
    audio: Packetizer,
    packets: Vec<Chunk>,
}

impl Muxer {
    /// One that has sent nothing.
    pub fn new(form: Form) -> Self {
        let packetizer = |payload_type| {
            let options = packetize::Options {
                payload_type,
                ssrc: 0,
                first_seq: 0,
                timestamp_offset: 0,
                packet_max: PACKET_MAX,
            };
            Packetizer::new(options)
        };
        Self {
            form,
            program: PsMuxer::new(form.selection),
            video: packetizer(MAIN),
            audio: packetizer(SOUND),
            packets: Vec::new(),
        }
    }

    /// The packets of one unit, for [`packets`]; `None` if its track is not sent.
    pub fn write(&mut self, unit: &AccessUnit) -> Option<Bytes> {
        match self.form.payload {
            Payload::Ps => {
                let timestamp = PsMuxer::stated(unit.pts).0.cast_unsigned() as u32;
                let mut cutter = Cutter::new(unit.data.len(), timestamp);
                self.program.write(unit, |bytes| cutter.put(bytes)).then(|| cutter.finish())
            }
            Payload::Es => self.elementary(unit),
        }
    }

    fn elementary(&mut self, unit: &AccessUnit) -> Option<Bytes> {
        let selection = self.form.selection;
        self.packets.clear();
        match unit.kind {
            Kind::Video if selection.video => self.video.packetize(unit, &mut self.packets),
            Kind::Audio if selection.audio => self.audio.packetize(unit, &mut self.packets),
            _ => {}
        }
        let payload_type = match unit.tracks.audio.as_ref().map(|track| track.codec) {
            _ if unit.kind == Kind::Video => MAIN,
            Some(AudioCodec::G711A) => 8,
            Some(AudioCodec::G711U) => 0,
            _ => SOUND,
        };
        let size = self.packets.iter().map(|packet| 2 + packet.len()).sum();
        let mut out = BytesMut::with_capacity(size);
        for packet in &self.packets {
            out.put_u16(packet.len() as u16);
            let start = out.len();
            packet.parts().into_iter().for_each(|part| out.put_slice(part));
            out[start + 1] = out[start + 1] & 0x80 | payload_type;
        }
        (!out.is_empty()).then(|| out.freeze())
    }
}

/// Cuts what is put into it into packets of one time.
struct Cutter {
    out: BytesMut,
    timestamp: u32,
    /// Where the open packet begins, its length included.
    start: usize,
}

impl Cutter {
    fn new(size: usize, timestamp: u32) -> Self {
        let packets = size / (PACKET_MAX - HEADER) + 2;
        let mut cutter =
            Self { out: BytesMut::with_capacity(size + 200 + packets * (2 + HEADER)), timestamp, start: 0 };
        cutter.open();
        cutter
    }

    fn open(&mut self) {
        self.start = self.out.len();
        self.out.put_u16(0);
        self.out.put_u8(0x80);
        self.out.put_u8(MAIN);
        self.out.put_u16(0);
        self.out.put_u32(self.timestamp);
        self.out.put_u32(0);
    }

    fn close(&mut self) {
        let len = (self.out.len() - self.start - 2) as u16;
        self.out[self.start..self.start + 2].copy_from_slice(&len.to_be_bytes());
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.start + 2 + PACKET_MAX - self.out.len();
            if room == 0 {
                self.close();
                self.open();
                continue;
            }
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.out.put_slice(now);
            bytes = rest;
        }
    }

    /// The last packet of a frame has the marker.
    fn finish(mut self) -> Bytes {
        self.close();
        self.out[self.start + 3] |= 0x80;
        self.out.freeze()
    }
}

/// One packet in what [`Muxer::write`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Length in two bytes and the header, as they are for nobody.
    pub head: &'a [u8; HEAD],
    /// The payload.
    pub payload: &'a [u8],
}

/// Bytes that are written anew for each receiver: the length of RFC 4571 and the header.
pub const HEAD: usize = 2 + HEADER;

impl Packet<'_> {
    /// Bytes of length, header and payload.
    pub fn framed_len(&self) -> usize {
        HEAD + self.payload.len()
    }

    /// Its time.
    pub fn timestamp(&self) -> u32 {
        let [.., a, b, c, d, _, _, _, _] = *self.head;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Whether reports are about its clock: that of PS and of pictures, or that of sound sent alone.
    pub fn is_main(&self, form: Form) -> bool {
        self.head[3] & 0x7F == MAIN || !form.selection.video
    }
}

/// The packets in `data`, from the byte `at` on, which begins one.
pub fn packets(data: &[u8], mut at: usize) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = data.get(at..)?.split_first_chunk::<HEAD>()?;
        let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let payload = rest.get(..len.checked_sub(HEADER)?)?;
        at += 2 + len;
        Some(Packet { head, payload })
    })
}

/// What is one receiver's own: source, sequence numbers and payload types.
#[derive(Debug, Clone)]
pub struct Source {
    ssrc: u32,
    payload_type: u8,
    seq: u16,
    packets: u32,
    octets: u32,
}

impl Source {
    /// One that has sent nothing; `first_seq` is random (RFC 3550 §5.1).
    pub fn new(ssrc: u32, payload_type: u8, first_seq: u16) -> Self {
        Self { ssrc, payload_type: payload_type & 0x7F, seq: first_seq, packets: 0, octets: 0 }
    }

    /// The head of the next packet.
    pub fn head(&mut self, packet: &Packet<'_>) -> [u8; HEAD] {
        let mut head = *packet.head;
        let marker = head[3] & 0x80;
        head[3] = marker
            | match head[3] & 0x7F {
                MAIN => self.payload_type,
                SOUND if self.payload_type == SOUND => MAIN,
                other => other,
            };
        head[4..6].copy_from_slice(&self.seq.to_be_bytes());
        head[10..].copy_from_slice(&self.ssrc.to_be_bytes());
        self.seq = self.seq.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        head
    }

    /// Leaves a number out, so that receivers see that something is missing.
    pub fn skip(&mut self) {
        self.seq = self.seq.wrapping_add(1);
    }

    /// The last `count` heads went to nobody: their numbers are used again.
    pub fn take_back(&mut self, count: usize, octets: usize) {
        self.seq = self.seq.wrapping_sub(count as u16);
        self.packets = self.packets.wrapping_sub(count as u32);
        self.octets = self.octets.wrapping_sub(octets as u32);
    }

    /// Packets and payload octets so far, as a sender report counts them.
    pub fn sent(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }

    /// Its SSRC.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        media::{Ticks, VideoCodec},
        rtp, test_clock, testing,
        unpack::{self, Output, Unpacker},
    };

    const BOTH: Selection = Selection { video: true, audio: true };

    /// What a receiver is sent.
    fn sent(muxer: &mut Muxer, source: &mut Source, units: &[AccessUnit]) -> Vec<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        for unit in units {
            let data = muxer.write(unit).expect("it is carried");
            let made = packets(&data, 0).map(|packet| {
                let head = source.head(&packet);
                assert_eq!(usize::from(u16::from_be_bytes([head[0], head[1]])), 12 + packet.payload.len());
                [&head[2..], packet.payload].concat()
            });
            all.push(made.collect());
        }
        all
    }

    /// What our own receiver makes of it, each frame arriving when it is due.
    fn received(frames: &[Vec<Vec<u8>>], units: &[AccessUnit], names: &[(u8, &str)]) -> Vec<AccessUnit> {
        let mut unpacker = Unpacker::new(unpack::Options::default());
        unpacker.expect(names.iter().copied());
        let mut out = Vec::new();
        let mut take = |unpacker: &mut Unpacker| {
            while let Some(output) = unpacker.poll_output() {
                match output {
                    Output::Unit(unit) => out.push(unit),
                    Output::Fault(fault) => panic!("{fault:?}"),
                    _ => {}
                }
            }
        };
        for (packets, unit) in frames.iter().zip(units) {
            let now = test_clock::start() + Duration::from_micros(unit.dts.0.cast_unsigned() * 100 / 9);
            for packet in packets {
                unpacker.handle_packet(now, &rtp::Packet::parse(packet).unwrap());
            }
            unpacker.handle_timeout(now);
            take(&mut unpacker);
        }
        let end = test_clock::start() + Duration::from_secs(3600);
        unpacker.handle_timeout(end);
        take(&mut unpacker);
        out
    }

    /// Pictures with B-frames between them (decoded I P B P B …), a key frame each eight, and sound.
    fn units(video: VideoCodec, audio: Option<AudioCodec>, key_size: usize) -> Vec<AccessUnit> {
        let tracks = Arc::new(testing::tracks(video, audio));
        let mut units = Vec::new();
        for (number, seed) in (0..40_i64).zip(0_usize..) {
            let shown = match number % 8 {
                0 => number + 1,
                odd if odd % 2 == 1 && odd < 7 => number + 2,
                7 => number + 1,
                _ => number,
            };
            let key = number % 8 == 0;
            let mut unit = testing::video(&tracks, number * 40, shown * 40, key);
            let size = if key { key_size } else { 3000 + seed };
            let header: &[u8] = match (video, key) {
                (VideoCodec::H264, true) => &[0x65, 0x88],
                (VideoCodec::H264, false) => &[0x41, 0x9A],
                (VideoCodec::H265, true) => &[0x26, 0x01, 0xAF],
                (VideoCodec::H265, false) => &[0x02, 0x01, 0xD0],
            };
            let mut slice = header.to_vec();
            slice.extend((0..size).map(|byte| (byte * 31 + seed) as u8 | 1));
            let mut data = if key {
                let nals: Vec<&[u8]> = crate::nal::length_prefixed(&unit.data).collect();
                testing::length_prefixed(&nals[..nals.len() - 1])
            } else {
                Vec::new()
            };
            data.extend((slice.len() as u32).to_be_bytes());
            data.extend(slice);
            unit.data = data.into();
            units.push(unit);
            if audio.is_some() {
                let mut sound = testing::audio(&tracks, number * 40, 320);
                sound.data = (0..320).map(|byte| (byte * 7 + seed) as u8 | 1).collect();
                units.push(sound);
            }
        }
        units
    }

    /// Bytes, kind and times of each unit, from the first picture on, by kind.
    fn essence(units: &[AccessUnit], kind: Kind) -> Vec<(Bytes, i64, i64)> {
        let base = units.iter().find(|unit| unit.kind == Kind::Video).map_or(Ticks(0), |unit| unit.dts);
        let of = units.iter().filter(|unit| unit.kind == kind);
        of.map(|unit| (unit.data.clone(), (unit.dts - base).0, (unit.pts - base).0)).collect()
    }

    #[test]
    fn every_unit_of_a_program_stream_comes_back_with_its_times() {
        for video in [VideoCodec::H264, VideoCodec::H265] {
            for audio in [None, Some(AudioCodec::G711A), Some(AudioCodec::G711U), Some(AudioCodec::Aac)] {
                for key_size in [100, 65_400, 65_521, 65_530, 200_000] {
                    let units = units(video, audio, key_size);
                    let form = Form { payload: Payload::Ps, selection: BOTH };
                    let frames = sent(&mut Muxer::new(form), &mut Source::new(7, 96, 65_500), &units);
                    let back = received(&frames, &units, &[]);
                    for kind in [Kind::Video, Kind::Audio] {
                        let (sent, got) = (essence(&units, kind), essence(&back, kind));
                        assert_eq!(sent.len(), got.len(), "{video:?} {audio:?} {key_size} {kind:?}");
                        assert!(sent == got, "{video:?} {audio:?} {key_size} {kind:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn elementary_streams_come_back_too() {
        for video in [VideoCodec::H264, VideoCodec::H265] {
            for audio in [None, Some(AudioCodec::G711A), Some(AudioCodec::Aac)] {
                let mut units = units(video, audio, 50_000);
                // RTP has one time, so pictures are shown in the order that they are decoded in.
                for unit in &mut units {
                    unit.pts = unit.dts;
                }
                let form = Form { payload: Payload::Es, selection: BOTH };
                let frames = sent(&mut Muxer::new(form), &mut Source::new(7, 98, 65_500), &units);
                let name = if video == VideoCodec::H264 { "H264/90000" } else { "H265/90000" };
                let names = [(98, name), (97, "MPEG4-GENERIC/16000/1"), (8, "PCMA/8000")];
                let back = received(&frames, &units, &names);
                // What may be reordered is shown later, and sound with it.
                let lead = essence(&back, Kind::Video)[0].2;
                for kind in [Kind::Video, Kind::Audio] {
                    let (sent, got) = (essence(&units, kind), essence(&back, kind));
                    // Sound in packets of its own is believed from its second packet on.
                    let doubted = usize::from(kind == Kind::Audio && audio.is_some());
                    assert_eq!(sent.len(), got.len() + doubted, "{video:?} {audio:?} {kind:?}");
                    for (sent, got) in sent[doubted..].iter().zip(&got) {
                        assert!(
                            sent.0 == got.0 && (sent.2 + lead - got.2).abs() < 90,
                            "{video:?} {audio:?} {kind:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn packets_are_bounded_numbered_and_marked() {
        let units = units(VideoCodec::H264, Some(AudioCodec::G711A), 100_000);
        for payload in [Payload::Ps, Payload::Es] {
            let mut source = Source::new(0x0102_0304, 101, 65_534);
            let frames = sent(&mut Muxer::new(Form { payload, selection: BOTH }), &mut source, &units);
            let mut seq = 65_534_u16;
            for (frame, unit) in frames.iter().zip(&units) {
                for (number, packet) in frame.iter().enumerate() {
                    assert!(packet.len() <= PACKET_MAX);
                    let read = rtp::Packet::parse(packet).unwrap();
                    assert_eq!((read.ssrc, read.seq), (0x0102_0304, seq));
                    let sound = payload == Payload::Es && unit.kind == Kind::Audio;
                    assert_eq!(read.payload_type, if sound { 8 } else { 101 });
                    assert_eq!(read.marker, number + 1 == frame.len() && !sound);
                    seq = seq.wrapping_add(1);
                }
            }
            let count = frames.iter().map(Vec::len).sum::<usize>() as u32;
            assert_eq!(source.sent().0, count);
        }
    }

    #[test]
    fn receivers_differ_in_the_head_alone() {
        let units = units(VideoCodec::H264, None, 5000);
        let data = Muxer::new(Form { payload: Payload::Ps, selection: BOTH }).write(&units[0]).unwrap();
        let (mut one, mut other) = (Source::new(1, 96, 7), Source::new(2, 97, 9));
        for packet in packets(&data, 0) {
            let (one, other) = (one.head(&packet), other.head(&packet));
            assert_eq!([&one[0..2], &one[6..10]], [&other[0..2], &other[6..10]]);
            assert_ne!(one[10..], other[10..]);
        }
        let (packets, octets) = other.sent();
        other.take_back(1, 10);
        assert_eq!(other.sent(), (packets - 1, octets - 10));
    }

    #[test]
    fn sound_alone_has_its_own_numbers() {
        let units = units(VideoCodec::H264, Some(AudioCodec::G711A), 500);
        let form = Form { payload: Payload::Es, selection: Selection { video: false, audio: true } };
        let mut muxer = Muxer::new(form);
        assert!(muxer.write(&units[0]).is_none());
        let data = muxer.write(&units[1]).unwrap();
        let packet = packets(&data, 0).next().unwrap();
        assert_eq!((packet.head[3], packet.payload.len(), packet.timestamp()), (8, 320, 0));
        assert!(packet.is_main(form));
    }
}
