//! The sockets of receivers.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{config::Transport, ingest::Sockets};

/// Bytes of receive buffer asked for; the kernel gives what `net.core.rmem_max` allows.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// The sockets of one dedicated port. A passive TCP receiver hears UDP too: some devices answer a TCP offer with UDP.
pub(crate) fn dedicated(
    host: IpAddr,
    port: u16,
    transport: Transport,
    offload: bool,
) -> std::io::Result<Sockets> {
    let listener = match transport {
        Transport::TcpPassive => Some(tcp(host, port, 4)?),
        _ => None,
    };
    let (rtp, reports) = (packets(host, port, offload)?, udp(host, port + 1)?);
    Ok(Sockets { rtp: Some(rtp.into()), rtcp: Some(reports.into()), listener, shared: None })
}

/// A UDP socket whose packets come in runs with `offload`: it is read by a [`datagram::Batch`] and nothing else.
pub(crate) fn packets(host: IpAddr, port: u16, offload: bool) -> std::io::Result<UdpSocket> {
    let socket = udp(host, port)?;
    if offload {
        // Where the system cannot, they come one by one.
        let _ = datagram::offload(socket.as_fd());
    }
    Ok(socket)
}

/// A UDP socket with room for bursts.
pub(crate) fn udp(host: IpAddr, port: u16) -> std::io::Result<UdpSocket> {
    let (socket, address) = socket(host, port, Type::DGRAM, Protocol::UDP)?;
    // Less is no reason to fail.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A listening socket.
pub(crate) fn tcp(host: IpAddr, port: u16, backlog: i32) -> std::io::Result<TcpListener> {
    let (socket, address) = socket(host, port, Type::STREAM, Protocol::TCP)?;
    // The last stream's closed connections must not hold the port.
    socket.set_reuse_address(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER / 4);
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// A non-blocking socket; `::` hears IPv4 too, and where there is no IPv6 it means every IPv4 address.
fn socket(host: IpAddr, port: u16, kind: Type, protocol: Protocol) -> std::io::Result<(Socket, SocketAddr)> {
    let mut address = SocketAddr::new(host, port);
    let mut socket = Socket::new(Domain::for_address(address), kind, Some(protocol));
    if socket.is_err() && host.is_ipv6() && host.is_unspecified() {
        address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        socket = Socket::new(Domain::IPV4, kind, Some(protocol));
    }
    let socket = socket?;
    if address.is_ipv6() {
        socket.set_only_v6(!host.is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
