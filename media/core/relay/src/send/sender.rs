//! One sender as its shard has it: how it reaches its target, and where in the packets of its form it is.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use datagram::Batch;
use wire::send::Source;

use super::{
    account::{Account, Listed, State},
    group::{Group, LAG_MAX, LAG_TALK, Position},
    opening::{Opening, Sockets},
    over::{Change, Over},
    route::Route,
    tcp::Tcp,
    udp::{Sent, Udp},
};
use crate::{
    clock,
    door::Seat,
    events::Kind,
    ingest::{Attempt, Link, canonical},
    reason::Reason,
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
    Open(Route),
    Over(Box<Over>),
    Connecting(Link),
    Listening {
        listener: TcpListener,
        from: Option<IpAddr>,
        until: Instant,
        strangers: u32,
    },
    /// It could not be set up; the next timeout ends it.
    Broken(Reason),
}

pub(crate) struct Sender {
    token: Token,
    way: Way,
    source: Source,
    position: Option<Position>,
    tick: Instant,
    /// Reports are sent on a connection too.
    rtcp: bool,
    listed: Listed,
    _seat: Seat,
    /// Dropped after the sockets.
    _lease: Option<Lease>,
}

impl Sender {
    /// The sender that numbers (of the stream on its shard, its own) name; its sockets are watched from now on.
    pub(crate) fn new(turn: Turn<'_>, (index, part): (usize, u32), opening: Opening) -> Self {
        let Opening { listed, sockets, to, payload_type, report_timeout, wait, rtcp, seat, lease } = opening;
        let account = Arc::clone(&listed.account);
        let token = Token::new(Role::Sender, index, part);
        let first_seq = RandomState::new().hash_one(account.id) as u16;
        let mut sender = Self {
            token,
            way: Way::Broken(Reason::NoTarget),
            source: Source::new(account.ssrc, payload_type, first_seq),
            position: None,
            tick: turn.now,
            rtcp,
            listed,
            _seat: seat,
            _lease: lease,
        };
        match (sockets, to) {
            (Sockets::Udp(rtp, reports), Some(to)) => {
                let udp = Udp::new(turn.now, (rtp, reports), to, account.ssrc, report_timeout);
                sender.way = udp.map_or_else(
                    |error| Way::Broken(Reason::NoSocket(error.to_string())),
                    |udp| Way::Open(udp.into()),
                );
                if let Way::Open(Route::Udp(udp)) = &sender.way {
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
            (Sockets::Over(claim), _) => {
                let talk = !account.form.selection.video;
                let over = Over::new(turn.now, claim, (account.ssrc, rtcp, talk), wait);
                sender.way = Way::Over(Box::new(over));
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
    pub(crate) fn pump(&mut self, turn: Turn<'_>, group: &Group, settled: bool) -> Result<Round, Reason> {
        self.follow(turn)?;
        match self.write(turn, group, settled) {
            Err(_) if matches!(self.way, Way::Over(_)) => {
                // The receiver will have another connection, or none.
                self.lose(turn);
                Ok(Round::default())
            }
            result => result,
        }
    }

    /// Goes where the receiver's connection is, if it is one's way.
    fn follow(&mut self, turn: Turn<'_>) -> Result<(), Reason> {
        let Way::Over(over) = &mut self.way else { return Ok(()) };
        match over.follow(turn.now)? {
            Change::Nothing => {}
            Change::Joined(peer) => {
                self.position = None;
                let account = &self.listed.account;
                account.set_peer(peer);
                account.set_state(State::Waiting);
                account.tell(Kind::SenderConnected, None);
            }
            Change::Lost => self.lose(turn),
        }
        Ok(())
    }

    /// The receiver's connection is gone.
    fn lose(&mut self, turn: Turn<'_>) {
        if let Way::Over(over) = &mut self.way {
            over.lose(turn.now);
        }
        self.position = None;
        self.listed.account.set_state(State::Listening);
    }

    fn write(&mut self, turn: Turn<'_>, group: &Group, settled: bool) -> Result<Round, Reason> {
        let (route, lag) = match &mut self.way {
            Way::Open(route) => (Some(route), LAG_MAX),
            Way::Over(over) => (over.route(), LAG_TALK),
            _ => (None, LAG_MAX),
        };
        let Some(route) = route else { return Ok(Round::default()) };
        let (mut skips, mut dropped, mut begun) = (0, 0, Sent::default());
        // What somebody else began on a connection must end even if there is nothing to say.
        let between = route.finish(turn, &mut begun)?;
        if self.position.is_none() {
            self.position = group.beginning(route.is_datagrams(), settled);
        }
        let Some(position) = &mut self.position else { return Ok(Round::default()) };
        if let Some(target) = group.skip(*position, lag).filter(|_| between) {
            dropped = group.between(*position, target);
            *position = target;
            // The gap shows in the numbers, so that nobody joins what does not belong together.
            self.source.skip();
            skips = 1;
        }
        let Sent { packets, bytes } = route.pump(turn, group, position, &mut self.source)?;
        let (packets, bytes) = (packets + begun.packets, bytes + begun.bytes);
        let account = &self.listed.account;
        account.dropped.fetch_add(dropped, Ordering::Relaxed);
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
    ) -> Result<(), Reason> {
        let heard = match &mut self.way {
            Way::Open(Route::Udp(udp)) => udp.listen(turn, batch),
            Way::Open(Route::Tcp(tcp)) => {
                tcp.unblock();
                readable && tcp.listen(scratch)?
            }
            Way::Connecting(_) => return self.advance(turn),
            Way::Listening { .. } => return self.accept(turn),
            Way::Over(_) | Way::Broken(_) => false,
        };
        if heard {
            self.listed.account.hear(turn.wall_ms);
        }
        Ok(())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.way {
            Way::Open(route) => route.next_timeout().map(|due| due.min(self.tick)),
            Way::Over(over) => Some(over.next_timeout()),
            Way::Connecting(link) => link.next_timeout(),
            Way::Listening { .. } => None,
            Way::Broken(_) => Some(self.tick),
        }
        .or(Some(self.tick))
    }

    /// Lets time pass; why the target is given up, if it is.
    pub(crate) fn handle_timeout(&mut self, turn: Turn<'_>) -> Result<(), Reason> {
        if let Way::Connecting(_) = &self.way {
            self.advance(turn)?;
        }
        if let Way::Over(over) = &mut self.way {
            return over.check(turn.now);
        }
        if turn.now < self.tick {
            return Ok(());
        }
        self.tick = turn.now + TICK;
        match &mut self.way {
            Way::Open(route) => route.check(turn.now),
            Way::Listening { until, .. } if turn.now >= *until => Err(Reason::Nobody),
            Way::Broken(reason) => Err(reason.clone()),
            Way::Over(_) | Way::Connecting(_) | Way::Listening { .. } => Ok(()),
        }
    }

    /// Goes on with connecting.
    fn advance(&mut self, turn: Turn<'_>) -> Result<(), Reason> {
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
                    self.open(turn, connection.socket);
                }
                Ok(())
            }
            Attempt::GaveUp(reason) => Err(reason),
        }
    }

    /// Takes the first connection from the address that may; others are closed.
    fn accept(&mut self, turn: Turn<'_>) -> Result<(), Reason> {
        let Way::Listening { listener, from, strangers, .. } = &mut self.way else { return Ok(()) };
        while let Ok((socket, peer)) = listener.accept() {
            let peer = canonical(peer);
            if from.is_none_or(|from| from.to_canonical() == peer.ip()) {
                if socket.set_nonblocking(true).is_err() {
                    continue;
                }
                let _ = turn.poll.add(&socket, self.token, Interest::Edges);
                self.listed.account.set_peer(peer);
                self.open(turn, Arc::new(socket));
                return Ok(());
            }
            turn.metrics.connections_refused.add(1);
            *strangers += 1;
            if *strangers >= STRANGERS_MAX {
                return Err(Reason::Strangers);
            }
        }
        Ok(())
    }

    fn open(&mut self, turn: Turn<'_>, socket: Arc<TcpStream>) {
        let account = &self.listed.account;
        account.set_state(State::Waiting);
        account.tell(Kind::SenderConnected, None);
        let reports = self.rtcp.then_some(account.ssrc);
        self.way = Way::Open(Tcp::new(turn.now, socket, reports).into());
    }

    /// Lets the target go, and tells why.
    pub(crate) fn end(self, reason: &Reason) {
        let now = clock::now();
        let reached = match self.way {
            Way::Open(mut route) => {
                route.take_leave(now);
                true
            }
            Way::Over(over) => {
                let reached = over.reached();
                over.take_leave(now);
                reached
            }
            _ => false,
        };
        let kind = if reached || *reason == Reason::Closed { Kind::SenderEnded } else { Kind::SenderFailed };
        self.listed.account.end(kind, reason);
    }
}
