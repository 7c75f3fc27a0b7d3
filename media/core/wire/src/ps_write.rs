//! Writes program streams as GB/T 28181-2016 annex C wants them (ISO/IEC 13818-1 §2.5), for platforms and devices that
//! we send to. `ps` reads them.
//!
//! ```text
//! key frame:    pack header | system header | PSM | PES video …
//! other frames: pack header | PES video …
//! sound:        pack header | PES audio …      (alone: with system header and PSM once a second)
//! ```

use bytes::BufMut;

use crate::{
    adts,
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    nal,
    ps::map::crc32,
};

const VIDEO_ID: u8 = 0xE0;
const AUDIO_ID: u8 = 0xC0;

/// Bytes that follow the length field of a PES packet at most.
const PES_MAX: usize = 0xFFFF;

/// How far PTS and DTS run behind the SCR, so that sound which comes late is still in time (§2.7.4: at most a second).
const DELAY: Ticks = Ticks::from_millis(700);

/// What the stream may need at most, in units of 50 bytes a second: 50 Mbit/s.
const MUX_RATE: u64 = 125_000;

/// A receiver of sound alone is told what it hears so often.
const MAPS: Ticks = Ticks::from_millis(1000);

/// Which of a stream's tracks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The pictures.
    pub video: bool,
    /// The sound.
    pub audio: bool,
}

/// Writes one stream.
#[derive(Debug)]
pub struct PsMuxer {
    selection: Selection,
    /// The streams of the last map: type and id.
    mapped: Vec<(u8, u8)>,
    version: u8,
    /// When the last map was written.
    mapped_at: Option<Ticks>,
    clock: Ticks,
}

impl PsMuxer {
    /// One that has written nothing.
    pub fn new(selection: Selection) -> Self {
        Self { selection, mapped: Vec::new(), version: 0, mapped_at: None, clock: Ticks(0) }
    }

    /// The PTS that the stream states for `time`, whose lower 32 bits are the RTP timestamp.
    pub fn stated(time: Ticks) -> Ticks {
        time + DELAY
    }

    /// Hands the pack of one unit to `put`, piece by piece; false if its track is not carried. A key frame gets the
    /// parameter sets that the device left out.
    pub fn write(&mut self, unit: &AccessUnit, mut put: impl FnMut(&[u8])) -> bool {
        match unit.kind {
            Kind::Video => {
                let Some(track) = video(&unit.tracks, self.selection) else { return false };
                let sets = announced(unit, track);
                let nals = sets.chain(nal::length_prefixed(&unit.data));
                let size = nals.clone().map(|nal| 4 + nal.len()).sum();
                if size == 0 {
                    return false;
                }
                self.put_headers(unit, unit.key, &mut put);
                let mut pes = Pes::new(unit, VIDEO_ID, size, put);
                for nal in nals {
                    pes.put(&[0, 0, 0, 1]);
                    pes.put(nal);
                }
            }
            Kind::Audio => {
                let Some(track) = audio(&unit.tracks, self.selection) else { return false };
                let Some(header) = sound_header(track, unit.data.len()) else { return false };
                let alone = video(&unit.tracks, self.selection).is_none();
                let due = self.mapped_at.is_none_or(|at| unit.dts - at >= MAPS);
                self.put_headers(unit, alone && due, &mut put);
                let mut pes = Pes::new(unit, AUDIO_ID, header.len() + unit.data.len(), put);
                pes.put(&header);
                pes.put(&unit.data);
            }
        }
        true
    }

    /// The pack header, and what announces the streams where it is due: also when they changed.
    fn put_headers(&mut self, unit: &AccessUnit, announce: bool, put: &mut impl FnMut(&[u8])) {
        // Sound and pictures come in whatever order; the clock does not run backwards (§2.5.2.2).
        self.clock = self.clock.max(unit.dts);
        let mut out = Vec::with_capacity(80);
        put_pack_header(&mut out, self.clock);
        let streams = streams(&unit.tracks, self.selection);
        if announce || streams != self.mapped {
            if streams != self.mapped {
                self.version = (self.version + 1) & 0x1F;
                self.mapped = streams;
            }
            self.mapped_at = Some(unit.dts);
            put_system_header(&mut out, &self.mapped);
            put_map(&mut out, self.version, &self.mapped);
        }
        put(&out);
    }
}

