//! Streams sent as RTP to platforms and devices (GB/T 28181-2016 §9.2, annexes C, D and L): by datagrams, on a
//! connection that we make, or on one that we wait for.
//!
//! A sender belongs to its stream and lives on its shard. All senders of one form share the packets ([`group`]); each has
//! a source, sequence numbers and a pace of its own. It ends with the stream, with its target, or when it is closed, and
//! says so by one last event.

mod account;
mod group;
mod opening;
mod over;
mod pace;
mod reports;
mod route;
mod sender;
mod tcp;
mod udp;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use datagram::Batch;
use slab::Slab;
use wire::media::AccessUnit;

pub use self::account::SenderStats;
pub(crate) use self::{
    account::Directory,
    opening::{Means, Opening},
};
use self::{
    group::Group,
    reports::Clock,
    sender::{Round, Sender},
};
use crate::{hub::gop::GopCache, metrics::Metrics, reason::Reason, shard::turn::Turn};
pub use wire::send::{Form, Payload, Selection};

/// How packets reach a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// In datagrams.
    Udp,
    /// We connect to the target.
    TcpActive,
    /// The target connects to us.
    TcpPassive,
}

impl Transport {
    /// The name used outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::TcpActive => "tcp_active",
            Self::TcpPassive => "tcp_passive",
        }
    }
}

/// What a sender is asked to be.
#[derive(Debug, Clone)]
pub struct OpenSender {
    /// How; without meaning over a receiver's connection, which decides.
    pub transport: Transport,
    /// The receiver whose source is the target, on the connection that it has: no address is named then.
    pub over: Option<u64>,
    /// Where to; who may connect, for a passive one, and `None` if anybody may.
    pub host: Option<IpAddr>,
    /// The target's port; of no meaning for a passive one.
    pub port: u16,
    /// Synchronisation source of all packets.
    pub ssrc: u32,
    /// What the packets carry, of which tracks.
    pub form: Form,
    /// Of PS and of video; sound sent as it is has its own.
    pub payload_type: u8,
    /// Our own port; 0: one of the range for RTP.
    pub local_port: u16,
    /// A target of datagrams that reports nothing for so long is given up.
    pub report_timeout: Option<Duration>,
    /// A passive one waits so long for its target, and one over a receiver for a connection.
    pub wait: Duration,
    /// Reports on a connection too; with datagrams they always go.
    pub rtcp: bool,
}

/// What a shard is asked for.
pub(crate) enum Order {
    Open(Box<Opening>),
    Close(u64),
}

/// The senders of one stream.
pub(crate) struct Senders {
    /// The stream's number on its shard.
    index: usize,
    groups: Vec<Group>,
    all: Slab<Sender>,
    settled: bool,
    clock: Clock,
}

impl Senders {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, groups: Vec::new(), all: Slab::new(), settled: false, clock: Clock::default() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Opens a sender, or closes one; bytes sent, as of all that follows.
    pub(crate) fn handle_order(
        &mut self,
        turn: Turn<'_>,
        order: Order,
        cache: &GopCache,
        bytes_max: usize,
    ) -> u64 {
        match order {
            Order::Open(opening) => {
                let form = opening.listed.account.form;
                if self.group(form).is_none() {
                    if let Some(newest) = cache.units().last() {
                        self.clock.handle(turn.wall_ms * 1000, newest.pts);
                    }
                    self.groups.push(Group::new(form, bytes_max, cache, &self.clock));
                }
                let slot = self.all.vacant_entry();
                let key = slot.key();
                slot.insert(Sender::new(turn, (self.index, key as u32), *opening));
                turn.metrics.senders.add(1);
                self.pump(turn, key)
            }
            Order::Close(id) => {
                let key = self.all.iter().find(|(_, sender)| sender.account().id == id);
                if let Some(key) = key.map(|(key, _)| key) {
                    self.remove(turn, key, &Reason::Closed);
                }
                0
            }
        }
    }

    /// Makes the packets of a unit and sends what may leave. `settled`: a stream without pictures has none.
    pub(crate) fn handle_unit(&mut self, turn: Turn<'_>, unit: &AccessUnit, settled: bool) -> u64 {
        self.settled = settled;
        if !self.groups.is_empty() {
            self.clock.handle(turn.wall_ms * 1000, unit.pts);
        }
        for group in &mut self.groups {
            let of_group = self.all.iter().filter(|(_, sender)| sender.account().form == group.form);
            group.push(unit, of_group.map(|(_, sender)| sender.needs()).min().unwrap_or(u64::MAX));
            group.set_moment(&self.clock);
        }
        self.pump_all(turn)
    }

    /// A sender's socket is ready.
    pub(crate) fn handle_ready(
        &mut self,
        turn: Turn<'_>,
        part: u32,
        readable: bool,
        (batch, scratch): (&mut Batch, &mut [u8]),
    ) -> u64 {
        let key = part as usize;
        let Some(sender) = self.all.get_mut(key) else { return 0 };
        if let Err(reason) = sender.handle_ready(turn, readable, batch, scratch) {
            self.remove(turn, key, &reason);
            return 0;
        }
        self.pump(turn, key)
    }

    /// When to call `handle_timeout` even if nothing comes.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.all.iter().filter_map(|(_, sender)| sender.next_timeout()).min()
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, turn: Turn<'_>) -> u64 {
        for key in self.keys() {
            let Some(sender) = self.all.get_mut(key) else { continue };
            if let Err(reason) = sender.handle_timeout(turn) {
                self.remove(turn, key, &reason);
            }
        }
        self.pump_all(turn)
    }

    /// Ends them all, because the stream ends.
    pub(crate) fn close(&mut self, metrics: &Metrics) {
        for (_, sender) in std::mem::take(&mut self.all) {
            sender.end(&Reason::StreamOver);
            metrics.senders.sub(1);
        }
        self.groups.clear();
    }

    fn keys(&self) -> Vec<usize> {
        self.all.iter().map(|(key, _)| key).collect()
    }

    fn group(&self, form: Form) -> Option<&Group> {
        self.groups.iter().find(|group| group.form == form)
    }

    fn pump_all(&mut self, turn: Turn<'_>) -> u64 {
        let mut bytes = 0;
        for key in self.keys() {
            bytes += self.pump(turn, key);
        }
        bytes
    }

    fn pump(&mut self, turn: Turn<'_>, key: usize) -> u64 {
        let Some(sender) = self.all.get_mut(key) else { return 0 };
        let Some(group) = self.groups.iter().find(|group| group.form == sender.account().form) else {
            return 0;
        };
        match sender.pump(turn, group, self.settled) {
            Ok(Round { packets, bytes, skips }) => {
                turn.metrics.sender_packets.add(packets);
                turn.metrics.sender_skips.add(skips);
                bytes
            }
            Err(reason) => {
                self.remove(turn, key, &reason);
                0
            }
        }
    }

    /// Lets a sender go, and its form with the last of it.
    fn remove(&mut self, turn: Turn<'_>, key: usize, reason: &Reason) {
        let Some(sender) = self.all.try_remove(key) else { return };
        let form = sender.account().form;
        turn.metrics.senders.sub(1);
        turn.metrics.senders_failed.add(u64::from(*reason != Reason::Closed));
        sender.end(reason);
        if self.all.iter().all(|(_, other)| other.account().form != form) {
            self.groups.retain(|group| group.form != form);
        }
    }
}
