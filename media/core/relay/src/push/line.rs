//! The connection of a push as its stream's shard can write to it: a plain socket is handed over itself; where something
//! stands between it and what is sent (TLS, another message stream), one end of a pair of sockets is, and a task carries
//! bytes between the other end and the connection.

use std::{
    io,
    net::{Shutdown, TcpStream},
    os::fd::OwnedFd,
    os::unix::net::UnixStream as StdUnixStream,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::UnixStream,
    time::timeout,
};
use wire::rtmp::Renumber;

use crate::pull::{Failure, Wire};

/// Read at once from the pair or the connection.
const BUFFER: usize = 64 << 10;
/// A connection must take what is written to it within so long.
const WRITING: Duration = Duration::from_secs(10);
/// What the shard wrote last may take so long to go out.
pub(super) const PARTING: Duration = Duration::from_secs(1);

/// A connection on which media are to be sent.
pub(super) struct Line {
    wire: Box<dyn Wire>,
    renumber: Option<Renumber>,
}

/// The shard's socket, our hold on it, and what carries its bytes where that is needed.
pub(super) struct Split {
    pub(super) socket: TcpStream,
    pub(super) hold: Hold,
    pub(super) bridge: Option<Bridge>,
}

/// Ends a connection when dropped, whoever else has its socket.
pub(super) struct Hold(TcpStream);

impl Hold {
    /// Nothing more is written; what was goes out.
    pub(super) fn end(&self) {
        // One that is closed already needs nothing.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // One that is closed already needs nothing.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Line {
    /// A connection whose server wants the bytes as all have them, or what `renumber` makes of them.
    pub(super) fn new(wire: Box<dyn Wire>, renumber: Option<Renumber>) -> Self {
        Self { wire, renumber }
    }

    /// Sends `first`, and makes of the connection what a shard can write to.
    pub(super) async fn split(mut self, first: &[u8]) -> Result<Split, Failure> {
        let writing = async {
            self.wire.write_all(first).await?;
            self.wire.flush().await
        };
        timeout(WRITING, writing).await.map_err(|_| Failure::Stalled)?.map_err(Failure::Lost)?;
        let renumber = self.renumber;
        let wire = match self.wire.into_plain() {
            Ok(stream) if renumber.is_none() => {
                let socket = stream.into_std().map_err(Failure::Lost)?;
                let hold = Hold(socket.try_clone().map_err(Failure::Lost)?);
                return Ok(Split { socket, hold, bridge: None });
            }
            Ok(stream) => Box::new(stream),
            Err(wire) => wire,
        };
        let (ours, theirs) = StdUnixStream::pair().map_err(Failure::Lost)?;
        ours.set_nonblocking(true).map_err(Failure::Lost)?;
        theirs.set_nonblocking(true).map_err(Failure::Lost)?;
        let ours = UnixStream::from_std(ours).map_err(Failure::Lost)?;
        // A stream socket is one, whatever its family: it is written to, read from and shut down alike.
        let socket = TcpStream::from(OwnedFd::from(theirs));
        let hold = Hold(socket.try_clone().map_err(Failure::Lost)?);
        Ok(Split { socket, hold, bridge: Some(Bridge { wire, ours, renumber }) })
    }
}

/// Carries bytes between a pair of sockets and a connection.
pub(super) struct Bridge {
    wire: Box<dyn Wire>,
    ours: UnixStream,
    renumber: Option<Renumber>,
}

impl Bridge {
    /// Carries until either side ends; why the connection ended, or `Closed` if the shard let go.
    pub(super) async fn run(self) -> Failure {
        let (wire_in, wire_out) = split(self.wire);
        let (ours_in, ours_out) = split(self.ours);
        let down = async {
            match back(wire_in, ours_out).await {
                Ok(()) => Failure::HungUp,
                Err(error) => Failure::Lost(error),
            }
        };
        super::race(forth(ours_in, wire_out, self.renumber), down).await
    }
}

/// What the shard writes goes out.
async fn forth(
    mut from: ReadHalf<UnixStream>,
    mut to: WriteHalf<Box<dyn Wire>>,
    mut renumber: Option<Renumber>,
) -> Failure {
    let mut buffer = vec![0; BUFFER];
    loop {
        let size = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                // The connection ends either way; a server that does not hear why may still see it ended.
                let _ = timeout(PARTING, to.shutdown()).await;
                return Failure::Closed;
            }
            Ok(size) => size,
        };
        if let Some(renumber) = &mut renumber {
            renumber.handle(&mut buffer[..size]);
        }
        let writing = async {
            to.write_all(&buffer[..size]).await?;
            to.flush().await
        };
        match timeout(WRITING, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Failure::Lost(error),
            Err(_) => return Failure::Stalled,
        }
    }
}

/// What the server says comes back.
async fn back(mut from: ReadHalf<Box<dyn Wire>>, mut to: WriteHalf<UnixStream>) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    loop {
        let size = match from.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(size) => size,
            // The last word of TLS is often missing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..size]).await?;
    }
}
