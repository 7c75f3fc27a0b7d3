//! Takes program streams apart (ISO/IEC 13818-1 §2.5), as devices send them: GB/T 28181-2016 annex C.
//!
//! ```text
//! key frame:    pack header | system header | PSM | PES video … | PES audio
//! other frames: pack header | PES video … | PES audio
//! ```
//! Bytes may be cut anywhere; payload goes to the `Sink` without being stored. What the stream gets wrong is
//! told as a `Fault` and read as well as possible. Frames are not put together here.

mod header;
pub(crate) mod map;

use memchr::memmem;

use self::header::{Unit, parse, parse_pes};
pub use self::{
    header::PesHeader,
    map::{MapEntry, ProgramMap},
};
use crate::fault::Fault;

const START_CODE: [u8; 3] = [0, 0, 1];
const PACK: u8 = 0xBA;
const SYSTEM: u8 = 0xBB;
const MAP: u8 = 0xBC;
const END: u8 = 0xB9;

/// Whether `id` behind `00 00 01` belongs to the system layer: NAL unit headers are always below.
fn is_systemic(id: u8) -> bool {
    id >= END
}

/// Whether a stream id is video (ISO/IEC 13818-1 table 2-22).
pub fn is_video(stream_id: u8) -> bool {
    matches!(stream_id, 0xE0..=0xEF)
}

/// Whether a stream id is audio (ISO/IEC 13818-1 table 2-22).
pub fn is_audio(stream_id: u8) -> bool {
    matches!(stream_id, 0xC0..=0xDF)
}

/// What a program stream consists of, in order.
pub trait Sink {
    /// A pack began.
    fn pack(&mut self) {}
    /// A system header: devices send it before key frames.
    fn system_header(&mut self) {}
    /// A program stream map.
    fn map(&mut self, _map: &ProgramMap) {}
    /// A PES packet of video or audio began.
    fn pes(&mut self, header: &PesHeader);
    /// Payload of the PES packet that began last.
    fn data(&mut self, bytes: &[u8]);
    /// The PES packet is over; `whole` if it was as long as it said.
    fn pes_end(&mut self, whole: bool);
    /// A deviation.
    fn fault(&mut self, fault: Fault);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Looking for a pack header; `any`: for any start code of the system layer.
    Search { any: bool },
    /// Between units.
    Unit,
    /// In the payload of a PES packet.
    Body { left: usize },
    /// In the payload of a PES packet without length.
    Open,
    /// In a unit of no interest.
    Skip { left: usize },
}

/// Splits one program stream.
#[derive(Debug)]
pub struct Demuxer {
    state: State,
    pending: Vec<u8>,    // the start of a unit, or what may be the start of a start code
    spare: Vec<u8>,      // memory that `pending` gets back
    reopens: Option<u8>, // the video stream whose PES packet has just ended
}

impl Demuxer {
    /// A stream that may begin anywhere: reading starts at the first pack header.
    pub fn new() -> Self {
        Self {
            state: State::Search { any: false },
            pending: Vec::with_capacity(64),
            spare: Vec::with_capacity(64),
            reopens: None,
        }
    }

    /// Bytes are missing here: reading goes on at the next pack header.
    pub fn handle_gap(&mut self) {
        self.state = State::Search { any: false };
        self.pending.clear();
        self.reopens = None;
    }

    /// Whether everything announced so far has come: units can end here.
    pub fn is_between(&self) -> bool {
        self.state == State::Unit && self.pending.is_empty()
    }

