//! What is known of each sender, and who is told what becomes of it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};

use wire::send::Form;

use super::Transport;
use crate::{
    clock,
    events::{EventQueue, Kind},
    reason::Reason,
    table::{Entry, lock},
};

/// Where a sender stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// We are on our way to the target.
    Connecting,
    /// The target is on its way to us, or a receiver's connection is waited for.
    Listening,
    /// The next key frame is waited for.
    Waiting,
    /// Packets flow.
    Sending,
}

impl State {
    const ALL: [Self; 4] = [Self::Connecting, Self::Listening, Self::Waiting, Self::Sending];

    fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Listening => "listening",
            Self::Waiting => "waiting",
            Self::Sending => "sending",
        }
    }
}

/// A snapshot of one sender; the names are those of `media/_core.pyi`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each figure is described once, in media/_core.pyi")]
pub struct SenderStats {
    pub id: u64,
    pub receiver: u64,
    pub app: String,
    pub name: String,
    pub transport: &'static str,
    pub payload: &'static str,
    pub video: bool,
    pub audio: bool,
    pub ssrc: u32,
    pub port: u16,
    pub over: Option<u64>,
    pub peer: Option<String>,
    pub state: &'static str,
    pub since_ms: u64,
    pub packets: u64,
    pub bytes: u64,
    pub skips: u64,
    pub dropped: u64,
    pub heard_ms: Option<u64>,
}

/// One sender as everybody may see it. Its shard alone writes the figures.
pub(crate) struct Account {
    pub(crate) id: u64,
    pub(crate) entry: Arc<Entry>,
    pub(crate) transport: Transport,
    pub(crate) form: Form,
    pub(crate) ssrc: u32,
    pub(crate) port: u16,
    over: Option<u64>,
    since_ms: u64,
    events: Arc<EventQueue>,
    peer: Mutex<Option<SocketAddr>>,
    state: AtomicU8,
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) skips: AtomicU64,
    pub(crate) dropped: AtomicU64,
    heard_ms: AtomicU64,
    ended: AtomicBool,
}

impl Account {
    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> State {
        State::ALL[usize::from(self.state.load(Ordering::Relaxed)) % State::ALL.len()]
    }

    pub(crate) fn set_peer(&self, peer: SocketAddr) {
        *lock(&self.peer) = Some(peer);
    }

    /// The target said something.
    pub(crate) fn hear(&self, wall_ms: u64) {
        self.heard_ms.store(wall_ms, Ordering::Relaxed);
    }

    /// Tells an event of this sender.
    pub(crate) fn tell(&self, kind: Kind, reason: Option<&Reason>) {
        let mut detail = vec![("sender", self.id.to_string()), ("ssrc", self.ssrc.to_string())];
        detail.extend(lock(&self.peer).map(|peer| ("peer", peer.to_string())));
        detail.extend(reason.map(Reason::detail).into_iter().flatten());
        self.events.push(self.entry.event(kind, clock::wall_ms(), detail));
    }

    /// Tells the last event; later ones are not told.
    pub(crate) fn end(&self, kind: Kind, reason: &Reason) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.tell(kind, Some(reason));
        }
    }

    fn stats(&self) -> SenderStats {
        let heard_ms = self.heard_ms.load(Ordering::Relaxed);
        SenderStats {
            id: self.id,
            receiver: self.entry.id,
            app: self.entry.app.to_string(),
            name: self.entry.name.to_string(),
            transport: self.transport.name(),
            payload: self.form.payload.name(),
            video: self.form.selection.video,
            audio: self.form.selection.audio,
            ssrc: self.ssrc,
            port: self.port,
            over: self.over,
            peer: lock(&self.peer).map(|peer| peer.to_string()),
            state: self.state().name(),
            since_ms: self.since_ms,
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            skips: self.skips.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            heard_ms: (heard_ms > 0).then_some(heard_ms),
        }
    }
}

#[derive(Default)]
struct Accounts {
    by_id: BTreeMap<u64, Arc<Account>>,
    last_id: u64,
}

/// The senders of a core.
#[derive(Default)]
pub(crate) struct Directory(Mutex<Accounts>);

/// A sender's place in the directory; it is gone when this is dropped.
pub(crate) struct Listed {
    directory: Arc<Directory>,
    pub(crate) account: Arc<Account>,
}

/// What an account begins with.
pub(crate) struct Beginning {
    pub(crate) entry: Arc<Entry>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) transport: Transport,
    pub(crate) form: Form,
    pub(crate) ssrc: u32,
    pub(crate) port: u16,
    pub(crate) over: Option<u64>,
    pub(crate) peer: Option<SocketAddr>,
}

impl Directory {
    pub(crate) fn enter(self: &Arc<Self>, beginning: Beginning) -> Listed {
        let Beginning { entry, events, transport, form, ssrc, port, over, peer } = beginning;
        let state = match transport {
            _ if over.is_some() => State::Listening,
            Transport::Udp => State::Waiting,
            Transport::TcpActive => State::Connecting,
            Transport::TcpPassive => State::Listening,
        };
        let mut accounts = lock(&self.0);
        accounts.last_id += 1;
        let account = Arc::new(Account {
            id: accounts.last_id,
            entry,
            transport,
            form,
            ssrc,
            port,
            over,
            since_ms: clock::wall_ms(),
            events,
            peer: Mutex::new(peer),
            state: AtomicU8::new(state as u8),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            skips: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        accounts.by_id.insert(account.id, Arc::clone(&account));
        Listed { directory: Arc::clone(self), account }
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Account>> {
        lock(&self.0).by_id.get(&id).cloned()
    }

    /// How many there are of one stream.
    pub(crate) fn of_stream(&self, receiver: u64) -> usize {
        lock(&self.0).by_id.values().filter(|account| account.entry.id == receiver).count()
    }

    pub(crate) fn stats(&self) -> Vec<SenderStats> {
        let accounts: Vec<_> = lock(&self.0).by_id.values().cloned().collect();
        accounts.iter().map(|account| account.stats()).collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.directory.0).by_id.remove(&self.account.id);
        // Its stream had gone before it could begin.
        self.account.end(Kind::SenderFailed, &Reason::StreamOver);
    }
}
