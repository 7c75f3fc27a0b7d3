//! What must hold for any bytes and any order of packets.

mod support;

use std::time::Duration;

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*, sample::Index};
use support::*;
use wire::{
    aac,
    fault::Fault,
    inspect::demux_ps,
    media::{Kind, VideoCodec},
    nal,
    parameter_sets::parse_sps,
    ps::{Demuxer, PesHeader, Sink},
    reorder::{self, Reorder},
    rfc4571::{self, Framer},
    rtcp,
    rtp::{Packet, Statistics},
    timeline::{Stamp, Timeline},
};

/// What a demuxer told, payload joined.
#[derive(Debug, Default, PartialEq)]
struct Told {
    events: Vec<String>,
    payload: Vec<u8>,
}

impl Sink for Told {
    fn pack(&mut self) {
        self.events.push("pack".into());
    }

    fn pes(&mut self, header: &PesHeader) {
        self.events.push(format!("{header:?} at {}", self.payload.len()));
    }

    fn data(&mut self, bytes: &[u8]) {
        self.payload.extend(bytes);
    }

    fn pes_end(&mut self, whole: bool) {
        self.events.push(format!("end {whole} at {}", self.payload.len()));
    }

    fn fault(&mut self, fault: Fault) {
        self.events.push(fault.name().into());
    }
}

fn demux<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Told {
    let (mut told, mut demuxer) = (Told::default(), Demuxer::new());
    for piece in pieces {
        demuxer.handle_bytes(piece, &mut told);
    }
    demuxer.finish(&mut told);
    told
}

/// Bytes that look like a program stream: units whole, cut, of wrong length, and noise.
fn program_bytes() -> impl Strategy<Value = Vec<u8>> {
    let bytes = vec(prop_oneof![4 => any::<u8>(), 2 => Just(0), 1 => Just(1), 1 => Just(0xFF)], 0..40);
    let unit = prop_oneof![
        any::<u64>().prop_map(pack_header),
        Just(system_header()),
        vec((any::<u8>(), 0xC0..=0xEFu8), 0..4).prop_map(|streams| map(&streams)),
        (0xB9..=0xFFu8, proptest::option::of(any::<u64>()), bytes.clone(), any::<bool>())
            .prop_map(|(id, pts, payload, sized)| pes(id, pts, pts, &payload, sized)),
        (0xB0..=0xFFu8, bytes.clone()).prop_map(|(id, rest)| [&[0, 0, 1, id][..], &rest].concat()),
        bytes,
    ];
    let cut = (unit, proptest::option::weighted(0.2, any::<Index>())).prop_map(|(mut unit, at)| {
        if let Some(at) = at {
            unit.truncate(at.index(unit.len() + 1));
        }
        unit
    });
    vec(cut, 0..20).prop_map(|units| units.concat())
}

/// Cuts `data` into pieces of the given sizes, over and over.
fn pieces<'a>(mut data: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let (now, rest) = data.split_at((*sizes.next()?).min(data.len()));
        data = rest;
        (!now.is_empty()).then_some(now)
    })
}

