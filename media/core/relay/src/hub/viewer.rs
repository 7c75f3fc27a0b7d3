//! One raw viewer: its socket and where in the ring it is. It never makes the stream wait: what its socket does not take
//! stays in the ring, and when that is too much, it goes on at the last key frame.

mod leave;
mod rtsp;

use std::{
    io::{IoSlice, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use wire::{
    chunk::Chunk,
    media::{Ticks, Tracks},
    rtmp::{PlayerEvent, PlayerReader},
    websocket::{ClientEvent, ClientReader, FrameHeader, Opcode, control_frame},
};

use super::{
    form::Protocol,
    ring::{Entry, Ring},
};
use crate::{
    door::{self, Seat},
    pull::Failure,
    push::Pushed,
    rtsp::{Datagrams, RtspPlayer},
    viewers::ViewerStats,
};

/// Not a byte taken for so long, though some wait: the viewer is closed.
const STALL: Duration = Duration::from_secs(10);

/// A viewer that found nothing to begin with for so long is closed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A viewer further behind the newest chunk than this goes on at the last key frame if there is a newer one.
const LAG_MAX: Ticks = Ticks::from_millis(2000);

/// Slices for one system call, and the chunks that make them.
const CHUNKS_A_CALL: usize = 32;
const SLICES: usize = CHUNKS_A_CALL * 4;

/// Bytes of answers to a player that it does not take.
const ANSWERS_MAX: usize = 64 << 10;

/// Why a viewer is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It hung up, or the socket failed.
    Left,
    /// It did not drain, or nothing ever came for it.
    Stalled,
}

/// How the bytes go down the socket.
enum Framing {
    Plain,
    WebSocket(Box<ClientReader>),
    Rtmp(Box<PlayerReader>),
    Rtsp(Box<RtspPlayer>),
    Push(Box<Pushed>),
}

impl From<door::Framing> for Framing {
    fn from(framing: door::Framing) -> Self {
        match framing {
            door::Framing::Plain => Self::Plain,
            door::Framing::WebSocket => Self::WebSocket(Box::default()),
            door::Framing::Rtmp(reader) => Self::Rtmp(reader),
            door::Framing::Rtsp(player) => Self::Rtsp(player),
            door::Framing::Push(pushed) => Self::Push(pushed),
        }
    }
}

/// A chunk that was begun; it is held here so that the ring may forget it.
struct Begun {
    chunk: Chunk,
    frame: FrameHeader,
    written: usize,
}

/// One viewer.
pub(crate) struct Viewer {
    socket: TcpStream,
    seat: Seat,
    peer: SocketAddr,
    agent: String,
    protocol: Protocol,
    /// What was written since it came, and how often it was moved.
    total: Written,
    framing: Framing,
    begun: Option<Begun>,
    /// Number of the next chunk; `None` until a beginning was found.
    next: Option<u64>,
    /// The tracks its decoder was told of.
    tracks: Option<Arc<Tracks>>,
    /// The socket is full: wait until it is writable.
    blocked: bool,
    progress: Instant,
    /// An answer to the client (WebSocket control frame, RTMP message) that waits for a gap between chunks.
    answer: Option<Bytes>,
    closing: bool,
}

/// What one round of writing did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) skips: u64,
}

