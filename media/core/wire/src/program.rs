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
            return self.frames.handle_stranger();
        }
        self.frames.begin_packet(packet.timestamp);
        self.demuxer.handle_packet(packet.payload, &mut self.frames);
        let ends = self.demuxer.is_between() || self.demuxer.is_open();
        self.frames.end_packet(packet.marker, packet.payload.len(), ends);
    }

    /// In the middle of a frame, a packet of another time: sound that some devices send bare under the same
    /// payload type. Only where the device is known to stamp all packets of a frame alike.
    fn is_stranger(&self, packet: &rtp::Packet<'_>) -> bool {
        self.demuxer.is_in_body() && self.frames.is_apart(packet.timestamp) && !begins_pack(packet.payload)
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
