//! Where the door finds a stream's HLS segments, and how many watch in whatever way: the one place of a stream that two threads share, touched once a
//! request and once a segment.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wire::{
    hls::{Container, Window},
    media::Tracks,
};

use crate::{
    door::{Denied, Feed, Seat},
    table::lock,
};

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
    /// Viewers of live streams; changed upwards under the lock of `slots` only.
    seats: Arc<AtomicU32>,
    tracks: watch::Sender<Option<Arc<Tracks>>>,
}

impl Feeds {
    /// Tells the tracks to whoever must describe the stream.
    pub(crate) fn set_tracks(&self, tracks: Arc<Tracks>) {
        self.tracks.send_replace(Some(tracks));
    }

    /// Where the tracks appear; the sender is dropped when the stream ends.
    pub(crate) fn tracks(&self) -> watch::Receiver<Option<Arc<Tracks>>> {
        self.tracks.subscribe()
    }

    /// Takes a place for a viewer of the live stream if fewer than `max` watch (0: no limit).
    pub(crate) fn seat(&self, max: u32) -> Result<Seat, Denied> {
        let slots = lock(&self.slots);
        if max > 0 && self.watching(&*slots) >= max {
            return Err(Denied::Full);
        }
        Ok(Seat::new(&self.seats))
    }

    /// A player asks: where its segments appear, and the other end if a segmenter must be started for it. A player that
    /// is new takes a place as `seat` does.
    pub(crate) fn ask(
        &self,
        now: Instant,
        container: Container,
        player: u64,
        max: u32,
    ) -> Result<(Feed, Option<Publisher>), Denied> {
        let mut slots = lock(&self.slots);
        let known = slots[number(container)].as_ref().is_some_and(|slot| slot.players.contains_key(&player));
        if max > 0 && !known && self.watching(&*slots) >= max {
            return Err(Denied::Full);
        }
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
        Ok((slot.feed.clone(), publisher))
    }

    fn watching(&self, slots: &[Option<Slot>]) -> u32 {
        players(slots) + self.seats.load(Ordering::Relaxed)
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
        players(&*lock(&self.slots))
    }

    /// Bytes the door has sent.
    pub(crate) fn bytes_out(&self) -> u64 {
        let slots = lock(&self.slots);
        let now = slots.iter().flatten().map(|slot| slot.feed.bytes_out.load(Ordering::Relaxed)).sum::<u64>();
        self.sent_before.load(Ordering::Relaxed) + now
    }
}

fn players(slots: &[Option<Slot>]) -> u32 {
    slots.iter().flatten().map(|slot| slot.players.len() as u32).sum()
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
        let (feed, publisher) = feeds.ask(start, Container::Ts, 1, 0).unwrap();
        assert!(publisher.is_some() && feed.window.borrow().is_none());
        let later = start + IDLE / 2;
        assert!(feeds.ask(later, Container::Ts, 2, 0).unwrap().1.is_none());
        assert!(feeds.ask(later, Container::Fmp4, 2, 0).unwrap().1.is_some());
        assert_eq!(feeds.players(), 3);
        feed.bytes_out.fetch_add(100, Ordering::Relaxed);
        assert!(feeds.check(start + IDLE, Container::Ts));
        assert_eq!(feeds.players(), 2);
        assert!(!feeds.check(later + IDLE, Container::Ts));
        assert_eq!((feeds.players(), feeds.bytes_out()), (1, 100));
        assert!(feeds.ask(later + IDLE, Container::Ts, 1, 0).unwrap().1.is_some(), "it starts anew");
    }

    #[test]
    fn places_are_shared_by_all_who_watch_and_freed_by_those_who_leave() {
        let start = clock::now();
        let feeds = Feeds::default();
        let seat = feeds.seat(2).unwrap();
        feeds.ask(start, Container::Ts, 1, 2).unwrap();
        assert_eq!(feeds.seat(2).unwrap_err(), Denied::Full);
        assert_eq!(feeds.ask(start, Container::Ts, 2, 2).unwrap_err(), Denied::Full);
        feeds.ask(start, Container::Ts, 1, 2).expect("it has its place");
        feeds.seat(0).expect("without a limit there is always room");
        drop(seat);
        let seat = feeds.seat(2).unwrap();
        assert!(!feeds.check(start + IDLE, Container::Ts));
        feeds.ask(start + IDLE, Container::Ts, 2, 2).expect("the other player is gone");
        drop(seat);
        assert_eq!(feeds.watching(&*lock(&feeds.slots)), 1);
    }
}
