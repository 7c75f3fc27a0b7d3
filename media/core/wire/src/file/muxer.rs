//! Writes the units of one file. No file, no clock: chunks come out, and whoever has a disk writes them in order.

use std::sync::Arc;

use super::{Entry, Form, Index, Summary, flv, fmp4};
use crate::{
    chunk::Chunk,
    flv::{FlvMuxer, FlvOptions},
    fmp4::Fragment,
    media::{AccessUnit, Kind, Ticks, Tracks},
};

/// A fragment of fMP4 is written at this size, whenever the next flush is.
const FRAGMENT_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
enum Body {
    Flv(FlvMuxer),
    Fmp4 { fragment: Fragment, sequence: u32 },
}

/// One file from its head on. The first unit given to it should be one that can be played from.
#[derive(Debug)]
pub struct FileMuxer {
    tracks: Arc<Tracks>,
    /// The stream's time that is the file's zero.
    base: Ticks,
    head: Vec<u8>,
    /// Bytes handed out, the head included.
    size: u64,
    index: Index,
    body: Body,
    /// The newest picture's time, and how long the one before it lasted.
    picture: Option<(Ticks, Ticks)>,
    /// A key frame begins the open fragment.
    opening: Option<Ticks>,
    end: Ticks,
}

impl FileMuxer {
    /// A file that announces `tracks`, whose times count from `base`, with room for so many key frames in its index, in
    /// the form that most players read.
    pub fn new(tracks: &Arc<Tracks>, base: Ticks, index: usize) -> Self {
        Self::in_form(Form::of(tracks), tracks, base, index)
    }

    /// As `new`, in the given form.
    pub fn in_form(form: Form, tracks: &Arc<Tracks>, base: Ticks, index: usize) -> Self {
        // Where there is no video, any place will do to begin to play.
        let index = if tracks.video.is_some() { index.min(Index::CAPACITY_MAX) } else { 0 };
        let (head, body) = match form {
            Form::Flv => (flv::head(tracks, index), Body::Flv(FlvMuxer::new(FlvOptions::default()))),
            Form::Fmp4 => (fmp4::head(tracks, index), Body::Fmp4 { fragment: Fragment::new(), sequence: 1 }),
        };
        Self {
            tracks: Arc::clone(tracks),
            base,
            size: head.len() as u64,
            head,
            index: Index::new(index),
            body,
            picture: None,
            opening: None,
            end: Ticks(0),
        }
    }

    /// The form of the file.
    pub fn form(&self) -> Form {
        match self.body {
            Body::Flv(_) => Form::Flv,
            Body::Fmp4 { .. } => Form::Fmp4,
        }
    }

    /// The first bytes, as they are written at the beginning.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The tracks that the head announces.
    pub fn tracks(&self) -> &Arc<Tracks> {
        &self.tracks
    }

    /// Whether the file can carry the unit, given what its head announces. FLV announces other sound in its course.
    pub fn carries(&self, unit: &AccessUnit) -> bool {
        let codec = |tracks: &Tracks| tracks.video.as_ref().map(|track| track.codec);
        match (unit.kind, &self.body) {
            (Kind::Video, _) => codec(&unit.tracks) == codec(&self.tracks),
            (Kind::Audio, Body::Flv(_)) => true,
            (Kind::Audio, Body::Fmp4 { .. }) => unit.tracks.audio == self.tracks.audio,
        }
    }

