//! A playback as those see it who steer it: what they wish goes in, where it stands comes out.

use std::sync::Mutex;

use tokio::sync::mpsc;
use wire::media::Ticks;

use super::{Control, check_speed};
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
        if let Control::Speed(speed) = control {
            check_speed(speed)?;
        }
        let (taken, sender) = &mut *lock(&self.orders);
        sender.try_send(control).map_err(|_| Error::Invalid("too many wishes at once".to_owned()))?;
        *taken += 1;
        Ok(*taken)
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
