//! Whole recordings on a disk in memory: which frame is in which file, and what is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use wire::{
    file::{Form, Scan},
    media::{Kind, VideoCodec},
};

use super::{
    calendar::Calendar,
    closer,
    meters::Meters,
    queue::{Arrived, End, Queue, Tap},
    recording::{Recording, Step, World},
    teller::Teller,
    testing::{self, Disk, NEW_YEAR_MS, Source, number, units_in},
};
use crate::events::{Event, EventQueue, Kind as EventKind};

/// One recording whose time a test lets pass.
struct Bench {
    disk: Disk,
    events: Arc<EventQueue>,
    meters: Arc<Meters>,
    queue: Arc<Queue>,
    tap: Tap,
    recording: Recording,
}

impl Bench {
    fn new(slice_ms: u64) -> Self {
        Self::in_form(slice_ms, None)
    }

    fn in_form(slice_ms: u64, form: Option<Form>) -> Self {
        let events = Arc::new(EventQueue::new().unwrap());
        let meters: Arc<Meters> = Arc::default();
        let queue = Arc::new(Queue::new(Arc::clone(&meters)));
        let teller = Arc::new(Teller::new(Arc::clone(&events), &testing::entry(), 1, "tag".to_owned()));
        let calendar = Calendar { slice_ms, utc_offset_ms: 0 };
        let recording =
            Recording::new(1, "/rec".into(), form, calendar, Arc::clone(&queue), Arc::clone(&teller));
        let tap = Tap::new(Arc::clone(&queue), teller);
        Self { disk: Disk::default(), events, meters, queue, tap, recording }
    }

    /// Takes a unit, and lets the writer come by at the moment it came.
    fn put(&mut self, arrived: Arrived) {
        let now = arrived.at;
        assert!(self.tap.put(arrived));
        self.step(now);
    }

    fn step(&mut self, now: Instant) -> Step {
        let (disk, meters) = (&self.disk, &self.meters);
        let close = |job| closer::close(disk, meters, job);
        let world = World { files: disk, meters, close: &close };
        loop {
            let step = self.recording.step(now, &world);
            if step != Step::Busy {
                return step;
            }
        }
    }

    fn end(&mut self, now: Instant) {
        self.queue.end(End::Ended);
        assert_eq!(self.step(now), Step::Over);
    }

    /// The details of all events of a kind.
    fn told(&self, kind: EventKind) -> Vec<BTreeMap<&'static str, String>> {
        let events: Vec<Event> = self.events.poll(1000, 0);
        let events = events.into_iter().filter(|event| event.kind == kind);
        events.map(|event| event.detail.into_iter().collect()).collect()
    }
}

/// Checks that a file is whole, and gives the numbers of its units.
fn whole_units(name: &str, data: &[u8]) -> Vec<u32> {
    let form = if name.rsplit_once('.').unwrap().1 == "flv" { Form::Flv } else { Form::Fmp4 };
    let mut scan = Scan::new(form, data.len() as u64);
    while let Some(want) = scan.want() {
        let start = (want.offset as usize).min(data.len());
        scan.handle_bytes(&data[start..(start + want.length).min(data.len())]);
    }
    let found = scan.finish().expect("frames");
    let units = units_in(data);
    assert_eq!((found.size, found.frames), (data.len() as u64, units.len() as u64), "{name}");
    units
}

