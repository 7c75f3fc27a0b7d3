//! The RTSP port: players whose connections go to their stream's shard, which sends them packets on the connection or as
//! datagrams.
//!
//! A connection is a task up to the moment that PLAY was answered.

mod connection;
mod player;

use std::{io, net::SocketAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::runtime::Handle;

pub use self::player::RtspPlayer;
use self::player::{Datagrams, UdpPorts};
use crate::{
    clock,
    door::Directory,
    listener::{Counters, Listener},
};

/// Names of what the port counts.
const COUNTERS: [&str; 4] = [
    "relay_rtsp_accepted_total",
    "relay_rtsp_refused_total",
    "relay_rtsp_broken_total",
    "relay_rtsp_denied_total",
];

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) play_key: Vec<u8>,
    /// Where datagrams leave from; `None` where no two ports were free: players then take packets on the connection.
    ports: Option<Arc<UdpPorts>>,
}

impl Shared {
    /// An id that nobody else can guess (RFC 2326 §3.4).
    fn session_id(&self, peer: SocketAddr) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.play_key) else { return String::new() };
        mac.update(format!("rtsp session {peer} {}", clock::wall_us()).as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..12])
    }
}

/// Opens the port and serves it on `runtime`.
pub(crate) fn listen(
    runtime: &Handle,
    host: &str,
    port: u16,
    directory: Arc<dyn Directory>,
    play_key: Vec<u8>,
) -> io::Result<Listener> {
    Listener::open(runtime, host, port, COUNTERS, |address: SocketAddr| {
        let ports = UdpPorts::open(address.ip()).ok().map(Arc::new);
        let shared = Arc::new(Shared { directory, play_key, ports });
        move |counters: Arc<Counters>, stream, peer, place| {
            let shared = Arc::clone(&shared);
            async move {
                connection::serve(&shared, &counters, stream, peer).await;
                drop(place);
            }
        }
    })
}
