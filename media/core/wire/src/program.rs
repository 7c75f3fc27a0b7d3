//! Reads a program stream over RTP (GB/T 28181-2016 annex C, RFC 2250 §3).

use crate::{
    frames::{Event, Frames},
    media::VideoCodec,
    ps::{Demuxer, begins_pack},
    rtp,
};

/// Reads the packets of one program stream.
#[derive(Debug)]
pub(crate) struct Program {
    demuxer: Demuxer,
    frames: Frames,
}

impl Program {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self { demuxer: Demuxer::new(), frames: Frames::new(frame_bytes_max) }
    }

    /// The coding that the video really has.
    pub(crate) fn set_codec(&mut self, codec: VideoCodec) {
        self.frames.set_codec(codec);
    }

    /// Several pictures were found in one frame.
    pub(crate) fn handle_joined(&mut self) {
        self.frames.handle_joined();
    }

    pub(crate) fn handle_packet(&mut self, packet: &rtp::Packet<'_>) {
        if self.is_stranger(packet) {
            if self.frames.handle_stranger() {
                return;
            }
            self.demuxer.handle_gap();
            self.frames.handle_strange_stamps();
        }
        self.frames.begin_packet(packet.timestamp);
        self.demuxer.handle_packet(packet.payload, &mut self.frames);
        let ends = self.demuxer.is_between() || self.demuxer.is_open();
        self.frames.end_packet(packet.marker, packet.payload.len(), ends);
    }

    /// Takes a packet in the middle of a frame of video, as most are, which tells nothing; false, and nothing done, if it
    /// is none.
    #[inline]
    pub(crate) fn handle_middle(&mut self, packet: &rtp::Packet<'_>) -> bool {
        let &rtp::Packet { payload, timestamp, marker, .. } = packet;
        let middle =
            !marker && self.demuxer.continues(payload) && self.frames.handle_middle(timestamp, payload);
        if middle {
            self.demuxer.pass(payload.len());
        }
        middle
    }

    /// In the middle of a frame, a packet of another time: sound that some devices send bare under the same
    /// payload type. Only where the device is known to stamp all packets of a frame alike.
    fn is_stranger(&self, packet: &rtp::Packet<'_>) -> bool {
        self.demuxer.is_in_body()
            && self.frames.is_apart(packet.timestamp)
            && !begins_pack(packet.payload)
            && !self.demuxer.ends_within(packet.payload)
    }

    /// Packets are missing; tells whether a frame of video was hit.
    pub(crate) fn handle_gap(&mut self) -> bool {
        self.demuxer.handle_gap();
        self.frames.handle_gap()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.frames.poll_event()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const PACK: [u8; 14] = [0, 0, 1, 0xBA, 0x44, 0, 4, 0, 4, 1, 0, 0, 3, 0xF8];

    /// A PES packet; one of `stated` bytes too many or too few says another length than it has.
    fn pes(id: u8, pts: Option<u8>, stated: i8, payload: &[u8]) -> Vec<u8> {
        let stamp = pts.map_or(vec![], |pts| vec![0x21, 0, pts | 1, 0, 1]);
        let len = (3 + stamp.len() + payload.len()).saturating_add_signed(isize::from(stated)) as u16;
        let flags = if pts.is_some() { 0x80 } else { 0 };
        let head = [0, 0, 1, id, (len >> 8) as u8, len as u8, 0x80, flags, stamp.len() as u8];
        [&head[..], &stamp, payload].concat()
    }

    /// Video whose pictures begin with start codes or not, sound, packs, and what is none of them.
    fn unit() -> impl Strategy<Value = Vec<u8>> {
        let nal = prop_oneof![
            6 => Just(vec![0, 0, 0, 1, 0x41, 0x9A]),
            2 => Just(vec![0, 0, 0, 1, 0x65, 0x88]),
            2 => Just(vec![0, 0, 0, 1, 0x41, 0x1A]),
            2 => Just(vec![]),
        ];
        let video = (
            nal,
            0..600_usize,
            proptest::option::of(any::<u8>()),
            prop_oneof![12 => Just(0), 1 => any::<i8>()],
        )
            .prop_map(|(nal, len, pts, stated)| pes(0xE0, pts, stated, &[nal, vec![0x5A; len]].concat()));
        let sound = (0..200_usize).prop_map(|len| pes(0xC0, Some(2), 0, &vec![0xD5; len]));
        prop_oneof![4 => video, 1 => sound, 4 => Just(PACK.to_vec()), 1 => vec(any::<u8>(), 0..9)]
    }

    /// Of a packet: its length, how far its RTP time goes on or back, whether it is marked, whether it gets lost.
    fn cut() -> impl Strategy<Value = (usize, i32, bool, bool)> {
        (
            prop_oneof![3 => Just(100_usize), 1 => 1..150_usize],
            prop_oneof![86 => Just(0), 9 => Just(3600), 5 => Just(-3600)],
            proptest::bool::weighted(0.08),
            proptest::bool::weighted(0.02),
        )
    }

    fn events(program: &mut Program) -> Vec<String> {
        std::iter::from_fn(|| program.poll_event()).map(|event| format!("{event:?}")).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_packet_in_the_middle_of_a_frame_tells_the_same_by_the_short_way(
            units in vec(unit(), 1..40), cuts in vec(cut(), 200)
        ) {
            let (mut short, mut long) = (Program::new(3000), Program::new(3000));
            let (bytes, mut timestamp, mut shortened) = (units.concat(), 900_000_u32, 0);
            let mut rest = &bytes[..];
            for (number, (len, step, marker, lost)) in (0..).zip(cuts) {
                let (payload, behind) = rest.split_at(len.min(rest.len()));
                rest = behind;
                timestamp = timestamp.wrapping_add_signed(step);
                if payload.is_empty() {
                    break;
                }
                if lost {
                    prop_assert_eq!(short.handle_gap(), long.handle_gap());
                    continue;
                }
                let packet = rtp::Packet { payload_type: 96, marker, seq: number, timestamp, ssrc: 1, payload };
                if short.handle_middle(&packet) {
                    shortened += 1;
                } else {
                    short.handle_packet(&packet);
                }
                long.handle_packet(&packet);
                prop_assert_eq!(events(&mut short), events(&mut long), "{} of them shortened", shortened);
            }
        }
    }
}
