//! Where the door finds a stream's HLS segments, and how many watch in whatever way: the one place of a stream that two threads share, touched once a
//! request and once a segment.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wire::{
    hls::{Container, Window},
    media::Tracks,
};

use crate::{
    door::{Denied, Feed, Player, Seat, Seats},
    options::{Output, Outputs, StreamOptions},
    table::lock,
    viewers::{self, ViewerStats},
};

/// A player that asked for nothing for so long is gone; with the last one, segmenting ends.
const IDLE: Duration = Duration::from_secs(20);

/// A player that was sent away is refused for so long.
const AWAY: Duration = Duration::from_secs(60);

/// Players told apart; beyond it they are served and not counted.
const PLAYERS_MAX: usize = 10_000;

/// The shard's end of a feed.
pub(crate) type Publisher = watch::Sender<Option<Arc<Window>>>;

struct Slot {
    window: watch::Receiver<Option<Arc<Window>>>,
    bytes_out: Arc<AtomicU64>,
    /// When a player last did; none may have, where segments are kept ready.
    asked: Option<Instant>,
    players: HashMap<u64, Watching>,
}

impl Slot {
    /// One that a player asks for, and the other end.
    fn new(now: Instant) -> (Self, Publisher) {
        let (publisher, window) = watch::channel(None);
        (Self { window, bytes_out: Arc::default(), asked: Some(now), players: HashMap::new() }, publisher)
    }

    fn is_asked(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < IDLE)
    }
}

/// A player that asks.
struct Watching {
    id: u64,
    asked: Instant,
    since_ms: u64,
    peer: SocketAddr,
    agent: Box<str>,
    bytes_out: Arc<AtomicU64>,
}

impl Watching {
    fn new((now, wall_ms): (Instant, u64), player: Player<'_>) -> Self {
        Self {
            id: viewers::next_id(),
            asked: now,
            since_ms: wall_ms,
            peer: player.peer,
            agent: player.agent.into(),
            bytes_out: Arc::default(),
        }
    }

    fn stats(&self) -> ViewerStats {
        ViewerStats {
            id: self.id,
            protocol: "hls",
            peer: Some(self.peer.to_string()),
            since_ms: self.since_ms,
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            skips: 0,
            user_agent: self.agent.to_string(),
        }
    }
}

/// The feeds of one stream, by container.
#[derive(Default)]
pub(crate) struct Feeds {
    slots: Mutex<[Option<Slot>; CONTAINERS.len()]>,
    /// Bytes that feeds which ended had sent.
    sent_before: AtomicU64,
    /// Bits of the outputs that the stream is not given out by.
    forbidden: AtomicU8,
    /// Bits of the containers that are cut whether players ask or not.
    always: AtomicU8,
    /// Viewers of live streams; changed upwards under the lock of `slots` only.
    seats: Arc<Seats>,
    /// Players that were sent away, and when.
    away: Mutex<HashMap<u64, Instant>>,
    tracks: watch::Sender<Option<Arc<Tracks>>>,
    flows: watch::Sender<bool>,
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

    /// Tells whether media come.
    pub(crate) fn set_flows(&self, flows: bool) {
        self.flows.send_if_modified(|before| std::mem::replace(before, flows) != flows);
    }

    /// Where it appears whether media come; the sender is dropped when the stream ends.
    pub(crate) fn flows(&self) -> watch::Receiver<bool> {
        self.flows.subscribe()
    }

    /// Gives the stream out in these forms only, to those who come; and keeps segments of these containers ready
    /// whether players ask or not. The other ends of those for which a segmenter must be started.
    pub(crate) fn set_options(&self, now: Instant, options: &StreamOptions) -> Vec<(Container, Publisher)> {
        let always = CONTAINERS
            .into_iter()
            .filter(|one| options.hls_always.contains(one) && options.outputs.has((*one).into()));
        let always: Vec<_> = always.collect();
        self.forbidden.store(!options.outputs.bits(), Ordering::Relaxed);
        self.always.store(always.iter().fold(0, |bits, one| bits | 1 << number(*one)), Ordering::Relaxed);
        let mut slots = lock(&self.slots);
        let started = always.into_iter().filter_map(|container| {
            let slot = &mut slots[number(container)];
            slot.is_none().then(|| {
                let (new, publisher) = Slot::new(now);
                *slot = Some(Slot { asked: None, ..new });
                (container, publisher)
            })
        });
        started.collect()
    }

    /// A place for somebody whom no limit concerns.
    pub(crate) fn place(&self) -> Seat {
        Seat::new(&self.seats)
    }

    fn outputs(&self) -> Outputs {
        Outputs::from_bits(!self.forbidden.load(Ordering::Relaxed))
    }

    /// Whether a player asked lately.
    pub(crate) fn is_asked(&self, now: Instant) -> bool {
        lock(&self.slots).iter().flatten().any(|slot| slot.is_asked(now))
    }