/// The pictures, if they are carried.
fn video(tracks: &Tracks, selection: Selection) -> Option<&VideoTrack> {
    tracks.video.as_ref().filter(|_| selection.video)
}

/// The sound, if it is carried.
fn audio(tracks: &Tracks, selection: Selection) -> Option<&AudioTrack> {
    tracks.audio.as_ref().filter(|track| selection.audio && sound_type(track.codec).is_some())
}

/// Stream type (GB/T 28181-2016 annex C, 2022 annex C) and id of each stream that is carried.
fn streams(tracks: &Tracks, selection: Selection) -> Vec<(u8, u8)> {
    let video = video(tracks, selection).map(|track| match track.codec {
        VideoCodec::H264 => (0x1B, VIDEO_ID),
        VideoCodec::H265 => (0x24, VIDEO_ID),
    });
    let audio = audio(tracks, selection).and_then(|track| Some((sound_type(track.codec)?, AUDIO_ID)));
    video.into_iter().chain(audio).collect()
}

fn sound_type(codec: AudioCodec) -> Option<u8> {
    match codec {
        AudioCodec::Aac => Some(0x0F),
        AudioCodec::G711A => Some(0x90),
        AudioCodec::G711U => Some(0x91),
        AudioCodec::Opus => None,
    }
}

/// What stands before a run of sound; `None` if it cannot be said.
fn sound_header(track: &AudioTrack, size: usize) -> Option<Vec<u8>> {
    match track.codec {
        _ if size == 0 => None,
        AudioCodec::Aac => adts::header(track, size).map(|header| header.to_vec()),
        _ => Some(Vec::new()),
    }
}

/// The sets that a key frame lacks.
fn announced<'a>(unit: &'a AccessUnit, track: &'a VideoTrack) -> impl Iterator<Item = &'a [u8]> + Clone {
    let is_set = |nal: &[u8]| matches!(nal::kind(track.codec, nal), nal::NalKind::Set(_));
    let missing = unit.key && !nal::length_prefixed(&unit.data).any(is_set);
    let sets = [&track.vps, &track.sps, &track.pps].into_iter().flatten().map(AsRef::as_ref);
    sets.filter(move |_| missing)
}

/// One unit's PES packets: as many as their 16 bits of length demand, the first of them with the times.
struct Pes<F> {
    put: F,
    stream_id: u8,
    times: Option<(Ticks, Ticks)>,
    /// Bytes to come.
    left: usize,
    /// Of these, bytes of the packet that is open.
    room: usize,
}

impl<F: FnMut(&[u8])> Pes<F> {
    fn new(unit: &AccessUnit, stream_id: u8, size: usize, put: F) -> Self {
        let times = Some((PsMuxer::stated(unit.pts), PsMuxer::stated(unit.dts)));
        Self { put, stream_id, times, left: size, room: 0 }
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.room == 0 {
                self.open();
            }
            let (now, rest) = bytes.split_at(self.room.min(bytes.len()));
            (self.put)(now);
            self.room -= now.len();
            self.left -= now.len();
            bytes = rest;
        }
    }

    /// A header (§2.4.3.6); the flag of alignment says that a picture or run of sound begins here.
    fn open(&mut self) {
        let mut times = Vec::with_capacity(10);
        let (aligned, flags) = match self.times.take() {
            Some((pts, dts)) if pts == dts => {
                put_time(&mut times, 2, pts);
                (0x04, 0x80)
            }
            Some((pts, dts)) => {
                put_time(&mut times, 3, pts);
                put_time(&mut times, 1, dts);
                (0x04, 0xC0)
            }
            None => (0, 0),
        };
        self.room = self.left.min(PES_MAX - 3 - times.len());
        let mut head = Vec::with_capacity(9 + times.len());
        head.put_slice(&[0, 0, 1, self.stream_id]);
        head.put_u16((3 + times.len() + self.room) as u16);
        head.put_slice(&[0x88 | aligned, flags, times.len() as u8]);
        head.put_slice(&times);
        (self.put)(&head);
    }
}

