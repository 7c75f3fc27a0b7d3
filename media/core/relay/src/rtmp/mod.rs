//! The RTMP port: publishers whose streams are fed, and players whose sockets go to their stream's shard. And [`dial`], by
//! which we are somebody else's player or publisher.
//!
//! A connection is a task up to the end of a publish, or up to the moment that a player has its answer. Who may
//! publish is asked by an event and answered by a call; meanwhile only that connection waits.

pub(crate) mod address;
mod connection;
pub(crate) mod dial;
mod play;
mod publish;

use std::{io, sync::Arc};

use tokio::runtime::Handle;

use crate::{
    clock,
    door::Directory,
    events::EventQueue,
    listener::{Counters, Listener},
    publishers::Publishers,
    tls::Terminator,
};

/// Names of what the port counts.
const COUNTERS: [&str; 4] = [
    "relay_rtmp_accepted_total",
    "relay_rtmp_refused_total",
    "relay_rtmp_broken_total",
    "relay_rtmp_denied_total",
];

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) play_key: Vec<u8>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) publishers: Arc<Publishers>,
}

/// Opens the port and serves it on `runtime`.
pub(crate) fn listen(
    runtime: &Handle,
    host: &str,
    port: u16,
    tls: Option<Terminator>,
    shared: Shared,
) -> io::Result<Listener> {
    Listener::open(runtime, host, port, COUNTERS, tls, |_| {
        let shared = Arc::new(shared);
        move |counters: Arc<Counters>, stream, peer, place| {
            let shared = Arc::clone(&shared);
            async move {
                let seed = clock::wall_us() ^ u64::from(peer.port()) << 40;
                connection::serve(&shared, &counters, stream, (peer, place), seed).await;
            }
        }
    })
}
