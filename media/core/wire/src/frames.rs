//! Frames from PES packets: which of them belong together, and when a frame is complete.
//!
//! A video frame ends when another one begins: at a pack header with another RTP timestamp, at another PTS, or at
//! a NAL unit that starts a picture. To hand it on sooner, the end is also taken from the marker bit, or from a
//! packet that is shorter than the others and ends with the PES packet, once the device is known to keep to that.
//! Where PES packets begin in the middle of pictures, NAL units alone tell (`cutter`).

mod cutter;
mod open;
mod seam;
mod strangers;
mod streams;
#[cfg(test)]
mod tests;
mod times;

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

pub(crate) use self::open::begins_with_code;
use self::{
    cutter::Cutter,
    open::{Open, OtherTimes, Seam, begins_inside},
    streams::{Choice, Streams},
};
use crate::{
    endings::{Early, Endings, Tail},
    fault::Fault,
    habit::Habit,
    media::{Kind, VideoCodec},
    ps::{MapEntry, PesHeader, ProgramMap, Sink, is_video},
    timeline::Stamp,
};

/// What comes out.
#[derive(Debug)]
pub(crate) enum Event {
    /// A complete frame: video as Annex B, audio as the PES packet had it.
    Frame(Frame),
    /// Another program stream map than before.
    Map {
        video: Option<MapEntry>,
        audio: Option<MapEntry>,
    },
    /// Video bytes are lost: what follows up to the next key frame cannot be decoded.
    VideoGap,
    Fault(Fault),
}

/// One frame as the device sent it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) data: BytesMut,
    pub(crate) stamp: Stamp,
}

/// A frame buffer's first size.
const BUFFER: usize = 4 << 10;
/// Sound that waits for a picture to be complete: more of it shows that no other one follows soon.
const SOUND_MAX: usize = 8;
/// So many bytes show whether a NAL unit starts a picture: start code, header, first byte of the slice.
const PROBE: usize = 8;
/// What video is read as until its coding is known: that of most devices.
const UNPROVED: VideoCodec = VideoCodec::H264;
/// So many bytes at the start of a frame hold the parameter sets that prove its coding.
const SETS: usize = 1024;

/// So many zeros may be all that was held back of a start code in the packet before.
const ZEROS_HELD: usize = 3;

/// Where payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Video,
    Audio,
    Nowhere,
}

/// Joins PES packets to frames.
#[derive(Debug)]
pub(crate) struct Frames {
    limit: usize,
    codec: Option<VideoCodec>, // once it is known
    events: VecDeque<Event>,
    video: Option<Open>,
    audio: Option<Open>,
    target: Target,
    streams: Streams,
    // of the current packet
    timestamp: u32,
    first: bool,   // nothing of the packet was read yet
    in_row: u8,    // packets left out before it
    touched: bool, // it had bytes of the open video frame
    new_pack: bool,
    key_expected: bool, // a system header or map came in this pack
    // of the stream
    timed: bool,       // a frame had a PTS
    sizes: [usize; 2], // last frame's bytes: others, key frames
    whole: [bool; 2],  // it was one PES packet: the length of the next one's first is that of the frame
    endings: Endings,
    starts: Habit,               // frames begin with PES packets
    after_gap: bool,             // the next frame may begin anywhere, for bytes were lost
    joined: bool,                // the next frame may hold several pictures
    strangers: bool,             // packets in the middle of the open PES packet were left out
    cutter: Option<Box<Cutter>>, // they do not
}

impl Frames {
    /// Frames of PES packets that may begin anywhere.
    pub(crate) fn new(limit: usize) -> Self {
        Self { starts: Habit::new(), ..Self::of_aligned(limit) }
    }

    /// Frames that are known to begin with PES packets.
    pub(crate) fn of_aligned(limit: usize) -> Self {
        Self {
            limit,
            codec: None,
            events: VecDeque::new(),
            video: None,
            audio: None,
            target: Target::Nowhere,
            streams: Streams::default(),
            timestamp: 0,
            first: false,
            in_row: 0,
            touched: false,
            new_pack: false,
            key_expected: false,
            timed: false,
            sizes: [BUFFER; 2],
            whole: [false; 2],
            endings: Endings::new(),
            starts: Habit::certain(),
            after_gap: false,
            joined: false,
            strangers: false,
            cutter: None,
        }
    }