    /// Takes a unit, and puts what can be written into `out`. False if its coding has no place in this form.
    pub fn write(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>) -> bool {
        let dts = Ticks((unit.dts - self.base).0.max(0));
        let pts = (unit.pts - self.base).max(dts);
        let key = unit.key && unit.kind == Kind::Video;
        let mut unit = AccessUnit { dts, pts, ..unit.clone() };
        match &mut self.body {
            Body::Flv(muxer) => {
                let Some(chunk) = muxer.write(&unit) else { return false };
                if key {
                    self.index.push(dts, self.size);
                }
                self.size += chunk.len() as u64;
                out.push(chunk);
            }
            Body::Fmp4 { fragment, .. } => {
                // A parameter set that the head does not announce stays in the picture.
                unit.tracks = Arc::clone(&self.tracks);
                let full = fragment.size() + unit.data.len() > FRAGMENT_MAX;
                if !fragment.is_empty() && (key || full) {
                    self.end_fragment(Some(dts).filter(|_| unit.kind == Kind::Video), out);
                }
                let Body::Fmp4 { fragment, .. } = &mut self.body else { return false };
                let first = fragment.is_empty();
                if !fragment.push(&unit) {
                    return false;
                }
                if key && first {
                    self.opening = Some(dts);
                }
            }
        }
        if unit.kind == Kind::Video {
            let lasted = self.picture.map(|(before, _)| dts - before);
            self.picture = Some((dts, lasted.unwrap_or_default()));
        }
        self.end = self.end.max(dts);
        true
    }

    /// Puts all that is held back into `out`: after that the file is whole up to the last unit.
    pub fn flush(&mut self, out: &mut Vec<Chunk>) {
        self.end_fragment(None, out);
    }

    /// Ends the file: as `flush`, but the last picture lasts until `end`, a time of the stream, if that is known.
    pub fn finish(&mut self, end: Option<Ticks>, out: &mut Vec<Chunk>) {
        let end = end.map(|end| end - self.base);
        self.end_fragment(end, out);
        self.end = end.map_or_else(|| self.guess_end(), |end| end.max(self.end));
    }

    /// From the file's first time to its end.
    pub fn duration(&self) -> Ticks {
        self.end
    }

    /// The head as it is to be once the file has its last byte, `size` in all, and ends at `duration`.
    pub fn finished_head(&self, size: u64, duration: Ticks) -> Vec<u8> {
        let entries: &[Entry] = self.index.entries_below(size);
        let mut head = self.head.clone();
        Summary { duration, size, entries }.write_into(self.form(), &mut head);
        head
    }

    /// When the last picture ends, if it lasts as long as the one before.
    fn guess_end(&self) -> Ticks {
        let picture = self.picture.map_or(Ticks(0), |(at, lasted)| at + lasted);
        picture.max(self.end)
    }

    fn end_fragment(&mut self, end: Option<Ticks>, out: &mut Vec<Chunk>) {
        let end = end.unwrap_or_else(|| self.guess_end());
        let Body::Fmp4 { fragment, sequence } = &mut self.body else { return };
        if fragment.is_empty() {
            return;
        }
        let bytes = std::mem::take(fragment).write(&self.tracks, *sequence, end);
        *sequence += 1;
        if let Some(at) = self.opening.take() {
            self.index.push(at, self.size);
        }
        self.size += bytes.len() as u64;
        out.push(Chunk::from_bytes(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::{AudioCodec, VideoCodec},
        testing,
    };

    fn written(muxer: &FileMuxer, chunks: &[Chunk]) -> Vec<u8> {
        let body: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.to_bytes().to_vec()).collect();
        [muxer.finished_head((muxer.head().len() + body.len()) as u64, muxer.duration()), body].concat()
    }

    #[test]
    fn times_begin_at_zero_and_sound_keeps_its_distance() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut muxer = FileMuxer::new(&tracks, Ticks::from_millis(10_000), 16);
        let mut out = Vec::new();
        for unit in [
            testing::video(&tracks, 10_020, 10_100, true),
            testing::audio(&tracks, 10_000, 160),
            testing::video(&tracks, 10_060, 10_060, false),
            testing::audio(&tracks, 9_999, 160),
        ] {
            assert!(muxer.write(&unit, &mut out));
        }
        muxer.finish(Some(Ticks::from_millis(10_100)), &mut out);
        let file = written(&muxer, &out);
        let tags = testing::flv_tags(&file[13..]);
        let times: Vec<_> = tags.iter().skip(2).map(|tag| (tag.kind, tag.millis)).collect();
        assert_eq!(times, [(9, 20), (8, 0), (9, 60), (8, 0)]);
        assert_eq!(tags[2].data[2..5], [0, 0, 80], "the composition time is what it was");
        assert_eq!(muxer.duration(), Ticks::from_millis(100));
    }

