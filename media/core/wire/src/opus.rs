//! What must be known of Opus to carry it: how long a packet lasts (RFC 6716 §3.1), and its identification header
//! (RFC 7845 §5.1) in the two forms that containers have.

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
    }
}
