//! Program streams whose PES packets begin in the middle of pictures, as ffmpeg muxes them.

mod support;

use support::*;
use wire::{fault::Fault, media::Ticks};

/// The size of PES packets.
const PES: usize = 2000;

/// A picture and its times.
struct Picture {
    nals: Vec<Vec<u8>>,
    pts: u64,
    dts: u64,
}

/// Pictures of these sizes in order of decoding, a key frame every ten.
fn pictures(codec: Codec, sizes: impl IntoIterator<Item = usize>) -> Vec<Picture> {
    let timed = |(number, size): (u64, usize)| {
        let time = 900_000 + number * FRAME_TICKS;
        Picture { nals: picture(codec, number % 10 == 0, size, number), pts: time, dts: time }
    };
    (0..).zip(sizes).map(timed).collect()
}

/// One PES packet a pack, full of video; the times are those of the first picture that commences in it.
fn packs(codec: Codec, pictures: &[Picture]) -> Vec<Vec<u8>> {
    packs_of(codec, pictures, PES)
}

/// The same with `size` bytes of video in each.
fn packs_of(codec: Codec, pictures: &[Picture], size: usize) -> Vec<Vec<u8>> {
    let (mut bytes, mut begins) = (vec![], vec![]);
    for picture in pictures {
        begins.push((bytes.len(), picture));
        bytes.extend(annex_b(&picture.nals));
    }
    let mut out = vec![];
    for (number, part) in bytes.chunks(size).enumerate() {
        let (start, end) = (number * size, number * size + part.len());
        let first = begins.iter().find(|&&(at, _)| (start..end).contains(&at));
        let dts = first.map(|first| first.1.dts).filter(|&dts| dts != first.unwrap().1.pts);
        let mut pack = pack_header(700_000 + number as u64 * 500);
        if number == 0 {
            pack.extend(system_header());
            pack.extend(map(&[(if codec == Codec::H264 { 0x1B } else { 0x24 }, 0xE0)]));
        }
        pack.extend(pes(0xE0, first.map(|first| first.1.pts), dts, part, true));
        out.push(pack);
    }
    out
}

/// Each pack in packets of its own, with a time of its own as devices stamp them, or with `stamp` for all.
fn run(packs: &[Vec<u8>], size: usize, stamp: Option<u32>) -> Run {
    let (mut run, mut packetizer) = (Run::new(), Packetizer { size, ..Packetizer::new() });
    for (number, pack) in (0..).zip(packs) {
        run.frame(&packetizer.packets(stamp.unwrap_or(number * 500), pack));
    }
    run
}

fn assert_came(run: &Run, pictures: &[Picture]) {
    let video = run.seen.video();
    assert_eq!(video.len(), pictures.len());
    let (first, begin) = (pictures[0].dts, video[0].dts);
    for (number, (unit, sent)) in video.iter().zip(pictures).enumerate() {
        assert!(unit.data == length_prefixed(&sent.nals), "picture {number}");
        assert_eq!(unit.dts - begin, Ticks((sent.dts - first).cast_signed()), "picture {number}");
    }
}

/// Between 1 and 5,000 bytes: some pictures fill several PES packets, and some PES packets hold several pictures.
fn sizes() -> impl Iterator<Item = usize> {
    (0_u64..).map(|number| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize % 5000 + 1)
}

#[test]
fn pictures_are_cut_where_they_begin() {
    for codec in [Codec::H264, Codec::H265] {
        let sent = pictures(codec, sizes().take(300));
        for size in [37, 1400, 60_000] {
            for stamp in [None, Some(7)] {
                let run = run(&packs(codec, &sent), size, stamp);
                assert_came(&run, &sent[..299]);
                assert_eq!(run.seen.fault_names(), [""; 0], "{codec:?} {size}");
            }
        }
    }
}

#[test]
fn several_small_pictures_in_a_pes_packet_are_timed_one_behind_the_other() {
    let sent = pictures(Codec::H264, std::iter::repeat_n(300, 100));
    let run = run(&packs(Codec::H264, &sent), 1400, None);
    assert_came(&run, &sent[..99]);
}

#[test]
fn a_loss_costs_what_it_hit_and_the_rest_of_the_group_of_pictures() {
    let sent = pictures(Codec::H264, std::iter::repeat_n(3000, 60));
    let packs = packs(Codec::H264, &sent);
    let (mut run, mut packetizer) = (Run::new(), Packetizer::new());
    for (number, pack) in (0..).zip(&packs) {
        let packets = packetizer.packets(number * 500, pack);
        if number == 33 {
            run.packets(&packets[..1]);
            run.gap(1);
        } else {
            run.packets(&packets);
        }
    }
    // That PES packet holds the end of picture 21, which came, and the beginning of picture 22.
    let kept: Vec<&Picture> = sent[..22].iter().chain(&sent[30..59]).collect();
    let video = run.seen.video();
    assert_eq!(video.len(), kept.len());
    assert!(video.iter().zip(kept).all(|(unit, sent)| unit.data == length_prefixed(&sent.nals)));
    assert_eq!(run.seen.count(Fault::DamagedUnit), 1);
}

