//! AAC in RTP packets: RFC 3640 (`MPEG4-GENERIC`) with header sections of any widths and frames in fragments, and RFC 6416
//! (`MP4A-LATM`) with its configuration in the session description.

use bytes::{Bytes, BytesMut};

use crate::{aac::FRAME_SAMPLES, bits::Bits, media::Ticks, rtp, timeline::Stamp};

/// A larger frame is none: 6144 bits a channel, and eight channels (ISO/IEC 14496-3 §4.5.3.2).
const FRAME_MAX: usize = 8 << 10;

/// Frames of one packet at most.
const FRAMES_MAX: usize = 64;

/// A frame that came in part.
#[derive(Debug)]
struct Part {
    timestamp: u32,
    size: usize,
    data: BytesMut,
}

/// Takes the frames out of packets.
#[derive(Debug)]
pub(crate) struct AacReader {
    layout: Layout,
    rate: u32,
    part: Option<Part>,
}

/// How packets are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// RFC 3640 §3.2.1: bits of each header's size, first index and further indices; without sizes a packet is a frame.
    Sections { size: u32, index: u32, delta: u32 },
    /// RFC 6416 §6: so many frames a packet, each behind its length.
    Latm { frames: usize },
}

impl Layout {
    /// `AAC-hbr`, what nearly all send.
    pub(crate) const HBR: Self = Self::Sections { size: 13, index: 3, delta: 3 };
}

impl AacReader {
    /// `rate` is the RTP clock, which is the sample rate.
    pub(crate) fn new(layout: Layout, rate: u32) -> Self {
        Self { layout, rate: rate.max(1), part: None }
    }

    /// Packets are missing: what came of a frame is of no use.
    pub(crate) fn handle_gap(&mut self) {
        self.part = None;
    }

    /// Gives the frames of the next packet; `None` if it is malformed: those before the error were given.
    pub(crate) fn handle_packet(
        &mut self,
        packet: &rtp::Packet<'_>,
        mut each: impl FnMut(Bytes, Stamp),
    ) -> Option<()> {
        let rate = self.rate;
        let step = Ticks(i64::from(FRAME_SAMPLES) * Ticks::PER_SECOND / i64::from(rate));
        let mut first = true;
        let mut give = |timestamp, frame| {
            let stamp = if first { Stamp::Rtp { timestamp, rate } } else { Stamp::After(step) };
            first = false;
            each(frame, stamp);
        };
        match self.layout {
            Layout::Sections { size: 0, .. } => {
                give(packet.timestamp, Bytes::copy_from_slice(packet.payload));
                Some(())
            }
            Layout::Sections { size, index, delta } => self.sections(packet, (size, index, delta), &mut give),
            Layout::Latm { frames } => self.latm(packet, frames, &mut give),
        }
    }

    fn sections(
        &mut self,
        packet: &rtp::Packet<'_>,
        (size, index, delta): (u32, u32, u32),
        give: &mut impl FnMut(u32, Bytes),
    ) -> Option<()> {
        let (bits, rest) = packet.payload.split_first_chunk::<2>()?;
        let bits = u32::from(u16::from_be_bytes(*bits));
        let heads = rest.get(..bits.div_ceil(8) as usize)?;
        let mut data = &rest[heads.len()..];
        let mut reader = Bits::new(heads);
        let (mut left, mut width) = (bits, index);
        let mut given = 0;
        while left >= size + width && given < FRAMES_MAX {
            let len = reader.read(size)? as usize;
            reader.read(width)?;
            left -= size + width;
            if data.len() < len || self.part.is_some() {
                // §3.2.3: a fragment stands alone in its packet, under the size of the whole frame.
                return if given == 0 { self.fragment(packet, len, data, give) } else { None };
            }
            give(packet.timestamp, Bytes::copy_from_slice(&data[..len]));
            data = &data[len..];
            (width, given) = (delta, given + 1);
        }
        (given > 0).then_some(())
    }

    fn fragment(
        &mut self,
        packet: &rtp::Packet<'_>,
        size: usize,
        data: &[u8],
        give: &mut impl FnMut(u32, Bytes),
    ) -> Option<()> {
        let timestamp = packet.timestamp;
        if size > FRAME_MAX {
            self.part = None;
            return None;
        }
        let same = |part: &Part| part.timestamp == timestamp && part.size == size;
        let begun = self.part.take();
        if begun.is_some() && data.len() >= size {
            // The frame before lacks its end, and this one is whole.
            give(timestamp, Bytes::copy_from_slice(&data[..size]));
            return None;
        }
        let mut part = begun.filter(same).unwrap_or_else(|| Part { timestamp, size, data: BytesMut::new() });
        part.data.extend_from_slice(&data[..data.len().min(size - part.data.len())]);
        if part.data.len() == size {
            give(timestamp, part.data.freeze());
        } else {
            self.part = Some(part);
        }
        Some(())
    }

    fn latm(
        &mut self,
        packet: &rtp::Packet<'_>,
        frames: usize,
        give: &mut impl FnMut(u32, Bytes),
    ) -> Option<()> {
        let mut data = packet.payload;
        for _ in 0..frames {
            if let Some(part) = &mut self.part
                && part.timestamp == packet.timestamp
            {
                // §6.3: fragments are cut anywhere behind the length.
                let taken = data.len().min(part.size - part.data.len());
                part.data.extend_from_slice(&data[..taken]);
                data = &data[taken..];
            } else {
                let size = latm_length(&mut data)?;
                let (frame, rest) = data.split_at(data.len().min(size));
                data = rest;
                self.part = Some(Part { timestamp: packet.timestamp, size, data: BytesMut::from(frame) });
            }
            if self.part.as_ref().is_some_and(|part| part.data.len() < part.size) {
                return if packet.marker { None } else { Some(()) };
            }
            give(packet.timestamp, self.part.take()?.data.freeze());
        }
        Some(())
    }
}

