//! A sender on the connection of a receiver: what a device is spoken to with goes where the device's own sound comes from.
//!
//! It writes and never reads; what the device says is the receiver's. It goes over to whatever connection the receiver has
//! next, waits for one for a while, and ends with the receiver.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{route::Route, tcp::Tcp, udp::Udp};
use crate::{
    back::{Claim, Look, Path},
    reason::Reason,
};

/// The receiver is looked at so often even if nothing is sent.
const LOOK: Duration = Duration::from_millis(200);
/// And so often while a connection is waited for.
const LOOK_WAITING: Duration = Duration::from_millis(50);

pub(crate) struct Over {
    claim: Claim,
    ssrc: u32,
    /// Whether reports are sent on a connection.
    reports: bool,
    /// It is sound alone, which somebody waits to hear.
    talk: bool,
    wait: Duration,
    until: Instant,
    look: Instant,
    known: Option<u64>,
    route: Option<Route>,
    reached: bool,
}

/// What became of the way.
pub(crate) enum Change {
    Nothing,
    Joined(SocketAddr),
    Lost,
}

impl Over {
    /// `talk`: it is sound alone; `wait`: so long is a connection waited for, each time.
    pub(crate) fn new(
        now: Instant,
        claim: Claim,
        (ssrc, reports, talk): (u32, bool, bool),
        wait: Duration,
    ) -> Self {
        let until = now + wait;
        Self { claim, ssrc, reports, talk, wait, until, look: now, known: None, route: None, reached: false }
    }

    /// Goes where the receiver's connection is; why the target is given up, if it is.
    pub(crate) fn follow(&mut self, now: Instant) -> Result<Change, Reason> {
        let change = match self.claim.look(self.known) {
            Look::Closed => return Err(Reason::OtherOver),
            Look::New(path, rest, number) => {
                self.known = Some(number);
                self.reached = true;
                let peer = match path {
                    Path::Udp { rtp, rtcp, to } => {
                        self.route = Some(Udp::over(now, (rtp, rtcp), to, self.ssrc).into());
                        to
                    }
                    Path::Tcp { socket, peer } => {
                        let tcp =
                            Tcp::over(now, socket, (rest, self.talk), self.reports.then_some(self.ssrc));
                        self.route = Some(tcp.into());
                        peer
                    }
                };
                Change::Joined(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
            }
            Look::None if self.route.is_some() => {
                self.lose(now);
                Change::Lost
            }
            Look::None | Look::Same => Change::Nothing,
        };
        if self.route.is_none() && now >= self.until {
            return Err(Reason::NoConnection);
        }
        self.look = now + if self.route.is_some() { LOOK } else { LOOK_WAITING };
        Ok(change)
    }

    /// The connection broke: the next one is waited for.
    pub(crate) fn lose(&mut self, now: Instant) {
        self.route = None;
        self.until = now + self.wait;
        self.look = now + LOOK_WAITING;
    }

    pub(crate) fn route(&mut self) -> Option<&mut Route> {
        self.route.as_mut()
    }

    /// Whether there ever was a connection.
    pub(crate) fn reached(&self) -> bool {
        self.reached
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        let route = self.route.as_ref().and_then(Route::next_timeout);
        route.map_or(self.look, |due| due.min(self.look))
    }

    /// Lets time pass.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Reason> {
        self.route.as_mut().map_or(Ok(()), |route| route.check(now))
    }

    /// Ends; a frame that is not whole is left to whoever sends on the connection next.
    pub(crate) fn take_leave(mut self, now: Instant) {
        let Some(mut route) = self.route.take() else { return };
        route.take_leave(now);
        if let (Some(rest), Some(number)) = (route.into_rest(), self.known) {
            self.claim.leave(number, rest);
        }
    }
}
