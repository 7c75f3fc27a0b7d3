//! Fragmented MP4 without end: an initialisation segment, then one `moof` and `mdat` for each unit as it comes.
//!
//! When a picture is written, nobody knows yet how long it lasts. It is said to last as long as those before; where
//! the next one comes earlier or later, its decoding time is where its predecessor was said to end, and its composition
//! offset makes up for the difference. So decoding times have neither gaps nor overlaps, which media sources would take
//! for a break of the stream (Media Source Extensions, "coded frame processing"), and every picture is shown in time.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    chunk::Chunk,
    fmp4::{self, Heading},
    media::{AccessUnit, AudioTrack, Kind, Ticks, Tracks},
    sample,
};

/// How long the first picture is said to last, unless its parameter sets know.
const USUAL: Ticks = Ticks::from_millis(40);
/// No picture is said to last longer than it should for what came before.
const LONGEST: Ticks = Ticks::from_millis(1000);
/// Sound that is off by more is moved; less is the jitter of its sender, which players would hear.
const OFF_MAX: Ticks = Ticks::from_millis(100);

/// What a viewer asked for; viewers with equal options share a muxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fmp4Options {
    /// H.265 as `hev1`, with the parameter sets in the stream, instead of `hvc1`.
    pub hev1: bool,
    /// Whether sound beside video is carried.
    pub audio: bool,
}

impl Default for Fmp4Options {
    fn default() -> Self {
        Self { hev1: false, audio: true }
    }
}

/// Writes one stream as fragments.
#[derive(Debug)]
pub struct LiveFmp4 {
    options: Fmp4Options,
    announced: Option<Arc<Tracks>>,
    sequence: u32,
    video: Line,
    audio: Line,
    /// The last two distances of pictures: the shorter one counts, for the other may be a gap.
    intervals: [Option<Ticks>; 2],
    last_picture: Option<Ticks>,
}

/// Where a track's next sample is decoded, on the track's timescale: its predecessor's end.
#[derive(Debug, Default)]
struct Line(Option<i64>);

impl Line {
    /// Places a sample that is due at `due` and whose successor is expected at `next`: its decoding time and duration.
    fn place(&mut self, due: i64, next: i64) -> (i64, u32) {
        let start = self.0.unwrap_or(due).max(0);
        let duration = u32::try_from((next - start).max(1)).unwrap_or(u32::MAX);
        self.0 = Some(start + i64::from(duration));
        (start, duration)
    }
}

impl LiveFmp4 {
    /// A muxer for viewers with these options.
    pub fn new(options: Fmp4Options) -> Self {
        Self {
            options,
            announced: None,
            sequence: 0,
            video: Line::default(),
            audio: Line::default(),
            intervals: [None; 2],
            last_picture: None,
        }
    }

    /// What a viewer gets first that begins with a unit of these tracks: the initialisation segment.
    pub fn head(&self, tracks: &Tracks) -> Bytes {
        let audio = tracks.audio.clone().filter(|_| self.options.audio || tracks.video.is_none());
        let mut out = BytesMut::with_capacity(1024);
        let heading = Heading { hev1: self.options.hev1, ..Heading::default() };
        fmp4::put_init(&mut out, &Tracks { video: tracks.video.clone(), audio }, heading);
        out.freeze()
    }

    /// The fragment of one unit, behind a new initialisation segment where one can begin and its tracks are not those
    /// of the last one. `None` if its track is not carried, or not announced yet.
    pub fn write(&mut self, unit: &AccessUnit) -> Option<Chunk> {
        let mut out = BytesMut::with_capacity(160);
        if !self.announce(unit, &mut out) {
            return None;
        }
        let (moof, data_at, body) = match unit.kind {
            Kind::Video => self.picture(unit)?,
            Kind::Audio => self.sound(unit)?,
        };
        let start = out.len();
        out.put_slice(&moof);
        let payload_at = (moof.len() + 8) as u32;
        out[start + data_at..start + data_at + 4].copy_from_slice(&payload_at.to_be_bytes());
        out.put_u32((body.len() + 8) as u32);
        out.put_slice(b"mdat");
        Some(Chunk { head: out.freeze(), body, tail: None })
    }

