//! A way to a target that packets can go by now.

use std::time::Instant;

use bytes::Bytes;
use wire::send::Source;

use super::{
    group::{Group, Position},
    tcp::Tcp,
    udp::{Sent, Udp},
};
use crate::{reason::Reason, shard::turn::Turn};

pub(crate) enum Route {
    Udp(Box<Udp>),
    Tcp(Box<Tcp>),
}

impl Route {
    /// Whether packets can be lost there.
    pub(crate) fn is_datagrams(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// Writes the rest of a packet that was begun; whether it is between packets then.
    pub(crate) fn finish(&mut self, turn: Turn<'_>, sent: &mut Sent) -> Result<bool, Reason> {
        match self {
            Self::Udp(_) => Ok(true),
            Self::Tcp(tcp) => {
                tcp.write_begun(turn.now, sent)?;
                Ok(tcp.is_between())
            }
        }
    }

    /// Sends what may leave now of what follows `position`.
    pub(crate) fn pump(
        &mut self,
        turn: Turn<'_>,
        group: &Group,
        position: &mut Position,
        source: &mut Source,
    ) -> Result<Sent, Reason> {
        match self {
            Self::Udp(udp) => udp.pump(turn, group, position, source),
            Self::Tcp(tcp) => tcp.pump(turn, group, position, source),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Udp(udp) => udp.next_timeout(),
            Self::Tcp(tcp) => tcp.next_timeout(),
        }
    }

    /// Lets time pass; why the target is given up because of it, if it is.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Reason> {
        match self {
            Self::Udp(udp) => udp.check(now),
            Self::Tcp(tcp) => tcp.check(now),
        }
    }

    /// Tells the target that nothing more comes, if reports were sent.
    pub(crate) fn take_leave(&mut self, now: Instant) {
        match self {
            Self::Udp(udp) => udp.take_leave(),
            Self::Tcp(tcp) => tcp.take_leave(now),
        }
    }

    /// What is left of a packet that was begun.
    pub(crate) fn into_rest(self) -> Option<Bytes> {
        match self {
            Self::Udp(_) => None,
            Self::Tcp(tcp) => tcp.into_rest(),
        }
    }
}

impl From<Udp> for Route {
    fn from(udp: Udp) -> Self {
        Self::Udp(Box::new(udp))
    }
}

impl From<Tcp> for Route {
    fn from(tcp: Tcp) -> Self {
        Self::Tcp(Box::new(tcp))
    }
}
