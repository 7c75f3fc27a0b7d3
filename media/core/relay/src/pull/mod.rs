//! Streams that we fetch from a server that has them.
//!
//! A pull is a task that feeds its stream for as long as it is open, by one input at a time (`inputs`). Each input is a
//! task too (`input`): it makes one attempt after another, with growing waits when the source fails. Where it may connect
//! to is judged anew each time, see `address`. Each kind of source is a function in a module of its own that takes an
//! [`Attempt`] and returns why it failed; `fetch` chooses it by the URL's scheme.

mod address;
mod attempt;
mod backoff;
mod child;
mod connect;
mod failure;
mod fetch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hls;
mod http;
mod input;
mod inputs;
mod location;
mod order;
mod pacing;
mod rtmp;
mod rtsp;
mod udp;

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, atomic::AtomicU64},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

pub use self::order::Source;
use self::{
    attempt::{Attempt, Patience},
    connect::{Trust, connect},
    inputs::{Change, Inputs},
    order::Order,
};
pub(crate) use self::{
    backoff::Backoff,
    connect::{Judge, Wire},
    failure::Failure,
    location::{BadUrl, Location, Scheme},
};
use crate::{
    config::{PlayRights, Transport},
    error::Error,
    feed::{Closed, Feeder},
    rtmp::address::Address,
    rtsp::Receiving,
    table::lock,
};

/// Pulls that connect at once; others wait for their turn.
const CONNECTING_MAX: usize = 128;
/// Inputs of one stream that stand by.
const STANDBY_MAX: usize = 8;

/// What a pulled stream is asked to be.
#[derive(Debug, Clone)]
pub struct OpenPull {
    /// First part of the stream's name.
    pub app: String,
    /// Second part of the stream's name.
    pub name: String,
    /// Its first input.
    pub source: Source,
    /// Who may play.
    pub rights: PlayRights,
    /// Whether addresses that are not of the public internet may be connected to.
    pub allow_private: bool,
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
    running: Mutex<HashMap<u64, Running>>,
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
            running: Mutex::default(),
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

    /// Our address for datagrams.
    pub(crate) fn host(&self) -> Option<IpAddr> {
        self.receiving.as_ref().map(|receiving| receiving.host)
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
        let order = checked(&wanted.source, wanted.allow_private)?;
        Ok(Self { order, allow_private: wanted.allow_private })
    }

    /// How the media will come, as far as the URL tells.
    pub(crate) fn transport(&self) -> Transport {
        match self.order.location.scheme {
            Scheme::Http | Scheme::Https => Transport::HttpFlv,
            Scheme::Rtsp | Scheme::Rtsps => Transport::Rtsp,
            Scheme::Rtmp | Scheme::Rtmps => Transport::Rtmp,
            Scheme::Udp => Transport::UdpTs,
            Scheme::Other => Transport::Child,
        }
    }

    /// Feeds the stream until it is closed; it can be changed from now on.
    pub(crate) fn run(
        self,
        puller: Arc<Puller>,
        mut feeder: Feeder,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (mut changes, entry) = puller.enter(feeder.id(), self.allow_private);
        async move {
            let _entry = entry;
            let mut closed = pin!(feeder.closed());
            {
                let may: Judge = if self.allow_private { |_| true } else { puller.judge };
                let mut inputs = Inputs::new(self.order, Arc::clone(&puller), may);
                let mut work = pin!(inputs.run(&mut feeder, &mut changes));
                poll_fn(|cx| match closed.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Closed),
                    Poll::Pending => work.as_mut().poll(cx),
                })
                .await;
            }
            feeder.close("closed", "closed");
        }
    }
}

/// What can be checked of an input without the network.
fn checked(source: &Source, allow_private: bool) -> Result<Order, Error> {
    let order = Order::new(source, allow_private)?;
    if matches!(order.location.scheme, Scheme::Rtmp | Scheme::Rtmps) {
        let address = Address::of(&order.location);
        drop(address.map_err(|error| Error::Invalid(format!("cannot pull: {error}")))?);
    }
    Ok(order)
}

/// A pull that runs, for who wants to change it.
struct Running {
    changes: mpsc::UnboundedSender<Change>,
    allow_private: bool,
}

/// Its place among those that run; given up when dropped.
struct Entry {
    puller: Arc<Puller>,
    receiver: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.puller.running).remove(&self.receiver);
    }
}

impl Puller {
    fn enter(
        self: &Arc<Self>,
        receiver: u64,
        allow_private: bool,
    ) -> (mpsc::UnboundedReceiver<Change>, Entry) {
        let (changes, heard) = mpsc::unbounded_channel();
        lock(&self.running).insert(receiver, Running { changes, allow_private });
        (heard, Entry { puller: Arc::clone(self), receiver })
    }

    /// Lets another input feed the stream of a pull that runs.
    pub(crate) fn switch(&self, receiver: u64, source: &Source) -> Result<(), Error> {
        self.change(receiver, |allow_private| Ok(Change::Switch(Box::new(checked(source, allow_private)?))))
    }

    /// Keeps these inputs connected, ready to take over; others that were are given up.
    pub(crate) fn stand_by(&self, receiver: u64, sources: &[Source]) -> Result<(), Error> {
        if sources.len() > STANDBY_MAX {
            return Err(Error::Invalid(format!("more than {STANDBY_MAX} inputs that stand by")));
        }
        self.change(receiver, |allow_private| {
            let orders: Result<_, _> = sources.iter().map(|source| checked(source, allow_private)).collect();
            Ok(Change::StandBy(orders?))
        })
    }

    fn change(&self, receiver: u64, make: impl FnOnce(bool) -> Result<Change, Error>) -> Result<(), Error> {
        let running = lock(&self.running);
        let pull = running.get(&receiver).ok_or(Error::UnknownReceiver(receiver))?;
        // A pull that ends at this moment needs no change.
        let _ = pull.changes.send(make(pull.allow_private)?);
        Ok(())
    }
}

/// One attempt, by the kind of source.
async fn fetch(attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    match attempt.order.location.scheme {
        Scheme::Http | Scheme::Https => http::run(attempt).await,
        Scheme::Rtsp | Scheme::Rtsps => rtsp::run(attempt).await,
        Scheme::Udp => udp::run(attempt).await,
        Scheme::Rtmp | Scheme::Rtmps => rtmp::run(attempt).await,
        Scheme::Other => child::run(attempt).await,
    }
}

#[cfg(test)]
mod odd_servers;
