//! The relay as a whole: its shards, ports and streams, and everything that can be asked of it.

mod keeping;
mod pushing;
mod secure;
mod sending;
mod serving;
mod watching;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    os::fd::RawFd,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::{
    back::Back,
    clock,
    config::{Config, OpenReceiver, Transport},
    desk::Admission,
    door::{Door, sign},
    error::Error,
    events::{Event, EventQueue},
    feeds::Feeds,
    ingest::{Expected, Sockets},
    listener::Listener,
    playback::Playbacks,
    ports::PortPool,
    publishers::Publishers,
    pull::Puller,
    push::Pushes,
    record::Recorder,
    rtsp::Receiving,
    send,
    shard::{
        Shard, Surroundings,
        inbox::{Command, Open, Origin},
        shared::Shared,
    },
    sockets,
    stats::StreamStats,
    table::{Entry, Lease, Table, lock},
    tap::{Tap, TapQueue},
    tls,
};

pub use secure::TlsFiles;

/// A shard that does not answer for so long is overloaded.
const ANSWER: Duration = Duration::from_secs(2);

/// Ports tried before giving up: others on this machine may hold some.
const PORT_TRIES: usize = 64;

/// A receiver that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its id, never used again.
    pub id: u64,
    /// The local RTP port; 0 for an active one, and for what is pulled.
    pub port: u16,
}

/// The relay. One a process is enough; `close` joins its threads.
pub struct Core {
    config: Arc<Config>,
    events: Arc<EventQueue>,
    table: Arc<Table>,
    ports: Arc<Mutex<PortPool>>,
    shards: RwLock<Vec<Shard>>,
    doors: Mutex<Vec<Door>>,
    admission: Arc<Admission>,
    listeners: Mutex<Vec<Listener>>,
    publishers: Arc<Publishers>,
    senders: Arc<send::Directory>,
    puller: Arc<Puller>,
    playbacks: Arc<Playbacks>,
    pushes: Arc<Pushes>,
    runtime: Mutex<Option<Runtime>>,
    identities: tls::Identities,
    tls_counters: Arc<tls::Counters>,
    recorder: Recorder,
    closed: AtomicBool,
}

impl Core {
    /// Starts the shards, and opens the shared port if there is one.
    pub fn start(config: Config) -> Result<Self, Error> {
        if config.rtp_port_min > config.rtp_port_max {
            return Err(Error::Invalid("rtp_port_min is above rtp_port_max".to_owned()));
        }
        raise_file_limit();
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let events = Arc::new(EventQueue::new().map_err(Error::io("cannot make the event queue"))?);
        let ports = Arc::new(Mutex::new(PortPool::new(config.rtp_port_min, config.rtp_port_max)));
        let receiving = Receiving { host: config.rtp_host, pool: Arc::clone(&ports) };
        let core = Self {
            recorder: Recorder::new(Arc::clone(&events)),
            pushes: Arc::new(Pushes::new(Arc::clone(&events))),
            events,
            table: Arc::new(Table::new(threads)),
            ports,
            shards: RwLock::default(),
            doors: Mutex::default(),
            admission: Arc::default(),
            listeners: Mutex::default(),
            publishers: Arc::default(),
            senders: Arc::default(),
            puller: Arc::new(Puller::new(receiving)),
            playbacks: Arc::default(),
            runtime: Mutex::default(),
            identities: tls::Identities::default(),
            tls_counters: Arc::default(),
            closed: AtomicBool::new(false),
            config: Arc::new(config),
        };
        let mut shared_port = core.open_shared()?;
        for number in 0..threads {
            let surroundings = Surroundings {
                config: Arc::clone(&core.config),
                events: Arc::clone(&core.events),
                table: Arc::clone(&core.table),
            };
            let shard = Shard::start(number, surroundings, shared_port.take())?;
            core.write_shards().push(shard);
        }
        Ok(core)
    }

