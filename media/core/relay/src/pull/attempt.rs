//! One attempt to fetch a stream: what every kind of source needs of the pull that owns it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::sync::SemaphorePermit;
use wire::{fault::Fault, unpack::Output};

use super::{
    Puller,
    connect::{Judge, Trust, Wire},
    failure::Failure,
    input::{Note, Outlet},
    location::Location,
    order::Order,
};
use crate::{clock, config::Transport, feed::Portion, rtsp::Receiving};

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Resolving, connecting and TLS together; then the answer's head as long again.
    pub(super) answer: Duration,
    /// A connection that brings no byte for so long is closed.
    pub(super) silence: Duration,
    /// One that brings bytes and no media too.
    pub(super) media: Duration,
    /// The first wait before connecting again.
    pub(super) retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { answer: seconds(10), silence: seconds(10), media: seconds(30), retry: seconds(1) }
    }
}

/// From connecting to the failure that ends it. Each attempt has readers of its own, whose clocks begin at zero: what is
/// sent is joined to the stream behind the [`Outlet`].
pub(super) struct Attempt<'a> {
    /// What is to be fetched.
    pub(super) order: &'a Order,
    pub(super) patience: Patience,
    puller: &'a Puller,
    may: Judge,
    outlet: &'a Outlet,
    connected: Option<Instant>,
    brought: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(order: &'a Order, puller: &'a Puller, may: Judge, outlet: &'a Outlet) -> Self {
        Self { order, patience: puller.patience, puller, may, outlet, connected: None, brought: false }
    }

    /// When the source answered, if it did.
    pub(super) fn connected_at(&self) -> Option<Instant> {
        self.connected
    }

    /// Whether pictures or sound came.
    pub(super) fn has_brought(&self) -> bool {
        self.brought
    }

    /// Whom TLS trusts.
    pub(super) fn trust(&self) -> &'a Trust {
        &self.puller.trust
    }

    /// Which addresses may be connected to.
    pub(super) fn judge(&self) -> Judge {
        self.may
    }

    /// Where datagrams come in.
    pub(super) fn receiving(&self) -> Option<&'a Receiving> {
        self.puller.receiving.as_ref()
    }

    /// What all that connect share.
    pub(super) fn puller(&self) -> &'a Puller {
        self.puller
    }

    /// A turn to connect: only so many pulls do at once. It is given back when dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'a>> {
        self.puller.turns.acquire().await.ok() // it is never closed
    }

    /// A connection to `location`, by TLS if its scheme says so, and the address that answered. Addresses that this pull
    /// may not go to are not connected to.
    pub(super) async fn connect(&self, location: &Location) -> Result<(Box<dyn Wire>, SocketAddr), Failure> {
        self.puller.reach(location, self.may).await
    }

    /// The source answered and will be listened to: event `connected`. What fails before is `connect_failed`, what fails
    /// after it is `disconnected`. A program has no address.
    pub(super) fn connected(&mut self, peer: impl Into<Option<SocketAddr>>) {
        self.connected = Some(clock::now());
        self.outlet.tell(Note::Connected(peer.into()));
    }

    /// What carries the stream turned out, as snapshots tell it.
    pub(super) fn carried_by(&mut self, transport: Transport, payload: &'static str) {
        self.outlet.tell(Note::CarriedBy(transport, payload));
    }

    /// Hands a portion to the stream; waits while too much is on its way, or the stream is above its bandwidth.
    pub(super) async fn send(&mut self, portion: Portion) -> Result<(), Failure> {
        self.brought |= portion.outputs.iter().any(|output| matches!(output, Output::Unit(_)));
        if self.outlet.send(portion).await { Ok(()) } else { Err(Failure::Closed) }
    }
}

/// Watches over a connection that stands: it must bring bytes, and of these media.
#[derive(Debug)]
pub(super) struct Vigil {
    patience: Patience,
    heard: Instant,
    media: Instant,
}

impl Vigil {
    pub(super) fn new(patience: Patience) -> Self {
        let now = clock::now();
        Self { patience, heard: now, media: now }
    }

    /// Something came; also to be told when a wait of our own is over, which was not the source's silence.
    pub(super) fn heard(&mut self) {
        self.heard = clock::now();
    }

    /// What was made of it.
    pub(super) fn made(&mut self, outputs: &[Output]) {
        if outputs.iter().any(is_media) {
            self.media = clock::now();
        }
    }

    /// When to call `check` at the latest.
    pub(super) fn due(&self) -> Instant {
        (self.heard + self.patience.silence).min(self.media + self.patience.media)
    }

    /// Fails once nothing came for too long.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let now = clock::now();
        if now >= self.heard + self.patience.silence {
            return Err(Failure::Silent(self.patience.silence));
        }
        if now >= self.media + self.patience.media {
            return Err(Failure::NoMedia(self.patience.media));
        }
        Ok(())
    }
}

/// Whether something shows that media flows, be it that it waits for a key frame.
fn is_media(output: &Output) -> bool {
    matches!(output, Output::Unit(_) | Output::Fault(Fault::KeyFrameAwaited))
}
