//! HLS (RFC 8216): cuts a live stream into segments and writes the playlist over the newest of them.
//!
//! Segments are cut at key frames. The first few are as short as the key frames allow, so that a player can begin early.
//! With low latency they are told of in parts, as they are made.

mod parts;

use std::{collections::VecDeque, fmt::Write, sync::Arc};

use bytes::{Bytes, BytesMut};

use self::parts::{Begun, Part};
use crate::{
    fmp4,
    media::{AccessUnit, Kind, Ticks, Tracks},
    ts::{Sound, TsMuxer},
};

/// Segments that a playlist lists, unless it is told otherwise.
pub const LISTED: usize = 6;
/// Segments that stay for players which read an older playlist (RFC 8216 §6.2.2).
const LATE: usize = 3;
/// Ends a playlist that does not grow any more.
const END: &str = "#EXT-X-ENDLIST\n";
/// So many segments at the beginning are only as long as this, if key frames allow.
const EAGER: u64 = 3;
const EAGER_LENGTH: Ticks = Ticks::from_millis(500);
/// A segment is cut here, key frame or not, so that neither a camera without key frames nor a fast one fills memory.
const LONGEST: Ticks = Ticks::from_millis(12_000);
const LARGEST: usize = 24 * 1024 * 1024;

/// What segments are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4 with an initialisation segment.
    Fmp4,
    /// The same in parts (draft-pantos-hls-rfc8216bis, "Low-Latency HLS").
    LowLatency,
}

impl Container {
    /// Media type of a segment.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Ts => "video/mp2t",
            Self::Fmp4 | Self::LowLatency => "video/mp4",
        }
    }

    /// The folder, relative to the playlist, in which segments are addressed.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Ts => "hls",
            Self::Fmp4 => "hls.fmp4",
            Self::LowLatency => "hls.ll",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Ts => "ts",
            Self::Fmp4 | Self::LowLatency => "m4s",
        }
    }
}

/// How to cut.
#[derive(Debug, Clone, Copy)]
pub struct SegmenterOptions {
    /// What segments are made of.
    pub container: Container,
    /// A segment ends at the first key frame after so long.
    pub target: Ticks,
    /// Segments that the playlist lists.
    pub listed: usize,
    /// Number of the first segment. A stream's later segmenter should begin above its earlier one, for players and
    /// caches know segments by number; UNIX seconds will do.
    pub first_sequence: u64,
    /// UNIX time in milliseconds at the stream's zero.
    pub epoch_ms: i64,
}

/// One whole segment.
#[derive(Debug)]
pub struct Segment {
    /// Its number in the playlist and its address.
    pub sequence: u64,
    /// From its first unit to the next segment's.
    pub duration: Ticks,
    /// Whether tracks changed before it.
    pub discontinuity: bool,
    /// Whether it begins with a key frame.
    pub independent: bool,
    /// What a player needs first, for fragmented MP4.
    pub init: Option<Arc<Init>>,
    /// Its bytes.
    pub data: Bytes,
    /// UNIX time in milliseconds at its beginning.
    pub wall_ms: i64,
    parts: Vec<Part>,
}

/// An initialisation segment.
#[derive(Debug)]
pub struct Init {
    /// The number of the first segment that needs it, and its address.
    pub id: u64,
    /// Its bytes.
    pub data: Bytes,
}

/// The segments that can be fetched now: a value to be shared with whoever answers requests.
#[derive(Debug)]
pub struct Window {
    container: Container,
    target_s: i64,
    /// Discontinuities before the first listed segment.
    discontinuities: u64,
    late: usize,
    segments: Vec<Arc<Segment>>,
    /// What is ready of the next segment.
    begun: Option<Begun>,
    /// The stream is over: nothing follows.
    ended: bool,
}

