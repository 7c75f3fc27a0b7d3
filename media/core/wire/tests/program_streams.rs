//! Program streams as devices send them, from RTP packets to access units.

mod support;

use std::time::Duration;

use support::*;
use wire::{
    fault::Fault,
    media::{AudioCodec, Ticks, VideoCodec},
    unpack::Payload,
};

#[test]
fn pictures_come_out_as_they_went_in() {
    for codec in [Codec::H264, Codec::H265] {
        let camera = Camera::new(codec);
        let seen = run_camera(&camera, &mut Packetizer::new(), 40);
        // The last picture is complete at its marker, for the device was seen to set it.
        assert_pictures(&seen, &camera, 0..40);
        assert_eq!(seen.payloads, [Payload::Ps]);
        assert_eq!(seen.tracks.len(), 1);
        let track = seen.tracks[0].video.as_ref().unwrap();
        let wanted = if codec == Codec::H264 { VideoCodec::H264 } else { VideoCodec::H265 };
        assert_eq!((track.codec, track.width, track.height, track.rate), (wanted, 352, 288, Some((25, 1))));
        assert_eq!(seen.fault_names(), [""; 0]);
        assert!(seen.video().iter().zip(0..).all(|(unit, n)| unit.dts == Ticks(n * 3600)));
    }
}

#[test]
fn a_frame_is_handed_on_with_its_last_packet_once_the_device_is_known() {
    for markers in [true, false] {
        let camera = Camera::new(Codec::H264);
        let mut packetizer = Packetizer { markers, ..Packetizer::new() };
        let mut run = Run::new();
        for number in 0..30 {
            let packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
            run.frame(&packets);
            if number >= 5 {
                assert_eq!(run.seen.video().len() as u64, number + 1);
                assert_eq!(run.seen.at.last(), Some(&packets.last().unwrap().seq));
            }
        }
    }
}

#[test]
fn markers_on_every_packet_mean_nothing() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..40 {
        let mut packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        for packet in &mut packets {
            packet.marker = true;
        }
        run.frame(&packets);
    }
    assert_pictures(&run.seen, &camera, 0..40);
    assert_eq!(run.seen.fault_names(), [""; 0]);
}

#[test]
fn a_frame_above_64_kib_in_several_pes_packets_is_one_unit() {
    let camera = Camera { key_bytes: 200_000, ..Camera::new(Codec::H265) };
    let seen = run_camera(&camera, &mut Packetizer::new(), 21);
    assert_pictures(&seen, &camera, 0..21);
}

#[test]
fn pes_packets_without_length_end_at_the_next_system_code() {
    let camera = Camera { key_bytes: 200_000, ..Camera::new(Codec::H264) };
    for size in [1400, 1399, 37, 5000] {
        let mut packetizer = Packetizer { size, ..Packetizer::new() };
        let mut run = Run::new();
        for number in 0..12 {
            let mut pack = camera.headers(number);
            pack.extend(pes(0xE0, Some(camera.pts(number)), None, &annex_b(&camera.nals(number)), false));
            pack.extend(pes(0xC0, Some(camera.pts(number)), None, &sound(number), true));
            run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
        }
        assert_pictures(&run.seen, &camera, 0..12);
        assert_eq!(run.seen.audio().len(), 11);
    }
}

#[test]
fn a_pes_length_of_16_bits_that_overflowed_is_read_through() {
    let camera = Camera { key_bytes: 100_000, ..Camera::new(Codec::H264) };
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..12 {
        let mut pack = camera.headers(number);
        // `pes` keeps the low 16 bits of the length, as such devices do.
        pack.extend(pes(0xE0, Some(camera.pts(number)), None, &annex_b(&camera.nals(number)), true));
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_pictures(&run.seen, &camera, 0..12);
    assert_eq!(run.seen.count(Fault::PesLength), 2);
}

#[test]
fn a_start_in_the_middle_of_a_frame_waits_for_a_key_frame() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 3..25 {
        let packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        run.frame(if number == 3 { &packets[1..] } else { &packets });
    }
    assert_pictures(&run.seen, &camera, 10..25);
    assert_eq!(run.seen.count(Fault::KeyFrameAwaited), 6);
}

#[test]
fn a_gap_costs_the_rest_of_the_group_of_pictures_and_nothing_else() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..30 {
        let packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        if number == 14 {
            run.packets(&packets[..1]);
            run.gap(1);
            run.frame(&packets[2..]);
        } else {
            run.frame(&packets);
        }
    }
    assert_pictures(&run.seen, &camera, (0..14).chain(20..30));
    assert_eq!((run.seen.count(Fault::DamagedUnit), run.seen.count(Fault::KeyFrameAwaited)), (1, 5));
}

