//! One stream from its sockets to its access units: who may send, reordering, unpacking, counting.

mod budget;
mod gate;
mod link;
mod report;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use datagram::Batch;
use wire::{
    fault::{Fault, FaultCounts},
    media::{Kind as TrackKind, Tracks},
    reorder::{self, Reorder},
    rfc4571,
    rtcp::{self, Reporter},
    rtp::{self, Statistics},
    unpack::{self, Unpacker},
};

pub(crate) use self::gate::Expected;
use self::{
    budget::Budget,
    gate::{Gate, Verdict},
    link::{Attempt, Connection, Link},
};
use crate::{
    clock,
    config::Transport,
    events::{Event, Kind},
    hub::{Hub, rates::Rate},
    shard::{
        poll::{Interest, Role, Token},
        turn::Turn,
    },
    table::Entry,
    tap::TapQueue,
};

/// Housekeeping of a stream comes so often: silence, stalled viewers, reports.
const TICK: Duration = Duration::from_secs(1);

/// Receiver reports go out so often (RFC 3550 §6.2: no more than every 5 s).
const REPORT: Duration = Duration::from_secs(5);

/// Numbers across which reordering waits for a missing packet: a key frame's worth.
const REORDER_WINDOW: u16 = 512;

/// Calls for one socket in a turn: others want their turn too.
const READS: usize = 8;

/// Taps of one receiver.
const TAPS_MAX: usize = 8;

/// The sockets of a dedicated port.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) rtp: Option<UdpSocket>,
    pub(crate) rtcp: Option<UdpSocket>,
    pub(crate) listener: Option<TcpListener>,
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

/// Moments worth remembering, in milliseconds of the UNIX epoch.
#[derive(Default)]
struct Firsts {
    packet_ms: Option<u64>,
    key_frame_ms: Option<u64>,
}

/// What was told and is not to be told again for now.
#[derive(Default)]
struct Told {
    wrong_payload: bool,
    silent: bool,
    no_viewers: bool,
}

pub(crate) struct Stream {
    pub(crate) entry: Arc<Entry>,
    pub(crate) hub: Hub,
    /// The timer that is set for this stream.
    pub(crate) armed: Option<Instant>,
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
    faults: FaultCounts,
    over_rate: u64,
    strangers: Strangers,
    firsts: Firsts,
    told: Told,
    /// Packets may come: an active receiver was told where to connect.
    listening: bool,
    bytes_in: u64,
    rate_in: Rate,
    heard: Instant,
    reporter: Reporter,
    report_to: Option<(SocketAddr, bool)>,
    reported: Instant,
    watched: Instant,
    taps: Vec<Arc<TapQueue>>,
    tick: Instant,
}

impl Stream {
    /// A stream that number `index` of its shard shows; its sockets are watched from now on.
    pub(crate) fn new(
        turn: Turn<'_>,
        index: usize,
        entry: Arc<Entry>,
        sockets: Sockets,
        expected: Expected,
        hold: Duration,
    ) -> io::Result<Self> {
        for (socket, role) in [(&sockets.rtp, Role::Rtp), (&sockets.rtcp, Role::Rtcp)] {
            if let Some(socket) = socket {
                turn.poll.add(socket, Token::new(role, index, 0), Interest::Read)?;
            }
        }
        if let Some(listener) = &sockets.listener {
            turn.poll.add(listener, Token::new(Role::Listener, index, 0), Interest::Read)?;
        }
        let listening = entry.transport != Transport::TcpActive;
        // Our own SSRC in reports: any number that is not the sender's.
        let reporter = Reporter::new(!expected.ssrc.unwrap_or(entry.id as u32), "relay");
        Ok(Self {
            hub: Hub::new(turn.config.gop_bytes_max),
            armed: None,
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
            faults: FaultCounts::new(),
            over_rate: 0,
            strangers: Strangers::default(),
            firsts: Firsts::default(),
            told: Told::default(),
            listening,
            bytes_in: 0,
            rate_in: Rate::default(),
            heard: turn.now,
            reporter,
            report_to: None,
            reported: turn.now,
            watched: turn.now,
            taps: Vec::new(),
            tick: turn.now + TICK,
            entry,
        })
    }

    /// When to call `handle_timeout` at the latest.
    pub(crate) fn next_timeout(&self) -> Instant {
        let others = [self.reorder.next_timeout(), self.unpacker.next_timeout(), self.link.next_timeout()];
        others.into_iter().flatten().fold(self.tick, Instant::min)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, turn: Turn<'_>) {
        self.drain_reorder(turn);
        self.unpacker.handle_timeout(turn.now);
        self.drain_units(turn, &[]);
        self.advance_link(turn);
        if turn.now >= self.tick {
            self.tick = turn.now + TICK;
            self.handle_tick(turn);
        }
    }