impl Window {
    /// The media playlist. `query` (without `?`, may be empty) is repeated in every address, so that a signature holds
    /// for the segments too.
    pub fn playlist(&self, query: &str) -> String {
        if self.container == Container::LowLatency {
            return parts::playlist(self, query);
        }
        let listed = &self.segments[self.late..];
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let folder = self.container.folder();
        let version = if self.container == Container::Ts { 6 } else { 7 };
        let mut text =
            format!("#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{}\n", self.target_s);
        let mut put = |line: std::fmt::Arguments| text.write_fmt(line).unwrap_or_default();
        put(format_args!("#EXT-X-MEDIA-SEQUENCE:{}\n", listed.first().map_or(0, |segment| segment.sequence)));
        if self.discontinuities > 0 {
            put(format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{}\n", self.discontinuities));
        }
        if listed.iter().all(|segment| segment.independent) {
            put(format_args!("#EXT-X-INDEPENDENT-SEGMENTS\n"));
        }
        let mut init = None;
        for segment in listed {
            if segment.discontinuity {
                put(format_args!("#EXT-X-DISCONTINUITY\n"));
            }
            let needed = segment.init.as_ref().map(|init| init.id);
            if let Some(id) = needed.filter(|_| needed != init) {
                put(format_args!("#EXT-X-MAP:URI=\"{folder}/init-{id}.mp4{query}\"\n"));
            }
            init = needed;
            let (seconds, rest) = (segment.duration.0 / 90_000, segment.duration.0 % 90_000);
            put(format_args!("#EXTINF:{seconds}.{:06},\n", rest * 100 / 9));
            put(format_args!("{folder}/{}.{}{query}\n", segment.sequence, self.container.extension()));
        }
        if self.ended {
            text.push_str(END);
        }
        text
    }

    /// The bytes under an address in the container's folder, such as `17.ts`; `None` if it is not there any more.
    pub fn resource(&self, file: &str) -> Option<Bytes> {
        let (stem, extension) = file.rsplit_once('.')?;
        if let Some(id) = stem.strip_prefix("init-").filter(|_| extension == "mp4") {
            let id = number(id)?;
            let mut inits = self.segments.iter().filter_map(|segment| segment.init.as_ref());
            return inits.find(|init| init.id == id).map(|init| init.data.clone());
        }
        if let Some((sequence, part)) = parts::address(file) {
            return self.part(sequence, part).map(|part| part.data.clone());
        }
        let sequence = number(stem).filter(|_| extension == self.container.extension())?;
        let mut segments = self.segments.iter();
        segments.find(|segment| segment.sequence == sequence).map(|segment| segment.data.clone())
    }

    /// The segments, those that only late players need included.
    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }
}

/// Cuts one stream.
#[derive(Debug)]
pub struct Segmenter {
    options: SegmenterOptions,
    ts: TsMuxer,
    next_sequence: u64,
    target_s: i64,
    discontinuities: u64,
    fragments: u32,
    announced: Option<(Arc<Tracks>, Option<Arc<Init>>)>,
    segments: VecDeque<Arc<Segment>>,
    open: Option<Open>,
    ended: bool,
}

/// The segment being written.
#[derive(Debug)]
struct Open {
    tracks: Arc<Tracks>,
    start: Ticks,
    /// The last unit that decides where segments end, and where it ends if it is as long as the one before.
    newest: Ticks,
    reach: Ticks,
    discontinuity: bool,
    independent: bool,
    init: Option<Arc<Init>>,
    content: Content,
    /// Of low latency: parts that are ready, and the one being written.
    parts: Vec<Part>,
    part: parts::Open,
}

#[derive(Debug)]
enum Content {
    Ts(BytesMut),
    Fmp4(fmp4::Fragment),
}

impl Segmenter {
    /// A segmenter that begins at the next key frame.
    pub fn new(options: SegmenterOptions) -> Self {
        Self {
            options,
            ts: TsMuxer::with_sound(Sound::Standard),
            next_sequence: options.first_sequence,
            target_s: whole_seconds(options.target),
            discontinuities: 0,
            fragments: 0,
            announced: None,
            segments: VecDeque::new(),
            open: None,
            ended: false,
        }
    }

    /// Cuts segments of this length from the next one on, and lists so many of them. What players were told is the
    /// longest stays so (RFC 8216 §4.3.3.1).
    pub fn change(&mut self, target: Ticks, listed: usize) {
        (self.options.target, self.options.listed) = (target, listed);
        self.target_s = self.target_s.max(whole_seconds(target));
    }

    /// Takes a unit; returns the new window if that finished a segment.
    pub fn write(&mut self, unit: &AccessUnit) -> Option<Arc<Window>> {
        let eager = self.next_sequence - self.options.first_sequence < EAGER;
        let wanted = if eager { self.options.target.min(EAGER_LENGTH) } else { self.options.target };
        let finished = self.open.take_if(|open| open.ends_before(unit, wanted));
        let mut window = finished.map(|open| self.finish(open, unit.dts));
        if self.open.is_none() && (window.is_some() || is_start(unit)) {
            self.open = Some(self.begin(unit));
        }
        if self.options.container == Container::LowLatency && self.cut_part(unit) {
            window = Some(self.window());
        }
        if let Some(open) = &mut self.open {
            open.append(&mut self.ts, unit);
        }
        window
    }

    /// The stream is over. The last window: what was begun is its last segment, and its playlist says that nothing
    /// follows (RFC 8216 §4.3.3.4). `None` if there is no segment.
    pub fn end(&mut self) -> Option<Arc<Window>> {
        self.ended = true;
        if let Some(open) = self.open.take() {
            let end = open.reach;
            return Some(self.finish(open, end));
        }
        (!self.segments.is_empty()).then(|| self.window())
    }

