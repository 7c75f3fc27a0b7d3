//! Reads the packets of a transport stream, over RTP or not (ISO/IEC 13818-1 §2.4.3, §2.4.4; RFC 2250 §2): the first
//! programme's first video and audio. A PES packet of video is one picture, or goes on with
//! the last one.
//!
//! | bits of a transport packet | field |
//! |---|---|
//! | 8 | `47` |
//! | 1, 1, 1, 13 | transport error, a unit starts here, priority, PID |
//! | 2, 1, 1, 4 | scrambling, adaptation field present, payload present, continuity counter |

use crate::{
    fault::Fault,
    frames::{Event, Frames, begins_with_code},
    media::{Kind, VideoCodec},
    payload::{audio_of_entry, video_of_stream_type},
    ps::{self, MapEntry, PesHeader, ProgramMap, Sink},
    rtp,
};

/// Size of a transport packet.
pub(crate) const PACKET: usize = 188;
/// What each begins with.
pub(crate) const SYNC: u8 = 0x47;
const PAT_PID: u16 = 0;
const PMT_TABLE: u8 = 2;

/// One elementary stream.
#[derive(Debug)]
struct Elementary {
    pid: u16,
    kind: Kind,
    counter: Option<u8>,
    /// Bytes of its PES packet that are to come; `None`: unknown, or none is open.
    left: Option<usize>,
    open: bool,
}

/// Reads the packets of one transport stream.
#[derive(Debug)]
pub(crate) struct Transport {
    map_pid: Option<u16>,
    streams: Vec<Elementary>,
    frames: Frames,
    /// Pictures that began, where no RTP timestamp tells them apart.
    pictures: Option<u32>,
    /// PES packets go on with pictures: their lengths tell nothing.
    parted: bool,
}

/// A transport packet's payload and what its header says.
struct Part<'a> {
    pid: u16,
    starts: bool,
    counter: u8,
    jumps: bool, // the discontinuity indicator is set
    payload: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads one packet; `None` without payload, or with errors.
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let &[SYNC, high, low, flags, ref rest @ ..] = packet else { return None };
        let (damaged, scrambled, empty) = (high & 0x80 != 0, flags & 0xC0 != 0, flags & 0x10 == 0);
        if damaged || scrambled || empty {
            return None;
        }
        let mut part = Self {
            pid: u16::from_be_bytes([high & 0x1F, low]),
            starts: high & 0x40 != 0,
            counter: flags & 0x0F,
            jumps: false,
            payload: rest,
        };
        if flags & 0x20 != 0 {
            let (&len, rest) = rest.split_first()?;
            part.jumps = len > 0 && rest.first()? & 0x80 != 0;
            part.payload = rest.get(usize::from(len)..)?;
        }
        Some(part)
    }

    /// The section that begins here, without header and CRC (§2.4.4): the relay's tables fit one packet.
    fn section(&self, table: u8) -> Option<&'a [u8]> {
        let (&pointer, rest) = self.payload.split_first().filter(|_| self.starts)?;
        let section = rest.get(usize::from(pointer)..)?;
        let &[id, high, low, ref rest @ ..] = section else { return None };
        let len = usize::from(u16::from_be_bytes([high & 0x0F, low]));
        (id == table).then(|| rest.get(5..len.checked_sub(4)?))?
    }
}

