//! Joins what several readers make of one stream's sources, one after the other, to one stream: each reader has a clock
//! of its own that begins at zero, and tracks of its own.
//!
//! The first unit behind a seam is placed where the clock would stand had the source before gone on; tracks that turn
//! out as they were are not told again.

use std::{sync::Arc, time::Instant};

use crate::{
    media::{Kind, Ticks, Tracks},
    timeline::STEP,
    unpack::Output,
};

/// The clock and the tracks of a stream, whoever makes its units now.
#[derive(Debug, Default)]
pub struct Splice {
    /// When the latest unit came, and its decoding time.
    last: Option<(Instant, i64)>,
    /// Decoding times of the last units: video, audio.
    tracks_last: [Option<i64>; 2],
    /// What the present reader's clock lacks; `None` before its first unit.
    offset: Option<i64>,
    /// Sound behind the seam was taken.
    joined: bool,
    /// The reader's time that is to stand for now; that of its first unit, if it is not told.
    anchor: Option<i64>,
    tracks: Arc<Tracks>,
    /// The reader's tracks that stand for `tracks`.
    alias: Arc<Tracks>,
}

impl Splice {
    /// A stream that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another reader takes over.
    pub fn handle_seam(&mut self) {
        (self.offset, self.anchor, self.joined) = (None, None, false);
    }

    /// Another reader takes over, whose present is `anchor`: pictures before it follow each other as closely as may be.
    pub fn handle_seam_at(&mut self, anchor: Ticks) {
        (self.offset, self.anchor, self.joined) = (None, Some(anchor.0), false);
    }

    /// The tracks in force.
    pub fn tracks(&self) -> &Arc<Tracks> {
        &self.tracks
    }

    /// Fits what a reader made into the stream; false if it is to be left out: tracks that say nothing new, and
    /// sound of a time that was heard already.
    pub fn handle_output(&mut self, now: Instant, output: &mut Output) -> bool {
        match output {
            Output::Tracks(tracks) => {
                self.alias = Arc::clone(tracks);
                if *self.tracks == **tracks {
                    return false;
                }
                self.tracks = Arc::clone(tracks);
            }
            Output::Unit(unit) => {
                if Arc::ptr_eq(&unit.tracks, &self.alias) {
                    unit.tracks = Arc::clone(&self.tracks);
                }
                let slot = usize::from(unit.kind == Kind::Audio);
                let offset = *self.offset.get_or_insert_with(|| match self.last {
                    Some((then, dts)) => dts + ticks_since(now, then) - self.anchor.unwrap_or(unit.dts.0),
                    None => 0,
                });
                let delay = unit.pts - unit.dts;
                let mapped = unit.dts.0 + offset;
                let dts = self.tracks_last[slot].map_or(mapped, |last| mapped.max(last + STEP)).max(0);
                if unit.kind == Kind::Audio {
                    if dts != mapped && !self.joined {
                        return false;
                    }
                    self.joined = true;
                }
                self.tracks_last[slot] = Some(dts);
                if self.last.is_none_or(|(_, last)| dts > last) {
                    self.last = Some((now, dts));
                }
                unit.dts = Ticks(dts);
                unit.pts = unit.dts + delay;
            }
            Output::Payload(_) | Output::Fault(_) => {}
        }
        true
    }
}

