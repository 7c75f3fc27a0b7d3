//! One file while it is written: units in, large writes out.
//!
//! What a unit's muxing gave waits as references until there is enough of it, or most of a second went by; then it is written
//! with one call. After each such write the file on the disk is whole up to its last frame.

use std::{
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{
    chunk::Chunk,
    file::{FileMuxer, Form},
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec},
};

use super::{
    calendar::Calendar,
    closer::{Finish, Work},
    files::{self, Files, Name, OpenFile},
    meters::{Meters, count},
    queue::Arrived,
    teller::{Reason, SliceFacts, Teller},
};

/// A file is written at the latest when so much waits.
const FLUSH_BYTES: usize = 512 * 1024;

/// A file is written at the latest after so long; with the writer's turns, a killed process loses about a second.
const FLUSH_AFTER: Duration = Duration::from_millis(750);

/// Without a frame for so long, a file whose time is over is finished.
const IDLE: Duration = Duration::from_secs(30);

/// Sound that the file's head does not announce waits for the next file, up to so many bytes.
const HELD_MAX: usize = 1024 * 1024;

/// A clock that was put back by less than this does not make a slice that is cut again at once.
const STEP_MS: u64 = 5000;

/// What a file holds.
#[derive(Debug, Clone, Copy)]
struct Counts {
    frames: u64,
    key_frames: u64,
    last: Instant,
    duration: Ticks,
}

pub(crate) struct Slice {
    file: Box<dyn OpenFile>,
    part: PathBuf,
    muxer: FileMuxer,
    start_ms: u64,
    start: Instant,
    cut_ms: u64,
    pending: Vec<Chunk>,
    /// Bytes of units that were not written, and since when.
    unwritten: usize,
    since: Option<Instant>,
    /// Bytes on the disk, and the frames in them.
    size: u64,
    safe: Option<Counts>,
    counts: Counts,
    held: Vec<Arrived>,
    held_bytes: usize,
}

/// What a slice leaves to the next one.
#[derive(Default)]
pub(crate) struct Remains {
    /// The time at which it was cut, by its own clock: see `Slice::wall`.
    pub(crate) wall_ms: Option<u64>,
    /// Sound for the next file.
    pub(crate) held: Vec<Arrived>,
}

impl Slice {
    /// Makes a file in this form that begins with `first`; its times count from `base`.
    pub(crate) fn create(
        files: &dyn Files,
        directory: &std::path::Path,
        form: Form,
        calendar: Calendar,
        first: &Arrived,
        base: Ticks,
        cut_before_ms: Option<u64>,
    ) -> io::Result<Self> {
        let tracks = &first.unit.tracks;
        let wall_ms = first.wall_ms;
        let (start_ms, part, file) = files::create_part(files, directory, wall_ms, form)?;
        // A clock put back a little must not show the time before the cut again.
        let reference =
            cut_before_ms.filter(|cut| (wall_ms..wall_ms + STEP_MS).contains(cut)).unwrap_or(wall_ms);
        let cut_ms = calendar.next_cut(reference);
        // One key frame a second, and some more.
        let entries = usize::try_from((cut_ms - reference) / 1000).unwrap_or(usize::MAX).saturating_add(8);
        let muxer = FileMuxer::in_form(form, tracks, base, entries);
        let counts = Counts { frames: 0, key_frames: 0, last: first.at, duration: Ticks(0) };
        let mut slice = Self {
            file,
            part,
            muxer,
            start_ms,
            start: first.at,
            cut_ms,
            pending: Vec::new(),
            unwritten: 0,
            since: None,
            size: 0,
            safe: None,
            counts,
            held: Vec::new(),
            held_bytes: 0,
        };
        slice.file.append(&mut [IoSlice::new(slice.muxer.head())]).inspect_err(|_| {
            // It has no frame, so nobody misses it.
            let _ = files.remove(&slice.part);
        })?;
        slice.size = slice.muxer.head().len() as u64;
        Ok(slice)
    }

    /// What the clock would show at `at` if it had gone on evenly since the slice began. Within a slice this counts, and
    /// not the system's clock, which may be put forward or back.
    pub(crate) fn wall(&self, at: Instant) -> u64 {
        self.start_ms.saturating_add(at.saturating_duration_since(self.start).as_millis() as u64)
    }

    /// Why the file ends before this unit, which one can begin with, if it does.
    pub(crate) fn ends_before(&self, arrived: &Arrived) -> Option<Reason> {
        if needs_new_head(self.muxer.tracks(), &arrived.unit.tracks) {
            return Some(Reason::TracksChanged);
        }
        (self.wall(arrived.at) >= self.cut_ms).then_some(Reason::Cut)
    }

