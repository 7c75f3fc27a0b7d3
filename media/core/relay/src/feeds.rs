//! Where the door finds a stream's HLS segments: the one place of a stream that two threads share, touched once a
//! request and once a segment.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wire::hls::{Container, Window};

use crate::{door::Feed, table::lock};

/// A player that asked for nothing for so long is gone; with the last one, segmenting ends.
const IDLE: Duration = Duration::from_secs(20);

/// Players told apart; beyond it they are served and not counted.
const PLAYERS_MAX: usize = 10_000;

/// The shard's end of a feed.
pub(crate) type Publisher = watch::Sender<Option<Arc<Window>>>;

struct Slot {
    feed: Feed,
    asked: Instant,
    players: HashMap<u64, Instant>,
}

/// The feeds of one stream, by container.
#[derive(Default)]
pub(crate) struct Feeds {
    slots: Mutex<[Option<Slot>; 2]>,
    /// Bytes that feeds which ended had sent.
    sent_before: AtomicU64,
}

impl Feeds {
    /// A player asks: where its segments appear, and the other end if a segmenter must be started for it.
    pub(crate) fn ask(&self, now: Instant, container: Container, player: u64) -> (Feed, Option<Publisher>) {
        let mut slots = lock(&self.slots);
        let slot = &mut slots[number(container)];
        let mut publisher = None;
        let slot = slot.get_or_insert_with(|| {
            let (sender, window) = watch::channel(None);
            publisher = Some(sender);
            let feed = Feed { window, bytes_out: Arc::default() };
            Slot { feed, asked: now, players: HashMap::new() }
        });
        slot.asked = now;
        if slot.players.len() < PLAYERS_MAX || slot.players.contains_key(&player) {
            slot.players.insert(player, now);
        }
        (slot.feed.clone(), publisher)
    }

    /// Forgets players that are gone; false if nobody wants this container any more.
    pub(crate) fn check(&self, now: Instant, container: Container) -> bool {
        let mut slots = lock(&self.slots);
        let entry = &mut slots[number(container)];
        let Some(slot) = entry else { return false };
        slot.players.retain(|_, asked| now.saturating_duration_since(*asked) < IDLE);
        if now.saturating_duration_since(slot.asked) < IDLE {
            return true;
        }
        self.sent_before.fetch_add(slot.feed.bytes_out.load(Ordering::Relaxed), Ordering::Relaxed);
        *entry = None;
        false
    }

    /// Players that asked lately.
    pub(crate) fn players(&self) -> u32 {
        lock(&self.slots).iter().flatten().map(|slot| slot.players.len() as u32).sum()
    }

    /// Bytes the door has sent.
    pub(crate) fn bytes_out(&self) -> u64 {
        let slots = lock(&self.slots);
        let now = slots.iter().flatten().map(|slot| slot.feed.bytes_out.load(Ordering::Relaxed)).sum::<u64>();
        self.sent_before.load(Ordering::Relaxed) + now
    }
}

/// The containers in the order of their slots.
pub(crate) const CONTAINERS: [Container; 2] = [Container::Ts, Container::Fmp4];

pub(crate) fn number(container: Container) -> usize {
    usize::from(container == Container::Fmp4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_first_player_starts_a_feed_and_the_last_one_ends_it() {
        let start = clock::now();
        let feeds = Feeds::default();
        let (feed, publisher) = feeds.ask(start, Container::Ts, 1);
        assert!(publisher.is_some() && feed.window.borrow().is_none());
        let later = start + IDLE / 2;
        assert!(feeds.ask(later, Container::Ts, 2).1.is_none());
        assert!(feeds.ask(later, Container::Fmp4, 2).1.is_some());
        assert_eq!(feeds.players(), 3);
        feed.bytes_out.fetch_add(100, Ordering::Relaxed);
        assert!(feeds.check(start + IDLE, Container::Ts));
        assert_eq!(feeds.players(), 2);
        assert!(!feeds.check(later + IDLE, Container::Ts));
        assert_eq!((feeds.players(), feeds.bytes_out()), (1, 100));
        assert!(feeds.ask(later + IDLE, Container::Ts, 1).1.is_some(), "it starts anew");
    }
}
