//! FLV as other programs and our own muxer write it, read back; and what is odd in it.

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use support::*;
use wire::{
    fault::FaultCounts,
    flv::{FlvMuxer, FlvOptions, H265},
    flv_read::{FlvError, FlvReader, Tag, TagKind, TagReader},
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    unpack::{Options, Output, Payload},
};

/// What a reader gave.
#[derive(Default, Debug)]
struct Read {
    units: Vec<AccessUnit>,
    tracks: Vec<Arc<Tracks>>,
    payloads: Vec<Payload>,
    faults: FaultCounts,
}

impl Read {
    fn take(&mut self, output: Output) {
        match output {
            Output::Unit(unit) => self.units.push(unit),
            Output::Tracks(tracks) => self.tracks.push(tracks),
            Output::Payload(payload) => self.payloads.push(payload),
            Output::Fault(fault) => self.faults.count(fault),
        }
    }

    fn of(&self, kind: Kind) -> Vec<&AccessUnit> {
        self.units.iter().filter(|unit| unit.kind == kind).collect()
    }

    fn faults(&self) -> Vec<(&'static str, u64)> {
        self.faults.iter().collect()
    }
}

fn read(pieces: impl IntoIterator<Item = Vec<u8>>) -> Result<Read, FlvError> {
    let (mut reader, mut seen) = (FlvReader::new(Options::default()), Read::default());
    let mut now = start();
    for piece in pieces {
        reader.handle_bytes(now, &piece)?;
        now += Duration::from_millis(40);
        reader.handle_timeout(now);
        std::iter::from_fn(|| reader.poll_output()).for_each(|output| seen.take(output));
    }
    Ok(seen)
}

