//! The times of pictures whose PES packets state only those of the first that commences in each.

use crate::timeline::Stamp;

/// Clock of RTP timestamps for PS (RFC 2250 §3, GB/T 28181-2016 annex C).
const CLOCK: u32 = 90_000;
/// How far apart pictures are taken to be before it is known: 25 a second.
const DISTANCE: u64 = 3600;
/// No two pictures are further apart; more is a jump of the clock.
const DISTANCE_MAX: u64 = 10 * 90_000;
const MASK_33: u64 = (1 << 33) - 1;

/// What is stated of a picture: times in 90 kHz, 33 bits, and the RTP timestamp that it came with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stated {
    pub(super) pts: Option<u64>,
    pub(super) dts: Option<u64>,
    pub(super) timestamp: u32,
}

impl Stated {
    /// What is left for a second picture that commences in the same PES packet.
    pub(super) fn used(self) -> Self {
        Self { pts: None, dts: None, ..self }
    }
}

/// Counts on from the times that are stated.
#[derive(Debug)]
pub(super) struct Times {
    /// The decoding time that was stated last, and how many pictures came since.
    last: Option<(u64, u64)>,
    distance: u64,
    /// Decoding times were stated: where one is not, it is the presentation time (ISO/IEC 13818-1 §2.4.3.7).
    decoding: bool,
}

impl Times {
    pub(super) fn new() -> Self {
        Self { last: None, distance: DISTANCE, decoding: false }
    }

    /// Pictures are missing.
    pub(super) fn handle_gap(&mut self) {
        self.last = None;
    }

    /// Times the next picture in order of decoding.
    pub(super) fn handle_picture(&mut self, stated: Stated) -> Stamp {
        let Some(pts) = stated.pts else { return self.count_on(stated.timestamp) };
        self.decoding |= stated.dts.is_some();
        let dts = stated.dts.or(self.decoding.then_some(pts));
        let decoded = dts.unwrap_or(pts);
        if let Some((last, since)) = self.last {
            let passed = decoded.wrapping_sub(last) & MASK_33;
            if (1..=DISTANCE_MAX).contains(&passed) {
                self.distance = passed / (since + 1);
            }
        }
        self.last = Some((decoded, 0));
        Stamp::Pes { pts, dts }
    }

    fn count_on(&mut self, timestamp: u32) -> Stamp {
        let Some((last, since)) = &mut self.last else { return Stamp::Rtp { timestamp, rate: CLOCK } };
        *since += 1;
        let dts = last.wrapping_add(*since * self.distance) & MASK_33;
        Stamp::Pes { pts: dts, dts: self.decoding.then_some(dts) }
    }
}
