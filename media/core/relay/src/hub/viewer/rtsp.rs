//! Players of RTSP stop, go on and begin elsewhere while they watch.

use std::time::Instant;

use wire::media::Ticks;

use super::{Framing, Gone, Viewer, Written};
use crate::hub::ring::Ring;

impl Viewer {
    pub(super) fn is_paused(&self) -> bool {
        matches!(&self.framing, Framing::Rtsp(player) if player.run.is_paused())
    }

    /// Whether it may begin with a chunk of this time.
    pub(crate) fn may_begin(&self, time: Ticks) -> bool {
        !matches!(&self.framing, Framing::Rtsp(player) if !player.run.may_begin(time))
    }

    /// Whether it waits for an answer that is not to wait for media any more.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        matches!(&self.framing, Framing::Rtsp(player) if player.run.is_overdue(now))
    }

    /// Whether chunks go out now. A PLAY that waits is answered before its first one.
    pub(super) fn is_sent(&mut self, now: Instant, ring: &Ring, total: &mut Written) -> Result<bool, Gone> {
        let Framing::Rtsp(player) = &self.framing else { return Ok(true) };
        if player.run.is_running() {
            return Ok(true);
        }
        let (ready, overdue) = (!player.run.is_paused() && player.run.is_done(), player.run.is_overdue(now));
        if ready {
            total.skips += self.skip(ring)?;
            // As when it began: what waits is too much at once.
            self.next = self.next.filter(|next| !self.takes_datagrams() || next + 1 >= ring.end());
        }
        let next = self.next.filter(|next| ready && ring.get(*next).is_some());
        if let Framing::Rtsp(player) = &mut self.framing
            && (next.is_some() || overdue)
        {
            player.begin(next.map(|next| (ring, next))).map_err(|()| Gone::Left)?;
            self.answer_player()?;
        }
        Ok(false)
    }

    /// Queues what a player of RTSP is to be told.
    pub(super) fn answer_player(&mut self) -> Result<(), Gone> {
        let Framing::Rtsp(player) = &mut self.framing else { return Ok(()) };
        if player.run.begins_afresh() {
            self.next = None;
        }
        let said = player.server.take_output();
        self.owe(&said) // each request is answered
    }
}
