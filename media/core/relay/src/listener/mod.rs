//! Ports of protocols that begin with a conversation: who connects is a task until it was let in, and those who have not been
//! are bounded.

mod lobby;
mod proxies;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};

pub(crate) use self::lobby::{Limits, Lobby, Place};
pub use self::proxies::Proxies;
use crate::{door, tls::Terminator};

/// What a listener counted.
#[derive(Debug)]
pub(crate) struct Counters {
    names: [&'static str; 4],
    /// Connections accepted.
    pub(crate) accepted: AtomicU64,
    /// Connections closed at once because too many waited.
    pub(crate) refused: AtomicU64,
    /// Connections that broke the protocol or said nothing in time.
    pub(crate) broken: AtomicU64,
    /// Requests to play or publish that were refused.
    pub(crate) denied: AtomicU64,
}

impl Counters {
    /// Prometheus names of what is accepted, refused, broken and denied.
    fn new(names: [&'static str; 4]) -> Self {
        let (accepted, refused, broken, denied) = Default::default();
        Self { names, accepted, refused, broken, denied }
    }

    /// Each with its Prometheus name.
    pub(crate) fn named(&self) -> [(&'static str, u64); 4] {
        let counters = [&self.accepted, &self.refused, &self.broken, &self.denied];
        let mut names = self.names.into_iter();
        counters.map(|counter| (names.next().unwrap_or_default(), counter.load(Ordering::Relaxed)))
    }
}

/// An open port; closed with all its connections when dropped. Players stay: they belong to their streams.
pub(crate) struct Listener {
    address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Opens the port and serves it on `runtime`. `make` gets its address and makes what serves each connection; the place
    /// is dropped once the peer was let in, or is gone. With `tls`, what is served are the plain ends of connections.
    pub(crate) fn open<S, F>(
        runtime: &Handle,
        host: &str,
        port: u16,
        names: [&'static str; 4],
        tls: Option<Terminator>,
        make: impl FnOnce(SocketAddr) -> S,
    ) -> io::Result<Self>
    where
        S: Fn(Arc<Counters>, TcpStream, SocketAddr, Place) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = door::listen(host, port)?;
        let address = listener.local_addr()?;
        let listener = {
            let _guard = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let counters = Arc::new(Counters::new(names));
        let task = runtime.spawn(accept(listener, Arc::clone(&counters), tls, make(address)));
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

async fn accept<S, F>(listener: TcpListener, counters: Arc<Counters>, tls: Option<Terminator>, serve: S)
where
    S: Fn(Arc<Counters>, TcpStream, SocketAddr, Place) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let lobby = Arc::new(Lobby::default());
    let (tls, serve) = (tls.map(Arc::new), Arc::new(serve));
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
        let counters = Arc::clone(&counters);
        if let Some(tls) = &tls {
            let (tls, serve) = (Arc::clone(tls), Arc::clone(&serve));
            connections.spawn(async move {
                tls.serve(stream, |plain| serve(counters, plain, peer, place)).await;
            });
        } else {
            connections.spawn(serve(counters, stream, peer, place));
        }
    }
}