/// Numbers that look drawn, the same each time.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[test]
fn every_frame_from_the_first_key_frame_on_is_in_exactly_one_file() {
    for seed in 0..60 {
        let codec = [VideoCodec::H264, VideoCodec::H265][seed as usize % 2];
        let form = [None, Some(Form::Flv), Some(Form::Fmp4)][seed as usize % 3];
        let (mut bench, mut source, mut state) = (Bench::in_form(1000, form), Source::new(codec, true), seed);
        let first = bench_stream(&mut bench, &mut source, &mut state);
        let mut seen: Vec<u32> = Vec::new();
        let slices = bench.told(EventKind::Slice);
        let files: BTreeMap<_, _> = bench.disk.files().into_iter().collect();
        assert_eq!(files.len(), slices.len(), "one event a file");
        for slice in &slices {
            let name = slice["path"].rsplit('/').next().unwrap();
            let mut units = whole_units(name, &files[name]);
            let usual = if codec == VideoCodec::H264 { Form::Flv } else { Form::Fmp4 };
            assert!(name.ends_with(form.unwrap_or(usual).extension()), "{name}");
            assert_eq!(slice["video"], format!("{codec:?}"));
            assert_eq!(number(slice, "frames"), units.len() as u64);
            assert_eq!(number(slice, "lost"), 0);
            assert_eq!(number(slice, "bytes"), files[name].len() as u64);
            assert!(number(slice, "key_frames") >= 1);
            // In fMP4 a fragment's sound stands behind its pictures.
            units.sort_unstable();
            seen.extend(units);
        }
        assert_eq!(seen, (first..source.count).collect::<Vec<_>>(), "seed {seed}");
        assert!(slices.len() >= 3, "seed {seed}: {}", slices.len());
    }
}

/// Ten seconds of a stream that drops in anywhere; the number of its first key frame.
fn bench_stream(bench: &mut Bench, source: &mut Source, state: &mut u64) -> u32 {
    let (mut first, mut next_key, mut sound_at) = (None, draw(state, 20), 0);
    for number in 0..250_i64 {
        let at = number * 40;
        let key = number.cast_unsigned() == next_key;
        if key {
            next_key += 1 + draw(state, 30);
            first.get_or_insert(source.count);
        }
        bench.put(source.picture(at, key));
        // Sound comes in runs of any length, up to 200 ms behind.
        while draw(state, 3) > 0 && sound_at <= at {
            bench.put(source.sound(sound_at, at));
            sound_at += 40;
        }
    }
    bench.end(source.start + Duration::from_secs(10));
    first.unwrap()
}

#[test]
fn files_are_cut_at_the_first_key_frame_after_each_multiple() {
    let (mut bench, mut source) = (Bench::new(2000), Source::new(VideoCodec::H264, false));
    source.wall_ms = NEW_YEAR_MS + 500;
    (0..125).for_each(|n| bench.put(source.picture(n * 40, n % 20 == 0)));
    bench.end(source.start + Duration::from_secs(5));
    let told = bench.told(EventKind::Slice);
    let spans: Vec<_> = told
        .iter()
        .map(|slice| {
            let times = [number(slice, "start_ms"), number(slice, "end_ms")].map(|ms| ms - NEW_YEAR_MS);
            (times[0], times[1], number(slice, "duration_ms"), slice["reason"].as_str())
        })
        .collect();
    // Key frames come every 800 ms from 500 on: 2100 is the first after 2000, 4500 the first after 4000.
    assert_eq!(spans, [(500, 2060, 1600, "cut"), (2100, 4460, 2400, "cut"), (4500, 5460, 1000, "ended")]);
    assert_eq!(
        bench.disk.files().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        [
            format!("{}-{}.flv", NEW_YEAR_MS + 500, NEW_YEAR_MS + 2060),
            format!("{}-{}.flv", NEW_YEAR_MS + 2100, NEW_YEAR_MS + 4460),
            format!("{}-{}.flv", NEW_YEAR_MS + 4500, NEW_YEAR_MS + 5460),
        ]
    );
}

