//! What a sender needs before its shard takes it over: checked values, a port of its own, a place in the directory.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    OpenSender, Transport,
    account::{Beginning, Directory, Listed},
};
use crate::{
    back::Claim,
    config::{self, Config},
    door::Seat,
    error::Error,
    events::EventQueue,
    ports::PortPool,
    sockets,
    table::{Entry, Lease},
};

/// Targets of one stream.
pub(crate) const SENDERS_MAX: usize = 64;

/// Ports tried before giving up: others on this machine may hold some.
const PORT_TRIES: usize = 64;

/// Bytes of send buffer asked for: a key frame on a slow connection, a burst of datagrams.
const SEND_BUFFER: usize = 1 << 20;

/// The sockets that a sender begins with.
pub(crate) enum Sockets {
    /// For packets, and for reports.
    Udp(UdpSocket, UdpSocket),
    Listener(TcpListener),
    /// A receiver's.
    Over(Claim),
    None,
}

/// A sender that can begin.
pub(crate) struct Opening {
    pub(crate) listed: Listed,
    pub(crate) sockets: Sockets,
    /// Where to; for a passive one the address that may connect.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) payload_type: u8,
    pub(crate) report_timeout: Option<Duration>,
    pub(crate) wait: Duration,
    pub(crate) rtcp: bool,
    pub(crate) seat: Seat,
    /// Dropped after the sockets.
    pub(crate) lease: Option<Lease>,
}

/// What senders are opened with.
pub(crate) struct Means<'a> {
    pub(crate) config: &'a Config,
    pub(crate) ports: &'a Arc<Mutex<PortPool>>,
    pub(crate) events: &'a Arc<EventQueue>,
    pub(crate) directory: &'a Arc<Directory>,
    /// The receiver whose connection is to be used.
    pub(crate) over: Option<Arc<Entry>>,
}

impl Opening {
    /// Checks what is asked for and opens its port.
    pub(crate) fn new(means: &Means<'_>, entry: Arc<Entry>, wanted: &OpenSender) -> Result<Self, Error> {
        check(wanted)?;
        if means.directory.of_stream(entry.id) >= SENDERS_MAX {
            return Err(Error::Invalid(format!("more than {SENDERS_MAX} senders of one stream")));
        }
        let (transport, (sockets, port, lease)) = match &means.over {
            Some(over) => (transport_of(over)?, (claim(over)?, over.port, None)),
            None => (wanted.transport, open(means, wanted)?),
        };
        let to = wanted.host.map(|host| SocketAddr::new(host.to_canonical(), wanted.port));
        let to = match &sockets {
            Sockets::Udp(rtp, _) => to.map(|to| reach(rtp, to)),
            _ => to,
        };
        let seat = entry.feeds.place();
        let listed = means.directory.enter(Beginning {
            entry,
            events: Arc::clone(means.events),
            transport,
            form: wanted.form,
            ssrc: wanted.ssrc,
            port,
            over: means.over.as_ref().map(|over| over.id),
            peer: wanted
                .host
                .filter(|_| wanted.transport != Transport::TcpPassive)
                .map(|host| SocketAddr::new(host.to_canonical(), wanted.port)),
        });
        Ok(Self {
            listed,
            sockets,
            to,
            payload_type: wanted.payload_type,
            report_timeout: wanted.report_timeout,
            wait: wanted.wait,
            rtcp: wanted.rtcp,
            seat,
            lease,
        })
    }
}

fn check(wanted: &OpenSender) -> Result<(), Error> {
    let invalid = |what: &str| Err(Error::Invalid(what.to_owned()));
    let selection = wanted.form.selection;
    if !selection.video && !selection.audio {
        return invalid("a sender needs video, audio or both");
    }
    if wanted.payload_type > 127 {
        return invalid("a payload type is at most 127");
    }
    if wanted.over.is_some() {
        let named = wanted.host.is_some() || wanted.port > 0 || wanted.local_port > 0;
        return match wanted.report_timeout {
            _ if named => invalid("who is sent to over a receiver has no address of its own"),
            Some(_) => invalid("what a receiver's source reports is heard by the receiver alone"),
            None => Ok(()),
        };
    }
    if wanted.transport == Transport::TcpPassive {
        return Ok(());
    }
    match wanted.host {
        Some(host) if !host.is_unspecified() && !host.is_multicast() && wanted.port > 0 => {}
        _ => return invalid("a sender needs the address and port of one target"),
    }
    if wanted.transport == Transport::TcpActive && wanted.local_port > 0 {
        return invalid("an active sender has no port of its own");
    }
    if wanted.transport == Transport::Udp && (wanted.local_port == u16::MAX || wanted.port == u16::MAX) {
        return invalid("reports need the port above");
    }
    Ok(())
}

/// How the source of a receiver is reached.
fn transport_of(over: &Entry) -> Result<Transport, Error> {
    match over.transport {
        config::Transport::Udp => Ok(Transport::Udp),
        config::Transport::TcpActive => Ok(Transport::TcpActive),
        config::Transport::TcpPassive => Ok(Transport::TcpPassive),
        _ => Err(Error::Invalid(format!("stream {} has no connection of RTP to send on", over.name))),
    }
}

fn claim(over: &Arc<Entry>) -> Result<Sockets, Error> {
    let claim = Claim::new(Arc::clone(over)).map(Sockets::Over);
    claim
        .ok_or_else(|| Error::Invalid(format!("somebody sends over the connection of {} already", over.name)))
}

/// The sockets of a sender, its port, and what gives the port back.
fn open(means: &Means<'_>, wanted: &OpenSender) -> Result<(Sockets, u16, Option<Lease>), Error> {
    let host = means.config.rtp_host;
    match (wanted.transport, wanted.local_port) {
        (Transport::TcpActive, _) => Ok((Sockets::None, 0, None)),
        (transport, 0) => {
            let (min, max) = (means.config.rtp_port_min, means.config.rtp_port_max);
            for _ in 0..PORT_TRIES {
                let lease = Lease::new(means.ports).ok_or(Error::NoFreePort(min, max))?;
                match bind(host, lease.port, transport) {
                    Ok(sockets) => return Ok((sockets, lease.port, Some(lease))),
                    // A port that somebody else holds rests like a used one.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    Err(error) => return Err(Error::Io(format!("cannot open port {}", lease.port), error)),
                }
            }
            Err(Error::NoFreePort(min, max))
        }
        (transport, port) => {
            let sockets =
                bind(host, port, transport).map_err(Error::io(format!("cannot open port {port}")))?;
            Ok((sockets, port, None))
        }
    }
}

fn bind(host: IpAddr, port: u16, transport: Transport) -> io::Result<Sockets> {
    if transport == Transport::TcpPassive {
        return Ok(Sockets::Listener(sockets::tcp(host, port, 4)?));
    }
    let (rtp, reports) = (sockets::udp(host, port)?, sockets::udp(host, port + 1)?);
    // Less is no reason to fail.
    let _ = socket2::SockRef::from(&rtp).set_send_buffer_size(SEND_BUFFER);
    Ok(Sockets::Udp(rtp, reports))
}

/// `to` as this socket writes it: one of IPv6 reaches IPv4 by mapped addresses.
fn reach(socket: &UdpSocket, to: SocketAddr) -> SocketAddr {
    let mapped = socket.local_addr().is_ok_and(|own| own.is_ipv6());
    match to.ip() {
        IpAddr::V4(ip) if mapped => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    }
}