    pub(crate) fn begin_packet(&mut self, timestamp: u32) {
        self.timestamp = timestamp;
        self.in_row = 0;
        self.first = true;
        self.touched = false;
    }

    /// Takes a packet that has nothing but `bytes` of the open video frame and is no end of it, as `begin_packet`, `data` and
    /// `end_packet` would; false, and nothing done, where there is more to it.
    #[inline]
    pub(crate) fn handle_middle(&mut self, timestamp: u32, bytes: &[u8]) -> bool {
        let (Target::Video, Some(frame), None) = (self.target, &mut self.video, &self.cutter) else {
            return false;
        };
        let plain = frame.is_plain(timestamp) && bytes.len() > ZEROS_HELD;
        if !plain || frame.data.len() + bytes.len() > self.limit {
            return false;
        }
        self.timestamp = timestamp;
        (self.first, self.touched, self.in_row) = (false, true, 0);
        frame.packets += 1;
        frame.data.put_slice(bytes);
        self.endings.measure(bytes.len());
        true
    }

    /// Takes what the packet's end tells about the frame's; `ends`: a PES packet may be complete here.
    pub(crate) fn end_packet(&mut self, marker: bool, len: usize, ends: bool) {
        let short = self.endings.measure(len) && self.touched;
        let Some(frame) = &mut self.video else { return };
        if frame.over {
            return; // a pack may begin in the middle of a picture: what comes in it shows that
        }
        if !ends {
            if marker && self.touched {
                self.endings.breach(Tail { marker, short: false });
            }
            frame.tail = Tail::default();
            return;
        }
        frame.tail = Tail { marker, short };
        if self.endings.is_end(frame.tail) {
            self.endings.hand_on(Early { timestamp: frame.timestamp, pts: frame.pts, tail: frame.tail });
            self.finish_video();
        }
    }