#[test]
fn who_joins_in_the_middle_of_a_picture_begins_with_the_next_key_frame() {
    let sent = pictures(Codec::H265, std::iter::repeat_n(3000, 40));
    let run = run(&packs(Codec::H265, &sent)[4..], 1400, None);
    let video = run.seen.video();
    assert_eq!(video.len(), 29);
    assert!(video.iter().zip(&sent[10..]).all(|(unit, sent)| unit.data == length_prefixed(&sent.nals)));
}

#[test]
fn pes_packets_that_begin_with_pictures_again_are_trusted_again() {
    let camera = Camera::new(Codec::H264);
    let sent = pictures(Codec::H264, sizes().take(20));
    let mut run = run(&packs(Codec::H264, &sent), 1400, None);
    let mut packetizer = Packetizer { seq: 5000, ..Packetizer::new() };
    let count = 200;
    for number in 0..count {
        run.frame(&packetizer.packets(camera.pts(number) as u32, &camera.pack(number)));
    }
    let video = run.seen.video();
    assert_eq!(video.len() as u64, 20 + count, "the last one is handed on with its marker");
    for (unit, number) in video[20..].iter().zip(0..) {
        assert!(unit.data == length_prefixed(&camera.nals(number)), "picture {number}");
    }
}

#[test]
fn a_picture_above_the_limit_is_dropped() {
    let mut sent = pictures(Codec::H264, sizes().take(40));
    sent[15].nals = picture(Codec::H264, false, 5 << 20, 15);
    let run = run(&packs(Codec::H264, &sent), 1400, None);
    assert_eq!(run.seen.count(Fault::FrameTooBig), 1);
    let kept: Vec<&Picture> = sent[..15].iter().chain(&sent[20..39]).collect();
    let video = run.seen.video();
    assert_eq!(video.len(), kept.len());
    assert!(video.iter().zip(kept).all(|(unit, sent)| unit.data == length_prefixed(&sent.nals)));
}

/// What packets made from a stream of bytes bear as their RTP time.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// When each was made.
    Sending,
    /// That of the pack that each begins in.
    Packs,
    /// That of the pack that each ends in.
    Newest,
    /// None.
    Still,
}

/// A stream of bytes in packets of `size` bytes, the first one of `first`; whoever sends it knows of no packs.
fn stream(packs: &[Vec<u8>], first: usize, size: usize, clock: Clock) -> Vec<Rtp> {
    let ends = packs.iter().scan(0, |end, pack| {
        *end += pack.len();
        Some(*end)
    });
    let (ends, bytes): (Vec<usize>, Vec<u8>) = (ends.collect(), packs.concat());
    let (head, rest) = bytes.split_at(first);
    let mut at = 0;
    let packet = |(number, payload): (u32, &[u8])| {
        let pack = ends.partition_point(|&end| end <= at) as u32;
        at += payload.len();
        let timestamp = match clock {
            Clock::Sending => number * 90,
            Clock::Packs => pack * 500,
            Clock::Newest => ends.partition_point(|&end| end < at) as u32 * 500,
            Clock::Still => 7,
        };
        Rtp { seq: number as u16, timestamp, marker: false, payload_type: 96, payload: payload.to_vec() }
    };
    (0..).zip(std::iter::once(head).chain(rest.chunks(size))).map(packet).collect()
}

/// Of packets made from a stream of bytes.
const SIZES: [usize; 3] = [40, 100, 300];

#[test]
fn a_stream_of_bytes_may_be_cut_into_packets_anywhere() {
    let sent = pictures(Codec::H264, std::iter::once(900).chain(sizes().map(|size| size / 8)).take(40));
    let packs = packs_of(Codec::H264, &sent, 250);
    for (clock, size) in [Clock::Sending, Clock::Packs, Clock::Newest, Clock::Still]
        .into_iter()
        .flat_map(|clock| SIZES.map(|size| (clock, size)))
    {
        for first in 5..=size {
            let mut run = Run::new();
            run.frame(&stream(&packs, first, size, clock));
            let (video, how) = (run.seen.video(), format!("{clock:?}, {first} bytes, then {size}"));
            assert_eq!(video.len(), 39, "{how}");
            assert!(
                video.iter().zip(&sent).all(|(unit, sent)| unit.data == length_prefixed(&sent.nals)),
                "{how}"
            );
            assert_eq!(run.seen.fault_names(), [""; 0], "{how}");
        }
    }
}