    /// The dedicated RTP port has packets.
    pub(crate) fn handle_rtp_ready(&mut self, turn: Turn<'_>, batch: &mut Batch) {
        for _ in 0..READS {
            let Some(socket) = &self.sockets.rtp else { return };
            let Ok(count) = batch.receive(socket.as_fd()) else { return };
            self.handle_batch(turn, batch, count);
            if count < datagram::BATCH {
                return;
            }
        }
    }

    /// Takes the datagrams of one call.
    fn handle_batch(&mut self, turn: Turn<'_>, batch: &Batch, count: usize) {
        let mut bytes = 0;
        for packet in (0..count).filter_map(|index| batch.get(index)) {
            bytes += packet.data.len() as u64;
            if packet.truncated {
                turn.metrics.malformed.add(1);
                self.faults.count(Fault::BadRtp);
                continue;
            }
            self.handle_packet(turn, Via::Udp, packet.source, packet.data);
        }
        turn.metrics.packets.add(count as u64);
        turn.metrics.bytes_in.add(bytes);
        self.drain_units(turn, batch.get(0).map_or(&[], |packet| packet.data));
    }

    /// The RTCP port has packets.
    pub(crate) fn handle_rtcp_ready(&mut self, turn: Turn<'_>, batch: &mut Batch) {
        let Some(socket) = &self.sockets.rtcp else { return };
        let Ok(count) = batch.receive(socket.as_fd()) else { return };
        for packet in (0..count).filter_map(|index| batch.get(index)) {
            if rtp::is_rtcp(packet.data) {
                self.handle_rtcp(turn, Via::Udp, packet.source, packet.data, true);
            }
        }
    }

    /// Takes one packet; what comes of it is told by `drain_units`.
    pub(crate) fn handle_packet(&mut self, turn: Turn<'_>, via: Via, source: SocketAddr, data: &[u8]) {
        if !self.taps.is_empty() {
            self.copy_to_taps(turn, via, data);
        }
        if rtp::is_rtcp(data) {
            return self.handle_rtcp(turn, via, source, data, false);
        }
        let Ok(packet) = rtp::Packet::parse(data) else {
            turn.metrics.malformed.add(1);
            self.faults.count(Fault::BadRtp);
            return;
        };
        match self.gate.handle_packet(turn.now, source, packet.ssrc) {
            Verdict::Pass => {}
            Verdict::Pinned { mismatch } => self.welcome(turn, source, &packet, mismatch),
            Verdict::Reject => return self.reject(turn, source, Some(packet.ssrc)),
        }
        if via == Via::Udp && !self.budget.take(turn.now, data.len()) {
            turn.metrics.over_rate.add(1);
            self.over_rate += 1;
            return;
        }
        self.bytes_in += data.len() as u64;
        self.rate_in.add(turn.second, data.len() as u64);
        self.heard = turn.now;
        if self.told.silent {
            self.told.silent = false;
            self.tell(turn, Kind::Resumed, vec![]);
        }
        self.statistics.handle_packet(turn.now, &packet);
        if self.reorder.pass(packet.seq) {
            self.unpacker.handle_packet(turn.now, &packet);
        } else {
            self.reorder.handle_packet(turn.now, packet.seq, Bytes::copy_from_slice(data));
            self.drain_reorder(turn);
        }
    }

    /// A connection waits at the dedicated port.
    pub(crate) fn handle_listener_ready(&mut self, turn: Turn<'_>) {
        for _ in 0..16 {
            let Some(Ok((socket, peer))) = self.sockets.listener.as_ref().map(TcpListener::accept) else {
                return;
            };
            let peer = canonical(peer);
            if self.accepts(turn.now, peer.ip()) && socket.set_nonblocking(true).is_ok() {
                let ssrc = self.gate.expected.ssrc;
                self.open_link(turn, Connection::new(turn.now, socket, peer, ssrc));
            } else {
                turn.metrics.connections_refused.add(1);
                self.reject(turn, peer, None);
            }
        }
    }

    /// Takes over a connection to the shared port.
    pub(crate) fn adopt(&mut self, turn: Turn<'_>, socket: TcpStream, peer: SocketAddr) {
        if !self.accepts(turn.now, peer.ip()) {
            turn.metrics.connections_refused.add(1);
            return self.reject(turn, peer, None);
        }
        let ssrc = self.gate.expected.ssrc;
        self.open_link(turn, Connection::new(turn.now, socket, peer, ssrc));
        self.handle_link_ready(turn);
    }

    /// Whether a connection from `ip` may carry the stream now: none does, or the one that does is dead.
    fn accepts(&self, now: Instant, ip: IpAddr) -> bool {
        let dead = match &self.link {
            Link::Open(open) => {
                let quiet = now.saturating_duration_since(open.heard.unwrap_or(open.since));
                open.peer.ip() == ip && quiet >= gate::REPIN_AFTER
            }
            _ => true,
        };
        dead && self.gate.may_connect(ip)
    }