#[test]
fn a_clock_put_back_makes_neither_negative_times_nor_tiny_files() {
    for (step_ms, starts) in
        [(-90, [0, 1910, 4400]), (-3_600_000, [0, -3_598_000, -3_596_000]), (500, [0, 2500, 3600])]
    {
        let (mut bench, mut source) = (Bench::new(2000), Source::new(VideoCodec::H264, false));
        for n in 0..125 {
            if n == 30 {
                source.wall_ms = source.wall_ms.saturating_add_signed(step_ms);
            }
            // A small step is made good again.
            if n == 80 && step_ms > -1000 {
                source.wall_ms = NEW_YEAR_MS;
            }
            bench.put(source.picture(n * 40, n % 10 == 0));
        }
        bench.end(source.start + Duration::from_secs(5));
        let told = bench.told(EventKind::Slice);
        let got: Vec<_> = told
            .iter()
            .map(|slice| number(slice, "start_ms").cast_signed() - NEW_YEAR_MS.cast_signed())
            .collect();
        assert_eq!(got, starts, "by {step_ms} ms");
        assert!(told.iter().all(|slice| number(slice, "end_ms") >= number(slice, "start_ms")));
    }
}

#[test]
fn a_full_disk_keeps_what_is_on_it_and_counts_the_rest() {
    let (mut bench, mut source) = (Bench::new(60_000), Source::new(VideoCodec::H264, true));
    bench.disk.set_room(Some(40_000));
    for n in 0..250 {
        if n == 150 {
            bench.disk.set_room(None);
        }
        bench.put(source.picture(n * 40, n % 25 == 0));
        bench.put(source.sound(n * 40, n * 40));
    }
    bench.end(source.start + Duration::from_secs(10));
    let events = bench.events.poll(1000, 0);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::Slice).count(), 2);
    assert!(
        kinds.iter().filter(|kind| **kind == EventKind::RecordFailed).count() <= 4,
        "with back-off: {kinds:?}"
    );
    let slices: Vec<BTreeMap<_, _>> = events
        .into_iter()
        .filter(|event| event.kind == EventKind::Slice)
        .map(|event| event.detail.into_iter().collect())
        .collect();
    assert_eq!((slices[0]["reason"].as_str(), slices[1]["reason"].as_str()), ("failed", "ended"));
    let files = bench.disk.files();
    assert_eq!(files.len(), 2, "no rest lies about");
    let kept: Vec<_> = files.iter().map(|(name, data)| whole_units(name, data)).collect();
    assert_eq!(kept[0], (0..kept[0].len() as u32).collect::<Vec<_>>(), "a prefix");
    assert_eq!(*kept[1].last().unwrap(), source.count - 1);
    let lost: u64 = slices.iter().map(|slice| number(slice, "lost")).sum();
    assert_eq!(lost + kept.iter().map(Vec::len).sum::<usize>() as u64, u64::from(source.count));
    assert_eq!(bench.meters.lost.load(Ordering::Relaxed), lost);
}

#[test]
fn a_directory_that_is_gone_is_tried_again_with_back_off() {
    let (mut bench, mut source) = (Bench::new(60_000), Source::new(VideoCodec::H264, false));
    bench.disk.set_gone(true);
    (0..25 * 20).for_each(|n| bench.put(source.picture(n * 40, n % 5 == 0)));
    // A second, two, four, eight: the fifth try is the last one so far.
    let failed = bench.told(EventKind::RecordFailed);
    assert_eq!(failed.len(), 5);
    assert!(failed[0]["reason"].contains("/rec"));
    bench.disk.set_gone(false);
    (25 * 20..25 * 40).for_each(|n| bench.put(source.picture(n * 40, n % 5 == 0)));
    bench.end(source.start + Duration::from_secs(40));
    let slices = bench.told(EventKind::Slice);
    assert_eq!(slices.len(), 1);
    assert_eq!(number(&slices[0], "lost") + number(&slices[0], "frames"), 1000);
}

