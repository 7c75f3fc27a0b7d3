//! Packets in the middle of a picture that are none of it: sound that some devices send bare under the same payload type.

use super::{Event, Frames, Target};
use crate::{fault::Fault, ps::Sink};

/// So many packets in a row are no sound that comes within a picture.
const STRANGERS_MAX: u8 = 16;

impl Frames {
    /// Whether the packet of RTP time `timestamp` comes in the middle of a video frame, of another time, though
    /// the device is known to stamp all packets of a frame alike.
    pub(crate) fn is_apart(&self, timestamp: u32) -> bool {
        let frame =
            self.video.as_ref().filter(|_| self.target == Target::Video && self.endings.stamps.is_trusted());
        frame.is_some_and(|frame| frame.timestamp != timestamp)
    }

    /// Such a packet is to be left out; false if too many came in a row to be none of the frame's.
    pub(crate) fn handle_stranger(&mut self) -> bool {
        self.strangers = true;
        self.in_row += 1;
        if self.in_row > STRANGERS_MAX {
            return false;
        }
        self.fault(Fault::ForeignPacket);
        true
    }

    /// Those that were left out belonged to the frame: the device stamps packets otherwise now.
    pub(crate) fn handle_strange_stamps(&mut self) {
        self.endings.stamps.broken();
        if self.handle_gap() {
            self.fault(Fault::DamagedUnit);
        }
        self.events.push_back(Event::VideoGap);
    }
}
