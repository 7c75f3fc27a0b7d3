//! What the door asks of the streams behind it; the hub answers.

use std::{
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{oneshot, watch};
use wire::{
    hls::{Container, Window},
    media::Tracks,
    rtmp::PlayerReader,
};

use crate::{options::Output, playback::Steering, proof::Shown, push::Pushed, rtsp::RtspPlayer};

pub use crate::{
    hub::form::Form,
    viewers::{Seat, Seats},
};

/// Who may play a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// The bearer of an address signed under this generation, or of a good token.
    Private {
        /// Counts how often addresses were revoked.
        generation: u64,
    },
}

/// Why somebody cannot watch though it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is no such stream.
    Gone,
    /// The stream has as many viewers as it may have.
    Full,
    /// The player was sent away a moment ago.
    Kicked,
    /// The stream is not given out in this form.
    Forbidden,
}

/// Whether somebody may play a stream who shows what only the application can judge.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "they are those of a claim")]
pub struct Question<'a> {
    pub app: &'a str,
    pub name: &'a str,
    pub peer: SocketAddr,
    pub protocol: &'static str,
    pub credential: Credential<'a>,
    pub again: bool,
}

/// What is shown in place of a signature.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// A token.
    Token(&'a str),
    /// Who it is, proved by Digest.
    Proof(Shown<'a>),
}

/// What comes of a question.
#[derive(Debug)]
pub enum Answer {
    /// It was answered before.
    Known(bool),
    /// It is put to the application; the other end is dropped if no answer comes.
    Later(oneshot::Receiver<bool>),
    /// Too many questions are open.
    Busy,
    /// The stream is gone.
    Unknown,
}

/// How the bytes of a live stream go down a viewer's socket.
#[derive(Debug)]
pub enum Framing {
    /// As they are, until either side closes.
    Plain,
    /// One binary WebSocket message a chunk; what the client sends goes through [`wire::websocket::ClientReader`].
    WebSocket,
    /// RTMP's messages instead of FLV; what the player says goes on where its `play` ended.
    Rtmp(Box<PlayerReader>),
    /// Packets of RTP.
    Rtsp(Box<RtspPlayer>),
    /// Whatever the server takes that the stream is pushed to.
    Push(Box<Pushed>),
}

/// A viewer of a live stream whose request was answered: nothing but the stream follows on its socket.
#[derive(Debug)]
pub struct Viewer {
    /// Non-blocking, with `TCP_NODELAY`; the answer's head was written.
    pub socket: TcpStream,
    /// Where the viewer is.
    pub peer: SocketAddr,
    /// What it asked for.
    pub form: Form,
    /// How to send.
    pub framing: Framing,
    /// Its place, held as long as it watches.
    pub seat: Seat,
    /// What it calls itself; may be empty.
    pub agent: String,
}

/// Where the segments of one stream and container appear.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The newest window; `None` until the first segment is whole. The sender is dropped when the stream ends.
    pub window: watch::Receiver<Option<Arc<Window>>>,
    /// Bytes that were sent to all players.
    pub bytes_out: Arc<AtomicU64>,
    /// Bytes that were sent to this one.
    pub bytes_to_player: Arc<AtomicU64>,
}

impl Feed {
    /// Counts what is sent.
    pub(super) fn count_sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        self.bytes_to_player.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A player of segments, which has no connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Player<'a> {
    /// The same number for all its requests, as far as that can be told.
    pub key: u64,
    /// Where it is.
    pub peer: SocketAddr,
    /// What it calls itself; may be empty.
    pub agent: &'a str,
}

/// The streams, seen from the door. Every call returns at once.
pub trait Directory: Send + Sync + 'static {
    /// Who may play the stream; `None` if there is none of this name.
    fn access(&self, app: &str, name: &str) -> Option<Access>;

    /// Asks the application about a token or proof.
    fn ask(&self, question: &Question<'_>) -> Answer;

    /// Asks the application to make the stream's sound into AAC, in a stream beside it ([`super::sound`]), on behalf of
    /// somebody at `peer`.
    fn ask_for_aac(&self, app: &str, name: &str, peer: SocketAddr, protocol: &'static str) -> Answer;

    /// Where the stream's tracks appear once they are known; `None` if there is no such stream.
    fn tracks(&self, app: &str, name: &str) -> Option<watch::Receiver<Option<Arc<Tracks>>>>;

    /// How the stream is steered; `None` if it is live.
    fn playback(&self, _app: &str, _name: &str) -> Option<Arc<Steering>> {
        None
    }

    /// Takes a place among the viewers of live streams, if the stream is given out so.
    fn seat(&self, app: &str, name: &str, output: Output) -> Result<Seat, Denied>;

    /// Gives a viewer to its stream, which from now on owns the socket; if the stream is gone, the socket is closed.
    fn attach(&self, app: &str, name: &str, viewer: Viewer);

    /// Where the stream's segments appear; starts the segmenter if none runs, and keeps it running for a while.
    /// The player has a place among the viewers as long as it asks.
    fn segments(
        &self,
        app: &str,
        name: &str,
        container: Container,
        player: Player<'_>,
    ) -> Result<Feed, Denied>;
}
