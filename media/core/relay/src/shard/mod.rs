//! A shard: one thread with its own epoll, which owns the streams that live on it.

pub(crate) mod inbox;
pub(crate) mod poll;
pub(crate) mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod turn;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    iter::Peekable,
    net::SocketAddr,
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use datagram::{Batch, Datagram, Datagrams};
use slab::Slab;
use wire::rtp;

use self::{
    inbox::{Command, Inbox, Open, Origin},
    poll::{Interest, Poll, Ready, Role, Token},
    shared::Shared,
    turn::{Moment, Turn},
};
use crate::{
    clock,
    config::Config,
    door::Viewer,
    error::Error,
    events::{EventQueue, Kind},
    feed::News,
    ingest::{Fed, Receiver, Source, Stream, Via},
    metrics::Metrics,
    reason,
    table::{Lease, Table},
};

/// The loop turns at least so often.
const IDLE: Duration = Duration::from_secs(1);

/// Turns of the loop follow each other at this distance at least. A frame's packets come one by one within a fraction of
/// it: taken together they cost one wake-up instead of many. It is the latency this adds at most; who comes to watch does
/// not wait for it.
const TURN: Duration = Duration::from_millis(1);

/// What a connection brings is read into so many bytes, taken apart there, and forgotten: a key frame at once.
const SCRATCH: usize = 256 * 1024;

/// A stream and what it holds of the world.
struct Slot {
    stream: Stream,
    source: Source,
    ssrc: Option<u32>,
    /// Gives the port back when the stream goes; dropped after its sockets.
    _lease: Option<Lease>,
}

impl Slot {
    /// Lets the stream's receiver act; a fed stream has none.
    fn receive(&mut self, act: impl FnOnce(&mut Receiver, &mut Stream)) {
        if let Source::Receiver(receiver) = &mut self.source {
            act(receiver, &mut self.stream);
        }
    }
}

/// What a shard shares with the rest of the core.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) config: Arc<Config>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) table: Arc<Table>,
}

/// The handle of a shard that runs.
pub(crate) struct Shard {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) thread: JoinHandle<()>,
}

impl Shard {
    /// Starts a shard.
    pub(crate) fn start(
        number: usize,
        surroundings: Surroundings,
        shared: Option<Shared>,
    ) -> Result<Self, Error> {
        let what = || Error::io("cannot start a shard");
        let work = Work::new(surroundings, shared).map_err(what())?;
        let (inbox, metrics) = (Arc::clone(&work.inbox), Arc::clone(&work.metrics));
        let thread = std::thread::Builder::new()
            .name(format!("relay-{number}"))
            .spawn(move || work.run())
            .map_err(what())?;
        Ok(Self { inbox, metrics, thread })
    }
}

struct Work {
    poll: Poll,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    surroundings: Surroundings,
    began: Instant,
    streams: Slab<Slot>,
    by_id: HashMap<u64, usize>,
    shared: Option<Shared>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    batch: Batch,
    shared_batch: Option<Box<Batch>>,
    scratch: Box<[u8]>,
    /// What was left unread, for others wanted their turn.
    unfinished: Vec<Ready>,
    stopping: bool,
}

/// A borrow of everything that a step needs but the streams.
macro_rules! turn {
    ($work:expr, $at:expr) => {
        Turn {
            now: $at.now,
            second: $at.second,
            wall_ms: $at.wall_ms,
            metrics: &$work.metrics,
            poll: &$work.poll,
            events: &$work.surroundings.events,
            config: &$work.surroundings.config,
        }
    };
}

