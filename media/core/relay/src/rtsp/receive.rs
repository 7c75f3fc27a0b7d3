//! How the tracks of a session come to us: in channels of its connection, or as datagrams of RTP and RTCP at ports of ours,
//! a pair for each track, from the range of all receivers.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::UdpSocket,
    time::timeout,
};
use wire::rtsp::Incoming;

use crate::{clock, feed::Portion, ports::PortPool, sockets, table::Lease};

/// Datagrams taken from one socket before others have their turn.
const TURN: usize = 64;

/// Behind the end of a connection, datagrams are waited for until so long none came, and so long at most.
const QUIET: Duration = Duration::from_millis(50);
const GLEANING: Duration = Duration::from_millis(250);
const BUFFER: usize = 64 << 10;

/// Ports that somebody else holds are passed over so often.
const TRIES: usize = 16;

/// Where ports are opened.
#[derive(Clone)]
pub(crate) struct Receiving {
    pub(crate) host: IpAddr,
    pub(crate) pool: Arc<Mutex<PortPool>>,
}

/// Two ports side by side that one track comes in at, only ever from the address of its sender.
pub(crate) struct Pair {
    packets: UdpSocket,
    reports: UdpSocket,
    lease: Lease,
    from: IpAddr,
}

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Datagram {
    Packet,
    Report,
}