/// §2.5.3.3, without stuffing.
fn put_pack_header(out: &mut Vec<u8>, clock: Ticks) {
    let base = clock.0.cast_unsigned() & 0x1_FFFF_FFFF;
    let bits = 1 << 46
        | (base >> 30) << 43
        | 1 << 42
        | (base >> 15 & 0x7FFF) << 27
        | 1 << 26
        | (base & 0x7FFF) << 11
        | 1 << 10
        | 1_u64;
    out.put_slice(&[0, 0, 1, 0xBA]);
    out.put_slice(&bits.to_be_bytes()[2..]);
    out.put_slice(&(MUX_RATE << 2 | 3).to_be_bytes()[5..]);
    out.put_u8(0xF8);
}

/// §2.5.3.5: how much a decoder must hold of each stream.
fn put_system_header(out: &mut Vec<u8>, streams: &[(u8, u8)]) {
    let count = |id: u8| streams.iter().filter(|stream| stream.1 == id).count() as u8;
    out.put_slice(&[0, 0, 1, 0xBB]);
    out.put_u16(6 + 3 * streams.len() as u16);
    out.put_slice(&(1 << 23 | MUX_RATE << 1 | 1).to_be_bytes()[5..]);
    out.put_u8(count(AUDIO_ID) << 2);
    out.put_u8(0xE0 | count(VIDEO_ID));
    out.put_u8(0x7F);
    for &(_, id) in streams {
        out.put_u8(id);
        // 4 MiB of pictures in units of 1,024 bytes, 64 KiB of sound in units of 128.
        out.put_u16(if id == VIDEO_ID { 0xE000 | 4096 } else { 0xC000 | 512 });
    }
}

/// §2.5.4.
fn put_map(out: &mut Vec<u8>, version: u8, streams: &[(u8, u8)]) {
    let start = out.len();
    let size = 4 * streams.len() as u16;
    out.put_slice(&[0, 0, 1, 0xBC]);
    out.put_u16(10 + size);
    out.put_slice(&[0xE0 | version, 0xFF, 0, 0]); // in force now; no descriptors
    out.put_u16(size);
    for &(stream_type, id) in streams {
        out.put_slice(&[stream_type, id, 0, 0]);
    }
    out.put_u32(crc32(&out[start..]));
}