impl Work {
    fn new(surroundings: Surroundings, shared: Option<Shared>) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::new()?);
        let poll = Poll::new()?;
        poll.add(inbox.bell(), Token::new(Role::Waker, 0, 0), Interest::Read)?;
        if let Some(shared) = &shared {
            shared.watch(&poll)?;
        }
        Ok(Self {
            poll,
            inbox,
            metrics: Arc::default(),
            surroundings,
            began: clock::now(),
            streams: Slab::new(),
            by_id: HashMap::new(),
            shared,
            timers: BinaryHeap::new(),
            batch: Batch::new(),
            shared_batch: None,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            unfinished: Vec::new(),
            stopping: false,
        })
    }

    fn run(mut self) {
        let mut ready = Vec::with_capacity(512);
        let mut last_turn = self.began;
        while !self.stopping {
            let mut timeout = Duration::ZERO;
            if self.unfinished.is_empty() {
                let rest = (last_turn + TURN).saturating_duration_since(clock::now());
                if !rest.is_zero() {
                    self.inbox.pause(rest);
                }
                timeout = self.until_next_timer(clock::now());
            }
            if self.poll.wait(timeout, &mut ready).is_err() {
                // Only a programming error makes epoll fail; do not spin on it.
                std::thread::sleep(Duration::from_millis(10));
            }
            for rest in self.unfinished.drain(..) {
                // More of it may have come meanwhile: it has one turn all the same.
                if ready.iter().all(|one: &Ready| one.token != rest.token) {
                    ready.push(rest);
                }
            }
            last_turn = clock::now();
            // What fails outside a stream's own steps must not end the shard either.
            if catch_unwind(AssertUnwindSafe(|| self.turn(&ready))).is_err() {
                self.metrics.panics.add(1);
            }
        }
        for (_, slot) in &mut self.streams {
            slot.stream.hub.close(&self.metrics);
        }
    }

    fn turn(&mut self, ready: &[Ready]) {
        let now = clock::now();
        let second = now.saturating_duration_since(self.began).as_secs();
        let at = Moment { now, second, wall_ms: clock::wall_ms() };
        for (number, step) in ready.iter().enumerate() {
            self.fetch_ahead(&ready[number + 1..]);
            self.dispatch(at, *step);
        }
        self.fire_timers(at);
        self.metrics.turns.add(1);
    }

    /// While one stream takes its packets, the memory of the next ones comes: first the slot, which says where the receiver is.
    fn fetch_ahead(&self, ready: &[Ready]) {
        let slot = |ready: &Ready| self.streams.get(ready.token.stream);
        if let Some(later) = ready.get(1).and_then(slot) {
            cpu::fetch(later);
        }
        if let Some(Slot { source: Source::Receiver(receiver), .. }) = ready.first().and_then(slot) {
            cpu::fetch(&**receiver);
        }
    }

    fn until_next_timer(&self, now: Instant) -> Duration {
        self.timers.peek().map_or(IDLE, |Reverse((due, _))| due.saturating_duration_since(now).min(IDLE))
    }

    fn dispatch(&mut self, at: Moment, ready: Ready) {
        let Token { role, stream, part } = ready.token;
        match role {
            Role::Waker => self.handle_commands(at),
            Role::SharedRtp => self.handle_shared(at),
            Role::SharedListener => {
                if let Some(shared) = &mut self.shared {
                    let refused = shared.accept(at.now, &self.poll);
                    self.metrics.connections_refused.add(refused);
                }
            }
            Role::Newcomer => self.handle_newcomer(at, part),
            Role::Rtp | Role::Rtcp | Role::Listener | Role::Connection | Role::Viewer | Role::Sender => {
                let mut more = false;
                self.step(at, stream, |slot, turn, batch, scratch| match role {
                    Role::Viewer => slot.stream.hub.handle_viewer(turn, part, ready.readable, scratch),
                    Role::Sender => {
                        slot.stream.hub.handle_sender(turn, part, ready.readable, (batch, scratch));
                    }
                    _ => slot.receive(|receiver, stream| match role {
                        Role::Rtp => more = receiver.handle_rtp_ready(stream, turn, batch),
                        Role::Rtcp => receiver.handle_rtcp_ready(turn, batch),
                        Role::Listener => receiver.handle_listener_ready(stream, turn),
                        _ => receiver.handle_link_ready(stream, turn, scratch),
                    }),
                });
                if more {
                    self.unfinished.push(ready);
                }
            }
        }
    }

    /// Runs one step of a stream and sets its timer. A panic costs this stream only.
    fn step<F>(&mut self, at: Moment, index: usize, step: F)
    where
        F: FnOnce(&mut Slot, Turn<'_>, &mut Batch, &mut [u8]),
    {
        let turn = turn!(self, at);
        let Some(slot) = self.streams.get_mut(index) else { return };
        let (batch, scratch) = (&mut self.batch, &mut self.scratch);
        if catch_unwind(AssertUnwindSafe(|| step(slot, turn, batch, scratch))).is_err() {
            turn.metrics.panics.add(1);
            slot.stream.tell(turn, Kind::Failed, reason::detail("internal error", "internal_error").to_vec());
            let receiver = slot.stream.entry.id;
            self.surroundings.table.remove(receiver);
            return self.close(receiver);
        }
        let due = slot.source.next_timeout(&slot.stream);
        if slot.stream.armed.is_none_or(|armed| due < armed) {
            slot.stream.armed = Some(due);
            self.timers.push(Reverse((due, index)));
        }
    }

    fn fire_timers(&mut self, at: Moment) {
        while let Some(Reverse((due, index))) = self.timers.peek().copied()
            && due <= at.now
        {
            self.timers.pop();
            // A timer that was replaced by an earlier one is of no use any more.
            if let Some(slot) = self.streams.get_mut(index)
                && slot.stream.armed == Some(due)
            {
                slot.stream.armed = None;
                self.step(at, index, |slot, turn, _, _| {
                    slot.source.handle_timeout(&mut slot.stream, turn);
                });
            }
        }
        if let Some(shared) = &mut self.shared {
            self.metrics.connections_refused.add(shared.expire(at.now));
        }
    }

    fn handle_commands(&mut self, at: Moment) {
        for command in self.inbox.take() {
            match command {
                Command::Open(open) => self.open(at, *open),
                Command::Close { receiver } => self.close(receiver),
                Command::Stop => self.stopping = true,
                Command::Connect { receiver, to } => {
                    self.step_by_id(at, receiver, |slot, turn| {
                        slot.receive(|receiver, stream| receiver.connect(stream, turn, to));
                    });
                }
                Command::Expect { receiver, ssrc, peer, payloads } => {
                    self.rename(receiver, ssrc);
                    self.step_by_id(at, receiver, |slot, _| {
                        slot.receive(|receiver, _| receiver.expect(ssrc, peer, &payloads));
                    });
                }
                Command::Feed { receiver, news } => self.feed(at, receiver, news),
                Command::Attach { receiver, viewer } => self.attach(at, receiver, viewer),
                Command::Hub { receiver, order } => {
                    self.step_by_id(at, receiver, |slot, turn| {
                        slot.stream.hub.handle_order(turn, order);
                    });
                }
                Command::Tap { receiver, tap } => {
                    self.step_by_id(at, receiver, |slot, _| {
                        slot.receive(|receiver, _| receiver.tap(tap));
                    });
                }
                Command::Snapshot { receiver, reply } => {
                    let turn = turn!(self, at);
                    let wanted = |slot: &&mut Slot| receiver.is_none_or(|id| id == slot.stream.entry.id);
                    let slots = self.streams.iter_mut().map(|(_, slot)| slot).filter(wanted);
                    // Whoever asked may have given up waiting.
                    let _ = reply.try_send(slots.map(|slot| slot.stream.stats(&slot.source, turn)).collect());
                }
            }
        }
    }

    fn open(&mut self, at: Moment, open: Open) {
        let turn = turn!(self, at);
        let slot = self.streams.vacant_entry();
        let (index, receiver) = (slot.key(), open.entry.id);
        let shared_port = open.entry.shared;
        let (source, ssrc, lease) = match open.origin {
            Origin::Packets { mut sockets, lease, expected, hold } => {
                sockets.shared = self.shared.as_ref().filter(|_| shared_port).map(Shared::lend);
                let of = (receiver, open.entry.transport);
                let Ok(source) = Receiver::new(turn, index, of, sockets, expected, hold) else {
                    return drop(self.surroundings.table.remove(receiver));
                };
                (Source::Receiver(Box::new(source)), expected.ssrc.filter(|_| shared_port), lease)
            }
            Origin::Feed { payload, intake } => {
                (Source::Fed(Box::new(Fed::new(open.entry.transport, payload, intake))), None, None)
            }
        };
        slot.insert(Slot { stream: Stream::new(turn, index, open.entry), source, ssrc, _lease: lease });
        self.by_id.insert(receiver, index);
        self.metrics.streams.add(1);
        if let (Some(shared), Some(ssrc)) = (&mut self.shared, ssrc) {
            shared.streams.insert(ssrc, index);
        }
        self.step(at, index, |_, _, _, _| ());
    }

    /// A feeder said something; a stream that it ended goes.
    fn feed(&mut self, at: Moment, receiver: u64, news: News) {
        let mut ended = false;
        self.step_by_id(at, receiver, |slot, turn| {
            if let Source::Fed(source) = &mut slot.source {
                ended = source.handle_news(&mut slot.stream, turn, news);
            }
        });
        if ended {
            self.surroundings.table.remove(receiver);
            self.close(receiver);
        }
    }

    fn close(&mut self, receiver: u64) {
        let Some(index) = self.by_id.remove(&receiver) else { return };
        let Some(mut slot) = self.streams.try_remove(index) else { return };
        slot.stream.hub.close(&self.metrics);
        self.metrics.streams.sub(1);
        if let (Some(shared), Some(ssrc)) = (&mut self.shared, slot.ssrc) {
            shared.streams.remove(&ssrc);
        }
    }

    /// A stream of the shared port waits for another SSRC from now on.
    fn rename(&mut self, receiver: u64, ssrc: Option<u32>) {
        let index = self.by_id.get(&receiver).copied();
        let (Some(shared), Some(index), Some(ssrc)) = (&mut self.shared, index, ssrc) else { return };
        if let Some(slot) = self.streams.get_mut(index)
            && let Some(old) = slot.ssrc.replace(ssrc).filter(|_| slot.stream.entry.shared)
        {
            shared.streams.remove(&old);
            shared.streams.insert(ssrc, index);
        }
    }

    fn attach(&mut self, at: Moment, receiver: u64, viewer: Viewer) {
        let Some(index) = self.by_id.get(&receiver).copied() else { return };
        self.step(at, index, |slot, turn, _, _| {
            let Some(part) = slot.stream.hub.attach(turn, viewer) else { return };
            if let Some(viewer) = slot.stream.hub.viewer(part) {
                let token = Token::new(Role::Viewer, index, part);
                // If it cannot be watched, its stall will be noticed all the same.
                let _ = turn.poll.add(viewer.socket(), token, Interest::Edges);
            }
        });
    }

    fn step_by_id(&mut self, at: Moment, receiver: u64, step: impl FnOnce(&mut Slot, Turn<'_>)) {
        if let Some(index) = self.by_id.get(&receiver).copied() {
            self.step(at, index, |slot, turn, _, _| step(slot, turn));
        }
    }

    /// The shared port has packets: each goes to the stream that waits for its SSRC.
    fn handle_shared(&mut self, at: Moment) {
        let Some(shared) = &self.shared else { return };
        // The buffers leave their place meanwhile, for the streams' steps borrow the rest.
        let mut batch = self.shared_batch.take().unwrap_or_default();
        // Without packets there is nothing in the batch.
        let _ = batch.receive(shared.socket.as_fd());
        for burst in batch.bursts() {
            let mut packets = burst.datagrams().peekable();
            while let Some(first) = packets.next() {
                self.handle_shared_run(at, burst.source, first, &mut packets);
            }
        }
        self.shared_batch = Some(batch);
    }

    /// Takes `first`, and of `rest`, which came from the same sender, what follows with the same SSRC.
    fn handle_shared_run(
        &mut self,
        at: Moment,
        source: SocketAddr,
        first: Datagram<'_>,
        rest: &mut Peekable<Datagrams<'_>>,
    ) {
        let (mut count, mut bytes) = (1, first.data.len() as u64);
        match self.shared.as_ref().and_then(|shared| shared.stream_of(first.data)) {
            _ if first.truncated => self.metrics.malformed.add(1),
            Some(stream) => self.step(at, stream, |slot, turn, _, _| {
                slot.receive(|receiver, stream| {
                    let mut run = receiver.begin_run(turn, Via::Udp, source);
                    receiver.handle_next(&mut run, stream, turn, first.data);
                    while let Some(next) = rest.next_if(|next| follows(first.data, next)) {
                        (count, bytes) = (count + 1, bytes + next.data.len() as u64);
                        receiver.handle_next(&mut run, stream, turn, next.data);
                    }
                    receiver.end_run(run, stream, turn);
                    receiver.drain_units(stream, turn, first.data);
                });
            }),
            None => self.metrics.rejected.add(1),
        }
        self.metrics.packets.add(count);
        self.metrics.bytes_in.add(bytes);
    }

    fn handle_newcomer(&mut self, at: Moment, part: u32) {
        let Some(shared) = &mut self.shared else { return };
        match shared.look(part as usize) {
            Ok(None) => {}
            Ok(Some((stream, socket, peer))) => {
                // It is watched again, as the stream's own.
                let _ = self.poll.remove(&socket);
                self.step(at, stream, |slot, turn, _, scratch| {
                    slot.receive(|receiver, stream| receiver.adopt(stream, turn, (socket, peer), scratch));
                });
            }
            Err(()) => self.metrics.connections_refused.add(1),
        }
    }
}

/// Whether `next` is a whole RTP packet of the same SSRC as `first`.
fn follows(first: &[u8], next: &Datagram<'_>) -> bool {
    let (Some(one), Some(other)) = (first.get(8..12), next.data.get(8..12)) else { return false };
    one == other && !next.truncated && !rtp::is_rtcp(first) && !rtp::is_rtcp(next.data)
}
