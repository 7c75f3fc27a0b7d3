//! A publisher: asked about when it announces, then read, its packets made into units and fed to its stream.

use std::{
    convert::Infallible,
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use wire::{
    rtsp::{Delivery, Description, Event, Incoming, Transport},
    unpack::Options,
};

use super::{
    Listen,
    connection::{Connection, End},
    receive::{Datagram, Pair, Receiving},
};
use crate::{
    clock, config,
    feed::{Feeder, Portion},
    publishers::{Applicant, Decision},
};

/// A publisher that sends nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Longest wait for a datagram that is missing.
const HOLD: Duration = Duration::from_millis(200);

/// Tracks that may be set up; of those that cannot be read the packets are passed over.
const TRACKS_MAX: usize = 4;

const BUFFER: usize = 64 << 10;

/// How a track comes, and where reports about it go.
enum Way {
    Channels(u8, u8),
    Datagrams(Box<Pair>, u16),
}

/// Somebody whose stream was accepted.
pub(super) struct Publisher {
    feeder: Feeder,
    description: Description,
    ways: Vec<(usize, Way)>,
}

impl Publisher {
    /// Asks whether `(app, name, query)` may be published; the status that refuses it.
    pub(super) async fn admit(
        core: &Listen,
        peer: SocketAddr,
        (app, name, query): (&str, &str, &str),
        description: Description,
    ) -> Result<Self, u16> {
        if Incoming::new(&description, Options::default(), HOLD, 0).tracks().next().is_none() {
            return Err(415);
        }
        let applicant = Applicant { app, name, query, peer, transport: config::Transport::Rtsp };
        match core.publishers.decide(&core.events, applicant).await {
            Decision::Accepted(feeder) => Ok(Self { feeder, description, ways: Vec::new() }),
            Decision::Refused(_) => Err(403),
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
        self.ways.retain(|(known, _)| *known != track);
        if self.ways.len() >= TRACKS_MAX {
            return Err(453);
        }
        let mut status = 461;
        for offer in offers {
            let (delivery, way) = match offer.delivery {
                Delivery::Interleaved(wanted) => {
                    let (packets, reports) = self.channels(wanted);
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
            self.ways.push((track, way));
            return Ok(Transport { delivery, record: true, ssrc: None });
        }
        Err(status)
    }

    /// Channels as wanted, if they are free.
    fn channels(&self, wanted: Option<(u8, u8)>) -> (u8, u8) {
        let taken = |channel: u8| {
            self.ways.iter().any(|(_, way)| match way {
                Way::Channels(packets, reports) => channel == *packets || channel == *reports,
                Way::Datagrams(..) => false,
            })
        };
        let free = |&(packets, reports): &(u8, u8)| packets != reports && !taken(packets) && !taken(reports);
        let own = (0..=u8::MAX / 2).map(|number| (number * 2, number * 2 + 1)).find(free);
        wanted.filter(free).or(own).unwrap_or_default()
    }

    /// Whether a track was set up that can be read.
    pub(super) fn is_set_up(&self) -> bool {
        let incoming = Incoming::new(&self.description, Options::default(), HOLD, 0);
        incoming.tracks().any(|number| self.ways.iter().any(|(known, _)| *known == number))
    }

    /// The track and kind of what comes in a channel.
    fn of_channel(&self, channel: u8) -> Option<(usize, Datagram)> {
        self.ways.iter().find_map(|(track, way)| match way {
            Way::Channels(packets, _) if *packets == channel => Some((*track, Datagram::Packet)),
            Way::Channels(_, reports) if *reports == channel => Some((*track, Datagram::Report)),
            _ => None,
        })
    }

    /// Takes the datagrams that have come.
    fn take(&self, now: Instant, buffer: &mut [u8], incoming: &mut Incoming) -> (u32, u64) {
        let (mut packets, mut bytes) = (0, 0);
        for (track, way) in &self.ways {
            let Way::Datagrams(pair, _) = way else { continue };
            pair.take(buffer, |what, data| {
                (packets, bytes) = (packets + 1, bytes + data.len() as u64);
                handle(incoming, now, (*track, what), data);
            });
        }
        (packets, bytes)
    }

    /// Sends what is owed of reports; those for the connection are appended to `out`.
    fn report(&self, incoming: &mut Incoming, out: &mut Vec<u8>) {
        while let Some((track, report)) = incoming.poll_report() {
            match self.ways.iter().find(|(known, _)| *known == track) {
                Some((_, Way::Channels(_, reports))) => {
                    out.extend([b'$', *reports]);
                    out.extend((report.len() as u16).to_be_bytes());
                    out.extend(report);
                }
                Some((_, Way::Datagrams(pair, port))) => pair.report(*port, &report),
                None => {}
            }
        }
    }
}

fn handle(incoming: &mut Incoming, now: Instant, (track, what): (usize, Datagram), data: bytes::Bytes) {
    match what {
        Datagram::Packet => incoming.handle_rtp(now, track, data),
        Datagram::Report => incoming.handle_rtcp(now, track, &data),
    }
}

/// Feeds the stream until either end closes; RECORD waits for its answer.
pub(super) async fn carry(mut connection: Connection<'_>, mut publisher: Publisher) {
    publisher.feeder.connected(connection.peer);
    connection.server.accept();
    let Err(end) = feed(&mut connection, &mut publisher).await;
    // What is left to say, above all the answer to TEARDOWN; who does not listen is closed all the same.
    let _ = connection.flush().await;
    publisher.feeder.close(end.to_string());
}

async fn feed(connection: &mut Connection<'_>, publisher: &mut Publisher) -> Result<Infallible, End> {
    let ssrc = RandomState::new().hash_one(0) as u32;
    let udp = publisher.ways.iter().any(|(_, way)| matches!(way, Way::Datagrams(..)));
    let hold = if udp { HOLD } else { Duration::ZERO };
    let mut incoming = Incoming::new(&publisher.description, Options::default(), hold, ssrc);
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
                    if let Some(place) = publisher.of_channel(channel) {
                        handle(&mut incoming, now, place, data);
                    }
                }
                Event::Ended => finished = true,
                _ => connection.server.refuse(455),
            }
        }
        let (packets, bytes) = publisher.take(now, &mut buffer, &mut incoming);
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
        publisher.report(&mut incoming, &mut reports);
        connection.say(&reports).await?;
        if now.saturating_duration_since(heard) >= IDLE {
            return Err(End::Idle(IDLE.as_secs()));
        }
        let due = incoming.next_timeout().into_iter().chain([heard + IDLE]).min().unwrap_or(now);
        let rest = due.saturating_duration_since(clock::now());
        let waiting = timeout(rest, hear(&mut connection.stream, &publisher.ways, &mut buffer));
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

/// Waits for bytes on the connection, which are read: how many; or for datagrams, which are not: `None`.
async fn hear(stream: &mut TcpStream, ways: &[(usize, Way)], buffer: &mut [u8]) -> io::Result<Option<usize>> {
    poll_fn(|cx| {
        let mut buffer = ReadBuf::new(buffer);
        if let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            return Poll::Ready(read.map(|()| Some(buffer.filled().len())));
        }
        let mut came = false;
        for (_, way) in ways {
            if let Way::Datagrams(pair, _) = way {
                came |= pair.poll_ready(cx).is_ready();
            }
        }
        if came { Poll::Ready(Ok(None)) } else { Poll::Pending }
    })
    .await
}
