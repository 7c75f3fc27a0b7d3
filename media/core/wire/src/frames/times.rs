//! The times of pictures whose PES packets state only those of the first that commences in each.

use super::open::CLOCK;
use crate::{
    media::VideoCodec,
    picture_order::{PictureOrder, Place},
    timeline::{MASK_33, Stamp},
};

/// How far apart pictures are taken to be before it is known: 25 a second.
const DISTANCE: u64 = 3600;
/// No two pictures are further apart; more is a jump of the clock.
const DISTANCE_MAX: u64 = 10 * 90_000;

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

/// Counts on from the times that are stated: decoding times by the distance of pictures, presentation times by their order
/// counts.
#[derive(Debug)]
pub(super) struct Times {
    /// The decoding time that was stated last, and how many pictures came since.
    last: Option<(u64, u64)>,
    distance: u64,
    /// Decoding times were stated: where one is not, it is the presentation time (ISO/IEC 13818-1 §2.4.3.7).
    decoding: bool,
    order: PictureOrder,
    /// A picture's presentation time, as stated, and order count, since the count began.
    shown: Option<(i64, i64)>,
    /// So many ticks pass in so many steps of the order count.
    steps: Option<(i64, i64)>,
    /// How long before it is shown a picture is decoded whose order count says nothing.
    lead: i64,
}

impl Times {
    pub(super) fn new() -> Self {
        Self {
            last: None,
            distance: DISTANCE,
            decoding: false,
            order: PictureOrder::default(),
            shown: None,
            steps: None,
            lead: 0,
        }
    }

    /// Pictures are missing.
    pub(super) fn handle_gap(&mut self) {
        (self.last, self.shown) = (None, None);
    }

    /// Times the next picture in order of decoding.
    pub(super) fn handle_picture(&mut self, stated: Stated, codec: VideoCodec, data: &[u8]) -> Stamp {
        let place = self.order.handle_picture(codec, data);
        if place.is_some_and(|place| place.first) {
            self.shown = None;
        }
        let Some(pts) = stated.pts else { return self.count_on(stated.timestamp, place) };
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
        self.learn_order(pts.cast_signed(), decoded.cast_signed(), place);
        Stamp::Pes { pts, dts }
    }

    /// Learns from a picture whose times are stated.
    fn learn_order(&mut self, pts: i64, dts: i64, place: Option<Place>) {
        if place.is_none_or(|place| place.first) {
            self.lead = pts - dts;
        }
        let Some(Place { order, .. }) = place else { return };
        if let Some((then, before)) = self.shown {
            let (passed, steps) = (pts - then, order - before);
            if steps != 0 && passed.signum() == steps.signum() && passed.abs() <= DISTANCE_MAX.cast_signed() {
                self.steps = Some((passed, steps));
            }
        }
        self.shown = Some((pts, order));
    }

    fn count_on(&mut self, timestamp: u32, place: Option<Place>) -> Stamp {
        let Some((last, since)) = &mut self.last else { return Stamp::Rtp { timestamp, rate: CLOCK } };
        *since += 1;
        let dts = last.wrapping_add(*since * self.distance) & MASK_33;
        if !self.decoding {
            return Stamp::Pes { pts: dts, dts: None };
        }
        let by_order = || {
            let ((then, before), (ticks, steps)) = (self.shown?, self.steps?);
            Some(then + (place?.order - before) * ticks / steps)
        };
        let pts = by_order().unwrap_or(dts.cast_signed() + self.lead);
        if self.shown.is_none() {
            self.shown = place.map(|place| (pts, place.order));
        }
        Stamp::Pes { pts: pts.cast_unsigned() & MASK_33, dts: Some(dts) }
    }
}
