//! Publishers that wait to be told whether they may: asked about by an event, answered by a call; meanwhile only their own
//! connection waits.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::{
    clock,
    config::Transport,
    events::{Event, EventQueue, Kind},
    feed::Feeder,
    proof::Shown,
    table::lock,
};

/// How long a publisher waits to be told whether it may.
const ANSWER: Duration = Duration::from_secs(10);

/// Somebody who wants to publish.
pub(crate) struct Applicant<'a> {
    pub(crate) app: &'a str,
    pub(crate) name: &'a str,
    /// What stands behind the stream's name.
    pub(crate) query: &'a str,
    pub(crate) peer: SocketAddr,
    pub(crate) transport: Transport,
    /// Who it proved to be, if it did.
    pub(crate) proof: Option<Shown<'a>>,
    /// It proved nothing yet, and will be asked to if it is refused for that.
    pub(crate) challenged: bool,
}

/// What a publisher is told.
pub(crate) enum Decision {
    /// Its stream is open.
    Accepted(Feeder),
    /// It may not.
    Refused {
        reason: String,
        /// It might, if it proved who it is.
        unauthorized: bool,
    },
}

#[derive(Default)]
struct Waiting {
    last: u64,
    askers: HashMap<u64, (Transport, oneshot::Sender<Decision>)>,
}

/// Everybody who waits, by ticket; as many as there are connections.
#[derive(Default)]
pub(crate) struct Publishers(Mutex<Waiting>);

impl Publishers {
    /// Asks whether somebody may publish, and waits for the answer.
    pub(crate) async fn decide(self: &Arc<Self>, events: &EventQueue, applicant: Applicant<'_>) -> Decision {
        let Applicant { app, name, query, peer, transport, proof, challenged } = applicant;
        let mut asking = self.ask(transport);
        let mut detail = vec![
            ("ticket", asking.ticket.to_string()),
            ("app", app.to_owned()),
            ("name", name.to_owned()),
            ("query", query.to_owned()),
            ("peer", peer.to_string()),
            ("protocol", transport.name().to_owned()),
        ];
        if challenged {
            detail.push(("challenged", "1".to_owned()));
        }
        detail.extend(proof.iter().flat_map(Shown::detail));
        events.push(Event::new(Kind::Publish, 0, app, name, clock::wall_ms(), detail));
        match timeout(ANSWER, &mut asking.answer).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(_)) | Err(_) => Decision::Refused {
                reason: "nobody decided about it in time".to_owned(),
                unauthorized: false,
            },
        }
    }

    /// Takes somebody in.
    fn ask(self: &Arc<Self>, transport: Transport) -> Asking {
        let mut waiting = lock(&self.0);
        waiting.last += 1;
        let ticket = waiting.last;
        let (sender, answer) = oneshot::channel();
        waiting.askers.insert(ticket, (transport, sender));
        Asking { publishers: Arc::clone(self), ticket, answer }
    }

    /// How the one who waits with this ticket would publish.
    pub(crate) fn transport(&self, ticket: u64) -> Option<Transport> {
        lock(&self.0).askers.get(&ticket).map(|(transport, _)| *transport)
    }

    /// Tells somebody; false if nobody waits with this ticket any more.
    pub(crate) fn answer(&self, ticket: u64, decision: Decision) -> bool {
        let asker = lock(&self.0).askers.remove(&ticket);
        asker.is_some_and(|(_, asker)| asker.send(decision).is_ok())
    }
}

/// Somebody who waits; forgotten when dropped.
struct Asking {
    publishers: Arc<Publishers>,
    ticket: u64,
    answer: oneshot::Receiver<Decision>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        lock(&self.publishers.0).askers.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_answered_once_and_only_while_somebody_waits() {
        let publishers = Arc::new(Publishers::default());
        let refused = |why: &str| Decision::Refused { reason: why.to_owned(), unauthorized: false };
        let (first, mut second) = (publishers.ask(Transport::Rtmp), publishers.ask(Transport::Rtsp));
        assert_eq!(publishers.transport(first.ticket), Some(Transport::Rtmp));
        assert_eq!(publishers.transport(second.ticket), Some(Transport::Rtsp));
        assert!(publishers.answer(second.ticket, refused("no")));
        assert!(matches!(second.answer.try_recv(), Ok(Decision::Refused { reason, .. }) if reason == "no"));
        assert!(!publishers.answer(second.ticket, refused("again")));
        let ticket = first.ticket;
        drop(first);
        assert!(publishers.transport(ticket).is_none() && !publishers.answer(ticket, refused("gone")));
    }
}
