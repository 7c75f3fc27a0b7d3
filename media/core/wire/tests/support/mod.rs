//! A device for tests: pictures and sound of known bytes, muxed to a program stream and cut into RTP packets.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use wire::{
    fault::{Fault, FaultCounts},
    media::{AccessUnit, Kind, Tracks},
    rtp::Packet,
    unpack::{Options, Output, Payload, Unpacker},
};

/// 352 by 288, 25 Hz, High profile (x264).
pub const H264_SPS: &[u8] =
    b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x50\xa6\x58";
pub const H264_PPS: &[u8] = b"\x68\xef\x8f\xcb";
/// 352 by 288, 25 Hz, Main profile (x265).
pub const H265_VPS: &[u8] =
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x95\x98\x09";
pub const H265_SPS: &[u8] =
    b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0b\x08\
    \x04\x85\x96\x56\x69\x24\xca\xf0\x16\x80\x80\x00\x00\x03\x00\x80\x00\x00\x0c\x84";
pub const H265_PPS: &[u8] = b"\x44\x01\xc1\x72\xb4\x62\x40";

pub const FRAME_TICKS: u64 = 3600;

/// The instant at which all tests begin.
pub fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    *START.get_or_init(Instant::now)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    H264,
    H265,
}

/// Slice payload that contains no start code; every picture differs.
pub fn filler(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 | 1
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// The NAL units of a picture.
pub fn picture(codec: Codec, key: bool, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let slice = |header: &[u8]| [header, &[0x80], &filler(len, seed)].concat();
    let sets: &[&[u8]] = match codec {
        Codec::H264 => &[H264_SPS, H264_PPS],
        Codec::H265 => &[H265_VPS, H265_SPS, H265_PPS],
    };
    let header: &[u8] = match (codec, key) {
        (Codec::H264, true) => &[0x65],
        (Codec::H264, false) => &[0x41],
        (Codec::H265, true) => &[0x26, 1],
        (Codec::H265, false) => &[0x02, 1],
    };
    let mut nals: Vec<Vec<u8>> = if key { sets.iter().map(|set| set.to_vec()).collect() } else { vec![] };
    nals.push(slice(header));
    nals
}

/// The same with supplemental information before the slice, as cameras of many makers send it.
pub fn supplemented(codec: Codec, key: bool, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut nals = picture(codec, key, len, seed);
    let header: &[u8] = match (codec, seed % 3) {
        (Codec::H264, 0) => &[0x06, 5, 0x2F],
        (Codec::H264, 1) => &[0x06, 1, 4],
        (Codec::H264, _) => &[0x06, 4, 0x47],
        (Codec::H265, _) => &[0x4E, 1, 5, 0x2F],
    };
    nals.insert(nals.len() - 1, [header, &filler(40, seed)].concat());
    nals
}

pub fn annex_b(nals: &[Vec<u8>]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect()
}

pub fn length_prefixed(nals: &[Vec<u8>]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect()
}

pub fn pack_header(scr: u64) -> Vec<u8> {
    let scr = scr & ((1 << 33) - 1);
    let bits: u64 = 1 << 46
        | (scr >> 30) << 43
        | 1 << 42
        | (scr >> 15 & 0x7FFF) << 27
        | 1 << 26
        | (scr & 0x7FFF) << 11
        | 1 << 10
        | 1;
    let mut out = vec![0, 0, 1, 0xBA];
    out.extend(&bits.to_be_bytes()[2..]);
    out.extend([0x00, 0x5F, 0x6B, 0xF8]);
    out
}

pub fn system_header() -> Vec<u8> {
    b"\0\0\x01\xBB\0\x0C\x80\xCC\xF5\x04\xE1\x7F\xE0\xE8\0\xC0\xC2\0".to_vec()
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 }
        })
    })
}

/// A map of (stream type, stream id).
pub fn map(streams: &[(u8, u8)]) -> Vec<u8> {
    let entries: Vec<u8> = streams.iter().flat_map(|&(kind, id)| [kind, id, 0, 0]).collect();
    let mut out = vec![0, 0, 1, 0xBC];
    out.extend(((10 + entries.len()) as u16).to_be_bytes());
    out.extend([0xE1, 0xFF, 0, 0]);
    out.extend((entries.len() as u16).to_be_bytes());
    out.extend(entries);
    out.extend(crc32(&out).to_be_bytes());
    out
}

