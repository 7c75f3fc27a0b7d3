//! One sender as its shard has it: how it reaches its target, and where in the packets of its form it is.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use datagram::Batch;
use wire::send::Source;

use super::{
    account::{Account, Listed, State},
    group::{Group, Position},
    opening::{Opening, Sockets},
    tcp::Tcp,
    udp::{Sent, Udp},
};
use crate::{
    door::Seat,
    events::Kind,
    ingest::{Attempt, Link, canonical},
    shard::{
        poll::{Interest, Role, Token},
        turn::Turn,
    },
    table::Lease,
};

/// Housekeeping comes so often.
const TICK: Duration = Duration::from_secs(1);

/// Connections of strangers that are sent away before a passive sender gives up.
const STRANGERS_MAX: u32 = 64;

/// What one round did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) skips: u64,
}

/// How a target is reached, as far as it is.
enum Way {
    Udp(Box<Udp>),
    Connecting(Link),
    Listening {
        listener: TcpListener,
        from: Option<IpAddr>,
        until: Instant,
        strangers: u32,
    },
    Tcp(Box<Tcp>),
    /// It could not be set up; the next timeout ends it.
    Broken(String),
}

pub(crate) struct Sender {
    token: Token,
    way: Way,
    source: Source,
    position: Option<Position>,
    tick: Instant,
    listed: Listed,
    _seat: Seat,
    /// Dropped after the sockets.
    _lease: Option<Lease>,
}

impl Sender {
    /// The sender that numbers (of the stream on its shard, its own) name; its sockets are watched from now on.
    pub(crate) fn new(turn: Turn<'_>, (index, part): (usize, u32), opening: Opening) -> Self {
        let Opening { listed, sockets, to, payload_type, report_timeout, wait, seat, lease } = opening;
        let account = Arc::clone(&listed.account);
        let token = Token::new(Role::Sender, index, part);
        let first_seq = RandomState::new().hash_one(account.id) as u16;
        let mut sender = Self {
            token,
            way: Way::Broken("no target".to_owned()),
            source: Source::new(account.ssrc, payload_type, first_seq),
            position: None,
            tick: turn.now,
            listed,
            _seat: seat,
            _lease: lease,
        };
        match (sockets, to) {
            (Sockets::Udp(rtp, reports), Some(to)) => {
                let udp = Udp::new(turn.now, (rtp, reports), to, account.ssrc, report_timeout);
                sender.way = udp.map_or_else(|error| Way::Broken(error.to_string()), Into::into);
                if let Way::Udp(udp) = &sender.way {
                    for socket in udp.sockets() {
                        // What is not watched is found out by time.
                        let _ = turn.poll.add(socket, token, Interest::Read);
                    }
                    account.tell(Kind::SenderConnected, None);
                }
            }
            (Sockets::Listener(listener), to) => {
                let _ = turn.poll.add(&listener, token, Interest::Read);
                let from = to.map(|to| to.ip()).filter(|ip| !ip.is_unspecified());
                sender.way = Way::Listening { listener, from, until: turn.now + wait, strangers: 0 };
            }
            (Sockets::None, Some(to)) => {
                sender.way = Way::Connecting(Link::connect(turn.now, to));
                // What fails at once is told by the next timeout, as anything else.
                if let Err(reason) = sender.advance(turn) {
                    sender.way = Way::Broken(reason);
                }
            }
            (Sockets::Udp(..) | Sockets::None, None) => {}
        }
        sender
    }

    pub(crate) fn account(&self) -> &Account {
        &self.listed.account
    }

    /// Number of the oldest chunk that it still wants from the ring.
    pub(crate) fn needs(&self) -> u64 {
        self.position.map_or(u64::MAX, |position| position.number)
    }

