//! The RTP receiver: who may send, reordering, unpacking, reports.

mod run;
mod tcp;

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use datagram::Batch;
use wire::{
    fault::Fault,
    reorder::{self, Reorder},
    rtcp::{self, Reporter},
    rtp::{self, Statistics},
    unpack::{self, Unpacker},
};

use super::{
    Stream,
    budget::Budget,
    gate::{Expected, Gate, Verdict},
    link::Link,
};
use crate::{
    back::Path,
    clock,
    config::Transport,
    events::Kind,
    shard::{
        poll::{Interest, Role, Token},
        turn::Turn,
    },
    stats::StreamStats,
    tap::TapQueue,
};

/// Receiver reports go out so often (RFC 3550 §6.2: no more than every 5 s).
const REPORT: Duration = Duration::from_secs(5);

/// Numbers across which reordering waits for a missing packet: a key frame's worth.
const REORDER_WINDOW: u16 = 512;

/// What is taken from one socket in a turn: others want their turn too. The rest is taken in the next one.
const READS: usize = 8;
const READ_BYTES: u64 = 1 << 20;

/// Taps of one receiver.
const TAPS_MAX: usize = 8;

/// The sockets of a dedicated port, or of the shared one.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) rtp: Option<Arc<UdpSocket>>,
    pub(crate) rtcp: Option<Arc<UdpSocket>>,
    pub(crate) listener: Option<TcpListener>,
    /// The one of the shared port, for what is sent back.
    pub(crate) shared: Option<Weak<UdpSocket>>,
}

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Udp,
    Tcp,
}

/// Packets and connections of strangers that were not told of yet.
#[derive(Default)]
struct Strangers {
    total: u64,
    untold: u64,
    last: Option<(SocketAddr, Option<u32>)>,
}

/// The sockets of one stream and what makes units of their packets.
pub(crate) struct Receiver {
    index: usize,
    sockets: Sockets,
    link: Link,
    gate: Gate,
    budget: Budget,
    hold: Duration,
    statistics: Statistics,
    reorder: Reorder<Bytes>,
    unpacker: Unpacker,
    payload: Option<unpack::Payload>,
    over_rate: u64,
    strangers: Strangers,
    /// Packets may come: an active receiver was told where to connect.
    listening: bool,
    reporter: Reporter,
    report_to: Option<(SocketAddr, bool)>,
    reported: Instant,
    taps: Vec<Arc<TapQueue>>,
}

impl Receiver {
    /// The receiver of the stream that number `index` of its shard shows; its sockets are watched from now on.
    pub(crate) fn new(
        turn: Turn<'_>,
        index: usize,
        (id, transport): (u64, Transport),
        sockets: Sockets,
        expected: Expected,
        hold: Duration,
    ) -> std::io::Result<Self> {
        // The system looks at a socket that is watched while it is readable once more after it was read.
        for (socket, role, interest) in
            [(&sockets.rtp, Role::Rtp, Interest::Arrivals), (&sockets.rtcp, Role::Rtcp, Interest::Read)]
        {
            if let Some(socket) = socket {
                turn.poll.add(socket, Token::new(role, index, 0), interest)?;
            }
        }
        if let Some(listener) = &sockets.listener {
            turn.poll.add(listener, Token::new(Role::Listener, index, 0), Interest::Read)?;
        }
        // Our own SSRC in reports: any number that is not the sender's.
        let reporter = Reporter::new(!expected.ssrc.unwrap_or(id as u32), "relay");
        Ok(Self {
            index,
            sockets,
            link: Link::Idle,
            gate: Gate::new(expected),
            budget: Budget::new(turn.now, turn.config.bandwidth_max_bps),
            hold,
            statistics: Statistics::new(90_000),
            reorder: Reorder::new(hold, REORDER_WINDOW),
            unpacker: Unpacker::new(unpack::Options::default()),
            payload: None,
            over_rate: 0,
            strangers: Strangers::default(),
            listening: transport != Transport::TcpActive,
            reporter,
            report_to: None,
            reported: turn.now,
            taps: Vec::new(),
        })
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listening
    }