    /// Whether a decoder knows the unit's track, told of it now if need be: new tracks are announced where decoding can
    /// begin, for a decoder forgets what it had.
    fn announce(&mut self, unit: &AccessUnit, out: &mut BytesMut) -> bool {
        let begins = unit.key && (unit.kind == Kind::Video || unit.tracks.video.is_none());
        match &self.announced {
            Some(known) if Arc::ptr_eq(known, &unit.tracks) => return true,
            Some(known) if **known == *unit.tracks => {}
            Some(_) if begins => out.put_slice(&self.head(&unit.tracks)),
            Some(known) => {
                return unit.kind == Kind::Video && known.video == unit.tracks.video
                    || unit.kind == Kind::Audio && known.audio == unit.tracks.audio;
            }
            None if begins => {}
            None => return false,
        }
        self.announced = Some(Arc::clone(&unit.tracks));
        true
    }

    fn picture(&mut self, unit: &AccessUnit) -> Option<(BytesMut, usize, Bytes)> {
        let track = unit.tracks.video.as_ref()?;
        let body =
            if self.options.hev1 { unit.data.clone() } else { sample::without_announced_sets(unit, track) };
        let stated = track.rate.filter(|(frames, seconds)| *frames > 0 && *seconds > 0);
        let stated =
            stated.map(|(frames, seconds)| Ticks(Ticks::PER_SECOND * i64::from(seconds) / i64::from(frames)));
        if let Some(last) = self.last_picture.replace(unit.dts) {
            self.intervals = [Some(unit.dts - last), self.intervals[0].or(stated)];
        }
        let interval = self.intervals.into_iter().flatten().min().or(stated).unwrap_or(USUAL);
        let interval = interval.clamp(Ticks(1), LONGEST);
        let (start, duration) = self.video.place(unit.dts.0, (unit.dts + interval).0);
        let offset = unit.pts.0 - start;
        let flags = if unit.key { fmp4::SYNC_SAMPLE } else { fmp4::OTHER_SAMPLE };
        let words = [duration, body.len() as u32, flags, signed(offset)];
        let (moof, at) = self.fragment(fmp4::VIDEO_ID, start, 0xF01, &words);
        Some((moof, at, body))
    }

    fn sound(&mut self, unit: &AccessUnit) -> Option<(BytesMut, usize, Bytes)> {
        let is_wanted = self.options.audio || unit.tracks.video.is_none();
        let track: &AudioTrack = unit.tracks.audio.as_ref().filter(|_| is_wanted)?;
        fmp4::audio_name(track)?;
        let due = fmp4::rescale(unit.dts, track.sample_rate);
        let (start, duration) = self.audio.place(due, due + fmp4::samples_in(track, &unit.data));
        let off = due - start;
        let is_off = off.abs() > fmp4::rescale(OFF_MAX, track.sample_rate);
        let words = [duration, unit.data.len() as u32, signed(if is_off { off } else { 0 })];
        let (moof, at) = self.fragment(fmp4::AUDIO_ID, start, 0xB01, &words);
        Some((moof, at, unit.data.clone()))
    }

    /// A `moof` of one sample, and where its data offset stands.
    fn fragment(&mut self, id: u32, start: i64, flags: u32, words: &[u32]) -> (BytesMut, usize) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut out = BytesMut::with_capacity(160);
        let default_flags = if id == fmp4::VIDEO_ID { fmp4::OTHER_SAMPLE } else { fmp4::SYNC_SAMPLE };
        let at = fmp4::put_box(&mut out, *b"moof", |out| {
            fmp4::put_full_box(out, *b"mfhd", 0, 0, |out| out.put_u32(self.sequence));
            fmp4::put_fragment_of_track(out, id, default_flags, start, |out| {
                fmp4::put_run(out, flags, 1, |out| fmp4::put_words(out, words))
            })
        });
        (out, at)
    }
}

