//! Elementary streams over RTP without a program stream: H.264, H.265, start codes, AAC, G.711, and what is refused.

mod support;

use support::*;
use wire::{
    fault::Fault,
    media::{AudioCodec, Ticks, VideoCodec},
    unpack::Payload,
};

/// Packs NAL units as RFC 6184 or RFC 7798 say: small ones aggregated, large ones in fragments.
fn pack(codec: Codec, nals: &[Vec<u8>], size: usize) -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = vec![];
    let (small, large): (Vec<&Vec<u8>>, Vec<_>) = nals.iter().partition(|nal| nal.len() < 100);
    if small.len() > 1 {
        let mut payload = if codec == Codec::H264 { vec![0x78] } else { vec![0x60, 0x01] };
        for nal in small {
            payload.extend((nal.len() as u16).to_be_bytes());
            payload.extend(nal);
        }
        payloads.push(payload);
    }
    for nal in large {
        let head = if codec == Codec::H264 { 1 } else { 2 };
        let parts: Vec<_> = nal[head..].chunks(size).collect();
        for (number, part) in parts.iter().enumerate() {
            let edges = u8::from(number == 0) << 7 | u8::from(number + 1 == parts.len()) << 6;
            let mut payload = match codec {
                Codec::H264 => vec![nal[0] & 0xE0 | 0x1C, edges | nal[0] & 0x1F],
                Codec::H265 => vec![nal[0] & 0x81 | 0x62, nal[1], edges | nal[0] >> 1 & 0x3F],
            };
            payload.extend(*part);
            payloads.push(payload);
        }
    }
    payloads
}

fn packets(seq: &mut u16, timestamp: u32, payloads: Vec<Vec<u8>>) -> Vec<Rtp> {
    let last = payloads.len() - 1;
    let mut packets = vec![];
    for (number, payload) in payloads.into_iter().enumerate() {
        *seq = seq.wrapping_add(1);
        packets.push(Rtp { seq: *seq, timestamp, marker: number == last, payload_type: 96, payload });
    }
    packets
}

fn play(codec: Codec, announced: &[(u8, &str)], first: u64, markers: bool) -> (Camera, Seen) {
    let camera = Camera::new(codec);
    let mut run = Run::new();
    run.unpacker.expect(announced.iter().copied());
    let mut seq = 0;
    for number in first..first + 30 {
        let timestamp = camera.pts(number) as u32;
        let mut packets = packets(&mut seq, timestamp, pack(codec, &camera.nals(number), 1400));
        if !markers {
            packets.last_mut().unwrap().marker = false;
        }
        run.frame(&packets);
    }
    (camera, run.seen)
}

#[test]
fn nal_units_are_recognised_with_and_without_announcement() {
    for (codec, name, payload) in [(Codec::H264, "H264", Payload::H264), (Codec::H265, "H265", Payload::H265)]
    {
        for announced in [&[][..], &[(96, name)], &[(96, "PS")]] {
            let (camera, seen) = play(codec, announced, 0, true);
            assert_pictures(&seen, &camera, 0..30);
            assert_eq!(seen.payloads, [payload]);
            assert_eq!(seen.tracks.len(), 1);
            assert_eq!(seen.fault_names(), [""; 0]);
        }
    }
}

#[test]
fn a_start_between_key_frames_is_recognised_too() {
    for codec in [Codec::H264, Codec::H265] {
        let (camera, seen) = play(codec, &[], 4, true);
        assert_pictures(&seen, &camera, 10..34);
        assert_eq!(seen.count(Fault::KeyFrameAwaited), 6);
    }
}

#[test]
fn without_markers_the_next_timestamp_ends_a_picture() {
    let (camera, seen) = play(Codec::H264, &[], 0, false);
    assert_pictures(&seen, &camera, 0..29);
}

#[test]
fn a_lost_fragment_costs_the_group_of_pictures() {
    let camera = Camera::new(Codec::H265);
    let mut run = Run::new();
    let mut seq = 0;
    for number in 0..25 {
        let packets =
            packets(&mut seq, camera.pts(number) as u32, pack(camera.codec, &camera.nals(number), 1000));
        if number == 12 {
            run.packets(&packets[..1]);
            run.gap(1);
            run.frame(&packets[2..]);
        } else {
            run.frame(&packets);
        }
    }
    let keys: Vec<_> = run.seen.video().iter().map(|unit| unit.key).collect();
    assert_eq!(keys.len(), 12 + 5);
    assert!(keys[12]);
}