    /// Whether the payload of a PES packet with a stated length is being read.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Body { .. })
    }

    /// Whether all of the packet `data` belongs to the PES packet that is being read, and more is to come.
    #[inline]
    pub fn continues(&self, data: &[u8]) -> bool {
        matches!(self.state, State::Body { left } if left > data.len()) && !begins_pack(data)
    }

    /// So many bytes for which `continues` was true were used.
    #[inline]
    pub fn pass(&mut self, len: usize) {
        if let State::Body { left } = &mut self.state {
            *left -= len;
        }
    }

    /// Whether the payload that is being read ends within `data`, and a unit of the system layer begins right behind it.
    pub fn ends_within(&self, data: &[u8]) -> bool {
        let State::Body { left } = self.state else { return false };
        matches!(data.get(left..), Some([0, 0, 1, id, ..]) if is_systemic(*id))
    }

    /// Whether a PES packet without length is being read: only what follows shows its end.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Takes one packet's payload. Devices begin packs at packet starts, which shows PES packets that are
    /// shorter than they said, and packets that do not belong here at all.
    pub fn handle_packet(&mut self, data: &[u8], sink: &mut impl Sink) {
        let inside = !matches!(self.state, State::Search { .. } | State::Open) && !self.is_between();
        if inside && begins_pack(data) {
            self.cut(sink);
        } else if self.is_between() && is_foreign(data) {
            return sink.fault(Fault::ForeignPacket);
        }
        self.handle_bytes(data, sink);
    }

    /// Takes bytes of the stream, cut anywhere.
    pub fn handle_bytes(&mut self, mut data: &[u8], sink: &mut impl Sink) {
        while !data.is_empty() {
            data = match self.state {
                State::Search { any } => self.search(any, data),
                State::Unit => self.unit(data, sink),
                State::Body { left } => self.body(left, data, sink),
                State::Open => self.open(data, sink),
                State::Skip { left } => self.skip(left, data),
            };
        }
    }

    /// The stream is over: a PES packet without length ends.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        match self.state {
            State::Open => {
                sink.data(&std::mem::take(&mut self.pending));
                sink.pes_end(true);
            }
            State::Body { .. } => self.cut(sink),
            _ => {}
        }
        self.handle_gap();
    }

    /// The current unit ends before its stated length.
    fn cut(&mut self, sink: &mut impl Sink) {
        sink.fault(Fault::PesTruncated);
        if let State::Body { .. } = self.state {
            sink.pes_end(false);
        }
        self.pending.clear();
        self.state = State::Unit;
    }

    fn body<'a>(&mut self, left: usize, data: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let (now, rest) = data.split_at(left.min(data.len()));
        sink.data(now);
        self.state = State::Body { left: left - now.len() };
        if left == now.len() {
            self.state = State::Unit;
            sink.pes_end(true);
        }
        rest
    }

    fn skip<'a>(&mut self, left: usize, data: &'a [u8]) -> &'a [u8] {
        let (now, rest) = data.split_at(left.min(data.len()));
        self.state = if left == now.len() { State::Unit } else { State::Skip { left: left - now.len() } };
        rest
    }

    fn search<'a>(&mut self, any: bool, data: &'a [u8]) -> &'a [u8] {
        let wanted = |id: u8| if any { matches!(id, PACK | SYSTEM | MAP | 0xC0..=0xEF) } else { id == PACK };
        self.find(data, wanted, |_| {})
    }

    fn open<'a>(&mut self, data: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let rest = self.find(data, is_systemic, |bytes| sink.data(bytes));
        if self.state == State::Unit {
            sink.pes_end(true);
        }
        rest
    }

    /// Looks for a start code whose id is `wanted`, and stands before it then; `passed` gets the bytes before.
    /// Up to 3 bytes that may be the start of a start code stay in `pending`.
    fn find<'a>(
        &mut self,
        data: &'a [u8],
        wanted: impl Fn(u8) -> bool,
        mut passed: impl FnMut(&[u8]),
    ) -> &'a [u8] {
        if !self.pending.is_empty() {
            return self.find_across(data, wanted, passed);
        }
        for code in memmem::find_iter(data, &START_CODE) {
            match data.get(code + 3) {
                Some(&id) if wanted(id) => {
                    passed(&data[..code]);
                    self.state = State::Unit;
                    return &data[code..];
                }
                _ => {}
            }
        }
        let (done, tail) = data.split_at(data.len() - code_prefix(data));
        passed(done);
        self.pending.extend_from_slice(tail);
        &[]
    }

    /// The same where `pending` and `data` meet.
    fn find_across<'a>(
        &mut self,
        data: &'a [u8],
        wanted: impl Fn(u8) -> bool,
        mut passed: impl FnMut(&[u8]),
    ) -> &'a [u8] {
        let mut seam = [0; 6];
        let held = self.pending.len();
        let len = held + data.len().min(3);
        seam[..held].copy_from_slice(&self.pending);
        seam[held..len].copy_from_slice(&data[..len - held]);
        self.pending.clear();
        for at in 0..held {
            match seam[at..len] {
                [0, 0, 1, id, ..] if wanted(id) => {
                    passed(&seam[..at]);
                    self.state = State::Unit;
                    self.pending.extend_from_slice(&seam[at..held]);
                    return data;
                }
                [0, 0, 1, _, ..] => {}
                ref rest if START_CODE.starts_with(rest) => {
                    passed(&seam[..at]);
                    self.pending.extend_from_slice(rest);
                    return &[]; // all of `data` is in the seam
                }
                _ => {}
            }
        }
        passed(&seam[..held]);
        data
    }

    fn unit<'a>(&mut self, data: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        if self.pending.is_empty() {
            return match parse(data) {
                Unit::More(_) => {
                    self.pending.extend_from_slice(data);
                    &[]
                }
                unit => &data[self.apply(&unit, data, sink)..],
            };
        }
        let mut rest = data;
        if self.pending == [0, 0] {
            rest = &data[data.iter().take_while(|&&byte| byte == 0).count()..]; // stuffing before a start code
        }
        loop {
            match parse(&self.pending) {
                Unit::More(total) => {
                    let missing = total - self.pending.len();
                    let (now, later) = rest.split_at(missing.min(rest.len()));
                    self.pending.extend_from_slice(now);
                    rest = later;
                    if now.len() < missing {
                        return &[];
                    }
                }
                unit => {
                    let held = std::mem::replace(&mut self.pending, std::mem::take(&mut self.spare));
                    let used = self.apply(&unit, &held, sink);
                    self.handle_bytes(&held[used..], sink); // less than a header: it does not come back here
                    self.spare = held;
                    self.spare.clear();
                    return rest;
                }
            }
        }
    }

    /// Acts on what stands at the start of `bytes` and returns how many of them it took.
    fn apply(&mut self, unit: &Unit, bytes: &[u8], sink: &mut impl Sink) -> usize {
        let reopens = self.reopens.take();
        match *unit {
            Unit::Stuffing(len) => {
                self.reopens = reopens;
                return len;
            }
            Unit::Pack { len, bare } => {
                if bare {
                    sink.fault(Fault::BarePackHeader);
                }
                sink.pack();
                return len;
            }
            Unit::Map { len } => {
                map::read(&bytes[..len], sink);
                return len;
            }
            Unit::BadMap => {
                sink.fault(Fault::BadPsm);
                self.state = State::Search { any: true };
                return 4;
            }
            Unit::Pes { header, len } => {
                self.begin(&header, sink);
                return len;
            }
            Unit::Skip { body, bad } => {
                if bad {
                    sink.fault(Fault::BadPesHeader);
                }
                if bytes[3] == SYSTEM {
                    sink.system_header();
                }
                if body > 0 {
                    self.state = State::Skip { left: body };
                }
                return 6;
            }
            Unit::End => return 4,
            Unit::Junk | Unit::More(_) => {}
        }
        if let Some(stream_id) = reopens {
            sink.fault(Fault::PesLength);
            sink.pes(&PesHeader { stream_id, pts: None, dts: None, len: None });
            self.state = State::Open;
            // What stands here is payload, even if it looks like a start code.
            sink.data(&bytes[..1]);
            return 1;
        }
        sink.fault(Fault::Resync);
        self.state = State::Search { any: true };
        1
    }

    fn begin(&mut self, header: &PesHeader, sink: &mut impl Sink) {
        sink.pes(header);
        self.reopens = is_video(header.stream_id).then_some(header.stream_id);
        match header.len {
            None => {
                self.state = State::Open;
                self.reopens = None;
            }
            Some(0) => sink.pes_end(true),
            Some(left) => self.state = State::Body { left },
        }
    }
}