impl Pair {
    /// Opens a pair for what `from` sends; must be called within the runtime.
    pub(crate) fn open(receiving: &Receiving, from: IpAddr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..TRIES {
            let Some(lease) = Lease::new(&receiving.pool) else { break };
            let opened = sockets::udp(receiving.host, lease.port).and_then(|packets| {
                let reports = sockets::udp(receiving.host, lease.port + 1)?;
                Ok((UdpSocket::from_std(packets)?, UdpSocket::from_std(reports)?))
            });
            match opened {
                Ok((packets, reports)) => return Ok(Self { packets, reports, lease, from }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> (u16, u16) {
        (self.lease.port, self.lease.port + 1)
    }

    /// Whether something came.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (packets, reports) = (self.packets.poll_recv_ready(cx), self.reports.poll_recv_ready(cx));
        if packets.is_ready() || reports.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives what has come, and is of the sender, to `each`.
    fn take(&self, buffer: &mut [u8], mut each: impl FnMut(Datagram, Bytes)) {
        for (socket, what) in [(&self.reports, Datagram::Report), (&self.packets, Datagram::Packet)] {
            for _ in 0..TURN {
                match socket.try_recv_from(buffer) {
                    Ok((size, peer)) if peer.ip().to_canonical() == self.from => {
                        each(what, Bytes::copy_from_slice(&buffer[..size]));
                    }
                    Ok(_) => {} // a stranger's
                    // Of what we sent, an error may come back: that is no reason to stop.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// Sends something to `port` of the sender, from the port for packets or for reports; what the system does not take is
    /// lost.
    fn send(&self, what: Datagram, port: u16, data: &[u8]) {
        let socket = if what == Datagram::Packet { &self.packets } else { &self.reports };
        let mapped = socket.local_addr().is_ok_and(|own| own.is_ipv6());
        let to = match self.from {
            IpAddr::V4(ip) if mapped => IpAddr::V6(ip.to_ipv6_mapped()),
            ip => ip,
        };
        let _ = socket.try_send_to(data, SocketAddr::new(to, port));
    }

    /// Sends a datagram to each port of the sender: firewalls between then let its own in.
    pub(crate) fn punch(&self, (packets, reports): (u16, u16)) {
        self.send(Datagram::Packet, packets, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.send(Datagram::Report, reports, &[0x80, 201, 0, 1, 0, 0, 0, 0]);
    }
}

/// How one track comes, and where reports about it go.
pub(crate) enum Way {
    Channels(u8, u8),
    Datagrams(Box<Pair>, u16),
}

/// How all tracks come that were set up, by their numbers in the description.
#[derive(Default)]
pub(crate) struct Ways(Vec<(usize, Way)>);

impl Ways {
    pub(crate) fn set(&mut self, track: usize, way: Way) {
        self.forget(track);
        self.0.push((track, way));
    }

    pub(crate) fn forget(&mut self, track: usize) {
        self.0.retain(|(known, _)| *known != track);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn has(&self, track: usize) -> bool {
        self.0.iter().any(|(known, _)| *known == track)
    }

    /// Whether packets may come out of order.
    pub(crate) fn are_datagrams(&self) -> bool {
        self.0.iter().any(|(_, way)| matches!(way, Way::Datagrams(..)))
    }

    /// Channels as wanted, if they are free.
    pub(crate) fn channels(&self, wanted: Option<(u8, u8)>) -> (u8, u8) {
        let taken = |channel: u8| self.of_channel(channel).is_some();
        let free = |&(packets, reports): &(u8, u8)| packets != reports && !taken(packets) && !taken(reports);
        let own = (0..=u8::MAX / 2).map(|number| (number * 2, number * 2 + 1)).find(free);
        wanted.filter(free).or(own).unwrap_or_default()
    }

    /// The track and kind of what comes in a channel.
    fn of_channel(&self, channel: u8) -> Option<(usize, Datagram)> {
        self.0.iter().find_map(|(track, way)| match way {
            Way::Channels(packets, _) if *packets == channel => Some((*track, Datagram::Packet)),
            Way::Channels(_, reports) if *reports == channel => Some((*track, Datagram::Report)),
            _ => None,
        })
    }

    /// Takes what came in a channel; of one that nobody set up it is passed over.
    pub(crate) fn take_channel(&self, now: Instant, channel: u8, data: Bytes, incoming: &mut Incoming) {
        if let Some(place) = self.of_channel(channel) {
            handle(incoming, now, place, data);
        }
    }

    /// Takes the datagrams that have come: how many, and their bytes.
    pub(crate) fn take(&self, now: Instant, buffer: &mut [u8], incoming: &mut Incoming) -> (u32, u64) {
        let (mut packets, mut bytes) = (0, 0);
        for (track, way) in &self.0 {
            let Way::Datagrams(pair, _) = way else { continue };
            pair.take(buffer, |what, data| {
                (packets, bytes) = (packets + 1, bytes + data.len() as u64);
                handle(incoming, now, (*track, what), data);
            });
        }
        (packets, bytes)
    }

    /// Takes what was sent before the connection ended: its end overtakes datagrams that are on their way, or wait to be
    /// read. Nothing is waited for in channels of the connection.
    pub(crate) async fn glean(&self, incoming: &mut Incoming) -> Portion {
        let mut portion = Portion::default();
        if self.are_datagrams() {
            let mut buffer = vec![0; BUFFER];
            let until = clock::now() + GLEANING;
            while clock::now() < until {
                let (packets, bytes) = self.take(clock::now(), &mut buffer, incoming);
                portion.messages += packets;
                portion.bytes += bytes;
                if packets == 0 && timeout(QUIET, poll_fn(|cx| self.poll_ready(cx))).await.is_err() {
                    break;
                }
            }
        }
        incoming.finish(clock::now());
        portion.outputs.extend(std::iter::from_fn(|| incoming.poll_output()));
        portion.lost = incoming.take_lost();
        portion
    }

    /// Whether datagrams came.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut came = false;
        for (_, way) in &self.0 {
            if let Way::Datagrams(pair, _) = way {
                came |= pair.poll_ready(cx).is_ready();
            }
        }
        if came { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Sends what is owed of reports; those for the connection are appended to `out`.
    pub(crate) fn report(&self, incoming: &mut Incoming, out: &mut Vec<u8>) {
        while let Some((track, report)) = incoming.poll_report() {
            match self.0.iter().find(|(known, _)| *known == track) {
                Some((_, Way::Channels(_, channel))) => {
                    out.extend([b'$', *channel]);
                    out.extend((report.len() as u16).to_be_bytes());
                    out.extend(report);
                }
                Some((_, Way::Datagrams(pair, port))) => pair.send(Datagram::Report, *port, &report),
                None => {}
            }
        }
    }

    /// Waits for bytes on the connection, which are read: how many; or for datagrams, which are not: `None`.
    pub(crate) async fn hear(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(buffer);
            if let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                return Poll::Ready(read.map(|()| Some(buffer.filled().len())));
            }
            self.poll_ready(cx).map(|()| Ok(None))
        })
        .await
    }
}

fn handle(incoming: &mut Incoming, now: Instant, (track, what): (usize, Datagram), data: Bytes) {
    match what {
        Datagram::Packet => incoming.handle_rtp(now, track, data),
        Datagram::Report => incoming.handle_rtcp(now, track, &data),
    }
}
