//! One client connection: hyper reads its requests until one of them takes the socket away.

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Mutex};

use crate::{clock, listener::Place};

use super::{
    Shared,
    media::{self, Answer},
    proxy::{Came, Upstream},
    reply::Body,
    route::Route,
    socket::Guarded,
    takeover::{Slot, hand_over},
};

/// A request's head must be there within so long, the pause since the last request included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 64 * 1024;

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// What the requests of one connection share.
struct Client {
    shared: Arc<Shared>,
    peer: SocketAddr,
    slot: Slot,
    /// Locked while a request is on its way; requests of one connection follow each other.
    upstream: Mutex<Upstream>,
}

impl Client {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = if let Some(route) = Route::parse(request.uri().path()) {
            let (parts, _) = request.into_parts();
            media::answer(&self.shared, self.peer, &parts, route, clock::wall_ms() / 1000).await
        } else {
            let came = Came { client: self.peer.ip(), scheme: self.shared.scheme };
            let came = came.passed_on(&self.shared.proxies, request.headers());
            self.upstream.lock().await.forward(&self.shared.upstream, came, request).await
        };
        match answer {
            Answer::Reply(response) => response,
            Answer::TakeOver(take_over) => {
                self.slot.put(take_over);
                pending().await // hyper waits for an answer while the connection is taken from under it
            }
        }
    }
}

/// Serves a connection to its end. `counted` is its place among those that hyper holds.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, counted: Place) {
    let socket = Guarded::new(stream);
    let blocked = socket.blocked();
    let client = Arc::new(Client {
        shared: Arc::clone(&shared),
        peer,
        slot: Slot::default(),
        upstream: Mutex::default(),
    });
    let service = service_fn(|request| {
        let client = Arc::clone(&client);
        Box::pin(async move { Ok(client.answer(request).await) }) as Answering
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let is_over = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(_) => Poll::Ready(true),
        // hyper flushes as it is polled: unless the socket is stuck, earlier answers are out.
        Poll::Pending if !client.slot.is_empty() && !blocked.get() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    if is_over.await {
        return;
    }
    let parts = connection.into_parts();
    let stream = parts.io.into_inner().into_inner();
    drop(counted);
    if let Some(take_over) = client.slot.take() {
        // A client that goes away while it is answered is no news.
        let _ = hand_over(&shared, peer, stream, &parts.read_buf, take_over).await;
    }
}