impl Viewer {
    pub(crate) fn new(now: Instant, wanted: door::Viewer) -> Self {
        let door::Viewer { socket, peer, form, framing, seat, agent } = wanted;
        Self {
            socket,
            seat,
            peer,
            agent,
            protocol: form.protocol(matches!(framing, door::Framing::WebSocket)),
            total: Written::default(),
            framing: framing.into(),
            begun: None,
            next: None,
            tracks: None,
            blocked: false,
            progress: now,
            answer: None,
            closing: false,
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether it is the one with this id.
    pub(crate) fn is(&self, id: u64) -> bool {
        self.seat.viewer() == id
    }

    /// What is told of it.
    pub(crate) fn stats(&self) -> ViewerStats {
        ViewerStats {
            id: self.seat.viewer(),
            protocol: self.protocol.name(),
            peer: Some(self.peer.to_string()),
            since_ms: self.seat.since_ms(),
            bytes_out: self.total.bytes,
            skips: self.total.skips,
            user_agent: self.agent.clone(),
        }
    }

    /// Whether it is a server that we push to.
    pub(crate) fn is_push(&self) -> bool {
        matches!(self.framing, Framing::Push(_))
    }

    /// It is let go: a push hears why.
    pub(crate) fn part(&mut self, why: Gone) {
        if let Framing::Push(pushed) = &mut self.framing {
            pushed.stop(if why == Gone::Stalled { Failure::Stalled } else { Failure::HungUp });
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn is_websocket(&self) -> bool {
        matches!(self.framing, Framing::WebSocket(_))
    }

    /// Number of the oldest chunk that this viewer still wants from the ring.
    pub(crate) fn needs(&self) -> u64 {
        self.next.filter(|_| !self.is_paused()).unwrap_or(u64::MAX)
    }

    /// Whether it waits for its first chunk.
    pub(crate) fn is_waiting(&self) -> bool {
        self.next.is_none()
    }

    /// Starts it at chunk `number`, behind `head` (file header and sequence headers of `tracks`).
    pub(crate) fn begin(&mut self, now: Instant, number: u64, head: Bytes, tracks: Arc<Tracks>) {
        let frame = FrameHeader::new(Opcode::Binary, head.len());
        // A player that begins again may be in the middle of a chunk, and has no head.
        if !head.is_empty() {
            self.begun = Some(Begun { chunk: Chunk::from_bytes(head), frame, written: 0 });
        }
        self.next = Some(number);
        self.tracks = Some(tracks);
        self.progress = now;
    }

    /// Writes what the socket takes; call when chunks were added, and when the socket became writable.
    pub(crate) fn pump(&mut self, now: Instant, ring: &Ring) -> Result<Written, Gone> {
        let mut total = Written::default();
        while !self.blocked {
            let before = total.bytes;
            self.write_answer(now)?;
            self.write_begun(now, &mut total)?;
            if self.begun.is_none() && self.answer.is_none() {
                if self.closing {
                    self.count(total);
                    return Err(Gone::Left);
                }
                if self.is_sent(now, ring, &mut total)? {
                    total.skips += self.skip(ring)?;
                    self.write_chunks(now, ring, &mut total)?;
                } else if self.answer.is_some() {
                    continue;
                }
            }
            if total.bytes == before {
                break;
            }
        }
        self.count(total);
        Ok(total)
    }

    fn count(&mut self, written: Written) {
        self.total.bytes += written.bytes;
        self.total.skips += written.skips;
        if let Framing::Push(pushed) = &self.framing {
            pushed.sent(written.bytes);
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Takes what the client says; a plain viewer has nothing to say.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> Result<(), Gone> {
        for _ in 0..4 {
            let size = match self.socket.read(scratch) {
                Ok(0) => return Err(Gone::Left),
                Ok(size) => size,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Gone::Left),
            };
            match &mut self.framing {
                Framing::WebSocket(reader) if !self.closing => match reader.handle(&scratch[..size]) {
                    Ok(events) => events.into_iter().for_each(|event| self.handle_client(event)),
                    Err(_) => self.say(Opcode::Close, &1002_u16.to_be_bytes()),
                },
                Framing::Rtmp(reader) => match reader.handle(&scratch[..size]) {
                    Ok(None) => {}
                    // As with pings: an older answer that did not go out yet is replaced.
                    Ok(Some(PlayerEvent::Answer(bytes))) => self.answer = Some(bytes.into()),
                    Ok(Some(PlayerEvent::Leave)) | Err(_) => return Err(Gone::Left),
                },
                Framing::Rtsp(player) => {
                    if player.handle(&scratch[..size]).is_err() {
                        if self.begun.is_none() && self.answer.is_none() {
                            // Whoever cannot be told finds the connection closed.
                            let _ = self.socket.write_all(&player.server.take_output());
                        }
                        return Err(Gone::Left);
                    }
                    self.answer_player()?;
                }
                Framing::Push(pushed) => match pushed.handle(&scratch[..size]) {
                    Ok(None) => {}
                    Ok(Some(bytes)) => self.owe(&bytes)?,
                    Err(()) => return Err(Gone::Left),
                },
                Framing::Plain | Framing::WebSocket(_) => {}
            }
        }
        Ok(())
    }

    /// Whether it is sent datagrams, which nobody waits for.
    pub(crate) fn takes_datagrams(&self) -> bool {
        self.datagrams().is_some()
    }

    fn datagrams(&self) -> Option<&Datagrams> {
        match &self.framing {
            Framing::Rtsp(player) => player.datagrams.as_ref(),
            Framing::Push(pushed) => pushed.datagrams(),
            _ => None,
        }
    }

    /// Lets time pass for a server that we push to: whether something is to be said to it now.
    pub(crate) fn keep(&mut self, now: Instant) -> Result<bool, Gone> {
        let Framing::Push(pushed) = &mut self.framing else { return Ok(false) };
        let Some(said) = pushed.handle_timeout(now) else { return Ok(false) };
        self.owe(&said).map(|()| true)
    }

    /// Something more is to be said between two chunks; whoever takes nothing of it is not served for ever.
    fn owe(&mut self, said: &[u8]) -> Result<(), Gone> {
        let waiting = self.answer.take().unwrap_or_default();
        if waiting.len() + said.len() > ANSWERS_MAX {
            return Err(Gone::Left);
        }
        self.answer = Some(Bytes::from([&waiting[..], said].concat())).filter(|answer| !answer.is_empty());
        Ok(())
    }

    /// Whether the viewer has to go because of time.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Gone> {
        let waited = now.saturating_duration_since(self.progress);
        if self.blocked && waited >= STALL || self.is_waiting() && !self.is_paused() && waited >= PATIENCE {
            return Err(Gone::Stalled);
        }
        Ok(())
    }

    fn handle_client(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Ping(payload) => self.say(Opcode::Pong, &payload),
            ClientEvent::Close(code) => {
                let code = code.map(u16::to_be_bytes);
                self.say(Opcode::Close, code.as_ref().map_or(&[], <[u8; 2]>::as_slice));
            }
        }
    }

    /// Queues a control frame; an older one that did not go out yet is replaced (RFC 6455 §5.5.3 allows it).
    fn say(&mut self, opcode: Opcode, payload: &[u8]) {
        self.closing |= opcode == Opcode::Close;
        self.answer = Some(control_frame(opcode, payload).into());
    }

    fn write_answer(&mut self, now: Instant) -> Result<(), Gone> {
        if self.begun.is_some() {
            return Ok(());
        }
        if let Some(answer) = self.answer.take() {
            let sent = self.send(&[IoSlice::new(&answer)], now)?;
            if sent < answer.len() {
                self.answer = Some(answer.slice(sent..));
            }
        }
        Ok(())
    }

    fn write_begun(&mut self, now: Instant, total: &mut Written) -> Result<(), Gone> {
        let Some(mut begun) = self.begun.take() else { return Ok(()) };
        let prefix: &[u8] = if self.is_websocket() { &begun.frame } else { &[] };
        let size = prefix.len() + begun.chunk.len();
        let sent = self.send(&begun.chunk.remaining(prefix, begun.written), now)?;
        total.bytes += sent as u64;
        begun.written += sent;
        if begun.written < size {
            self.begun = Some(begun);
        }
        Ok(())
    }

    /// Moves a viewer that is too far behind, or whose chunk is gone, to the last beginning.
    fn skip(&mut self, ring: &Ring) -> Result<u64, Gone> {
        let Some(next) = self.next else { return Ok(0) };
        let beginning = ring.beginning();
        let too_late = match (ring.get(next), ring.newest()) {
            (Some(entry), Some(newest)) => {
                newest.dts - entry.dts > LAG_MAX && beginning.is_some_and(|beginning| beginning > next)
            }
            _ => next < ring.end(),
        };
        if !too_late {
            return Ok(0);
        }
        let target = beginning.unwrap_or(ring.end());
        if let Some(entry) = ring.get(target)
            && self.tracks.as_ref().is_some_and(|known| known != &entry.tracks)
            && !matches!(&self.framing, Framing::Rtsp(player) if player.can_follow(&entry.tracks))
        {
            // What announced the new tracks was skipped: the decoder would be lost. The player connects again.
            return Err(Gone::Stalled);
        }
        self.next = Some(target);
        Ok(1)
    }

    fn write_chunks(&mut self, now: Instant, ring: &Ring, total: &mut Written) -> Result<(), Gone> {
        let Some(next) = self.next else { return Ok(()) };
        if ring.get(next).is_some_and(|entry| !self.can_follow(entry)) {
            // It was told of other tracks; the player connects again.
            return Err(Gone::Left);
        }
        if let Some(datagrams) = self.datagrams() {
            let (number, bytes) = datagrams.send(ring, next);
            (self.next, self.progress) = (Some(number), now);
            total.bytes += bytes;
            return Ok(());
        }
        let websocket = self.is_websocket();
        let mut slices = [IoSlice::new(&[]); SLICES];
        let (mut used, mut taken) = (0, 0);
        while let Some(entry) = ring.get(next + taken)
            && used + 4 <= SLICES
            && self.can_follow(entry)
        {
            let prefix: &[u8] = if websocket { &entry.frame } else { &[] };
            for part in std::iter::once(prefix).chain(entry.chunk.parts()).filter(|part| !part.is_empty()) {
                slices[used] = IoSlice::new(part);
                used += 1;
            }
            taken += 1;
        }
        if taken == 0 {
            return Ok(());
        }
        let sent = self.send(&slices[..used], now)?;
        total.bytes += sent as u64;
        self.advance(ring, next, sent);
        Ok(())
    }

    fn can_follow(&self, entry: &Entry) -> bool {
        match &self.framing {
            Framing::Rtsp(player) => player.can_follow(&entry.tracks),
            Framing::Push(pushed) => pushed.can_follow(&entry.tracks),
            _ => true,
        }
    }

    /// Notes that `sent` bytes from chunk `number` on went out.
    fn advance(&mut self, ring: &Ring, mut number: u64, mut sent: usize) {
        while let Some(entry) = ring.get(number)
            && sent > 0
        {
            let size = entry.chunk.len() + if self.is_websocket() { entry.frame.len() } else { 0 };
            self.tell(entry);
            number += 1;
            if sent < size {
                self.begun = Some(Begun { chunk: entry.chunk.clone(), frame: entry.frame, written: sent });
                break;
            }
            sent -= size;
        }
        self.next = Some(number);
    }

    fn tell(&mut self, entry: &Entry) {
        if !self.tracks.as_ref().is_some_and(|known| Arc::ptr_eq(known, &entry.tracks)) {
            self.tracks = Some(Arc::clone(&entry.tracks));
        }
    }

    /// Bytes that the socket took; fewer than asked means that it is full now.
    fn send(&mut self, slices: &[IoSlice<'_>], now: Instant) -> Result<usize, Gone> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags) {
            Ok(sent) => sent,
            Err(Errno::INTR) => 0,
            Err(Errno::AGAIN) => {
                self.blocked = true;
                0
            }
            Err(_) => return Err(Gone::Left),
        };
        if sent > 0 {
            self.progress = now;
        }
        Ok(sent)
    }
}
