//! A player as its stream's shard has it: what it was promised, and where its packets go.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use datagram::{Outbound, Parts};
use tokio::{runtime::Handle, time::sleep};
use wire::{
    media::Tracks,
    rtp::Packet,
    rtsp::{Event, Muxer, Selection, Server, TrackStart, interleaved, track_formats},
};

use super::control::Run;
use crate::{
    clock,
    hub::ring::{Entry, Ring},
    sockets,
};

/// Bytes of send buffer asked for: a large key frame goes out at once.
const SEND_BUFFER: usize = 4 << 20;

/// The end of a stream is told so long after its last datagrams: it is read first where both are there, and what was sent
/// before it would not be read.
const PARTING: Duration = Duration::from_millis(300);

/// Tries to find two free ports side by side.
const PORT_TRIES: usize = 64;

/// Bytes that a player may say while PLAY is not answered.
const UNHEARD_MAX: usize = 64 << 10;

/// The two sockets that all datagrams of a port's players leave from, or those of one track that we push.
#[derive(Debug)]
pub(crate) struct UdpPorts {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    outbound: Outbound,
    runtime: Handle,
}

impl UdpPorts {
    /// Two ports side by side, the first of them even (RFC 3550 §11), wherever the system has them free; partings wait on
    /// `runtime`.
    pub(crate) fn open(host: IpAddr, runtime: &Handle) -> io::Result<Self> {
        let mut last = None;
        for _ in 0..PORT_TRIES {
            let rtp = sockets::udp(host, 0)?;
            let port = rtp.local_addr()?.port();
            if !port.is_multiple_of(2) {
                continue;
            }
            match sockets::udp(host, port + 1) {
                Ok(reports) => {
                    // Less is no reason to fail.
                    let _ = socket2::SockRef::from(&rtp).set_send_buffer_size(SEND_BUFFER);
                    let runtime = runtime.clone();
                    return Ok(Self { rtp, rtcp: reports, outbound: Outbound::default(), runtime });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)))
    }

