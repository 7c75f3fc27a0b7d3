//! Takes a client's socket away from hyper and gives it to a live stream, or ties it to an upstream WebSocket.

use std::{net::SocketAddr, sync::Mutex, sync::PoisonError, time::Duration};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    time::timeout,
};

use super::{
    Shared,
    directory::{Form, Framing, Seat, Viewer},
};

/// How long a client may take for the answer's head.
const HEAD: Duration = Duration::from_secs(10);

/// What happens to a socket once hyper let go of it.
pub(super) struct TakeOver {
    /// The answer's head, written first.
    pub(super) head: Bytes,
    pub(super) destination: Destination,
}

/// Who gets the socket.
pub(super) enum Destination {
    /// A live stream.
    Stream { app: String, name: String, form: Form, framing: Framing, seat: Seat, agent: String },
    /// A WebSocket of the server behind the door.
    Upstream(Upgraded),
}

/// Where a request leaves its take-over for the connection to find.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<TakeOver>>);

impl Slot {
    pub(super) fn put(&self, take_over: TakeOver) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(take_over);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    pub(super) fn take(&self) -> Option<TakeOver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Answers and hands over. `early` is what the client sent behind its request.
pub(super) async fn hand_over(
    shared: &Shared,
    peer: SocketAddr,
    mut stream: TcpStream,
    early: &[u8],
    take_over: TakeOver,
) -> std::io::Result<()> {
    timeout(HEAD, stream.write_all(&take_over.head)).await??;
    match take_over.destination {
        // RFC 6455 §4.1: a client sends no frame before it read the answer. Plain clients have nothing to say at all.
        Destination::Stream { framing: Framing::WebSocket, .. } if !early.is_empty() => Ok(()),
        Destination::Stream { app, name, form, framing, seat, agent } => {
            let socket = stream.into_std()?;
            shared.directory.attach(&app, &name, Viewer { socket, peer, form, framing, seat, agent });
            Ok(())
        }
        Destination::Upstream(upgraded) => {
            let mut upstream = TokioIo::new(upgraded);
            upstream.write_all(early).await?;
            copy_bidirectional(&mut stream, &mut upstream).await.map(|_| ())
        }
    }
}
