//! A connection to somebody else's server: the machine that speaks on it, for pulls and pushes alike.

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    time::timeout,
};
use wire::rtsp::{Client, Credentials, Goal};

use crate::pull::{Failure, Location, Wire};

/// Redirects that are followed.
pub(crate) const REDIRECTS_MAX: usize = 5;
/// How long a goodbye may take.
const PARTING: Duration = Duration::from_secs(1);
/// The server must take what it is sent within so long.
const WRITING: Duration = Duration::from_secs(10);
const BUFFER: usize = 64 << 10;

/// A connection and the machine that speaks on it. When it is dropped the server is told that we leave.
pub(crate) struct Talk {
    pub(crate) wire: Option<Box<dyn Wire>>,
    pub(crate) client: Client,
    pub(crate) peer: SocketAddr,
    pub(crate) buffer: Vec<u8>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.client.tear_down();
        let goodbye = self.client.take_output();
        let (Some(mut wire), Ok(runtime)) = (self.wire.take(), Handle::try_current()) else { return };
        if goodbye.is_empty() {
            return;
        }
        runtime.spawn(async move {
            let parting = async {
                wire.write_all(&goodbye).await?;
                wire.shutdown().await
            };
            // A server that does not listen finds out by itself.
            let _ = timeout(PARTING, parting).await;
        });
    }
}

impl Talk {
    /// Begins on a connection to where `location` is, with the user that it names.
    pub(crate) fn new(location: &Location, (wire, peer): (Box<dyn Wire>, SocketAddr), goal: Goal) -> Self {
        let credentials = location
            .user
            .clone()
            .map(|(user, password)| Credentials::new(user, password, RandomState::new().hash_one(0)));
        let url = format!("{}://{}{}", location.scheme.name(), location.authority(), location.target);
        let client = Client::new(url, credentials, goal);
        Self { wire: Some(wire), client, peer, buffer: vec![0; BUFFER] }
    }

    /// Gives the connection to somebody else, who speaks on it as `client` wants from then on.
    pub(crate) fn release(&mut self) -> Option<Box<dyn Wire>> {
        self.buffer = Vec::new();
        self.wire.take()
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        self.say(&[]).await
    }

    /// Sends what the machine wants to say, and `more`.
    pub(crate) async fn say(&mut self, more: &[u8]) -> Result<(), Failure> {
        let mut out = self.client.take_output();
        out.extend(more);
        let Some(wire) = self.wire.as_mut().filter(|_| !out.is_empty()) else { return Ok(()) };
        let writing = async {
            wire.write_all(&out).await?;
            wire.flush().await
        };
        timeout(WRITING, writing).await.map_err(|_| Failure::Slow(WRITING))?.map_err(Failure::Lost)
    }

    pub(crate) async fn read(&mut self) -> Result<(), Failure> {
        let Some(wire) = &mut self.wire else { return Err(Failure::HungUp) };
        match wire.read(&mut self.buffer).await.map_err(Failure::Lost)? {
            0 => Err(Failure::HungUp),
            size => {
                self.client.handle(&self.buffer[..size]);
                Ok(())
            }
        }
    }
}