    fn open_link(&mut self, turn: Turn<'_>, connection: Connection) {
        let token = Token::new(Role::Connection, self.index, 0);
        if turn.poll.add(&connection.socket, token, Interest::Read).is_err() {
            return;
        }
        if let Link::Open(old) = std::mem::replace(&mut self.link, Link::Idle) {
            self.close_link(turn, &old, "replaced by a new connection".to_owned());
        }
        self.gate.unpin();
        self.reorder = Reorder::new(self.hold, REORDER_WINDOW);
        self.tell(turn, Kind::Connected, vec![("peer", connection.peer.to_string())]);
        self.link = Link::Open(Box::new(connection));
    }

    /// Begins to connect to the device.
    pub(crate) fn connect(&mut self, turn: Turn<'_>, to: SocketAddr) {
        self.listening = true;
        self.heard = turn.now;
        self.link = Link::connect(turn.now, to);
        self.advance_link(turn);
    }

    fn advance_link(&mut self, turn: Turn<'_>) {
        let token = Token::new(Role::Connection, self.index, 0);
        if let Link::Open(connection) = &mut self.link {
            if connection.paused.is_some_and(|until| turn.now >= until) {
                connection.paused = None;
                let _ = turn.poll.modify(&connection.socket, token, Interest::Read);
            }
            return;
        }
        match self.link.advance(turn.now, self.gate.expected.ssrc) {
            Attempt::Pending => {}
            Attempt::Begun => {
                if let Link::Connecting { socket, .. } = &self.link {
                    let _ = turn.poll.add(socket, token, Interest::Write);
                }
            }
            Attempt::Connected => {
                if let Link::Open(connection) = &self.link {
                    let peer = connection.peer;
                    let _ = turn.poll.modify(&connection.socket, token, Interest::Read);
                    self.gate.unpin();
                    self.reorder = Reorder::new(self.hold, REORDER_WINDOW);
                    self.tell(turn, Kind::Connected, vec![("peer", peer.to_string())]);
                }
            }
            Attempt::GaveUp(reason) => self.tell(turn, Kind::ConnectFailed, vec![("reason", reason)]),
        }
    }

    /// The connection has bytes, or an attempt came to its end.
    pub(crate) fn handle_link_ready(&mut self, turn: Turn<'_>) {
        let mut connection = match std::mem::replace(&mut self.link, Link::Idle) {
            Link::Open(connection) => connection,
            unfinished => {
                self.link = unfinished;
                return self.advance_link(turn);
            }
        };
        match self.read_link(turn, &mut connection) {
            Ok(()) => self.link = Link::Open(connection),
            Err(reason) => self.close_link(turn, &connection, reason),
        }
    }

