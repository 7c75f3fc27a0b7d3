//! What must be known of Opus to carry it: how long a packet lasts (RFC 6716 §3.1), its identification header
//! (RFC 7845 §5.1) in the two forms that containers have, and what stands before packets in transport streams.

use bytes::{BufMut, Bytes, BytesMut};

/// Samples a second that everything about Opus is counted in.
pub const RATE: u32 = 48_000;

/// A packet lasts at most 120 ms (RFC 6716 §3.2.5, requirement R5).
const DURATION_MAX: u32 = RATE * 120 / 1000;

/// Samples of 48 kHz that a decoder throws away at the start, as encoders of the reference library need (RFC 7845 §4.2).
const PRE_SKIP: u16 = 312;

/// How long a packet lasts, in samples of 48 kHz; `None` if it is none.
pub fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)], // SILK: 10, 20, 40, 60 ms
        config @ 12..=15 => [480, 960][usize::from(config & 1)],            // hybrid: 10, 20 ms
        config => [120, 240, 480, 960][usize::from(config & 3)],            // CELT: 2.5, 5, 10, 20 ms
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3F),
    };
    Some(frame * count).filter(|duration| (1..=DURATION_MAX).contains(duration))
}

/// `OpusHead` of one or two channels (RFC 7845 §5.1), little endian.
pub fn head(channels: u8) -> Bytes {
    let mut out = BytesMut::with_capacity(19);
    out.put_slice(b"OpusHead");
    out.put_u8(1);
    out.put_u8(channels);
    out.put_u16_le(PRE_SKIP);
    out.put_u32_le(RATE);
    out.put_u16_le(0); // output gain
    out.put_u8(0); // mapping family: mono or stereo
    out.freeze()
}

/// How many channels an `OpusHead` states; `None` if it is none, or of more than two.
pub(crate) fn stated_channels(head: &[u8]) -> Option<u8> {
    let rest = head.strip_prefix(b"OpusHead")?;
    let &[version, channels @ 1..=2, _, _, _, _, _, _, _, _, 0, ..] = rest else { return None };
    (version >> 4 == 0).then_some(channels)
}

/// What a transport stream registers it by (ISO/IEC 13818-1 §2.6.8).
pub(crate) const REGISTRATION: [u8; 4] = *b"Opus";

/// Writes what stands before a packet of `size` bytes in a transport stream: 11 bits set but the first, flags, and the
/// size in steps of 255.
pub(crate) fn put_control_header(out: &mut Vec<u8>, size: usize) {
    out.put_slice(&[0x7F, 0xE0]);
    out.put_bytes(0xFF, size / 255);
    out.put_u8((size % 255) as u8);
}

/// The packet behind the control header that begins `data`, and what follows it; `None` if it is none, or cut.
pub(crate) fn behind_control_header(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let &[0x7F, low, ref rest @ ..] = data else { return None };
    if low & 0xE0 != 0xE0 {
        return None;
    }
    let full = rest.iter().take_while(|&&byte| byte == 0xFF).count();
    let (&last, rest) = rest.get(full..)?.split_first()?;
    let size = full * 255 + usize::from(last);
    let trims = 2 * (usize::from(low >> 4 & 1) + usize::from(low >> 3 & 1));
    let mut rest = rest.get(trims..)?;
    if low & 4 != 0 {
        let (&extension, behind) = rest.split_first()?;
        rest = behind.get(usize::from(extension)..)?;
    }
    rest.split_at_checked(size)
}

/// The content of `dOps` (Encapsulation of Opus in ISO Base Media File Format §4.3.2) of one or two channels, big endian.
pub(crate) fn specific_box(channels: u8) -> [u8; 11] {
    let [skip_high, skip_low] = PRE_SKIP.to_be_bytes();
    let [a, b, c, d] = RATE.to_be_bytes();
    [0, channels, skip_high, skip_low, a, b, c, d, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_how_long_a_packet_lasts() {
        assert_eq!(duration(&[0xFC, 1, 2]), Some(960), "CELT fullband, 20 ms, one frame");
        assert_eq!(duration(&[0x08]), Some(960), "SILK, 20 ms");
        assert_eq!(duration(&[0x18]), Some(2880), "SILK, 60 ms");
        assert_eq!(duration(&[0x79]), Some(1920), "hybrid, two frames of 20 ms");
        assert_eq!(duration(&[0x83, 4]), Some(480), "four frames of 2.5 ms");
        assert_eq!((duration(&[]), duration(&[0x03]), duration(&[0x03, 0])), (None, None, None));
        assert_eq!(duration(&[0x1B, 48]), None, "more than 120 ms");
    }

    #[test]
    fn both_headers_say_the_same() {
        let head = head(2);
        assert_eq!(&head[8..12], [1, 2, 0x38, 0x01]);
        assert_eq!(specific_box(2)[..4], [0, 2, 0x01, 0x38]);
        assert_eq!((stated_channels(&head), stated_channels(&head[..18])), (Some(2), None));
        let surround = [&head[..9], &[6], &head[10..18], &[1, 4, 2]].concat();
        assert_eq!(stated_channels(&surround), None);
    }

    #[test]
    fn control_headers_of_every_size_are_read_as_written() {
        for size in [0, 1, 254, 255, 256, 510, 1275] {
            let mut data = Vec::new();
            put_control_header(&mut data, size);
            data.resize(data.len() + size, 7);
            data.extend_from_slice(b"next");
            let (packet, rest) = behind_control_header(&data).expect("whole");
            assert_eq!((packet.len(), rest), (size, &b"next"[..]));
        }
    }

    #[test]
    fn control_headers_with_trimming_and_extension_are_stepped_over() {
        let header = [0x7F, 0xFC, 2, 0, 9, 0, 8, 3, 1, 2, 3, 0xAA, 0xBB];
        assert_eq!(behind_control_header(&header), Some((&[0xAA, 0xBB][..], &[][..])));
        assert!((0..header.len()).all(|cut| behind_control_header(&header[..cut]).is_none()));
        assert_eq!(behind_control_header(&[0x7F, 0xC0, 1, 1]), None);
    }
}
