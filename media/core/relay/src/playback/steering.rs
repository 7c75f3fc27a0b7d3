//! A playback as those see it who steer it: what they wish goes in, where it stands comes out.

use std::sync::Mutex;

use tokio::sync::mpsc;
use wire::media::Ticks;

use super::{Control, DELIVERIES, SPEEDS, check};
use crate::{error::Error, table::lock};

/// Orders that wait; a player sends a few a second.
const ORDERS_MAX: usize = 16;

/// Where a playback stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// How many wishes were carried out.
    pub(crate) done: u64,
    /// The time that the first picture after the last seek goes out with.
    pub(crate) sought: Ticks,
    /// A time of the stream, and the position that goes out with it, in milliseconds of the UNIX epoch.
    pub(crate) at: Ticks,
    pub(crate) position_ms: u64,
    pub(crate) speed: f64,
    pub(crate) delivery: f64,
    pub(crate) paused: bool,
    /// Where the whole begins and ends, in milliseconds of the UNIX epoch; no end if that is not known.
    pub(crate) start_ms: u64,
    pub(crate) end_ms: Option<u64>,
}

impl Standing {
    /// The position that goes out at `time` of the stream.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "times of a day at most"
    )]
    pub(crate) fn position(&self, time: Ticks) -> u64 {
        let ms = ((time - self.at).as_millis() as f64 * self.speed).round() as i64;
        self.position_ms.saturating_add_signed(ms).clamp(self.start_ms, self.end_ms.unwrap_or(u64::MAX))
    }
}

/// One playback's wheel.
#[derive(Debug)]
pub struct Steering {
    /// How many wishes were taken, and where they go.
    orders: Mutex<(u64, mpsc::Sender<Control>)>,
    standing: Mutex<Standing>,
}

impl Steering {
    /// A wheel, and where its wishes come.
    pub(super) fn new(standing: Standing) -> (Self, mpsc::Receiver<Control>) {
        let (sender, controls) = mpsc::channel(ORDERS_MAX);
        (Self { orders: Mutex::new((0, sender)), standing: Mutex::new(standing) }, controls)
    }

    /// Hands a wish on, which is carried out when as many are done as this returns; a playback that is over, and one that
    /// has too many wishes to carry out, refuse it.
    pub(crate) fn control(&self, control: Control) -> Result<u64, Error> {
        match control {
            Control::Speed(speed) => check("speed", speed, &SPEEDS)?,
            Control::Delivery(delivery) => check("delivery", delivery, &DELIVERIES)?,
            Control::Seek(_) | Control::Pause(_) => {}
        }
        let (taken, sender) = &mut *lock(&self.orders);
        sender.try_send(control).map_err(|_| Error::Invalid("too many wishes at once".to_owned()))?;
        *taken += 1;
        Ok(*taken)
    }

    /// Whether all that was wished is carried out: only then does it stand as those wish it who steer it.
    pub(crate) fn is_settled(&self) -> bool {
        let taken = lock(&self.orders).0;
        self.standing().done >= taken
    }

    pub(crate) fn standing(&self) -> Standing {
        *lock(&self.standing)
    }

    /// As [`Steering::new`], for tests of those who steer.
    #[cfg(test)]
    pub(crate) fn with(standing: Standing) -> (Self, mpsc::Receiver<Control>) {
        Self::new(standing)
    }

    #[cfg(test)]
    pub(crate) fn change(&self, standing: Standing) {
        self.update(|told| *told = standing);
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut lock(&self.standing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_that_there_are_not_are_refused() {
        let (steering, mut controls) = Steering::new(Standing::default());
        for wrong in [0.0, -0.0, -1.0, 0.2, 16.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(steering.control(Control::Speed(wrong)), Err(Error::Invalid(_))), "{wrong}");
            assert!(matches!(steering.control(Control::Delivery(wrong)), Err(Error::Invalid(_))), "{wrong}");
        }
        assert!(steering.control(Control::Delivery(4.1)).is_err() && steering.is_settled());
        assert_eq!(steering.control(Control::Delivery(4.0)).unwrap(), 1, "none of them was taken");
        assert_eq!(controls.try_recv(), Ok(Control::Delivery(4.0)));
        assert!(!steering.is_settled());
        steering.update(|standing| standing.done = 1);
        assert!(steering.is_settled());
    }
}
