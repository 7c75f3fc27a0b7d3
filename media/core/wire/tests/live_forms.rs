//! Live TS and fMP4 are read back whole, whatever was written: sizes, times that jitter, sound of every coding.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;
use wire::{
    adts,
    fmp4_live::{Fmp4Options, LiveFmp4},
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    ts::Sound,
    ts_live::LiveTs,
};

const DELAY: i64 = 700 * 90;

fn tracks(video: VideoCodec, audio: Option<AudioCodec>) -> Arc<Tracks> {
    let audio = audio.map(|codec| {
        let (sample_rate, config) = match codec {
            AudioCodec::Aac => (16_000, Bytes::from_static(&[0x14, 0x08])),
            _ => (8_000, Bytes::new()),
        };
        AudioTrack { codec, sample_rate, channels: 1, config }
    });
    let (vps, sps, pps) = match video {
        VideoCodec::H264 => {
            (vec![], b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\x10".as_slice(), b"\x68\xef".as_slice())
        }
        VideoCodec::H265 => {
            (vec![Bytes::from_static(b"\x40\x01\x0c")], b"\x42\x01\x01".as_slice(), b"\x44\x01".as_slice())
        }
    };
    let (sps, pps) = (vec![Bytes::from_static(sps)], vec![Bytes::from_static(pps)]);
    let video = VideoTrack { codec: video, width: 352, height: 288, rate: None, vps, sps, pps };
    Arc::new(Tracks { video: Some(video), audio })
}

/// What is written of one unit: size, distance to the one before, lateness of its showing; sound beside pictures.
#[derive(Debug, Clone)]
struct Script {
    video: VideoCodec,
    audio: Option<AudioCodec>,
    pictures: Vec<(usize, i64, i64)>,
    sounds: Vec<(usize, i64)>,
}

fn scripts() -> impl Strategy<Value = Script> {
    let audio = prop_oneof![
        Just(None),
        Just(Some(AudioCodec::Aac)),
        Just(Some(AudioCodec::G711A)),
        Just(Some(AudioCodec::G711U))
    ];
    (
        prop_oneof![Just(VideoCodec::H264), Just(VideoCodec::H265)],
        audio,
        prop::collection::vec((1_usize..70_000, 1_i64..20_000, 0_i64..20_000), 1..20),
        prop::collection::vec((1_usize..2_000, 1_i64..20_000), 0..20),
    )
        .prop_map(|(video, audio, pictures, sounds)| Script { video, audio, pictures, sounds })
}

impl Script {
    /// Its units by time; the first picture, and every seventh, is a key frame.
    fn units(&self) -> Vec<AccessUnit> {
        let tracks = tracks(self.video, self.audio);
        let mut dts = 0;
        let mut units = Vec::new();
        for (number, (size, after, late)) in self.pictures.iter().enumerate() {
            dts += if number == 0 { 0 } else { *after };
            let key = number % 7 == 0;
            let first: u8 = match (self.video, key) {
                (VideoCodec::H264, true) => 0x65,
                (VideoCodec::H264, false) => 0x41,
                (VideoCodec::H265, true) => 0x26,
                (VideoCodec::H265, false) => 0x02,
            };
            let mut data = (*size as u32 + 2).to_be_bytes().to_vec();
            data.extend([first, 1]);
            data.extend((0..*size).map(|at| at as u8 ^ number as u8));
            units.push(AccessUnit {
                kind: Kind::Video,
                dts: Ticks(dts),
                pts: Ticks(dts + late),
                key,
                data: data.into(),
                tracks: Arc::clone(&tracks),
            });
        }
        let mut dts = 0;
        for (number, (size, after)) in self.sounds.iter().enumerate().filter(|_| self.audio.is_some()) {
            dts += after;
            units.push(AccessUnit {
                kind: Kind::Audio,
                dts: Ticks(dts),
                pts: Ticks(dts),
                key: true,
                data: vec![number as u8 | 1; *size].into(),
                tracks: Arc::clone(&tracks),
            });
        }
        units.sort_by_key(|unit| unit.dts);
        units
    }
}

/// The PES packets of each PID, in order; packets and counters checked.
fn elementary(data: &[u8]) -> HashMap<u16, Vec<Vec<u8>>> {
    assert_eq!(data.len() % 188, 0);
    let (mut found, mut counters) = (HashMap::<u16, Vec<Vec<u8>>>::new(), HashMap::new());
    for packet in data.chunks(188) {
        assert_eq!(packet[0], 0x47);
        let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        let counter = packet[3] & 0x0F;
        if let Some(last) = counters.insert(pid, counter) {
            assert_eq!(counter, (last + 1) & 0x0F);
        }
        let field = if packet[3] & 0x20 == 0 { 0 } else { 1 + usize::from(packet[4]) };
        let payload = &packet[4 + field..];
        let units = found.entry(pid).or_default();
        if packet[1] & 0x40 == 0 {
            units.last_mut().expect("a beginning").extend(payload);
        } else {
            units.push(payload.to_vec());
        }
    }
    found
}

/// PTS, DTS and payload of a PES packet.
fn timed(pes: &[u8]) -> (i64, i64, &[u8]) {
    assert_eq!(pes[..3], [0, 0, 1]);
    let length = usize::from(u16::from_be_bytes([pes[4], pes[5]]));
    assert!(length == 0 || length == pes.len() - 6);
    let time = |at: usize| {
        let part = |at: usize| i64::from(pes[at]);
        (part(at) >> 1 & 7) << 30
            | part(at + 1) << 22
            | (part(at + 2) >> 1) << 15
            | part(at + 3) << 7
            | part(at + 4) >> 1
    };
    let pts = time(9);
    let dts = if pes[7] & 0x40 == 0 { pts } else { time(14) };
    (pts, dts, &pes[9 + usize::from(pes[8])..])
}

/// Name and content of each box.
fn boxes(mut data: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let size = word(data, 0) as usize;
        found.push((data[4..8].try_into().expect("a name"), &data[8..size]));
        data = &data[size..];
    }
    found
}

