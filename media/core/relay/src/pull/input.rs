//! One input of a pulled stream: a task that makes one attempt after another and tells what comes of them.
//!
//! The input that feeds the stream and those that stand by differ only in what is done with what they tell.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::sleep,
};
use wire::{
    media::{AccessUnit, Kind as TrackKind, Tracks},
    unpack::Output,
};

use super::{Puller, attempt::Attempt, backoff::Backoff, connect::Judge, fetch, order::Order};
use crate::{clock, config::Transport, feed::Portion};

/// Portions of an input that may be on their way.
const PORTIONS: usize = 4;
/// Bytes of units that an input which stands by keeps, from its newest key frame on.
const KEPT_MAX: usize = 16 << 20;

/// What else there is to say of an event.
pub(super) type Detail = Vec<(&'static str, String)>;

/// What an input tells.
pub(super) enum Note {
    /// An attempt begins, with readers of its own.
    Connecting,
    /// The source is there; its address, if it has one.
    Connected(Option<SocketAddr>),
    CarriedBy(Transport, &'static str),
    /// Units; the credit goes back when they are handled.
    Portion(Portion, OwnedSemaphorePermit),
    /// The attempt is over; whether it was connected.
    Failed(bool, Detail),
}

/// Where an attempt leaves what it tells.
#[derive(Clone)]
pub(super) struct Outlet {
    notes: mpsc::UnboundedSender<Note>,
    credit: Arc<Semaphore>,
}

impl Outlet {
    /// Nobody is left to hear it once the input was given up: then the task is about to end.
    pub(super) fn tell(&self, note: Note) {
        let _ = self.notes.send(note);
    }

    /// Hands on a portion; waits while too many are on their way. False if nobody listens.
    pub(super) async fn send(&self, portion: Portion) -> bool {
        let Ok(credit) = Arc::clone(&self.credit).acquire_owned().await else { return false };
        self.notes.send(Note::Portion(portion, credit)).is_ok()
    }
}

/// An input that runs; its task ends with it.
pub(super) struct Input {
    pub(super) order: Arc<Order>,
    notes: mpsc::UnboundedReceiver<Note>,
    task: JoinHandle<()>,
    /// A connection stands.
    pub(super) connected: bool,
    /// Its other end.
    pub(super) peer: Option<SocketAddr>,
    pub(super) carrier: Option<(Transport, &'static str)>,
    /// It was told to be ready: it stands by, and its connection brought pictures or sound.
    pub(super) ready: bool,
    pub(super) kept: Kept,
}

impl Drop for Input {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Input {
    /// Begins to fetch `order`.
    pub(super) fn start(order: Arc<Order>, puller: Arc<Puller>, may: Judge) -> Self {
        let (sender, notes) = mpsc::unbounded_channel();
        let outlet = Outlet { notes: sender, credit: Arc::new(Semaphore::new(PORTIONS)) };
        let task = tokio::spawn(repeat(Arc::clone(&order), puller, may, outlet));
        let (connected, ready) = (false, false);
        Self { order, notes, task, connected, peer: None, carrier: None, ready, kept: Kept::default() }
    }

    /// What it tells next; `None` if its task broke.
    pub(super) fn poll_note(&mut self, cx: &mut Context<'_>) -> Poll<Option<Note>> {
        self.notes.poll_recv(cx)
    }

    /// Keeps in mind what a note says, whoever uses it.
    pub(super) fn notice(&mut self, note: &Note) {
        match note {
            Note::Connecting | Note::Failed(..) => {
                (self.connected, self.ready, self.peer) = (false, false, None);
                self.kept = Kept::default();
            }
            Note::Connected(peer) => (self.connected, self.peer) = (true, *peer),
            Note::CarriedBy(transport, payload) => self.carrier = Some((*transport, *payload)),
            Note::Portion(..) => {}
        }
    }
}

/// What an input that stands by has ready: its units from the newest key frame on.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) tracks: Option<Arc<Tracks>>,
    pub(super) units: VecDeque<AccessUnit>,
    bytes: usize,
}

impl Kept {
    pub(super) fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Tracks(tracks) => self.tracks = Some(tracks),
                Output::Unit(unit) => self.keep(unit),
                Output::Payload(_) | Output::Fault(_) => {}
            }
        }
    }

    fn keep(&mut self, unit: AccessUnit) {
        let pictures = unit.tracks.video.is_some();
        let begins = unit.kind == TrackKind::Video && unit.key;
        if begins || !pictures {
            self.clear();
        } else if self.units.is_empty() {
            return; // nothing can begin with it
        }
        self.bytes += unit.data.len();
        self.units.push_back(unit);
        if self.bytes > KEPT_MAX {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.units.clear();
        self.bytes = 0;
    }
}

/// One attempt after another, with growing waits.
async fn repeat(order: Arc<Order>, puller: Arc<Puller>, may: Judge, outlet: Outlet) {
    let mut backoff = Backoff::new(puller.patience.retry);
    loop {
        outlet.tell(Note::Connecting);
        puller.tried.fetch_add(1, Ordering::Relaxed);
        let mut attempt = Attempt::new(&order, &puller, may, &outlet);
        let Err(failure) = fetch(&mut attempt).await;
        let flowed = attempt.connected_at().map(|begun| clock::now().saturating_duration_since(begun));
        // What comes to its own end, as films do, begins again, and nothing is wrong with it.
        let is_end = failure.is_own_end() && attempt.has_brought();
        if is_end {
            backoff.handle_end();
        }
        let wait = backoff.wait(flowed.unwrap_or_default(), RandomState::new().hash_one(0));
        let counter = if flowed.is_some() { &puller.lost } else { &puller.failed };
        counter.fetch_add(u64::from(!is_end), Ordering::Relaxed);
        let detail = vec![
            ("reason", failure.to_string()),
            ("cause", failure.cause()),
            ("retry_ms", wait.as_millis().to_string()),
            ("brought", u8::from(attempt.has_brought()).to_string()),
        ];
        outlet.tell(Note::Failed(flowed.is_some(), detail));
        sleep(wait).await;
    }
}
