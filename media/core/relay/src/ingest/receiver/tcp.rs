//! The receiver's TCP side: accepting, connecting, reading one connection.

use std::{
    io::{ErrorKind, Read},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{fault::Fault, reorder::Reorder, rfc4571};

use super::{REORDER_WINDOW, Receiver, Via, canonical};
use crate::{
    back::Path,
    events::Kind,
    ingest::{
        Stream, gate,
        link::{Attempt, Connection, Link},
    },
    reason::Reason,
    shard::{
        poll::{Interest, Role, Token},
        turn::Turn,
    },
};

impl Receiver {
    /// A connection waits at the dedicated port.
    pub(crate) fn handle_listener_ready(&mut self, stream: &mut Stream, turn: Turn<'_>) {
        for _ in 0..16 {
            let Some(Ok((socket, peer))) = self.sockets.listener.as_ref().map(TcpListener::accept) else {
                return;
            };
            let peer = canonical(peer);
            if self.accepts(turn.now, peer.ip()) && socket.set_nonblocking(true).is_ok() {
                let ssrc = self.gate.expected.ssrc;
                self.open_link(stream, turn, Connection::new(turn.now, socket, peer, ssrc));
            } else {
                turn.metrics.connections_refused.add(1);
                self.reject(turn, peer, None);
            }
        }
    }

    /// Takes over a connection to the shared port.
    pub(crate) fn adopt(
        &mut self,
        stream: &mut Stream,
        turn: Turn<'_>,
        (socket, peer): (TcpStream, SocketAddr),
        scratch: &mut [u8],
    ) {
        if !self.accepts(turn.now, peer.ip()) {
            turn.metrics.connections_refused.add(1);
            return self.reject(turn, peer, None);
        }
        let ssrc = self.gate.expected.ssrc;
        self.open_link(stream, turn, Connection::new(turn.now, socket, peer, ssrc));
        self.handle_link_ready(stream, turn, scratch);
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

    fn open_link(&mut self, stream: &mut Stream, turn: Turn<'_>, connection: Connection) {
        let token = Token::new(Role::Connection, self.index, 0);
        if turn.poll.add(&connection.socket, token, Interest::Read).is_err() {
            return;
        }
        if let Link::Open(old) = std::mem::replace(&mut self.link, Link::Idle) {
            self.close_link(stream, turn, &old, &Reason::Replaced);
        }
        self.gate.unpin();
        self.reorder = Reorder::new(self.hold, REORDER_WINDOW);
        self.statistics.renumber();
        stream.tell(turn, Kind::Connected, vec![("peer", connection.peer.to_string())]);
        stream.entry.back.open(way_back(&connection));
        self.link = Link::Open(Box::new(connection));
    }

    /// Begins to connect to the device.
    pub(crate) fn connect(&mut self, stream: &mut Stream, turn: Turn<'_>, to: SocketAddr) {
        self.listening = true;
        stream.heard = turn.now;
        self.link = Link::connect(turn.now, to);
        self.advance_link(stream, turn);
    }

    pub(super) fn advance_link(&mut self, stream: &mut Stream, turn: Turn<'_>) {
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
                    stream.entry.back.open(way_back(connection));
                    stream.tell(turn, Kind::Connected, vec![("peer", peer.to_string())]);
                }
            }
            Attempt::GaveUp(reason) => stream.tell(turn, Kind::ConnectFailed, reason.detail().to_vec()),
        }
    }

    /// The connection has bytes, which are read into `scratch`, or an attempt came to its end.
    pub(crate) fn handle_link_ready(&mut self, stream: &mut Stream, turn: Turn<'_>, scratch: &mut [u8]) {
        let mut connection = match std::mem::replace(&mut self.link, Link::Idle) {
            Link::Open(connection) => connection,
            unfinished => {
                self.link = unfinished;
                return self.advance_link(stream, turn);
            }
        };
        match self.read_link(stream, turn, &mut connection, scratch) {
            Ok(()) => self.link = Link::Open(connection),
            Err(reason) => self.close_link(stream, turn, &connection, &reason),
        }
    }

    /// Reads once. If there is more than fits, the next turn takes it, after the turns of others.
    fn read_link(
        &mut self,
        stream: &mut Stream,
        turn: Turn<'_>,
        connection: &mut Connection,
        scratch: &mut [u8],
    ) -> Result<(), Reason> {
        let Connection { socket, peer, framer, heard, .. } = connection;
        let mut reading = framer.read(scratch);
        let size = match (&**socket).read(reading.room()) {
            Ok(0) => return Err(Reason::HungUp),
            Ok(size) => size,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(Reason::Lost(error.to_string())),
        };
        reading.filled(size);
        turn.metrics.bytes_in.add(size as u64);
        let packets = self.drain_link(stream, turn, *peer, &mut reading)?;
        drop(reading);
        if packets > 0 {
            turn.metrics.packets.add(packets);
            *heard = Some(turn.now);
        }
        if !self.budget.spend(turn.now, size) {
            self.pause(turn, connection);
        }
        Ok(())
    }

    /// The source is above its bandwidth: it is not read for a while, and TCP slows it down.
    fn pause(&self, turn: Turn<'_>, connection: &mut Connection) {
        connection.paused = Some(turn.now + Duration::from_millis(50));
        let token = Token::new(Role::Connection, self.index, 0);
        let _ = turn.poll.modify(&connection.socket, token, Interest::Nothing);
    }

    /// Takes the packets of one reading; the number of them.
    fn drain_link(
        &mut self,
        stream: &mut Stream,
        turn: Turn<'_>,
        peer: SocketAddr,
        reading: &mut rfc4571::Reading<'_>,
    ) -> Result<u64, Reason> {
        let mut first = [0_u8; 32];
        let (mut said, mut packets, mut gave_up) = (0, 0, false);
        let mut run = self.begin_run(turn, Via::Tcp, peer);
        while let Some(output) = reading.poll_output() {
            match output {
                rfc4571::Output::Packet(data) => {
                    if packets == 0 {
                        said = data.len().min(first.len());
                        first[..said].copy_from_slice(&data[..said]);
                    }
                    packets += 1;
                    self.handle_next(&mut run, stream, turn, data);
                }
                rfc4571::Output::Skipped(_) => stream.faults.count(Fault::FramingResync),
                rfc4571::Output::GaveUp => {
                    gave_up = true;
                    break;
                }
            }
        }
        self.end_run(run, stream, turn);
        self.drain_units(stream, turn, &first[..said]);
        if gave_up { Err(Reason::NotRtp) } else { Ok(packets) }
    }

    fn close_link(&mut self, stream: &mut Stream, turn: Turn<'_>, connection: &Connection, reason: &Reason) {
        let mut detail = vec![("peer", connection.peer.to_string())];
        detail.extend(reason.detail());
        stream.tell(turn, Kind::Disconnected, detail);
        stream.entry.back.lose();
        self.gate.unpin();
        self.unpacker.handle_gap(1);
        self.drain_units(stream, turn, &[]);
        stream.hub.handle_break();
    }

    /// Where the connection that stands comes from.
    pub(super) fn link_peer(&self) -> Option<SocketAddr> {
        match &self.link {
            Link::Open(connection) => Some(connection.peer),
            _ => None,
        }
    }

    /// Ends a connection that brings nothing, unless it is sent on: who only listens may be silent.
    pub(super) fn check_link(&mut self, stream: &mut Stream, turn: Turn<'_>) {
        if stream.entry.back.is_taken() {
            return;
        }
        if matches!(&self.link, Link::Open(connection) if connection.is_mute(turn.now)) {
            turn.metrics.connections_refused.add(1);
            if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::Idle) {
                self.close_link(stream, turn, &connection, &Reason::Mute);
            }
        }
    }
}

/// Packets for the source go by its connection.
fn way_back(connection: &Connection) -> Path {
    Path::Tcp { socket: Arc::downgrade(&connection.socket), peer: connection.peer }
}