#[test]
fn malformed_payloads_are_counted_and_cost_their_picture() {
    let camera = Camera::new(Codec::H264);
    let mut run = Run::new();
    let mut seq = 0;
    for number in 0..25 {
        let mut payloads = pack(camera.codec, &camera.nals(number), 1400);
        if number == 3 {
            payloads.insert(1, vec![0x78, 0xFF, 0xFF, 1]); // an aggregate that ends before its unit
        }
        run.frame(&packets(&mut seq, camera.pts(number) as u32, payloads));
    }
    assert_eq!((run.seen.count(Fault::BadPayload), run.seen.count(Fault::DamagedUnit)), (1, 1));
    assert_eq!(run.seen.video().len(), 3 + 15);
}

#[test]
fn start_codes_over_rtp_are_read() {
    for codec in [Codec::H264, Codec::H265] {
        let camera = Camera::new(codec);
        let mut packetizer = Packetizer::new();
        let mut run = Run::new();
        for number in 0..20 {
            run.frame(&packetizer.packets(camera.pts(number) as u32, &annex_b(&camera.nals(number))));
        }
        assert_pictures(&run.seen, &camera, 0..20);
    }
}

#[test]
fn bare_g711_is_a_stream_of_its_own() {
    for (payload_type, codec, payload) in
        [(8, AudioCodec::G711A, Payload::G711A), (0, AudioCodec::G711U, Payload::G711U)]
    {
        let mut run = Run::new();
        for number in 0..60 {
            let packet = Rtp {
                seq: number as u16,
                timestamp: number as u32 * 320,
                marker: false,
                payload_type,
                payload: sound(number),
            };
            run.frame(&[packet]);
        }
        assert_eq!(run.seen.payloads, [payload]);
        let track = run.seen.tracks[0].audio.as_ref().unwrap();
        assert_eq!((track.codec, track.sample_rate), (codec, 8000));
        let audio = run.seen.audio();
        assert!(audio.len() >= 30);
        assert!(audio.windows(2).all(|pair| pair[1].dts.0 - pair[0].dts.0 == 3600));
    }
}

#[test]
fn aac_frames_are_cut_out_of_their_packets() {
    let mut run = Run::new();
    run.unpacker.expect([(102, "MPEG4-GENERIC/16000/1")]);
    for number in 0..60_u64 {
        let frames = [filler(100, number), filler(80, number + 1000)];
        let mut payload = vec![0, 32];
        for frame in &frames {
            payload.extend(((frame.len() as u16) << 3).to_be_bytes());
        }
        payload.extend(frames.concat());
        let timestamp = number as u32 * 2048;
        run.frame(&[Rtp { seq: number as u16, timestamp, marker: true, payload_type: 102, payload }]);
    }
    let track = run.seen.tracks[0].audio.as_ref().unwrap();
    assert_eq!(
        (track.codec, track.sample_rate, &track.config[..]),
        (AudioCodec::Aac, 16_000, &[0x14, 0x08][..])
    );
    let audio = run.seen.audio();
    assert!(audio.windows(2).all(|pair| pair[1].dts - pair[0].dts == Ticks(5760)));
    assert!(audio.iter().step_by(2).all(|unit| unit.data.len() == 100));
    assert_eq!(run.seen.fault_names(), [""; 0]);
}

#[test]
fn opus_in_packets_of_its_own_is_read_as_it_is() {
    for toc in [0xE8, 0xEC] {
        let mut run = Run::new();
        run.unpacker.expect([(111, "opus/48000/2")]);
        let packets: Vec<Vec<u8>> = (0..60).map(|number| [vec![toc], filler(60, number)].concat()).collect();
        for (number, payload) in packets.iter().enumerate() {
            let (seq, timestamp) = (number as u16, number as u32 * 960);
            run.frame(&[Rtp { seq, timestamp, marker: false, payload_type: 111, payload: payload.clone() }]);
        }
        let track = run.seen.tracks[0].audio.as_ref().unwrap();
        assert_eq!((track.codec, track.sample_rate, track.channels), (AudioCodec::Opus, 48_000, 2));
        assert_eq!(run.seen.payloads, [Payload::Opus]);
        let audio = run.seen.audio();
        assert!(audio.len() >= 9);
        assert!(audio.windows(2).all(|pair| pair[1].dts - pair[0].dts == Ticks(1800)));
        assert!(audio.iter().all(|unit| packets.iter().any(|packet| unit.data == packet[..])));
        assert_eq!(run.seen.fault_names(), [""; 0]);
    }
}

