//! Streams that we send on to somebody else's server, for as long as they flow.
//!
//! A push is one task: it waits until its stream flows, connects, and agrees with the server; then the connection is a
//! viewer of its stream like any other, which shares their bytes and never makes the stream wait. When it ends, the task
//! connects again with growing waits; with the stream the push ends for good. What a protocol has to say is its
//! [`Target`]; `connect` chooses it by the URL's scheme.

mod line;
mod record;
mod rtmp;
mod rtsp;
mod target;

use std::{
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use wire::media::Tracks;

pub use self::record::{PushState, PushStats};
use self::{
    line::{Line, PARTING, Split},
    record::Presence,
};
pub(crate) use self::{
    record::{Pushes, Record},
    target::{Pushed, Target},
};
use crate::{
    clock,
    door::{Framing, Seat, Viewer},
    error::Error,
    events::Kind,
    hub::Order,
    pull::{Backoff, Failure, Judge, Location, Puller, Scheme},
    reason::Reason,
    rtmp::address::Address,
    shard::inbox::{Command, Inbox},
    table::Entry,
};

/// What a push is asked to be.
#[derive(Debug, Clone)]
pub struct OpenPush {
    /// The stream's receiver.
    pub receiver: u64,
    /// Where it is to go, with what the server wants to know.
    pub url: String,
    /// Whether addresses that are not of the public internet may be connected to.
    pub allow_private: bool,
    /// RTP in datagrams instead of on the connection (RTSP).
    pub datagrams: bool,
}

/// A server that agreed to take the stream.
struct Ready {
    line: Line,
    peer: SocketAddr,
    /// What is to be said before the media.
    answer: Vec<u8>,
    target: Box<dyn Target>,
}

/// What the push sees of its stream; it does not keep it alive.
pub(crate) struct Source {
    tracks: watch::Receiver<Option<Arc<Tracks>>>,
    flows: watch::Receiver<bool>,
    inbox: Arc<Inbox>,
}

/// Why a push ends for good.
enum End {
    /// The stream is over.
    Over,
    /// Somebody closed it.
    Closed,
}

impl Source {
    pub(crate) fn new(entry: &Entry, inbox: Arc<Inbox>) -> Self {
        Self { tracks: entry.feeds.tracks(), flows: entry.feeds.flows(), inbox }
    }

    /// Waits until the stream flows; its tracks.
    async fn flowing(&self) -> Result<Arc<Tracks>, End> {
        self.flows.clone().wait_for(|flows| *flows).await.map_err(|_| End::Over)?;
        let mut tracks = self.tracks.clone();
        let tracks = tracks.wait_for(Option::is_some).await.map_err(|_| End::Over)?;
        tracks.clone().ok_or(End::Over)
    }

    /// Waits until the stream is over.
    async fn over(&self) {
        let mut flows = self.flows.clone();
        while flows.changed().await.is_ok() {}
    }
}

/// A push that can be begun.
pub(crate) struct Push {
    location: Location,
    allow_private: bool,
    datagrams: bool,
    source: Source,
    puller: Arc<Puller>,
    presence: Presence,
}

impl Push {
    /// Checks what can be checked without the network, and enters the push among the others.
    pub(crate) fn new(
        wanted: &OpenPush,
        entry: &Entry,
        source: Source,
        puller: Arc<Puller>,
        pushes: &Arc<Pushes>,
    ) -> Result<Self, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("cannot push: {error}"));
        let location = Location::parse(&wanted.url).map_err(|error| invalid(&error))?;
        let shown = match location.scheme {
            Scheme::Rtmp | Scheme::Rtmps if wanted.datagrams => {
                return Err(invalid(&"RTMP has no datagrams"));
            }
            Scheme::Rtmp | Scheme::Rtmps => Address::of(&location).map_err(|error| invalid(&error))?.shown(),
            Scheme::Rtsps if wanted.datagrams => {
                return Err(invalid(&"datagrams would leave in the clear what rtsps:// is to protect"));
            }
            Scheme::Rtsp | Scheme::Rtsps => rtsp::shown(&location).map_err(|error| invalid(&error))?,
            _ => return Err(invalid(&"the URL must begin with rtmp://, rtmps://, rtsp:// or rtsps://")),
        };
        location.check(wanted.allow_private).map_err(|error| invalid(&error))?;
        let presence = pushes.enter(entry, shown)?;
        let OpenPush { allow_private, datagrams, .. } = *wanted;
        Ok(Self { location, allow_private, datagrams, source, puller, presence })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.presence.record.id
    }

    /// Pushes until the stream is over, or somebody closes the push. Dropping this closes it without a word.
    pub(crate) async fn run(mut self) {
        if let End::Over = self.repeat().await {
            self.presence.end(Reason::StreamOver);
        }
    }

    async fn repeat(&self) -> End {
        let mut backoff = Backoff::new(self.puller.first_wait());
        loop {
            let (flowed, failure) = match self.attempt().await {
                Ok(failed) => failed,
                Err(end) => return end,
            };
            let wait = backoff.wait(flowed, RandomState::new().hash_one(0));
            self.presence.fail(&failure, wait);
            if let Err(end) = self.unless_ended(sleep(wait)).await {
                return end;
            }
        }
    }

    /// Waits for the stream and pushes it: how long it flowed, and why no longer.
    async fn attempt(&self) -> Result<(Duration, Failure), End> {
        self.presence.set(PushState::Waiting);
        let tracks = self.unless_ended(self.source.flowing()).await??;
        self.presence.set(PushState::Connecting);
        let (peer, split, target) = match self.unless_ended(self.connect(&tracks)).await? {
            Ok(ready) => ready,
            Err(failure) => return Ok((Duration::ZERO, failure)),
        };
        let begun = clock::now();
        self.presence.tell(Kind::PushConnected, vec![("peer", peer.to_string())]);
        self.presence.set(PushState::Pushing);
        let failure = self.carry(peer, split, target).await?;
        Ok((clock::now().saturating_duration_since(begun), failure))
    }

    /// Does `work`, unless the push is to end before it is done.
    async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Result<T, End> {
        let over = async {
            self.source.over().await;
            Err(End::Over)
        };
        race(async { Ok(work.await) }, self.unless_closed(over)).await
    }

    /// The same for a `work` that finds out by itself when the stream is over.
    async fn unless_closed<T>(&self, work: impl Future<Output = Result<T, End>>) -> Result<T, End> {
        let closed = async {
            self.presence.closed().await;
            Err(End::Closed)
        };
        race(work, closed).await
    }

    async fn connect(&self, tracks: &Arc<Tracks>) -> Result<(SocketAddr, Split, Box<dyn Target>), Failure> {
        let may: Judge = if self.allow_private { |_| true } else { self.puller.judge() };
        let Ready { line, peer, answer, target } = match self.location.scheme {
            Scheme::Rtmp | Scheme::Rtmps => rtmp::connect(&self.puller, may, &self.location, tracks).await?,
            Scheme::Rtsp | Scheme::Rtsps => {
                rtsp::connect(&self.puller, may, &self.location, tracks, self.datagrams).await?
            }
            // Refused before the push began.
            _ => return Err(Failure::NothingToSend),
        };
        Ok((peer, line.split(&answer).await?, target))
    }

    /// Lets the shard send until the connection fails.
    async fn carry(&self, peer: SocketAddr, split: Split, target: Box<dyn Target>) -> Result<Failure, End> {
        let Split { socket, hold, bridge } = split;
        let (pushed, ended) = Pushed::new(target, Arc::clone(&self.presence.record));
        // It is no viewer that could take another one's place.
        let seat = Seat::new(&Arc::default());
        let mut ended = pin!(self.let_go(seat.viewer(), ended));
        let viewer = Viewer {
            socket,
            peer,
            form: pushed.form(),
            framing: Framing::Push(Box::new(pushed)),
            seat,
            agent: String::new(),
        };
        let receiver = self.presence.record.receiver;
        self.source.inbox.push(Command::Attach { receiver, viewer });
        let Some(bridge) = bridge else { return ended.await };
        let mut bridging = pin!(bridge.run());
        let first = race(async { Err(bridging.as_mut().await) }, async { Ok(ended.as_mut().await) }).await;
        match first {
            // The shard let go: what it wrote last is still to go out, and then the end of it.
            Ok(end) => {
                hold.end();
                let _ = timeout(PARTING, bridging).await;
                end
            }
            Err(Failure::Closed) => ended.await,
            Err(failure) => Ok(failure),
        }
    }

    /// Waits until the shard lets the connection go. It is asked to when the push is closed: only the shard knows when the
    /// server can be told so, between two chunks.
    async fn let_go(&self, viewer: u64, mut ended: oneshot::Receiver<Failure>) -> Result<Failure, End> {
        let end = self.unless_closed(async { (&mut ended).await.map_err(|_| End::Over) }).await;
        if let Err(End::Closed) = end {
            let order = Order::Ask(Box::new(move |hub, turn| {
                hub.kick(turn, viewer);
            }));
            self.source.inbox.push(Command::Hub { receiver: self.presence.record.receiver, order });
            let _ = timeout(PARTING, ended).await;
        }
        end
    }
}

/// Whatever is done first; if both are, the former.
async fn race<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending => other.as_mut().poll(cx),
    })
    .await
}
