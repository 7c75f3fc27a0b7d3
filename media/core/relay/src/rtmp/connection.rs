//! One client's connection: bytes to and from the protocol's machine, and what the client turns out to want.

use std::{io, net::SocketAddr, sync::atomic::Ordering, time::Duration};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wire::rtmp::{Event, Server, ServerError, Target};

use super::{Counters, Shared, play, publish};
use crate::{core::check_name, listener::Place};

/// What a client wants must be known so soon after connecting.
const BEGINNING: Duration = Duration::from_secs(10);
/// The client must take what it is sent within so long.
pub(super) const WRITING: Duration = Duration::from_secs(10);
/// How long a client that was sent away may take to read why.
const PARTING: Duration = Duration::from_secs(1);
const BUFFER: usize = 16 << 10;
/// A longer query is refused.
const QUERY_MAX: usize = 8192;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("closed by the peer")]
    Closed,
    #[error("the publisher ended the stream")]
    Finished,
    #[error("closed by the gateway")]
    Thrown,
    #[error("nothing came for {0} s")]
    Idle(u64),
    #[error("what is sent was not taken in time")]
    Stuck,
    #[error("broken protocol: {0}")]
    Protocol(#[from] ServerError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl End {
    /// A word that does not change.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Closed => "ended",
            Self::Finished => "finished",
            Self::Thrown => "closed",
            Self::Idle(_) => "silent",
            Self::Stuck => "stalled",
            Self::Protocol(_) => "not_rtmp",
            Self::Io(_) => "broken",
        }
    }
}

/// A socket and the machine that understands what comes by it.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) server: Server,
    pub(super) peer: SocketAddr,
    /// Held until a publisher is let in: those are as many as the application accepts.
    pub(super) place: Option<Place>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends what the machine wants to say.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        let out = self.server.take_output();
        if out.is_empty() {
            return Ok(());
        }
        Ok(timeout(WRITING, self.stream.write_all(&out)).await.map_err(|_| End::Stuck)??)
    }

    /// Reads once and hands it to the machine; how much came.
    pub(super) async fn read(&mut self) -> Result<usize, End> {
        let size = match self.stream.read(&mut self.buffer).await {
            Ok(0) => return Err(End::Closed),
            // Whoever closes with unread answers before it resets the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(End::Closed),
            read => read?,
        };
        self.server.handle(&self.buffer[..size])?;
        Ok(size)
    }

    /// A media stream is to come: it is read in larger pieces.
    pub(super) fn widen(&mut self) {
        self.buffer.resize(4 * BUFFER, 0);
    }

    /// The next thing that the client wants.
    async fn next_event(&mut self) -> Result<Event, End> {
        loop {
            if let Some(event) = self.server.poll_event()? {
                return Ok(event);
            }
            self.flush().await?;
            self.read().await?;
        }
    }

    /// Says what is to be said, and closes. What the client still sends is read, lest it miss the reason: a socket with
    /// unread bytes is reset.
    pub(super) async fn part(mut self) {
        let parting = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            while self.stream.read(&mut self.buffer).await? > 0 {}
            Ok::<_, End>(())
        };
        // Whoever does not listen is closed all the same.
        let _ = timeout(PARTING, parting).await;
    }
}

/// Serves a connection to its end, or until a player's socket is handed on.
pub(super) async fn serve(
    shared: &Shared,
    counters: &Counters,
    stream: TcpStream,
    (peer, place): (SocketAddr, Place),
    seed: u64,
) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let (server, buffer) = (Server::new(seed), vec![0; BUFFER]);
    let mut connection = Connection { stream, server, peer, place: Some(place), buffer };
    match timeout(BEGINNING, connection.next_event()).await {
        Ok(Ok(Event::Publish(target))) => publish::publish(shared, counters, connection, &target).await,
        Ok(Ok(Event::Play(target))) => play::play(shared, counters, connection, &target).await,
        Ok(Err(End::Closed | End::Io(_))) => {}
        Ok(_) | Err(_) => {
            counters.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// App and name of the stream that is meant, or what is wrong with them.
pub(super) fn named(target: &Target) -> Result<(String, String), String> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| "the name is not UTF-8".to_owned())?;
        check_name(&text).map_err(|error| error.to_string())?;
        Ok::<_, String>(text.into_owned())
    };
    let (app, name) = (decoded(&target.app)?, decoded(&target.name)?);
    if target.query.len() > QUERY_MAX || target.query.chars().any(char::is_control) {
        return Err("the query is too long, or not text".to_owned());
    }
    Ok((app, name))
}
