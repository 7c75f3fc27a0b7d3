//! One stream from its source to its access units: what every stream has, and the kinds of source that it may have.
//!
//! A [`Receiver`] owns sockets and makes the units of RTP packets on the shard itself. A [`Fed`] source is handed units
//! that a task elsewhere made: RTMP, HTTP-FLV and whatever else is not packets.

mod budget;
mod fed;
mod gate;
mod link;
mod receiver;
mod report;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{
    fault::{Fault, FaultCounts},
    media::{AccessUnit, Kind as TrackKind, Tracks},
};

pub(crate) use self::{
    fed::Fed,
    gate::Expected,
    link::{Attempt, Link},
    receiver::{Receiver, Sockets, Via, canonical},
};
use crate::{
    events::Kind,
    hub::{Hub, rates::Rate},
    shard::turn::Turn,
    table::Entry,
};

/// Housekeeping of a stream comes so often: silence, stalled viewers, reports.
const TICK: Duration = Duration::from_secs(1);

/// Where a stream's units come from.
pub(crate) enum Source {
    Receiver(Box<Receiver>),
    Fed(Box<Fed>),
}

impl Source {
    /// Whether something may come by now.
    fn is_listening(&self) -> bool {
        match self {
            Self::Receiver(receiver) => receiver.is_listening(),
            Self::Fed(_) => true,
        }
    }

    /// When to call `handle_timeout` at the latest.
    pub(crate) fn next_timeout(&self, stream: &Stream) -> Instant {
        let own = match self {
            Self::Receiver(receiver) => receiver.next_timeout(),
            Self::Fed(_) => None,
        };
        own.into_iter().chain(stream.hub.next_timeout()).fold(stream.tick, Instant::min)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, stream: &mut Stream, turn: Turn<'_>) {
        if let Self::Receiver(receiver) = self {
            receiver.handle_timeout(stream, turn);
        }
        stream.hub.handle_timeout(turn);
        if turn.now >= stream.tick {
            stream.tick = turn.now + TICK;
            // What is fed by a connection that stands goes on where it stopped, however long that takes.
            if stream.check_silence(turn, self.is_listening()) && matches!(self, Self::Receiver(_)) {
                stream.hub.handle_break();
            }
            stream.check_viewers(turn);
            if let Self::Receiver(receiver) = self {
                receiver.handle_tick(stream, turn);
            }
        }
    }
}

/// Moments worth remembering, in milliseconds of the UNIX epoch.
#[derive(Default)]
struct Firsts {
    packet_ms: Option<u64>,
    key_frame_ms: Option<u64>,
}

/// What was told and is not to be told again for now.
#[derive(Default)]
struct Told {
    wrong_payload: bool,
    /// That nothing comes, in whatever way: `Resumed` when something does.
    still: bool,
    /// So that no `Silent` follows: it was told, or nothing is there that could be silent.
    silent: bool,
    no_viewers: bool,
}

/// What every stream has, whatever its source.
pub(crate) struct Stream {
    pub(crate) entry: Arc<Entry>,
    pub(crate) hub: Hub,
    /// The timer that is set for this stream.
    pub(crate) armed: Option<Instant>,
    faults: FaultCounts,
    firsts: Firsts,
    told: Told,
    bytes_in: u64,
    rate_in: Rate,
    heard: Instant,
    watched: Instant,
    tick: Instant,
}

impl Stream {
    pub(crate) fn new(turn: Turn<'_>, index: usize, entry: Arc<Entry>) -> Self {
        Self {
            entry,
            hub: Hub::new(turn.config, index),
            armed: None,
            faults: FaultCounts::new(),
            firsts: Firsts::default(),
            told: Told::default(),
            bytes_in: 0,
            rate_in: Rate::default(),
            heard: turn.now,
            watched: turn.now,
            tick: turn.now + TICK,
        }
    }

