//! Streams that we fetch from a server that has them.
//!
//! A pull is one task that feeds its stream for as long as it is open: it makes one attempt after another, with growing
//! waits when the source fails. Where it may connect to is judged anew each time, see `address`. Each kind of source is a
//! function in a module of its own that takes an [`Attempt`] and returns why it failed; `Pull::fetch` chooses it by the
//! URL's scheme.

mod address;
mod attempt;
mod backoff;
mod connect;
mod failure;
mod fetch;
mod hls;
mod http;
mod location;
mod order;
mod pacing;
mod rtmp;
mod rtsp;
mod udp;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use wire::splice::Splice;

use self::{
    attempt::{Attempt, Patience},
    connect::{Trust, connect},
    order::Order,
};
pub(crate) use self::{
    backoff::Backoff,
    connect::{Judge, Wire},
    failure::Failure,
    location::{BadUrl, Location, Scheme},
};
use crate::{
    clock,
    config::{PlayRights, Transport},
    error::Error,
    events::Kind,
    feed::{Closed, Feeder},
    rtmp::address::Address,
    rtsp::Receiving,
};

/// Pulls that connect at once; others wait for their turn.
const CONNECTING_MAX: usize = 128;

/// What a pulled stream is asked to be.
#[derive(Debug, Clone)]
pub struct OpenPull {
    /// First part of the stream's name.
    pub app: String,
    /// Second part of the stream's name.
    pub name: String,
    /// Where it is, with user and password if need be.
    pub url: String,
    /// Who may play.
    pub rights: PlayRights,
    /// Whether addresses that are not of the public internet may be connected to.
    pub allow_private: bool,
    /// Fields of the request, for this server only.
    pub headers: Vec<(String, String)>,
    /// RTP in datagrams instead of on the connection (RTSP).
    pub datagrams: bool,
}

/// What all pulls of a core share.
pub(crate) struct Puller {
    patience: Patience,
    /// Which addresses are public.
    judge: Judge,
    trust: Trust,
    turns: Semaphore,
    /// Where datagrams come in.
    receiving: Option<Receiving>,
    /// Connections tried.
    pub(crate) tried: AtomicU64,
    /// Of these, those that brought no stream.
    pub(crate) failed: AtomicU64,
    /// Streams that were flowing and broke off.
    pub(crate) lost: AtomicU64,
}

impl Default for Puller {
    fn default() -> Self {
        let turns = Semaphore::new(CONNECTING_MAX);
        let (tried, failed, lost) = Default::default();
        Self {
            patience: Patience::default(),
            judge: address::is_public,
            trust: Trust::default(),
            turns,
            receiving: None,
            tried,
            failed,
            lost,
        }
    }
}

impl Puller {
    /// With ports for datagrams.
    pub(crate) fn new(receiving: Receiving) -> Self {
        Self { receiving: Some(receiving), ..Self::default() }
    }

    /// A connection to `location`, by TLS if its scheme says so, and the address that answered. Addresses that it `may`
    /// not go to are not connected to; only so many connect at once.
    pub(crate) async fn reach(
        &self,
        location: &Location,
        may: Judge,
    ) -> Result<(Box<dyn Wire>, SocketAddr), Failure> {
        let _turn = self.turns.acquire().await; // it is never closed
        let slow = |_| Failure::Slow(self.patience.answer);
        timeout(self.patience.answer, connect(location, &self.trust, may)).await.map_err(slow)?
    }

    /// How long a server may take to answer.
    pub(crate) fn answer(&self) -> Duration {
        self.patience.answer
    }

    /// The first wait before connecting again.
    pub(crate) fn first_wait(&self) -> Duration {
        self.patience.retry
    }

    /// Which addresses are public.
    pub(crate) fn judge(&self) -> Judge {
        self.judge
    }
}

/// A pull that can be begun.
#[derive(Debug)]
pub(crate) struct Pull {
    order: Order,
    allow_private: bool,
}

impl Pull {
    /// Checks what can be checked without the network.
    pub(crate) fn new(wanted: &OpenPull) -> Result<Self, Error> {
        let OpenPull { url, headers, datagrams, allow_private, .. } = wanted;
        let order = Order::new(url, headers, *datagrams, *allow_private)?;
        if matches!(order.location.scheme, Scheme::Rtmp | Scheme::Rtmps) {
            let address = Address::of(&order.location);
            drop(address.map_err(|error| Error::Invalid(format!("cannot pull: {error}")))?);
        }
        Ok(Self { order, allow_private: *allow_private })
    }

    /// How the media will come, as far as the URL tells.
    pub(crate) fn transport(&self) -> Transport {
        match self.order.location.scheme {
            Scheme::Http | Scheme::Https => Transport::HttpFlv,
            Scheme::Rtsp | Scheme::Rtsps => Transport::Rtsp,
            Scheme::Rtmp | Scheme::Rtmps => Transport::Rtmp,
            Scheme::Udp => Transport::UdpTs,
        }
    }

    /// Feeds the stream until it is closed.
    pub(crate) async fn run(self, puller: Arc<Puller>, mut feeder: Feeder) {
        let mut closed = pin!(feeder.closed());
        {
            let mut work = pin!(self.repeat(&puller, &mut feeder));
            poll_fn(|cx| match closed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Closed),
                Poll::Pending => work.as_mut().poll(cx),
            })
            .await;
        }
        feeder.close("closed");
    }

    async fn repeat(&self, puller: &Puller, feeder: &mut Feeder) -> Closed {
        let mut backoff = Backoff::new(puller.patience.retry);
        let mut splice = Splice::new();
        let may: Judge = if self.allow_private { |_| true } else { puller.judge };
        loop {
            feeder.tell(Kind::Connecting, vec![("url", self.order.location.to_string())]);
            puller.tried.fetch_add(1, Ordering::Relaxed);
            let mut attempt = Attempt::new(&self.order, puller, may, &mut splice, feeder);
            let Err(failure) = fetch(&mut attempt).await;
            let flowed = attempt.connected_at().map(|begun| clock::now().saturating_duration_since(begun));
            if matches!(failure, Failure::Closed) {
                return Closed;
            }
            let wait = backoff.wait(flowed.unwrap_or_default(), RandomState::new().hash_one(0));
            let detail = vec![
                ("reason", failure.to_string()),
                ("cause", failure.cause()),
                ("retry_ms", wait.as_millis().to_string()),
            ];
            if flowed.is_some() {
                puller.lost.fetch_add(1, Ordering::Relaxed);
                feeder.disconnected(detail);
            } else {
                puller.failed.fetch_add(1, Ordering::Relaxed);
                feeder.tell(Kind::ConnectFailed, detail);
            }
            sleep(wait).await;
        }
    }
}

/// One attempt, by the kind of source.
async fn fetch(attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    match attempt.order.location.scheme {
        Scheme::Http | Scheme::Https => http::run(attempt).await,
        Scheme::Rtsp | Scheme::Rtsps => rtsp::run(attempt).await,
        Scheme::Udp => udp::run(attempt).await,
        Scheme::Rtmp | Scheme::Rtmps => rtmp::run(attempt).await,
    }
}

#[cfg(test)]
mod odd_servers;
