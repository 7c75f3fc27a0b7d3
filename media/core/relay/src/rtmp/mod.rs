//! The RTMP port: publishers whose streams are fed, and players whose sockets go to their stream's shard.
//!
//! A connection is a task up to the end of a publish, or up to the moment that a player has its answer. Who may
//! publish is asked by an event and answered by a call; meanwhile only that connection waits.

mod connection;
mod lobby;
mod play;
mod publish;
mod publishers;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};

use self::lobby::Lobby;
pub(crate) use self::publishers::{Decision, Publishers};
use crate::{
    clock,
    door::{self, Directory},
    events::EventQueue,
};

/// What a listener counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections accepted.
    pub(crate) accepted: AtomicU64,
    /// Connections closed at once because too many waited.
    pub(crate) refused: AtomicU64,
    /// Connections that broke the protocol or said nothing in time.
    pub(crate) broken: AtomicU64,
    /// Publishes and plays that were refused.
    pub(crate) denied: AtomicU64,
}

impl Counters {
    /// Each with its Prometheus name.
    pub(crate) fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("relay_rtmp_accepted_total", &self.accepted),
            ("relay_rtmp_refused_total", &self.refused),
            ("relay_rtmp_broken_total", &self.broken),
            ("relay_rtmp_denied_total", &self.denied),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) play_key: Vec<u8>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) publishers: Arc<Publishers>,
}

/// An open port; closed with all its connections when dropped. Players stay: they belong to their streams.
pub(crate) struct Listener {
    address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Opens the port and serves it on `runtime`.
    pub(crate) fn open(runtime: &Handle, host: &str, port: u16, shared: Shared) -> io::Result<Self> {
        let listener = door::listen(host, port)?;
        let address = listener.local_addr()?;
        let listener = {
            let _guard = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let counters = Arc::new(Counters::default());
        let task = runtime.spawn(accept(listener, Arc::new(shared), Arc::clone(&counters)));
        Ok(Self { address, counters, task })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, counters: Arc<Counters>) {
    let lobby = Arc::new(Lobby::default());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors, most likely: what is open must be let to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        let Some(place) = lobby.enter(peer.ip()) else {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        door::prepare(&stream);
        let (shared, counters) = (Arc::clone(&shared), Arc::clone(&counters));
        connections.spawn(async move {
            let seed = clock::wall_us() ^ u64::from(peer.port()) << 40;
            connection::serve(&shared, &counters, stream, (peer, place), seed).await;
        });
    }
}
