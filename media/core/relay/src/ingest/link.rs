//! The TCP side of a receiver: one connection, accepted or made by us (GB/T 28181-2016 Annex L; RFC 4571).

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};
use wire::rfc4571::Framer;

use crate::reason::Reason;

/// The first packet must come within so long after connecting.
pub(crate) const FIRST_PACKET: Duration = Duration::from_secs(5);

/// Attempts of an active receiver, and the time from one to the next.
const TRIES: u32 = 3;
const RETRY: Duration = Duration::from_secs(1);

/// One attempt may take so long.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Where the one connection stands.
pub(crate) enum Link {
    /// There is none, and none is on its way.
    Idle,
    /// An attempt runs.
    Connecting { socket: TcpStream, to: SocketAddr, tries_left: u32, until: Instant },
    /// The next attempt comes at `at`.
    Waiting { to: SocketAddr, tries_left: u32, at: Instant },
    /// It stands.
    Open(Box<Connection>),
}

/// What an attempt led to.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Nothing yet.
    Pending,
    /// The connection stands.
    Connected,
    /// An attempt began: its socket is to be watched.
    Begun,
    /// The last one failed.
    GaveUp(Reason),
}

/// A connection that carries the stream.
pub(crate) struct Connection {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) peer: SocketAddr,
    pub(crate) framer: Framer,
    /// When it was made.
    pub(crate) since: Instant,
    /// When the last packet came.
    pub(crate) heard: Option<Instant>,
    /// The bandwidth is used up: not read until then.
    pub(crate) paused: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(now: Instant, socket: TcpStream, peer: SocketAddr, ssrc: Option<u32>) -> Self {
        let socket = Arc::new(socket);
        Self { socket, peer, framer: Framer::new(ssrc), since: now, heard: None, paused: None }
    }

    /// Whether it said nothing useful in its time.
    pub(crate) fn is_mute(&self, now: Instant) -> bool {
        self.heard.is_none() && now.saturating_duration_since(self.since) >= FIRST_PACKET
    }
}

impl Link {
    /// Begins to connect.
    pub(crate) fn connect(now: Instant, to: SocketAddr) -> Self {
        Self::Waiting { to, tries_left: TRIES, at: now }
    }

    /// Goes on with connecting; call when the socket is writable and at `next_timeout`.
    pub(crate) fn advance(&mut self, now: Instant, ssrc: Option<u32>) -> Attempt {
        match std::mem::replace(self, Self::Idle) {
            Self::Waiting { to, tries_left, at } if now >= at => self.start(now, to, tries_left),
            Self::Connecting { socket, to, tries_left, until } => match outcome(&socket) {
                Ok(true) => {
                    *self = Self::Open(Box::new(Connection::new(now, socket, to, ssrc)));
                    Attempt::Connected
                }
                Ok(false) if now < until => {
                    *self = Self::Connecting { socket, to, tries_left, until };
                    Attempt::Pending
                }
                Ok(false) => self.fail(now, to, tries_left, Reason::Slow),
                Err(error) => self.fail(now, to, tries_left, Reason::unconnected(&error)),
            },
            other => {
                *self = other;
                Attempt::Pending
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Connecting { until, .. } => Some(*until),
            Self::Waiting { at, .. } => Some(*at),
            Self::Open(connection) => connection.paused,
        }
    }

    fn start(&mut self, now: Instant, to: SocketAddr, tries_left: u32) -> Attempt {
        match begin(to) {
            Ok(socket) => {
                let until = now + ATTEMPT;
                *self = Self::Connecting { socket, to, tries_left: tries_left - 1, until };
                Attempt::Begun
            }
            Err(error) => self.fail(now, to, tries_left - 1, Reason::unconnected(&error)),
        }
    }

    fn fail(&mut self, now: Instant, to: SocketAddr, tries_left: u32, reason: Reason) -> Attempt {
        if tries_left == 0 {
            return Attempt::GaveUp(reason);
        }
        *self = Self::Waiting { to, tries_left, at: now + RETRY };
        Attempt::Pending
    }
}

/// A socket that connects in the background.
fn begin(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Whether the attempt succeeded; false while it runs.
fn outcome(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