fn video_track(codec: VideoCodec) -> VideoTrack {
    let sets = |sets: &[&'static [u8]]| sets.iter().map(|set| Bytes::from_static(set)).collect::<Vec<_>>();
    let (vps, sps, pps) = match codec {
        VideoCodec::H264 => (sets(&[]), sets(&[H264_SPS]), sets(&[H264_PPS])),
        VideoCodec::H265 => (sets(&[H265_VPS]), sets(&[H265_SPS]), sets(&[H265_PPS])),
    };
    VideoTrack { codec, width: 352, height: 288, rate: Some((25, 1)), vps, sps, pps }
}

fn tracks(video: VideoCodec, audio: Option<AudioCodec>) -> Arc<Tracks> {
    let audio = audio.map(|codec| match codec {
        AudioCodec::Aac => {
            AudioTrack { codec, sample_rate: 16_000, channels: 1, config: Bytes::from_static(&[0x14, 0x08]) }
        }
        _ => AudioTrack { codec, sample_rate: 8_000, channels: 1, config: Bytes::new() },
    });
    Arc::new(Tracks { video: Some(video_track(video)), audio })
}

/// A unit without parameter sets, as muxers announce them apart.
fn unit(tracks: &Arc<Tracks>, kind: Kind, millis: i64, delay: i64, key: bool, len: usize) -> AccessUnit {
    let codec = match tracks.video.as_ref().expect("video").codec {
        VideoCodec::H264 => Codec::H264,
        VideoCodec::H265 => Codec::H265,
    };
    let data = match kind {
        Kind::Video => {
            let nals = picture(codec, key, len, millis.cast_unsigned());
            length_prefixed(&nals[nals.len() - 1..])
        }
        Kind::Audio => filler(len, millis.cast_unsigned()),
    };
    let dts = Ticks::from_millis(millis);
    let pts = dts + Ticks::from_millis(delay);
    AccessUnit { kind, dts, pts, key, data: data.into(), tracks: Arc::clone(tracks) }
}

fn mux(units: &[AccessUnit], h265: H265) -> Vec<Vec<u8>> {
    let mut muxer = FlvMuxer::new(FlvOptions { h265, audio: true });
    let mut out = vec![muxer.head(&units[0].tracks).to_vec()];
    out.extend(units.iter().filter_map(|unit| Some(muxer.write(unit)?.to_bytes().to_vec())));
    out
}

fn same(read: &AccessUnit, written: &AccessUnit) {
    assert_eq!(
        (read.kind, read.key, read.dts, read.pts),
        (written.kind, written.key, written.dts, written.pts)
    );
    assert_eq!(read.data, written.data);
    assert_eq!(read.tracks, written.tracks);
}

fn body(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn h264_record() -> Vec<u8> {
    wire::avc::configuration_record(&video_track(VideoCodec::H264)).unwrap()
}

/// Tags by hand.
struct Tags {
    reader: TagReader,
    seen: Read,
    millis: u32,
}

impl Tags {
    fn new() -> Self {
        Self { reader: TagReader::new(Options::default()), seen: Read::default(), millis: 0 }
    }

    fn tag(&mut self, kind: TagKind, parts: &[&[u8]]) {
        let now = start() + Duration::from_millis(u64::from(self.millis));
        self.reader.handle_tag(now, &Tag { kind, millis: self.millis, body: body(parts) });
        self.reader.handle_timeout(now);
        std::iter::from_fn(|| self.reader.poll_output()).for_each(|output| self.seen.take(output));
        self.millis += 40;
    }

    fn video(&mut self, parts: &[&[u8]]) {
        self.tag(TagKind::Video, parts);
    }

    fn audio(&mut self, parts: &[&[u8]]) {
        self.tag(TagKind::Audio, parts);
    }

    fn h264(&mut self, data: &[u8]) {
        self.video(&[&[0x17, 1, 0, 0, 0], data]);
    }
}

const IDR: &[u8] = b"\x65\x88\x84\x00\x01";

#[test]
fn what_our_muxer_writes_reads_back_in_every_form() {
    for (codec, audio, h265) in [
        (VideoCodec::H264, Some(AudioCodec::Aac), H265::Enhanced),
        (VideoCodec::H264, Some(AudioCodec::G711A), H265::Enhanced),
        (VideoCodec::H265, Some(AudioCodec::G711U), H265::Enhanced),
        (VideoCodec::H265, None, H265::Codec12),
    ] {
        let tracks = tracks(codec, audio);
        let mut units = vec![];
        for n in 0..50 {
            units.push(unit(&tracks, Kind::Video, n * 40, 40 * (n % 2), n % 10 == 0, 3000));
            if audio.is_some() {
                units.push(unit(&tracks, Kind::Audio, n * 40 + 20, 0, true, 320));
            }
        }
        let seen = read(mux(&units, h265)).unwrap();
        assert_eq!(seen.units.len(), units.len());
        seen.units.iter().zip(&units).for_each(|(read, written)| same(read, written));
        assert_eq!((seen.tracks.len(), seen.faults()), (1, vec![]));
        assert_eq!(seen.payloads, [Payload::Flv]);
    }
}

/// `ffmpeg -f lavfi -i testsrc=size=64x48:rate=25 -f lavfi -i sine=440:sample_rate=16000 -t 0.8 -c:v libx264 -g 10
/// -bf 2 -c:a aac -ac 1 -b:a 16k -f flv` (ffmpeg 5.1).
const FFMPEG: &[u8] = include_bytes!("vectors/ffmpeg_h264_aac.flv");

#[test]
fn what_ffmpeg_writes_is_read_with_its_own_times() {
    let seen = read([FFMPEG.to_vec()]).unwrap();
    assert_eq!(seen.faults(), []);
    let [tracks] = &seen.tracks[..] else { panic!("{:?}", seen.tracks) };
    let (video, audio) = (tracks.video.as_ref().unwrap(), tracks.audio.as_ref().unwrap());
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::H264, 64, 48));
    assert_eq!((audio.codec, audio.sample_rate, audio.channels), (AudioCodec::Aac, 16_000, 1));
    let pictures = seen.of(Kind::Video);
    let decoded: Vec<_> = pictures.iter().map(|unit| unit.dts.as_millis()).collect();
    assert_eq!(decoded, (0..20).map(|n| n * 40).collect::<Vec<_>>());
    let shown: Vec<_> = pictures[..6].iter().map(|unit| unit.pts.as_millis()).collect();
    assert_eq!(shown, [80, 200, 120, 160, 320, 240]); // as ffprobe tells them
    let keys: Vec<_> = pictures.iter().filter(|unit| unit.key).map(|unit| unit.dts.as_millis()).collect();
    assert_eq!(keys, [0, 400]);
    let sizes: Vec<_> = pictures[..4].iter().map(|unit| unit.data.len()).collect();
    assert_eq!(sizes, [1339, 78, 12, 12]);
    let sound = seen.of(Kind::Audio);
    assert_eq!((sound.len(), sound[0].dts.as_millis(), sound[0].data.len()), (14, 16, 191));
}