    /// Something of the stream came: `bytes` of it.
    fn hear(&mut self, turn: Turn<'_>, bytes: u64) {
        self.bytes_in += bytes;
        self.rate_in.add(turn.second, bytes);
        self.heard = turn.now;
        self.told.silent = false;
        if std::mem::take(&mut self.told.still) {
            self.entry.feeds.set_flows(true);
            self.tell(turn, Kind::Resumed, vec![]);
        }
    }

    /// Nothing comes for a reason that was told: no `Silent` follows, and `Resumed` when something comes again.
    fn await_resumption(&mut self) {
        (self.told.still, self.told.silent) = (true, true);
        self.entry.feeds.set_flows(false);
    }

    /// What carries the stream stands: from now on it is this one's silence that counts.
    fn await_first(&mut self, now: Instant) {
        self.heard = now;
        self.told.silent = false;
    }

    /// The source is known to send; told once.
    fn handle_first_packet(&mut self, turn: Turn<'_>, detail: impl FnOnce() -> Vec<(&'static str, String)>) {
        if self.firsts.packet_ms.is_none() {
            self.firsts.packet_ms = Some(turn.wall_ms);
            self.tell(turn, Kind::FirstPacket, detail());
        }
    }

    fn handle_unit(&mut self, turn: Turn<'_>, unit: AccessUnit) {
        if unit.key && unit.kind == TrackKind::Video && self.firsts.key_frame_ms.is_none() {
            self.firsts.key_frame_ms = Some(turn.wall_ms);
            self.tell(turn, Kind::FirstKeyFrame, vec![]);
        }
        if let Some(tracks) = self.hub.handle_unit(turn, unit) {
            self.entry.feeds.set_tracks(tracks);
        }
    }

    fn handle_tracks(&mut self, turn: Turn<'_>, payload: &str, tracks: Arc<Tracks>) {
        let mut detail = vec![("payload", payload.to_owned())];
        detail.extend(report::describe(&tracks));
        self.tell(turn, Kind::Tracks, detail);
        self.entry.feeds.set_tracks(self.hub.set_tracks(tracks));
        self.entry.feeds.set_flows(true);
    }

    /// Counts a deviation. That nothing can be made of what comes is told once, with `first_bytes` of it for people.
    fn handle_fault(&mut self, turn: Turn<'_>, fault: Fault, first_bytes: impl FnOnce() -> String) {
        self.faults.count(fault);
        let (Fault::UnsupportedPayload(what) | Fault::UnsupportedCodec(what)) = fault else { return };
        if !std::mem::replace(&mut self.told.wrong_payload, true) {
            let detail = vec![("payload", what.to_owned()), ("first_bytes", first_bytes())];
            self.tell(turn, Kind::WrongPayload, detail);
        }
    }

    /// Tells of silence; true when it does.
    fn check_silence(&mut self, turn: Turn<'_>, listening: bool) -> bool {
        let quiet = turn.now.saturating_duration_since(self.heard);
        let begins = listening && !self.told.silent && quiet >= turn.config.silence;
        if begins {
            (self.told.still, self.told.silent) = (true, true);
            self.entry.feeds.set_flows(false);
            self.tell(turn, Kind::Silent, vec![("ms", quiet.as_millis().to_string())]);
        }
        begins
    }

    fn check_viewers(&mut self, turn: Turn<'_>) {
        self.hub.handle_tick(turn, &self.entry.feeds);
        if self.hub.is_watched() {
            self.watched = turn.now;
            self.told.no_viewers = false;
        } else if let Some(patience) = self.hub.options().no_viewer
            && !self.told.no_viewers
            && turn.now.saturating_duration_since(self.watched) >= patience
        {
            self.told.no_viewers = true;
            self.tell(turn, Kind::NoViewers, vec![]);
        }
    }

    pub(crate) fn tell(&self, turn: Turn<'_>, kind: Kind, detail: Vec<(&'static str, String)>) {
        turn.events.push(self.entry.event(kind, turn.wall_ms, detail));
    }
}