impl Transport {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self {
            map_pid: None,
            streams: Vec::new(),
            frames: Frames::of_aligned(frame_bytes_max),
            pictures: None,
            parted: false,
        }
    }

    /// A reader of packets that come without RTP.
    pub(crate) fn of_bytes(frame_bytes_max: usize) -> Self {
        Self { pictures: Some(0), ..Self::new(frame_bytes_max) }
    }

    pub(crate) fn set_codec(&mut self, codec: VideoCodec) {
        self.frames.set_codec(codec);
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.frames.poll_event()
    }

    pub(crate) fn handle_packet(&mut self, packet: &rtp::Packet<'_>) {
        self.frames.begin_packet(packet.timestamp);
        for data in packet.payload.chunks(PACKET) {
            if data.len() < PACKET || data[0] != SYNC {
                return self.frames.fault(Fault::ForeignPacket);
            }
            if let Some(part) = Part::parse(data) {
                self.handle_part(&part);
            }
        }
    }

    /// Takes one packet that came without RTP.
    pub(crate) fn handle_data(&mut self, packet: &[u8]) {
        if let Some(part) = Part::parse(packet) {
            self.handle_part(&part);
        }
    }

    /// Nothing follows: what is open is complete if it may be.
    pub(crate) fn handle_end(&mut self) {
        for at in 0..self.streams.len() {
            self.close(at);
        }
        self.frames.close_video();
        for stream in &mut self.streams {
            stream.counter = None;
        }
    }

    /// Packets are missing; tells whether a picture was hit.
    pub(crate) fn handle_gap(&mut self) -> bool {
        for stream in &mut self.streams {
            (stream.open, stream.left, stream.counter) = (false, None, None);
        }
        self.frames.handle_gap()
    }

    fn handle_part(&mut self, part: &Part) {
        if part.pid == PAT_PID {
            self.map_pid = part.section(0).and_then(map_pid).or(self.map_pid);
        } else if Some(part.pid) == self.map_pid {
            if let Some(section) = part.section(PMT_TABLE) {
                self.handle_map(section);
            }
        } else if let Some(at) = self.streams.iter().position(|stream| stream.pid == part.pid) {
            self.handle_elementary(at, part);
        }
    }

    /// A programme map: streams that stay keep their state.
    fn handle_map(&mut self, section: &[u8]) {
        let mut map = ProgramMap::default();
        let mut streams = Vec::new();
        for (entry, pid) in entries(section) {
            let kind = if known_video(entry.stream_type) { Kind::Video } else { Kind::Audio };
            let entry = MapEntry { stream_id: stream_id(kind), ..entry };
            if (kind == Kind::Audio && !known_audio(entry))
                || streams.iter().any(|stream: &Elementary| stream.kind == kind)
            {
                continue;
            }
            map.streams.push(entry);
            let kept = self.streams.iter().position(|stream| stream.pid == pid && stream.kind == kind);
            streams.push(match kept {
                Some(at) => self.streams.swap_remove(at),
                None => Elementary { pid, kind, counter: None, left: None, open: false },
            });
        }
        self.streams = streams;
        self.frames.map(&map);
    }

    fn handle_elementary(&mut self, at: usize, part: &Part) {
        let stream = &mut self.streams[at];
        let kind = stream.kind;
        if let Some(last) = stream.counter.replace(part.counter) {
            if last == part.counter && !part.jumps {
                return; // a packet may be sent twice (§2.4.3.3)
            }
            if (last + 1) & 0x0F != part.counter && !part.jumps {
                self.lose(at);
            }
        }
        if part.starts {
            self.begin(at, part.payload);
        } else if self.streams[at].open {
            self.frames.resume(kind);
            self.put(at, part.payload);
        }
    }

    /// The open PES packet of a stream is over; one that stated its length and did not reach it is cut.
    fn close(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        if !std::mem::take(&mut stream.open) {
            return;
        }
        let whole = stream.left.is_none();
        self.frames.resume(stream.kind);
        if !whole {
            self.frames.fault(Fault::PesTruncated);
        }
        self.frames.pes_end(whole);
    }

    /// Packets of this stream are missing inside a row of RTP packets: the device lost them.
    fn lose(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        if !std::mem::take(&mut stream.open) {
            return;
        }
        self.frames.resume(stream.kind);
        self.frames.fault(Fault::PesTruncated);
        self.frames.pes_end(false);
    }

    fn begin(&mut self, at: usize, payload: &[u8]) {
        let kind = self.streams[at].kind;
        self.close(at);
        let Some((header, len)) = ps::pes_header_of_any(payload) else {
            return self.frames.fault(Fault::BadPesHeader);
        };
        let stream = &mut self.streams[at];
        (stream.open, stream.left) = (true, header.len);
        if kind == Kind::Video {
            if let Some(pictures) = self.pictures.as_mut().filter(|_| header.pts.is_some()) {
                *pictures = pictures.wrapping_add(1);
                self.frames.begin_packet(*pictures);
            }
            let continues = header.pts.is_none() && !begins_with_code(&payload[len..]);
            self.parted |= continues;
            if !continues {
                self.frames.pack();
            }
        }
        self.frames.pes(&PesHeader { stream_id: stream_id(kind), ..header });
        self.put(at, &payload[len..]);
    }

    /// Payload of the open PES packet.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let stream = &mut self.streams[at];
        let Some(left) = stream.left else { return self.frames.data(bytes) };
        let now = left.min(bytes.len());
        stream.left = Some(left - now);
        stream.open = left > now;
        let (kind, over) = (stream.kind, left == now);
        self.frames.data(&bytes[..now]);
        if over {
            self.frames.pes_end(true);
            if kind == Kind::Video && !self.parted {
                self.frames.close_video(); // its length shows that the picture is complete
            }
        }
    }
}