    /// When to call `handle_timeout` at the latest.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let all = [self.reorder.next_timeout(), self.unpacker.next_timeout(), self.link.next_timeout()];
        all.into_iter().flatten().min()
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, stream: &mut Stream, turn: Turn<'_>) {
        self.drain_reorder(stream, turn);
        self.unpacker.handle_timeout(turn.now);
        self.drain_units(stream, turn, &[]);
        self.advance_link(stream, turn);
    }

    /// The dedicated RTP port has packets; whether it may have more, of which nobody will tell.
    pub(crate) fn handle_rtp_ready(
        &mut self,
        stream: &mut Stream,
        turn: Turn<'_>,
        batch: &mut Batch,
    ) -> bool {
        let (mut bytes, mut full) = (0, false);
        for _ in 0..READS {
            let Some(socket) = &self.sockets.rtp else { return false };
            match batch.receive(socket.as_fd()) {
                Ok(count) => {
                    bytes += self.handle_batch(stream, turn, batch);
                    if count < datagram::BATCH {
                        return false;
                    }
                    full = true;
                    if bytes >= READ_BYTES {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // It is the error of something that was sent, and says nothing about what came.
                Err(_) => {}
            }
        }
        full
    }

    /// Takes the datagrams of one call; their bytes.
    fn handle_batch(&mut self, stream: &mut Stream, turn: Turn<'_>, batch: &Batch) -> u64 {
        let (mut count, mut bytes) = (0, 0);
        for burst in batch.bursts() {
            let mut run = self.begin_run(turn, Via::Udp, burst.source);
            for packet in burst.datagrams() {
                count += 1;
                bytes += packet.data.len() as u64;
                if packet.truncated {
                    turn.metrics.malformed.add(1);
                    stream.faults.count(Fault::BadRtp);
                } else {
                    self.handle_next(&mut run, stream, turn, packet.data);
                }
            }
            self.end_run(run, stream, turn);
        }
        turn.metrics.packets.add(count);
        turn.metrics.bytes_in.add(bytes);
        self.drain_units(stream, turn, batch.datagrams().next().map_or(&[], |(_, packet)| packet.data));
        bytes
    }

    /// The RTCP port has packets.
    pub(crate) fn handle_rtcp_ready(&mut self, turn: Turn<'_>, batch: &mut Batch) {
        let Some(socket) = &self.sockets.rtcp else { return };
        if batch.receive(socket.as_fd()).is_err() {
            return;
        }
        for (source, packet) in batch.datagrams() {
            if rtp::is_rtcp(packet.data) {
                self.handle_rtcp(turn, Via::Udp, source, packet.data, true);
            }
        }
    }

    /// Takes one packet, whoever sent it.
    fn handle_packet(
        &mut self,
        stream: &mut Stream,
        turn: Turn<'_>,
        via: Via,
        source: SocketAddr,
        data: &[u8],
    ) {
        if !self.taps.is_empty() {
            self.copy_to_taps(turn, via, data);
        }
        if rtp::is_rtcp(data) {
            return self.handle_rtcp(turn, via, source, data, false);
        }
        let Ok(packet) = rtp::Packet::parse(data) else {
            turn.metrics.malformed.add(1);
            stream.faults.count(Fault::BadRtp);
            return;
        };
        match self.gate.handle_packet(turn.now, source, packet.ssrc) {
            Verdict::Pass => {}
            Verdict::Pinned { mismatch } => {
                if via == Via::Udp {
                    self.show_way_back(stream, source);
                }
                welcome(stream, turn, source, &packet, mismatch);
            }
            Verdict::Reject => return self.reject(turn, source, Some(packet.ssrc)),
        }
        if via == Via::Udp && !self.budget.take(turn.now, data.len()) {
            turn.metrics.over_rate.add(1);
            self.over_rate += 1;
            return;
        }
        stream.hear(turn, data.len() as u64);
        self.statistics.handle_packet(turn.now, &packet);
        if self.reorder.pass(packet.seq) {
            self.unpacker.handle_packet(turn.now, &packet);
        } else {
            self.reorder.handle_packet(turn.now, packet.seq, Bytes::copy_from_slice(data));
            self.drain_reorder(stream, turn);
        }
    }

    /// Packets for the source go where its own come from.
    fn show_way_back(&self, stream: &Stream, source: SocketAddr) {
        let own = self.sockets.rtp.as_ref().map(Arc::downgrade);
        let Some(rtp) = own.or_else(|| self.sockets.shared.clone()) else { return };
        let Some(socket) = rtp.upgrade() else { return };
        let reports = self.sockets.rtcp.as_ref().map(Arc::downgrade);
        stream.entry.back.open(Path::Udp { rtp, rtcp: reports, to: for_socket(&socket, source) });
    }

    /// Takes what the answer's SDP said.
    pub(crate) fn expect(&mut self, ssrc: Option<u32>, peer: Option<IpAddr>, payloads: &[(u8, String)]) {
        let expected = &mut self.gate.expected;
        expected.ssrc = ssrc.or(expected.ssrc);
        expected.peer = peer.or(expected.peer);
        if let (Link::Open(connection), Some(ssrc)) = (&mut self.link, ssrc) {
            connection.framer.expect_ssrc(ssrc);
        }
        self.unpacker.expect(payloads.iter().map(|(number, name)| (*number, name.as_str())));
    }

    /// Copies the packets that come from now on; false if too many do already.
    pub(crate) fn tap(&mut self, tap: Arc<TapQueue>) {
        self.taps.retain(|tap| !tap.is_closed());
        if self.taps.len() < TAPS_MAX {
            self.taps.push(tap);
        }
    }

    /// Counts what comes from others than the stream's source; told at the next tick.
    fn reject(&mut self, turn: Turn<'_>, source: SocketAddr, ssrc: Option<u32>) {
        turn.metrics.rejected.add(1);
        self.strangers.total += 1;
        self.strangers.untold += 1;
        self.strangers.last = Some((source, ssrc));
    }

    fn handle_rtcp(&mut self, turn: Turn<'_>, via: Via, source: SocketAddr, data: &[u8], own_port: bool) {
        if self.gate.source().is_none_or(|pinned| pinned.ip() != source.ip()) {
            return;
        }
        for message in rtcp::messages(data) {
            if let rtcp::Message::SenderReport { ntp, .. } = message {
                self.reporter.handle_sender_report(turn.now, ntp);
                // Nothing is ever sent back on a TCP connection: some devices close it then.
                self.report_to = (via == Via::Udp).then_some((source, own_port));
            }
        }
    }

    fn report(&mut self, turn: Turn<'_>) {
        let (Some((to, own_port)), Some(ssrc)) = (self.report_to, self.gate.ssrc()) else { return };
        let socket = if own_port { &self.sockets.rtcp } else { &self.sockets.rtp };
        let Some(socket) = socket else { return };
        let report = self.reporter.report(turn.now, ssrc, &mut self.statistics);
        if socket.send_to(&report, for_socket(socket, to)).is_ok() {
            turn.metrics.rtcp_sent.add(1);
        }
    }

    fn copy_to_taps(&mut self, turn: Turn<'_>, via: Via, data: &[u8]) {
        let at_us = clock::wall_us();
        self.taps.retain(|tap| !tap.is_closed());
        for tap in &self.taps {
            if !tap.push(at_us, via == Via::Tcp, data) {
                turn.metrics.tap_dropped.add(1);
            }
        }
    }

    fn drain_reorder(&mut self, stream: &mut Stream, turn: Turn<'_>) {
        let now = turn.now;
        while let Some(output) = self.reorder.poll_output(now) {
            match output {
                reorder::Output::Packet(data) => {
                    if let Ok(packet) = rtp::Packet::parse(&data) {
                        self.unpacker.handle_packet(now, &packet);
                    }
                }
                reorder::Output::Lost(count) => {
                    turn.metrics.lost.add(count);
                    self.unpacker.handle_gap(count);
                }
                reorder::Output::Restarted => {
                    stream.faults.count(Fault::SequenceRestart);
                    self.unpacker.handle_gap(1);
                }
            }
        }
    }

    /// Hands on what the unpacker made. `sample` is a packet of those it was made from, for diagnosis.
    pub(crate) fn drain_units(&mut self, stream: &mut Stream, turn: Turn<'_>, sample: &[u8]) {
        let mut units = 0;
        while let Some(output) = self.unpacker.poll_output() {
            match output {
                unpack::Output::Unit(unit) => {
                    units += 1;
                    stream.handle_unit(turn, unit);
                }
                unpack::Output::Tracks(tracks) => {
                    stream.handle_tracks(turn, self.payload.map_or("", unpack::Payload::name), tracks);
                }
                unpack::Output::Payload(payload) => self.payload = Some(payload),
                unpack::Output::Fault(fault) => stream.handle_fault(turn, fault, || {
                    hex(rtp::Packet::parse(sample).map_or(&[][..], |packet| packet.payload))
                }),
            }
        }
        if units > 0 {
            turn.metrics.units.add(units);
        }
    }

    /// Housekeeping, once a second.
    pub(super) fn handle_tick(&mut self, stream: &mut Stream, turn: Turn<'_>) {
        self.check_link(stream, turn);
        if turn.now.saturating_duration_since(self.reported) >= REPORT {
            self.reported = turn.now;
            self.report(turn);
        }
        let untold = std::mem::take(&mut self.strangers.untold);
        if untold > 0
            && let Some((source, ssrc)) = self.strangers.last
        {
            let mut detail = vec![("count", untold.to_string()), ("peer", source.to_string())];
            detail.extend(ssrc.map(|ssrc| ("ssrc", ssrc.to_string())));
            stream.tell(turn, Kind::Rejected, detail);
        }
    }

    /// Adds what only a receiver knows.
    pub(super) fn fill(&self, stats: &mut StreamStats) {
        stats.peer = self.gate.source().or(self.link_peer()).map(|peer| peer.to_string());
        stats.ssrc = self.gate.ssrc().or(self.gate.expected.ssrc);
        stats.payload = self.payload.map(unpack::Payload::name);
        stats.expected = self.statistics.expected();
        stats.received = self.statistics.received();
        stats.lost = self.statistics.lost();
        stats.reordered = self.statistics.reordered();
        stats.duplicates = self.statistics.duplicates();
        stats.rejected = self.strangers.total;
        stats.jitter_ms = self.statistics.jitter().as_secs_f64() * 1000.0;
        if self.over_rate > 0 {
            stats.faults.insert("over_rate", self.over_rate);
        }
    }
}

/// The source is known now.
fn welcome(
    stream: &mut Stream,
    turn: Turn<'_>,
    source: SocketAddr,
    packet: &rtp::Packet<'_>,
    mismatch: Option<u32>,
) {
    if let Some(expected) = mismatch {
        let detail = vec![("expected", expected.to_string()), ("got", packet.ssrc.to_string())];
        stream.tell(turn, Kind::SsrcMismatch, detail);
    }
    stream.handle_first_packet(turn, || {
        vec![
            ("peer", source.to_string()),
            ("ssrc", packet.ssrc.to_string()),
            ("payload_type", packet.payload_type.to_string()),
        ]
    });
}

/// The first 16 bytes, for people.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// IPv4 in its own form, as the gate compares it.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An IPv4 address in the form that a dual-stack socket wants.
fn for_socket(socket: &UdpSocket, to: SocketAddr) -> SocketAddr {
    match (socket.local_addr(), to) {
        (Ok(SocketAddr::V6(_)), SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        _ => to,
    }
}
