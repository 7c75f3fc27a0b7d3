//! How a device shows that a frame is complete, learnt from its packets.

use crate::habit::Habit;

/// How a packet ended at which a frame may be complete.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tail {
    /// It had the marker bit.
    pub(crate) marker: bool,
    /// It was shorter than the device's packets are where more follows.
    pub(crate) short: bool,
}

/// A frame that was handed on before the next one began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Early {
    pub(crate) timestamp: u32,
    pub(crate) pts: Option<u64>,
    pub(crate) tail: Tail,
}

/// What is known of one device.
#[derive(Debug)]
pub(crate) struct Endings {
    longest: usize,
    markers: Habit,
    tails: Habit,
    /// All packets of a frame bear the same RTP timestamp.
    pub(crate) stamps: Habit,
    early: Option<Early>,
}

impl Endings {
    pub(crate) fn new() -> Self {
        Self { longest: 0, markers: Habit::new(), tails: Habit::new(), stamps: Habit::new(), early: None }
    }

    /// Takes the size of a packet; whether it is shorter than others were.
    pub(crate) fn measure(&mut self, len: usize) -> bool {
        self.longest = self.longest.max(len);
        len < self.longest
    }

    /// Whether a frame is certainly complete after such a packet.
    pub(crate) fn is_end(&self, tail: Tail) -> bool {
        (tail.marker && self.markers.is_trusted()) || (tail.short && self.tails.is_trusted())
    }

    /// The frame was over after such a packet.
    pub(crate) fn end(&mut self, tail: Tail) {
        if tail.marker {
            self.markers.held();
        }
        if tail.short {
            self.tails.held();
        }
    }

    /// The frame went on after such a packet.
    pub(crate) fn breach(&mut self, tail: Tail) {
        if tail.marker {
            self.markers.broken();
        }
        if tail.short {
            self.tails.broken();
        }
    }

    /// A frame is handed on at its tail, before the next one begins.
    pub(crate) fn hand_on(&mut self, early: Early) {
        self.early = Some(early);
    }

    /// The frame that was handed on, as long as nothing followed.
    pub(crate) fn early(&self) -> Option<Early> {
        self.early
    }

    /// Another frame begins: the one that was handed on was complete.
    pub(crate) fn settle(&mut self) {
        if let Some(early) = self.early.take() {
            self.end(early.tail);
        }
    }

    /// The frame that was handed on goes on; whether there was one.
    pub(crate) fn deny(&mut self) -> bool {
        let early = self.early.take();
        if let Some(early) = early {
            self.breach(early.tail);
        }
        early.is_some()
    }

    /// What follows says nothing about the frame that was handed on.
    pub(crate) fn handle_gap(&mut self) {
        self.early = None;
    }
}