/// 33 bits in five bytes, between marker bits.
fn put_time(out: &mut Vec<u8>, prefix: u8, time: Ticks) {
    let time = time.0.cast_unsigned();
    out.put_u8(prefix << 4 | (time >> 29) as u8 & 0x0E | 1);
    out.put_u16((time >> 14) as u16 | 1);
    out.put_u16((time << 1) as u16 | 1);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing;

    const BOTH: Selection = Selection { video: true, audio: true };

    fn written(muxer: &mut PsMuxer, unit: &AccessUnit) -> Vec<u8> {
        let mut out = Vec::new();
        muxer.write(unit, |bytes| out.extend(bytes));
        out
    }

    #[test]
    fn a_key_frame_is_announced_as_the_standard_shows() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let out = written(&mut PsMuxer::new(BOTH), &testing::video(&tracks, 89_960, 89_960, true));
        assert_eq!(out[..10], [0, 0, 1, 0xBA, 0x44, 0x07, 0xBC, 0x54, 0x84, 0x01]);
        assert_eq!(out[13], 0xF8);
        let header = b"\0\0\x01\xBB\0\x0C\x83\xD0\x91\x04\xE1\x7F\xE0\xF0\0\xC0\xC2\0";
        assert_eq!(&out[14..32], header);
        let map = b"\0\0\x01\xBC\0\x12\xE1\xFF\0\0\0\x08\x1B\xE0\0\0\x90\xC0\0\0\xB9\x28\x7F\x16";
        assert_eq!(&out[32..56], map, "its checksum is that of the standard's example");
        assert_eq!(out[56..60], [0, 0, 1, 0xE0]);
        assert_eq!(usize::from(u16::from_be_bytes([out[60], out[61]])), out.len() - 62);
        assert_eq!(out[62..65], [0x8C, 0x80, 5]);
        assert_eq!(out[70..74], [0, 0, 0, 1]);
    }

    #[test]
    fn other_pictures_and_sound_have_a_pack_header_alone() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::Aac)));
        let mut muxer = PsMuxer::new(BOTH);
        written(&mut muxer, &testing::video(&tracks, 0, 0, true));
        let picture = written(&mut muxer, &testing::video(&tracks, 40, 120, false));
        assert_eq!(picture[14..18], [0, 0, 1, 0xE0]);
        assert_eq!(picture[21..23], [0xC0, 10], "a picture out of order has both times");
        let sound = written(&mut muxer, &testing::audio(&tracks, 20, 100));
        assert_eq!(sound[14..18], [0, 0, 1, 0xC0]);
        assert_eq!(sound[28..30], [0xFF, 0xF1]);
        assert!(sound[4..10] == picture[4..10], "the clock does not run backwards");
    }

    #[test]
    fn a_map_tells_what_is_carried_and_has_a_new_version_when_that_changes() {
        let silent = Arc::new(testing::tracks(VideoCodec::H264, None));
        let loud = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711U)));
        let mut muxer = PsMuxer::new(BOTH);
        let map = |out: &[u8]| {
            let at = out.windows(4).position(|window| window == [0, 0, 1, 0xBC])?;
            Some((out[at + 6], out[at + 12..out.len().min(at + 20)].to_vec()))
        };
        let first = map(&written(&mut muxer, &testing::video(&silent, 0, 0, true))).unwrap();
        assert_eq!((first.0, &first.1[..2]), (0xE1, &[0x1B, 0xE0][..]));
        assert!(map(&written(&mut muxer, &testing::video(&silent, 40, 40, false))).is_none());
        let second = map(&written(&mut muxer, &testing::video(&loud, 80, 80, false))).unwrap();
        assert_eq!((second.0, second.1), (0xE2, vec![0x1B, 0xE0, 0, 0, 0x91, 0xC0, 0, 0]));
        let mut mute = PsMuxer::new(Selection { video: true, audio: false });
        assert!(!mute.write(&testing::audio(&loud, 0, 160), |_| ()));
        assert_eq!(
            map(&written(&mut mute, &testing::video(&loud, 0, 0, true))).unwrap().1[..2],
            [0x1B, 0xE0]
        );
    }

    #[test]
    fn sound_alone_is_announced_each_second() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut muxer = PsMuxer::new(Selection { video: false, audio: true });
        assert!(!muxer.write(&testing::video(&tracks, 0, 0, true), |_| ()));
        let sizes: Vec<_> =
            (0..60).map(|n| written(&mut muxer, &testing::audio(&tracks, n * 40, 320)).len()).collect();
        let announced: Vec<_> = (0..60).filter(|&n| sizes[n] > sizes[1]).collect();
        assert_eq!(announced, [0, 25, 50]);
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Opus));
        let mut muxer = PsMuxer::new(BOTH);
        assert!(!muxer.write(&testing::audio(&Arc::new(tracks.clone()), 0, 100), |_| ()));
        tracks.audio = testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)).audio;
        let tracks = Arc::new(tracks);
        assert!(!muxer.write(&testing::audio(&tracks, 0, 9000), |_| ()), "ADTS has 13 bits of length");
        assert!(!muxer.write(&testing::audio(&tracks, 0, 0), |_| ()));
    }
}
