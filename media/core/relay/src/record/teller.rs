//! Tells what happens to one recording.

use std::{path::Path, sync::Arc};

use wire::media::Ticks;

use super::files::Name;
use crate::{
    clock,
    events::{Event, EventQueue, Kind},
    table::Entry,
};

/// Why a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its time was over.
    Cut,
    /// The recording was stopped.
    Stopped,
    /// The stream ended.
    Ended,
    /// The stream's source broke off, or fell silent; the stream goes on if it comes back.
    Broken,
    /// Other tracks need another head.
    TracksChanged,
    /// The disk failed; what was written before is kept.
    Failed,
}

impl Reason {
    /// The name used outside.
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
            Self::Broken => "broken",
            Self::TracksChanged => "tracks_changed",
            Self::Failed => "failed",
        }
    }
}

/// What is said of a finished file.
#[derive(Debug, Clone)]
pub(crate) struct SliceFacts {
    pub(crate) name: Name,
    pub(crate) duration: Ticks,
    pub(crate) frames: u64,
    pub(crate) key_frames: u64,
    pub(crate) bytes: u64,
    pub(crate) video: &'static str,
    pub(crate) reason: Reason,
    /// Frames that are in no file, since the last one that was told of.
    pub(crate) lost: u64,
}

pub(crate) struct Teller {
    events: Arc<EventQueue>,
    receiver: u64,
    app: Arc<str>,
    name: Arc<str>,
    recording: u64,
    tag: String,
}

impl Teller {
    pub(crate) fn new(events: Arc<EventQueue>, entry: &Entry, recording: u64, tag: String) -> Self {
        let (app, name) = (Arc::clone(&entry.app), Arc::clone(&entry.name));
        Self { events, receiver: entry.id, app, name, recording, tag }
    }

    /// A file is finished.
    pub(crate) fn slice(&self, path: &Path, facts: &SliceFacts) {
        self.tell(
            Kind::Slice,
            vec![
                ("path", path.to_string_lossy().into_owned()),
                ("start_ms", facts.name.start_ms.to_string()),
                ("end_ms", facts.name.end_ms.to_string()),
                ("duration_ms", facts.duration.as_millis().to_string()),
                ("frames", facts.frames.to_string()),
                ("key_frames", facts.key_frames.to_string()),
                ("bytes", facts.bytes.to_string()),
                ("video", facts.video.to_owned()),
                ("reason", facts.reason.name().to_owned()),
                ("lost", facts.lost.to_string()),
            ],
        );
    }

    /// Something could not be written; `lost` frames were, so far, since the last file that was told of.
    pub(crate) fn failed(&self, reason: String, lost: u64) {
        self.tell(Kind::RecordFailed, vec![("reason", reason), ("lost", lost.to_string())]);
    }

    /// The recording is over.
    pub(crate) fn ended(&self, reason: Reason, lost: u64) {
        let detail = vec![("reason", reason.name().to_owned()), ("lost", lost.to_string())];
        self.tell(Kind::RecordEnded, detail);
    }

    fn tell(&self, kind: Kind, mut detail: Vec<(&'static str, String)>) {
        detail.extend([("recording", self.recording.to_string()), ("tag", self.tag.clone())]);
        let (app, name) = (Arc::clone(&self.app), Arc::clone(&self.name));
        self.events.push(Event::new(kind, self.receiver, app, name, clock::wall_ms(), detail));
    }
}
