//! Frames from PES packets: which of them belong together, and when a frame is complete.
//!
//! A video frame ends when another one begins: at a pack header with another RTP timestamp, at another PTS, or at
//! a NAL unit that starts a picture. To hand it on sooner, the end is also taken from the marker bit, or from a
//! packet that is shorter than the others and ends with the PES packet, once the device is known to keep to that.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use crate::{
    endings::{Early, Endings, Tail},
    fault::Fault,
    media::{Kind, VideoCodec},
    nal,
    ps::{MapEntry, PesHeader, ProgramMap, Sink, is_audio, is_video},
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

/// Clock of RTP timestamps for PS (RFC 2250 §3, GB/T 28181-2016 annex C).
const CLOCK: u32 = 90_000;
/// A frame buffer's first size.
const BUFFER: usize = 4 << 10;
/// So many bytes show whether a NAL unit starts a picture: start code, header, first byte of the slice.
const PROBE: usize = 8;

/// Where payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Video,
    Audio,
    Nowhere,
}

/// A frame that is being put together.
#[derive(Debug)]
struct Open {
    data: BytesMut,
    pts: Option<u64>,
    dts: Option<u64>,
    timestamp: u32,
    packets: u32,
    parts: u32, // PES packets
    damaged: bool,
    /// How the last packet that the frame was open at ended.
    tail: Tail,
    /// A new pack of the same time began here; it may be another frame.
    seam: Option<Seam>,
}

#[derive(Debug, Clone, Copy)]
struct Seam {
    at: usize,
    pts: Option<u64>,
    dts: Option<u64>,
    tail: Tail, // of the packet before
}

impl Open {
    fn new(capacity: usize, header: &PesHeader, timestamp: u32) -> Self {
        Self {
            data: BytesMut::with_capacity(capacity),
            pts: header.pts,
            dts: header.dts,
            timestamp,
            packets: 0,
            parts: 1,
            damaged: false,
            tail: Tail::default(),
            seam: None,
        }
    }

    fn stamp(&self) -> Stamp {
        match self.pts {
            Some(pts) => Stamp::Pes { pts, dts: self.dts },
            None => Stamp::Rtp { timestamp: self.timestamp, rate: CLOCK },
        }
    }
}

/// Joins PES packets to frames.
#[derive(Debug)]
pub(crate) struct Frames {
    limit: usize,
    codec: VideoCodec,
    events: VecDeque<Event>,
    video: Option<Open>,
    audio: Option<Open>,
    target: Target,
    video_id: Option<u8>,
    audio_id: Option<u8>,
    map: Option<ProgramMap>,
    // of the current packet
    timestamp: u32,
    first: bool,   // nothing of the packet was read yet
    touched: bool, // it had bytes of the open video frame
    new_pack: bool,
    key_expected: bool, // a system header or map came in this pack
    // of the stream
    timed: bool,       // a frame had a PTS
    sizes: [usize; 2], // last frame's bytes: others, key frames
    whole: [bool; 2],  // it was one PES packet: the length of the next one's first is that of the frame
    endings: Endings,
}