fn at(data: &[u8], name: [u8; 4]) -> &[u8] {
    boxes(data).into_iter().find(|(found, _)| *found == name).expect("the box").1
}

fn word(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().expect("four bytes"))
}

proptest! {
    #[test]
    fn ts_is_read_back_whole(script in scripts()) {
        let units = script.units();
        let mut muxer = LiveTs::new(Sound::All);
        let data: Vec<u8> = units.iter().flat_map(|unit| muxer.write(unit).expect("it is carried").to_bytes()).collect();
        let found = elementary(&data);
        let of = |kind| units.iter().filter(move |unit| unit.kind == kind);
        let pictures = found.get(&0x100).map_or(&[][..], Vec::as_slice);
        prop_assert_eq!(pictures.len(), of(Kind::Video).count());
        for (pes, unit) in pictures.iter().zip(of(Kind::Video)) {
            let (pts, dts, payload) = timed(pes);
            prop_assert_eq!((pts, dts), (unit.pts.0 + DELAY, unit.dts.0 + DELAY));
            prop_assert!(payload.ends_with(&[&[0, 0, 0, 1], &unit.data[4..]].concat()));
        }
        let sounds = found.get(&0x101).map_or(&[][..], Vec::as_slice);
        prop_assert_eq!(sounds.len(), of(Kind::Audio).count());
        for (pes, unit) in sounds.iter().zip(of(Kind::Audio)) {
            let (pts, _, payload) = timed(pes);
            let track = unit.tracks.audio.as_ref().expect("sound");
            let header = match track.codec {
                AudioCodec::Aac => adts::header(track, unit.data.len()).expect("a header").to_vec(),
                _ => vec![],
            };
            prop_assert_eq!(pts, unit.pts.0 + DELAY);
            prop_assert_eq!(payload, [&header[..], &unit.data].concat());
        }
    }

    #[test]
    fn fmp4_is_read_back_whole_and_its_times_have_no_gap(script in scripts()) {
        let units = script.units();
        let mut muxer = LiveFmp4::new(Fmp4Options::default());
        let mut ends = HashMap::new();
        for (number, unit) in units.iter().enumerate() {
            let data = muxer.write(unit).expect("it is carried").to_bytes();
            let moof = at(&data, *b"moof");
            prop_assert_eq!(word(at(moof, *b"mfhd"), 4), number as u32 + 1);
            let traf = at(moof, *b"traf");
            let track = word(at(traf, *b"tfhd"), 4);
            prop_assert_eq!(track, if unit.kind == Kind::Video { 1 } else { 2 });
            let tfdt = at(traf, *b"tfdt");
            let start = i64::from(word(tfdt, 4)) << 32 | i64::from(word(tfdt, 8));
            let run = at(traf, *b"trun");
            let (offset, duration, size) = (word(run, 8) as usize, word(run, 12), word(run, 16) as usize);
            prop_assert_eq!(&data[offset..], &unit.data[..]);
            prop_assert_eq!(size, unit.data.len());
            prop_assert!(duration > 0);
            prop_assert!(ends.get(&track).is_none_or(|end| *end == start), "a gap or an overlap");
            ends.insert(track, start + i64::from(duration));
            if unit.kind == Kind::Video {
                prop_assert_eq!(start + i64::from(word(run, 24).cast_signed()), unit.pts.0);
                prop_assert_eq!(word(run, 20) == 0x0200_0000, unit.key);
            } else {
                let rate = i64::from(unit.tracks.audio.as_ref().expect("sound").sample_rate);
                let shown = start + i64::from(word(run, 20).cast_signed());
                let due = (unit.dts.0 * rate + 45_000).div_euclid(90_000);
                prop_assert!((shown - due).abs() <= rate / 10, "within 100 ms");
            }
        }
    }
}
