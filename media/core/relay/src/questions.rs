//! Whether the bearer of a token may play: asked of whoever listens to events, as only the application knows tokens.
//!
//! Pure but for its lock; `now` is passed in. A question is open for 5 s. The same token asked about for the same stream
//! joins the open question. Players of HLS ask with every segment: for them an answer is kept for a while.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::table::lock;

/// An unanswered question is refused after so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that are open at once; one more is answered 503.
const OPEN_MAX: usize = 256;
/// Of these, from one address.
const OPEN_PEER_MAX: usize = 16;
/// How long a yes and a no are kept for players of HLS.
const KEEP_YES: Duration = Duration::from_secs(30);
const KEEP_NO: Duration = Duration::from_secs(5);
/// Answers that are kept; beyond it, players ask anew.
const KEPT_MAX: usize = 4096;

/// A stream and a token, which is not kept itself.
type Subject = (u64, [u8; 32]);

struct Open {
    subject: Subject,
    peer: IpAddr,
    until: Instant,
    keep: bool,
    askers: Vec<oneshot::Sender<bool>>,
}

#[derive(Default)]
struct State {
    last: u64,
    open: BTreeMap<u64, Open>, // by ticket, so the oldest stand first
    kept: HashMap<Subject, (bool, Instant)>,
}

/// What becomes of a question.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The answer is known.
    Known(bool),
    /// The answer will come, or the sender is dropped. `ticket` is told if the question is new: raise the event.
    Open { ticket: Option<u64>, answer: oneshot::Receiver<bool> },
    /// Too many are open.
    Busy,
}

/// The open questions of a core.
#[derive(Default)]
pub(crate) struct Questions {
    state: Mutex<State>,
    /// Questions put.
    pub(crate) asked: AtomicU64,
    /// Questions that nobody answered in time.
    pub(crate) unanswered: AtomicU64,
    /// Questions refused because too many were open.
    pub(crate) busy: AtomicU64,
}

impl Questions {
    /// Asks whether the bearer of `token` at `peer` may play stream `receiver`; `keep`: an answer may be some seconds old.
    pub(crate) fn ask(&self, now: Instant, receiver: u64, token: &str, peer: IpAddr, keep: bool) -> Asked {
        let subject = (receiver, Sha256::digest(token.as_bytes()).into());
        let mut state = lock(&self.state);
        if keep
            && let Some(&(allowed, until)) = state.kept.get(&subject)
            && now < until
        {
            return Asked::Known(allowed);
        }
        self.expire(&mut state, now);
        let (sender, answer) = oneshot::channel();
        if let Some(open) = state.open.values_mut().find(|open| open.subject == subject) {
            open.keep |= keep;
            open.askers.push(sender);
            return Asked::Open { ticket: None, answer };
        }
        let of_peer = state.open.values().filter(|open| open.peer == peer).count();
        if state.open.len() >= OPEN_MAX || of_peer >= OPEN_PEER_MAX {
            self.busy.fetch_add(1, Ordering::Relaxed);
            return Asked::Busy;
        }
        state.last += 1;
        let ticket = state.last;
        let open = Open { subject, peer, until: now + PATIENCE, keep, askers: vec![sender] };
        state.open.insert(ticket, open);
        self.asked.fetch_add(1, Ordering::Relaxed);
        Asked::Open { ticket: Some(ticket), answer }
    }

    /// Answers a question; one that is not open any more is passed over.
    pub(crate) fn answer(&self, now: Instant, ticket: u64, allowed: bool) {
        let mut state = lock(&self.state);
        self.expire(&mut state, now);
        let Some(open) = state.open.remove(&ticket) else { return };
        if open.keep {
            if state.kept.len() >= KEPT_MAX {
                state.kept.retain(|_, (_, until)| now < *until);
            }
            if state.kept.len() < KEPT_MAX {
                let keep = if allowed { KEEP_YES } else { KEEP_NO };
                state.kept.insert(open.subject, (allowed, now + keep));
            }
        }
        for asker in open.askers {
            // Who went away meanwhile needs no answer.
            let _ = asker.send(allowed);
        }
    }

    fn expire(&self, state: &mut State, now: Instant) {
        while let Some(first) = state.open.first_entry()
            && first.get().until <= now
        {
            first.remove();
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn open(asked: Asked) -> (Option<u64>, oneshot::Receiver<bool>) {
        match asked {
            Asked::Open { ticket, answer } => (ticket, answer),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_answer_serves_all_who_ask_the_same() {
        let (now, questions) = (clock::now(), Questions::default());
        let (ticket, mut first) = open(questions.ask(now, 1, "t", PEER, false));
        let (again, mut second) = open(questions.ask(now, 1, "t", PEER, false));
        let (other, mut third) = open(questions.ask(now, 2, "t", PEER, false));
        assert_eq!((ticket, again, other), (Some(1), None, Some(2)));
        questions.answer(now, 1, true);
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(true), Ok(true)));
        assert!(third.try_recv().is_err());
        questions.answer(now, 2, false);
        questions.answer(now, 2, true);
        questions.answer(now, 77, true);
        assert_eq!(third.try_recv(), Ok(false));
        assert_eq!(questions.asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_unanswered_question_is_dropped_and_may_be_asked_again() {
        let (now, questions) = (clock::now(), Questions::default());
        let (_, mut answer) = open(questions.ask(now, 1, "t", PEER, false));
        let (ticket, _) = open(questions.ask(now + PATIENCE, 1, "t", PEER, false));
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!((ticket, questions.unanswered.load(Ordering::Relaxed)), (Some(2), 1));
    }

    #[test]
    fn answers_are_kept_for_players_that_come_back_and_for_no_others() {
        let (now, questions) = (clock::now(), Questions::default());
        for (token, allowed, keep) in [("yes", true, KEEP_YES), ("no", false, KEEP_NO)] {
            let (ticket, _answer) = open(questions.ask(now, 1, token, PEER, true));
            questions.answer(now, ticket.unwrap(), allowed);
            let later = now + keep;
            let just_before = now + keep.saturating_sub(Duration::from_millis(1));
            assert!(
                matches!(questions.ask(just_before, 1, token, PEER, true), Asked::Known(known) if known == allowed)
            );
            assert!(matches!(questions.ask(now, 1, token, PEER, false), Asked::Open { .. }));
            assert!(matches!(questions.ask(now, 2, token, PEER, true), Asked::Open { .. }));
            assert!(matches!(questions.ask(later, 1, token, PEER, true), Asked::Open { .. }));
        }
    }

    #[test]
    fn open_questions_are_bounded_in_all_and_for_one_address() {
        let (now, questions) = (clock::now(), Questions::default());
        let ask = |number: usize, peer: u8| {
            questions.ask(now, 1, &number.to_string(), Ipv4Addr::new(10, 0, 0, peer).into(), false)
        };
        (0..OPEN_PEER_MAX).for_each(|number| drop(open(ask(number, 1))));
        assert!(matches!(ask(100, 1), Asked::Busy));
        (0..OPEN_MAX - OPEN_PEER_MAX)
            .for_each(|number| drop(open(ask(1000 + number, 2 + number as u8 / 16))));
        assert!(matches!(ask(9999, 200), Asked::Busy));
        assert_eq!(questions.busy.load(Ordering::Relaxed), 2);
    }
}
