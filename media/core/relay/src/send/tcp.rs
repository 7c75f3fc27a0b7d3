//! A target on a connection (RFC 4571): packets are never lost there, so who does not take them goes on at a key frame.

use std::{
    io::{self, IoSlice, Read},
    net::TcpStream,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use socket2::SockRef;
use wire::send::{HEAD, Source, packets};

use super::{
    group::{Group, Position},
    reports::Reports,
    udp::Sent,
};
use crate::{back::Line, reason::Reason, shard::turn::Turn};

/// Not a byte taken for so long, though some wait: the target is given up.
const STALL: Duration = Duration::from_secs(10);

/// Packets handed to the system at once.
const AT_ONCE: usize = 64;

/// Bytes that wait to be sent in the kernel's buffer of one who is talked with, a quarter of a second of G.711: a send
/// buffer grows to megabytes, minutes of sound, which would all be heard late behind a slow connection. What waits here
/// instead is left out when it is too old. Linux lets `sendmsg` add no buffer beyond `TCP_NOTSENT_LOWAT`
/// (Documentation/networking/ip-sysctl.rst, `tcp_notsent_lowat`); but it fills up the last one, unless that is closed by
/// `MSG_EOR`.
const UNSENT_TALK: u32 = 2 << 10;
/// Packets of a talk handed to the system at once, so that it has not many more than that.
const TALK_AT_ONCE: usize = 4;

/// A socket that a receiver lends is not watched: one that was full is tried again so soon.
const AGAIN: Duration = Duration::from_millis(5);

/// A frame that the socket did not take the end of; it is held here so that the ring may forget it.
struct Begun {
    rest: Bytes,
    /// Not a report, nor what somebody else began.
    packet: bool,
}

pub(crate) struct Tcp {
    line: Line<TcpStream>,
    begun: Option<Begun>,
    blocked: bool,
    progress: Instant,
    /// When a lent socket that was full is tried again.
    again: Option<Instant>,
    /// It is heard by somebody who waits for it.
    talk: bool,
    reports: Option<Reports>,
}

impl Tcp {
    /// `reports`: the source that sender reports are about, if they are wanted.
    pub(crate) fn new(now: Instant, socket: Arc<TcpStream>, reports: Option<u32>) -> Self {
        Self::build(now, Line::Own(socket), reports)
    }

    /// One that writes on a receiver's connection, first the `rest` of a frame that another one began there; `talk`: it is
    /// sound alone.
    pub(crate) fn over(
        now: Instant,
        socket: Weak<TcpStream>,
        (rest, talk): (Bytes, bool),
        reports: Option<u32>,
    ) -> Self {
        let begun = (!rest.is_empty()).then_some(Begun { rest, packet: false });
        let tcp = Self { begun, talk, ..Self::build(now, Line::Lent(socket), reports) };
        // 0 is what the system has for all. A kernel without it is slower to leave out what is too old.
        let unsent = if talk { UNSENT_TALK } else { 0 };
        let _ = tcp.line.get().map(|socket| SockRef::from(&*socket).set_tcp_notsent_lowat(unsent));
        tcp
    }

    fn build(now: Instant, line: Line<TcpStream>, reports: Option<u32>) -> Self {
        // Whole frames are written at once; what is left of one must not wait for an answer.
        let _ = line.get().map(|socket| socket.set_nodelay(true));
        let reports = reports.map(Reports::new);
        Self { line, begun: None, blocked: false, progress: now, again: None, talk: false, reports }
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
        turn: Turn<'_>,
        group: &Group,
        position: &mut Position,
        source: &mut Source,
    ) -> Result<Sent, Reason> {
        let mut sent = Sent::default();
        loop {
            self.write_begun(turn.now, &mut sent)?;
            if self.blocked {
                return Ok(sent);
            }
            let at = (turn.now, turn.wall_ms * 1000);
            if let Some(report) =
                self.reports.as_mut().and_then(|reports| reports.due(at, group.moment, source))
            {
                self.begin_report(&report);
            } else if !self.write(turn.now, group, position, source, &mut sent)? {
                return Ok(sent);
            }
        }
    }

    /// A report goes between two packets, framed as they are (RFC 4571 §2).
    fn begin_report(&mut self, report: &[u8]) {
        let frame = [&(report.len() as u16).to_be_bytes(), report].concat();
        self.begun = Some(Begun { rest: frame.into(), packet: false });
    }

    /// Writes the rest of a packet that was begun.
    pub(crate) fn write_begun(&mut self, now: Instant, sent: &mut Sent) -> Result<(), Reason> {
        while !self.blocked
            && let Some(mut begun) = self.begun.take()
        {
            let taken = self.send(&[IoSlice::new(&begun.rest)], now)?;
            begun.rest.advance(taken);
            let packet = u64::from(begun.packet);
            sent.bytes += taken as u64 * packet;
            if begun.rest.is_empty() {
                sent.packets += packet;
            } else {
                self.begun = Some(begun);
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
    ) -> Result<bool, Reason> {
        let mut heads = [[0; HEAD]; AT_ONCE];
        let mut payloads: [(&[u8], Position); AT_ONCE] = [(&[], *position); AT_ONCE];
        let mut main = [false; AT_ONCE];
        let at_once = if self.talk { TALK_AT_ONCE } else { AT_ONCE };
        let mut count = 0;
        let mut at = *position;
        'ring: while let Some(entry) = group.ring.get(at.number) {
            for packet in packets(&entry.chunk.head, at.at) {
                if count == at_once {
                    break 'ring;
                }
                heads[count] = source.head(&packet);
                at.at += packet.framed_len();
                payloads[count] = (packet.payload, at);
                main[count] = packet.is_main(group.form);
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
            if let Some(reports) = self.reports.as_mut().filter(|_| main[number]) {
                reports.note();
            }
            if taken < size {
                let frame = Bytes::from([&heads[number][..], payload].concat());
                self.begun = Some(Begun { rest: frame.slice(taken..), packet: true });
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
    fn send(&mut self, slices: &[IoSlice<'_>], now: Instant) -> Result<usize, Reason> {
        let record = if self.talk { SendFlags::EOR } else { SendFlags::empty() };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | record;
        let Some(socket) = self.line.get() else { return Err(Reason::Gone) };
        let taken = match sendmsg(&socket, slices, &mut SendAncillaryBuffer::default(), flags) {
            Ok(taken) => taken,
            Err(Errno::INTR) => 0,
            Err(Errno::AGAIN) => {
                self.blocked = true;
                self.again = matches!(self.line, Line::Lent(_)).then(|| now + AGAIN);
                0
            }
            Err(_) => return Err(Reason::Broke),
        };
        if taken > 0 {
            self.progress = now;
        }
        Ok(taken)
    }

    /// Reads past what the target says; whether it said anything.
    pub(crate) fn listen(&mut self, scratch: &mut [u8]) -> Result<bool, Reason> {
        let mut heard = false;
        let Some(socket) = self.line.get() else { return Ok(false) };
        for _ in 0..4 {
            match (&*socket).read(scratch) {
                Ok(0) => return Err(Reason::TargetLeft),
                Ok(_) => heard = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Reason::Broke),
            }
        }
        Ok(heard)
    }

    /// Why the target is given up because of time, if it is.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Reason> {
        if self.blocked && now.saturating_duration_since(self.progress) >= STALL {
            return Err(Reason::Stalled);
        }
        if self.again.take_if(|again| now >= *again).is_some() {
            self.blocked = false;
        }
        Ok(())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.again
    }

    /// Tells the target that nothing more comes, if that can be said between two packets.
    pub(crate) fn take_leave(&mut self, now: Instant) {
        if self.begun.is_none()
            && let Some(goodbye) = self.reports.as_ref().and_then(Reports::goodbye)
        {
            self.begin_report(&goodbye);
            // Whoever does not hear it sees the end of the connection.
            let _ = self.write_begun(now, &mut Sent::default());
        }
    }

    /// What is left of a frame that was begun.
    pub(crate) fn into_rest(self) -> Option<Bytes> {
        self.begun.map(|begun| begun.rest)
    }
}
