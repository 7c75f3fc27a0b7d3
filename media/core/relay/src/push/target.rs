//! A push as its stream's shard sees it: a viewer whose other end is a server, which may have something to say.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::oneshot;
use wire::media::Tracks;

use super::Record;
use crate::{hub::form::Form, pull::Failure, rtsp::Datagrams};

/// What a protocol has to say while a stream goes to somebody else's server. What the server is sent otherwise is what
/// all viewers of a form share.
pub(crate) trait Target: Send + std::fmt::Debug {
    /// The form whose bytes the server takes.
    fn form(&self) -> Form;

    /// Whether the server can follow when the tracks become these.
    fn can_follow(&self, tracks: &Tracks) -> bool;

    /// Takes what the server said; what is to be answered between two chunks, or why this is over.
    fn handle(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, Failure>;

    /// Lets time pass; what is to be said between two chunks. Called about once a second.
    fn handle_timeout(&mut self, _now: Instant) -> Option<Vec<u8>> {
        None
    }

    /// Where the packets go, if not down the connection.
    fn datagrams(&self) -> Option<&Datagrams> {
        None
    }

    /// What the server is told when the stream is over.
    fn farewell(&mut self) -> Vec<u8>;
}

/// The viewer's part of a push. When it is dropped without a failure, the stream is over.
#[derive(Debug)]
pub struct Pushed {
    target: Box<dyn Target>,
    record: Arc<Record>,
    end: Option<oneshot::Sender<Failure>>,
}

impl Pushed {
    /// The viewer's part, and where its end is told of.
    pub(super) fn new(target: Box<dyn Target>, record: Arc<Record>) -> (Self, oneshot::Receiver<Failure>) {
        let (end, ended) = oneshot::channel();
        (Self { target, record, end: Some(end) }, ended)
    }

    pub(crate) fn form(&self) -> Form {
        self.target.form()
    }

    pub(crate) fn can_follow(&self, tracks: &Tracks) -> bool {
        self.target.can_follow(tracks)
    }

    /// Takes what the server said; `Err` if the viewer has to go.
    pub(crate) fn handle(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, ()> {
        self.target.handle(data).map_err(|failure| self.stop(failure))
    }

    /// Lets time pass; what is to be said.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.target.handle_timeout(now)
    }

    pub(crate) fn datagrams(&self) -> Option<&Datagrams> {
        self.target.datagrams()
    }

    /// What goes down the connection last; `goodbye` ends the packets, wherever they go.
    pub(crate) fn farewell(&mut self, goodbye: &Bytes) -> Vec<u8> {
        let last = self.target.farewell();
        if let Some(datagrams) = self.target.datagrams() {
            datagrams.send_packets(goodbye);
            return last;
        }
        [goodbye, &last[..]].concat()
    }

    /// Notes bytes that went out.
    pub(crate) fn sent(&self, bytes: u64) {
        self.record.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Tells why the viewer goes; the first reason counts.
    pub(crate) fn stop(&mut self, failure: Failure) {
        if let Some(end) = self.end.take() {
            // Whoever closed the push does not listen any more.
            let _ = end.send(failure);
        }
    }
}