    /// Takes a place for a viewer of the live stream if fewer than `max` watch (0: no limit).
    pub(crate) fn seat(&self, output: Output, max: u32) -> Result<Seat, Denied> {
        if !self.outputs().has(output) {
            return Err(Denied::Forbidden);
        }
        let slots = lock(&self.slots);
        if max > 0 && self.watching(&*slots) >= max {
            return Err(Denied::Full);
        }
        Ok(self.place())
    }

    /// A player asks: where its segments appear, and the other end if a segmenter must be started for it. A player that
    /// is new takes a place as `seat` does.
    pub(crate) fn ask(
        &self,
        at: (Instant, u64),
        container: Container,
        player: Player<'_>,
        max: u32,
    ) -> Result<(Feed, Option<Publisher>), Denied> {
        let now = at.0;
        if !self.outputs().has(container.into()) {
            return Err(Denied::Forbidden);
        }
        let since = lock(&self.away).get(&player.key).copied();
        if since.is_some_and(|since| now.saturating_duration_since(since) < AWAY) {
            return Err(Denied::Kicked);
        }
        let mut slots = lock(&self.slots);
        let known =
            slots[number(container)].as_ref().is_some_and(|slot| slot.players.contains_key(&player.key));
        if max > 0 && !known && self.watching(&*slots) >= max {
            return Err(Denied::Full);
        }
        let slot = &mut slots[number(container)];
        let mut publisher = None;
        let slot = slot.get_or_insert_with(|| {
            let (slot, sender) = Slot::new(now);
            publisher = Some(sender);
            slot
        });
        slot.asked = Some(now);
        let mut feed = Feed {
            window: slot.window.clone(),
            bytes_out: Arc::clone(&slot.bytes_out),
            bytes_to_player: Arc::default(),
        };
        if known || slot.players.len() < PLAYERS_MAX {
            let watching = slot.players.entry(player.key).or_insert_with(|| Watching::new(at, player));
            watching.asked = now;
            feed.bytes_to_player = Arc::clone(&watching.bytes_out);
        }
        Ok((feed, publisher))
    }

    fn watching(&self, slots: &[Option<Slot>]) -> u32 {
        players(slots) + self.seats.taken()
    }

    /// Forgets players that are gone; false if nobody wants this container any more.
    pub(crate) fn check(&self, now: Instant, container: Container) -> bool {
        let mut slots = lock(&self.slots);
        let entry = &mut slots[number(container)];
        let Some(slot) = entry else { return false };
        slot.players.retain(|_, watching| now.saturating_duration_since(watching.asked) < IDLE);
        let always = self.always.load(Ordering::Relaxed) & 1 << number(container) != 0;
        if always || slot.is_asked(now) {
            return true;
        }
        self.sent_before.fetch_add(slot.bytes_out.load(Ordering::Relaxed), Ordering::Relaxed);
        *entry = None;
        false
    }

    /// Players that asked lately, one by one.
    pub(crate) fn viewers(&self) -> Vec<ViewerStats> {
        let slots = lock(&self.slots);
        let watching = slots.iter().flatten().flat_map(|slot| slot.players.values());
        watching.map(Watching::stats).collect()
    }

    /// Whether this viewer has a place at the live stream.
    pub(crate) fn has_seat(&self, viewer: u64) -> bool {
        self.seats.has(viewer)
    }

    /// Sends a player away; false if it is none of these.
    pub(crate) fn kick(&self, now: Instant, viewer: u64) -> bool {
        let mut slots = lock(&self.slots);
        for players in slots.iter_mut().flatten().map(|slot| &mut slot.players) {
            if let Some(key) = players.iter().find_map(|(key, found)| (found.id == viewer).then_some(*key)) {
                players.remove(&key);
                let mut away = lock(&self.away);
                away.retain(|_, since| now.saturating_duration_since(*since) < AWAY);
                away.insert(key, now);
                return true;
            }
        }
        false
    }

    /// Players that asked lately.
    pub(crate) fn players(&self) -> u32 {
        players(&*lock(&self.slots))
    }

    /// Bytes the door has sent.
    pub(crate) fn bytes_out(&self) -> u64 {
        let slots = lock(&self.slots);
        let now = slots.iter().flatten().map(|slot| slot.bytes_out.load(Ordering::Relaxed)).sum::<u64>();
        self.sent_before.load(Ordering::Relaxed) + now
    }
}

fn players(slots: &[Option<Slot>]) -> u32 {
    let watching = slots.iter().flatten().flat_map(|slot| slot.players.values());
    watching.count() as u32
}

/// The containers in the order of their slots.
pub(crate) const CONTAINERS: [Container; 3] = [Container::Ts, Container::Fmp4, Container::LowLatency];