    pub(crate) fn handle_gap(&mut self) -> bool {
        self.audio = None;
        self.endings.handle_gap();
        self.target = Target::Nowhere;
        self.new_pack = false;
        self.after_gap = true;
        self.strangers = false;
        let cut = self.cutter.as_mut().is_some_and(|cutter| cutter.handle_gap());
        let frame = self.video.take();
        let hit = frame.is_some() || cut;
        self.events.extend(frame.into_iter().flat_map(|frame| frame.sound));
        hit
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The coding that the video really has.
    pub(crate) fn set_codec(&mut self, codec: VideoCodec) {
        self.codec = Some(codec);
    }

    /// What comes next belongs to the open frame of this kind: transport streams interleave them.
    pub(crate) fn resume(&mut self, kind: Kind) {
        self.target = if kind == Kind::Video { Target::Video } else { Target::Audio };
    }

    /// The open frame is over, for another one begins.
    pub(crate) fn close_video(&mut self) {
        if let Some(frame) = &self.video {
            self.endings.end(frame.tail);
            self.finish_video();
        }
        self.endings.settle();
    }

    fn finish_video(&mut self) {
        self.split_seam();
        let Some(mut frame) = self.video.take() else { return };
        let sound = std::mem::take(&mut frame.sound);
        match frame.times {
            OtherTimes::None | OtherTimes::Strange if frame.packets > 1 => self.endings.stamps.held(),
            OtherTimes::Came | OtherTimes::Went => self.endings.stamps.broken(),
            OtherTimes::None | OtherTimes::Strange => {}
        }
        if frame.damaged || frame.times == OtherTimes::Strange {
            self.fault(Fault::DamagedUnit);
            self.events.push_back(Event::VideoGap);
        } else if !frame.data.is_empty() {
            let codec = frame.coding(self.codec, SETS.min(frame.data.len()));
            self.check_start(codec, &frame.data);
            self.sizes[usize::from(self.key_expected)] = frame.data.len();
            self.whole[usize::from(self.key_expected)] = frame.parts == 1;
            self.key_expected = false;
            let stamp = frame.stamp();
            self.timed |= frame.pts.is_some();
            if frame.pts.is_none() && self.timed {
                self.fault(Fault::TimestampMissing);
            }
            self.events.push_back(Event::Frame(Frame { kind: Kind::Video, data: frame.data, stamp }));
        }
        self.events.extend(sound);
    }

    /// Whether frames begin with PES packets is learnt from each. If they seemed to, and this one does not, the one before it
    /// was cut in two.
    fn check_start(&mut self, codec: Option<VideoCodec>, data: &[u8]) {
        let after_gap = std::mem::take(&mut self.after_gap);
        if begins_with_code(data) && !begins_inside(codec, data) {
            self.starts.held();
        } else if self.starts.is_trusted() && !after_gap {
            self.starts.broken();
            self.fault(Fault::SplitUnit);
            self.events.push_back(Event::VideoGap);
        }
    }

    fn begin_video(&mut self, header: &PesHeader) {
        self.target = Target::Video;
        let new_pack = std::mem::take(&mut self.new_pack);
        if self.video.as_ref().is_some_and(Open::is_apart) {
            self.split_seam();
        }
        if let Some(cutter) = &mut self.cutter {
            return cutter.handle_pes(header, self.timestamp);
        }
        if self.continues_early(header, new_pack) {
            self.target = Target::Nowhere;
            return;
        }
        if let Some(frame) = &mut self.video {
            let same_time = frame.timestamp == self.timestamp;
            let other_pts = header.pts.is_some() && frame.pts.is_some() && header.pts != frame.pts;
            let stamped_apart =
                !same_time && self.first && header.pts.is_none() && self.endings.stamps.is_trusted();
            let spoilt = new_pack && frame.damaged;
            let apart = other_pts || stamped_apart || frame.over;
            let certain = apart && (self.starts.is_trusted() || frame.damaged);
            if !certain && !spoilt {
                frame.parts += 1;
                let may_begin = new_pack || (self.first && !same_time);
                if apart || (may_begin && frame.seam.is_none()) {
                    let (at, tail) = (frame.data.len(), std::mem::take(&mut frame.tail));
                    let PesHeader { pts, dts, .. } = *header;
                    frame.seam = Some(Seam { at, pts, dts, timestamp: self.timestamp, tail, apart });
                } else if frame.pts.is_none() {
                    (frame.pts, frame.dts) = (header.pts, header.dts);
                }
                return;
            }
            self.close_video();
        }
        self.endings.settle();
        self.video = Some(Open::new(self.capacity(header.len).min(self.limit), header, self.timestamp));
        self.touched = false;
        if std::mem::take(&mut self.joined) {
            self.cut_units();
        }
    }

    /// How much room a frame gets whose first PES packet has `len` bytes: what is too much stays unused for as long as the
    /// frame is kept, what is too little costs a copy.
    fn capacity(&self, len: Option<usize>) -> usize {
        let last = self.sizes[usize::from(self.key_expected)];
        let whole = self.whole[usize::from(self.key_expected)];
        len.filter(|_| whole).unwrap_or((last + last / 4).max(BUFFER))
    }

    /// Whether this belongs to a frame that was handed on already: the device broke its habit.
    fn continues_early(&mut self, header: &PesHeader, new_pack: bool) -> bool {
        let Some(early) = self.endings.early() else { return false };
        let same = early.timestamp == self.timestamp && (header.pts.is_none() || header.pts == early.pts);
        if new_pack || !same || self.video.is_some() {
            return false;
        }
        self.breach(&[1]);
        true
    }

    /// More of a frame that was handed on already; zeros behind it do not count.
    fn breach(&mut self, bytes: &[u8]) {
        if bytes.iter().all(|&byte| byte == 0) {
            return;
        }
        if self.endings.deny() {
            self.fault(Fault::SplitUnit);
            self.events.push_back(Event::VideoGap);
            self.target = Target::Nowhere;
        }
    }

    fn begin_audio(&mut self, header: &PesHeader) {
        self.target = Target::Audio;
        self.finish_audio(true);
        let capacity = header.len.unwrap_or(1024).max(64);
        self.audio = Some(Open::new(capacity, header, self.timestamp));
    }

    fn finish_audio(&mut self, whole: bool) {
        let Some(frame) = self.audio.take() else { return };
        if whole && !frame.damaged && !frame.data.is_empty() {
            let stamp = frame.stamp();
            let sound = Event::Frame(Frame { kind: Kind::Audio, data: frame.data, stamp });
            match self.video.as_mut().filter(|frame| frame.over) {
                Some(frame) => frame.sound.push(sound),
                None => self.events.push_back(sound),
            }
            if self.video.as_ref().is_some_and(|frame| frame.sound.len() > SOUND_MAX) {
                self.close_video();
            }
        }
    }

    /// Whether the stream of this id is the one to use.
    fn selects(&mut self, stream_id: u8) -> bool {
        match self.streams.choose(stream_id) {
            Choice::InUse => return true,
            Choice::Stray => {
                self.fault(Fault::ExtraStream);
                return false;
            }
            Choice::Changed if is_video(stream_id) => {
                self.handle_gap();
                self.cutter = None;
                self.new_pack = true;
                self.events.push_back(Event::VideoGap);
            }
            Choice::Changed => self.audio = None,
        }
        self.events.extend(self.streams.codings());
        true
    }
}

impl Sink for Frames {
    fn pack(&mut self) {
        self.first = false;
        self.new_pack = true;
        // Packs of one time may share a frame; what their PES packets bear decides then.
        if let Some(frame) = self.video.as_mut().filter(|frame| frame.timestamp != self.timestamp) {
            frame.over = true;
            if self.starts.is_trusted() {
                self.close_video();
            }
        }
        self.key_expected = false;
    }

