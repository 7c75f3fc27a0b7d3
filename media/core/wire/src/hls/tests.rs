use super::*;
use crate::{
    media::{AudioCodec, VideoCodec},
    testing,
};

fn segmenter(container: Container) -> Segmenter {
    Segmenter::new(SegmenterOptions {
        container,
        target: Ticks::from_millis(2000),
        listed: LISTED,
        first_sequence: 100,
        epoch_ms: 0,
    })
}

/// Pictures at 25 Hz, a key frame a second, from `from_s` to `to_s`; the last window.
fn feed(segmenter: &mut Segmenter, tracks: &Arc<Tracks>, from_s: i64, to_s: i64) -> Option<Arc<Window>> {
    let units = (from_s * 25..to_s * 25).map(|at| testing::video(tracks, at * 40, at * 40, at % 25 == 0));
    units.filter_map(|unit| segmenter.write(&unit)).last()
}

fn lines(window: &Window) -> Vec<String> {
    window.playlist("").lines().map(str::to_owned).collect()
}

#[test]
fn the_first_segments_are_short_and_the_later_ones_as_long_as_wanted() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
    let window = feed(&mut segmenter(Container::Ts), &tracks, 0, 10).expect("segments");
    let expected = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:100\n\
        #EXT-X-INDEPENDENT-SEGMENTS\n#EXTINF:1.000000,\nhls/100.ts?k=v\n#EXTINF:1.000000,\nhls/101.ts?k=v\n\
        #EXTINF:1.000000,\nhls/102.ts?k=v\n#EXTINF:2.000000,\nhls/103.ts?k=v\n\
        #EXTINF:2.000000,\nhls/104.ts?k=v\n#EXTINF:2.000000,\nhls/105.ts?k=v\n";
    assert_eq!(window.playlist("k=v"), expected);
    assert!(window.resource("105.ts").is_some_and(|data| data.len() % 188 == 0));
    for wrong in ["106.ts", "105.m4s", "105", "init-100.mp4", "+105.ts", "../105.ts", ""] {
        assert!(window.resource(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn the_window_slides_and_late_players_still_find_theirs() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
    let window = feed(&mut segmenter(Container::Ts), &tracks, 0, 200).expect("segments");
    assert_eq!(window.segments().len(), LISTED + LATE);
    let first = window.segments()[LATE].sequence;
    assert_eq!(lines(&window)[3], format!("#EXT-X-MEDIA-SEQUENCE:{first}"));
    assert!(window.resource(&format!("{}.ts", first - LATE as u64)).is_some());
    assert!(window.resource(&format!("{}.ts", first - LATE as u64 - 1)).is_none());
}

#[test]
fn fragmented_mp4_has_one_map_until_the_tracks_change() {
    let before = Arc::new(testing::tracks(VideoCodec::H264, None));
    let after = Arc::new(testing::tracks(VideoCodec::H265, None));
    let mut segmenter = segmenter(Container::Fmp4);
    feed(&mut segmenter, &before, 0, 2);
    let window = feed(&mut segmenter, &after, 2, 4).expect("segments");
    let lines = lines(&window);
    assert_eq!(lines[5], "#EXT-X-MAP:URI=\"hls.fmp4/init-100.mp4\"");
    assert_eq!(lines[8], "#EXTINF:1.000000,");
    assert_eq!(lines[10..12], ["#EXT-X-DISCONTINUITY", "#EXT-X-MAP:URI=\"hls.fmp4/init-102.mp4\""]);
    assert!(window.resource("init-102.mp4").is_some_and(|data| data[4..8] == *b"ftyp"));
    assert!(window.resource("102.m4s").is_some_and(|data| data[4..8] == *b"moof"));
    let window = feed(&mut segmenter, &after, 4, 40).expect("segments");
    assert!(window.playlist("").contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"));
    assert!(!window.playlist("").contains("#EXT-X-DISCONTINUITY\n"));
    assert!(window.resource("init-100.mp4").is_none());
}

#[test]
fn sound_that_comes_late_waits_for_a_segment_that_announces_it() {
    let silent = Arc::new(testing::tracks(VideoCodec::H264, None));
    let sounding = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)));
    let mut segmenter = segmenter(Container::Ts);
    feed(&mut segmenter, &silent, 0, 1);
    assert!(segmenter.write(&testing::audio(&sounding, 990, 100)).is_none());
    let window = segmenter.write(&testing::video(&sounding, 1000, 1000, true)).expect("the first segment");
    assert_eq!(window.segments()[0].data.len() % 188, 0);
    assert!(!has_pid(&window.segments()[0].data, 0x101));
    segmenter.write(&testing::audio(&sounding, 1010, 100));
    let window = feed(&mut segmenter, &sounding, 2, 4).expect("segments");
    assert!(window.segments()[1].discontinuity && has_pid(&window.segments()[1].data, 0x101));
}