#[test]
fn announced_sound_is_waited_for_and_other_sound_is_not() {
    let mut tags = Tags::new();
    tags.reader.expect_audio(true);
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()]);
    let idr = length_prefixed(&[IDR.to_vec()]);
    tags.h264(&idr);
    assert!(tags.seen.units.is_empty());
    tags.audio(&[&[0xAF, 0, 0x14, 0x08]]);
    tags.audio(&[&[0xAF, 1], &[0x21; 50]]);
    assert_eq!(tags.seen.units.len(), 2);
    assert_eq!(tags.seen.tracks[0].audio, tracks(VideoCodec::H264, Some(AudioCodec::Aac)).audio);

    let mut tags = Tags::new();
    tags.reader.expect_audio(true);
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()]);
    (0..5).for_each(|_| tags.audio(&[&[0x2F], &[7; 100]])); // MP3
    tags.h264(&idr);
    assert_eq!((tags.seen.units.len(), tags.seen.faults()), (1, vec![("unsupported_codec", 1)]));
}

#[test]
fn short_lengths_and_start_codes_become_lengths_of_four_bytes() {
    for size in 1..=4_usize {
        let mut record = h264_record();
        record[4] = 0xFC | (size as u8 - 1);
        let mut tags = Tags::new();
        tags.video(&[&[0x17, 0, 0, 0, 0], &record]);
        let lengths = [2, IDR.len() as u32].map(|len| len.to_be_bytes()[4 - size..].to_vec());
        tags.h264(&[&lengths[0][..], &[6, 1], &lengths[1], IDR].concat());
        assert_eq!(tags.seen.units[0].data, length_prefixed(&[vec![6, 1], IDR.to_vec()]), "{size}");
        assert_eq!(tags.seen.faults(), []);
    }
    let mut tags = Tags::new();
    tags.h264(&annex_b(&[H264_SPS.to_vec(), H264_PPS.to_vec(), IDR.to_vec()]));
    let nals = [H264_SPS.to_vec(), H264_PPS.to_vec(), IDR.to_vec()];
    assert_eq!(tags.seen.units[0].data, length_prefixed(&nals));
    assert_eq!(tags.seen.faults(), [("start_codes", 1)]);
}

#[test]
fn a_frame_whose_lengths_do_not_fit_costs_the_video_up_to_the_next_key_frame() {
    let mut tags = Tags::new();
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()]);
    let idr = length_prefixed(&[IDR.to_vec()]);
    let other = length_prefixed(&[vec![0x41, 0x9A, 0]]);
    tags.h264(&idr);
    tags.h264(&other[..other.len() - 1]);
    tags.h264(&other);
    tags.h264(&idr);
    assert_eq!(tags.seen.units.len(), 2);
    assert_eq!(tags.seen.faults(), [("key_frame_awaited", 1), ("nal_lengths", 1)]);
}

