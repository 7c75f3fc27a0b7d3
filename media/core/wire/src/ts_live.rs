//! MPEG-TS without end: whole packets a unit, with the tables before each key frame and twice a second.

use bytes::BytesMut;

use crate::{
    chunk::Chunk,
    media::{AccessUnit, Kind, Ticks},
    ts::{Sound, TsMuxer},
};

/// Tables are written again after so long at the latest.
const TABLES: Ticks = Ticks::from_millis(500);

/// Writes one stream as transport packets for players that join at any key frame.
#[derive(Debug)]
pub struct LiveTs {
    muxer: TsMuxer,
    /// When tables were last written.
    tabled: Option<Ticks>,
}

impl LiveTs {
    /// A muxer for players that want this sound.
    pub fn new(sound: Sound) -> Self {
        Self { muxer: TsMuxer::with_sound(sound), tabled: None }
    }

    /// The packets of one unit, behind PAT and PMT where they are due; `None` if its track is not carried.
    pub fn write(&mut self, unit: &AccessUnit) -> Option<Chunk> {
        let mut out = BytesMut::with_capacity(unit.data.len() + unit.data.len() / 32 + 4 * 188);
        let is_picture = unit.kind == Kind::Video;
        let is_due = self.tabled.is_none_or(|tabled| unit.dts - tabled >= TABLES);
        // Sound beside video may not be carried, and tables do not come alone.
        if is_picture && unit.key || is_due && (is_picture || unit.tracks.video.is_none()) {
            self.muxer.write_tables(&unit.tracks, &mut out);
            self.tabled = Some(unit.dts);
        }
        self.muxer.write(unit, &mut out).then(|| Chunk::from_bytes(out.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        media::{AudioCodec, Tracks, VideoCodec},
        testing,
    };

    /// The PIDs of a chunk's packets.
    fn pids(chunk: &Chunk) -> Vec<u16> {
        let packets = chunk.head.chunks(188);
        packets.map(|packet| u16::from_be_bytes([packet[1] & 0x1F, packet[2]])).collect()
    }

    #[test]
    fn tables_stand_before_key_frames_and_twice_a_second() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let mut muxer = LiveTs::new(Sound::All);
        let tabled = (0..50).filter(|at| {
            let unit = testing::video(&tracks, at * 40, at * 40, at % 25 == 0);
            pids(&muxer.write(&unit).expect("video is carried")).starts_with(&[0, 0x1000])
        });
        assert_eq!(tabled.collect::<Vec<_>>(), [0, 13, 25, 38]);
    }

    #[test]
    fn a_new_programme_has_a_new_version() {
        let version = |chunk: &Chunk| chunk.head[188 + 10] >> 1 & 0x1F;
        let mut muxer = LiveTs::new(Sound::All);
        let codings = [VideoCodec::H264, VideoCodec::H264, VideoCodec::H265, VideoCodec::H265];
        let versions = codings.map(|coding| {
            let tracks = Arc::new(testing::tracks(coding, None));
            version(&muxer.write(&testing::video(&tracks, 0, 0, true)).expect("video is carried"))
        });
        assert_eq!(versions, [0, 0, 1, 1]);
    }

    #[test]
    fn sound_is_carried_for_those_who_want_it() {
        let carried = |sound, codec, alone: bool| {
            let tracks = testing::tracks(VideoCodec::H264, Some(codec));
            let video = tracks.video.clone().filter(|_| !alone);
            let tracks = Arc::new(Tracks { video, ..tracks });
            LiveTs::new(sound).write(&testing::audio(&tracks, 0, 160)).is_some()
        };
        assert!(carried(Sound::All, AudioCodec::G711A, false));
        assert!(!carried(Sound::Standard, AudioCodec::G711U, false));
        assert!(carried(Sound::Standard, AudioCodec::Aac, false));
        assert!(!carried(Sound::Silent, AudioCodec::Aac, false));
        assert!(carried(Sound::Silent, AudioCodec::G711A, true), "else there would be nothing");
        assert!(carried(Sound::Standard, AudioCodec::Opus, false));
        assert!(!carried(Sound::Silent, AudioCodec::Opus, false));
    }
}
