//! A publisher: asked about when it announces, then read, its packets made into units and fed to its stream.

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::timeout;
use wire::{
    rtsp::{Delivery, Description, Event, Incoming, Transport},
    unpack::Options,
};

use super::{
    Listen,
    connection::{Connection, End},
    receive::{Pair, Receiving, Way, Ways},
};
use crate::{
    clock, config,
    feed::{Feeder, Portion},
    proof::Shown,
    publishers::{Applicant, Decision},
};

/// A publisher that sends nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Longest wait for a datagram that is missing.
pub(crate) const HOLD: Duration = Duration::from_millis(200);

/// Tracks that may be set up; of those that cannot be read the packets are passed over.
const TRACKS_MAX: usize = 4;

const BUFFER: usize = 64 << 10;

/// Somebody whose stream was accepted.
pub(super) struct Publisher {
    feeder: Feeder,
    description: Description,
    ways: Ways,
}

impl Publisher {
    /// Asks whether `(app, name, query)` may be published; the status that refuses it, 401 if a proof might help,
    /// which is asked for if it is `challenged`.
    pub(super) async fn admit(
        core: &Listen,
        peer: SocketAddr,
        (app, name, query): (&str, &str, &str),
        (proof, challenged): (Option<Shown<'_>>, bool),
        description: Description,
    ) -> Result<Self, u16> {
        if Incoming::new(&description, Options::default(), HOLD, 0).tracks().next().is_none() {
            return Err(415);
        }
        let transport = config::Transport::Rtsp;
        let applicant = Applicant { app, name, query, peer, transport, proof, challenged };
        match core.publishers.decide(&core.events, applicant).await {
            Decision::Accepted(feeder) => Ok(Self { feeder, description, ways: Ways::default() }),
            Decision::Refused { unauthorized, .. } => Err(if unauthorized { 401 } else { 403 }),
        }
    }

    /// Sets a track up in the first way offered that can be; the status if none can. Without `receiving` no datagrams come.
    pub(super) fn set_up(
        &mut self,
        receiving: Option<&Receiving>,
        from: IpAddr,
        track: usize,
        offers: &[Transport],
    ) -> Result<Transport, u16> {
        if track >= self.description.media.len() {
            return Err(404);
        }
        self.ways.forget(track);
        if self.ways.len() >= TRACKS_MAX {
            return Err(453);
        }
        let mut status = 461;
        for offer in offers {
            let (delivery, way) = match offer.delivery {
                Delivery::Interleaved(wanted) => {
                    let (packets, reports) = self.ways.channels(wanted);
                    (Delivery::Interleaved(Some((packets, reports))), Way::Channels(packets, reports))
                }
                Delivery::Udp { client, .. } => {
                    let Some(receiving) = receiving else { continue };
                    let Ok(pair) = Pair::open(receiving, from) else {
                        status = 503; // no port is free
                        continue;
                    };
                    let server = Some(pair.numbers());
                    (Delivery::Udp { client, server }, Way::Datagrams(Box::new(pair), client.1))
                }
            };
            self.ways.set(track, way);
            return Ok(Transport { delivery, record: true, ssrc: None });
        }
        Err(status)
    }

    /// Whether a track was set up that can be read.
    pub(super) fn is_set_up(&self) -> bool {
        let incoming = Incoming::new(&self.description, Options::default(), HOLD, 0);
        incoming.tracks().any(|number| self.ways.has(number))
    }
}

/// Feeds the stream until either end closes; RECORD waits for its answer.
pub(super) async fn carry(mut connection: Connection<'_>, mut publisher: Publisher) {
    publisher.feeder.connected(connection.peer);
    connection.server.accept();
    let ssrc = RandomState::new().hash_one(0) as u32;
    let hold = if publisher.ways.are_datagrams() { HOLD } else { Duration::ZERO };
    let mut incoming = Incoming::new(&publisher.description, Options::default(), hold, ssrc);
    let Err(end) = feed(&mut connection, &mut publisher, &mut incoming).await;
    if matches!(end, End::Closed | End::Finished) {
        let last = publisher.ways.glean(&mut incoming).await;
        let _ = publisher.feeder.send(last).await; // who closed the stream needs no more of it
    }
    // What is left to say, above all the answer to TEARDOWN; who does not listen is closed all the same.
    let _ = connection.flush().await;
    publisher.feeder.close(end.to_string(), end.cause());
}

async fn feed(
    connection: &mut Connection<'_>,
    publisher: &mut Publisher,
    incoming: &mut Incoming,
) -> Result<Infallible, End> {
    let mut buffer = vec![0; BUFFER];
    let mut heard = clock::now();
    loop {
        let now = clock::now();
        let mut portion = Portion::default();
        let mut finished = false;
        while let Some(event) = connection.server.poll_event()? {
            match event {
                Event::Data(channel, data) => {
                    portion.messages += 1;
                    portion.bytes += 4 + data.len() as u64;
                    publisher.ways.take_channel(now, channel, data, incoming);
                }
                Event::Ended => finished = true,
                _ => connection.server.refuse(455),
            }
        }
        let (packets, bytes) = publisher.ways.take(now, &mut buffer, incoming);
        portion.messages += packets;
        portion.bytes += bytes;
        if portion.messages > 0 {
            heard = now;
        }
        incoming.handle_timeout(now);
        portion.outputs.extend(std::iter::from_fn(|| incoming.poll_output()));
        portion.lost = incoming.take_lost();
        if portion.bytes > 0 || !portion.outputs.is_empty() {
            publisher.feeder.send(portion).await.map_err(|_| End::Thrown)?;
        }
        if finished {
            return Err(End::Finished);
        }
        let mut reports = Vec::new();
        publisher.ways.report(incoming, &mut reports);
        connection.say(&reports).await?;
        if now.saturating_duration_since(heard) >= IDLE {
            return Err(End::Idle(IDLE.as_secs()));
        }
        let due = incoming.next_timeout().into_iter().chain([heard + IDLE]).min().unwrap_or(now);
        let rest = due.saturating_duration_since(clock::now());
        let waiting = timeout(rest, publisher.ways.hear(&mut connection.stream, &mut buffer));
        match publisher.feeder.unless_closed(waiting).await.map_err(|_| End::Thrown)? {
            Ok(Ok(Some(0))) => return Err(End::Closed),
            Ok(Ok(Some(size))) => connection.server.handle(&buffer[..size]),
            // Whoever closes with unread answers before it resets the connection.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Err(End::Closed),
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(None)) | Err(_) => {}
        }
    }
}