/// Packs of a picture each, in one PES packet that states no time; what begins it has `zeros` more than a start code.
fn untimed(pictures: &[Picture], zeros: usize) -> Vec<Vec<u8>> {
    let pack = |(number, picture): (u64, &Picture)| {
        let mut pack = pack_header(700_000 + number * FRAME_TICKS);
        pack.extend(pes(0xE0, None, None, &[&vec![0; zeros], &annex_b(&picture.nals)[..]].concat(), true));
        pack
    };
    (0..).zip(pictures).map(pack).collect()
}

#[test]
fn pes_packets_without_times_that_begin_with_pictures_again_are_trusted_again() {
    for zeros in [0, 1, 5] {
        let sent = pictures(Codec::H264, sizes().take(120));
        let mut run = run(&packs(Codec::H264, &sent[..20]), 1400, None);
        let mut packetizer = Packetizer { seq: 5000, ..Packetizer::new() };
        for (number, pack) in (0..).zip(untimed(&sent[20..], zeros)) {
            run.frame(&packetizer.packets(600_000 + number * FRAME_TICKS as u32, &pack));
        }
        let video = run.seen.video();
        assert_eq!(video.len(), 120, "the last one is handed on with its marker");
        assert!(video.iter().zip(&sent).all(|(unit, sent)| unit.data == length_prefixed(&sent.nals)));
        let (last, before) = (video[119].dts, video[99].dts);
        assert_eq!(last.0 - before.0, 20 * FRAME_TICKS.cast_signed(), "{zeros}");
    }
}

#[test]
fn zeros_behind_a_picture_do_not_hide_that_the_next_pes_packet_begins_with_one() {
    let sent = pictures(Codec::H264, std::iter::repeat_n(300, 120));
    let mut run = run(&packs_of(Codec::H264, &sent[..20], 250), 1400, None);
    let mut packetizer = Packetizer { seq: 5000, ..Packetizer::new() };
    for (number, picture) in (20..).zip(&sent[20..]) {
        let mut pack = pack_header(700_000 + number * FRAME_TICKS);
        let bytes = [&[0][..], &annex_b(&picture.nals), &[0, 0]].concat();
        pack.extend(pes(0xE0, Some(picture.pts), None, &bytes, true));
        run.frame(&packetizer.packets(number as u32 * 3600, &pack));
    }
    let video = run.seen.video();
    assert_eq!(video.len(), 120, "the last one is handed on with its marker");
    assert_came(&run, &sent);
}

#[test]
fn a_picture_in_very_many_pes_packets_keeps_its_time() {
    let sent = pictures(Codec::H264, std::iter::repeat_n(3000, 40));
    let bytes = packs_of(Codec::H264, &sent, 10);
    let run = run(&bytes, 1400, None);
    assert_came(&run, &sent[..39]);
}

/// A pack of one PES packet for each picture, as `GStreamer` muxes them.
fn pack_per_picture(pictures: &[Picture]) -> Vec<Vec<u8>> {
    let pack = |picture: &Picture| {
        let pack =
            [pack_header(picture.dts), pes(0xE0, Some(picture.pts), None, &annex_b(&picture.nals), true)];
        pack.concat()
    };
    pictures.iter().map(pack).collect()
}

#[test]
fn a_packet_that_ends_a_picture_may_bear_the_time_of_the_next() {
    let sent = pictures(Codec::H264, sizes().take(60));
    for clock in [Clock::Sending, Clock::Packs, Clock::Newest, Clock::Still] {
        for first in (5..=300).step_by(7) {
            let mut run = Run::new();
            run.frame(&stream(&pack_per_picture(&sent), first, 300, clock));
            let video = run.seen.video();
            // Where the first packets suggest that those of a picture are stamped alike, it is learnt from one that is lost.
            let least = if matches!(clock, Clock::Packs) { 49 } else { 59 };
            assert!(video.len() >= least, "{clock:?}, {first}: {}", video.len());
            let mut rest = sent.iter();
            assert!(video.iter().all(|unit| rest.any(|sent| unit.data == length_prefixed(&sent.nals))));
        }
    }
}

#[test]
fn packets_stamped_otherwise_than_before_are_not_left_out_for_ever() {
    let sent = pictures(Codec::H264, std::iter::repeat_n(9000, 60));
    let mut packets = stream(&pack_per_picture(&sent), 200, 300, Clock::Still);
    let count = packets.len() as u32;
    for (number, packet) in (0..).zip(&mut packets) {
        // Those of a picture are stamped alike at first.
        packet.timestamp = if number < count / 3 { number / 30 } else { number } * 3600;
    }
    let mut run = Run::new();
    for packet in packets.chunks(30) {
        run.frame(packet);
    }
    let video = run.seen.video();
    let last = video.iter().rev().zip(sent[..59].iter().rev()).take(29);
    assert!(
        last.filter(|(unit, sent)| unit.data == length_prefixed(&sent.nals)).count() == 29,
        "{}",
        video.len()
    );
}
