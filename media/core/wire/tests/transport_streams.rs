//! Transport streams over RTP: what the relay's own muxer writes comes out again.

mod support;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use support::*;
use wire::{
    fault::Fault,
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    nal,
    ts::TsMuxer,
    unpack::Payload,
};

fn tracks(codec: Codec) -> Tracks {
    let sets = |sets: &[&'static [u8]]| sets.iter().map(|set| Bytes::from_static(set)).collect::<Vec<_>>();
    let (codec, vps, sps, pps) = match codec {
        Codec::H264 => (VideoCodec::H264, vec![], sets(&[H264_SPS]), sets(&[H264_PPS])),
        Codec::H265 => (VideoCodec::H265, sets(&[H265_VPS]), sets(&[H265_SPS]), sets(&[H265_PPS])),
    };
    let config = Bytes::from_static(&[0x14, 0x08]);
    Tracks {
        video: Some(VideoTrack { codec, width: 352, height: 288, rate: None, vps, sps, pps }),
        audio: Some(AudioTrack { codec: AudioCodec::Aac, sample_rate: 16_000, channels: 1, config }),
    }
}

/// The transport packets of each picture with its sound.
fn stream(camera: &Camera, count: u64) -> Vec<BytesMut> {
    let tracks = Arc::new(tracks(camera.codec));
    let mut muxer = TsMuxer::new();
    let unit = |kind, number: u64, key, data: Vec<u8>| {
        let dts = Ticks((camera.pts(number)).cast_signed());
        AccessUnit { kind, dts, pts: dts, key, data: data.into(), tracks: Arc::clone(&tracks) }
    };
    (0..count)
        .map(|number| {
            let mut out = BytesMut::new();
            if camera.is_key(number) {
                muxer.write_tables(&tracks, &mut out);
            }
            let key = camera.is_key(number);
            assert!(
                muxer.write(&unit(Kind::Video, number, key, length_prefixed(&camera.nals(number))), &mut out)
            );
            assert!(muxer.write(&unit(Kind::Audio, number, true, sound(number)), &mut out));
            out
        })
        .collect()
}

fn packetizer() -> Packetizer {
    Packetizer { size: 7 * 188, payload_type: 33, markers: false, ..Packetizer::new() }
}

#[test]
fn pictures_and_sound_come_out_as_they_went_in() {
    for codec in [Codec::H264, Codec::H265] {
        let camera = Camera::new(codec);
        let (mut run, mut packetizer) = (Run::new(), packetizer());
        for (frame, number) in stream(&camera, 30).iter().zip(0..) {
            run.frame(&packetizer.packets(camera.pts(number) as u32, frame));
        }
        assert_eq!(run.seen.payloads, [Payload::Ts]);
        assert_eq!(run.seen.fault_names(), [""; 0]);
        let track = run.seen.tracks.last().unwrap().audio.as_ref().unwrap();
        assert_eq!((track.codec, track.sample_rate), (AudioCodec::Aac, 16_000));
        let video = run.seen.video();
        assert!(video.len() >= 29, "{}", video.len());
        for (unit, number) in video.iter().zip(0..) {
            let slice = nal::length_prefixed(&unit.data).last().unwrap();
            assert!(slice == camera.nals(number).last().unwrap(), "picture {number}");
            assert_eq!((unit.key, unit.dts), (camera.is_key(number), Ticks(3600 * number.cast_signed())));
        }
        let audio = run.seen.audio();
        assert!(audio.len() >= 28);
        assert!(audio.iter().rev().zip((0..30).rev()).all(|(unit, number)| unit.data == sound(number)));
    }
}

#[test]
fn packets_that_the_device_lost_cost_the_group_of_pictures() {
    let camera = Camera::new(Codec::H264);
    let (mut run, mut packetizer) = (Run::new(), packetizer());
    for (frame, number) in stream(&camera, 30).iter().zip(0..) {
        let packets = frame.chunks(188).enumerate().filter(|&(at, _)| number != 13 || at != 5);
        let frame: Vec<u8> = packets.flat_map(|(_, packet)| packet.to_vec()).collect();
        run.frame(&packetizer.packets(camera.pts(number) as u32, &frame));
    }
    assert_eq!(run.seen.count(Fault::PesTruncated), 1);
    assert_eq!(run.seen.count(Fault::DamagedUnit), 1);
    assert_eq!(run.seen.count(Fault::KeyFrameAwaited), 6);
}

/// A PES packet in transport packets of the video's PID.
fn in_packets(pes: &[u8], counter: &mut u8) -> Vec<u8> {
    let mut out = vec![];
    for (number, part) in pes.chunks(184).enumerate() {
        let (high, short) = (if number == 0 { 0x41 } else { 0x01 }, 184 - part.len());
        out.extend([0x47, high, 0, if short > 0 { 0x30 } else { 0x10 } | *counter]);
        if short > 0 {
            let mut stuffing = vec![0xFF; short];
            stuffing[0] = short as u8 - 1;
            stuffing.iter_mut().skip(1).take(1).for_each(|flags| *flags = 0);
            out.extend(stuffing);
        }
        out.extend(part);
        *counter = (*counter + 1) & 0x0F;
    }
    out
}

#[test]
fn a_picture_in_several_pes_packets_that_state_their_lengths_is_one() {
    let camera = Camera { gop: 10, key_bytes: 100_000, ..Camera::new(Codec::H264) };
    let mut tables = BytesMut::new();
    TsMuxer::new().write_tables(&Tracks { audio: None, ..tracks(camera.codec) }, &mut tables);
    let (mut run, mut packetizer, mut counter) = (Run::new(), packetizer(), 0);
    for number in 0..40 {
        let mut frame = tables.to_vec();
        for (part, bytes) in annex_b(&camera.nals(number)).chunks(60_000).enumerate() {
            let pts = (part == 0).then_some(camera.pts(number));
            frame.extend(in_packets(&pes(0xE0, pts, None, bytes, true), &mut counter));
        }
        run.frame(&packetizer.packets(camera.pts(number) as u32, &frame));
    }
    // The first key frame shows how the device does it; its first part was handed on by then.
    run.seen.units.remove(0);
    assert_pictures(&run.seen, &camera, 10..39);
    assert_eq!(run.seen.count(Fault::SplitUnit), 1);
}

#[test]
fn pictures_that_begin_with_supplemental_information_are_pictures() {
    for codec in [Codec::H264, Codec::H265] {
        let camera = Camera::new(codec);
        let mut tables = BytesMut::new();
        TsMuxer::new().write_tables(&Tracks { audio: None, ..tracks(codec) }, &mut tables);
        let (mut run, mut packetizer, mut counter) = (Run::new(), packetizer(), 0);
        let sent: Vec<_> =
            (0..40).map(|number| supplemented(codec, number % 10 == 0, 3000, number)).collect();
        for (nals, number) in sent.iter().zip(0..) {
            let mut frame = tables.to_vec();
            frame.extend(in_packets(
                &pes(0xE0, Some(camera.pts(number)), None, &annex_b(nals), true),
                &mut counter,
            ));
            run.frame(&packetizer.packets(camera.pts(number) as u32, &frame));
        }
        assert_eq!(run.seen.fault_names(), [""; 0]);
        let video = run.seen.video();
        assert!(
            video.len() >= 39
                && video.iter().zip(&sent).all(|(unit, nals)| unit.data == length_prefixed(nals))
        );
    }
}