#[test]
fn the_map_may_lie_about_the_video() {
    let camera = Camera { map_type: 0x1B, ..Camera::new(Codec::H265) };
    let seen = run_camera(&camera, &mut Packetizer::new(), 25);
    assert_pictures(&seen, &camera, 0..25);
    assert_eq!(seen.tracks[0].video.as_ref().unwrap().codec, VideoCodec::H265);
    assert_eq!(seen.count(Fault::PsmContradicts), 1);
}

#[test]
fn no_map_is_needed() {
    for codec in [Codec::H264, Codec::H265] {
        let camera = Camera::new(codec);
        let mut packetizer = Packetizer::new();
        let mut run = Run::new();
        for number in 0..12 {
            let mut pack = pack_header(camera.pts(number));
            pack.extend(pes_split(0xE0, camera.pts(number), &annex_b(&camera.nals(number))));
            pack.extend(pes(0xC0, Some(camera.pts(number)), None, &sound(number), true));
            run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
        }
        assert_pictures(&run.seen, &camera, 0..12);
        assert_eq!(run.seen.tracks.last().unwrap().audio.as_ref().unwrap().codec, AudioCodec::G711A);
        assert_eq!(run.seen.count(Fault::PsmMissing), 1);
    }
}

#[test]
fn a_map_with_wrong_check_sum_or_lengths_does_no_harm() {
    let camera = Camera::new(Codec::H265);
    for (at, value, fault) in [(6, 0x61, Fault::PsmCrc), (5, 0xFF, Fault::BadPsm), (4, 0xFF, Fault::BadPsm)] {
        let mut packetizer = Packetizer::new();
        let mut run = Run::new();
        for number in 0..20 {
            let mut pack = camera.pack(number);
            if camera.is_key(number) {
                pack[14 + 18 + at] = value;
            }
            run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
        }
        assert_pictures(&run.seen, &camera, 0..20);
        assert_eq!(run.seen.count(fault), 2);
    }
}

#[test]
fn a_bare_pack_code_is_passed_over() {
    let camera = Camera::new(Codec::H265);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..12 {
        let mut pack = if number % 3 == 1 { vec![0, 0, 1, 0xBA] } else { camera.headers(number) };
        pack.extend(pes_split(0xE0, camera.pts(number), &annex_b(&camera.nals(number))));
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_pictures(&run.seen, &camera, 0..12);
    assert_eq!(run.seen.count(Fault::BarePackHeader), 4);
}

#[test]
fn private_units_and_padding_are_skipped_by_length() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..12 {
        let mut pack = camera.headers(number);
        for id in [0xBD, 0xBE, 0xBF, 0xF0, 0xFF] {
            pack.extend([0, 0, 1, id, 0, 16]);
            pack.extend(b"\0\0\x01\xBA\0\0\x01\xE0HK\0\0\x01\xB9\0\0"); // looks like start codes
        }
        pack.extend(pes_split(0xE0, camera.pts(number), &annex_b(&camera.nals(number))));
        pack.extend([0xFF; 3]); // stuffing
        pack.extend([0; 7]);
        pack.extend([0, 0, 1, 0xB9]);
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_pictures(&run.seen, &camera, 0..12);
    assert_eq!(run.seen.fault_names(), [""; 0]);
}

#[test]
fn one_pes_packet_per_nal_unit_is_one_picture() {
    let camera = Camera::new(Codec::H265);
    for size in [1400, 60] {
        let mut packetizer = Packetizer { size, ..Packetizer::new() };
        let mut run = Run::new();
        for number in 0..25 {
            let mut pack = camera.headers(number);
            for nal in camera.nals(number) {
                pack.extend(pes(0xE0, Some(camera.pts(number)), None, &annex_b(&[nal]), true));
            }
            run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
        }
        assert_pictures(&run.seen, &camera, 0..25);
    }
}

#[test]
fn one_pack_per_nal_unit_of_the_same_time_is_one_picture() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer { markers: false, ..Packetizer::new() };
    let mut run = Run::new();
    for number in 0..25 {
        let mut pack = vec![];
        for nal in camera.nals(number) {
            pack.extend(pack_header(camera.pts(number)));
            pack.extend(pes(0xE0, Some(camera.pts(number)), None, &annex_b(&[nal]), true));
        }
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_pictures(&run.seen, &camera, 0..25);
}

#[test]
fn clocks_that_stand_still_do_not_glue_pictures_together() {
    for codec in [Codec::H264, Codec::H265] {
        let camera = Camera::new(codec);
        let mut packetizer = Packetizer { markers: false, ..Packetizer::new() };
        let mut run = Run::new();
        for number in 0..40 {
            let mut pack = camera.headers(number);
            pack.extend(pes_split(0xE0, 900, &annex_b(&camera.nals(number))));
            run.frame(&packetizer.packets(77, &pack));
        }
        assert_pictures(&run.seen, &camera, 0..40);
        let video = run.seen.video();
        assert_eq!(video[39].dts.0 - video[20].dts.0, 19 * 3600, "arrival takes the clock's place");
    }
}

#[test]
fn a_cut_frame_under_a_clock_that_stands_costs_no_other() {
    let camera = Camera { gop: 5, ..Camera::new(Codec::H264) };
    let mut packetizer = Packetizer { markers: false, ..Packetizer::new() };
    let mut run = Run::new();
    for number in 0..20 {
        let mut pack = camera.headers(number);
        pack.extend(pes_split(0xE0, 900, &annex_b(&camera.nals(number))));
        if number == 4 {
            pack.truncate(2000);
        }
        run.frame(&packetizer.packets(77, &pack));
    }
    assert_pictures(&run.seen, &camera, (0..4).chain(5..20));
    assert_eq!(run.seen.count(Fault::DamagedUnit), 1);
}

#[test]
fn a_pes_packet_that_ends_early_costs_its_frame() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..25 {
        let mut pack = camera.pack(number);
        if number == 4 {
            pack.truncate(2000);
        }
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_pictures(&run.seen, &camera, (0..4).chain(10..25));
    assert_eq!((run.seen.count(Fault::PesTruncated), run.seen.count(Fault::DamagedUnit)), (1, 1));
}

#[test]
fn strangers_between_packets_are_dropped() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..30 {
        let mut packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        if number > 11 {
            let sound = Rtp { timestamp: 5, marker: false, payload: vec![0xD5; 160], ..packets[0].clone() };
            packets.insert(1, sound.clone());
            packets.push(sound);
        }
        run.frame(&packets);
    }
    assert_pictures(&run.seen, &camera, 0..30);
    assert_eq!(run.seen.count(Fault::ForeignPacket), 36);
}