fn ticks_since(now: Instant, then: Instant) -> i64 {
    (now.saturating_duration_since(then).as_micros().min(u128::from(u32::MAX) * 1_000_000) * 9 / 100) as i64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        media::{AudioCodec, VideoCodec},
        test_clock::start,
        testing,
    };

    fn at(millis: u64) -> Instant {
        start() + Duration::from_millis(millis)
    }

    /// The times at which a unit comes out, in milliseconds.
    fn put(splice: &mut Splice, now: Instant, output: Output) -> (i64, i64) {
        let mut output = output;
        assert!(splice.handle_output(now, &mut output));
        let Output::Unit(unit) = output else { panic!("{output:?}") };
        assert!(Arc::ptr_eq(&unit.tracks, splice.tracks()));
        (unit.dts.as_millis(), unit.pts.as_millis())
    }

    #[test]
    fn the_next_source_goes_on_where_the_last_one_would_be() {
        let mut splice = Splice::new();
        let tracks = |codec| Arc::new(testing::tracks(codec, Some(AudioCodec::Aac)));
        let (first, second) = (tracks(VideoCodec::H264), tracks(VideoCodec::H264));
        assert!(splice.handle_output(at(0), &mut Output::Tracks(Arc::clone(&first))));
        let unit = |dts, pts| Output::Unit(testing::video(&first, dts, pts, true));
        assert_eq!(put(&mut splice, at(0), unit(40, 80)), (40, 80));
        assert_eq!(put(&mut splice, at(40), unit(80, 120)), (80, 120));
        splice.handle_seam();
        assert!(!splice.handle_output(at(1000), &mut Output::Tracks(Arc::clone(&second))), "the same tracks");
        let unit = |dts, pts| Output::Unit(testing::video(&second, dts, pts, true));
        assert_eq!(put(&mut splice, at(1040), unit(7000, 7080)), (1080, 1160));
        let sound = Output::Unit(testing::audio(&second, 6900, 10));
        assert_eq!(put(&mut splice, at(1040), sound), (980, 980), "sound keeps its place beside the picture");
        let other = tracks(VideoCodec::H265);
        assert!(splice.handle_output(at(1050), &mut Output::Tracks(Arc::clone(&other))));
        assert_eq!(
            put(&mut splice, at(1080), Output::Unit(testing::video(&other, 7040, 7040, true))),
            (1120, 1120)
        );
    }

    #[test]
    fn what_leads_up_to_the_present_is_squeezed_in() {
        let mut splice = Splice::new();
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        assert!(splice.handle_output(at(0), &mut Output::Tracks(Arc::clone(&tracks))));
        let unit = |dts| Output::Unit(testing::video(&tracks, dts, dts, true));
        put(&mut splice, at(0), unit(1000));
        splice.handle_seam_at(Ticks::from_millis(580));
        for (dts, millis) in [(500, 1001), (540, 1002)] {
            assert_eq!(put(&mut splice, at(40), unit(dts)), (millis, millis), "close behind the last one");
        }
        assert_eq!(put(&mut splice, at(40), unit(580)), (1040, 1040));
        assert_eq!(put(&mut splice, at(80), unit(620)), (1080, 1080));
    }

    #[test]
    fn times_rise_even_if_the_next_source_comes_before_its_time() {
        let mut splice = Splice::new();
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        assert!(splice.handle_output(at(0), &mut Output::Tracks(Arc::clone(&tracks))));
        let unit = |dts| Output::Unit(testing::video(&tracks, dts, dts, true));
        put(&mut splice, at(0), unit(5000));
        put(&mut splice, at(0), unit(9000));
        splice.handle_seam();
        assert_eq!(put(&mut splice, at(10), unit(3)), (9010, 9010));
        let Output::Unit(early) = unit(1) else { unreachable!() };
        let mut early = Output::Unit(early);
        assert!(splice.handle_output(at(10), &mut early));
        assert!(matches!(early, Output::Unit(unit) if unit.dts.as_millis() == 9011));
    }

    #[test]
    fn sound_of_a_time_that_was_heard_is_left_out_and_what_follows_keeps_its_place() {
        let mut splice = Splice::new();
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)));
        assert!(splice.handle_output(at(0), &mut Output::Tracks(Arc::clone(&tracks))));
        let video = |dts| Output::Unit(testing::video(&tracks, dts, dts, true));
        let sound = |dts| Output::Unit(testing::audio(&tracks, dts, 10));
        put(&mut splice, at(0), video(0));
        put(&mut splice, at(0), sound(0));
        splice.handle_seam_at(Ticks::from_millis(700));
        assert_eq!(put(&mut splice, at(100), video(600)), (1, 1));
        let mut heard = vec![0];
        for dts in (580..760).step_by(20) {
            let mut output = sound(dts);
            if splice.handle_output(at(100), &mut output) {
                let Output::Unit(unit) = output else { unreachable!() };
                assert_eq!(unit.dts.as_millis(), dts - 600, "beside its picture");
                heard.push(unit.dts.as_millis());
            }
        }
        assert!(heard.len() > 6 && heard.windows(2).all(|pair| pair[0] < pair[1]), "{heard:?}");
    }
}
