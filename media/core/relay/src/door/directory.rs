//! What the door asks of the streams behind it; the hub answers.

use std::{
    net::{SocketAddr, TcpStream},
    sync::{Arc, atomic::AtomicU64},
};

use tokio::sync::watch;
use wire::{
    flv::FlvOptions,
    hls::{Container, Window},
};

/// Who may play a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// The bearer of a signed address.
    Private,
}

/// How the bytes of a live stream go down a viewer's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// As they are, until either side closes.
    Plain,
    /// One binary WebSocket message a chunk; what the client sends goes through [`wire::websocket::ClientReader`].
    WebSocket,
}

/// A viewer of a live stream whose request was answered: nothing but the stream follows on its socket.
#[derive(Debug)]
pub struct Viewer {
    /// Non-blocking, with `TCP_NODELAY`; the answer's head was written.
    pub socket: TcpStream,
    /// Where the viewer is.
    pub peer: SocketAddr,
    /// What it asked for.
    pub options: FlvOptions,
    /// How to send.
    pub framing: Framing,
}

/// Where the segments of one stream and container appear.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The newest window; `None` until the first segment is whole. The sender is dropped when the stream ends.
    pub window: watch::Receiver<Option<Arc<Window>>>,
    /// Where the door adds the bytes it sent.
    pub bytes_out: Arc<AtomicU64>,
}

/// The streams, seen from the door. Every call returns at once.
pub trait Directory: Send + Sync + 'static {
    /// Who may play the stream; `None` if there is none of this name.
    fn access(&self, app: &str, name: &str) -> Option<Access>;

    /// Gives a viewer to its stream, which from now on owns the socket; if the stream is gone, the socket is closed.
    fn attach(&self, app: &str, name: &str, viewer: Viewer);

    /// Where the stream's segments appear; starts the segmenter if none runs, and keeps it running for a while.
    /// `viewer` is the same number for all requests of one player, as far as that can be told.
    fn segments(&self, app: &str, name: &str, container: Container, viewer: u64) -> Option<Feed>;
}