fn has_pid(data: &[u8], pid: u16) -> bool {
    data.chunks(188).any(|packet| u16::from_be_bytes([packet[1] & 0x1F, packet[2]]) == pid)
}

#[test]
fn nothing_begins_before_a_key_frame_and_a_missing_one_does_not_hold_segments_up() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
    let mut segmenter = segmenter(Container::Fmp4);
    let late = |at: i64| testing::video(&tracks, at * 40, at * 40, at == 100);
    let window = (0..1000).filter_map(|at| segmenter.write(&late(at))).last().expect("segments");
    assert_eq!(window.segments()[0].duration, LONGEST);
    let independent: Vec<_> = window.segments().iter().map(|segment| segment.independent).collect();
    assert_eq!(independent, [true, false]);
    assert!(!window.playlist("").contains("INDEPENDENT"));
    assert!(window.playlist("").contains("#EXT-X-TARGETDURATION:12\n"));
}

#[test]
fn sound_alone_is_cut_by_time() {
    let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A));
    tracks.video = None;
    let tracks = Arc::new(tracks);
    let mut segmenter = segmenter(Container::Ts);
    let units = (0..500).map(|at| testing::audio(&tracks, at * 20, 160));
    let window = units.filter_map(|unit| segmenter.write(&unit)).last().expect("segments");
    let durations: Vec<_> = window.segments().iter().map(|segment| segment.duration.as_millis()).collect();
    assert_eq!(durations, [500, 500, 500, 2000, 2000, 2000, 2000]);
}

#[test]
fn the_end_of_a_stream_ends_its_last_segment_and_the_playlist() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
    for container in [Container::Ts, Container::Fmp4, Container::LowLatency] {
        let mut segmenter = segmenter(container);
        assert!(segmenter.end().is_none(), "there is nothing yet");
        let mut segmenter = Segmenter::new(segmenter.options);
        let before = feed(&mut segmenter, &tracks, 0, 4).expect("segments");
        assert!(!lines(&before).iter().any(|line| line == "#EXT-X-ENDLIST"));
        let last = segmenter.end().expect("a last segment");
        let told = lines(&last);
        assert_eq!(told.last().map(String::as_str), Some("#EXT-X-ENDLIST"));
        assert!(!told.iter().any(|line| line.starts_with("#EXT-X-PRELOAD-HINT")));
        // One second from the key frame on: the last picture lasts as long as the one before.
        let whole: i64 = last.segments().iter().map(|segment| segment.duration.0).sum();
        assert_eq!(Ticks(whole), Ticks::from_millis(4000));
        assert!(last.tells_of(u64::MAX, Some(7)), "nobody waits for what does not come");
    }
}

#[test]
fn another_length_counts_from_the_next_segment_on() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
    let mut segmenter = segmenter(Container::Ts);
    feed(&mut segmenter, &tracks, 0, 9);
    segmenter.change(Ticks::from_millis(4000), 3);
    let window = feed(&mut segmenter, &tracks, 9, 40).unwrap();
    let newest: Vec<_> = window.segments()[window.segments().len() - 3..].iter().collect();
    assert!(newest.iter().all(|segment| segment.duration == Ticks::from_millis(4000)), "{newest:?}");
    assert_eq!(window.segments().len(), 3 + LATE);
    assert!(window.playlist("").contains("#EXT-X-TARGETDURATION:4\n"));
    assert_eq!(window.playlist("").matches("#EXTINF").count(), 3);
    segmenter.change(Ticks::from_millis(1000), 3);
    let window = feed(&mut segmenter, &tracks, 40, 50).unwrap();
    assert_eq!(window.segments().last().unwrap().duration, Ticks::from_millis(1000));
    assert!(window.playlist("").contains("#EXT-X-TARGETDURATION:4\n"), "it was told, and may not change");
}
