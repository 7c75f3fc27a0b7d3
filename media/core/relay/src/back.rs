//! The way back to a stream's source: what a receiver's shard tells of its connection, so that a sender, wherever it lives,
//! can send on it (two-way talk).
//!
//! Nobody but the receiver holds its sockets. Who sends on them takes them for the moment of a call, so that a receiver
//! that closes a connection, or goes itself, closes it for the other side too, as if nobody else knew of it.

use std::{
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::table::{Entry, lock};

/// A socket that is one's own, or that a receiver lends.
pub(crate) enum Line<T> {
    Own(Arc<T>),
    Lent(Weak<T>),
}

impl<T> Line<T> {
    /// The socket, for the moment; `None` once its receiver closed it.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        match self {
            Self::Own(socket) => Some(Arc::clone(socket)),
            Self::Lent(socket) => socket.upgrade(),
        }
    }
}

/// How the source is reached.
#[derive(Clone)]
pub(crate) enum Path {
    /// From the receiver's ports to the address that its packets come from. There are no reports from a shared port.
    Udp {
        rtp: Weak<UdpSocket>,
        rtcp: Option<Weak<UdpSocket>>,
        to: SocketAddr,
    },
    Tcp {
        socket: Weak<TcpStream>,
        peer: SocketAddr,
    },
}

impl Path {
    fn is_there(&self) -> bool {
        match self {
            Self::Udp { rtp, .. } => rtp.strong_count() > 0,
            Self::Tcp { socket, .. } => socket.strong_count() > 0,
        }
    }
}

#[derive(Default)]
struct State {
    /// Counts the paths that there were.
    number: u64,
    path: Option<Path>,
    /// The rest of a frame that its sender left unfinished on this connection.
    rest: Bytes,
    closed: bool,
}

/// What a look at the way back showed.
pub(crate) enum Look {
    /// As it was.
    Same,
    /// Another one than before; what must be written before anything else; which one it is.
    New(Path, Bytes, u64),
    /// There is none now.
    None,
    /// The receiver is gone.
    Closed,
}

/// The way back to one receiver's source.
#[derive(Default)]
pub(crate) struct Back {
    state: Mutex<State>,
    taken: AtomicBool,
}

impl Back {
    /// Packets for the source go this way from now on.
    pub(crate) fn open(&self, path: Path) {
        let mut state = lock(&self.state);
        state.number += 1;
        state.path = Some(path);
        state.rest = Bytes::new();
    }

    /// The connection is gone.
    pub(crate) fn lose(&self) {
        let mut state = lock(&self.state);
        state.path = None;
        state.rest = Bytes::new();
    }

    /// The receiver is gone.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.path = None;
        state.closed = true;
    }

    /// Whether somebody sends on it.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }
}

/// The right to send to a receiver's source, of which there is one: two writers would tear each other's frames.
pub(crate) struct Claim(Arc<Entry>);

impl Claim {
    /// `None` while somebody else has it.
    pub(crate) fn new(entry: Arc<Entry>) -> Option<Self> {
        let free = !entry.back.taken.swap(true, Ordering::AcqRel);
        free.then(|| Self(entry))
    }

    /// How the source is reached now; `known` is the number of the path that is used.
    pub(crate) fn look(&self, known: Option<u64>) -> Look {
        let mut state = lock(&self.0.back.state);
        match &state.path {
            _ if state.closed => Look::Closed,
            Some(path) if path.is_there() && known == Some(state.number) => Look::Same,
            Some(path) if path.is_there() => {
                let path = path.clone();
                Look::New(path, std::mem::take(&mut state.rest), state.number)
            }
            _ => Look::None,
        }
    }

    /// Leaves the rest of a frame, on the path of this number, to whoever sends next.
    pub(crate) fn leave(&self, number: u64, rest: Bytes) {
        let mut state = lock(&self.0.back.state);
        if state.number == number {
            state.rest = rest;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.back.taken.store(false, Ordering::Release);
    }
}
