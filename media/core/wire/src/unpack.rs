//! From ordered RTP packets to access units: the whole chain for one stream.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    fault::Fault,
    media::{AccessUnit, Tracks},
    rtp,
};

/// Limits and patience of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A larger frame is dropped; 4 MiB.
    pub frame_bytes_max: usize,
    /// How long video that is ready waits for announced audio (and audio for video that never shows); 1 s.
    pub audio_wait: Duration,
    /// How long audio waits for the first key frame of video that is there; 10 s.
    pub video_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            frame_bytes_max: 4 << 20,
            audio_wait: Duration::from_secs(1),
            video_wait: Duration::from_secs(10),
        }
    }
}

/// What the packets of a stream carry, as found by probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Program stream (ISO/IEC 13818-1 §2.5) over RTP.
    Ps,
    /// H.264 NAL units (RFC 6184, or Annex B bytes).
    H264,
    /// H.265 NAL units (RFC 7798, or Annex B bytes).
    H265,
    /// Bare G.711 A-law.
    G711A,
    /// Bare G.711 µ-law.
    G711U,
    /// AAC (RFC 3640).
    Aac,
    /// Transport stream.
    Ts,
}

impl Payload {
    /// Its name in the interface: `ps`, `h264`, `h265`, `g711a`, `g711u`, `aac`, `ts`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ps => "ps",
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::G711A => "g711a",
            Self::G711U => "g711u",
            Self::Aac => "aac",
            Self::Ts => "ts",
        }
    }
}

/// What comes out of a stream.
#[derive(Debug, Clone)]
pub enum Output {
    /// What the packets carry; once, before all else but faults.
    Payload(Payload),
    /// The tracks from now on; always before the first unit that has them.
    Tracks(Arc<Tracks>),
    /// A complete access unit.
    Unit(AccessUnit),
    /// A deviation.
    Fault(Fault),
}

/// Unpacks one stream; its packets come in order, gaps are told.
pub struct Unpacker {
    output: VecDeque<Output>,
}

impl Unpacker {
    /// A stream that has not begun.
    pub fn new(_options: Options) -> Self {
        Self { output: VecDeque::new() }
    }

    /// Tells payload types and encoding names of the SDP answer, such as (96, "PS") or (98, "H264").
    pub fn expect<'a>(&mut self, _payloads: impl IntoIterator<Item = (u8, &'a str)>) {}

    /// Takes the next packet.
    pub fn handle_packet(&mut self, _now: Instant, _packet: &rtp::Packet<'_>) {}

    /// Tells that `lost` packets before the next one will never come (at a restart: an unknown number, say 1).
    pub fn handle_gap(&mut self, lost: u64) {
        if lost > 0 {
            self.output.push_back(Output::Fault(Fault::SequenceGap));
        }
    }

    /// Lets time pass; early calls do no harm.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When to call `handle_timeout`.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next output, or `None` until something is handled.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }
}
