//! The front door: the one public HTTP port. It serves live media, and passes on whatever else is asked.
//!
//! hyper reads the requests. A request for a live stream is answered by hand and its socket given to the hub; HLS is
//! answered from what the hub publishes; everything else goes to the server on a Unix socket.

mod connection;
mod directory;
mod hls;
mod media;
mod proxy;
mod reply;
pub mod rights;
pub mod route;
pub mod sign;
mod socket;
mod sound;
mod takeover;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinSet,
};

pub use directory::{
    Access, Answer, Credential, Denied, Directory, Feed, Form, Framing, Player, Question, Seat, Seats, Viewer,
};
pub(crate) use socket::Guarded;

use crate::{
    listener::{Limits, Lobby, Proxies},
    tls::Terminator,
};

/// Connections that hyper holds at a time; one more is answered 503. Viewers of live streams do not count.
const CONNECTIONS: Limits = Limits { all: 4096, each: 1024, proxy: 4096 };
const BACKLOG: i32 = 1024;
/// A silent client is probed after so long, so that what vanished does not stay.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// It is given up when so many probes, so far apart, find nobody.
const PROBES: u32 = 3;
const PROBE_EVERY: Duration = Duration::from_secs(10);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
    Content-Type: application/json\r\nContent-Length: 70\r\n\r\n\
    {\"error_code\":\"busy\",\"error_msg\":\"too many connections are open now\"}\n";

/// How to open a door.
#[derive(Debug, Clone)]
pub struct DoorOptions {
    /// Name or address to listen on; `::` means every address of both families.
    pub host: String,
    /// Port to listen on; 0 picks a free one.
    pub port: u16,
    /// The Unix socket of the server that answers what is not media.
    pub upstream: PathBuf,
    /// Signs the play addresses of private streams.
    pub play_key: Vec<u8>,
    /// Who passes on what others ask.
    pub proxies: Proxies,
}

/// Counters of a door.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections answered 503 because too many were open.
    pub refused: AtomicU64,
}

/// What all connections share.
struct Shared {
    directory: Arc<dyn Directory>,
    upstream: PathBuf,
    play_key: Vec<u8>,
    /// As clients came: `http` or `https`.
    scheme: &'static str,
    proxies: Proxies,
}

/// An open door; closed when dropped.
pub struct Door {
    address: SocketAddr,
    counters: Arc<Counters>,
    runtime: Option<Runtime>,
}

impl Door {
    /// Opens the port and serves it on threads of its own.
    pub fn open(options: DoorOptions, directory: Arc<dyn Directory>) -> io::Result<Self> {
        Self::open_secure(options, directory, None)
    }

    /// The same, behind TLS if `tls` is given.
    pub(crate) fn open_secure(
        options: DoorOptions,
        directory: Arc<dyn Directory>,
        tls: Option<Terminator>,
    ) -> io::Result<Self> {
        let listener = listen(&options.host, options.port)?;
        let address = listener.local_addr()?;
        let runtime =
            Builder::new_multi_thread().worker_threads(2).thread_name("door").enable_all().build()?;
        let counters = Arc::new(Counters::default());
        let DoorOptions { upstream, play_key, proxies, .. } = options;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared { directory, upstream, play_key, scheme, proxies });
        let listener = {
            let _guard = runtime.enter();
            TcpListener::from_std(listener)?
        };
        runtime.spawn(accept(listener, shared, tls, Arc::clone(&counters)));
        Ok(Self { address, counters, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// A listening socket on a name or address; `::` hears both families.
pub(crate) fn listen(host: &str, port: u16) -> io::Result<StdListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in (host, port).to_socket_addrs()? {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = io::Error::new(error.kind(), format!("listening on {address}: {error}")),
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    tls: Option<Terminator>,
    counters: Arc<Counters>,
) {
    let (tls, lobby) = (tls.map(Arc::new), Arc::new(Lobby::default()));
    let open = Arc::new(Lobby::new(CONNECTIONS, shared.proxies.clone()));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors, most likely: what is open must be let to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        prepare(&stream);
        let counted = open.enter(peer.ip());
        match (&tls, counted) {
            (None, Some(counted)) => {
                connections.spawn(connection::serve(Arc::clone(&shared), stream, peer, counted));
            }
            (Some(tls), Some(counted)) => {
                let Some(place) = lobby.enter(peer.ip()) else {
                    counters.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let (tls, shared) = (Arc::clone(tls), Arc::clone(&shared));
                connections.spawn(async move {
                    let serve = |plain| {
                        drop(place); // the handshake is done
                        connection::serve(shared, plain, peer, counted)
                    };
                    tls.serve(stream, serve).await;
                });
            }
            (tls, None) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                if tls.is_none() {
                    let _ = stream.try_write(BUSY);
                }
            }
        }
    }
}

/// Options that help but must not fail a connection.
pub(crate) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(PROBE_EVERY).with_retries(PROBES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
}
