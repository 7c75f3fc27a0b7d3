//! Packets that came together, of one sender. Nearly all of them are the next one of the stream's source; then what is to be
//! judged and counted of each is that of all of them, and is done once.

use std::net::SocketAddr;

use wire::rtp;

use super::{Receiver, Via};
use crate::{ingest::Stream, shard::turn::Turn};

/// Packets of one sender while they are taken.
pub(crate) struct Run {
    via: Via,
    source: SocketAddr,
    steady: Option<Steady>,
}

/// Packets of the source that came in order, not counted yet.
struct Steady {
    ssrc: u32,
    next: u16,
    /// The RTP time of the last one.
    timestamp: Option<u32>,
    packets: u16,
    bytes: u64,
}

impl Receiver {
    /// Begins to take packets of `source`. The run must be ended before anything else is asked of the receiver.
    pub(crate) fn begin_run(&mut self, turn: Turn<'_>, via: Via, source: SocketAddr) -> Run {
        self.budget.fill(turn.now);
        Run { via, source, steady: self.begin_steady(source) }
    }

    /// Takes one packet; what comes of it is told by `drain_units`.
    #[inline]
    pub(crate) fn handle_next(&mut self, run: &mut Run, stream: &mut Stream, turn: Turn<'_>, data: &[u8]) {
        let via = run.via;
        if !run.steady.as_mut().is_some_and(|steady| self.take_steady(steady, via, turn, data)) {
            self.handle_odd(run, stream, turn, data);
        }
    }

    /// Takes a packet that is not the source's next one.
    #[inline(never)]
    fn handle_odd(&mut self, run: &mut Run, stream: &mut Stream, turn: Turn<'_>, data: &[u8]) {
        if let Some(steady) = run.steady.take() {
            self.count(&steady, stream, turn);
        }
        self.handle_packet(stream, turn, run.via, run.source, data);
        run.steady = self.begin_steady(run.source);
    }

    /// Counts what was taken.
    pub(crate) fn end_run(&mut self, run: Run, stream: &mut Stream, turn: Turn<'_>) {
        if let Some(steady) = run.steady {
            self.count(&steady, stream, turn);
        }
    }

    /// Nothing stands out: `source` is the stream's, no packet is awaited, none is copied.
    fn begin_steady(&self, source: SocketAddr) -> Option<Steady> {
        let ssrc = self.gate.ssrc_of(source)?;
        let next = self.reorder.passing().filter(|&next| self.statistics.next() == Some(next))?;
        self.taps.is_empty().then_some(Steady { ssrc, next, timestamp: None, packets: 0, bytes: 0 })
    }

    /// Takes the packet if it is the source's next one; false, and nothing done, if not.
    #[inline]
    fn take_steady(&mut self, steady: &mut Steady, via: Via, turn: Turn<'_>, data: &[u8]) -> bool {
        let Some(packet) = rtp::Packet::parse_next(data, steady.ssrc, steady.next) else { return false };
        if steady.packets == u16::MAX || (via == Via::Udp && !self.budget.take_filled(data.len())) {
            return false;
        }
        steady.next = steady.next.wrapping_add(1);
        steady.packets += 1;
        steady.bytes += data.len() as u64;
        if steady.timestamp != Some(packet.timestamp) {
            steady.timestamp = Some(packet.timestamp);
            self.statistics.measure(turn.now, packet.timestamp);
        }
        self.unpacker.handle_packet(turn.now, &packet);
        true
    }

    fn count(&mut self, steady: &Steady, stream: &mut Stream, turn: Turn<'_>) {
        if steady.packets > 0 {
            self.gate.hear(turn.now);
            self.reorder.pass_on(steady.packets);
            self.statistics.count(steady.packets);
            stream.hear(turn, steady.bytes);
        }
    }
}
