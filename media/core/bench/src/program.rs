//! A program stream such as a camera of 1080p, 25 pictures a second and 4 Mbit/s sends (GB/T 28181-2016 Annex C).

/// Pictures a second.
pub const FPS: u32 = 25;
/// Pictures from key frame to key frame.
pub const GOP: u32 = 50;
/// Payload of an RTP packet.
const PAYLOAD: usize = 1400;
/// Bytes of a key frame and of any other; 4 Mbit/s together.
const KEY_BYTES: usize = 100_000;
const OTHER_BYTES: usize = (4_000_000 / 8 / FPS as usize * GOP as usize - KEY_BYTES) / (GOP as usize - 1);
/// Parameter sets of 1920×1080, High profile, as x264 writes them.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
    0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

/// Size of the video of picture `number`, start codes included.
pub fn picture_bytes(number: u32) -> usize {
    if number.is_multiple_of(GOP) { KEY_BYTES } else { OTHER_BYTES }
}

/// The packs of one GOP with times from zero on; `patch` moves them.
pub fn packs() -> Vec<Vec<u8>> {
    (0..GOP).map(pack).collect()
}

fn pack(number: u32) -> Vec<u8> {
    let key = number.is_multiple_of(GOP);
    let mut out = pack_header(0);
    let mut video = Vec::with_capacity(KEY_BYTES);
    if key {
        out.extend(SYSTEM_HEADER);
        out.extend(stream_map());
        for set in [SPS, PPS] {
            video.extend([0, 0, 0, 1]);
            video.extend(set);
        }
    }
    // A NAL unit header, and a slice that begins with the picture's first macroblock.
    video.extend(if key { [0, 0, 0, 1, 0x65, 0x88] } else { [0, 0, 0, 1, 0x41, 0x9A] });
    let mut noise = 0x9E37_79B9_u32.wrapping_mul(number + 1);
    while video.len() < picture_bytes(number) {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        // Emulation prevention leaves no two zeros in a row; neither does this.
        video.push(noise as u8 | 1);
    }
    for (index, part) in video.chunks(65_400).enumerate() {
        out.extend(pes(part, (index == 0).then_some(0)));
    }
    out
}

/// Writes the times of a pack anew: picture `number` since the beginning.
pub fn stamp(pack: &mut [u8], number: u64) {
    let ticks = number * 90_000 / u64::from(FPS) + 9000;
    let header = pack_header(ticks - 3600);
    pack[..header.len()].copy_from_slice(&header);
    let mut at = header.len();
    while pack[at + 3] != 0xE0 {
        at += 6 + usize::from(u16::from_be_bytes([pack[at + 4], pack[at + 5]]));
    }
    pack[at + 9..at + 14].copy_from_slice(&timestamp(ticks));
}

/// The RTP packets that carry a pack: header and payload.
pub fn packets(
    pack: &[u8],
    ssrc: u32,
    first: u16,
    timestamp: u32,
) -> impl Iterator<Item = ([u8; 12], &[u8])> {
    let count = pack.len().div_ceil(PAYLOAD);
    pack.chunks(PAYLOAD).enumerate().map(move |(index, payload)| {
        let mut header = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[1] |= u8::from(index + 1 == count) << 7;
        header[2..4].copy_from_slice(&first.wrapping_add(index as u16).to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&ssrc.to_be_bytes());
        (header, payload)
    })
}

fn pack_header(scr: u64) -> Vec<u8> {
    let bits = 0b01 << 46
        | (scr >> 30 & 7) << 43
        | 1 << 42
        | (scr >> 15 & 0x7FFF) << 27
        | 1 << 26
        | (scr & 0x7FFF) << 11
        | 1 << 10
        | 1;
    let mut out = vec![0, 0, 1, 0xBA];
    out.extend(&u64::to_be_bytes(bits)[2..]);
    out.extend([0x03, 0x0D, 0x43, 0xF8]);
    out
}

const SYSTEM_HEADER: [u8; 15] = [0, 0, 1, 0xBB, 0, 9, 0x81, 0x86, 0xA1, 0x04, 0xE1, 0x7F, 0xE0, 0xE0, 0x80];

fn stream_map() -> Vec<u8> {
    let mut out = vec![0, 0, 1, 0xBC, 0, 14, 0xE1, 0xFF, 0, 0, 0, 4, 0x1B, 0xE0, 0, 0];
    let crc = out.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    });
    out.extend(crc.to_be_bytes());
    out
}

fn pes(payload: &[u8], pts: Option<u64>) -> Vec<u8> {
    let head: &[u8] = &pts.map_or(vec![0x8C, 0, 0], |pts| [&[0x8C, 0x80, 5][..], &timestamp(pts)].concat());
    let mut out = vec![0, 0, 1, 0xE0];
    out.extend(((head.len() + payload.len()) as u16).to_be_bytes());
    out.extend(head);
    out.extend(payload);
    out
}

fn timestamp(ticks: u64) -> [u8; 5] {
    let middle = ((ticks >> 14 & 0xFFFE) | 1) as u16;
    let low = ((ticks << 1 & 0xFFFE) | 1) as u16;
    let [a, b] = middle.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    [0x21 | (ticks >> 29 & 0x0E) as u8, a, b, c, d]
}