fn timestamp(prefix: u8, value: u64) -> [u8; 5] {
    let value = value & ((1 << 33) - 1);
    [
        prefix << 4 | (value >> 29) as u8 & 0x0E | 1,
        (value >> 22) as u8,
        (value >> 14) as u8 | 1,
        (value >> 7) as u8,
        (value << 1) as u8 | 1,
    ]
}

/// One PES packet; `sized` false makes its length 0.
pub fn pes(id: u8, pts: Option<u64>, dts: Option<u64>, payload: &[u8], sized: bool) -> Vec<u8> {
    let (flags, stamps) = match (pts, dts) {
        (Some(pts), Some(dts)) => (0xC0, [timestamp(3, pts), timestamp(1, dts)].concat()),
        (Some(pts), None) => (0x80, timestamp(2, pts).to_vec()),
        _ => (0, vec![]),
    };
    let len = if sized { 3 + stamps.len() + payload.len() } else { 0 };
    let mut out = vec![0, 0, 1, id];
    out.extend((len as u16).to_be_bytes());
    out.extend([0x8C, flags, stamps.len() as u8]);
    out.extend(stamps);
    out.extend(payload);
    out
}

/// A frame's PES packets, split below 64 KiB.
pub fn pes_split(id: u8, pts: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    for (number, part) in payload.chunks(65_400).enumerate() {
        out.extend(pes(id, (number == 0).then_some(pts), None, part, true));
    }
    out
}

/// An RTP packet as plain values.
#[derive(Clone, Debug)]
pub struct Rtp {
    pub seq: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload_type: u8,
    pub payload: Vec<u8>,
}

impl Rtp {
    pub fn view(&self) -> Packet<'_> {
        Packet {
            payload_type: self.payload_type,
            marker: self.marker,
            seq: self.seq,
            timestamp: self.timestamp,
            ssrc: 7,
            payload: &self.payload,
        }
    }
}

/// Cuts frames into packets.
pub struct Packetizer {
    pub seq: u16,
    pub payload_type: u8,
    pub size: usize,
    pub markers: bool,
}

impl Packetizer {
    pub fn new() -> Self {
        Self { seq: 65_530, payload_type: 96, size: 1400, markers: true }
    }

    pub fn packets(&mut self, timestamp: u32, frame: &[u8]) -> Vec<Rtp> {
        let count = frame.len().div_ceil(self.size);
        frame
            .chunks(self.size)
            .enumerate()
            .map(|(number, payload)| {
                let seq = self.seq;
                self.seq = seq.wrapping_add(1);
                let marker = self.markers && number + 1 == count;
                Rtp { seq, timestamp, marker, payload_type: self.payload_type, payload: payload.to_vec() }
            })
            .collect()
    }
}

/// A camera: key frames of 30,000 bytes each `gop` pictures, others of 3,000; G.711 of 40 ms if `audio`.
#[derive(Clone)]
pub struct Camera {
    pub codec: Codec,
    pub map_type: u8,
    pub gop: u64,
    pub audio: Option<u8>,
    pub key_bytes: usize,
    pub first_pts: u64,
}

impl Camera {
    pub fn new(codec: Codec) -> Self {
        let map_type = if codec == Codec::H264 { 0x1B } else { 0x24 };
        Self { codec, map_type, gop: 10, audio: None, key_bytes: 30_000, first_pts: 8_100_000 }
    }

    pub fn is_key(&self, number: u64) -> bool {
        number.is_multiple_of(self.gop)
    }

    pub fn pts(&self, number: u64) -> u64 {
        self.first_pts + number * FRAME_TICKS
    }

    pub fn nals(&self, number: u64) -> Vec<Vec<u8>> {
        let len = if self.is_key(number) { self.key_bytes } else { 3000 };
        picture(self.codec, self.is_key(number), len, number)
    }

    pub fn headers(&self, number: u64) -> Vec<u8> {
        let mut out = pack_header(self.pts(number) - FRAME_TICKS);
        if self.is_key(number) {
            out.extend(system_header());
            let mut streams = vec![(self.map_type, 0xE0)];
            streams.extend(self.audio.map(|kind| (kind, 0xC0)));
            out.extend(map(&streams));
        }
        out
    }

    /// The pack of one picture and its sound.
    pub fn pack(&self, number: u64) -> Vec<u8> {
        let mut out = self.headers(number);
        out.extend(pes_split(0xE0, self.pts(number), &annex_b(&self.nals(number))));
        if self.audio.is_some() {
            out.extend(pes(0xC0, Some(self.pts(number)), None, &sound(number), true));
        }
        out
    }
}

