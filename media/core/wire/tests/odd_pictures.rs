//! Devices that put pictures into packs and PES packets as nobody else does.

mod support;

use support::*;
use wire::fault::Fault;

/// A picture of several slices: the first one is marked as such, the others are not.
fn sliced(codec: Codec, key: bool, slices: u64, seed: u64) -> Vec<Vec<u8>> {
    let mut nals = picture(codec, key, 400, seed);
    let first = nals.last().unwrap().clone();
    for slice in 1..slices {
        let mut nal = first.clone();
        let header = if codec == Codec::H264 { 1 } else { 2 };
        nal[header] = 0x40;
        nal.truncate(header + 1);
        nal.extend(filler(400, seed * 100 + slice));
        nals.push(nal);
    }
    nals
}

/// A pack and a PES packet for each slice, and what comes before the first one.
fn pack_per_slice(nals: &[Vec<u8>], time: u64, timed: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let slices = 3;
    let (head, rest) = nals.split_at(nals.len() - (slices - 1));
    let parts = std::iter::once(head.to_vec()).chain(rest.iter().map(|nal| vec![nal.clone()]));
    parts
        .enumerate()
        .map(|(number, part)| {
            let mut pack = pack_header(time);
            pack.extend(pes(0xE0, timed(number).then_some(time), None, &annex_b(&part), true));
            pack
        })
        .collect()
}

fn assert_nals(seen: &Seen, sent: &[Vec<Vec<u8>>]) {
    let video = seen.video();
    let came: Vec<usize> = video.iter().map(|unit| unit.data.len()).collect();
    let wanted: Vec<usize> = sent.iter().map(|nals| length_prefixed(nals).len()).collect();
    assert_eq!(came, wanted);
    assert!(video.iter().zip(sent).all(|(unit, nals)| unit.data == length_prefixed(nals)));
}

#[test]
fn slices_in_packs_of_their_own_and_times_of_sending_are_one_picture() {
    for codec in [Codec::H264, Codec::H265] {
        for timed in [|_: usize| true, |number: usize| number == 0, |_: usize| false] {
            let sent: Vec<_> = (0..60).map(|number| sliced(codec, number % 20 == 0, 3, number)).collect();
            let (mut run, mut packetizer, mut clock) = (Run::new(), Packetizer::new(), 0);
            packetizer.markers = false;
            for (number, nals) in (0..).zip(&sent) {
                for pack in pack_per_slice(nals, 900_000 + number * FRAME_TICKS, timed) {
                    clock += 1200;
                    run.packets(&packetizer.packets(clock, &pack));
                }
                run.wait(std::time::Duration::from_millis(40));
            }
            let cut = run.seen.count(Fault::SplitUnit);
            assert_eq!(cut, 0, "it is learnt from the first picture");
            assert_nals(&run.seen, &sent[..59]);
        }
    }
}

#[test]
fn pictures_that_begin_with_supplemental_information_are_pictures() {
    for (codec, first, markers, ordered) in
        [Codec::H264, Codec::H265].into_iter().flat_map(|codec| [0, 3].map(|first| (codec, first))).flat_map(
            |(codec, first)| [(true, true), (false, true), (false, false)].map(|(m, o)| (codec, first, m, o)),
        )
    {
        let sent: Vec<_> =
            (first..60).map(|number| supplemented(codec, number % 20 == 0, 400, number)).collect();
        let (mut run, mut packetizer) = (Run::new(), Packetizer { markers, ..Packetizer::new() });
        for (number, nals) in (0_u64..).zip(&sent) {
            let time = 900_000 + number * FRAME_TICKS;
            let mut pack = if ordered || number == 0 { pack_header(time) } else { vec![] };
            pack.extend(pes(0xE0, Some(time), None, &annex_b(nals), true));
            run.frame(&packetizer.packets(time as u32, &pack));
        }
        // Nothing can be done with pictures before a key frame.
        let kept = if first == 0 { &sent[..] } else { &sent[17..] };
        let last = kept.len() - usize::from(run.seen.video().len() < kept.len());
        assert_nals(&run.seen, &kept[..last]);
        let faults = run.seen.fault_names();
        let wanted = ["key_frame_awaited", "psm_missing"];
        assert!(faults.iter().all(|name| wanted.contains(name)), "{codec:?} from {first}: {faults:?}");
    }
}

#[test]
fn the_rest_of_a_key_frame_is_no_key_frame() {
    for codec in [Codec::H264, Codec::H265] {
        let sent: Vec<_> = (0..30).map(|number| sliced(codec, number % 10 == 0, 3, number)).collect();
        let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
        for (number, nals) in (0_u64..).zip(&sent) {
            let time = 900_000 + number * FRAME_TICKS;
            for (part, pack) in pack_per_slice(nals, time, |_| true).iter().enumerate() {
                if number == 10 && part == 0 {
                    run.gap(1);
                } else {
                    run.packets(&packetizer.packets(time as u32, pack));
                }
            }
            run.wait(std::time::Duration::from_millis(40));
        }
        // Whether the picture before the loss was whole is not known.
        let kept = [&sent[..9], &sent[20..29]].concat();
        assert_nals(&run.seen, &kept);
    }
}

