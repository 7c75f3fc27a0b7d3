//! Finds out what a stream's packets carry. The payload type says little: PT 96 is mostly PS, but also bare H.264
//! or H.265, a transport stream, or a container of the device's maker.

use crate::{media::VideoCodec, nal, payload::Announced, ps::begins_pack, rtp, transport::PACKET};

/// What the packets carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ps,
    /// NAL units as RFC 6184 or RFC 7798 pack them.
    Nals(VideoCodec),
    /// NAL units with start codes.
    AnnexB(VideoCodec),
    Ts,
    Unsupported(&'static str),
}

/// So many packets without proof are enough to go by likelihood.
const PACKETS_MAX: u32 = 200;

/// Watches the first packets.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    packets: u32,
    timestamp: Option<u32>,
    frames: u32, // timestamps seen
    h264: u32,
    h265: u32,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes a packet; the verdict, once it is certain or a whole frame was seen.
    pub(crate) fn handle_packet(
        &mut self,
        packet: &rtp::Packet<'_>,
        announced: Option<Announced>,
    ) -> Option<Verdict> {
        if let Some(verdict) = proof(packet.payload, announced) {
            return Some(verdict);
        }
        self.packets += 1;
        if self.timestamp.replace(packet.timestamp) != Some(packet.timestamp) {
            self.frames += 1;
        }
        self.h264 += u32::from(is_h264(packet.payload));
        self.h265 += u32::from(is_h265(packet.payload));
        // The first frame may have begun before; the second one is whole when the third one begins.
        (self.frames > 2 || self.packets >= PACKETS_MAX).then(|| self.likely(announced))
    }

    fn likely(&self, announced: Option<Announced>) -> Verdict {
        let all = |count: u32| count == self.packets && count >= 3;
        match announced {
            Some(Announced::Video(codec)) => Verdict::Nals(codec),
            _ if all(self.h264) && !all(self.h265) => Verdict::Nals(VideoCodec::H264),
            _ if all(self.h265) => Verdict::Nals(VideoCodec::H265),
            // A program stream in whose first frames no pack began at a packet's start: reading searches on.
            Some(Announced::Ps) => Verdict::Ps,
            None => Verdict::Unsupported("unknown"),
        }
    }
}

/// What one packet proves.
fn proof(payload: &[u8], announced: Option<Announced>) -> Option<Verdict> {
    if begins_pack(payload) {
        return Some(Verdict::Ps);
    }
    match payload {
        [0x47, ..]
            if payload.len().is_multiple_of(PACKET)
                && payload.chunks(PACKET).all(|packet| packet[0] == 0x47) =>
        {
            return Some(Verdict::Ts);
        }
        [b'I', b'M', b'K', b'H', ..] => return Some(Verdict::Unsupported("IMKH")),
        [b'D', b'H', b'A', b'V', ..] => return Some(Verdict::Unsupported("DHAV")),
        [0, 0, 1, rest @ ..] | [0, 0, 0, 1, rest @ ..] => return nal::evidence(rest).map(Verdict::AnnexB),
        _ => {}
    }
    let aggregated = match payload {
        [0x18 | 0x38 | 0x58 | 0x78, _, _, rest @ ..] | [0x60, 0x01, _, _, rest @ ..] => nal::evidence(rest),
        _ => None,
    };
    if let Some(codec) = aggregated.or_else(|| nal::evidence(payload)) {
        return Some(Verdict::Nals(codec));
    }
    match announced {
        Some(Announced::Video(VideoCodec::H264)) if is_h264(payload) => Some(Verdict::Nals(VideoCodec::H264)),
        Some(Announced::Video(VideoCodec::H265)) if is_h265(payload) => Some(Verdict::Nals(VideoCodec::H265)),
        _ => None,
    }
}

/// Whether RFC 6184 allows the payload.
fn is_h264(payload: &[u8]) -> bool {
    match *payload {
        [header, ..] if header & 0x80 != 0 => false,
        [header, fragment, _, ..] if header & 0x1F == 28 => {
            fragment & 0x20 == 0 && (1..=12).contains(&(fragment & 0x1F)) && fragment & 0xC0 != 0xC0
        }
        [header, _, ..] => (1..=12).contains(&(header & 0x1F)) || header & 0x1F == 24,
        _ => false,
    }
}

/// Whether RFC 7798 allows the payload (of the base layer).
fn is_h265(payload: &[u8]) -> bool {
    match *payload {
        [header, layer, ..] if header & 0x81 != 0 || layer & 0xF8 != 0 || layer.trailing_zeros() >= 3 => {
            false
        }
        [header, _, fragment, _, ..] if header >> 1 == 49 => fragment & 0xC0 != 0xC0 && fragment & 0x3F <= 40,
        [header, _, _, ..] => matches!(header >> 1, 0..=9 | 16..=21 | 32..=40 | 48),
        _ => false,
    }
}