impl Default for Demuxer {
    fn default() -> Self {
        Self::new()
    }
}

/// The header of the PES packet that begins `data`, and its length, whatever its id; `None` if it is cut or none.
pub(crate) fn pes_header_of_any(data: &[u8]) -> Option<(PesHeader, usize)> {
    match parse_pes(data) {
        Unit::Pes { header, len } => Some((header, len)),
        _ => None,
    }
}

/// Whether `data` begins with a pack header, or the bare code of one.
pub fn begins_pack(data: &[u8]) -> bool {
    match data {
        [0, 0, 1, PACK, 0, 0, 1, ..] => true,
        [0, 0, 1, PACK, flags, ..] => flags & 0xC0 == 0x40 || flags & 0xF0 == 0x20,
        _ => false,
    }
}

/// Whether a packet that should begin with a unit holds neither a start code nor stuffing before one.
fn is_foreign(data: &[u8]) -> bool {
    let stuffing = data.iter().take_while(|&&byte| byte == 0xFF).count();
    let rest = &data[stuffing..];
    let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
    match rest.get(zeros) {
        Some(&byte) => zeros < 2 || byte != 1,
        None => rest.is_empty() && stuffing > 16, // silence in µ-law looks like stuffing
    }
}

/// How many bytes at the end of `data` may be the start of `00 00 01 id`.
fn code_prefix(data: &[u8]) -> usize {
    (1..=3.min(data.len())).rev().find(|&len| START_CODE.starts_with(&data[data.len() - len..])).unwrap_or(0)
}
