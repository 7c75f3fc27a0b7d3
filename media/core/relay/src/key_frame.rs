//! The newest key frame of a stream, for whoever makes a picture of it.

use std::sync::mpsc::SyncSender;

use wire::{
    media::{AccessUnit, Kind, VideoCodec},
    nal,
};

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// A key frame that a decoder can begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFrame {
    /// The coding.
    pub codec: VideoCodec,
    /// Display width in pixels.
    pub width: u32,
    /// Display height in pixels.
    pub height: u32,
    /// When it came, in milliseconds of the UNIX epoch.
    pub wall_ms: u64,
    /// Its time on the stream's clock, in 90 kHz: another key frame of the receiver has another one.
    pub dts_90k: i64,
    /// Parameter sets and NAL units behind start codes.
    pub data: Vec<u8>,
}

/// What a hub answers: the unit as it was cached, and when it came.
pub(crate) type Reply = SyncSender<Option<(AccessUnit, u64)>>;

/// As a decoder wants it; `None` for what is no picture.
pub(crate) fn key_frame(unit: &AccessUnit, wall_ms: u64) -> Option<KeyFrame> {
    let track = unit.tracks.video.as_ref().filter(|_| unit.kind == Kind::Video)?;
    let mut data = Vec::with_capacity(unit.data.len() + 1024);
    let sets = [&track.vps, &track.sps, &track.pps].into_iter().flatten().map(|set| &set[..]);
    for nal in sets.chain(nal::length_prefixed(&unit.data)) {
        data.extend_from_slice(&START_CODE);
        data.extend_from_slice(nal);
    }
    let (codec, width, height) = (track.codec, track.width, track.height);
    Some(KeyFrame { codec, width, height, wall_ms, dts_90k: unit.dts.0, data })
}
