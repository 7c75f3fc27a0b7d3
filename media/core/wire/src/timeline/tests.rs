use super::*;
use crate::test_clock::start;

const FRAME: i64 = 3600;

fn pes(pts: i64) -> Stamp {
    Stamp::Pes { pts: pts.cast_unsigned() & MASK_33, dts: None }
}

/// Units 40 ms apart with the given stamps.
fn run(timeline: &mut Timeline, kind: Kind, stamps: impl IntoIterator<Item = Stamp>) -> Vec<Timed> {
    let times = (0..).map(|at| start() + Duration::from_millis(40 * at));
    times.zip(stamps).map(|(now, stamp)| timeline.handle_unit(now, kind, stamp)).collect()
}

fn steps(timed: &[Timed]) -> Vec<i64> {
    timed.windows(2).map(|pair| pair[1].dts.0 - pair[0].dts.0).collect()
}

#[test]
fn wraps_are_invisible() {
    let first = (1 << 33) - 2 * FRAME;
    let timed = run(&mut Timeline::new(), Kind::Video, (0..5).map(|n| pes(first + n * FRAME)));
    assert_eq!(timed[0].dts, Ticks(0));
    assert_eq!(steps(&timed), [FRAME; 4]);
    let stamps = (0..5_u32).map(|n| Stamp::Rtp { timestamp: (n * 3600).wrapping_sub(7200), rate: 90_000 });
    assert_eq!(steps(&run(&mut Timeline::new(), Kind::Video, stamps)), [FRAME; 4]);
}

#[test]
fn a_jump_is_bridged_by_arrival_and_the_other_track_follows() {
    let mut timeline = Timeline::new();
    let far = 1_000_000_000;
    for n in 0..20_i64 {
        let now = start() + Duration::from_millis(40 * n.cast_unsigned());
        let base = if n < 10 { 500 } else { far };
        let video = timeline.handle_unit(now, Kind::Video, pes(base + n * FRAME));
        let audio = timeline.handle_unit(now, Kind::Audio, pes(base + 90 + n * FRAME));
        assert_eq!((video.dts.0, audio.dts.0), (n * FRAME, n * FRAME + 90), "{n}");
        assert_eq!(video.fault.is_some(), n == 10);
    }
}

