//! The units since the last key frame, for viewers to come. Bounded; no clock.

use std::collections::VecDeque;

use wire::media::{AccessUnit, Kind};

/// Units kept at most: more than a minute of 25 pictures and 50 runs of sound a second.
const UNITS_MAX: usize = 8192;

/// Whether a viewer can begin with `unit`: a key frame, or any sound where there is no video.
pub(crate) fn begins(unit: &AccessUnit) -> bool {
    match unit.kind {
        Kind::Video => unit.key,
        Kind::Audio => unit.tracks.video.is_none(),
    }
}

/// The cache of one stream. It is empty or begins with a unit that a viewer can begin with.
#[derive(Debug)]
pub(crate) struct GopCache {
    units: VecDeque<AccessUnit>,
    bytes: usize,
    bytes_max: usize,
    /// GOPs that did not fit and were forgotten.
    pub(crate) overflows: u64,
}

impl GopCache {
    /// Keeps at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { units: VecDeque::new(), bytes: 0, bytes_max, overflows: 0 }
    }

    /// Keeps at most `bytes_max` bytes from now on; of what is kept already nothing goes before the next key frame, unless
    /// it is more.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        if self.bytes > bytes_max {
            self.clear();
        }
    }

    /// Forgets sound that nobody is to hear any more.
    pub(crate) fn forget_sound(&mut self) {
        self.units.retain(|unit| unit.kind == Kind::Video);
        self.bytes = self.units.iter().map(|unit| unit.data.len()).sum();
    }

    pub(crate) fn push(&mut self, unit: AccessUnit) {
        if begins(&unit) {
            self.clear();
        } else if self.units.is_empty() {
            return;
        }
        if self.bytes + unit.data.len() > self.bytes_max || self.units.len() >= UNITS_MAX {
            self.clear();
            // Where nothing is to be kept, nothing is too big for it.
            self.overflows += u64::from(self.bytes_max > 0);
            return;
        }
        self.bytes += unit.data.len();
        self.units.push_back(unit);
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = &AccessUnit> {
        self.units.iter()
    }

    fn clear(&mut self) {
        self.units.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use wire::media::{Ticks, Tracks, VideoCodec, VideoTrack};

    use super::*;

    fn unit(kind: Kind, key: bool, size: usize, with_video: bool) -> AccessUnit {
        let track = VideoTrack {
            codec: VideoCodec::H264,
            width: 16,
            height: 16,
            rate: None,
            vps: vec![],
            sps: vec![],
            pps: vec![],
        };
        let tracks = Arc::new(Tracks { video: with_video.then_some(track), audio: None });
        AccessUnit { kind, dts: Ticks(0), pts: Ticks(0), key, data: Bytes::from(vec![0; size]), tracks }
    }

    #[test]
    fn holds_what_came_since_the_last_key_frame() {
        let mut cache = GopCache::new(1000);
        cache.push(unit(Kind::Video, false, 10, true));
        cache.push(unit(Kind::Audio, true, 10, true));
        assert_eq!(cache.units().count(), 0, "nothing can begin here");
        cache.push(unit(Kind::Video, true, 100, true));
        cache.push(unit(Kind::Audio, true, 10, true));
        cache.push(unit(Kind::Video, false, 10, true));
        assert_eq!(cache.units().count(), 3);
        cache.push(unit(Kind::Video, true, 100, true));
        assert_eq!(cache.units().count(), 1);
    }

    #[test]
    fn forgets_a_gop_that_does_not_fit_until_the_next_key_frame() {
        let mut cache = GopCache::new(1000);
        cache.push(unit(Kind::Video, true, 900, true));
        cache.push(unit(Kind::Video, false, 101, true));
        cache.push(unit(Kind::Video, false, 1, true));
        assert_eq!((cache.units().count(), cache.overflows, cache.bytes), (0, 1, 0));
        cache.push(unit(Kind::Video, true, 1000, true));
        assert_eq!(cache.units().count(), 1);
    }

    #[test]
    fn sound_alone_keeps_the_newest() {
        let mut cache = GopCache::new(1000);
        (0..100).for_each(|_| cache.push(unit(Kind::Audio, true, 160, false)));
        assert_eq!((cache.units().count(), cache.bytes), (1, 160));
    }
}
