//! Pictures over RTP without a program stream around them: H.264 (RFC 6184), H.265 (RFC 7798), NAL units with start codes.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use crate::{
    fault::Fault,
    habit::Habit,
    media::VideoCodec,
    nal::{self, NalKind},
    rtp,
    timeline::Stamp,
};

const CLOCK: u32 = 90_000;
const BUFFER: usize = 4 << 10;

/// What comes out.
#[derive(Debug)]
pub(crate) enum Event {
    /// A complete picture.
    Picture(BytesMut, Stamp),
    /// Bytes are lost.
    Gap,
    Fault(Fault),
}

/// How NAL units lie in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As RFC 6184 or RFC 7798 say; pictures come out with lengths.
    Rtp,
    /// With start codes, cut anywhere; pictures come out so.
    AnnexB,
}

/// Puts pictures together from packets.
#[derive(Debug)]
pub(crate) struct Pictures {
    codec: VideoCodec,
    packing: Packing,
    limit: usize,
    data: BytesMut,
    open: bool,
    sliced: bool,
    damaged: bool,
    timestamp: u32,
    /// Where the length of the NAL unit stands of which a fragment is missing.
    fragment: Option<usize>,
    marked: bool, // the last packet of the open picture had the marker bit
    markers: Habit,
    early: bool, // the last picture was handed on at its marker
    last: usize,
    events: VecDeque<Event>,
}

impl Pictures {
    pub(crate) fn new(codec: VideoCodec, packing: Packing, limit: usize) -> Self {
        Self {
            codec,
            packing,
            limit,
            data: BytesMut::new(),
            open: false,
            sliced: false,
            damaged: false,
            timestamp: 0,
            fragment: None,
            marked: false,
            markers: Habit::new(),
            early: false,
            last: BUFFER,
            events: VecDeque::new(),
        }
    }

    pub(crate) fn packing(&self) -> Packing {
        self.packing
    }

