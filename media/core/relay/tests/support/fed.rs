//! A stream that a test feeds.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use relay::{
    PlayRights, Transport,
    feed::{Feeder, OpenFeed, Portion},
};
use wire::{
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    unpack::Output,
};

use super::Relay;

/// 352 by 288, 25 Hz (x264, x265).
const H264_SPS: &[u8] =
    b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x50\xa6\x58";
const H264_PPS: &[u8] = b"\x68\xef\x8f\xcb";
const H265_VPS: &[u8] =
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x95\x98\x09";
const H265_SPS: &[u8] =
    b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0b\x08\
    \x04\x85\x96\x56\x69\x24\xca\xf0\x16\x80\x80\x00\x00\x03\x00\x80\x00\x00\x0c\x84";
const H265_PPS: &[u8] = b"\x44\x01\xc1\x72\xb4\x62\x40";

/// A key frame each so many pictures.
pub const GOP: i64 = 10;

pub fn tracks(video: VideoCodec, audio: Option<AudioCodec>) -> Arc<Tracks> {
    let sets = |sets: &[&'static [u8]]| sets.iter().map(|set| Bytes::from_static(set)).collect::<Vec<_>>();
    let (vps, sps, pps) = match video {
        VideoCodec::H264 => (sets(&[]), sets(&[H264_SPS]), sets(&[H264_PPS])),
        VideoCodec::H265 => (sets(&[H265_VPS]), sets(&[H265_SPS]), sets(&[H265_PPS])),
    };
    let video = VideoTrack { codec: video, width: 352, height: 288, rate: None, vps, sps, pps };
    let audio = audio.map(|codec| AudioTrack {
        codec,
        sample_rate: if codec == AudioCodec::Aac { 16_000 } else { 8_000 },
        channels: 1,
        config: Bytes::from_static(if codec == AudioCodec::Aac { &[0x14, 0x08] } else { &[] }),
    });
    Arc::new(Tracks { video: Some(video), audio })
}

/// Bytes without a start code, others for each number.
pub fn filler(size: usize, number: i64) -> Vec<u8> {
    (0..size as u64).map(|at| (at * 31 + number.cast_unsigned() * 7) as u8 | 1).collect()
}

/// Picture `number` of 25 a second, `key_size` bytes or 3,000.
pub fn picture(tracks: &Arc<Tracks>, number: i64, key_size: usize) -> AccessUnit {
    let key = number % GOP == 0;
    let track = tracks.video.as_ref().unwrap();
    let header: &[u8] = match (track.codec, key) {
        (VideoCodec::H264, true) => &[0x65, 0x88],
        (VideoCodec::H264, false) => &[0x41, 0x9A],
        (VideoCodec::H265, true) => &[0x26, 0x01, 0xAF],
        (VideoCodec::H265, false) => &[0x02, 0x01, 0xD0],
    };
    let sets: Vec<&Bytes> = [&track.vps, &track.sps, &track.pps].into_iter().flatten().collect();
    let mut data = Vec::new();
    for nal in sets.iter().filter(|_| key) {
        data.extend((nal.len() as u32).to_be_bytes());
        data.extend_from_slice(nal);
    }
    let slice = [header, &filler(if key { key_size } else { 3000 }, number)].concat();
    data.extend((slice.len() as u32).to_be_bytes());
    data.extend(slice);
    let dts = Ticks::from_millis(number * 40);
    AccessUnit { kind: Kind::Video, dts, pts: dts, key, data: data.into(), tracks: Arc::clone(tracks) }
}

pub fn sound(tracks: &Arc<Tracks>, number: i64) -> AccessUnit {
    let dts = Ticks::from_millis(number * 40);
    let data = filler(320, number).into();
    AccessUnit { kind: Kind::Audio, dts, pts: dts, key: true, data, tracks: Arc::clone(tracks) }
}

/// A stream that the test feeds.
pub struct Fed {
    feeder: Feeder,
    pub tracks: Arc<Tracks>,
    pub sent: Vec<AccessUnit>,
    number: i64,
    pub key_size: usize,
}

impl Fed {
    pub fn open(relay: &Relay, name: &str, tracks: Arc<Tracks>) -> Self {
        let feeder = relay.core.open_feed(&OpenFeed {
            app: "test".to_owned(),
            name: name.to_owned(),
            transport: Transport::Rtmp,
            payload: "flv",
            rights: PlayRights { private: false, ..PlayRights::default() },
        });
        let mut fed = Self { feeder: feeder.unwrap(), tracks, sent: Vec::new(), number: 0, key_size: 30_000 };
        let news = Output::Tracks(Arc::clone(&fed.tracks));
        fed.give(relay, vec![news]);
        fed
    }

    pub fn id(&self) -> u64 {
        self.feeder.id()
    }

    pub fn give(&mut self, relay: &Relay, outputs: Vec<Output>) {
        let portion = Portion { outputs, messages: 1, bytes: 1, ..Portion::default() };
        relay.core.runtime().unwrap().block_on(self.feeder.send(portion)).unwrap();
    }

    /// So many pictures, each with its sound, in a tenth of their time.
    pub fn feed(&mut self, relay: &Relay, pictures: i64) {
        for _ in 0..pictures {
            let mut units = vec![picture(&self.tracks, self.number, self.key_size)];
            if self.tracks.audio.is_some() {
                units.push(sound(&self.tracks, self.number));
            }
            self.number += 1;
            self.sent.extend(units.iter().cloned());
            self.give(relay, units.into_iter().map(Output::Unit).collect());
            std::thread::sleep(Duration::from_millis(8));
        }
    }
}