#[test]
fn a_sequence_header_that_says_something_new_is_in_force_from_the_next_key_frame() {
    let mut tags = Tags::new();
    let idr = length_prefixed(&[IDR.to_vec()]);
    let other = length_prefixed(&[vec![0x41, 0x9A, 0]]);
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()]);
    tags.h264(&idr);
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()]); // the same again
    tags.h264(&other);
    assert_eq!((tags.seen.units.len(), tags.seen.tracks.len()), (2, 1));
    let mut record = h264_record();
    record[8 + 3] = 0x1E; // another level
    tags.video(&[&[0x17, 0, 0, 0, 0], &record]);
    tags.h264(&other);
    tags.h264(&idr);
    assert_eq!((tags.seen.units.len(), tags.seen.tracks.len()), (3, 2));
    assert_eq!(tags.seen.tracks[1].video.as_ref().unwrap().sps[0][3], 0x1E);

    let h265 = wire::hevc::configuration_record(&video_track(VideoCodec::H265)).unwrap();
    tags.video(&[&[0x90], b"hvc1", &h265]);
    tags.video(&[&[0x93], b"hvc1", &length_prefixed(&[vec![0x26, 1, 0xAF, 0, 1]])]);
    assert_eq!(tags.seen.tracks[2].video, Some(video_track(VideoCodec::H265)));
    assert_eq!(tags.seen.units.len(), 4);
    assert_eq!(tags.seen.faults(), [("key_frame_awaited", 1)]);
}

#[test]
fn a_wrong_codec_id_gives_way_to_what_the_sets_prove() {
    let h265 = wire::hevc::configuration_record(&video_track(VideoCodec::H265)).unwrap();
    let mut tags = Tags::new();
    tags.video(&[&[0x90], b"avc1", &h265]);
    tags.video(&[&[0x93], b"avc1", &length_prefixed(&picture(Codec::H265, true, 100, 1))]);
    tags.video(&[&[0xA3], b"avc1", &length_prefixed(&picture(Codec::H265, false, 100, 2))]);
    assert_eq!(tags.seen.of(Kind::Video).len(), 2);
    assert_eq!(tags.seen.tracks.last().unwrap().video.as_ref().unwrap().codec, VideoCodec::H265);
}

#[test]
fn cut_tags_and_headers_are_counted_and_cost_nothing_else() {
    let mut tags = Tags::new();
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()]);
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()[..20]]);
    tags.video(&[&[0x17, 1]]);
    tags.video(&[]);
    tags.audio(&[&[0xAF, 0, 0xFF]]);
    tags.audio(&[&[0xAF, 1], &[1; 20]]);
    tags.h264(&length_prefixed(&[IDR.to_vec()]));
    tags.millis += 2000; // sound was announced but has no configuration
    tags.video(&[]);
    assert_eq!(tags.seen.units.len(), 1);
    let faults = [("parameter_sets_missing", 1), ("bad_tag", 1), ("bad_sequence_header", 2)];
    assert_eq!(tags.seen.faults(), faults);
}

#[test]
fn configurations_of_sound_are_kept_as_they_came() {
    let mut tags = Tags::new();
    let he_aac = [0x2B, 0x92, 0x08, 0x00]; // SBR over LC, 22,050 Hz
    tags.video(&[&[0x17, 0, 0, 0, 0], &h264_record()]);
    tags.audio(&[&[0xAF, 0], &he_aac]);
    tags.h264(&length_prefixed(&[IDR.to_vec()]));
    tags.audio(&[&[0xAF, 1], &[0x21; 50]]);
    let audio = tags.seen.tracks.last().unwrap().audio.clone().unwrap();
    assert_eq!((&audio.config[..], audio.sample_rate, audio.channels), (&he_aac[..], 22_050, 2));
}

