//! A transport stream in datagrams, to a port of ours or a multicast group, with RTP around it or without (RFC 2250,
//! RFC 3550).
//!
//! `udp://0.0.0.0:5000`, `udp://239.1.1.1:5000?source=192.0.2.7&interface=192.0.2.1`: `source` is the only sender that is
//! heard, `interface` the address of ours at which the group is joined. Without `source` the first sender is the one.

use std::{
    convert::Infallible,
    io, iter,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdSocket},
    time::Duration,
};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time::timeout_at};
use wire::{
    fault::Fault,
    reorder::{self, Reorder},
    rtp,
    ts_read::TsReader,
    unpack::{Options, Output},
};

use super::{
    attempt::{Attempt, Vigil},
    failure::Failure,
    location::Location,
};
use crate::{clock, config::Transport, feed::Portion};

/// Bytes of receive buffer asked for; the kernel gives what `net.core.rmem_max` allows.
const RECEIVE_BUFFER: usize = 4 << 20;
/// A datagram has no more.
const DATAGRAM_MAX: usize = 65_535;
/// How long a packet of RTP that is missing is waited for, and across how many numbers.
const HOLD: Duration = Duration::from_millis(100);
const WINDOW: u16 = 512;
/// Datagrams that are read before what they brought is handed on.
const BURST: usize = 64;
/// Size of a transport packet, and what it begins with.
const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// What the URL asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    at: SocketAddr,
    source: Option<IpAddr>,
    interface: Option<IpAddr>,
}

impl Wanted {
    fn of(location: &Location) -> Option<Self> {
        let at = SocketAddr::new(location.address()?, location.port);
        let query = location.target.split_once('?').map_or("", |(_, query)| query);
        let named = |wanted| {
            let mut fields = query.split('&').filter_map(|field| field.split_once('='));
            fields.find(|(name, _)| *name == wanted).map(|(_, value)| value)
        };
        let address = |name| match named(name) {
            Some(value) => value.parse().ok().map(Some),
            None => Some(None),
        };
        Some(Self { at, source: address("source")?, interface: address("interface")? })
    }

    /// The socket, in the group if it is one.
    fn open(&self) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(self.at), Type::DGRAM, Some(Protocol::UDP))?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER); // less is no reason to fail
        if self.at.ip().is_multicast() {
            // Several may listen to one group.
            socket.set_reuse_address(true)?;
        }
        // Bound to the group itself, a socket hears nothing of others at the same port.
        socket.bind(&self.at.into())?;
        match (self.at.ip(), self.interface, self.source) {
            (IpAddr::V4(group), interface, source) if group.is_multicast() => {
                let interface = match interface {
                    Some(IpAddr::V4(interface)) => interface,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                match source {
                    Some(IpAddr::V4(source)) => socket.join_ssm_v4(&source, &group, &interface)?,
                    _ => socket.join_multicast_v4(&group, &interface)?,
                }
            }
            (IpAddr::V6(group), ..) if group.is_multicast() => socket.join_multicast_v6(&group, 0)?,
            _ => {}
        }
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(StdSocket::from(socket))
    }
}

/// Datagrams to the bytes of one transport stream.
pub(super) struct Datagrams {
    reader: TsReader,
    order: Reorder<Bytes>,
    portion: Portion,
}

impl Datagrams {
    pub(super) fn new() -> Self {
        let reader = TsReader::new(Options::default());
        Self { reader, order: Reorder::new(HOLD, WINDOW), portion: Portion::default() }
    }

    pub(super) fn handle(&mut self, data: &[u8]) -> Result<(), Failure> {
        let now = clock::now();
        self.portion.bytes += data.len() as u64;
        self.portion.messages += 1;
        if data.first() == Some(&SYNC) && data.len().is_multiple_of(PACKET) {
            return self.reader.handle_bytes(now, data).map_err(Failure::NotTs);
        }
        match rtp::Packet::parse(data) {
            Ok(packet) if packet.payload.first() == Some(&SYNC) => {
                self.order.handle_packet(now, packet.seq, Bytes::copy_from_slice(packet.payload));
                self.settle()
            }
            Ok(_) => {
                self.portion.outputs.push(Output::Fault(Fault::ForeignPacket));
                Ok(())
            }
            Err(_) => {
                self.portion.outputs.push(Output::Fault(Fault::BadRtp));
                Ok(())
            }
        }
    }

