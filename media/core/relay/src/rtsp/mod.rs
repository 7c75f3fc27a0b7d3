//! The RTSP port: players whose connections go to their stream's shard, which sends them packets on the connection or as
//! datagrams, and publishers whose streams are fed. And [`Talk`], by which we are somebody else's player or publisher.
//!
//! A connection is a task up to the moment that PLAY was answered, or up to the end of a publish.

mod connection;
mod control;
mod guard;
mod player;
mod publish;
mod receive;
mod talk;

use std::{io, net::SocketAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::runtime::Handle;

pub use self::player::RtspPlayer;
pub(crate) use self::{
    player::{Datagrams, UdpPorts},
    publish::HOLD,
    receive::{Pair, Receiving, Way, Ways},
    talk::{REDIRECTS_MAX, Talk},
};
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
    "relay_rtsp_accepted_total",
    "relay_rtsp_refused_total",
    "relay_rtsp_broken_total",
    "relay_rtsp_denied_total",
];

/// What a port needs of the core.
pub(crate) struct Listen {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) play_key: Vec<u8>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) publishers: Arc<Publishers>,
    /// Where publishers' datagrams come in.
    pub(crate) receiving: Receiving,
    /// Whose users are asked for; `None`: nobody is asked who it is.
    pub(crate) realm: Option<String>,
}

/// What all connections share.
struct Shared {
    core: Listen,
    /// Where datagrams leave from; `None` where no two ports were free, and for TLS: players then take packets on the connection.
    ports: Option<Arc<UdpPorts>>,
    /// The connections are in the clear, so media may be beside them.
    clear: bool,
}

impl Shared {
    /// An id that nobody else can guess (RFC 2326 §3.4).
    fn session_id(&self, peer: SocketAddr) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.core.play_key) else { return String::new() };
        mac.update(format!("rtsp session {peer} {}", clock::wall_us()).as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..12])
    }
}

/// Opens the port and serves it on `runtime`. Datagrams would travel in the clear: where there is `tls`, none do.
pub(crate) fn listen(
    runtime: &Handle,
    host: &str,
    port: u16,
    tls: Option<Terminator>,
    core: Listen,
) -> io::Result<Listener> {
    let clear = tls.is_none();
    Listener::open(runtime, host, port, COUNTERS, tls, |address: SocketAddr| {
        let ports = clear.then(|| UdpPorts::open(address.ip(), runtime).ok().map(Arc::new)).flatten();
        let shared = Arc::new(Shared { core, ports, clear });
        move |counters: Arc<Counters>, stream, peer, place| {
            let shared = Arc::clone(&shared);
            async move { connection::serve(&shared, &counters, stream, (peer, place)).await }
        }
    })
}