    /// Whether the time is over and nothing came for long, so that it is finished without a successor.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.counts.last) >= IDLE && self.wall(now) >= self.cut_ms
    }

    /// Takes a unit; how many frames are lost by that.
    pub(crate) fn push(&mut self, meters: &Meters, arrived: &Arrived) -> io::Result<u64> {
        let unit = &arrived.unit;
        if !self.muxer.carries(unit) {
            return Ok(self.hold(arrived));
        }
        if !self.muxer.write(unit, &mut self.pending) {
            return Ok(0); // a coding that has no place in this form is no frame of the file
        }
        self.counts.frames += 1;
        self.counts.key_frames += u64::from(unit.key && unit.kind == Kind::Video);
        self.counts.last = arrived.at.max(self.counts.last);
        self.unwritten += unit.data.len();
        self.since.get_or_insert(arrived.at);
        if self.unwritten >= FLUSH_BYTES {
            self.flush(meters)?;
        }
        Ok(0)
    }

    /// Writes what waited too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant, meters: &Meters) -> io::Result<()> {
        if self.since.is_some_and(|since| now.saturating_duration_since(since) >= FLUSH_AFTER) {
            self.flush(meters)?;
        }
        Ok(())
    }

    fn flush(&mut self, meters: &Meters) -> io::Result<()> {
        self.muxer.flush(&mut self.pending);
        self.write_pending(meters)
    }

    fn write_pending(&mut self, meters: &Meters) -> io::Result<()> {
        let mut parts: Vec<_> = self.pending.iter().flat_map(Chunk::parts).map(IoSlice::new).collect();
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        self.file.append(&mut parts)?;
        count(&meters.bytes, bytes);
        self.size += bytes;
        self.pending.clear();
        self.unwritten = 0;
        self.since = None;
        self.counts.duration = self.muxer.duration();
        self.safe = Some(self.counts).filter(|counts| counts.frames > 0);
        Ok(())
    }

    /// Keeps sound for the next file; the number of frames that have no place.
    fn hold(&mut self, arrived: &Arrived) -> u64 {
        let size = arrived.unit.data.len();
        if arrived.unit.kind == Kind::Video || self.held_bytes + size > HELD_MAX {
            return 1;
        }
        self.held_bytes += size;
        self.held.push(arrived.clone());
        0
    }

    /// Writes the rest. `end` is the time of the unit that does not belong to the file any more.
    pub(crate) fn finish(&mut self, meters: &Meters, end: Option<Ticks>) -> io::Result<()> {
        self.muxer.finish(end, &mut self.pending);
        self.write_pending(meters)
    }

    /// Whether the file on the disk has frames.
    pub(crate) fn has_frames(&self) -> bool {
        self.safe.is_some()
    }

    /// Frames that were taken and are not on the disk.
    pub(crate) fn unsafe_frames(&self) -> u64 {
        self.counts.frames - self.safe.map_or(0, |safe| safe.frames)
    }

    /// Leaves the file, as far as it is on the disk, to who finishes it, and the rest to the next one.
    pub(crate) fn into_job(self, reason: Reason, lost: u64, teller: &Arc<Teller>) -> (Finish, Remains) {
        let wall_ms = (reason == Reason::Cut).then_some(self.cut_ms);
        let work = match self.safe {
            None => Work::Remove,
            Some(safe) => {
                let end_ms = self.wall(safe.last);
                let tracks = self.muxer.tracks();
                let facts = SliceFacts {
                    name: Name { start_ms: self.start_ms, end_ms, form: self.muxer.form() },
                    duration: safe.duration,
                    frames: safe.frames,
                    key_frames: safe.key_frames,
                    bytes: self.size,
                    video: tracks.video.as_ref().map_or("", |track| name(track.codec)),
                    reason,
                    lost,
                };
                Work::Publish {
                    head: self.muxer.finished_head(self.size, safe.duration),
                    facts: Box::new(facts),
                }
            }
        };
        let job = Finish { file: self.file, part: self.part, work, teller: Arc::clone(teller) };
        (job, Remains { wall_ms, held: self.held })
    }
}

/// Whether a file that announces `head` cannot go on with `now`. Parameter sets alone are no reason: they may change
/// with every key frame, and stand in the stream too.
fn needs_new_head(head: &Arc<Tracks>, now: &Arc<Tracks>) -> bool {
    let video = |tracks: &Tracks| tracks.video.as_ref().map(|track| (track.codec, track.width, track.height));
    !Arc::ptr_eq(head, now) && (video(head) != video(now) || head.audio != now.audio)
}

/// How long a run of sound lasts, as far as its coding tells.
pub(crate) fn sound_duration(track: &AudioTrack, unit: &AccessUnit) -> Ticks {
    let samples = match track.codec {
        AudioCodec::Aac => 1024,
        AudioCodec::Opus => i64::from(wire::opus::duration(&unit.data).unwrap_or(0)),
        _ => unit.data.len().cast_signed() as i64 / i64::from(track.channels.max(1)),
    };
    Ticks(samples * Ticks::PER_SECOND / i64::from(track.sample_rate.max(1)))
}

fn name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "H264",
        VideoCodec::H265 => "H265",
    }
}