    fn begin(&mut self, unit: &AccessUnit) -> Open {
        let known = self.announced.as_ref().filter(|(tracks, _)| *tracks == unit.tracks);
        let discontinuity = self.announced.is_some() && known.is_none();
        let (tracks, init) =
            known.cloned().unwrap_or_else(|| (Arc::clone(&unit.tracks), self.init_segment(&unit.tracks)));
        self.announced = Some((Arc::clone(&tracks), init.clone()));
        let content = match self.options.container {
            Container::Ts => {
                let mut out = BytesMut::with_capacity(256 * 1024);
                self.ts.write_tables(&tracks, &mut out);
                Content::Ts(out)
            }
            Container::Fmp4 | Container::LowLatency => Content::Fmp4(fmp4::Fragment::new()),
        };
        let (parts, part) = (Vec::new(), parts::Open::new(unit));
        Open {
            tracks,
            start: unit.dts,
            newest: unit.dts,
            reach: unit.dts,
            discontinuity,
            independent: is_start(unit),
            init,
            content,
            parts,
            part,
        }
    }

    fn init_segment(&self, tracks: &Tracks) -> Option<Arc<Init>> {
        let data = match self.options.container {
            Container::Ts => return None,
            Container::Fmp4 | Container::LowLatency => fmp4::init_segment(tracks),
        };
        Some(Arc::new(Init { id: self.next_sequence, data }))
    }

    fn finish(&mut self, mut open: Open, end: Ticks) -> Arc<Window> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        if self.options.container == Container::LowLatency {
            self.finish_part(&mut open, end);
        }
        let data = match &open.content {
            Content::Ts(out) => Bytes::copy_from_slice(out), // without the spare room behind it
            Content::Fmp4(_) if !open.parts.is_empty() => parts::joined(&open.parts),
            Content::Fmp4(fragment) => {
                self.fragments += 1;
                fragment.write(&open.tracks, self.fragments, end)
            }
        };
        let duration = Ticks((end - open.start).0.max(1));
        let Open { discontinuity, independent, start, .. } = open;
        self.segments.push_back(Arc::new(Segment {
            sequence,
            duration,
            discontinuity,
            independent,
            init: open.init,
            data,
            wall_ms: self.options.epoch_ms + start.as_millis(),
            parts: open.parts,
        }));
        let surplus = self.segments.len().saturating_sub(self.options.listed + LATE);
        self.segments.drain(..surplus);
        self.target_s = self.target_s.max(whole_seconds(duration));
        self.discontinuities += u64::from(discontinuity);
        self.window()
    }

    fn window(&self) -> Arc<Window> {
        let late = self.segments.len().saturating_sub(self.options.listed);
        let listed = self.segments.iter().skip(late).filter(|segment| segment.discontinuity).count();
        Arc::new(Window {
            container: self.options.container,
            target_s: self.target_s,
            discontinuities: self.discontinuities - listed as u64,
            late,
            segments: self.segments.iter().cloned().collect(),
            begun: self.begun(),
            ended: self.ended,
        })
    }
}

impl Open {
    /// Whether the segment ends before `unit`, given how long it should be.
    fn ends_before(&self, unit: &AccessUnit, wanted: Ticks) -> bool {
        let size = match &self.content {
            Content::Ts(out) => out.len(),
            Content::Fmp4(fragment) => fragment.size() + self.part.bytes_before,
        };
        if size >= LARGEST {
            return true;
        }
        if !is_reference(unit) {
            return false;
        }
        let elapsed = unit.dts - self.start;
        let video_changed = self.tracks.video != unit.tracks.video;
        let due = elapsed >= wanted || self.tracks.audio != unit.tracks.audio;
        video_changed || elapsed >= LONGEST || unit.key && due
    }

    /// Sound that the segment did not announce waits for the next one.
    fn append(&mut self, ts: &mut TsMuxer, unit: &AccessUnit) {
        if unit.kind == Kind::Audio && self.tracks.audio != unit.tracks.audio {
            return;
        }
        if is_reference(unit) {
            self.reach = unit.dts + (unit.dts - self.newest);
            self.newest = unit.dts;
        }
        match &mut self.content {
            Content::Ts(out) => ts.write(unit, out),
            Content::Fmp4(fragment) => fragment.push(unit),
        };
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the unit's track decides where segments end: the video, if there is one.
fn is_reference(unit: &AccessUnit) -> bool {
    unit.kind == Kind::Video || unit.tracks.video.is_none()
}

/// Whether a player can begin at this unit.
fn is_start(unit: &AccessUnit) -> bool {
    unit.key && is_reference(unit)
}

/// Rounded as EXT-X-TARGETDURATION compares (RFC 8216 §4.3.3.1), and never 0.
fn whole_seconds(duration: Ticks) -> i64 {
    ((duration.0 + 45_000) / 90_000).max(1)
}

#[cfg(test)]
mod tests;
