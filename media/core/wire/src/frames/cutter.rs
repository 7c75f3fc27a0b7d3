//! Access units of video whose PES packets begin anywhere, as ffmpeg muxes them: each has some 2 KiB, and may hold the
//! end of one picture and the beginning of the next.
//!
//! Such a stream is cut where a NAL unit begins another access unit. The times of a PES packet are those of the first
//! access unit that commences in it (ISO/IEC 13818-1 §2.4.3.7); those of others are counted on.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, BytesMut};
use memchr::memmem;

use super::{
    Event, Frame, UNPROVED,
    open::{Open, ZEROS_MAX, begins_with_code},
    times::{Stated, Times},
};
use crate::{
    fault::Fault,
    media::{Kind, VideoCodec},
    nal,
    ps::PesHeader,
};

const START_CODE: [u8; 3] = [0, 0, 1];
/// So many bytes behind a start code tell what its NAL unit is, and which coding it proves.
const HEAD: usize = 4;
/// So many pictures in a row that begin with their PES packets show that all do now.
const ALIGNED: u16 = 64;

/// Where a PES packet began.
#[derive(Debug)]
struct Mark {
    at: usize,
    stated: Stated,
}

/// Cuts the bytes of one video stream.
#[derive(Debug)]
pub(super) struct Cutter {
    limit: usize,
    data: BytesMut,
    /// PES packets that began in `data`; the first is the one that `data` begins in.
    marks: VecDeque<Mark>,
    /// What is stated of the picture that `data` begins with.
    stated: Stated,
    /// Start codes before this place have been looked at.
    scanned: usize,
    /// The open access unit has a slice.
    sliced: bool,
    /// `data` begins with an access unit, not in the middle of one.
    synced: bool,
    aligned: u16,
    times: Times,
}

impl Cutter {
    /// Goes on with a frame in which a PES packet turned out to begin in the middle of a picture.
    pub(super) fn new(limit: usize, frame: Open) -> Self {
        let stated = Stated { pts: frame.pts, dts: frame.dts, timestamp: frame.timestamp };
        let synced = begins_with_code(&frame.data);
        let left = if synced { stated.used() } else { stated };
        let mut cutter = Self {
            limit,
            data: frame.data,
            marks: VecDeque::from([Mark { at: 0, stated: left }]),
            stated,
            scanned: 0,
            sliced: false,
            synced,
            aligned: 0,
            times: Times::new(),
        };
        if let Some(seam) = frame.seam {
            let stated = Stated { pts: seam.pts, dts: seam.dts, timestamp: seam.timestamp };
            cutter.mark(seam.at, stated);
        }
        cutter
    }

    /// A PES packet begins.
    pub(super) fn handle_pes(&mut self, header: &PesHeader, timestamp: u32) {
        self.mark(self.data.len(), Stated { pts: header.pts, dts: header.dts, timestamp });
    }

    fn mark(&mut self, at: usize, stated: Stated) {
        // No access unit begins any more before what was looked at: few marks are left, however small the packets.
        self.move_marks(self.scanned.saturating_sub(ZEROS_MAX));
        match self.marks.back_mut() {
            Some(last) if last.at == at => last.stated = stated,
            _ => self.marks.push_back(Mark { at, stated }),
        }
    }

    /// Takes payload; complete access units go to `events`. Parameter sets may prove another `codec`.
    pub(super) fn handle_data(
        &mut self,
        bytes: &[u8],
        codec: &mut Option<VideoCodec>,
        events: &mut VecDeque<Event>,
    ) {
        self.data.put_slice(bytes);
        while let Some(end) = self.find_end(codec) {
            if self.synced {
                let data = self.data.split_to(end);
                let stamp = self.times.handle_picture(self.stated, codec.unwrap_or(UNPROVED), &data);
                events.push_back(Event::Frame(Frame { kind: Kind::Video, data, stamp }));
            } else {
                self.data.advance(end);
            }
            self.begin(end);
        }
        if !self.synced {
            self.skip();
        } else if self.data.len() > self.limit {
            events.push_back(Event::Fault(Fault::FrameTooBig));
            self.handle_damage(events);
        }
    }