    /// Closes every receiver and viewer, finishes every recording and joins the threads. A second call does nothing.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        lock(&self.doors).clear();
        lock(&self.listeners).clear();
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        for shard in std::mem::take(&mut *self.write_shards()) {
            shard.inbox.push(Command::Stop);
            // A shard that panicked has nothing left to close.
            let _ = shard.thread.join();
        }
        self.recorder.close();
    }

    /// The query that lets its bearer play a stream until `expires` (UNIX seconds), as long as its generation lasts.
    pub fn sign(&self, app: &str, name: &str, expires: u64, generation: u64) -> String {
        sign::sign(&self.config.play_key, app, name, expires, generation)
    }

    /// A descriptor that is readable while events wait; it stays ours.
    pub fn event_fd(&self) -> RawFd {
        self.events.fd()
    }

    /// Takes up to `limit` events, oldest first.
    pub fn poll_events(&self, limit: usize) -> Vec<Event> {
        self.events.poll(limit, clock::wall_ms())
    }

    /// Opens a receiver for a stream that has none.
    pub fn open_receiver(&self, wanted: &OpenReceiver) -> Result<Opened, Error> {
        self.check_open()?;
        check_name(&wanted.app)?;
        check_name(&wanted.name)?;
        if wanted.shared {
            self.check_shared(wanted)?;
        }
        let mut opening = None;
        let shared_ssrc = wanted.ssrc.filter(|_| wanted.shared);
        let entry = self.table.insert((&wanted.app, &wanted.name), shared_ssrc, |place| {
            let (port, sockets, lease) = self.open_sockets(wanted)?;
            opening = Some((sockets, lease));
            Ok(Entry {
                id: place.id,
                app: wanted.app.as_str().into(),
                name: wanted.name.as_str().into(),
                transport: wanted.transport,
                shared: wanted.shared,
                port,
                shard: place.shard,
                rights: wanted.rights.into(),
                opened_ms: clock::wall_ms(),
                feeds: Feeds::default(),
                back: Back::default(),
            })
        })?;
        let opened = Opened { id: entry.id, port: entry.port };
        let (sockets, lease) = opening.unwrap_or_default();
        let expected = Expected {
            ssrc: wanted.ssrc,
            peer: wanted.peer.map(|peer| peer.to_canonical()),
            any_peer: wanted.any_peer,
            shared: wanted.shared,
        };
        let shard = entry.shard;
        let origin = Origin::Packets { sockets, lease, expected, hold: wanted.hold };
        self.send(shard, Command::Open(Box::new(Open { entry, origin })))?;
        Ok(opened)
    }

    /// Lets an active receiver connect.
    pub fn connect(&self, receiver: u64, to: SocketAddr) -> Result<(), Error> {
        let entry = self.table.by_id(receiver)?;
        if entry.transport != Transport::TcpActive {
            return Err(Error::Invalid(format!("receiver {receiver} is not tcp_active")));
        }
        self.send(entry.shard, Command::Connect { receiver, to })
    }

    /// Tells a receiver what the answer's SDP said.
    pub fn expect(
        &self,
        receiver: u64,
        ssrc: Option<u32>,
        peer: Option<IpAddr>,
        payloads: Vec<(u8, String)>,
    ) -> Result<(), Error> {
        let entry = self.table.by_id(receiver)?;
        if let Some(ssrc) = ssrc.filter(|_| entry.shared) {
            self.table.change_ssrc(receiver, ssrc)?;
        }
        let peer = peer.map(|peer| peer.to_canonical());
        self.send(entry.shard, Command::Expect { receiver, ssrc, peer, payloads })
    }

    /// Ends a stream; an unknown receiver is ignored.
    pub fn close_receiver(&self, receiver: u64) -> Result<(), Error> {
        self.check_open()?;
        match self.table.remove(receiver) {
            Some(entry) => self.send(entry.shard, Command::Close { receiver }),
            None => Ok(()),
        }
    }

    /// Sets whether future viewers need a signed address; an unknown stream is ignored.
    pub fn set_private(&self, app: &str, name: &str, private: bool) {
        if let Some(entry) = self.table.lately(app, name) {
            entry.rights.private.store(private, Ordering::Relaxed);
        }
    }

    /// Sets the generation of a stream's signatures: addresses signed under another one are refused from now on. An
    /// unknown stream is ignored.
    pub fn set_generation(&self, app: &str, name: &str, generation: u64) {
        if let Some(entry) = self.table.lately(app, name) {
            entry.rights.generation.store(generation, Ordering::Relaxed);
        }
    }

    /// Sets how many may watch at once (0: any number); who watches stays. An unknown stream is ignored.
    pub fn set_viewers_max(&self, app: &str, name: &str, viewers_max: u32) {
        if let Some(entry) = self.table.lately(app, name) {
            entry.rights.viewers_max.store(viewers_max, Ordering::Relaxed);
        }
    }

    /// Answers a `play` event: whether the bearer of the token may play. What is not asked any more is ignored.
    pub fn answer_play(&self, ticket: u64, allowed: bool) {
        self.admission.questions.answer(clock::now(), ticket, allowed);
    }

    /// Snapshots of all streams.
    pub fn streams(&self) -> Result<Vec<StreamStats>, Error> {
        self.check_open()?;
        let shards = self.read_shards();
        let answers: Vec<_> = shards
            .iter()
            .map(|shard| {
                let (reply, answer) = sync_channel(1);
                shard.inbox.push(Command::Snapshot { receiver: None, reply });
                answer
            })
            .collect();
        let mut streams = Vec::new();
        for answer in answers {
            streams.extend(answer.recv_timeout(ANSWER).map_err(|_| busy())?);
        }
        Ok(streams)
    }

    /// A snapshot of one stream.
    pub fn stream(&self, app: &str, name: &str) -> Result<Option<StreamStats>, Error> {
        self.check_open()?;
        let Some(entry) = self.table.by_name(app, name) else { return Ok(None) };
        let (reply, answer) = sync_channel(1);
        self.send(entry.shard, Command::Snapshot { receiver: Some(entry.id), reply })?;
        Ok(answer.recv_timeout(ANSWER).map_err(|_| busy())?.pop())
    }

    /// Number of streams.
    pub fn stream_count(&self) -> usize {
        self.table.len()
    }

    /// Copies of the packets that come from now on, at most `packets` waiting.
    pub fn tap(&self, receiver: u64, packets: usize) -> Result<Tap, Error> {
        let entry = self.table.by_id(receiver)?;
        let queue = Arc::new(TapQueue::new(packets));
        self.send(entry.shard, Command::Tap { receiver, tap: Arc::clone(&queue) })?;
        Ok(Tap { queue })
    }

    /// Counters of the whole core, by Prometheus name.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
    pub fn metrics(&self) -> BTreeMap<&'static str, f64> {
        let mut totals = BTreeMap::new();
        for shard in self.read_shards().iter() {
            shard.metrics.add_to(&mut totals);
        }
        self.recorder.add_to(&mut totals);
        totals.insert("relay_events_lost_total", self.events.lost_total.load(Ordering::Relaxed) as f64);
        for door in lock(&self.doors).iter() {
            let counters = door.counters();
            *totals.entry("relay_http_accepted_total").or_default() +=
                counters.accepted.load(Ordering::Relaxed) as f64;
            *totals.entry("relay_http_refused_total").or_default() +=
                counters.refused.load(Ordering::Relaxed) as f64;
        }
        let Admission { questions, full } = &*self.admission;
        for (name, counter) in [
            ("relay_play_questions_total", &questions.asked),
            ("relay_play_questions_unanswered_total", &questions.unanswered),
            ("relay_play_questions_refused_total", &questions.busy),
            ("relay_viewers_refused_total", full),
            ("relay_pull_connections_total", &self.puller.tried),
            ("relay_pull_failures_total", &self.puller.failed),
            ("relay_pull_losses_total", &self.puller.lost),
        ] {
            totals.insert(name, counter.load(Ordering::Relaxed) as f64);
        }
        for listener in lock(&self.listeners).iter() {
            for (name, count) in listener.counters.named() {
                *totals.entry(name).or_default() += count as f64;
            }
        }
        totals.extend(self.tls_counters.named().map(|(name, count)| (name, count as f64)));
        totals.extend(self.pushes.counters().map(|(name, count)| (name, count as f64)));
        totals.insert("relay_ports_free", lock(&self.ports).free() as f64);
        totals
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn check_shared(&self, wanted: &OpenReceiver) -> Result<(), Error> {
        if self.config.rtp_shared_port == 0 {
            return Err(Error::NoSharedPort);
        }
        if wanted.ssrc.is_none() {
            return Err(Error::Invalid("a receiver on the shared port needs an SSRC".to_owned()));
        }
        if wanted.transport == Transport::TcpActive {
            return Err(Error::Invalid("an active receiver has no port to share".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn send(&self, shard: usize, command: Command) -> Result<(), Error> {
        self.read_shards().get(shard).ok_or(Error::Closed)?.inbox.push(command);
        Ok(())
    }

    fn open_shared(&self) -> Result<Option<Shared>, Error> {
        let port = self.config.rtp_shared_port;
        if port == 0 {
            return Ok(None);
        }
        let what = |kind: &str| Error::io(format!("cannot open the shared RTP port {port} ({kind})"));
        let socket =
            sockets::packets(self.config.rtp_host, port, self.config.receive_offload).map_err(what("UDP"))?;
        let listener = sockets::tcp(self.config.rtp_host, port, 1024).map_err(what("TCP"))?;
        Ok(Some(Shared::new(socket, listener)))
    }

    /// The port and sockets of a new receiver.
    fn open_sockets(&self, wanted: &OpenReceiver) -> Result<(u16, Sockets, Option<Lease>), Error> {
        if wanted.shared {
            return Ok((self.config.rtp_shared_port, Sockets::default(), None));
        }
        if wanted.transport == Transport::TcpActive {
            return Ok((0, Sockets::default(), None));
        }
        let (min, max) = (self.config.rtp_port_min, self.config.rtp_port_max);
        let (host, offload) = (self.config.rtp_host, self.config.receive_offload);
        // A port that somebody else holds rests like a used one and is tried again later.
        for _ in 0..PORT_TRIES {
            let lease = Lease::new(&self.ports).ok_or(Error::NoFreePort(min, max))?;
            match sockets::dedicated(host, lease.port, wanted.transport, offload) {
                Ok(sockets) => return Ok((lease.port, sockets, Some(lease))),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(Error::Io(format!("cannot open port {}", lease.port), error)),
            }
        }
        Err(Error::NoFreePort(min, max))
    }

    fn read_shards(&self) -> std::sync::RwLockReadGuard<'_, Vec<Shard>> {
        self.shards.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write_shards(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Shard>> {
        self.shards.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.close();
    }
}

/// A stream takes two descriptors and a viewer one; the usual soft limit of 1,024 is for programs that use `select`.
fn raise_file_limit() {
    let limits = getrlimit(Resource::Nofile);
    // Where it may not be raised, opening sockets will say so in time.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}

fn busy() -> Error {
    Error::Busy(ANSWER.as_millis() as u64)
}

/// Names stand in paths, signatures and logs.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > 256 || name.contains('/') || name.chars().any(char::is_control) {
        return Err(Error::Invalid(format!("{name:?} cannot name a stream")));
    }
    Ok(())
}
