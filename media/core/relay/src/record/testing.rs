//! Small streams and a disk in memory, for the recorder's tests.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use wire::media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack};

use super::{
    files::{Files, OpenFile},
    queue::Arrived,
};
use crate::{
    back::Back,
    clock,
    config::{PlayRights, Transport},
    feeds::Feeds,
    table::{Entry, lock},
};

/// 2026-01-01 00:00:00 UTC.
pub(crate) const NEW_YEAR_MS: u64 = 1_767_225_600_000;

pub(crate) fn video(codec: VideoCodec) -> VideoTrack {
    VideoTrack { codec, width: 352, height: 288, rate: None, vps: vec![], sps: vec![], pps: vec![] }
}

pub(crate) fn sound() -> AudioTrack {
    AudioTrack { codec: AudioCodec::G711A, sample_rate: 8000, channels: 1, config: Bytes::new() }
}

/// A picture of `size` bytes, of a stream without sound.
pub(crate) fn picture(at_ms: i64, key: bool, size: usize) -> AccessUnit {
    static TRACKS: OnceLock<Arc<Tracks>> = OnceLock::new();
    let tracks =
        TRACKS.get_or_init(|| Arc::new(Tracks { video: Some(video(VideoCodec::H264)), audio: None }));
    let at = Ticks::from_millis(at_ms);
    let data = Bytes::from(vec![0; size]);
    AccessUnit { kind: Kind::Video, dts: at, pts: at, key, data, tracks: Arc::clone(tracks) }
}

/// A stream whose units carry their number, so that they are found again in files.
pub(crate) struct Source {
    pub(crate) tracks: Arc<Tracks>,
    pub(crate) start: Instant,
    /// What the system's clock shows at `start`.
    pub(crate) wall_ms: u64,
    pub(crate) count: u32,
}

impl Source {
    pub(crate) fn new(codec: VideoCodec, with_sound: bool) -> Self {
        let tracks = Tracks { video: Some(video(codec)), audio: with_sound.then(sound) };
        Self { tracks: Arc::new(tracks), start: clock::now(), wall_ms: NEW_YEAR_MS, count: 0 }
    }

    pub(crate) fn picture(&mut self, at_ms: i64, key: bool) -> Arrived {
        self.unit(Kind::Video, at_ms, at_ms, key)
    }

    /// Sound of this time that comes at `came_ms`.
    pub(crate) fn sound(&mut self, at_ms: i64, came_ms: i64) -> Arrived {
        self.unit(Kind::Audio, at_ms, came_ms, true)
    }

    fn unit(&mut self, kind: Kind, at_ms: i64, came_ms: i64, key: bool) -> Arrived {
        // A NAL unit behind its length; as sound, any bytes will do. 320 samples of it last 40 ms.
        let mut data = vec![0, 0, 1, 60, 0x41];
        data.extend_from_slice(b"<unit ");
        data.extend_from_slice(&self.count.to_be_bytes());
        data.resize(320, 0x80);
        self.count += 1;
        let came_ms = came_ms.cast_unsigned();
        let at = Ticks::from_millis(at_ms);
        let tracks = Arc::clone(&self.tracks);
        let unit = AccessUnit { kind, dts: at, pts: at, key, data: data.into(), tracks };
        let at = self.start + Duration::from_millis(came_ms);
        Arrived { unit, at, wall_ms: self.wall_ms + came_ms, lost_before: 0, after_break: false }
    }
}

/// The numbers of the units in a file, in order of their places.
pub(crate) fn units_in(data: &[u8]) -> Vec<u32> {
    let marks = data.windows(10).filter(|window| window.starts_with(b"<unit "));
    marks.map(|mark| u32::from_be_bytes([mark[6], mark[7], mark[8], mark[9]])).collect()
}

pub(crate) fn entry() -> Entry {
    Entry {
        id: 7,
        app: "app".into(),
        name: "name".into(),
        transport: Transport::Udp,
        shared: false,
        port: 0,
        shard: 0,
        rights: PlayRights::default().into(),
        opened_ms: 0,
        feeds: Feeds::default(),
        back: Back::default(),
    }
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes that still fit; `None` means any number.
    room: Option<usize>,
    /// No file can be made.
    gone: bool,
    /// Who writes waits.
    stuck: bool,
    panics: bool,
}

/// A disk in memory with faults.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Disk {
    pub(crate) fn set_room(&self, room: Option<usize>) {
        lock(&self.state.0).room = room;
    }

    pub(crate) fn set_gone(&self, gone: bool) {
        lock(&self.state.0).gone = gone;
    }

    pub(crate) fn set_panics(&self, panics: bool) {
        lock(&self.state.0).panics = panics;
    }

    pub(crate) fn set_stuck(&self, stuck: bool) {
        lock(&self.state.0).stuck = stuck;
        self.state.1.notify_all();
    }

    /// Names and contents of all files, those that are finished and those that are not.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let state = lock(&self.state.0);
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        state.files.iter().map(|(path, data)| (name(path), data.clone())).collect()
    }
}

impl Files for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let mut state = lock(&self.state.0);
        assert!(!state.panics, "a bug");
        if state.gone {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(path.to_owned(), Vec::new());
        Ok(Box::new(Open { disk: self.clone(), path: path.to_owned() }))
    }

    fn exists(&self, path: &Path) -> bool {
        lock(&self.state.0).files.contains_key(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.state.0);
        let data = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        assert!(state.files.insert(to.to_owned(), data).is_none(), "a file was lost");
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.state.0).files.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

struct Open {
    disk: Disk,
    path: PathBuf,
}

impl Open {
    fn with<T>(&self, change: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        lock(&self.disk.state.0).files.get_mut(&self.path).map(change).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl OpenFile for Open {
    /// Like a file system, it takes what fits before it fails.
    fn append(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let (state, bell) = &*self.disk.state;
        let mut state = bell.wait_while(lock(state), |state| state.stuck).unwrap();
        let room = state.room.unwrap_or(usize::MAX);
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let taken = bytes.len().min(room);
        state.room = state.room.map(|room| room - taken);
        state.files.get_mut(&self.path).ok_or(io::ErrorKind::NotFound)?.extend(&bytes[..taken]);
        if taken < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn rewrite(&mut self, head: &[u8]) -> io::Result<()> {
        self.with(|data| data[..head.len()].copy_from_slice(head))
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.with(|data| data.truncate(size as usize))
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A number among the details of an event.
pub(crate) fn number(detail: &BTreeMap<&'static str, String>, name: &str) -> u64 {
    detail[name].parse().unwrap()
}
