//! TLS on our own ports: a connection is ended here, and its plain bytes go down a local socket that everything behind
//! takes for the client's.
//!
//! Those who have not finished the handshake are bounded like all who were not let in yet (`listener::lobby`).

mod bridge;
mod identity;

use std::{
    future::Future,
    io,
    os::unix::net::UnixStream as StdUnixStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
    server::TlsStream,
};

pub(crate) use self::identity::{Identities, Identity, watch};
use crate::door::Guarded;

/// A client must have agreed on keys within so long.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What every handshake begins with (RFC 8446 §5.1: the content type of a record).
const HANDSHAKE_RECORD: u8 = 22;

const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n\
    Content-Length: 76\r\n\r\n{\"error_code\":\"tls_expected\",\"error_msg\":\"this port speaks https, not http\"}\n";

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// HTTP/1.1; HTTP/2 is not offered, because the sockets of viewers could not leave such a connection.
    Http,
    /// A protocol that agrees on nothing by ALPN.
    Other,
}

/// What all TLS ports count together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    failed: AtomicU64,
    plain: AtomicU64,
}

impl Counters {
    /// Each with its Prometheus name.
    pub(crate) fn named(&self) -> [(&'static str, u64); 3] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("relay_tls_handshakes_total", read(&self.accepted)),
            ("relay_tls_handshakes_failed_total", read(&self.failed)),
            ("relay_tls_plain_total", read(&self.plain)),
        ]
    }
}

/// Ends the TLS of one port.
pub(crate) struct Terminator {
    acceptor: TlsAcceptor,
    inside: Inside,
    counters: Arc<Counters>,
}

impl Terminator {
    pub(crate) fn new(
        identity: Arc<Identity>,
        inside: Inside,
        counters: Arc<Counters>,
    ) -> Result<Self, String> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(identity);
        if inside == Inside::Http {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), inside, counters })
    }

    /// Agrees on keys with a client, and lets `serve` have the plain end of its connection; ends with the connection.
    pub(crate) async fn serve<F>(&self, stream: TcpStream, serve: impl FnOnce(TcpStream) -> F)
    where
        F: Future<Output = ()>,
    {
        let agreed = timeout(HANDSHAKE, self.handshake(stream)).await;
        let secure = match agreed {
            Ok(Ok(Some(secure))) => secure,
            Ok(Ok(None)) => return,
            Ok(Err(_)) | Err(_) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        // Without descriptors there is nothing to say to the client that it would understand.
        let Ok((near, far)) = pair() else { return };
        let mut bridge = JoinSet::new();
        bridge.spawn(bridge::run(secure, near));
        // It may end long before the connection: a viewer's end goes to its stream.
        serve(far).await;
        while bridge.join_next().await.is_some() {}
    }

    /// `None` for who connects and leaves, or does not speak TLS.
    async fn handshake(&self, mut stream: TcpStream) -> io::Result<Option<TlsStream<Guarded>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first[0] == HANDSHAKE_RECORD {
            return self.acceptor.accept(Guarded::new(stream)).await.map(Some);
        }
        self.counters.plain.fetch_add(1, Ordering::Relaxed);
        if self.inside == Inside::Http {
            // What was asked is read, lest the answer be lost: a socket with unread bytes is reset.
            let _ = stream.try_read(&mut [0; 8192]);
            stream.write_all(PLAIN_HTTP).await?;
            stream.shutdown().await?;
        }
        Ok(None)
    }
}

/// Two ends of a local connection. The far one wears the clothes of TCP: those who get it read, write, wait for it and
/// shut it down, which is the same for every stream socket; options of TCP fail on it and are only ever tried.
fn pair() -> io::Result<(UnixStream, TcpStream)> {
    let (near, far) = StdUnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let far = std::net::TcpStream::from(std::os::fd::OwnedFd::from(far));
    Ok((UnixStream::from_std(near)?, TcpStream::from_std(far)?))
}