#[test]
fn sound_that_appears_waits_for_a_file_that_announces_it() {
    for codec in [VideoCodec::H264, VideoCodec::H265] {
        let (mut bench, mut source) = (Bench::new(60_000), Source::new(codec, false));
        (0..10).for_each(|n| bench.put(source.picture(n * 40, n == 0)));
        source.tracks = Source::new(codec, true).tracks;
        for n in 10..60 {
            bench.put(source.picture(n * 40, n == 30));
            bench.put(source.sound(n * 40 - 20, n * 40));
        }
        bench.end(source.start + Duration::from_secs(3));
        let slices = bench.told(EventKind::Slice);
        let reasons: Vec<_> = slices.iter().map(|slice| slice["reason"].as_str()).collect();
        assert_eq!(reasons, ["tracks_changed", "ended"]);
        assert!(slices.iter().all(|slice| number(slice, "lost") == 0));
        let mut all: Vec<_> =
            bench.disk.files().iter().flat_map(|(name, data)| whole_units(name, data)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..source.count).collect::<Vec<_>>(), "{codec:?}");
    }
}

#[test]
fn a_change_of_coding_changes_the_form() {
    let (mut bench, mut source) = (Bench::new(60_000), Source::new(VideoCodec::H264, true));
    (0..10).for_each(|n| bench.put(source.picture(n * 40, n == 0)));
    source.tracks = Source::new(VideoCodec::H265, true).tracks;
    (10..20).for_each(|n| bench.put(source.picture(n * 40, n == 10)));
    bench.end(source.start + Duration::from_secs(1));
    let slices = bench.told(EventKind::Slice);
    let told: Vec<_> = slices
        .iter()
        .map(|slice| (slice["video"].as_str(), slice["reason"].as_str(), number(slice, "frames")))
        .collect();
    assert_eq!(told, [("H264", "tracks_changed", 10), ("H265", "ended", 10)]);
    let names: Vec<_> =
        bench.disk.files().into_iter().map(|(name, _)| name[name.len() - 4..].to_owned()).collect();
    assert_eq!(names, [".flv", ".mp4"]);
}

#[test]
fn a_stream_that_fell_silent_does_not_keep_its_file_open_for_ever() {
    let (mut bench, mut source) = (Bench::new(10_000), Source::new(VideoCodec::H264, false));
    (0..50).for_each(|n| bench.put(source.picture(n * 40, n == 0)));
    let at = |seconds| source.start + Duration::from_secs(seconds);
    bench.step(at(31));
    assert!(bench.told(EventKind::Slice).is_empty());
    bench.step(at(33));
    assert_eq!(bench.told(EventKind::Slice)[0]["reason"], "cut");
    bench.put(source.picture(40_000, false));
    bench.put(source.picture(40_040, true));
    bench.end(source.start + Duration::from_secs(41));
    let slices = bench.told(EventKind::Slice);
    assert_eq!((number(&slices[0], "frames"), number(&slices[0], "lost")), (1, 1));
}

#[test]
fn a_broken_source_ends_the_file_at_once_and_the_next_key_frame_begins_another() {
    for codec in [VideoCodec::H264, VideoCodec::H265] {
        let (mut bench, mut source) = (Bench::new(60_000), Source::new(codec, true));
        for n in 0..50 {
            bench.put(source.picture(n * 40, n % 25 == 0));
            bench.put(source.sound(n * 40 - 20, n * 40));
        }
        bench.tap.handle_break();
        bench.step(source.start + Duration::from_secs(2));
        let told = bench.told(EventKind::Slice);
        assert_eq!(
            (told[0]["reason"].as_str(), number(&told[0], "frames")),
            ("broken", 100),
            "nothing more came"
        );
        // What comes back may find the writer late: the break lies between the units.
        for n in [150, 151] {
            assert!(bench.tap.put(source.picture(n * 40, n == 150)));
        }
        bench.tap.handle_break();
        bench.tap.handle_break();
        bench.put(source.picture(200 * 40, true));
        bench.end(source.start + Duration::from_secs(9));
        let told = bench.told(EventKind::Slice);
        let got: Vec<_> = told.iter().map(|one| (one["reason"].as_str(), number(one, "frames"))).collect();
        assert_eq!(got, [("broken", 2), ("ended", 1)]);
        assert!(told.iter().all(|one| number(one, "lost") == 0));
        let mut all: Vec<_> =
            bench.disk.files().iter().flat_map(|(name, data)| whole_units(name, data)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..source.count).collect::<Vec<_>>(), "{codec:?}");
    }
}