    pub(crate) fn set_codec(&mut self, codec: VideoCodec) {
        self.codec = codec;
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Packets are missing; tells whether a picture was hit.
    pub(crate) fn handle_gap(&mut self) -> bool {
        let hit = self.open;
        self.reset();
        self.early = false;
        hit
    }

    pub(crate) fn handle_packet(&mut self, packet: &rtp::Packet<'_>) {
        if packet.payload.is_empty() {
            return;
        }
        self.place(packet.timestamp, packet.payload);
        if self.open && std::mem::take(&mut self.marked) {
            self.markers.broken();
        }
        self.timestamp = packet.timestamp;
        self.open = true;
        match (self.packing, self.codec) {
            (Packing::AnnexB, _) => self.annex_b(packet.payload),
            (Packing::Rtp, VideoCodec::H264) => self.h264(packet.payload),
            (Packing::Rtp, VideoCodec::H265) => self.h265(packet.payload),
        }
        self.marked = packet.marker;
        if packet.marker && self.markers.is_trusted() && self.fragment.is_none() && self.sliced {
            self.finish();
            self.early = true;
        }
    }

    /// Ends the open picture if this packet is of another one.
    fn place(&mut self, timestamp: u32, payload: &[u8]) {
        let same_time = self.timestamp == timestamp;
        if self.open {
            if !same_time || (self.sliced && self.fragment.is_none() && self.starts_picture(payload)) {
                if self.marked {
                    self.markers.held();
                }
                self.finish();
            }
        } else if std::mem::take(&mut self.early) && same_time && !self.starts_picture(payload) {
            self.markers.broken();
            self.fault(Fault::SplitUnit);
            self.events.push_back(Event::Gap);
        }
    }

    /// Whether a packet begins with a NAL unit that starts a picture.
    fn starts_picture(&self, payload: &[u8]) -> bool {
        let mut head = [0; 4];
        let nal: &[u8] = match (self.packing, self.codec, payload) {
            (Packing::AnnexB, ..) => match payload {
                [0, 0, 1, nal @ ..] | [0, 0, 0, 1, nal @ ..] => nal,
                _ => return false,
            },
            (_, VideoCodec::H264, &[indicator, header, first, ..]) if indicator & 0x1F == 28 => {
                if header & 0x80 == 0 {
                    return false;
                }
                head[..2].copy_from_slice(&[indicator & 0xE0 | header & 0x1F, first]);
                &head[..2]
            }
            (_, VideoCodec::H264, [indicator, _, _, nal @ ..]) if indicator & 0x1F == 24 => nal,
            (_, VideoCodec::H265, &[header, layer, fragment, first, ..]) if header >> 1 & 0x3F == 49 => {
                if fragment & 0x80 == 0 {
                    return false;
                }
                head[..3].copy_from_slice(&[header & 0x81 | (fragment & 0x3F) << 1, layer, first]);
                &head[..3]
            }
            (_, VideoCodec::H265, [header, _, _, _, nal @ ..]) if header >> 1 & 0x3F == 48 => nal,
            (_, _, nal) => nal,
        };
        nal::starts_access_unit(self.codec, nal)
    }

    fn reset(&mut self) {
        self.data.clear();
        self.fragment = None;
        (self.open, self.sliced, self.damaged, self.marked) = (false, false, false, false);
    }

    fn finish(&mut self) {
        self.close_fragment();
        if self.damaged {
            self.fault(Fault::DamagedUnit);
            self.events.push_back(Event::Gap);
        } else if !self.data.is_empty() {
            self.last = self.data.len();
            let data = std::mem::take(&mut self.data);
            let stamp = Stamp::Rtp { timestamp: self.timestamp, rate: CLOCK };
            self.events.push_back(Event::Picture(data, stamp));
        }
        self.reset();
    }

    fn fault(&mut self, fault: Fault) {
        self.events.push_back(Event::Fault(fault));
    }

    fn bad(&mut self) {
        self.fault(Fault::BadPayload);
        self.damaged = true;
    }

    /// Adds bytes unless the picture grows too big.
    fn put(&mut self, bytes: &[u8]) {
        if self.damaged {
            return;
        }
        if self.data.len() + bytes.len() + 4 > self.limit {
            self.damaged = true;
            self.data = BytesMut::new();
            self.fragment = None;
            return self.fault(Fault::FrameTooBig);
        }
        if self.data.capacity() == 0 {
            self.data.reserve((self.last + self.last / 4).max(BUFFER).min(self.limit));
        }
        self.data.put_slice(bytes);
    }

    /// A whole NAL unit.
    fn put_nal(&mut self, nal: &[u8]) {
        self.close_fragment();
        if nal.is_empty() {
            return self.bad();
        }
        self.notice(nal[0]);
        self.put(&(nal.len() as u32).to_be_bytes());
        self.put(nal);
    }

    fn notice(&mut self, header: u8) {
        self.sliced |= matches!(nal::kind(self.codec, &[header]), NalKind::Slice | NalKind::KeySlice);
    }

    /// A fragment: the first one brings the NAL unit's header back.
    fn put_fragment(&mut self, header: &[u8], bytes: &[u8], starts: bool, ends: bool) {
        if starts {
            self.close_fragment();
            self.notice(header[0]);
            let at = self.data.len();
            self.put(&[0; 4]);
            self.put(header);
            self.fragment = (!self.damaged).then_some(at);
        } else if self.fragment.is_none() && !self.damaged {
            return self.bad();
        }
        self.put(bytes);
        if ends {
            self.close_fragment();
        }
    }

    /// Writes the length of a NAL unit that came in fragments.
    fn close_fragment(&mut self) {
        if let Some(at) = self.fragment.take()
            && !self.damaged
        {
            let len = (self.data.len() - at - 4) as u32;
            self.data[at..at + 4].copy_from_slice(&len.to_be_bytes());
        }
    }

    /// RFC 6184 §5.2 to §5.8: single NAL unit, STAP-A, FU-A.
    fn h264(&mut self, payload: &[u8]) {
        match (payload[0] & 0x1F, payload) {
            (1..=23, nal) => self.put_nal(nal),
            (24, [_, units @ ..]) => self.aggregate(units),
            (28, &[indicator, header, ref bytes @ ..]) => {
                let nal = indicator & 0xE0 | header & 0x1F;
                self.put_fragment(&[nal], bytes, header & 0x80 != 0, header & 0x40 != 0);
            }
            _ => self.bad(),
        }
    }

    /// RFC 7798 §4.4: single NAL unit, AP, FU.
    fn h265(&mut self, payload: &[u8]) {
        match (payload[0] >> 1 & 0x3F, payload) {
            (0..=47, nal) => self.put_nal(nal),
            (48, [_, _, units @ ..]) => self.aggregate(units),
            (49, &[header, layer, fragment, ref bytes @ ..]) => {
                let nal = [header & 0x81 | (fragment & 0x3F) << 1, layer];
                self.put_fragment(&nal, bytes, fragment & 0x80 != 0, fragment & 0x40 != 0);
            }
            _ => self.bad(),
        }
    }

    /// NAL units behind 16-bit lengths.
    fn aggregate(&mut self, mut units: &[u8]) {
        while let Some((len, rest)) = units.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            let Some(nal) = rest.get(..len) else { return self.bad() };
            self.put_nal(nal);
            units = &rest[len..];
        }
        if !units.is_empty() {
            self.bad();
        }
    }

    fn annex_b(&mut self, payload: &[u8]) {
        if !self.sliced {
            for span in nal::annex_b(payload) {
                self.notice(payload[span.start]);
            }
        }
        self.put(payload);
    }
}
