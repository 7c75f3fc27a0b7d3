//! Ports of ours that datagrams of RTP and RTCP come in at: a pair for each track, from the range of all receivers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::net::UdpSocket;

use crate::{ports::PortPool, sockets, table::Lease};

/// Datagrams taken from one socket before others have their turn.
const TURN: usize = 64;

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
pub(crate) enum Datagram {
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
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (packets, reports) = (self.packets.poll_recv_ready(cx), self.reports.poll_recv_ready(cx));
        if packets.is_ready() || reports.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives what has come, and is of the sender, to `each`.
    pub(crate) fn take(&self, buffer: &mut [u8], mut each: impl FnMut(Datagram, Bytes)) {
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

    /// Sends a report to `port` of the sender; what the system does not take is lost.
    pub(crate) fn report(&self, port: u16, report: &[u8]) {
        let mapped = self.reports.local_addr().is_ok_and(|own| own.is_ipv6());
        let to = match self.from {
            IpAddr::V4(ip) if mapped => IpAddr::V6(ip.to_ipv6_mapped()),
            ip => ip,
        };
        let _ = self.reports.try_send_to(report, SocketAddr::new(to, port));
    }
}