/// A composition offset as `trun` version 1 has it.
fn signed(offset: i64) -> u32 {
    i32::try_from(offset).unwrap_or(if offset > 0 { i32::MAX } else { i32::MIN }).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::{AudioCodec, VideoCodec},
        testing,
    };

    fn word(data: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(data[at..at + 4].try_into().expect("four bytes"))
    }

    /// Start, duration and offset of a chunk's one sample, its boxes checked.
    fn sample(chunk: &Chunk) -> (u64, u32, i32) {
        let data = chunk.to_bytes();
        let moof = data.windows(4).position(|name| name == b"moof").expect("a moof") - 4;
        let data = &data[moof..];
        let size = word(data, 0) as usize;
        assert_eq!(&data[size + 4..size + 8], b"mdat");
        assert_eq!(word(data, size) as usize, chunk.body.len() + 8);
        let find = |name: &[u8]| data[..size].windows(4).position(|found| found == name).expect("a box") + 4;
        let (tfdt, trun) = (find(b"tfdt"), find(b"trun"));
        let start = u64::from(word(data, tfdt + 4)) << 32 | u64::from(word(data, tfdt + 8));
        let flags = word(data, trun) & 0xFFF;
        assert_eq!(word(data, trun + 8) as usize, size + 8, "data offset");
        assert_eq!(word(data, trun + 16) as usize, chunk.body.len());
        let offset_at = trun + if flags == 0xF01 { 24 } else { 20 };
        (start, word(data, trun + 12), word(data, offset_at).cast_signed())
    }

    #[test]
    fn decoding_times_have_no_gap_and_pictures_are_shown_in_time() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let mut muxer = LiveFmp4::new(Fmp4Options::default());
        let times = [1000, 1040, 1075, 1130, 1160, 4000, 4040, 4080, 4120];
        let mut end = None;
        for (at, dts) in times.into_iter().enumerate() {
            let unit = testing::video(&tracks, dts, dts + 80, at == 0);
            let (start, duration, offset) = sample(&muxer.write(&unit).expect("video is carried"));
            assert!(duration > 0 && end.is_none_or(|end| end == start), "at {dts}");
            assert_eq!(start.cast_signed() + i64::from(offset), unit.pts.0, "at {dts}");
            end = Some(start + u64::from(duration));
        }
        assert_eq!(end, Some((4120 + 40) * 90));
    }

    #[test]
    fn sound_runs_on_through_jitter_and_is_moved_after_a_gap() {
        let tracks = Tracks { video: None, ..testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)) };
        let tracks = Arc::new(tracks);
        let mut muxer = LiveFmp4::new(Fmp4Options { audio: false, ..Fmp4Options::default() });
        let mut put = |dts| sample(&muxer.write(&testing::audio(&tracks, dts, 320)).expect("sound alone"));
        assert_eq!(put(0), (0, 320, 0));
        assert_eq!(put(45), (320, 360, 0), "5 ms late");
        assert_eq!(put(80), (680, 280, 0), "in time again");
        assert_eq!(put(1120), (960, 8320, 8000), "a second later");
        assert_eq!(put(1160), (9280, 320, 0));
    }

    #[test]
    fn new_tracks_are_announced_where_decoding_can_begin() {
        let silent = Arc::new(testing::tracks(VideoCodec::H265, None));
        let loud = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::Aac)));
        let mut muxer = LiveFmp4::new(Fmp4Options::default());
        assert!(muxer.write(&testing::audio(&loud, 0, 100)).is_none(), "nobody can begin here");
        let first = muxer.write(&testing::video(&silent, 0, 0, true)).expect("a picture");
        assert_eq!(first.head[4..8], *b"moof", "the head announced it");
        assert!(muxer.write(&testing::audio(&loud, 20, 100)).is_none(), "it waits for the key frame");
        let next = muxer.write(&testing::video(&loud, 40, 40, false)).expect("a picture");
        assert_eq!(next.head[4..8], *b"moof");
        let key = muxer.write(&testing::video(&loud, 80, 80, true)).expect("a picture");
        assert!(key.head.starts_with(&muxer.head(&loud)));
        assert!(muxer.write(&testing::audio(&loud, 90, 100)).is_some());
    }

    #[test]
    fn hev1_keeps_the_parameter_sets_in_the_stream() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::G711U)));
        let unit = testing::video(&tracks, 0, 0, true);
        for (hev1, name) in [(false, b"hvc1"), (true, b"hev1")] {
            let mut muxer = LiveFmp4::new(Fmp4Options { hev1, audio: false });
            let head = muxer.head(&tracks);
            assert!(head.windows(4).any(|found| found == name));
            assert!(!head.windows(4).any(|found| found == b"ulaw"));
            let chunk = muxer.write(&unit).expect("a picture");
            assert_eq!(chunk.body == unit.data, hev1);
            assert!(muxer.write(&testing::audio(&tracks, 0, 160)).is_none());
        }
    }
}
