//! Leaves a stream's sound out, if that is wanted. Pure; no clock.

use std::sync::Arc;

use wire::media::{AccessUnit, Kind, Tracks};

use super::gop::begins;

/// Stops sound at once, and announces tracks without it from the next key frame on; sound that is wanted again is
/// announced and comes from the next key frame on, for muxers change their tracks nowhere else.
#[derive(Default)]
pub(crate) struct Mute {
    wanted: bool,
    /// What is announced now has no sound.
    announced: bool,
    /// Tracks as they came and as they are given out.
    silent: Option<(Arc<Tracks>, Arc<Tracks>)>,
}

impl Mute {
    /// Leaves sound out from now on, or not.
    pub(crate) fn set(&mut self, mute: bool) {
        self.wanted = mute;
    }

    /// Whether sound that comes is of no use.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether a unit goes out as it is.
    pub(crate) fn is_idle(&self) -> bool {
        !self.wanted && !self.announced
    }

    /// Tracks as they are to be announced.
    pub(crate) fn tracks(&mut self, tracks: Arc<Tracks>) -> Arc<Tracks> {
        if self.announced { self.silenced(&tracks) } else { tracks }
    }

    /// A unit as it goes out, if it does; and whether what is announced changes with it.
    pub(crate) fn pass(&mut self, mut unit: AccessUnit) -> (Option<AccessUnit>, bool) {
        let turns = self.wanted != self.announced && begins(&unit);
        if turns {
            self.announced = self.wanted;
        }
        if unit.kind == Kind::Audio && (self.wanted || self.announced) {
            return (None, turns);
        }
        if self.announced {
            unit.tracks = self.silenced(&unit.tracks);
        }
        (Some(unit), turns)
    }

    /// One value for all units of the same tracks: those who compare them by address see no change.
    fn silenced(&mut self, tracks: &Arc<Tracks>) -> Arc<Tracks> {
        if let Some((came, silent)) = &self.silent
            && Arc::ptr_eq(came, tracks)
        {
            return Arc::clone(silent);
        }
        let silent = Arc::new(Tracks { audio: None, ..(**tracks).clone() });
        self.silent = Some((Arc::clone(tracks), Arc::clone(&silent)));
        silent
    }
}

#[cfg(test)]
mod tests {
    use wire::media::{AudioCodec, AudioTrack};

    use super::*;
    use crate::record::testing;

    fn units() -> impl FnMut(Kind, bool) -> AccessUnit {
        let mut number = 0;
        let mut tracks = (*testing::picture(0, true, 10).tracks).clone();
        tracks.audio = Some(AudioTrack {
            codec: AudioCodec::G711A,
            sample_rate: 8000,
            channels: 1,
            config: bytes::Bytes::new(),
        });
        let tracks = Arc::new(tracks);
        move |kind, key| {
            number += 1;
            AccessUnit { kind, tracks: Arc::clone(&tracks), ..testing::picture(number, key, 10) }
        }
    }

    #[test]
    fn sound_stops_at_once_and_comes_back_with_a_key_frame() {
        let (mut mute, mut unit) = (Mute::default(), units());
        assert!(mute.is_idle());
        mute.set(true);
        assert!(mute.pass(unit(Kind::Audio, true)).0.is_none(), "at once");
        let (picture, turned) = mute.pass(unit(Kind::Video, false));
        assert!(!turned && picture.unwrap().tracks.audio.is_some(), "announced until the key frame");
        let (picture, turned) = mute.pass(unit(Kind::Video, true));
        let first = picture.unwrap().tracks;
        assert!(turned && first.audio.is_none() && first.video.is_some());
        let next = mute.pass(unit(Kind::Video, false)).0.unwrap().tracks;
        assert!(Arc::ptr_eq(&first, &next), "the same tracks are the same value");
        mute.set(false);
        assert!(!mute.is_idle() && mute.pass(unit(Kind::Audio, true)).0.is_none());
        assert!(mute.pass(unit(Kind::Video, false)).0.unwrap().tracks.audio.is_none());
        let (picture, turned) = mute.pass(unit(Kind::Video, true));
        assert!(turned && picture.unwrap().tracks.audio.is_some());
        assert!(mute.pass(unit(Kind::Audio, true)).0.is_some() && mute.is_idle());
    }
}