/// `PayloadLengthInfo` (ISO/IEC 14496-3 §1.7.3.1): bytes are added up to the first that is not 255.
fn latm_length(data: &mut &[u8]) -> Option<usize> {
    let mut size = 0;
    loop {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        size += usize::from(byte);
        if size > FRAME_MAX {
            return None;
        }
        if byte != 255 {
            return Some(size);
        }
    }
}

/// The AudioSpecificConfig in a `StreamMuxConfig` (ISO/IEC 14496-3 §1.7.3) of one program with one layer, and how many
/// frames a packet has; `None` for other forms.
pub(crate) fn latm_config(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut bits = Bits::new(bytes);
    let (version, same) = (bits.read(1)?, bits.read(1)?);
    let (frames, programs, layers) = (bits.read(6)? as usize + 1, bits.read(4)?, bits.read(3)?);
    if (version, same, programs, layers) != (0, 1, 0, 0) {
        return None;
    }
    // What follows the configuration is of no matter: who reads it knows its length.
    let config: Vec<u8> =
        bytes.windows(2).skip(1).map(|pair| pair[0] << 7 | pair[1] >> 1).take(FRAMES_MAX).collect();
    Some((config, frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> rtp::Packet<'_> {
        rtp::Packet { payload_type: 97, marker, seq: 0, timestamp, ssrc: 1, payload }
    }

    fn run(reader: &mut AacReader, packets: &[(u32, bool, &[u8])]) -> (Vec<(Vec<u8>, Stamp)>, usize) {
        let (mut seen, mut bad) = (Vec::new(), 0);
        for &(timestamp, marker, payload) in packets {
            let each = |data: Bytes, stamp| seen.push((data.to_vec(), stamp));
            bad += usize::from(reader.handle_packet(&packet(timestamp, marker, payload), each).is_none());
        }
        (seen, bad)
    }

    #[test]
    fn frames_of_one_packet_follow_each_other() {
        let mut reader = AacReader::new(Layout::HBR, 16_000);
        let (seen, bad) = run(&mut reader, &[(5, true, &[0, 32, 0, 16, 0, 8, 1, 2, 3])]);
        let stamps = [Stamp::Rtp { timestamp: 5, rate: 16_000 }, Stamp::After(Ticks(5760))];
        assert_eq!(seen, [(vec![1, 2], stamps[0]), (vec![3], stamps[1])]);
        let narrow = Layout::Sections { size: 6, index: 2, delta: 2 };
        let (seen, worse) = run(&mut AacReader::new(narrow, 8_000), &[(5, true, &[0, 8, 2 << 2, 7, 8])]);
        assert_eq!((seen[0].0.as_slice(), bad, worse), (&[7, 8][..], 0, 0));
    }

    #[test]
    fn a_frame_in_fragments_is_put_together_and_a_broken_one_is_not() {
        let mut reader = AacReader::new(Layout::HBR, 16_000);
        let parts: [(u32, bool, &[u8]); 2] =
            [(9, false, &[0, 16, 0, 32, 1, 2]), (9, true, &[0, 16, 0, 32, 3, 4])];
        assert_eq!(run(&mut reader, &parts).0[0].0, [1, 2, 3, 4]);
        let (seen, bad) = run(&mut reader, &[parts[0], (10, true, &[0, 16, 0, 8, 5])]);
        assert_eq!((seen[0].0.as_slice(), bad), (&[5][..], 1), "the end of the first one is missing");
        run(&mut reader, &parts[..1]);
        reader.handle_gap();
        assert_eq!(
            run(&mut reader, &[(11, true, &[0, 16, 0, 8, 6])]),
            run(&mut AacReader::new(Layout::HBR, 16_000), &[(11, true, &[0, 16, 0, 8, 6])])
        );
        for cut in [&[][..], &[0], &[0, 16, 0], &[0, 0], &[0, 3, 0, 0]] {
            assert_eq!(run(&mut reader, &[(1, true, cut)]).1, 1, "{cut:?}");
        }
        let mut wide = AacReader::new(Layout::Sections { size: 16, index: 0, delta: 0 }, 16_000);
        assert_eq!(run(&mut wide, &[(1, true, &[0, 16, 0xFF, 0xFF, 1])]).1, 1, "no frame is so large");
    }

    #[test]
    fn latm_states_its_configuration_and_its_lengths() {
        // LC, 44.1 kHz, two channels, one frame a packet: as ffmpeg writes it.
        assert_eq!(
            latm_config(&[0x40, 0x00, 0x24, 0x20, 0x3F, 0xC0]),
            Some((vec![0x12, 0x10, 0x1F, 0xE0], 1))
        );
        assert_eq!(latm_config(&[0xC0, 0, 0, 0]), None);
        let mut reader = AacReader::new(Layout::Latm { frames: 1 }, 44_100);
        let long = [&[255, 45][..], &[7; 300]].concat();
        let (seen, bad) =
            run(&mut reader, &[(1, false, &long[..200]), (1, true, &long[200..]), (2, true, &[1, 9])]);
        assert_eq!((seen[0].0.len(), seen[1].0.as_slice(), bad), (300, &[9][..], 0));
        assert_eq!(run(&mut reader, &[(3, true, &[5, 1])]).1, 1);
    }
}
