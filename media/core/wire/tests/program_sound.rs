//! The sound of program streams, and sound that comes bare beside them.

mod support;

use support::*;
use wire::{
    fault::Fault,
    media::{AudioCodec, Ticks},
    unpack::Payload,
};

#[test]
fn sound_comes_beside_pictures() {
    let camera = Camera { audio: Some(0x90), ..Camera::new(Codec::H264) };
    let seen = run_camera(&camera, &mut Packetizer::new(), 20);
    assert_pictures(&seen, &camera, 0..20);
    assert_eq!(seen.tracks.len(), 1, "both tracks are told together");
    let track = seen.tracks[0].audio.as_ref().unwrap();
    assert_eq!((track.codec, track.sample_rate, track.channels), (AudioCodec::G711A, 8000, 1));
    let audio = seen.audio();
    // The sound of the first pack comes before the first picture is complete.
    assert_eq!(audio.len(), 19);
    for (unit, number) in audio.iter().zip(1..) {
        assert!(unit.data == sound(number));
        assert_eq!(unit.dts, Ticks(number.cast_signed() * 3600));
    }
}

#[test]
fn bare_sound_beside_the_program_stream_becomes_its_track() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..30 {
        let packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        let sound = Rtp {
            payload_type: 8,
            timestamp: number as u32 * 320,
            marker: false,
            payload: sound(number),
            ..packets[0].clone()
        };
        run.frame(&packets);
        run.packets(&[sound]);
    }
    assert_pictures(&run.seen, &camera, 0..30);
    assert_eq!(run.seen.audio().len(), 29);
    assert_eq!(run.seen.payloads, [Payload::Ps, Payload::G711A]);
}

#[test]
fn the_first_packet_may_bear_the_payload_type_of_sound() {
    let camera = Camera::new(Codec::H264);
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..12 {
        let mut packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        if number == 0 {
            packets[0].payload_type = 0;
        }
        run.frame(&packets);
    }
    assert_pictures(&run.seen, &camera, 0..12);
    assert_eq!(run.seen.payloads, [Payload::Ps]);
}

#[test]
fn sound_of_a_stream_that_is_joined_midway_is_what_its_map_says() {
    let camera = Camera { audio: Some(0x91), ..Camera::new(Codec::H264) };
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    // Nothing told the coding yet when these come: A-law would be a guess.
    for number in 5..30 {
        let mut pictures = camera.headers(number);
        pictures.extend(pes_split(0xE0, camera.pts(number), &annex_b(&camera.nals(number))));
        run.packets(&packetizer.packets(camera.pts(number) as u32, &pictures));
        let mut sounds = pack_header(camera.pts(number));
        sounds.extend(pes(0xC0, Some(camera.pts(number)), None, &sound(number), true));
        run.frame(&packetizer.packets(camera.pts(number) as u32, &sounds));
    }
    assert_pictures(&run.seen, &camera, 10..30);
    let codecs: Vec<_> = run.seen.tracks.iter().map(|tracks| tracks.audio.as_ref().unwrap().codec).collect();
    assert_eq!(codecs, [AudioCodec::G711U]);
}

#[test]
fn video_waits_a_second_for_announced_sound_and_no_longer() {
    let camera = Camera { audio: Some(0x90), ..Camera::new(Codec::H264) };
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..30 {
        let mut pack = camera.headers(number);
        pack.extend(pes_split(0xE0, camera.pts(number), &annex_b(&camera.nals(number))));
        if number > 28 {
            pack.extend(pes(0xC0, Some(camera.pts(number)), None, &sound(number), true));
        }
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
        if number < 24 {
            assert!(run.seen.units.is_empty());
        }
    }
    assert_pictures(&run.seen, &camera, 0..30);
    assert_eq!(run.seen.tracks.len(), 2, "late sound makes new tracks");
    assert!(run.seen.tracks[0].audio.is_none() && run.seen.tracks[1].audio.is_some());
}

#[test]
fn sound_alone_begins_after_a_second() {
    let camera = Camera { audio: Some(0x91), ..Camera::new(Codec::H264) };
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..50 {
        let mut pack = pack_header(camera.pts(number));
        pack.extend(map(&[(0x91, 0xC0)]));
        pack.extend(pes(0xC0, Some(camera.pts(number)), None, &sound(number), true));
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_eq!(run.seen.audio().len(), 25);
    assert_eq!(run.seen.tracks.len(), 1);
    assert!(run.seen.tracks[0].video.is_none());
}

#[test]
fn aac_announced_as_g711_is_recognised() {
    let frame = |n: u8| [&[0xFF, 0xF1, 0x60, 0x40, 0x08, 0x9F, 0xFC][..], &[n; 61]].concat();
    let camera = Camera { audio: Some(0x90), ..Camera::new(Codec::H264) };
    let mut packetizer = Packetizer::new();
    let mut run = Run::new();
    for number in 0..10 {
        let mut pack = camera.headers(number);
        pack.extend(pes_split(0xE0, camera.pts(number), &annex_b(&camera.nals(number))));
        let frames = [frame(number as u8), frame(number as u8)].concat();
        pack.extend(pes(0xC0, Some(camera.pts(number)), None, &frames, true));
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    let track = run.seen.tracks.last().unwrap().audio.as_ref().unwrap();
    assert_eq!(
        (track.codec, track.sample_rate, &track.config[..]),
        (AudioCodec::Aac, 16_000, &[0x14, 0x08][..])
    );
    assert_eq!(run.seen.audio().len(), 18);
    assert!(run.seen.audio().iter().all(|unit| unit.data.len() == 61));
    assert_eq!(run.seen.count(Fault::PsmContradicts), 1);
}
