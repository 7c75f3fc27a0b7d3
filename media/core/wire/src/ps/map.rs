//! The program stream map (ISO/IEC 13818-1 §2.5.4): which coding each elementary stream has.
//!
//! | bits | field |
//! |---|---|
//! | 32, 16 | `00 00 01 BC`, length of what follows, at most 1018 |
//! | 16 | flags, version |
//! | 16, N | length of the descriptors, descriptors |
//! | 16 | length of the streams' part (devices get it wrong: it is what remains) |
//! | per stream: 8, 8, 16, n | stream type, stream id, length of its descriptors, descriptors |
//! | 32 | CRC-32 (devices get it wrong: counted, not obeyed) |

use super::Sink;
use crate::fault::Fault;

pub(super) const MAP_LEN_MAX: usize = 1018;
const STREAMS_MAX: usize = 32;

/// One stream of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapEntry {
    /// The coding (ISO/IEC 13818-1 table 2-34 and GB/T 28181-2016 annex C).
    pub stream_type: u8,
    /// The id that its PES packets bear.
    pub stream_id: u8,
    /// What it is registered by, where the type says nothing (§2.6.8); read in transport streams only.
    pub registration: Option<[u8; 4]>,
    /// How many channels Opus has, if that is stated; read in transport streams only.
    pub channels: Option<u8>,
}

/// What a map says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgramMap {
    /// Its streams, at most 32.
    pub streams: Vec<MapEntry>,
}

/// Reads a map of which `bytes` are all, start code and length included.
pub(super) fn read(bytes: &[u8], sink: &mut impl Sink) {
    let (content, crc) = bytes.split_at(bytes.len() - 4);
    if crc != crc32(content).to_be_bytes() {
        sink.fault(Fault::PsmCrc);
    }
    match streams(content) {
        Some(streams) => sink.map(&ProgramMap { streams }),
        None => sink.fault(Fault::BadPsm),
    }
}

/// The streams; those before a length that does not fit count.
fn streams(content: &[u8]) -> Option<Vec<MapEntry>> {
    let described = usize::from(u16::from_be_bytes([*content.get(8)?, *content.get(9)?]));
    let mut rest = content.get(12 + described..)?;
    let mut streams = Vec::new();
    while let &[stream_type, stream_id, high, low, ref tail @ ..] = rest {
        streams.push(MapEntry { stream_type, stream_id, registration: None, channels: None });
        let described = usize::from(u16::from_be_bytes([high, low]));
        match tail.get(described..) {
            Some(tail) if streams.len() < STREAMS_MAX => rest = tail,
            _ => break,
        }
    }
    Some(streams)
}

/// CRC-32 of ISO/IEC 13818-1 annex A: polynomial 04C11DB7, start FFFFFFFF, not reflected, no final inversion.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 }
        })
    })
}