impl Frames {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            codec: VideoCodec::H264,
            events: VecDeque::new(),
            video: None,
            audio: None,
            target: Target::Nowhere,
            video_id: None,
            audio_id: None,
            map: None,
            timestamp: 0,
            first: false,
            touched: false,
            new_pack: false,
            key_expected: false,
            timed: false,
            sizes: [BUFFER; 2],
            whole: [false; 2],
            endings: Endings::new(),
        }
    }

    pub(crate) fn begin_packet(&mut self, timestamp: u32) {
        self.timestamp = timestamp;
        self.first = true;
        self.touched = false;
    }

    /// Takes what the packet's end tells about the frame's; `ends`: a PES packet may be complete here.
    pub(crate) fn end_packet(&mut self, marker: bool, len: usize, ends: bool) {
        let short = self.endings.measure(len) && self.touched;
        let Some(frame) = &mut self.video else { return };
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
        self.video.take().is_some()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The coding that the video really has.
    pub(crate) fn set_codec(&mut self, codec: VideoCodec) {
        self.codec = codec;
    }

    /// What comes next belongs to the open frame of this kind: transport streams interleave them.
    pub(crate) fn resume(&mut self, kind: Kind) {
        self.target = if kind == Kind::Video { Target::Video } else { Target::Audio };
    }

    /// Whether the packet of RTP time `timestamp` comes in the middle of a video frame, of another time, though
    /// the device is known to stamp all packets of a frame alike.
    pub(crate) fn is_apart(&self, timestamp: u32) -> bool {
        let frame =
            self.video.as_ref().filter(|_| self.target == Target::Video && self.endings.stamps.is_trusted());
        frame.is_some_and(|frame| frame.timestamp != timestamp)
    }

    /// The open frame is over, for another one begins.
    pub(crate) fn close_video(&mut self) {
        if let Some(frame) = &self.video {
            let (tail, packets) = (frame.tail, frame.packets);
            if packets > 1 {
                self.endings.stamps.held();
            }
            self.endings.end(tail);
            self.finish_video();
        }
        self.endings.settle();
    }

    fn finish_video(&mut self) {
        self.split_seam();
        let Some(frame) = self.video.take() else { return };
        if frame.damaged {
            self.fault(Fault::DamagedUnit);
            return self.events.push_back(Event::VideoGap);
        }
        if !frame.data.is_empty() {
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
    }

    /// Decides, once enough bytes are there, whether a new pack of the same time began another frame.
    fn split_seam(&mut self) {
        let Some(frame) = &mut self.video else { return };
        let Some(seam) = frame.seam.take() else { return };
        let begins = |data: &[u8]| {
            let nal = nal::annex_b(data).next().filter(|span| span.start <= 4);
            nal.is_some_and(|span| nal::starts_access_unit(self.codec, &data[span]))
        };
        let (before, behind) = frame.data.split_at(seam.at);
        let sliced = || {
            nal::annex_b(before).any(|span| {
                matches!(nal::kind(self.codec, &before[span]), nal::NalKind::Slice | nal::NalKind::KeySlice)
            })
        };
        if !begins(&behind[..behind.len().min(64)]) || !sliced() {
            return self.endings.breach(seam.tail);
        }
        self.endings.end(seam.tail);
        let Some(frame) = &mut self.video else { return };
        let rest = frame.data.split_off(seam.at);
        let timestamp = frame.timestamp;
        let damaged = std::mem::take(&mut frame.damaged);
        self.finish_video();
        let header = PesHeader { stream_id: 0, pts: seam.pts, dts: seam.dts, len: None };
        let mut next = Open::new(0, &header, timestamp);
        (next.data, next.packets, next.damaged) = (rest, 1, damaged);
        self.video = Some(next);
    }

    fn begin_video(&mut self, header: &PesHeader) {
        self.target = Target::Video;
        let new_pack = std::mem::take(&mut self.new_pack);
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
            if !other_pts && !stamped_apart && !spoilt {
                frame.parts += 1;
                if new_pack && frame.seam.is_none() {
                    let tail = std::mem::take(&mut frame.tail);
                    frame.seam = Some(Seam { at: frame.data.len(), pts: header.pts, dts: header.dts, tail });
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
            self.events.push_back(Event::Frame(Frame { kind: Kind::Audio, data: frame.data, stamp }));
        }
    }

    /// Whether the stream of this id is the one to use: the first one of its kind.
    fn selects(&mut self, stream_id: u8) -> bool {
        let chosen = if is_video(stream_id) { &mut self.video_id } else { &mut self.audio_id };
        if *chosen.get_or_insert(stream_id) == stream_id {
            return true;
        }
        self.fault(Fault::ExtraStream);
        false
    }
}

impl Sink for Frames {
    fn pack(&mut self) {
        self.first = false;
        self.new_pack = true;
        // Packs of one time may share a frame; what their PES packets bear decides then.
        if self.video.as_ref().is_some_and(|frame| frame.timestamp != self.timestamp) {
            self.close_video();
        }
        self.key_expected = false;
    }

    fn system_header(&mut self) {
        self.key_expected = true;
    }

    fn map(&mut self, map: &ProgramMap) {
        self.key_expected = true;
        if self.map.as_ref() == Some(map) {
            return;
        }
        // Of several streams, the one in use; its id is what came first, whatever maps say.
        let entry = |known: Option<u8>, of: fn(u8) -> bool| {
            let mut streams = map.streams.iter().filter(|entry| of(entry.stream_id));
            let used = streams.clone().find(|entry| Some(entry.stream_id) == known);
            used.or_else(|| streams.next()).copied()
        };
        let (video, audio) = (entry(self.video_id, is_video), entry(self.audio_id, is_audio));
        self.events.push_back(Event::Map { video, audio });
        self.map = Some(map.clone());
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
            Target::Video => (&mut self.video, true),
            Target::Audio => (&mut self.audio, false),
            Target::Nowhere => return,
        };
        let Some(frame) = frame else { return self.breach(bytes) };
        if frame.damaged {
            return;
        }
        if frame.data.len() + bytes.len() > self.limit {
            frame.damaged = true;
            frame.data = BytesMut::new();
            frame.seam = None;
            return self.fault(Fault::FrameTooBig);
        }
        frame.data.put_slice(bytes);
        let probes = frame.seam.is_some_and(|seam| frame.data.len() >= seam.at + PROBE);
        // A few zeros may be all that was held back of a start code in the packet before.
        if video && !self.touched && (bytes.len() > 3 || bytes.iter().any(|&byte| byte != 0)) {
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
                if let Some(frame) = &mut self.video {
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
        self.events.push_back(Event::Fault(fault));
    }
}

impl Frames {
    /// A packet's first bytes of the open video frame.
    fn touch(&mut self) {
        self.touched = true;
        let Some(frame) = &mut self.video else { return };
        frame.packets += 1;
        let tail = std::mem::take(&mut frame.tail);
        if frame.timestamp != self.timestamp {
            self.endings.stamps.broken();
        }
        self.endings.breach(tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of so many PES packets of 9,000 bytes each; what was reserved for the last of them.
    fn reserved(frames: &mut Frames, parts: [usize; 3]) -> usize {
        for (parts, time) in parts.into_iter().zip(1_u32..) {
            frames.begin_packet(time);
            frames.pack();
            for part in 0..parts {
                let pts = (part == 0).then_some(u64::from(time));
                frames.pes(&PesHeader { stream_id: 0xE0, pts, dts: None, len: Some(9000) });
                frames.data(&[1; 9000]);
                frames.pes_end(true);
            }
        }
        frames.finish_video();
        let last = std::iter::from_fn(|| frames.poll_event()).last();
        let Some(Event::Frame(Frame { data, .. })) = last else { panic!("{last:?}") };
        assert_eq!(data.len(), parts[2] * 9000);
        data.capacity()
    }

    #[test]
    fn a_frame_of_one_pes_packet_takes_no_more_than_its_bytes() {
        assert_eq!(reserved(&mut Frames::new(1 << 20), [1, 1, 1]), 9000);
        assert_eq!(reserved(&mut Frames::new(1 << 20), [2, 2, 2]), 22_500, "a quarter above the last one");
        assert_eq!(reserved(&mut Frames::new(1 << 20), [2, 2, 1]), 22_500);
    }
}