    fn system_header(&mut self) {
        self.key_expected = true;
    }

    fn map(&mut self, map: &ProgramMap) {
        self.key_expected = true;
        self.events.extend(self.streams.handle_map(map));
    }

    fn pes(&mut self, header: &PesHeader) {
        if !self.selects(header.stream_id) {
            self.target = Target::Nowhere;
        } else if is_video(header.stream_id) {
            self.begin_video(header);
        } else {
            self.begin_audio(header);
        }
        self.first = false;
    }

    fn data(&mut self, bytes: &[u8]) {
        self.first = false;
        let (frame, video) = match self.target {
            Target::Video if self.cutter.is_some() => return self.cut(bytes),
            Target::Video => (&mut self.video, true),
            Target::Audio => (&mut self.audio, false),
            Target::Nowhere => return,
        };
        let Some(frame) = frame else { return self.breach(bytes) };
        if frame.damaged {
            return;
        }
        if frame.len() + bytes.len() > self.limit {
            frame.damaged = true;
            frame.data = BytesMut::new();
            frame.seam = None;
            return self.fault(Fault::FrameTooBig);
        }
        frame.data.put_slice(bytes);
        let probes = frame.seam.is_some_and(|seam| frame.data.len() >= seam.at + PROBE);
        if video && !self.touched && (bytes.len() > ZEROS_HELD || bytes.iter().any(|&byte| byte != 0)) {
            self.touch();
        }
        if probes {
            self.split_seam();
        }
    }

    fn pes_end(&mut self, whole: bool) {
        match self.target {
            Target::Audio => self.finish_audio(whole),
            Target::Video => {
                if std::mem::take(&mut self.strangers) && !whole {
                    self.endings.stamps.broken(); // its end was among them
                }
                if let Some(cutter) = self.cutter.as_mut().filter(|_| !whole) {
                    cutter.handle_damage(&mut self.events);
                } else if let Some(frame) = &mut self.video {
                    frame.damaged |= !whole;
                }
            }
            Target::Nowhere => {}
        }
        if !whole {
            self.target = Target::Nowhere;
        }
    }

    fn fault(&mut self, fault: Fault) {
        if let (Some(frame), Fault::PesLength | Fault::Resync) = (&mut self.video, fault)
            && frame.times == OtherTimes::Went
        {
            frame.times = OtherTimes::Strange;
        }
        self.events.push_back(Event::Fault(fault));
    }
}

impl Frames {
    /// A packet's first bytes of the open video frame.
    fn touch(&mut self) {
        self.touched = true;
        let Some(frame) = self.video.as_mut().filter(|frame| !frame.is_apart()) else { return };
        frame.packets += 1;
        let tail = std::mem::take(&mut frame.tail);
        frame.times = match (frame.times, frame.timestamp == self.timestamp) {
            (OtherTimes::None, false) => OtherTimes::Came,
            (OtherTimes::Came, true) => OtherTimes::Went,
            (times, _) => times,
        };
        self.endings.breach(tail);
    }
}