#[test]
fn another_coding_in_mid_stream_makes_new_tracks() {
    let (first, second) = (Camera::new(Codec::H264), Camera::new(Codec::H265));
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..40 {
        let camera = if number < 20 { &first } else { &second };
        run.frame(&packetizer.packets(camera.pts(number) as u32, &camera.pack(number)));
    }
    let codecs: Vec<_> = run.seen.tracks.iter().map(|tracks| tracks.video.as_ref().unwrap().codec).collect();
    assert_eq!(codecs, [VideoCodec::H264, VideoCodec::H265]);
    assert_eq!(run.seen.video().len(), 40);
}

#[test]
fn mpeg_1_headers_are_read() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..12 {
        let mut pack = b"\0\0\x01\xBA\x21\0\x01\0\x01\x80\0\x01".to_vec();
        let payload = annex_b(&camera.nals(number));
        for (part, bytes) in payload.chunks(30_000).enumerate() {
            let head: Vec<u8> = if part == 0 {
                let full = pes(0xE0, Some(camera.pts(number)), None, &[], true);
                [&[0xFF, 0xFF, 0x60, 0x20][..], &full[9..14]].concat()
            } else {
                vec![0x0F]
            };
            pack.extend([0, 0, 1, 0xE0]);
            pack.extend(((head.len() + bytes.len()) as u16).to_be_bytes());
            pack.extend(head);
            pack.extend(bytes);
        }
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_pictures(&run.seen, &camera, 0..12);
}

#[test]
fn frames_above_the_limit_are_dropped() {
    let camera = Camera { key_bytes: 5 << 20, gop: 5, ..Camera::new(Codec::H264) };
    let seen = run_camera(&camera, &mut Packetizer::new(), 12);
    assert_eq!(seen.units.len(), 0);
    assert_eq!(seen.count(Fault::FrameTooBig), 3);
}

#[test]
fn nothing_waits_for_ever() {
    let camera = Camera { audio: Some(0x90), ..Camera::new(Codec::H264) };
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    let mut pack = camera.headers(0);
    pack.extend(pes_split(0xE0, camera.pts(0), &annex_b(&camera.nals(0))));
    run.packets(&packetizer.packets(1, &pack));
    let silent = Camera { audio: None, ..camera };
    run.packets(&packetizer.packets(3601, &silent.pack(1)));
    let due = run.unpacker.next_timeout().unwrap();
    assert_eq!(due, run.now + Duration::from_secs(1));
    run.wait(Duration::from_secs(1));
    assert_eq!((run.seen.units.len(), run.unpacker.next_timeout()), (1, None));
}
