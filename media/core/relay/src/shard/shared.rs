//! The one port that many streams share, told apart by SSRC (never by SSRC alone: each stream's gate asks for the right
//! address too).

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use slab::Slab;

use super::poll::{Interest, Poll, Role, Token};
use crate::ingest::canonical;

/// A connection must show its SSRC within so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections that have not shown their SSRC; the next one is refused.
const NEWCOMERS_MAX: usize = 256;

struct Newcomer {
    socket: TcpStream,
    peer: SocketAddr,
    since: Instant,
}

/// What a look at a newcomer's first bytes gave.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    More,
    Ssrc(u32),
    Nonsense,
}

pub(crate) struct Shared {
    pub(crate) socket: Arc<UdpSocket>,
    listener: TcpListener,
    newcomers: Slab<Newcomer>,
    /// Which stream waits for an SSRC.
    pub(crate) streams: HashMap<u32, usize>,
}

impl Shared {
    pub(crate) fn new(socket: UdpSocket, listener: TcpListener) -> Self {
        Self { socket: Arc::new(socket), listener, newcomers: Slab::new(), streams: HashMap::new() }
    }

    pub(crate) fn watch(&self, poll: &Poll) -> io::Result<()> {
        poll.add(&self.socket, Token::new(Role::SharedRtp, 0, 0), Interest::Read)?;
        poll.add(&self.listener, Token::new(Role::SharedListener, 0, 0), Interest::Read)
    }

    /// The socket for a stream to send back on.
    pub(crate) fn lend(&self) -> Weak<UdpSocket> {
        Arc::downgrade(&self.socket)
    }

    /// The stream that waits for a packet's SSRC, which stands where RTP has it: RTCP is not looked at here.
    pub(crate) fn stream_of(&self, data: &[u8]) -> Option<usize> {
        let ssrc = data.get(8..12)?.first_chunk()?;
        self.streams.get(&u32::from_be_bytes(*ssrc)).copied().filter(|_| data[0] >> 6 == 2)
    }

    /// Takes in who connects; the number of connections refused.
    pub(crate) fn accept(&mut self, now: Instant, poll: &Poll) -> u64 {
        let mut refused = 0;
        for _ in 0..64 {
            let Ok((socket, peer)) = self.listener.accept() else { break };
            if self.newcomers.len() >= NEWCOMERS_MAX || socket.set_nonblocking(true).is_err() {
                refused += 1;
                continue;
            }
            let slot = self.newcomers.vacant_entry();
            // Edges: the bytes are only looked at, and would make the descriptor readable for ever.
            let token = Token::new(Role::Newcomer, 0, slot.key() as u32);
            if poll.add(&socket, token, Interest::Edges).is_ok() {
                slot.insert(Newcomer { socket, peer: canonical(peer), since: now });
            }
        }
        refused
    }

    /// Looks at a newcomer: the stream it belongs to, its socket and address, or an error if it has to go.
    pub(crate) fn look(&mut self, key: usize) -> Result<Option<(usize, TcpStream, SocketAddr)>, ()> {
        let Some(newcomer) = self.newcomers.get(key) else { return Ok(None) };
        let mut start = [0_u8; 16];
        let shown = match newcomer.socket.peek(&mut start) {
            Ok(0) => Shown::Nonsense,
            Ok(size) => ssrc(&start[..size]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Shown::More,
            Err(_) => Shown::Nonsense,
        };
        let stream = match shown {
            Shown::More => return Ok(None),
            Shown::Ssrc(ssrc) => self.streams.get(&ssrc).copied(),
            Shown::Nonsense => None,
        };
        let newcomer = self.newcomers.remove(key);
        stream.map(|stream| Some((stream, newcomer.socket, newcomer.peer))).ok_or(())
    }

    /// Lets go who said nothing in time; how many.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let before = self.newcomers.len();
        self.newcomers.retain(|_, newcomer| now.saturating_duration_since(newcomer.since) < PATIENCE);
        (before - self.newcomers.len()) as u64
    }
}

/// The SSRC in the first frame of a connection (RFC 4571, or interleaved as in RTSP).
fn ssrc(start: &[u8]) -> Shown {
    let head = if start.first() == Some(&b'$') { 4 } else { 2 };
    match start.get(head..).unwrap_or_default() {
        [first, ..] if first >> 6 != 2 => Shown::Nonsense,
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] => Shown::Ssrc(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Shown::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_ssrc_in_both_framings() {
        let packet = [0x80, 96, 0, 1, 0, 0, 0, 0, 6, 0xDA, 0xC2, 0xC1];
        let plain = [&[0, 12][..], &packet].concat();
        let interleaved = [&[b'$', 0, 0, 12][..], &packet].concat();
        for frame in [&plain, &interleaved] {
            assert_eq!(ssrc(frame), Shown::Ssrc(0x06DA_C2C1));
            (0..frame.len()).for_each(|cut| assert_eq!(ssrc(&frame[..cut]), Shown::More));
        }
        assert_eq!(ssrc(b"GET / HTTP"), Shown::Nonsense);
    }
}
