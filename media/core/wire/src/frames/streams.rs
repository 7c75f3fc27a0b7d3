//! Which of several streams of a kind is the one in use.

use super::Event;
use crate::ps::{MapEntry, ProgramMap, is_audio, is_video};

/// So many PES packets of another stream alone show that it is the one in use now.
const STRAYS_MAX: u16 = 250;

/// What a PES packet's stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    InUse,
    /// It takes the place of one that is heard of no more.
    Changed,
    Stray,
}

#[derive(Debug, Default)]
struct Chosen {
    id: Option<u8>,
    /// PES packets of others since the last one of it.
    strays: u16,
}

impl Chosen {
    fn choose(&mut self, stream_id: u8) -> Choice {
        if *self.id.get_or_insert(stream_id) == stream_id {
            self.strays = 0;
            return Choice::InUse;
        }
        self.strays += 1;
        if self.strays < STRAYS_MAX {
            return Choice::Stray;
        }
        *self = Self { id: Some(stream_id), strays: 0 };
        Choice::Changed
    }
}

/// The first stream of each kind, until it is heard of no more, and the map that tells their codings.
#[derive(Debug, Default)]
pub(super) struct Streams {
    video: Chosen,
    audio: Chosen,
    map: Option<ProgramMap>,
}

impl Streams {
    /// A PES packet of video or audio begins.
    pub(super) fn choose(&mut self, stream_id: u8) -> Choice {
        if is_video(stream_id) { self.video.choose(stream_id) } else { self.audio.choose(stream_id) }
    }

    /// Takes a map; what it tells, if it is another one than before.
    pub(super) fn handle_map(&mut self, map: &ProgramMap) -> Option<Event> {
        if self.map.as_ref() == Some(map) {
            return None;
        }
        self.map = Some(map.clone());
        self.codings()
    }

    /// What the map tells of the streams in use: the id is what comes in PES packets, whatever maps say.
    pub(super) fn codings(&self) -> Option<Event> {
        let map = self.map.as_ref()?;
        let entry = |known: Option<u8>, of: fn(u8) -> bool| -> Option<MapEntry> {
            let mut streams = map.streams.iter().filter(|entry| of(entry.stream_id));
            let used = streams.clone().find(|entry| Some(entry.stream_id) == known);
            used.or_else(|| streams.next()).copied()
        };
        Some(Event::Map { video: entry(self.video.id, is_video), audio: entry(self.audio.id, is_audio) })
    }
}