/// A camera's packets with some lost, repeated, cut or altered.
fn damaged_packets() -> impl Strategy<Value = Vec<(Option<Rtp>, u64)>> {
    let oddity = prop_oneof![
        8 => Just(0_u8),
        1 => 1..=6_u8,
    ];
    let camera = (any::<bool>(), any::<bool>(), 20..1500_usize, any::<bool>(), 0..1_u64 << 33);
    (camera, vec((oddity, any::<Index>(), any::<u8>()), 1..60)).prop_map(|(camera, oddities)| {
        let (h265, sound, size, markers, first_pts) = camera;
        let codec = if h265 { Codec::H265 } else { Codec::H264 };
        let camera = Camera {
            audio: sound.then_some(0x90),
            key_bytes: 2000,
            gop: 4,
            first_pts: first_pts + 90_000,
            ..Camera::new(codec)
        };
        let mut packetizer = Packetizer { size, markers, ..Packetizer::new() };
        let mut oddities = oddities.into_iter().cycle();
        let mut out = vec![];
        for number in 0..12 {
            for mut packet in packetizer.packets(camera.pts(number) as u32, &camera.pack(number)) {
                let (oddity, at, value) = oddities.next().unwrap();
                let at = at.index(packet.payload.len());
                match oddity {
                    1 => packet.payload[at] = value,
                    2 => packet.payload.truncate(at),
                    3 => packet.timestamp = packet.timestamp.wrapping_add(u32::from(value) << 20),
                    4 => packet.payload_type = value & 0x7F,
                    5 => out.push((Some(packet.clone()), 0)),
                    _ => {}
                }
                let lost = if oddity == 6 { None } else { Some(packet) };
                out.push((lost, 1));
            }
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_program_stream_may_be_cut_anywhere(data in program_bytes(), sizes in vec(1..50_usize, 1..8)) {
        let whole = demux(std::iter::once(&data[..]));
        prop_assert_eq!(demux(pieces(&data, &sizes)), whole);
    }

    #[test]
    fn no_payload_is_invented(data in program_bytes()) {
        let (records, _) = demux_ps(&data);
        prop_assert!(records.iter().map(|record| record.payload.len()).sum::<usize>() <= data.len());
    }

    #[test]
    fn written_pes_packets_read_back(
        written in vec((0xC0..=0xEFu8, any::<Option<u64>>(), any::<bool>(), vec(any::<u8>(), 0..300)), 0..10)
    ) {
        let mut stream = pack_header(0);
        for (id, pts, with_dts, payload) in &written {
            stream.extend(pes(*id, *pts, pts.filter(|_| *with_dts), payload, true));
        }
        let (records, faults) = demux_ps(&stream);
        prop_assert_eq!(faults, []);
        let mask = (1 << 33) - 1;
        for (record, (id, pts, with_dts, payload)) in records.iter().zip(&written) {
            let pts = pts.map(|pts| pts & mask);
            prop_assert_eq!((record.stream_id, record.pts, record.dts), (*id, pts, pts.filter(|_| *with_dts)));
            prop_assert_eq!(&record.payload[..], &payload[..]);
        }
        prop_assert_eq!(records.len(), written.len());
    }

    #[test]
    fn any_packets_keep_the_units_in_order(packets in damaged_packets(), step_ms in 0..200_u64) {
        let mut run = Run::new(); // its `drain` checks every unit
        for (packet, count) in packets {
            match packet {
                Some(packet) => run.packets(&[packet]),
                None => run.gap(count),
            }
            run.wait(Duration::from_millis(step_ms));
        }
    }

    #[test]
    fn any_payloads_are_survived(
        packets in vec((any::<u8>(), any::<bool>(), any::<u32>(), vec(any::<u8>(), 0..60)), 0..300)
    ) {
        let mut run = Run::new();
        for ((payload_type, marker, timestamp, payload), seq) in packets.into_iter().zip(0..) {
            let timestamp = timestamp >> 28;
            run.packets(&[Rtp { seq, timestamp, marker, payload_type: payload_type & 0x7F, payload }]);
            run.wait(Duration::from_millis(20));
        }
    }

    #[test]
    fn frames_of_a_connection_may_be_cut_anywhere(
        packets in vec((0..2000_usize, any::<bool>()), 1..20),
        noise in vec(any::<u8>(), 0..300),
        sizes in vec(1..3000_usize, 1..8),
    ) {
        let mut data = noise;
        for (len, report) in &packets {
            let mut packet = if *report { vec![0x80, 201, 0, 1, 0, 0, 0, 1] } else { vec![0x80; 12] };
            packet[8..].fill(7);
            if !report {
                packet.resize(12 + len, 0x55);
            }
            data.extend((packet.len() as u16).to_be_bytes());
            data.extend(packet);
        }
        let read = |sizes: &[usize]| {
            let mut framer = Framer::new(Some(0x0707_0707));
            let mut space = vec![0; rfc4571::SPACE_MIN];
            let (mut seen, mut bytes) = (vec![], 0);
            for mut piece in pieces(&data, sizes) {
                let mut reading = framer.read(&mut space);
                while !piece.is_empty() {
                    piece = &piece[reading.handle_bytes(piece)..];
                    while let Some(output) = reading.poll_output() {
                        match output {
                            rfc4571::Output::Packet(packet) => {
                                bytes += packet.len() + 2;
                                seen.push(packet.to_vec());
                            }
                            rfc4571::Output::Skipped(len) => bytes += len,
                            rfc4571::Output::GaveUp => unreachable!("so few bytes"),
                        }
                    }
                }
            }
            (seen, bytes)
        };
        let whole = read(&[usize::MAX]);
        prop_assert!(whole.1 <= data.len());
        prop_assert_eq!(read(&sizes), whole);
    }

    #[test]
    fn reordering_accounts_for_every_number(
        start_seq in any::<u16>(),
        fates in vec((0..10_u8, 0..12_usize), 1..300),
        hold_ms in 1..100_u64,
    ) {
        // Each packet is delayed by some places, lost or doubled.
        let mut sent: Vec<(usize, u16)> = vec![];
        for (place, &(fate, delay)) in fates.iter().enumerate() {
            let seq = start_seq.wrapping_add(place as u16);
            if fate > 0 {
                sent.push((place + delay, seq));
            }
            if fate == 1 {
                sent.push((place + delay + 3, seq));
            }
        }
        sent.sort_by_key(|&(place, _)| place);
        let mut reorder = Reorder::new(Duration::from_millis(hold_ms), 64);
        let mut next: Option<u16> = None;
        let mut check = |output: reorder::Output<u16>| -> Result<(), TestCaseError> {
            match output {
                reorder::Output::Packet(seq) => {
                    prop_assert_eq!(seq, next.unwrap_or(seq));
                    next = Some(seq.wrapping_add(1));
                }
                reorder::Output::Lost(lost) => {
                    prop_assert!(lost > 0 && lost <= 300);
                    next = next.map(|seq| seq.wrapping_add(lost as u16));
                }
                reorder::Output::Restarted => prop_assert!(false, "nothing restarted"),
            }
            Ok(())
        };
        let mut now = start();
        for (_, seq) in sent {
            now += Duration::from_millis(5);
            if reorder.pass(seq) {
                check(reorder::Output::Packet(seq))?;
            } else {
                reorder.handle_packet(now, seq, seq);
            }
            while let Some(output) = reorder.poll_output(now) {
                check(output)?;
            }
        }
        while let Some(due) = reorder.next_timeout() {
            prop_assert!(due <= now + Duration::from_millis(hold_ms));
            now = now.max(due);
            while let Some(output) = reorder.poll_output(now) {
                check(output)?;
            }
        }
    }

    #[test]
    fn any_numbers_are_counted_consistently(numbers in vec(any::<u16>(), 0..200), near in any::<bool>()) {
        let mut statistics = Statistics::new(90_000);
        let mut reorder = Reorder::new(Duration::from_millis(50), 16);
        for (seq, at) in numbers.into_iter().zip(0..) {
            let seq = if near { seq & 0xFF } else { seq };
            let now = start() + Duration::from_millis(at);
            let packet = Packet { payload_type: 96, marker: false, seq, timestamp: u32::from(seq), ssrc: 1, payload: &[] };
            statistics.handle_packet(now, &packet);
            prop_assert!(statistics.received() <= statistics.expected());
            prop_assert_eq!(statistics.expected(), statistics.received() + statistics.lost());
            statistics.take_fraction_lost();
            if !reorder.pass(seq) {
                reorder.handle_packet(now, seq, seq);
            }
            while reorder.poll_output(now).is_some() {}
        }
    }

    #[test]
    fn the_clock_never_runs_backwards(
        stamps in vec((any::<bool>(), 0..4_u8, any::<u64>(), 0..40_u32, 0..2000_u64), 1..200)
    ) {
        let mut timeline = Timeline::new();
        let mut now = start();
        let mut last = [None; 2];
        for (video, kind, value, shift, passed) in stamps {
            now += Duration::from_millis(passed);
            let value = value >> (shift + 20);
            let stamp = match kind {
                0 => Stamp::Pes { pts: value, dts: None },
                1 => Stamp::Pes { pts: value, dts: Some(value.wrapping_sub(u64::from(shift) * 900)) },
                2 => Stamp::Rtp { timestamp: value as u32, rate: if shift & 1 == 0 { 90_000 } else { 8000 } },
                _ => Stamp::Arrival,
            };
            let track = if video { Kind::Video } else { Kind::Audio };
            let timed = timeline.handle_unit(now, track, stamp);
            prop_assert!(timed.pts >= timed.dts && (timed.dts.0 >= 0 || timed.early));
            prop_assert!(!(timed.early && video), "pictures are never left out");
            if !timed.early {
                let before = last[usize::from(video)].replace(timed.dts.as_millis());
                prop_assert!(before.is_none_or(|before| timed.dts.as_millis() > before));
            }
        }
    }

    #[test]
    fn start_codes_become_lengths(nals in vec((vec(1..=255_u8, 1..50), any::<bool>(), 0..4_usize), 0..10)) {
        let mut data = BytesMut::new();
        for (nal, long, zeros) in &nals {
            data.extend(if *long { &[0, 0, 0, 1][..] } else { &[0, 0, 1] });
            data.extend(nal);
            data.extend(std::iter::repeat_n(0, *zeros));
        }
        let out = nal::into_length_prefixed(data, &mut Vec::new());
        let seen: Vec<_> = nal::length_prefixed(&out).collect();
        let wanted: Vec<_> = nals.iter().map(|(nal, ..)| &nal[..]).collect();
        prop_assert_eq!(seen, wanted);
    }

    #[test]
    fn readers_survive_any_bytes(data in vec(any::<u8>(), 0..200)) {
        if let Ok(packet) = Packet::parse(&data) {
            prop_assert!(packet.payload.len() + 12 <= data.len());
        }
        prop_assert!(rtcp::messages(&data).count() <= data.len() / 4);
        for codec in [VideoCodec::H264, VideoCodec::H265] {
            if let Ok(info) = parse_sps(codec, &data) {
                prop_assert!((1..=16_384).contains(&info.width) && (1..=16_384).contains(&info.height));
            }
        }
        if let Some(adts) = aac::Adts::parse(&data) {
            prop_assert!(adts.frame_len > adts.header_len && adts.frame_len < 8192);
        }
        let _ = aac::Config::parse(&data);
    }

    #[test]
    fn altered_parameter_sets_are_survived(at in any::<Index>(), value in any::<u8>(), len in any::<Index>()) {
        for (codec, set) in [(VideoCodec::H264, H264_SPS), (VideoCodec::H265, H265_SPS)] {
            let mut set = set.to_vec();
            let at = at.index(set.len());
            set[at] = value;
            set.truncate(len.index(set.len()) + 1);
            let _ = parse_sps(codec, &set);
        }
    }
}