/// Pictures from the first on, sound from picture `begin` on, both answered for.
fn with_sound(begin: u64, codec: &str, payload_type: u8) -> Run {
    let camera = Camera::new(Codec::H264);
    let mut run = Run::new();
    run.unpacker.expect([(96, "H264"), (payload_type, codec)]);
    let (mut seq, mut heard) = (0, 0);
    for number in 0..50 {
        let mut all =
            packets(&mut seq, camera.pts(number) as u32, pack(Codec::H264, &camera.nals(number), 1400));
        for _ in 0..2 * u16::from(number >= begin) {
            let payload = [vec![0xE8], filler(60, heard)].concat();
            (seq, heard) = (seq.wrapping_add(1), heard + 1);
            all.push(Rtp { seq, timestamp: heard as u32 * 960, marker: false, payload_type, payload });
        }
        run.frame(&all);
    }
    run
}

#[test]
fn pictures_wait_a_moment_for_sound_that_was_answered() {
    for (codec, payload_type) in [("opus/48000/2", 111), ("PCMA/8000", 8)] {
        for begin in [0, 5] {
            let run = with_sound(begin, codec, payload_type);
            assert_eq!(run.seen.tracks.len(), 1, "{codec} from picture {begin} on");
            assert!(run.seen.tracks[0].video.is_some() && run.seen.tracks[0].audio.is_some());
            assert!(run.seen.video().len() >= 49, "none is left out");
        }
        let run = with_sound(40, codec, payload_type);
        assert_eq!(run.seen.tracks.len(), 2, "{codec} long after the first picture");
        let run = with_sound(50, codec, payload_type);
        assert!(run.seen.tracks.len() == 1 && run.seen.tracks[0].audio.is_none(), "{codec} that never comes");
        assert!(run.seen.video().len() >= 49, "pictures wait in vain no longer than a second");
    }
    assert_eq!(with_sound(50, "G729/8000", 18).seen.at[0], with_sound(50, "unknown", 98).seen.at[0]);
}

#[test]
fn sound_that_came_before_the_first_picture_keeps_its_coding() {
    let camera = Camera::new(Codec::H264);
    let mut run = Run::new();
    run.unpacker.expect([(96, "H264"), (111, "opus/48000/2")]);
    for number in 0..3_u16 {
        let payload = [vec![0xE8], filler(60, number.into())].concat();
        run.frame(&[Rtp {
            seq: number,
            timestamp: u32::from(number) * 960,
            marker: false,
            payload_type: 111,
            payload,
        }]);
    }
    let mut seq = 2;
    for number in 0..5 {
        let pictures =
            packets(&mut seq, camera.pts(number) as u32, pack(Codec::H264, &camera.nals(number), 1400));
        run.frame(&pictures);
    }
    assert_eq!(run.seen.tracks[0].audio.as_ref().unwrap().codec, AudioCodec::Opus);
    assert!(run.seen.tracks[0].video.is_some());
}

#[test]
fn what_cannot_be_read_is_named() {
    for (payload, name) in [(b"IMKH\x01\x01\0\0xxxx".to_vec(), "IMKH"), (b"DHAV\xFD\0\0\0".to_vec(), "DHAV")]
    {
        let mut run = Run::new();
        let packet = Rtp { seq: 1, timestamp: 1, marker: false, payload_type: 96, payload };
        run.unpacker.handle_packet(run.now, &packet.view());
        let told = std::iter::from_fn(|| run.unpacker.poll_output()).any(|output| {
            matches!(output, wire::unpack::Output::Fault(Fault::UnsupportedPayload(told)) if told == name)
        });
        assert!(told, "{name}");
    }
}

#[test]
fn what_shows_no_sign_at_all_is_told_and_watched_on() {
    let camera = Camera::new(Codec::H264);
    let mut run = Run::new();
    let mut packetizer = Packetizer::new();
    for number in 0..4_u32 {
        let mut noise = filler(3000, u64::from(number));
        noise.iter_mut().step_by(7).for_each(|byte| *byte |= 0x80);
        noise[0] = 0xFF;
        run.frame(&packetizer.packets(number * 3600, &noise));
    }
    assert_eq!(run.seen.count(Fault::UnsupportedPayload("unknown")), 1);
    for number in 0..12 {
        run.frame(&packetizer.packets(camera.pts(number) as u32, &camera.pack(number)));
    }
    assert_eq!(run.seen.payloads, [Payload::Ps]);
    assert_eq!(run.seen.video().len(), 12);
}

#[test]
fn the_size_follows_the_parameter_sets() {
    let (_, seen) = play(Codec::H265, &[], 0, true);
    let track = seen.tracks[0].video.as_ref().unwrap();
    assert_eq!((track.codec, track.width, track.height), (VideoCodec::H265, 352, 288));
    assert_eq!((track.vps.len(), track.sps.len(), track.pps.len()), (1, 1, 1));
}
