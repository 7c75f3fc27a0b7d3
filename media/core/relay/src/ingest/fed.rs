//! A source that is fed by a task elsewhere: units come ready-made, in portions that the feeder has credit for.

use std::net::SocketAddr;

use wire::unpack::Output;

use super::Stream;
use crate::{
    config::Transport,
    events::Kind,
    feed::{Intake, News, Portion},
    reason,
    shard::turn::Turn,
    stats::StreamStats,
};

/// A peer as events tell it, if there is one.
fn named(peer: Option<SocketAddr>) -> Vec<(&'static str, String)> {
    peer.map(|peer| ("peer", peer.to_string())).into_iter().collect()
}

/// The stream's end of a feed. Dropping it tells the feeder that the stream is closed.
pub(crate) struct Fed {
    transport: Transport,
    payload: &'static str,
    messages: u64,
    lost: u64,
    connected: bool,
    peer: Option<SocketAddr>,
    _intake: Intake,
}

impl Fed {
    pub(crate) fn new(transport: Transport, payload: &'static str, intake: Intake) -> Self {
        Self { transport, payload, messages: 0, lost: 0, connected: false, peer: None, _intake: intake }
    }

    /// Takes what the feeder said; true if the stream is over.
    pub(crate) fn handle_news(&mut self, stream: &mut Stream, turn: Turn<'_>, news: News) -> bool {
        match news {
            // The credit goes back with the end of this scope: what was taken is on its way to the viewers.
            News::Portion(portion, _credit) => self.take(stream, turn, portion),
            News::Connected(peer) => {
                (self.connected, self.peer) = (true, peer);
                stream.await_first(turn.now);
                stream.tell(turn, Kind::Connected, named(peer));
            }
            News::CarriedBy(transport, payload) => (self.transport, self.payload) = (transport, payload),
            News::Disconnected(detail) => {
                self.part(stream, turn, detail);
                stream.hub.handle_break();
            }
            News::Told(kind, detail) => stream.tell(turn, kind, detail),
            News::Ended(reason, cause) => {
                let detail = reason::detail(reason, cause).to_vec();
                self.part(stream, turn, detail.clone());
                stream.tell(turn, Kind::Ended, detail);
                return true;
            }
        }
        false
    }

    fn part(&mut self, stream: &mut Stream, turn: Turn<'_>, reason: Vec<(&'static str, String)>) {
        if std::mem::take(&mut self.connected) {
            let mut detail = named(self.peer.take());
            detail.extend(reason);
            stream.tell(turn, Kind::Disconnected, detail);
            stream.await_resumption();
        }
    }

    fn take(&mut self, stream: &mut Stream, turn: Turn<'_>, portion: Portion) {
        self.messages += u64::from(portion.messages);
        self.lost += portion.lost;
        turn.metrics.bytes_in.add(portion.bytes);
        stream.hear(turn, portion.bytes);
        let peer = self.peer;
        stream.handle_first_packet(turn, || named(peer));
        let mut units = 0;
        for output in portion.outputs {
            match output {
                Output::Unit(unit) => {
                    units += 1;
                    stream.handle_unit(turn, unit);
                }
                Output::Tracks(tracks) => stream.handle_tracks(turn, self.payload, tracks),
                Output::Payload(_) => {}
                Output::Fault(fault) => stream.handle_fault(turn, fault, String::new),
            }
        }
        turn.metrics.units.add(units);
    }

    /// Adds what only this kind of source knows: on a connection all that was expected came.
    pub(super) fn fill(&self, stats: &mut StreamStats) {
        stats.peer = self.peer.map(|peer| peer.to_string());
        stats.transport = self.transport;
        stats.payload = Some(self.payload).filter(|payload| !payload.is_empty());
        stats.expected = self.messages + self.lost;
        stats.received = self.messages;
        stats.lost = self.lost;
    }
}
