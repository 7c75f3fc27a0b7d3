//! Publishers that wait to be told whether they may.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use crate::{feed::Feeder, table::lock};

/// What a publisher is told.
pub(crate) enum Decision {
    /// Its stream is open.
    Accepted(Feeder),
    /// It may not; why.
    Refused(String),
}

#[derive(Default)]
struct Waiting {
    last: u64,
    askers: HashMap<u64, oneshot::Sender<Decision>>,
}

/// Everybody who waits, by ticket; as many as there are connections.
#[derive(Default)]
pub(crate) struct Publishers(Mutex<Waiting>);

impl Publishers {
    /// Takes somebody in.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        let mut waiting = lock(&self.0);
        waiting.last += 1;
        let ticket = waiting.last;
        let (sender, answer) = oneshot::channel();
        waiting.askers.insert(ticket, sender);
        Asking { publishers: Arc::clone(self), ticket, answer }
    }

    /// Whether somebody waits with this ticket.
    pub(crate) fn is_waiting(&self, ticket: u64) -> bool {
        lock(&self.0).askers.contains_key(&ticket)
    }

    /// Tells somebody; false if nobody waits with this ticket any more.
    pub(crate) fn answer(&self, ticket: u64, decision: Decision) -> bool {
        let asker = lock(&self.0).askers.remove(&ticket);
        asker.is_some_and(|asker| asker.send(decision).is_ok())
    }
}

/// Somebody who waits; forgotten when dropped.
pub(crate) struct Asking {
    publishers: Arc<Publishers>,
    pub(crate) ticket: u64,
    pub(crate) answer: oneshot::Receiver<Decision>,
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
        let refused = |why: &str| Decision::Refused(why.to_owned());
        let (first, mut second) = (publishers.ask(), publishers.ask());
        assert!(publishers.is_waiting(first.ticket) && first.ticket != second.ticket);
        assert!(publishers.answer(second.ticket, refused("no")));
        assert!(matches!(second.answer.try_recv(), Ok(Decision::Refused(why)) if why == "no"));
        assert!(!publishers.answer(second.ticket, refused("again")));
        let ticket = first.ticket;
        drop(first);
        assert!(!publishers.is_waiting(ticket) && !publishers.answer(ticket, refused("gone")));
    }
}