    /// Finds where the next access unit begins.
    fn find_end(&mut self, codec: &mut Option<VideoCodec>) -> Option<usize> {
        loop {
            let Some(code) = memmem::find(&self.data[self.scanned..], &START_CODE) else {
                self.scanned = self.scanned.max(self.data.len().saturating_sub(START_CODE.len() - 1));
                return None;
            };
            let code = self.scanned + code;
            let Some(head) = self.data[code + START_CODE.len()..].first_chunk::<HEAD>() else {
                self.scanned = code;
                return None;
            };
            *codec = nal::evidence(head).or(*codec);
            let codec = codec.unwrap_or(UNPROVED);
            self.scanned = code + START_CODE.len();
            let slice = nal::kind(codec, head).is_slice();
            let begins = (self.sliced || !self.synced) && nal::starts_access_unit(codec, head);
            self.sliced = slice || (self.sliced && !begins);
            if begins {
                return Some(self.edge(code));
            }
        }
    }

    /// Where the access unit begins whose first start code stands at `code`. That has a fourth byte (H.264 §B.1.2), and other
    /// zeros before it end what was before; but not those that a PES packet begins with.
    fn edge(&self, code: usize) -> usize {
        let zeros = self.data[..code].iter().rev().take(ZEROS_MAX).take_while(|&&byte| byte == 0).count();
        let last = self.marks.iter().rev().map(|mark| mark.at).find(|&at| at < code);
        last.filter(|at| at + zeros >= code).unwrap_or(code - zeros.min(1))
    }

    /// An access unit begins `at` so many bytes behind what has just been taken away.
    fn begin(&mut self, at: usize) {
        self.move_marks(at);
        self.synced = true;
        if let Some(mark) = self.marks.front_mut() {
            self.aligned = if mark.at == at { self.aligned.saturating_add(1) } else { 0 };
            self.stated = mark.stated;
            mark.stated = mark.stated.used();
        }
        self.shift(at);
    }

    /// What is in the middle of an access unit is of no use.
    fn skip(&mut self) {
        let done = self.scanned.saturating_sub(1); // a zero before a start code belongs to it
        self.data.advance(done);
        self.move_marks(done);
        self.shift(done);
    }

    /// Forgets the marks before the one that `at` lies in.
    fn move_marks(&mut self, at: usize) {
        while self.marks.get(1).is_some_and(|mark| mark.at <= at) {
            self.marks.pop_front();
        }
    }

    /// So many bytes were taken away.
    fn shift(&mut self, len: usize) {
        self.scanned -= len;
        for mark in &mut self.marks {
            mark.at = mark.at.saturating_sub(len);
        }
    }

    /// Bytes of a PES packet are missing.
    pub(super) fn handle_damage(&mut self, events: &mut VecDeque<Event>) {
        if self.handle_gap() {
            events.push_back(Event::Fault(Fault::DamagedUnit));
            events.push_back(Event::VideoGap);
        }
    }

    /// Bytes are missing here; whether an access unit was hit.
    pub(super) fn handle_gap(&mut self) -> bool {
        self.data = BytesMut::new();
        self.marks.clear();
        (self.scanned, self.sliced, self.aligned) = (0, false, 0);
        self.times.handle_gap();
        std::mem::take(&mut self.synced)
    }

    /// The frame that is open now, if PES packets have begun with pictures for long: they can be trusted again.
    pub(super) fn release(&mut self) -> Option<Open> {
        if self.aligned < ALIGNED {
            return None;
        }
        let Stated { pts, dts, timestamp } = self.stated;
        let mut frame = Open::new(0, &PesHeader { stream_id: 0, pts, dts, len: None }, timestamp);
        (frame.data, frame.packets) = (std::mem::take(&mut self.data), 1);
        Some(frame)
    }
}