    fn read_link(&mut self, turn: Turn<'_>, connection: &mut Connection) -> Result<(), String> {
        self.drain_link(turn, connection)?;
        for _ in 0..READS {
            if connection.paused.is_some() {
                break;
            }
            match connection.read() {
                Ok(0) => return Err("closed by the peer".to_owned()),
                Ok(size) => {
                    turn.metrics.bytes_in.add(size as u64);
                    if !self.budget.spend(turn.now, size) {
                        self.pause(turn, connection);
                    }
                    self.drain_link(turn, connection)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// The source is above its bandwidth: it is not read for a while, and TCP slows it down.
    fn pause(&self, turn: Turn<'_>, connection: &mut Connection) {
        connection.paused = Some(turn.now + Duration::from_millis(50));
        let token = Token::new(Role::Connection, self.index, 0);
        let _ = turn.poll.modify(&connection.socket, token, Interest::Nothing);
    }

    fn drain_link(&mut self, turn: Turn<'_>, connection: &mut Connection) -> Result<(), String> {
        let peer = connection.peer;
        let mut first = [0_u8; 32];
        let mut said = 0;
        while let Some(output) = connection.framer.poll_output() {
            match output {
                rfc4571::Output::Packet(data) => {
                    turn.metrics.packets.add(1);
                    connection.heard = Some(turn.now);
                    said = data.len().min(first.len());
                    first[..said].copy_from_slice(&data[..said]);
                    self.handle_packet(turn, Via::Tcp, peer, data);
                }
                rfc4571::Output::Skipped(_) => self.faults.count(Fault::FramingResync),
                rfc4571::Output::GaveUp => return Err("no RTP in 1 MiB".to_owned()),
            }
        }
        self.drain_units(turn, &first[..said]);
        Ok(())
    }

    fn close_link(&mut self, turn: Turn<'_>, connection: &Connection, reason: String) {
        let detail = vec![("peer", connection.peer.to_string()), ("reason", reason)];
        self.tell(turn, Kind::Disconnected, detail);
        self.gate.unpin();
        self.unpacker.handle_gap(1);
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

    /// The source is known now.
    fn welcome(
        &mut self,
        turn: Turn<'_>,
        source: SocketAddr,
        packet: &rtp::Packet<'_>,
        mismatch: Option<u32>,
    ) {
        if let Some(expected) = mismatch {
            let detail = vec![("expected", expected.to_string()), ("got", packet.ssrc.to_string())];
            self.tell(turn, Kind::SsrcMismatch, detail);
        }
        if self.firsts.packet_ms.is_none() {
            self.firsts.packet_ms = Some(turn.wall_ms);
            let detail = vec![
                ("peer", source.to_string()),
                ("ssrc", packet.ssrc.to_string()),
                ("payload_type", packet.payload_type.to_string()),
            ];
            self.tell(turn, Kind::FirstPacket, detail);
        }
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

    fn drain_reorder(&mut self, turn: Turn<'_>) {
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
                    self.faults.count(Fault::SequenceRestart);
                    self.unpacker.handle_gap(1);
                }
            }
        }
    }

    /// Hands on what the unpacker made. `sample` is a packet of those it was made from, for diagnosis.
    pub(crate) fn drain_units(&mut self, turn: Turn<'_>, sample: &[u8]) {
        let mut units = 0;
        while let Some(output) = self.unpacker.poll_output() {
            match output {
                unpack::Output::Unit(unit) => {
                    units += 1;
                    if unit.key && unit.kind == TrackKind::Video && self.firsts.key_frame_ms.is_none() {
                        self.firsts.key_frame_ms = Some(turn.wall_ms);
                        self.tell(turn, Kind::FirstKeyFrame, vec![]);
                    }
                    self.hub.handle_unit(turn, &unit);
                }
                unpack::Output::Tracks(tracks) => self.handle_tracks(turn, tracks),
                unpack::Output::Payload(payload) => self.payload = Some(payload),
                unpack::Output::Fault(fault) => {
                    self.faults.count(fault);
                    self.handle_wrong_payload(turn, fault, sample);
                }
            }
        }
        if units > 0 {
            turn.metrics.units.add(units);
        }
    }

    fn handle_tracks(&mut self, turn: Turn<'_>, tracks: Arc<Tracks>) {
        let mut detail = vec![("payload", self.payload.map_or("", unpack::Payload::name).to_owned())];
        detail.extend(report::describe(&tracks));
        self.tell(turn, Kind::Tracks, detail);
        self.hub.set_tracks(tracks);
    }

    /// Tells once that nothing can be made of what comes.
    fn handle_wrong_payload(&mut self, turn: Turn<'_>, fault: Fault, sample: &[u8]) {
        let (Fault::UnsupportedPayload(what) | Fault::UnsupportedCodec(what)) = fault else { return };
        if !std::mem::replace(&mut self.told.wrong_payload, true) {
            let payload = rtp::Packet::parse(sample).map_or(&[][..], |packet| packet.payload);
            let detail = vec![("payload", what.to_owned()), ("first_bytes", hex(payload))];
            self.tell(turn, Kind::WrongPayload, detail);
        }
    }

    fn handle_tick(&mut self, turn: Turn<'_>) {
        self.check_silence(turn);
        self.check_viewers(turn);
        if matches!(&self.link, Link::Open(connection) if connection.is_mute(turn.now)) {
            turn.metrics.connections_refused.add(1);
            if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Idle) {
                self.close_link(turn, &connection, "no RTP packet in 5 s".to_owned());
            }
        }
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
            self.tell(turn, Kind::Rejected, detail);
        }
    }

    fn check_silence(&mut self, turn: Turn<'_>) {
        let quiet = turn.now.saturating_duration_since(self.heard);
        if self.listening && !self.told.silent && quiet >= turn.config.silence {
            self.told.silent = true;
            self.tell(turn, Kind::Silent, vec![("ms", quiet.as_millis().to_string())]);
        }
    }

    fn check_viewers(&mut self, turn: Turn<'_>) {
        self.hub.handle_tick(turn, &self.entry.feeds);
        if self.hub.is_watched() {
            self.watched = turn.now;
            self.told.no_viewers = false;
        } else if let Some(patience) = turn.config.no_viewer
            && !self.told.no_viewers
            && turn.now.saturating_duration_since(self.watched) >= patience
        {
            self.told.no_viewers = true;
            self.tell(turn, Kind::NoViewers, vec![]);
        }
    }

    pub(crate) fn tell(&self, turn: Turn<'_>, kind: Kind, detail: Vec<(&'static str, String)>) {
        turn.events.push(Event {
            kind,
            receiver: self.entry.id,
            app: Arc::clone(&self.entry.app),
            name: Arc::clone(&self.entry.name),
            at_ms: turn.wall_ms,
            detail,
        });
    }
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