#[test]
fn packets_of_other_times_within_a_picture_are_not_taken_for_strangers_for_ever() {
    let camera = Camera { gop: 10, ..Camera::new(Codec::H264) };
    let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
    for number in 0..60 {
        let mut packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        if number >= 15 {
            for (nth, packet) in (0..).zip(&mut packets) {
                packet.timestamp += nth;
            }
        }
        run.frame(&packets);
    }
    assert_pictures(&run.seen, &camera, (0..15).chain(20..60));
}

#[test]
fn pictures_without_packs_and_times_are_told_apart_by_what_they_are() {
    let camera = Camera { gop: 10, ..Camera::new(Codec::H264) };
    for markers in [false, true] {
        let (mut run, mut packetizer) = (Run::new(), Packetizer { markers, ..Packetizer::new() });
        for number in 0..40 {
            let mut pack = if camera.is_key(number) { camera.headers(number) } else { vec![] };
            let pts = camera.is_key(number).then(|| camera.pts(number));
            pack.extend(pes(0xE0, pts, None, &annex_b(&camera.nals(number)), true));
            run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
        }
        assert_pictures(&run.seen, &camera, 0..40);
    }
}

#[test]
fn two_pictures_in_a_pes_packet_are_two() {
    let camera = Camera { gop: 10, ..Camera::new(Codec::H264) };
    let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
    for number in (0..40).step_by(2) {
        let both = [annex_b(&camera.nals(number)), annex_b(&camera.nals(number + 1))].concat();
        let mut pack = camera.headers(number);
        pack.extend(pes(0xE0, Some(camera.pts(number)), None, &both, true));
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    assert_pictures(&run.seen, &camera, 0..39);
    let video = run.seen.video();
    assert!(video.windows(2).skip(4).all(|pair| pair[1].dts.0 - pair[0].dts.0 == 3600));
}

#[test]
fn a_stream_goes_on_under_another_id() {
    let camera = Camera { gop: 10, ..Camera::new(Codec::H264) };
    let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
    for number in 0..320 {
        let id = if number < 30 { 0xE0 } else { 0xE1 };
        let mut pack = pack_header(camera.pts(number));
        pack.extend(pes(id, Some(camera.pts(number)), None, &annex_b(&camera.nals(number)), true));
        run.frame(&packetizer.packets(camera.pts(number) as u32, &pack));
    }
    let video = run.seen.video();
    assert!(video.last().unwrap().data == length_prefixed(&camera.nals(319)));
    assert_eq!(run.seen.count(Fault::ExtraStream), 249);
}

/// A picture whose slices are of that type (H.264 table 7-6), no IDR; parameter sets before it if it is intra coded.
fn of_type(slice_type: u8, seed: u64) -> Vec<Vec<u8>> {
    let mut nals = picture(Codec::H264, slice_type == 7, 400, seed);
    let last = nals.last_mut().unwrap();
    // first_mb_in_slice 0 in one bit, then the type.
    (last[0], last[1]) = (0x61, if slice_type == 7 { 0b1000_1000 } else { 0b1001_1010 });
    nals
}

#[test]
fn where_no_key_frame_ever_comes_intra_pictures_take_its_place() {
    let sent: Vec<_> = (0..400).map(|number| of_type(if number % 50 == 3 { 7 } else { 5 }, number)).collect();
    let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
    for (number, nals) in (0_u64..).zip(&sent) {
        let time = 900_000 + number * FRAME_TICKS;
        let mut pack = pack_header(time);
        pack.extend(pes(0xE0, Some(time), None, &annex_b(nals), true));
        run.frame(&packetizer.packets(time as u32, &pack));
    }
    // After 250 pictures in vain: the next one is the 254th.
    assert_nals(&run.seen, &sent[253..]);
    let keys: Vec<bool> = run.seen.video().iter().map(|unit| unit.key).collect();
    assert!((0..).zip(keys).all(|(number, key)| key == (number % 50 == 0)));
}

#[test]
fn bare_sound_under_the_same_payload_type_is_learnt_from_pictures_that_it_spoilt() {
    let camera = Camera { gop: 10, ..Camera::new(Codec::H264) };
    for size in [1400, 900] {
        let (mut run, mut packetizer) = (Run::new(), Packetizer { size, ..Packetizer::new() });
        for number in 0..60 {
            let mut packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
            let sound = Rtp { timestamp: 5, marker: false, payload: vec![0xD5; 160], ..packets[0].clone() };
            packets.insert(1, sound);
            run.frame(&packets);
        }
        // Of the first group of pictures nothing was whole.
        assert_pictures(&run.seen, &camera, 10..60);
        assert!(run.seen.count(Fault::DamagedUnit) <= 5);
    }
}

#[test]
fn bare_sound_behind_each_packet_of_a_large_picture_is_not_many_in_a_row() {
    let camera = Camera { gop: 10, key_bytes: 60_000, ..Camera::new(Codec::H264) };
    let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
    for number in 0..40 {
        let packets = packetizer.packets(camera.pts(number) as u32, &camera.pack(number));
        if number != 20 {
            run.frame(&packets);
            continue;
        }
        let last = packets.len() - 1;
        for (at, packet) in packets.into_iter().enumerate() {
            let sound = Rtp { timestamp: 5, marker: false, payload: vec![0xD5; 160], ..packet.clone() };
            run.packets(&[packet]);
            if at < last {
                run.packets(&[sound]);
            }
        }
        run.wait(std::time::Duration::from_millis(40));
    }
    assert_pictures(&run.seen, &camera, 0..40);
    assert_eq!(run.seen.count(Fault::ForeignPacket), 42);
}

/// 352 by 288, 25 Hz, High 4:4:4 profile, interlaced (x264).
const FIELDS_SPS: &[u8] =
    b"\x67\xf4\x00\x15\x91\x9d\x02\xc2\x5b\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x21\xf1\x42\xaa";

/// 352 by 288, Main profile, interlaced, pictures shown as they are decoded (`pic_order_cnt_type` 2).
const ORDERED_FIELDS_SPS: &[u8] = b"\x67\x4d\x00\x1e\xda\x05\x84\x92";

#[test]
fn fields_of_one_pes_packet_stay_together() {
    fields_stay_together(FIELDS_SPS);
    fields_stay_together(ORDERED_FIELDS_SPS);
}

fn fields_stay_together(sps: &[u8]) {
    let sent: Vec<_> = (0..30)
        .map(|number| {
            let mut nals = picture(Codec::H264, number % 10 == 0, 400, number);
            if number % 10 == 0 {
                nals[0] = sps.to_vec();
            }
            nals.extend(picture(Codec::H264, false, 300, 1000 + number));
            nals
        })
        .collect();
    let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
    for (number, nals) in (0_u64..).zip(&sent) {
        let time = 900_000 + number * FRAME_TICKS;
        let mut pack = pack_header(time);
        if number == 0 {
            pack.extend(map(&[(0x1B, 0xE0)]));
        }
        pack.extend(pes(0xE0, Some(time), None, &annex_b(nals), true));
        run.frame(&packetizer.packets(time as u32, &pack));
    }
    assert_nals(&run.seen, &sent);
}

/// A key frame, and one with `bytes` in as many PES packets of `len` bytes each as it takes; what comes out of the other.
fn behind_a_key_frame(bytes: &[u8], len: usize, packs: bool) -> Seen {
    let camera = Camera { key_bytes: 3000, ..Camera::new(Codec::H264) };
    let (mut run, mut packetizer) = (Run::new(), Packetizer { size: 60_000, ..Packetizer::new() });
    run.frame(&packetizer.packets(camera.pts(0) as u32, &camera.pack(0)));
    let mut frame = pack_header(camera.pts(1));
    for part in bytes.chunks(len) {
        if packs {
            frame.extend(pack_header(camera.pts(1)));
        }
        frame.extend(pes(0xE0, None, None, part, true));
    }
    run.frame(&packetizer.packets(camera.pts(1) as u32, &frame));
    for number in 2..12 {
        run.frame(&packetizer.packets(camera.pts(number) as u32, &camera.pack(number)));
    }
    let next_key = length_prefixed(&camera.nals(10));
    assert!(run.seen.video().iter().any(|unit| unit.data == next_key), "it goes on at the next key frame");
    run.seen
}

#[test]
fn a_frame_of_very_many_pictures_is_parted_into_few() {
    let seen = behind_a_key_frame(&b"\0\0\x01\x65\x88".repeat(100_000), 60_000, false);
    assert!((64..100).contains(&seen.video().len()), "{}", seen.video().len());
    let bytes: usize = seen.video().iter().map(|unit| unit.data.len()).sum();
    assert!(bytes > 600_000, "nothing of it is lost: {bytes}");
}

#[test]
fn a_picture_in_very_many_packs_takes_no_longer_than_its_bytes() {
    for head in [b"\0\0\x01\x0C", b"\0\0\x01\x41", b"\x7F\x7F\x7F\x7F"] {
        let part = [&head[..], &[0x40, 0x11, 0x11, 0x11]].concat();
        let seen = behind_a_key_frame(&part.repeat(100_000), 8, true);
        assert!(seen.video().len() < 100);
    }
}