    /// `to` as these sockets write it: those of IPv6 reach IPv4 by mapped addresses.
    pub(crate) fn reach(&self, to: SocketAddr) -> SocketAddr {
        let mapped = self.rtp.local_addr().is_ok_and(|own| own.is_ipv6());
        match to.ip() {
            IpAddr::V4(ip) if mapped => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> (u16, u16) {
        let port = |socket: &UdpSocket| socket.local_addr().map_or(0, |address| address.port());
        (port(&self.rtp), port(&self.rtcp))
    }
}

/// Where datagrams go, by channel; tracks that were not set up have no place.
#[derive(Debug)]
pub(crate) struct Datagrams {
    /// Where those of each track leave from; players share one.
    pub(crate) ports: [Arc<UdpPorts>; 2],
    pub(crate) to: [Option<SocketAddr>; 4],
}

impl Datagrams {
    /// Sends all chunks from `number` on; the number after the last, and the bytes sent. What the system does not take is
    /// lost, as datagrams are.
    pub(crate) fn send(&self, ring: &Ring, mut number: u64) -> (u64, u64) {
        let mut bytes = 0;
        while let Some(entry) = ring.get(number) {
            bytes += self.send_packets(&entry.chunk.head);
            number += 1;
        }
        (number, bytes)
    }

    /// Says `goodbye`, and lets the player's `connection` close, once its last datagrams had time to be read.
    pub(crate) fn part(&self, goodbye: Bytes, connection: &TcpStream) {
        let parting = Self { ports: self.ports.clone(), to: self.to };
        let kept = connection.try_clone();
        self.ports[0].runtime.spawn(async move {
            sleep(PARTING).await;
            parting.send_packets(&goodbye);
            drop(kept);
        });
    }

    /// Sends the packets of one chunk; the bytes sent.
    pub(crate) fn send_packets(&self, chunk: &Bytes) -> u64 {
        let packets: Vec<_> = interleaved(chunk).collect();
        let mut bytes = 0;
        for of_channel in packets.chunk_by(|one, next| one.0 == next.0) {
            let channel = of_channel[0].0;
            let Some(Some(to)) = self.to.get(usize::from(channel)) else { continue };
            let Some(exit) = self.ports.get(usize::from(channel / 2)) else { continue };
            let socket = if channel.is_multiple_of(2) { &exit.rtp } else { &exit.rtcp };
            let parts: Vec<Parts<'_>> = of_channel.iter().map(|(_, packet)| [&packet[..], &[]]).collect();
            let taken = exit.outbound.send(socket.as_fd(), Some(*to), &parts).unwrap_or(0);
            bytes += of_channel[..taken].iter().map(|(_, packet)| packet.len() as u64).sum::<u64>();
        }
        bytes
    }
}

/// A player whose PLAY was answered.
#[derive(Debug)]
pub struct RtspPlayer {
    /// What it still says goes on here.
    pub(crate) server: Server,
    /// The tracks it was told of.
    pub(crate) described: Arc<Tracks>,
    /// Those it set up.
    pub(crate) selection: Selection,
    /// `None`: on its connection.
    pub(crate) datagrams: Option<Datagrams>,
    /// Whether it is sent anything.
    pub(crate) run: Run,
    /// Bytes that it said while PLAY waited for its answer.
    pub(crate) unheard: usize,
}

impl RtspPlayer {
    /// Whether what it was told of is still true.
    pub(crate) fn can_follow(&self, tracks: &Arc<Tracks>) -> bool {
        Arc::ptr_eq(&self.described, tracks)
            || Muxer::can_follow(&self.described, tracks)
            // Who plays back faster or slower hears nothing meanwhile.
            || self.run.is_playback() && Muxer::can_stay(self.selection, &self.described, tracks)
    }

    /// Takes what it said; an error if it says too much while it is not answered.
    pub(crate) fn handle(&mut self, said: &[u8]) -> Result<(), ()> {
        self.unheard = if self.server.is_asked() { self.unheard + said.len() } else { 0 };
        self.server.handle(said);
        if self.unheard > UNHEARD_MAX { Err(()) } else { self.listen() }
    }

    /// PLAY is answered: with its first packet, if there is one. Then with what it said behind it.
    pub(crate) fn begin(&mut self, first: Option<(&Ring, u64)>) -> Result<(), ()> {
        let entry = first.and_then(|(ring, number)| ring.get(number));
        if self.run.set_begun(entry.is_some()) {
            let starts = first.map(|(ring, number)| self.starts(ring, number)).unwrap_or_default();
            self.server.play(self.run.played(entry.map(|entry| entry.dts)), &starts);
        }
        self.listen()
    }

    /// The first packet of each track from chunk `number` on, as far as they are known.
    fn starts(&self, ring: &Ring, number: u64) -> Vec<TrackStart> {
        let found = |track: usize| {
            let mut entries = (number..).map_while(|number| ring.get(number));
            entries.find_map(|entry| first_packet(entry, track)).or_else(|| {
                let known = ring.get(number)?.upcoming.as_ref()?;
                known.iter().find(|start| start.track == track).copied()
            })
        };
        (0..track_formats(&self.described).len()).filter_map(found).collect()
    }

    /// Deals with what it said; an error if it leaves, or cannot be understood.
    pub(crate) fn listen(&mut self) -> Result<(), ()> {
        loop {
            match self.server.poll_event() {
                Ok(None) => return Ok(()),
                Ok(Some(Event::Data(..))) => {} // receiver reports, which change nothing
                Ok(Some(Event::Ended)) | Err(_) => return Err(()),
                Ok(Some(Event::Play(wish))) => match self.run.play(clock::now(), &wish, false) {
                    Ok(()) if self.run.is_running() => self.server.play(self.run.played(None), &[]),
                    // It is answered with the first packet.
                    Ok(()) => self.unheard = 0,
                    Err(status) => self.server.refuse(status),
                },
                Ok(Some(Event::Pause)) => match self.run.pause() {
                    Ok(at) => self.server.pause(at),
                    Err(status) => self.server.refuse(status),
                },
                Ok(Some(Event::Get(names))) => match self.run.tell(&names) {
                    Ok(parameters) => self.server.tell(&parameters),
                    Err(status) => self.server.refuse(status),
                },
                Ok(Some(_)) => self.server.refuse(455),
            }
        }
    }
}

/// The first packet of a track in a chunk.
fn first_packet(entry: &Entry, track: usize) -> Option<TrackStart> {
    let chunk = entry.chunk.to_bytes();
    let (_, packet) = interleaved(&chunk).find(|(channel, _)| usize::from(*channel) == track * 2)?;
    let packet = Packet::parse(&packet).ok()?;
    Some(TrackStart { track, seq: packet.seq, timestamp: packet.timestamp })
}
