//! The headers of a program stream's units (ISO/IEC 13818-1 §2.4.3.6, §2.5.3; ISO/IEC 11172-1 §2.4.3).
//!
//! | bits of a PES packet | field |
//! |---|---|
//! | 24, 8, 16 | `00 00 01`, stream id, length of what follows |
//! | 2, 6 | `10`, flags |
//! | 2, 6 | `PTS_DTS_flags`, flags |
//! | 8 | length of the rest of the header; the payload starts behind it, whatever the flags say |
//! | 40, 40 | PTS, DTS |

use super::{END, MAP, PACK, START_CODE, map::MAP_LEN_MAX};

/// The head of a PES packet of video or audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PesHeader {
    /// C0 to DF audio, E0 to EF video; others in transport streams only.
    pub stream_id: u8,
    /// Presentation time in 90 kHz, 33 bits.
    pub pts: Option<u64>,
    /// Decoding time in 90 kHz, 33 bits; only if it is stated.
    pub dts: Option<u64>,
    /// Bytes of payload; `None`: up to the next start code of the system layer.
    pub len: Option<usize>,
}

/// What begins at a place between units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// So many bytes in all are needed to tell.
    More(usize),
    Stuffing(usize),
    Pack {
        len: usize,
        bare: bool,
    },
    Map {
        len: usize,
    },
    BadMap,
    Pes {
        header: PesHeader,
        len: usize,
    },
    /// A unit of 6 bytes and `body` bytes that is of no interest; `bad` if it should have been.
    Skip {
        body: usize,
        bad: bool,
    },
    End,
    Junk,
}

/// Tells what begins `data`.
pub(super) fn parse(data: &[u8]) -> Unit {
    let id = match *data {
        [0xFF, ..] => return Unit::Stuffing(data.iter().take_while(|&&byte| byte == 0xFF).count()),
        [0, 0, 0, ..] => return Unit::Stuffing(data.iter().take_while(|&&byte| byte == 0).count() - 2),
        [0, 0, 1, id, ..] => id,
        _ if data.len() < 3 && START_CODE.starts_with(data) => return Unit::More(data.len() + 1),
        [0, 0, 1] => return Unit::More(4),
        _ => return Unit::Junk,
    };
    match id {
        PACK => pack(data),
        END => Unit::End,
        MAP => map(data),
        0xC0..=0xEF => pes(data),
        0xBB..=0xFF => match length(data) {
            Some(body) => Unit::Skip { body, bad: false },
            None => Unit::More(6),
        },
        _ => Unit::Junk,
    }
}

/// Tells what begins `data` if a PES packet must; the id does not count, for private data of a transport stream may hold
/// sound.
pub(super) fn parse_pes(data: &[u8]) -> Unit {
    if data.starts_with(&START_CODE) { pes(data) } else { Unit::Junk }
}

/// The 16-bit length of all units but packs and the end code.
fn length(data: &[u8]) -> Option<usize> {
    data.get(4..6).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])))
}

fn pack(data: &[u8]) -> Unit {
    match data.get(4).copied() {
        None => Unit::More(5),
        Some(flags) if flags & 0xC0 == 0x40 => match data.get(13) {
            None => Unit::More(14),
            Some(stuffing) => {
                let len = 14 + usize::from(stuffing & 7);
                if data.len() < len { Unit::More(len) } else { Unit::Pack { len, bare: false } }
            }
        },
        Some(flags) if flags & 0xF0 == 0x20 => {
            if data.len() < 12 {
                Unit::More(12)
            } else {
                Unit::Pack { len: 12, bare: false }
            }
        }
        Some(_) => Unit::Pack { len: 4, bare: true },
    }
}

/// A map is taken whole. One that contains the start of a pack or PES packet is shorter than it says.
fn map(data: &[u8]) -> Unit {
    let Some(body) = length(data) else { return Unit::More(6) };
    if !(10..=MAP_LEN_MAX).contains(&body) {
        return Unit::BadMap;
    }
    let Some(bytes) = data.get(6..6 + body) else { return Unit::More(6 + body) };
    if bytes.windows(4).any(|code| matches!(code, [0, 0, 1, PACK | 0xC0 | 0xE0])) {
        return Unit::BadMap;
    }
    Unit::Map { len: 6 + body }
}

fn pes(data: &[u8]) -> Unit {
    let Some(body) = length(data) else { return Unit::More(6) };
    let Some(&flags) = data.get(6) else { return Unit::More(7) };
    if flags & 0xC0 == 0x80 { pes_2(data, body) } else { pes_1(data, body) }
}

/// ISO/IEC 13818-1.
fn pes_2(data: &[u8], body: usize) -> Unit {
    let (Some(flags), Some(rest)) = (data.get(7), data.get(8)) else { return Unit::More(9) };
    let rest = usize::from(*rest);
    if body != 0 && body < 3 + rest {
        return Unit::Skip { body, bad: true };
    }
    let len = 9 + rest;
    if data.len() < len {
        return Unit::More(len);
    }
    let stamp = |at: usize, present: bool| {
        if present && len >= at + 5 { data.get(at..at + 5).map(timestamp) } else { None }
    };
    let pts = stamp(9, flags & 0x80 != 0);
    let dts = stamp(14, flags & 0xC0 == 0xC0);
    let payload = (body != 0).then(|| body - 3 - rest);
    Unit::Pes { header: PesHeader { stream_id: data[3], pts, dts, len: payload }, len }
}

/// ISO/IEC 11172-1: stuffing, buffer size, timestamps, each optional.
fn pes_1(data: &[u8], body: usize) -> Unit {
    let mut at = 6 + data[6..].iter().take(17).take_while(|&&byte| byte == 0xFF).count();
    let Some(&first) = data.get(at) else { return Unit::More(at + 1) };
    if first & 0xC0 == 0x40 {
        at += 2;
    }
    let Some(&kind) = data.get(at) else { return Unit::More(at + 1) };
    let len = at
        + match kind >> 4 {
            2 => 5,
            3 => 10,
            _ if kind == 0x0F => 1,
            _ => return Unit::Skip { body, bad: true },
        };
    if body != 0 && body + 6 < len {
        return Unit::Skip { body, bad: true };
    }
    if data.len() < len {
        return Unit::More(len);
    }
    let pts = (kind >> 4 != 0).then(|| timestamp(&data[at..at + 5]));
    let dts = (kind >> 4 == 3).then(|| timestamp(&data[at + 5..at + 10]));
    let payload = (body != 0).then(|| body + 6 - len);
    Unit::Pes { header: PesHeader { stream_id: data[3], pts, dts, len: payload }, len }
}

/// 33 bits in 5 bytes; the marker bits between them are not checked.
fn timestamp(bytes: &[u8]) -> u64 {
    let bits = bytes.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
    bits >> 3 & 7 << 30 | bits >> 2 & 0x7FFF << 15 | bits >> 1 & 0x7FFF
}