fn stream_id(kind: Kind) -> u8 {
    if kind == Kind::Video { 0xE0 } else { 0xC0 }
}

fn known_video(stream_type: u8) -> bool {
    video_of_stream_type(stream_type).is_ok() || matches!(stream_type, 0x02 | 0x10 | 0x80)
}

fn known_audio(entry: MapEntry) -> bool {
    audio_of_entry(entry).is_ok() || matches!(entry.stream_type, 0x03 | 0x04 | 0x11 | 0x92..=0x9B)
}

/// The first programme's map (§2.4.4.3).
fn map_pid(section: &[u8]) -> Option<u16> {
    let programme = section.chunks_exact(4).find(|entry| entry[..2] != [0, 0])?;
    Some(u16::from_be_bytes([programme[2] & 0x1F, programme[3]]))
}

/// Streams, without ids, and PIDs of a programme (§2.4.4.8).
fn entries(section: &[u8]) -> impl Iterator<Item = (MapEntry, u16)> + '_ {
    let described =
        section.get(2..4).map_or(0, |len| usize::from(u16::from_be_bytes([len[0] & 0x0F, len[1]])));
    let mut rest = section.get(4 + described..).unwrap_or_default();
    std::iter::from_fn(move || {
        let &[stream_type, high, low, described_high, described_low, ref tail @ ..] = rest else {
            return None;
        };
        let described = usize::from(u16::from_be_bytes([described_high & 0x0F, described_low]));
        let (descriptors, behind) = tail.split_at_checked(described).unwrap_or_default();
        rest = behind;
        let (registration, channels) = (registration(descriptors), opus_channels(descriptors));
        let entry = MapEntry { stream_type, stream_id: 0, registration, channels };
        Some((entry, u16::from_be_bytes([high & 0x1F, low])))
    })
}

/// What the first registration descriptor (§2.6.8) says.
fn registration(descriptors: &[u8]) -> Option<[u8; 4]> {
    descriptor(descriptors, |tag, content| (tag == 5).then(|| content.first_chunk().copied())?)
}

/// How many channels the extension descriptor of Opus states (`channel_config_code`: 0 is two of their own, 1 mono, 2 stereo;
/// more are not carried).
fn opus_channels(descriptors: &[u8]) -> Option<u8> {
    descriptor(descriptors, |tag, content| match (tag, content) {
        (0x7F, [0x80, 0 | 2, ..]) => Some(2),
        (0x7F, [0x80, 1, ..]) => Some(1),
        _ => None,
    })
}

/// What the first descriptor says that `read` knows, by tag and content.
fn descriptor<T>(mut descriptors: &[u8], read: impl Fn(u8, &[u8]) -> Option<T>) -> Option<T> {
    while let &[tag, len, ref rest @ ..] = descriptors {
        let (content, behind) = rest.split_at_checked(usize::from(len))?;
        if let Some(found) = read(tag, content) {
            return Some(found);
        }
        descriptors = behind;
    }
    None
}