    /// Reads what is in order by now.
    fn settle(&mut self) -> Result<(), Failure> {
        let now = clock::now();
        while let Some(output) = self.order.poll_output(now) {
            match output {
                reorder::Output::Packet(payload) => {
                    self.reader.handle_bytes(now, &payload).map_err(Failure::NotTs)?;
                }
                reorder::Output::Lost(_) => {
                    self.portion.outputs.push(Output::Fault(Fault::SequenceGap));
                    self.reader.handle_gap();
                }
                reorder::Output::Restarted => {
                    self.portion.outputs.push(Output::Fault(Fault::SequenceRestart));
                    self.reader.handle_gap();
                }
            }
        }
        Ok(())
    }

    fn handle_timeout(&mut self) -> Result<(), Failure> {
        self.reader.handle_timeout(clock::now());
        self.settle()
    }

    pub(super) fn take(&mut self) -> Portion {
        self.portion.outputs.extend(iter::from_fn(|| self.reader.poll_output()));
        std::mem::take(&mut self.portion)
    }
}

/// Listens until nothing comes any more.
pub(super) async fn run(attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    let wanted = Wanted::of(&attempt.order.location).ok_or(Failure::BadSource)?;
    let socket = wanted.open().map_err(Failure::Listen)?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    let mut datagrams = Datagrams::new();
    let mut vigil = Vigil::new(attempt.patience);
    let mut sender: Option<SocketAddr> = None;
    loop {
        vigil.check()?;
        let due = datagrams.reader.next_timeout().into_iter().chain(datagrams.order.next_timeout());
        let due = due.min().map_or(vigil.due(), |due| due.min(vigil.due()));
        match timeout_at(due.into(), socket.recv_from(&mut buffer)).await {
            Err(_) => datagrams.handle_timeout()?,
            Ok(received) => {
                let mut received = received;
                for _ in 0..BURST {
                    match received {
                        Ok((len, from)) => {
                            if wanted.hears(sender, from) {
                                if sender.replace(from).is_none() {
                                    attempt.connected(from);
                                    attempt.carried_by(Transport::UdpTs, "ts");
                                }
                                vigil.heard();
                                datagrams.handle(&buffer[..len])?;
                            } else {
                                datagrams.portion.outputs.push(Output::Fault(Fault::ForeignPacket));
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(Failure::Listen(error)),
                    }
                    received = socket.try_recv_from(&mut buffer);
                }
            }
        }
        let portion = datagrams.take();
        vigil.made(&portion.outputs);
        if !portion.outputs.is_empty() || portion.bytes > 0 {
            attempt.send(portion).await?;
        }
    }
}

impl Wanted {
    /// Whether a datagram counts: from the source that was named, or else from the sender of the first one.
    fn hears(&self, sender: Option<SocketAddr>, from: SocketAddr) -> bool {
        match (self.source, sender) {
            (Some(source), _) => from.ip().to_canonical() == source.to_canonical(),
            (None, Some(sender)) => sender.ip() == from.ip(),
            (None, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(url: &str) -> Option<Wanted> {
        Wanted::of(&Location::parse(url).unwrap())
    }

    #[test]
    fn the_url_names_port_group_source_and_interface() {
        let found =
            wanted("udp://@239.1.1.1:5000?pkt_size=1316&source=192.0.2.7&interface=127.0.0.1").unwrap();
        assert_eq!(found.at, "239.1.1.1:5000".parse().unwrap());
        assert_eq!((found.source, found.interface), ("192.0.2.7".parse().ok(), "127.0.0.1".parse().ok()));
        assert_eq!(wanted("udp://0.0.0.0:5000?source=x"), None);
        let from = |text: &str| text.parse().unwrap();
        assert!(found.hears(None, from("192.0.2.7:9")) && !found.hears(None, from("192.0.2.8:9")));
        let any = wanted("udp://0.0.0.0:5000").unwrap();
        assert!(any.hears(None, from("1.1.1.1:9")) && !any.hears(Some(from("1.1.1.1:9")), from("1.1.1.2:9")));
    }
}