#[test]
fn a_source_that_begins_anew_goes_on_without_new_tracks_unless_they_differ() {
    let with = |codec, audio, from: i64| {
        let tracks = tracks(codec, audio);
        let units: Vec<_> =
            (0..25).map(|n| unit(&tracks, Kind::Video, from + n * 40, 0, n % 25 == 0, 500)).collect();
        mux(&units, H265::Enhanced)
    };
    let once = with(VideoCodec::H264, None, 5_000_000);
    let again = with(VideoCodec::H264, None, 0);
    let other = with(VideoCodec::H265, None, 77);
    let seen = read(once.into_iter().chain(again).chain(other)).unwrap();
    assert_eq!((seen.units.len(), seen.tracks.len(), seen.faults()), (75, 2, vec![]));
    let times: Vec<i64> = seen.units.iter().map(|unit| unit.dts.0).collect();
    // Each beginning costs the 40 ms of its head.
    assert!(times.windows(2).all(|pair| (3600..=7200).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[test]
fn bytes_that_are_no_flv_are_refused() {
    assert!(matches!(read([b"HTTP/1.1 200 OK".to_vec()]), Err(FlvError::NoHeader(_))));
    let mut bytes =
        mux(&[unit(&tracks(VideoCodec::H264, None), Kind::Video, 0, 0, true, 50)], H265::Enhanced);
    bytes.push(vec![0x55; 2 << 20]);
    assert_eq!(read(bytes).unwrap_err(), FlvError::Lost);
}

/// Units as a device may send them: any order of both tracks, times that rise by chance.
fn any_units() -> impl Strategy<Value = Vec<AccessUnit>> {
    let audio = prop_oneof![Just(None), Just(Some(AudioCodec::Aac)), Just(Some(AudioCodec::G711U))];
    let step = (any::<bool>(), 1..200_i64, 0..500_i64, any::<bool>(), 1..3000_usize);
    (any::<bool>(), audio, vec(step, 1..60)).prop_map(|(h265, audio, steps)| {
        let tracks = tracks(if h265 { VideoCodec::H265 } else { VideoCodec::H264 }, audio);
        let mut millis = 0;
        let mut units = vec![unit(&tracks, Kind::Video, 0, 0, true, 100)];
        for (sound, step, delay, key, len) in steps {
            millis += step;
            let sound = sound && audio.is_some();
            let kind = if sound { Kind::Audio } else { Kind::Video };
            let delay = if sound { 0 } else { delay };
            units.push(unit(&tracks, kind, millis, delay, sound || key, len));
        }
        units
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn muxing_and_reading_is_the_identity(
        units in any_units(),
        codec12 in any::<bool>(),
        sizes in vec(1..5000_usize, 1..6),
    ) {
        let form = if codec12 { H265::Codec12 } else { H265::Enhanced };
        let bytes = mux(&units, form).concat();
        let mut reader = FlvReader::new(Options::default());
        let (mut seen, mut at) = (Read::default(), 0);
        for size in sizes.into_iter().cycle() {
            if at == bytes.len() {
                break;
            }
            let end = (at + size).min(bytes.len());
            reader.handle_bytes(start(), &bytes[at..end]).unwrap();
            at = end;
            std::iter::from_fn(|| reader.poll_output()).for_each(|output| seen.take(output));
        }
        reader.handle_timeout(start() + Duration::from_secs(2));
        std::iter::from_fn(|| reader.poll_output()).for_each(|output| seen.take(output));
        prop_assert_eq!(seen.faults(), vec![]);
        prop_assert_eq!(seen.units.len(), units.len());
        for (read, written) in seen.units.iter().zip(&units) {
            prop_assert_eq!(&read.data, &written.data);
            prop_assert_eq!((read.kind, read.key, read.dts, read.pts), (written.kind, written.key, written.dts, written.pts));
        }
    }

    #[test]
    fn altered_bytes_are_survived_and_keep_units_in_order(
        units in any_units(),
        alterations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = mux(&units, H265::Enhanced).concat();
        for (at, value) in alterations {
            let at = 13 + at.index(bytes.len() - 13);
            bytes[at] = value;
        }
        let mut reader = FlvReader::new(Options { frame_bytes_max: 4000, ..Options::default() });
        let mut last = [None; 2];
        let mut now = start();
        for piece in bytes.chunks(700) {
            now += Duration::from_millis(20);
            if reader.handle_bytes(now, piece).is_err() {
                break;
            }
            while let Some(output) = reader.poll_output() {
                let Output::Unit(unit) = output else { continue };
                prop_assert!(unit.pts >= unit.dts && unit.dts.0 >= 0);
                let before = last[usize::from(unit.kind == Kind::Video)].replace(unit.dts);
                prop_assert!(before.is_none_or(|before| before < unit.dts));
            }
        }
    }
}