    #[test]
    fn without_a_successor_the_last_picture_lasts_as_long_as_the_one_before() {
        for codec in [VideoCodec::H264, VideoCodec::H265] {
            let tracks = Arc::new(testing::tracks(codec, None));
            let mut muxer = FileMuxer::new(&tracks, Ticks(0), 16);
            let mut out = Vec::new();
            for at in [0, 40, 80, 120, 160] {
                assert!(muxer.write(&testing::video(&tracks, at, at, at == 0), &mut out));
            }
            muxer.finish(None, &mut out);
            assert_eq!(muxer.duration(), Ticks::from_millis(200));
        }
    }

    #[test]
    fn a_fragment_ends_before_a_key_frame_and_where_it_is_flushed() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::Aac)));
        let mut muxer = FileMuxer::new(&tracks, Ticks(0), 16);
        let mut out = Vec::new();
        let mut put = |muxer: &mut FileMuxer, at, key| {
            muxer.write(&testing::video(&tracks, at, at, key), &mut out);
            out.len()
        };
        assert_eq!(put(&mut muxer, 0, true), 0);
        assert_eq!(put(&mut muxer, 40, false), 0);
        assert_eq!(put(&mut muxer, 80, true), 1);
        assert_eq!(put(&mut muxer, 120, false), 1);
        muxer.flush(&mut out);
        muxer.flush(&mut out);
        assert_eq!(out.len(), 2, "nothing is written twice, and nothing empty");
        muxer.write(&testing::video(&tracks, 160, 160, false), &mut out);
        muxer.finish(None, &mut out);
        assert_eq!(out.len(), 3);
        let file = written(&muxer, &out);
        assert!(memchr::memmem::find(&file, b"sidx").is_some());
        assert_eq!(muxer.index.entries().len(), 2, "the flushed rest begins with no key frame");
    }

    #[test]
    fn opus_has_no_place_in_flv_of_old() {
        let form = |codec, audio| Form::of(&testing::tracks(codec, audio));
        assert_eq!(form(VideoCodec::H264, Some(AudioCodec::Aac)), Form::Flv);
        assert_eq!(form(VideoCodec::H264, Some(AudioCodec::Opus)), Form::Fmp4);
        assert_eq!(form(VideoCodec::H265, None), Form::Fmp4);
    }

    #[test]
    fn a_wish_counts_where_there_is_a_picture() {
        let films =
            [VideoCodec::H264, VideoCodec::H265].map(|codec| testing::tracks(codec, Some(AudioCodec::Opus)));
        let sound = Tracks { video: None, ..testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)) };
        for wish in [Form::Flv, Form::Fmp4] {
            assert!(films.iter().all(|tracks| Form::wished(Some(wish), tracks) == wish));
            assert_eq!(Form::wished(Some(wish), &sound), Form::Flv);
        }
        assert!(films.iter().all(|tracks| Form::wished(None, tracks) == Form::of(tracks)));
    }

    #[test]
    fn it_says_what_it_cannot_carry() {
        let before = Arc::new(testing::tracks(VideoCodec::H265, None));
        let after = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::G711A)));
        let other = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let muxer = FileMuxer::new(&before, Ticks(0), 16);
        assert!(!muxer.carries(&testing::audio(&after, 0, 160)));
        assert!(muxer.carries(&testing::video(&after, 0, 0, false)));
        assert!(!muxer.carries(&testing::video(&other, 0, 0, true)));
        let flv = FileMuxer::new(&other, Ticks(0), 16);
        assert!(flv.carries(&testing::audio(&after, 0, 160)));
    }
}