    /// Sends what may leave now; why the target is given up, if it is.
    pub(crate) fn pump(
        &mut self,
        turn: Turn<'_>,
        group: &Group,
        settled: bool,
    ) -> Result<Round, &'static str> {
        let datagrams = match &self.way {
            Way::Udp(_) => true,
            Way::Tcp(_) => false,
            _ => return Ok(Round::default()),
        };
        if self.position.is_none() {
            self.position = group.beginning(datagrams, settled);
        }
        let Some(position) = &mut self.position else { return Ok(Round::default()) };
        let (mut skips, mut begun) = (0, Sent::default());
        let mut between = true;
        if let Way::Tcp(tcp) = &mut self.way {
            tcp.write_begun(turn.now, &mut begun)?;
            between = tcp.is_between();
        }
        if let Some(target) = group.skip(*position).filter(|_| between) {
            *position = target;
            // The gap shows in the numbers, so that nobody joins what does not belong together.
            self.source.skip();
            skips = 1;
        }
        let Sent { packets, bytes } = match &mut self.way {
            Way::Udp(udp) => udp.pump(turn, group, position, &mut self.source)?,
            Way::Tcp(tcp) => tcp.pump(turn.now, group, position, &mut self.source)?,
            _ => Sent::default(),
        };
        let (packets, bytes) = (packets + begun.packets, bytes + begun.bytes);
        let account = &self.listed.account;
        if packets > 0 && account.state() != State::Sending {
            account.set_state(State::Sending);
        }
        account.packets.fetch_add(packets, Ordering::Relaxed);
        account.bytes.fetch_add(bytes, Ordering::Relaxed);
        account.skips.fetch_add(skips, Ordering::Relaxed);
        Ok(Round { packets, bytes, skips })
    }

    /// A socket of it is ready.
    pub(crate) fn handle_ready(
        &mut self,
        turn: Turn<'_>,
        readable: bool,
        batch: &mut Batch,
        scratch: &mut [u8],
    ) -> Result<(), String> {
        let heard = match &mut self.way {
            Way::Udp(udp) => udp.listen(turn, batch),
            Way::Tcp(tcp) => {
                tcp.unblock();
                readable && tcp.listen(scratch)?
            }
            Way::Connecting(_) => return self.advance(turn),
            Way::Listening { .. } => return self.accept(turn),
            Way::Broken(_) => false,
        };
        if heard {
            self.listed.account.hear(turn.wall_ms);
        }
        Ok(())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.way {
            Way::Udp(udp) => udp.next_timeout().map(|due| due.min(self.tick)),
            Way::Connecting(link) => link.next_timeout(),
            Way::Tcp(_) | Way::Listening { .. } => None,
            Way::Broken(_) => Some(self.tick),
        }
        .or(Some(self.tick))
    }

    /// Lets time pass; why the target is given up, if it is.
    pub(crate) fn handle_timeout(&mut self, turn: Turn<'_>) -> Result<(), String> {
        if let Way::Connecting(_) = &self.way {
            self.advance(turn)?;
        }
        if turn.now < self.tick {
            return Ok(());
        }
        self.tick = turn.now + TICK;
        match &self.way {
            Way::Udp(udp) => Ok(udp.check(turn.now)?),
            Way::Tcp(tcp) => Ok(tcp.check(turn.now)?),
            Way::Listening { until, .. } if turn.now >= *until => Err("nobody connected".to_owned()),
            Way::Broken(reason) => Err(reason.clone()),
            Way::Connecting(_) | Way::Listening { .. } => Ok(()),
        }
    }

    /// Goes on with connecting.
    fn advance(&mut self, turn: Turn<'_>) -> Result<(), String> {
        let Way::Connecting(link) = &mut self.way else { return Ok(()) };
        match link.advance(turn.now, None) {
            Attempt::Pending => Ok(()),
            Attempt::Begun => {
                if let Link::Connecting { socket, .. } = link {
                    let _ = turn.poll.add(socket, self.token, Interest::Write);
                }
                Ok(())
            }
            Attempt::Connected => {
                if let Link::Open(connection) = std::mem::replace(link, Link::Idle) {
                    let _ = turn.poll.modify(&connection.socket, self.token, Interest::Edges);
                    self.open(turn, connection.socket, connection.peer);
                }
                Ok(())
            }
            Attempt::GaveUp(reason) => Err(reason),
        }
    }

    /// Takes the first connection from the address that may; others are closed.
    fn accept(&mut self, turn: Turn<'_>) -> Result<(), String> {
        let Way::Listening { listener, from, strangers, .. } = &mut self.way else { return Ok(()) };
        while let Ok((socket, peer)) = listener.accept() {
            let peer = canonical(peer);
            if from.is_none_or(|from| from.to_canonical() == peer.ip()) {
                if socket.set_nonblocking(true).is_err() {
                    continue;
                }
                let _ = turn.poll.add(&socket, self.token, Interest::Edges);
                self.listed.account.set_peer(peer);
                self.open(turn, socket, peer);
                return Ok(());
            }
            turn.metrics.connections_refused.add(1);
            *strangers += 1;
            if *strangers >= STRANGERS_MAX {
                return Err("only strangers connected".to_owned());
            }
        }
        Ok(())
    }

    fn open(&mut self, turn: Turn<'_>, socket: TcpStream, _peer: SocketAddr) {
        let account = &self.listed.account;
        account.set_state(State::Waiting);
        account.tell(Kind::SenderConnected, None);
        self.way = Way::Tcp(Box::new(Tcp::new(turn.now, socket)));
    }

    /// Lets the target go, and tells why.
    pub(crate) fn end(self, reason: &str) {
        if let Way::Udp(udp) = &self.way {
            udp.take_leave();
        }
        let reached = matches!(self.way, Way::Udp(_) | Way::Tcp(_));
        let kind = if reached || reason == "closed" { Kind::SenderEnded } else { Kind::SenderFailed };
        self.listed.account.end(kind, reason);
    }
}

impl From<Udp> for Way {
    fn from(udp: Udp) -> Self {
        Self::Udp(Box::new(udp))
    }
}
