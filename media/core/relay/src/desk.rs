//! The streams as the front door sees them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;
use wire::{hls::Container, media::Tracks};

use crate::{
    clock,
    door::{Access, Answer, Credential, Denied, Directory, Feed, Player, Question, Seat, Viewer},
    events::{EventQueue, Kind},
    hub::Order,
    options::Output,
    playback::{Playbacks, Steering},
    questions::{Asked, Questions},
    shard::inbox::{Command, Inbox},
    table::{Entry, Table},
};

/// What is remembered of those who came to watch.
#[derive(Default)]
pub(crate) struct Admission {
    pub(crate) questions: Questions,
    /// Viewers turned away because their stream had as many as it may have.
    pub(crate) full: AtomicU64,
}

/// Answers the door from the table, puts its questions to the listener of events, and passes viewers on to the shards.
pub(crate) struct Desk {
    pub(crate) table: Arc<Table>,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) playbacks: Arc<Playbacks>,
}

impl Desk {
    fn entry(&self, app: &str, name: &str) -> Result<Arc<Entry>, Denied> {
        self.table.by_name(app, name).ok_or(Denied::Gone)
    }

    /// Puts a question to the listener of events, unless the same one is open; `again` as in a [`Question`].
    fn put(
        &self,
        entry: &Entry,
        (kind, subject, again): (Kind, &str, bool),
        (peer, protocol): (SocketAddr, &'static str),
        shown: Vec<(&'static str, String)>,
    ) -> Answer {
        let questions = &self.admission.questions;
        let (ticket, answer) =
            match questions.ask(clock::now(), entry.id, subject, peer.ip().to_canonical(), again) {
                Asked::Known(answer) => return Answer::Known(answer),
                Asked::Busy => return Answer::Busy,
                Asked::Open { ticket, answer } => (ticket, answer),
            };
        if let Some(ticket) = ticket {
            let mut detail = vec![
                ("ticket", ticket.to_string()),
                ("app", entry.app.to_string()),
                ("name", entry.name.to_string()),
                ("peer", peer.to_string()),
                ("protocol", protocol.to_owned()),
            ];
            detail.extend(shown);
            self.events.push(entry.event(kind, clock::wall_ms(), detail));
        }
        Answer::Later(answer)
    }

    fn count_full<T>(&self, result: Result<T, Denied>) -> Result<T, Denied> {
        if let Err(Denied::Full) = result {
            self.admission.full.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl Directory for Desk {
    fn access(&self, app: &str, name: &str) -> Option<Access> {
        let rights = self.table.lately(app, name)?.rights.get();
        Some(if rights.private { Access::Private { generation: rights.generation } } else { Access::Public })
    }

    fn ask(&self, question: &Question<'_>) -> Answer {
        let &Question { app, name, peer, protocol, credential, again } = question;
        let Some(entry) = self.table.lately(app, name) else { return Answer::Unknown };
        let (subject, shown) = match credential {
            Credential::Token(token) => (format!("token {token}"), vec![("token", token.to_owned())]),
            Credential::Proof(proof) => (proof.subject(), proof.detail()),
        };
        self.put(&entry, (Kind::Play, &subject, again), (peer, protocol), shown)
    }

    fn ask_for_aac(&self, app: &str, name: &str, peer: SocketAddr, protocol: &'static str) -> Answer {
        let Ok(entry) = self.entry(app, name) else { return Answer::Unknown };
        self.put(&entry, (Kind::Aac, "aac", false), (peer, protocol), vec![])
    }

    fn tracks(&self, app: &str, name: &str) -> Option<watch::Receiver<Option<Arc<Tracks>>>> {
        Some(self.table.by_name(app, name)?.feeds.tracks())
    }

    fn playback(&self, app: &str, name: &str) -> Option<Arc<Steering>> {
        self.playbacks.find(self.table.by_name(app, name)?.id)
    }

    fn seat(&self, app: &str, name: &str, output: Output) -> Result<Seat, Denied> {
        let entry = self.entry(app, name)?;
        self.count_full(entry.feeds.seat(output, entry.rights.get().viewers_max))
    }

    fn attach(&self, app: &str, name: &str, viewer: Viewer) {
        if let Some(entry) = self.table.by_name(app, name) {
            self.inboxes[entry.shard].push(Command::Attach { receiver: entry.id, viewer });
        }
    }

    fn segments(
        &self,
        app: &str,
        name: &str,
        container: Container,
        player: Player<'_>,
    ) -> Result<Feed, Denied> {
        let entry = self.table.lately(app, name).ok_or(Denied::Gone)?;
        let max = entry.rights.get().viewers_max;
        let (feed, publisher) =
            self.count_full(entry.feeds.ask((clock::now(), clock::wall_ms()), container, player, max))?;
        if let Some(publisher) = publisher {
            let command = Command::Hub { receiver: entry.id, order: Order::Segment(container, publisher) };
            self.inboxes[entry.shard].push(command);
        }
        Ok(feed)
    }
}