pub(crate) fn number(container: Container) -> usize {
    match container {
        Container::Ts => 0,
        Container::Fmp4 => 1,
        Container::LowLatency => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, config::Config};

    fn player(key: u64) -> Player<'static> {
        Player { key, peer: ([192, 0, 2, 1], 5000).into(), agent: "a player" }
    }

    #[test]
    fn the_first_player_starts_a_feed_and_the_last_one_ends_it() {
        let start = clock::now();
        let feeds = Feeds::default();
        let (feed, publisher) = feeds.ask((start, 0), Container::Ts, player(1), 0).unwrap();
        assert!(publisher.is_some() && feed.window.borrow().is_none());
        let later = start + IDLE / 2;
        assert!(feeds.ask((later, 0), Container::Ts, player(2), 0).unwrap().1.is_none());
        assert!(feeds.ask((later, 0), Container::Fmp4, player(2), 0).unwrap().1.is_some());
        assert_eq!(feeds.players(), 3);
        feed.bytes_out.fetch_add(100, Ordering::Relaxed);
        assert!(feeds.check(start + IDLE, Container::Ts));
        assert_eq!(feeds.players(), 2);
        assert!(!feeds.check(later + IDLE, Container::Ts));
        assert_eq!((feeds.players(), feeds.bytes_out()), (1, 100));
        assert!(
            feeds.ask((later + IDLE, 0), Container::Ts, player(1), 0).unwrap().1.is_some(),
            "it starts anew"
        );
    }

    #[test]
    fn places_are_shared_by_all_who_watch_and_freed_by_those_who_leave() {
        let start = clock::now();
        let feeds = Feeds::default();
        let seat = feeds.seat(Output::Flv, 2).unwrap();
        feeds.ask((start, 0), Container::Ts, player(1), 2).unwrap();
        assert_eq!(feeds.seat(Output::Flv, 2).unwrap_err(), Denied::Full);
        assert_eq!(feeds.ask((start, 0), Container::Ts, player(2), 2).unwrap_err(), Denied::Full);
        feeds.ask((start, 0), Container::Ts, player(1), 2).expect("it has its place");
        feeds.seat(Output::Flv, 0).expect("without a limit there is always room");
        drop(seat);
        let seat = feeds.seat(Output::Flv, 2).unwrap();
        assert!(!feeds.check(start + IDLE, Container::Ts));
        feeds.ask((start + IDLE, 0), Container::Ts, player(2), 2).expect("the other player is gone");
        drop(seat);
        assert_eq!(feeds.watching(&*lock(&feeds.slots)), 1);
    }

    #[test]
    fn a_player_that_was_sent_away_is_refused_for_a_minute() {
        let start = clock::now();
        let feeds = Feeds::default();
        let (feed, _) = feeds.ask((start, 5), Container::Ts, player(1), 0).unwrap();
        feeds.ask((start, 6), Container::Ts, player(2), 0).unwrap();
        feed.bytes_to_player.fetch_add(7, Ordering::Relaxed);
        let viewers = feeds.viewers();
        let first = viewers.iter().find(|viewer| viewer.since_ms == 5).unwrap();
        assert_eq!((first.bytes_out, first.protocol, first.user_agent.as_str()), (7, "hls", "a player"));
        assert!(feeds.kick(start, first.id) && !feeds.kick(start, first.id));
        assert_eq!((feeds.players(), feeds.viewers().len()), (1, 1));
        let late = start + AWAY / 2;
        assert_eq!(feeds.ask((late, 0), Container::Ts, player(1), 0).unwrap_err(), Denied::Kicked);
        feeds.ask((late, 0), Container::Ts, player(2), 0).expect("the other one stays");
        assert!(!feeds.check(late + IDLE, Container::Ts));
        assert_eq!(feeds.ask((late + IDLE, 0), Container::Ts, player(1), 0).unwrap_err(), Denied::Kicked);
        feeds.ask((start + AWAY, 0), Container::Ts, player(1), 0).expect("the minute is over");
    }

    #[test]
    fn what_is_forbidden_is_refused_and_what_is_kept_ready_needs_no_player() {
        let (start, feeds) = (clock::now(), Feeds::default());
        let mut options = StreamOptions::of(&Config::default());
        options.outputs = Outputs::named(["rtsp", "hls"]).unwrap();
        options.hls_always = vec![Container::Ts, Container::LowLatency];
        let started = feeds.set_options(start, &options);
        assert!(matches!(started[..], [(Container::Ts, _)]), "low latency is forbidden");
        assert_eq!(feeds.seat(Output::Flv, 0).unwrap_err(), Denied::Forbidden);
        feeds.seat(Output::Rtsp, 0).unwrap();
        let denied = feeds.ask((start, 0), Container::LowLatency, player(1), 0).unwrap_err();
        assert_eq!(denied, Denied::Forbidden);
        let late = start + 10 * IDLE;
        assert!(feeds.check(late, Container::Ts) && !feeds.is_asked(late), "ready, and watched by nobody");
        let asked = feeds.ask((late, 0), Container::Ts, player(1), 1).unwrap();
        assert!(asked.1.is_none() && feeds.is_asked(late), "its segmenter runs already");
        assert!(feeds.set_options(late, &options).is_empty(), "the same again starts nothing");
        options.hls_always.clear();
        feeds.set_options(late, &options);
        assert!(feeds.check(late, Container::Ts) && !feeds.check(late + IDLE, Container::Ts));
    }
}
