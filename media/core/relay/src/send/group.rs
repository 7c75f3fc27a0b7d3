//! One form of a stream as senders need it: its muxer and the newest packets that it made. It exists while somebody is
//! sent that form.

use std::{sync::Arc, time::Duration};

use wire::{
    chunk::Chunk,
    media::{AccessUnit, Kind, Ticks},
    send::{Form, Muxer, packets},
};

use super::reports::{Clock, Moment};
use crate::hub::{
    gop::{GopCache, begins},
    ring::{Entry, Ring},
};

/// Time from picture to picture while nothing is known.
const INTERVAL: Duration = Duration::from_millis(40);

/// A target further behind the newest packets than this goes on at the last key frame if there is a newer one.
pub(crate) const LAG_MAX: Ticks = Ticks::from_millis(2000);

/// The same for one that is talked with: who answers late is not understood.
pub(crate) const LAG_TALK: Ticks = Ticks::from_millis(500);

/// Where a target stands in the packets of its form: a number of the ring, and a byte of that chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) number: u64,
    pub(crate) at: usize,
}

pub(crate) struct Group {
    pub(crate) form: Form,
    muxer: Muxer,
    pub(crate) ring: Ring,
    picture: Option<Ticks>,
    interval: Duration,
    /// The newest time on the clock that reports are about, its timestamp, and how many there are in a second.
    newest: Option<(Ticks, u32, u32)>,
    /// What reports are calculated from.
    pub(crate) moment: Option<Moment>,
}

impl Group {
    /// Muxes what the cache holds, so that a target on a connection begins at once.
    pub(crate) fn new(form: Form, bytes_max: usize, cache: &GopCache, clock: &Clock) -> Self {
        let ring = Ring::new(bytes_max);
        let (muxer, interval) = (Muxer::new(form), INTERVAL);
        let mut group = Self { form, muxer, ring, picture: None, interval, newest: None, moment: None };
        cache.units().for_each(|unit| group.push(unit, u64::MAX));
        group.set_moment(clock);
        group
    }

    /// Muxes a unit; `needed` is the number of the oldest chunk that a target still waits for.
    pub(crate) fn push(&mut self, unit: &AccessUnit, needed: u64) {
        if unit.kind == Kind::Video
            && let Some(before) = self.picture.replace(unit.dts)
        {
            let ticks = (unit.dts - before).0.clamp(720, 3600); // 8 to 40 ms
            self.interval = Duration::from_micros(ticks.unsigned_abs() * 100 / 9);
        }
        if let Some(data) = self.muxer.write(unit) {
            if let Some(first) = packets(&data, 0).next().filter(|packet| packet.is_main(self.form)) {
                self.newest = Some((unit.pts, first.timestamp(), self.form.rate(unit)));
            }
            let begins = begins(unit) || !self.form.selection.video;
            let chunk = Chunk::from_bytes(data);
            self.ring.push(Entry::new(chunk, begins, unit.dts, Arc::clone(&unit.tracks)), needed);
        }
    }

    /// Has reports tell times by the stream's clock, as it is now.
    pub(crate) fn set_moment(&mut self, clock: &Clock) {
        self.moment = self.newest.and_then(|(time, timestamp, rate)| {
            Some(Moment { wall_us: clock.wall_us(time)?, timestamp, rate })
        });
    }

    /// In how much time a picture's packets are to leave: somewhat before the next one comes.
    pub(crate) fn spread(&self) -> Duration {
        self.interval * 4 / 5
    }

    /// Where a target begins; one of datagrams with the newest packets, for a whole GOP at once would be lost on the way.
    /// Sound alone is believed only once it is `settled` that no pictures come.
    pub(crate) fn beginning(&self, datagrams: bool, settled: bool) -> Option<Position> {
        let number = self.ring.beginning()?;
        let entry = self.ring.get(number)?;
        let believed = settled || entry.tracks.video.is_some() || !self.form.selection.video;
        (believed && (!datagrams || number + 1 == self.ring.end())).then_some(Position { number, at: 0 })
    }

    /// Where a target that is too far behind, or whose packets are gone, goes on; `None` if it may stay.
    pub(crate) fn skip(&self, position: Position, lag: Ticks) -> Option<Position> {
        let beginning = self.ring.beginning();
        let too_late = match (self.ring.get(position.number), self.ring.newest()) {
            (Some(entry), Some(newest)) => {
                newest.dts - entry.dts > lag && beginning.is_some_and(|beginning| beginning > position.number)
            }
            _ => position.number < self.ring.end(),
        };
        too_late.then(|| Position { number: beginning.unwrap_or(self.ring.end()), at: 0 })
    }

    /// How many packets that are still there lie between two positions.
    pub(crate) fn between(&self, from: Position, to: Position) -> u64 {
        let entries = (from.number..to.number).filter_map(|number| Some((number, self.ring.get(number)?)));
        entries
            .map(|(number, entry)| {
                let at = if number == from.number { from.at } else { 0 };
                packets(&entry.chunk.head, at).count() as u64
            })
            .sum()
    }

    /// How many packets follow `position`, at most `most` chunks counted.
    pub(crate) fn waiting(&self, position: Position) -> usize {
        let full = 2 + wire::packetize::PACKET_MAX;
        let mut packets = 0;
        let mut at = position.at;
        for number in position.number..self.ring.end() {
            let Some(entry) = self.ring.get(number) else { break };
            packets += (entry.chunk.head.len() - at.min(entry.chunk.head.len())).div_ceil(full);
            at = 0;
        }
        packets
    }
}