#[test]
fn what_is_written_within_a_second_survives_without_the_end() {
    for codec in [VideoCodec::H264, VideoCodec::H265] {
        let (mut bench, mut source) = (Bench::new(60_000), Source::new(codec, true));
        for n in 0..100 {
            bench.put(source.picture(n * 40, n % 50 == 0));
            bench.put(source.sound(n * 40, n * 40));
        }
        let files = bench.disk.files();
        assert_eq!(files[0].0.rsplit_once('.').unwrap().1, "part");
        assert!(units_in(&files[0].1).len() >= 2 * (100 - 26), "at most a second is missing");
    }
}

#[test]
fn the_end_is_told_last_and_always() {
    let mut bench = Bench::new(60_000);
    let start = crate::clock::now();
    bench.disk.set_gone(true);
    let mut source = Source::new(VideoCodec::H264, false);
    bench.put(source.picture(0, false));
    bench.put(source.picture(40, true));
    bench.put(source.picture(80, false));
    bench.end(start + Duration::from_secs(1));
    let events = bench.events.poll(10, 0);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::RecordFailed, EventKind::RecordEnded]);
    let detail: BTreeMap<_, _> = events[1].detail.iter().cloned().collect();
    assert_eq!((detail["reason"].as_str(), number(&detail, "lost")), ("ended", 2));
}

#[test]
fn sound_alone_is_recorded_and_cut_anywhere() {
    let (mut bench, mut source) = (Bench::new(1000), Source::new(VideoCodec::H264, true));
    let tracks = wire::media::Tracks { video: None, audio: Some(testing::sound()) };
    source.tracks = Arc::new(tracks);
    (0..100).for_each(|n| bench.put(source.sound(n * 40, n * 40)));
    bench.end(source.start + Duration::from_secs(4));
    let frames: Vec<_> = bench.told(EventKind::Slice).iter().map(|slice| number(slice, "frames")).collect();
    assert_eq!(frames, [25, 25, 25, 25]);
}

#[test]
fn two_files_of_one_millisecond_have_two_names() {
    let (mut bench, mut source) = (Bench::new(1), Source::new(VideoCodec::H264, false));
    for _ in 0..3 {
        // A clock that stands: every picture comes at the same moment.
        bench.put(source.picture(0, true));
        source.tracks =
            Source::new([VideoCodec::H264, VideoCodec::H265][source.count as usize % 2], false).tracks;
    }
    bench.end(source.start);
    let files = bench.disk.files();
    assert_eq!(files.len(), 3, "{:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn a_recording_begins_with_what_the_hub_kept() {
    let (mut bench, mut source) = (Bench::new(60_000), Source::new(VideoCodec::H264, true));
    let units = [source.picture(1000, true), source.sound(960, 1000), source.picture(1040, false)];
    let now = source.start + Duration::from_secs(100);
    bench.tap.put_cached(now, NEW_YEAR_MS, units.iter().map(|arrived| &arrived.unit));
    bench.step(now);
    bench.end(now);
    let slice = &bench.told(EventKind::Slice)[0];
    assert_eq!((number(slice, "start_ms"), number(slice, "end_ms")), (NEW_YEAR_MS - 40, NEW_YEAR_MS));
    let data = &bench.disk.files()[0].1;
    let sound = data.windows(4).position(|window| window == [8, 0, 1, 65]).unwrap();
    assert_eq!(data[sound + 4..sound + 8], [0; 4], "the sound before the key frame is at zero");
    assert_eq!(units[1].unit.kind, Kind::Audio);
}