#[test]
fn a_clock_that_stands_is_replaced_by_arrival() {
    let timed = run(&mut Timeline::new(), Kind::Video, std::iter::repeat_n(pes(77), 20));
    assert!(timed.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert_eq!(timed[19].fault, Some(Fault::TimestampStill));
    assert_eq!(steps(&timed)[8..], [FRAME; 11]);
}

#[test]
fn a_clock_set_back_a_little_goes_on() {
    let stamps = (0..30).map(|n| pes(900_000 + n * FRAME - if n < 10 { 0 } else { 270_000 }));
    let timed = run(&mut Timeline::new(), Kind::Video, stamps);
    assert!(timed.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert_eq!(steps(&timed)[14..], [FRAME; 15]);
    assert_eq!(timed.iter().filter(|unit| unit.fault.is_some()).count(), 1);
}

#[test]
fn stated_decoding_times_are_kept() {
    let order: [u32; 7] = [0, 3, 1, 2, 6, 4, 5];
    let stamps = order.iter().zip(0..).map(|(&shown, n)| Stamp::Pes {
        pts: u64::from(90_000 + 3600 * (shown + 1)),
        dts: Some(90_000 + 3600 * n),
    });
    let timed = run(&mut Timeline::new(), Kind::Video, stamps);
    assert_eq!(steps(&timed), [FRAME; 6]);
    let shown: Vec<_> = timed.iter().map(|unit| (unit.pts.0 - timed[0].pts.0) / FRAME).collect();
    assert_eq!(shown, order.map(i64::from));
}

#[test]
fn pictures_out_of_order_without_decoding_times_get_some() {
    let order = (0..20).flat_map(|group| [3, 1, 2].map(|n| group * 3 + n));
    let timed = run(&mut Timeline::new(), Kind::Video, order.map(|n| pes(n * FRAME)));
    assert!(timed.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    let late = &timed[12..];
    assert!(late.iter().all(|unit| unit.pts >= unit.dts && unit.fault.is_none()));
    let shown: Vec<_> = late.iter().map(|unit| (unit.pts.0 - late[0].pts.0) / FRAME).collect();
    assert_eq!(shown[..6], [0, -2, -1, 3, 1, 2]);
}

#[test]
fn an_outage_is_no_jump() {
    let mut timeline = Timeline::new();
    timeline.handle_unit(start(), Kind::Video, pes(0));
    let timed = timeline.handle_unit(start() + Duration::from_mins(1), Kind::Video, pes(60 * 90_000));
    assert_eq!((timed.dts, timed.fault), (Ticks(60 * 90_000), None));
}

#[test]
fn rtp_clocks_of_another_unit_are_scaled() {
    for (step, per) in [(40, "milliseconds"), (320, "8 kHz")] {
        let stamps = (0..60_u32).map(|n| Stamp::Rtp { timestamp: 5000 + n * step, rate: 90_000 });
        let timed = run(&mut Timeline::new(), Kind::Video, stamps);
        assert_eq!(steps(&timed)[30..], [FRAME; 29], "{per}");
        assert_eq!(timed.iter().filter(|unit| unit.fault == Some(Fault::TimestampUnit)).count(), 1);
    }
    let fast = (0..60_u32).map(|n| Stamp::Rtp { timestamp: n * 4 * 3600, rate: 90_000 });
    assert!(run(&mut Timeline::new(), Kind::Video, fast).iter().all(|unit| unit.fault.is_none()));
}

#[test]
fn a_frame_without_pes_time_leaves_the_others_alone() {
    let stamps = (0..30_u32).map(|n| match n % 5 {
        4 => Stamp::Rtp { timestamp: 12_345 + n * 3600, rate: 90_000 },
        _ => pes(i64::from(n) * FRAME),
    });
    let timed = run(&mut Timeline::new(), Kind::Video, stamps);
    assert_eq!(steps(&timed), [FRAME; 29]);
    assert!(timed.iter().all(|unit| unit.fault.is_none()));
}

#[test]
fn milliseconds_wrap_and_state_when_a_picture_is_shown() {
    let stamp = |n: u32| Stamp::Millis { decoded: (n * 40).wrapping_sub(80), delay: 40 };
    let mut timeline = Timeline::new();
    let timed = run(&mut timeline, Kind::Video, (0..5).map(stamp));
    assert_eq!(steps(&timed), [FRAME; 4]);
    assert!(timed.iter().all(|unit| unit.pts.0 - unit.dts.0 == FRAME && unit.fault.is_none()));
    for (decoded, delay, shown) in [(200, -40, 0), (240, i32::MAX, DELAY_MAX)] {
        let stamp = Stamp::Millis { decoded, delay };
        let unit = timeline.handle_unit(start() + Duration::from_secs(1), Kind::Video, stamp);
        assert_eq!(unit.pts.0 - unit.dts.0, shown);
    }
}

#[test]
fn sound_is_put_in_step_with_the_picture_by_reports() {
    let mut timeline = Timeline::new();
    let (mut tracks, mut faults) = (Vec::new(), 0);
    for n in 0..200_u32 {
        // The sound arrives 300 ms before the picture that it belongs to; reports come after 2 s.
        let now = start() + Duration::from_millis(40 * u64::from(n));
        let video = Stamp::Rtp { timestamp: 7_000_000 + n * 3600, rate: 90_000 };
        let (timestamp, rate) = (0xFFFF_FF00_u32.wrapping_add(n * 320 + 2400), 8_000);
        let sound = match n {
            0..50 => Stamp::Rtp { timestamp, rate },
            _ => Stamp::Tied { timestamp, rate, picture: 7_000_000 + n * 3600 + 27_000 },
        };
        let video = timeline.handle_unit(now, Kind::Video, video);
        let sound = timeline.handle_unit(now, Kind::Audio, sound);
        faults += [video.fault, sound.fault].iter().flatten().count();
        tracks.push(sound.dts.0 - video.dts.0);
    }
    assert_eq!((tracks[49], tracks[50], tracks[199], faults), (0, 27_000, 27_000, 0));
    let (mut back, mut heard) = (0, 0);
    for n in 200..300_u32 {
        let now = start() + Duration::from_millis(40 * u64::from(n));
        let video = Stamp::Rtp { timestamp: 7_000_000 + n * 3600, rate: 90_000 };
        let timestamp = 0xFFFF_FF00_u32.wrapping_add(n * 320 + 2400);
        let sound = Stamp::Tied { timestamp, rate: 8_000, picture: 7_000_000 + n * 3600 };
        let video = timeline.handle_unit(now, Kind::Video, video);
        let sound = timeline.handle_unit(now, Kind::Audio, sound);
        assert_eq!(sound.fault, None, "{n}");
        assert!(sound.early || sound.dts.as_millis() > heard, "{n}: what is put back is not heard twice");
        heard = heard.max(sound.dts.as_millis());
        back = sound.dts.0 - video.dts.0;
    }
    assert_eq!(back, 0, "it comes back too");
}

#[test]
fn a_source_that_begins_anew_goes_on_at_arrival_without_a_fault() {
    let mut timeline = Timeline::new();
    let mut last = Ticks(0);
    for n in 0..20_u32 {
        if n == 10 {
            timeline.handle_restart();
        }
        let now = start() + Duration::from_millis(40 * u64::from(n));
        let decoded = if n < 10 { 1_000_000 + n * 40 } else { (n - 10) * 40 };
        for kind in [Kind::Video, Kind::Audio] {
            let timed = timeline.handle_unit(now, kind, Stamp::Millis { decoded, delay: 0 });
            assert_eq!((timed.dts.0, timed.fault), (i64::from(n) * FRAME, None), "{n}");
            last = timed.dts;
        }
    }
    assert_eq!(last, Ticks(19 * FRAME));
}

#[test]
fn units_without_time_follow_the_last_one() {
    let stamps = [pes(5), Stamp::After(Ticks(5760)), Stamp::After(Ticks(5760)), Stamp::Arrival];
    let timed = run(&mut Timeline::new(), Kind::Audio, stamps);
    assert_eq!(steps(&timed), [5760, 5760, 3600]);
}

#[test]
fn times_of_pes_packets_in_milliseconds_are_seen_through() {
    let stamps = (0..100).map(|n| Stamp::Pes { pts: 5000 + n * 40 + 80, dts: Some(5000 + n * 40) });
    let timed = run(&mut Timeline::new(), Kind::Video, stamps);
    assert_eq!(timed.iter().filter(|unit| unit.fault == Some(Fault::TimestampUnit)).count(), 1);
    assert!(timed.windows(2).skip(30).all(|pair| pair[1].dts.0 - pair[0].dts.0 == FRAME));
    assert!(timed.iter().skip(30).all(|unit| unit.pts.0 - unit.dts.0 == 2 * FRAME));
}

#[test]
fn a_pause_does_not_change_what_a_clock_counts() {
    for of_pes in [true, false] {
        let mut timeline = Timeline::new();
        let mut before = None;
        for n in 0..200_u32 {
            let now = start() + Duration::from_millis(40 * u64::from(n) + if n < 20 { 0 } else { 90_000 });
            let timestamp = n * 3600;
            let stamp =
                if of_pes { pes(i64::from(timestamp)) } else { Stamp::Rtp { timestamp, rate: 90_000 } };
            let timed = timeline.handle_unit(now, Kind::Video, stamp);
            assert_eq!(timed.fault, None, "{n}");
            assert!(before.replace(timed.dts).is_none_or(|dts: Ticks| timed.dts.0 - dts.0 == FRAME));
        }
    }
}

/// Pictures 40 ms apart, and sound of 20 ms in blocks of sixteen as transport streams carry it: the time of the first, and
/// the rest behind it. A block begins `lag` ticks before the picture that it comes with.
fn feed_blocks(
    timeline: &mut Timeline,
    begin: Duration,
    clock: i64,
    lag: i64,
    heard: &mut [Vec<(Timed, i64)>; 2],
) {
    for n in 0..48_i64 {
        let now = start() + begin + Duration::from_millis(40 * n.cast_unsigned());
        let video = timeline.handle_unit(now, Kind::Video, pes(clock + n * FRAME));
        heard[0].push((video, clock + n * FRAME));
        if n % 8 == 0 {
            for block in 0..16_i64 {
                let time = clock + n * FRAME - lag + block * FRAME / 2;
                let stamp = if block == 0 { pes(time) } else { Stamp::After(Ticks(FRAME / 2)) };
                heard[1].push((timeline.handle_unit(now, Kind::Audio, stamp), time));
            }
        }
    }
}

#[test]
fn sound_behind_the_first_picture_neither_stands_still_nor_leaves_its_place_at_the_start_and_over_a_break() {
    for lag in [0, 1000, 22_500, 45_000] {
        let (mut timeline, mut heard) = (Timeline::new(), [Vec::new(), Vec::new()]);
        feed_blocks(&mut timeline, Duration::ZERO, 1_000_000, lag, &mut heard);
        let seam = heard.each_ref().map(Vec::len);
        timeline.handle_restart();
        feed_blocks(&mut timeline, Duration::from_secs(2), 77_000_000, lag, &mut heard);
        let zero = heard[0][seam[0]].0.dts.0 - 77_000_000;
        for (units, seam) in heard.iter().zip(seam) {
            assert!(units.iter().all(|(timed, _)| timed.fault.is_none()), "{lag}");
            let kept = |timed: &&(Timed, i64)| !timed.0.early;
            let millis: Vec<_> = units.iter().filter(kept).map(|unit| unit.0.dts.as_millis()).collect();
            assert!(millis.windows(2).all(|pair| pair[0] < pair[1]), "{lag}: {millis:?}");
            for (offset, part) in [(-1_000_000, &units[..seam]), (zero, &units[seam..])] {
                for (timed, source) in part.iter().filter(kept) {
                    assert_eq!(timed.dts.0, source + offset, "{lag}");
                }
                let left_out = part.iter().filter(|unit| unit.0.early).count();
                assert!(i64::try_from(left_out).unwrap() <= lag / (FRAME / 2) + 1, "{lag}: {left_out}");
            }
        }
    }
}

/// Pictures of 40 ms in the order that they are decoded in, by when they are shown.
const REORDERED: [u32; 14] = [0, 3, 2, 1, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12];

fn reordered(timeline: &mut Timeline) -> Vec<(i64, i64)> {
    let stamps = REORDERED
        .map(|shown| Stamp::Rtp { timestamp: 4_000_000_000_u32.wrapping_add(shown * 3600), rate: 90_000 });
    let timed = run(timeline, Kind::Video, stamps);
    assert!(timed.iter().all(|unit| unit.fault.is_none() && unit.pts >= unit.dts), "{timed:?}");
    assert!(timed.windows(2).all(|pair| pair[0].dts < pair[1].dts), "{timed:?}");
    timed.iter().map(|unit| (unit.dts.0, unit.pts.0)).collect()
}

#[test]
fn pictures_in_a_stated_order_have_their_times_from_the_first_on() {
    let mut timeline = Timeline::new();
    timeline.handle_order(2, Ticks(3600));
    let timed = reordered(&mut timeline);
    for (shown, (_, pts)) in REORDERED.iter().zip(&timed) {
        assert_eq!(*pts, i64::from(shown + 2) * 3600);
    }
    assert_eq!(timed[..3].iter().map(|unit| unit.0).collect::<Vec<_>>(), [0, 3600, 7200]);
    // What arrives with a picture belongs to the latest that is shown.
    let sound = Stamp::Rtp { timestamp: 99, rate: 8000 };
    let sound = timeline.handle_unit(start() + Duration::from_millis(13 * 40), Kind::Audio, sound);
    assert_eq!(sound.dts, Ticks(timed[12].1 + 3600));
}

#[test]
fn a_rate_of_no_camera_holds_no_picture_back() {
    let mut timeline = Timeline::new();
    timeline.handle_order(4, Ticks(400_000_000_000_000));
    let stamps = (0..10_u32).map(|n| Stamp::Rtp { timestamp: n * 3600, rate: 90_000 });
    let timed = run(&mut timeline, Kind::Video, stamps);
    assert!(
        timed.iter().all(|unit| unit.fault.is_none() && unit.pts - unit.dts == Ticks(4 * 3600)),
        "{timed:?}"
    );
}

#[test]
fn frames_that_lack_the_times_of_their_pes_packets_stay_in_their_place() {
    let mut timeline = Timeline::new();
    timeline.handle_order(2, Ticks(3600));
    let stamps = (0..50_u32).map(|n| match n % 25 {
        0 => pes(i64::from(n) * 3600),
        _ => Stamp::Rtp { timestamp: 77 + n * 3600, rate: 90_000 },
    });
    for (time, unit) in (0..).step_by(3600).zip(run(&mut timeline, Kind::Video, stamps)) {
        assert_eq!((unit.dts.0, unit.pts.0, unit.fault), (time, time, None));
    }
}

#[test]
fn an_order_that_is_stated_later_is_no_jump() {
    let mut timeline = Timeline::new();
    for n in 0..60_u32 {
        if n == 30 {
            timeline.handle_order(4, Ticks(3600));
        }
        let now = start() + Duration::from_millis(40 * u64::from(n));
        let timed = timeline.handle_unit(now, Kind::Video, Stamp::Rtp { timestamp: n * 3600, rate: 90_000 });
        assert_eq!((timed.pts.0, timed.fault), (i64::from(n) * 3600, None), "{n}");
    }
}

#[test]
fn an_order_that_nobody_states_is_learnt_without_a_jump() {
    let timed = reordered(&mut Timeline::new());
    for (shown, (_, pts)) in REORDERED.iter().zip(&timed).skip(5) {
        assert_eq!(*pts, i64::from(*shown) * 3600);
    }
}

#[test]
fn a_stated_order_stays_behind_a_jump_and_a_restart() {
    let mut timeline = Timeline::new();
    timeline.handle_order(2, Ticks(3600));
    for base in [7_u32, 90_000 * 3600] {
        let stamps = REORDERED.map(|shown| Stamp::Rtp { timestamp: base + shown * 3600, rate: 90_000 });
        let timed = run(&mut timeline, Kind::Video, stamps);
        let shown: Vec<_> = timed.iter().map(|unit| (unit.pts - timed[0].pts).0).collect();
        assert_eq!(shown, REORDERED.map(|shown| i64::from(shown) * 3600), "{base}");
        assert!(timed.iter().skip(1).all(|unit| unit.fault.is_none()));
    }
    timeline.handle_restart();
    let timed = reordered(&mut timeline);
    assert_eq!(timed[3].1 - timed[0].1, 3600);
}

#[test]
fn sound_that_rounding_puts_before_the_first_picture_begins_with_it() {
    let mut timeline = Timeline::new();
    timeline.handle_unit(start(), Kind::Video, pes(500_000));
    let sound = [499_955, 501_755, 503_555].map(pes);
    let timed = run(&mut timeline, Kind::Audio, sound);
    let heard: Vec<_> = timed.iter().map(|unit| (unit.dts.0, unit.early)).collect();
    assert_eq!(heard, [(0, false), (1755, false), (3555, false)]);
}

#[test]
fn sound_whose_clock_stands_from_the_start_is_heard_all_the_same() {
    let mut timeline = Timeline::new();
    timeline.handle_unit(start(), Kind::Video, pes(500_000));
    let timed = run(&mut timeline, Kind::Audio, std::iter::repeat_n(pes(400_000), 20));
    let heard: Vec<_> =
        timed.iter().filter(|timed| !timed.early).map(|timed| timed.dts.as_millis()).collect();
    assert!(heard.len() > 12 && heard.windows(2).all(|pair| pair[0] < pair[1]), "{heard:?}");
}
