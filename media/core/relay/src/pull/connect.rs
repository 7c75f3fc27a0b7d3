//! From a location to a connection: names resolved, addresses judged, TLS agreed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls_native_certs::load_native_certs;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::{
    failure::Failure,
    location::{Location, Scheme},
};

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// One of several addresses may take so long.
const EACH: Duration = Duration::from_secs(4);

/// A connection, plain or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket, if nothing stands between it and what is sent; else the connection again.
    fn into_plain(self: Box<Self>) -> Result<TcpStream, Box<dyn Wire>>;
}

impl Wire for TcpStream {
    fn into_plain(self: Box<Self>) -> Result<TcpStream, Box<dyn Wire>> {
        Ok(*self)
    }
}

impl Wire for TlsStream<TcpStream> {
    fn into_plain(self: Box<Self>) -> Result<TcpStream, Box<dyn Wire>> {
        Err(self)
    }
}

/// What all pulls share: whom TLS trusts.
#[derive(Default)]
pub(crate) struct Trust(OnceLock<Result<Configs, String>>);

/// For HTTP, and for other protocols, which have no name that servers agree on.
type Configs = (Arc<ClientConfig>, Arc<ClientConfig>);

impl Trust {
    /// The roots are read once, when the first source with TLS is pulled: those of the system, or of `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`; Mozilla's as they were built in only where the system has none.
    fn config(&self, http: bool) -> Result<Arc<ClientConfig>, Failure> {
        let (for_http, plain) = self.0.get_or_init(configure).clone().map_err(Failure::Tls)?;
        Ok(if http { for_http } else { plain })
    }
}

fn configure() -> Result<Configs, String> {
    let mut roots = RootCertStore::empty();
    let found = load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let chosen =
            ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| std::env::var_os(name).is_some());
        if let Some(name) = chosen {
            return Err(format!("{name} names no usable certificate"));
        }
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let plain = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut for_http = plain.clone();
    for_http.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(for_http), Arc::new(plain)))
}

/// Which addresses may be connected to.
pub(crate) type Judge = fn(IpAddr) -> bool;

/// Connects to where `location` is; the address that answered. Addresses that `may` refuses are not connected to.
pub(crate) async fn connect(
    location: &Location,
    trust: &Trust,
    may: Judge,
) -> Result<(Box<dyn Wire>, SocketAddr), Failure> {
    let (allowed, forbidden): (Vec<SocketAddr>, Vec<SocketAddr>) =
        resolve(location).await?.into_iter().partition(|found| may(found.ip()));
    if let (true, Some(found)) = (allowed.is_empty(), forbidden.first()) {
        return Err(Failure::Forbidden(found.ip().to_string()));
    }
    let stream = open(&allowed).await.map_err(Failure::Connect)?;
    let peer = stream.peer_addr().map_err(Failure::Connect)?;
    let _ = stream.set_nodelay(true); // helps, and must not fail a connection
    if !location.scheme.is_secure() {
        return Ok((Box::new(stream), peer));
    }
    let name =
        ServerName::try_from(location.host.clone()).map_err(|error| Failure::Tls(error.to_string()))?;
    let connector = TlsConnector::from(trust.config(location.scheme == Scheme::Https)?);
    let stream = connector.connect(name, stream).await.map_err(|error| Failure::Tls(tls_reason(&error)))?;
    Ok((Box::new(stream), peer))
}

/// Why there is no TLS, in words for those who can put a certificate right.
fn tls_reason(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(wrong)) = inner else { return error.to_string() };
    let told = match wrong {
        CertificateError::UnknownIssuer => "is signed by itself or by nobody that we trust",
        // How a certificate that is an authority's own is called, which has no name in the library.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority, mostly one signed by itself"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is not for the name that the URL has"
        }
        _ => return error.to_string(),
    };
    format!("the server's certificate {told}: {error}")
}

async fn resolve(location: &Location) -> Result<Vec<SocketAddr>, Failure> {
    if let Some(address) = location.address() {
        return Ok(vec![SocketAddr::new(plain(address), location.port)]);
    }
    let found = lookup_host((location.host.as_str(), location.port)).await.map_err(Failure::Unresolved)?;
    let found: Vec<_> = found.map(|found| SocketAddr::new(plain(found.ip()), found.port())).collect();
    if found.is_empty() {
        return Err(Failure::Unresolved(io::Error::new(io::ErrorKind::NotFound, "it has no address")));
    }
    Ok(found)
}

/// IPv4 in the clothes of IPv6 is IPv4.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

async fn open(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    let tried = &addresses[..addresses.len().min(ADDRESSES_MAX)];
    for (number, address) in tried.iter().enumerate() {
        let is_last = number + 1 == tried.len();
        let connecting = TcpStream::connect(address);
        // The last one has what is left of the caller's patience.
        let opened = if is_last { Ok(connecting.await) } else { timeout(EACH, connecting).await };
        match opened {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}
