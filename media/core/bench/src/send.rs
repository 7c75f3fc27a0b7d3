//! The cameras: one stream to each port, its pictures spread evenly among those of the others.

use std::{
    io::{self, IoSlice, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use datagram::{Outbound, Parts};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::program;

/// What carries a camera's packets; it says how many of them it took.
pub trait Carrier {
    fn carry(&mut self, packets: &[([u8; 12], &[u8])]) -> io::Result<usize>;
}

struct Camera<C> {
    carrier: C,
    sequence: u16,
    sent: u64,
    refused: u64,
}

/// Sends for `seconds` to each of `ports` on loopback; a port's stream has the SSRC of its position, from 1 on.
pub fn run<C: Carrier>(
    seconds: u32,
    ports: &[u32],
    connect: impl Fn(u16) -> io::Result<C>,
) -> io::Result<()> {
    let camera =
        |port: &u32| Ok(Camera { carrier: connect(*port as u16)?, sequence: 0, sent: 0, refused: 0 });
    let mut cameras = ports.iter().map(camera).collect::<io::Result<Vec<_>>>()?;
    let mut packs = program::packs();
    let pictures = u64::from(seconds * program::FPS);
    let interval = Duration::from_secs(1) / program::FPS;
    let began = Instant::now();
    let mut late = Duration::ZERO;
    for number in 0..pictures {
        let count = packs.len() as u64;
        let pack = &mut packs[(number % count) as usize];
        program::stamp(pack, number);
        for index in 0..cameras.len() {
            let share = interval * index as u32 / cameras.len() as u32;
            let due = began + interval * number as u32 + share;
            let now = Instant::now();
            if let Some(early) = due.checked_duration_since(now) {
                // A sleep of less than the timer's slack is not worth a system call.
                if early > Duration::from_micros(100) {
                    std::thread::sleep(early);
                }
            } else {
                late = late.max(now - due);
            }
            cameras[index].send(pack, index as u32 + 1, number)?;
        }
    }
    let sent: u64 = cameras.iter().map(|camera| camera.sent).sum();
    let refused: u64 = cameras.iter().map(|camera| camera.refused).sum();
    println!("{{\"sent\": {sent}, \"refused\": {refused}, \"latest_ms\": {}}}", late.as_millis());
    Ok(())
}

/// Packets as datagrams of their own.
pub struct Datagrams(UdpSocket);

/// Packets in runs that the system cuts on the way, or not at all where the receiver takes them whole.
pub struct Runs(UdpSocket, Outbound);

/// Packets behind their lengths on a connection.
pub struct Connection(TcpStream);

pub fn datagrams(port: u16) -> io::Result<Datagrams> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket2::SockRef::from(&socket).set_send_buffer_size(1 << 20)?;
    Ok(Datagrams(socket))
}

pub fn runs(port: u16) -> io::Result<Runs> {
    Ok(Runs(datagrams(port)?.0, Outbound::default()))
}

pub fn connection(port: u16) -> io::Result<Connection> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    Ok(Connection(socket))
}

impl<C: Carrier> Camera<C> {
    fn send(&mut self, pack: &[u8], ssrc: u32, number: u64) -> io::Result<()> {
        let timestamp = (number * 90_000 / u64::from(program::FPS)) as u32;
        let packets: Vec<_> = program::packets(pack, ssrc, self.sequence, timestamp).collect();
        self.sequence = self.sequence.wrapping_add(packets.len() as u16);
        let taken = self.carrier.carry(&packets)?;
        self.sent += taken as u64;
        self.refused += (packets.len() - taken) as u64;
        Ok(())
    }
}

impl Carrier for Datagrams {
    fn carry(&mut self, packets: &[([u8; 12], &[u8])]) -> io::Result<usize> {
        let mut all = 0;
        for some in packets.chunks(64) {
            let slices: Vec<_> =
                some.iter().map(|(head, body)| [IoSlice::new(head), IoSlice::new(body)]).collect();
            let mut controls: Vec<_> = some.iter().map(|_| SendAncillaryBuffer::default()).collect();
            let mut messages: Vec<_> = slices
                .iter()
                .zip(&mut controls)
                .map(|(slices, control)| MMsgHdr::new(slices, control))
                .collect();
            all += sendmmsg(&self.0, &mut messages, SendFlags::empty())?;
        }
        Ok(all)
    }
}

impl Carrier for Runs {
    fn carry(&mut self, packets: &[([u8; 12], &[u8])]) -> io::Result<usize> {
        let parts: Vec<Parts<'_>> = packets.iter().map(|(head, body)| [&head[..], body]).collect();
        self.1.send(self.0.as_fd(), None, &parts)
    }
}

impl Carrier for Connection {
    fn carry(&mut self, packets: &[([u8; 12], &[u8])]) -> io::Result<usize> {
        let mut bytes = Vec::with_capacity(packets.iter().map(|(_, body)| body.len() + 14).sum());
        for (head, body) in packets {
            bytes.extend(((head.len() + body.len()) as u16).to_be_bytes());
            bytes.extend(head);
            bytes.extend(*body);
        }
        self.0.write_all(&bytes)?;
        Ok(packets.len())
    }
}