/// 40 ms of G.711.
pub fn sound(number: u64) -> Vec<u8> {
    filler(320, number + 1_000_000)
}

/// What an unpacker gave.
#[derive(Default)]
pub struct Seen {
    pub units: Vec<AccessUnit>,
    pub tracks: Vec<Arc<Tracks>>,
    pub payloads: Vec<Payload>,
    pub faults: FaultCounts,
    /// For each unit, the sequence number of the packet that brought it out.
    pub at: Vec<u16>,
}

impl Seen {
    pub fn video(&self) -> Vec<&AccessUnit> {
        self.units.iter().filter(|unit| unit.kind == Kind::Video).collect()
    }

    pub fn audio(&self) -> Vec<&AccessUnit> {
        self.units.iter().filter(|unit| unit.kind == Kind::Audio).collect()
    }

    pub fn count(&self, fault: Fault) -> u64 {
        self.faults.get(fault)
    }

    pub fn fault_names(&self) -> Vec<&'static str> {
        self.faults.iter().map(|(name, _)| name).collect()
    }
}

/// An unpacker and its outputs.
pub struct Run {
    pub unpacker: Unpacker,
    pub seen: Seen,
    pub now: Instant,
}

impl Run {
    pub fn new() -> Self {
        Self { unpacker: Unpacker::new(Options::default()), seen: Seen::default(), now: start() }
    }

    pub fn drain(&mut self, seq: u16) {
        while let Some(output) = self.unpacker.poll_output() {
            match output {
                Output::Payload(payload) => self.seen.payloads.push(payload),
                Output::Tracks(tracks) => self.seen.tracks.push(tracks),
                Output::Unit(unit) => {
                    check(&self.seen, &unit);
                    self.seen.units.push(unit);
                    self.seen.at.push(seq);
                }
                Output::Fault(fault) => self.seen.faults.count(fault),
            }
        }
    }

    /// Takes packets that come at once.
    pub fn packets(&mut self, packets: &[Rtp]) {
        for packet in packets {
            self.unpacker.handle_packet(self.now, &packet.view());
            self.drain(packet.seq);
        }
    }

    pub fn gap(&mut self, lost: u64) {
        self.unpacker.handle_gap(lost);
        self.drain(0);
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.unpacker.handle_timeout(self.now);
        self.drain(0);
    }

    /// Takes a picture's packets and lets 40 ms pass.
    pub fn frame(&mut self, packets: &[Rtp]) {
        self.packets(packets);
        self.wait(Duration::from_millis(40));
    }
}

/// What must hold of every unit.
fn check(seen: &Seen, unit: &AccessUnit) {
    assert!(unit.pts >= unit.dts && unit.dts.0 >= 0);
    if let Some(last) = seen.units.iter().rev().find(|other| other.kind == unit.kind) {
        assert!(unit.dts > last.dts, "{:?} after {:?}", unit.dts, last.dts);
    }
    assert_eq!(seen.tracks.last(), Some(&unit.tracks));
    match unit.kind {
        Kind::Video => {
            assert!(unit.tracks.video.is_some());
            let total: usize = wire::nal::length_prefixed(&unit.data).map(|nal| nal.len() + 4).sum();
            assert_eq!(total, unit.data.len());
        }
        Kind::Audio => assert!(unit.tracks.audio.is_some() && !unit.data.is_empty()),
    }
}

/// Runs a camera for `count` pictures through one packetizer.
pub fn run_camera(camera: &Camera, packetizer: &mut Packetizer, count: u64) -> Seen {
    let mut run = Run::new();
    for number in 0..count {
        let timestamp = camera.pts(number) as u32;
        run.frame(&packetizer.packets(timestamp, &camera.pack(number)));
    }
    run.seen
}

/// Every unit is the picture that was sent, in order, and these are their numbers.
pub fn assert_pictures(seen: &Seen, camera: &Camera, numbers: impl IntoIterator<Item = u64>) {
    let video = seen.video();
    let numbers: Vec<u64> = numbers.into_iter().collect();
    assert_eq!(video.len(), numbers.len());
    for (unit, number) in video.iter().zip(numbers) {
        assert!(unit.data == length_prefixed(&camera.nals(number)), "picture {number}");
        assert_eq!(unit.key, camera.is_key(number));
    }
}
