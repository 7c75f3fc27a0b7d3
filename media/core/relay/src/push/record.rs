//! Which pushes there are, and how each of them stands.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    clock,
    error::Error,
    events::{Event, EventQueue, Kind},
    pull::Failure,
    reason::Reason,
    table::{Entry, lock},
};

/// Pushes of a core; one more is refused.
const PUSHES_MAX: usize = 4096;

/// Where a push stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushState {
    /// The stream does not flow.
    Waiting,
    /// The server was not reached, or did not agree yet.
    Connecting,
    /// The stream is sent.
    Pushing,
    /// It failed and will be tried again.
    Retrying,
}

impl PushState {
    /// The name used outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Pushing => "pushing",
            Self::Retrying => "retrying",
        }
    }
}

/// A push at one moment; the names are those of `media/_core.pyi`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each figure is described once, in media/_core.pyi")]
pub struct PushStats {
    pub id: u64,
    pub receiver: u64,
    pub app: String,
    pub name: String,
    pub url: String,
    pub state: PushState,
    pub since_ms: u64,
    pub bytes_out: u64,
    pub failures: u64,
}

/// What is known of one push.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) receiver: u64,
    app: Arc<str>,
    name: Arc<str>,
    /// Without what is secret.
    url: String,
    state: Mutex<(PushState, u64)>,
    pub(crate) bytes_out: AtomicU64,
    failures: AtomicU64,
}

#[derive(Default)]
struct Listed {
    last: u64,
    /// With what tells each of them to end.
    running: BTreeMap<u64, (Arc<Record>, watch::Sender<bool>)>,
}

/// All pushes of a core.
pub(crate) struct Pushes {
    events: Arc<EventQueue>,
    listed: Mutex<Listed>,
    /// Connections that took a stream.
    pub(crate) connected: AtomicU64,
    /// Those that failed, before or after.
    pub(crate) failed: AtomicU64,
    /// Bytes of pushes that are over.
    bytes_before: AtomicU64,
}

impl Pushes {
    pub(crate) fn new(events: Arc<EventQueue>) -> Self {
        let (connected, failed, bytes_before) = Default::default();
        Self { events, listed: Mutex::default(), connected, failed, bytes_before }
    }

    /// Takes a push in.
    pub(super) fn enter(self: &Arc<Self>, entry: &Entry, url: String) -> Result<Presence, Error> {
        let mut listed = lock(&self.listed);
        if listed.running.len() >= PUSHES_MAX {
            return Err(Error::Invalid(format!("cannot push: {PUSHES_MAX} pushes are open already")));
        }
        listed.last += 1;
        let record = Arc::new(Record {
            id: listed.last,
            receiver: entry.id,
            app: Arc::clone(&entry.app),
            name: Arc::clone(&entry.name),
            url,
            state: Mutex::new((PushState::Waiting, clock::wall_ms())),
            bytes_out: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let (close, closing) = watch::channel(false);
        listed.running.insert(record.id, (Arc::clone(&record), close));
        Ok(Presence { record, closing, pushes: Arc::clone(self), reason: Reason::Closed })
    }

    /// Closes a push, which takes its leave of the server; an unknown one is ignored.
    pub(crate) fn close(&self, push: u64) {
        if let Some((_, close)) = lock(&self.listed).running.get(&push) {
            close.send_replace(true);
        }
    }

    /// All that are open, the oldest first.
    pub(crate) fn stats(&self) -> Vec<PushStats> {
        let listed = lock(&self.listed);
        let stats = |record: &Record| {
            let (state, since_ms) = *lock(&record.state);
            PushStats {
                id: record.id,
                receiver: record.receiver,
                app: record.app.to_string(),
                name: record.name.to_string(),
                url: record.url.clone(),
                state,
                since_ms,
                bytes_out: record.bytes_out.load(Ordering::Relaxed),
                failures: record.failures.load(Ordering::Relaxed),
            }
        };
        listed.running.values().map(|(record, _)| stats(record)).collect()
    }

    /// What the core counts of pushes, by Prometheus name.
    pub(crate) fn counters(&self) -> [(&'static str, u64); 5] {
        let stats = self.stats();
        let flowing = stats.iter().filter(|push| push.state == PushState::Pushing).count();
        let bytes: u64 = stats.iter().map(|push| push.bytes_out).sum();
        [
            ("relay_pushes", stats.len() as u64),
            ("relay_pushes_flowing", flowing as u64),
            ("relay_push_connections_total", self.connected.load(Ordering::Relaxed)),
            ("relay_push_failures_total", self.failed.load(Ordering::Relaxed)),
            ("relay_push_bytes_sent_total", bytes + self.bytes_before.load(Ordering::Relaxed)),
        ]
    }
}

/// A push among the others, from its beginning until this is dropped: event `push_ended`.
pub(crate) struct Presence {
    pub(super) record: Arc<Record>,
    closing: watch::Receiver<bool>,
    pushes: Arc<Pushes>,
    reason: Reason,
}

impl Presence {
    /// Waits until somebody closes the push.
    pub(super) async fn closed(&self) {
        let mut closing = self.closing.clone();
        // What could close it lives as long as this.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Where the push stands from now on.
    pub(super) fn set(&self, state: PushState) {
        *lock(&self.record.state) = (state, clock::wall_ms());
        if state == PushState::Pushing {
            self.pushes.connected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It failed, and will be tried again after `wait`.
    pub(super) fn fail(&self, failure: &Failure, wait: Duration) {
        self.record.failures.fetch_add(1, Ordering::Relaxed);
        self.pushes.failed.fetch_add(1, Ordering::Relaxed);
        self.set(PushState::Retrying);
        let detail = vec![
            ("reason", failure.to_string()),
            ("cause", failure.cause()),
            ("retry_ms", wait.as_millis().to_string()),
        ];
        self.tell(Kind::PushFailed, detail);
    }

    /// Says why it ends.
    pub(super) fn end(&mut self, reason: Reason) {
        self.reason = reason;
    }

    pub(super) fn tell(&self, kind: Kind, mut detail: Vec<(&'static str, String)>) {
        let Record { id, receiver, ref app, ref name, .. } = *self.record;
        detail.insert(0, ("push", id.to_string()));
        let (app, name) = (Arc::clone(app), Arc::clone(name));
        self.pushes.events.push(Event::new(kind, receiver, app, name, clock::wall_ms(), detail));
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        lock(&self.pushes.listed).running.remove(&self.record.id);
        let sent = self.record.bytes_out.load(Ordering::Relaxed);
        self.pushes.bytes_before.fetch_add(sent, Ordering::Relaxed);
        self.tell(Kind::PushEnded, self.reason.detail().to_vec());
    }
}
