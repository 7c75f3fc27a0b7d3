//! A target on a connection (RFC 4571): packets are never lost there, so who does not take them goes on at a key frame.

use std::{
    io::{self, IoSlice, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use wire::send::{HEAD, Source, packets};

use super::{
    group::{Group, Position},
    udp::Sent,
};

/// Not a byte taken for so long, though some wait: the target is given up.
const STALL: Duration = Duration::from_secs(10);

/// Packets handed to the system at once.
const AT_ONCE: usize = 64;

/// A packet that the socket took a part of; it is held here so that the ring may forget it.
struct Begun {
    head: [u8; HEAD],
    payload: Bytes,
    written: usize,
}

pub(crate) struct Tcp {
    socket: TcpStream,
    begun: Option<Begun>,
    blocked: bool,
    progress: Instant,
}

impl Tcp {
    pub(crate) fn new(now: Instant, socket: TcpStream) -> Self {
        // Whole frames are written at once; what is left of one must not wait for an answer.
        let _ = socket.set_nodelay(true);
        Self { socket, begun: None, blocked: false, progress: now }
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Whether it is in the middle of a packet.
    pub(crate) fn is_between(&self) -> bool {
        self.begun.is_none()
    }

    /// Writes what the socket takes of what follows `position`.
    pub(crate) fn pump(
        &mut self,
        now: Instant,
        group: &Group,
        position: &mut Position,
        source: &mut Source,
    ) -> Result<Sent, &'static str> {
        let mut sent = Sent::default();
        loop {
            self.write_begun(now, &mut sent)?;
            if self.blocked || !self.write(now, group, position, source, &mut sent)? {
                return Ok(sent);
            }
        }
    }

    /// Writes the rest of a packet that was begun.
    pub(crate) fn write_begun(&mut self, now: Instant, sent: &mut Sent) -> Result<(), &'static str> {
        while !self.blocked
            && let Some(mut begun) = self.begun.take()
        {
            let from = begun.written.min(HEAD);
            let slices =
                [IoSlice::new(&begun.head[from..]), IoSlice::new(&begun.payload[begun.written - from..])];
            let taken = self.send(&slices, now)?;
            sent.bytes += taken as u64;
            begun.written += taken;
            if begun.written < HEAD + begun.payload.len() {
                self.begun = Some(begun);
            } else {
                sent.packets += 1;
            }
        }
        Ok(())
    }

    /// Writes some packets; false if there are no more.
    fn write(
        &mut self,
        now: Instant,
        group: &Group,
        position: &mut Position,
        source: &mut Source,
        sent: &mut Sent,
    ) -> Result<bool, &'static str> {
        let mut heads = [[0; HEAD]; AT_ONCE];
        let mut payloads: [(&[u8], Position); AT_ONCE] = [(&[], *position); AT_ONCE];
        let mut count = 0;
        let mut at = *position;
        'ring: while let Some(entry) = group.ring.get(at.number) {
            for packet in packets(&entry.chunk.head, at.at) {
                if count == AT_ONCE {
                    break 'ring;
                }
                heads[count] = source.head(&packet);
                at.at += packet.framed_len();
                payloads[count] = (packet.payload, at);
                count += 1;
            }
            at = Position { number: at.number + 1, at: 0 };
            match count.checked_sub(1) {
                Some(last) => payloads[last].1 = at,
                None => *position = at,
            }
        }
        if count == 0 {
            return Ok(false);
        }
        let mut slices = [IoSlice::new(&[]); AT_ONCE * 2];
        for (number, (head, (payload, _))) in heads.iter().zip(&payloads[..count]).enumerate() {
            slices[number * 2] = IoSlice::new(head);
            slices[number * 2 + 1] = IoSlice::new(payload);
        }
        let mut taken = self.send(&slices[..count * 2], now)?;
        sent.bytes += taken as u64;
        for (number, (payload, end)) in payloads[..count].iter().enumerate() {
            let size = HEAD + payload.len();
            if taken == 0 {
                // These went to nobody.
                let untaken = &payloads[number..count];
                source.take_back(untaken.len(), untaken.iter().map(|(payload, _)| payload.len()).sum());
                break;
            }
            if taken < size {
                let Some(entry) = entry_of(group, *position, payload) else { return Err("internal error") };
                self.begun = Some(Begun { head: heads[number], payload: entry, written: taken });
                taken = 0;
            } else {
                taken -= size;
                sent.packets += 1;
            }
            *position = *end;
        }
        Ok(true)
    }

    /// Bytes that the socket took; fewer than asked means that it is full now.
    fn send(&mut self, slices: &[IoSlice<'_>], now: Instant) -> Result<usize, &'static str> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let taken = match sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags) {
            Ok(taken) => taken,
            Err(Errno::INTR) => 0,
            Err(Errno::AGAIN) => {
                self.blocked = true;
                0
            }
            Err(_) => return Err("the connection broke"),
        };
        if taken > 0 {
            self.progress = now;
        }
        Ok(taken)
    }

    /// Reads past what the target says; whether it said anything.
    pub(crate) fn listen(&mut self, scratch: &mut [u8]) -> Result<bool, &'static str> {
        let mut heard = false;
        for _ in 0..4 {
            match self.socket.read(scratch) {
                Ok(0) => return Err("the target closed the connection"),
                Ok(_) => heard = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err("the connection broke"),
            }
        }
        Ok(heard)
    }

    /// Why the target is given up because of time, if it is.
    pub(crate) fn check(&self, now: Instant) -> Result<(), &'static str> {
        let stalled = self.blocked && now.saturating_duration_since(self.progress) >= STALL;
        if stalled { Err("the target takes nothing") } else { Ok(()) }
    }
}

/// The payload as a part of the chunk that it was found in, which then lives as long as needed.
fn entry_of(group: &Group, from: Position, payload: &[u8]) -> Option<Bytes> {
    (from.number..group.ring.end()).find_map(|number| {
        let data = &group.ring.get(number)?.chunk.head;
        let range = data.as_ptr_range();
        (range.start <= payload.as_ptr() && payload.as_ptr_range().end <= range.end)
            .then(|| data.slice_ref(payload))
    })
}
