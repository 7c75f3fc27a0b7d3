//! Our side of a connection to somebody else's server, up to the moment that media may flow.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use wire::rtmp::{Action, Client, ClientError, ClientEvent};

use super::address::Address;
use crate::{
    clock,
    pull::{Failure, Judge, Location, Puller, Wire},
};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;
const BUFFER: usize = 64 << 10;

/// A server that said yes.
pub(crate) struct Dialled {
    pub(crate) call: Call,
    pub(crate) peer: SocketAddr,
    /// What it said before its yes, in order.
    pub(crate) said: Vec<ClientEvent>,
}

/// A connection and the machine that understands what comes by it.
pub(crate) struct Call {
    pub(crate) line: Box<dyn Wire>,
    pub(crate) client: Client,
    buffer: Vec<u8>,
}

/// Connects to where `location` is and asks for what it names, wherever redirects lead.
pub(crate) async fn dial(
    puller: &Puller,
    may: Judge,
    location: &Location,
    action: Action,
) -> Result<Dialled, Failure> {
    let mut location = location.clone();
    let mut address = Address::of(&location).map_err(Failure::BadRedirect)?;
    for _ in 0..=REDIRECTS_MAX {
        let (line, peer) = puller.reach(&location, may).await?;
        let seed = clock::wall_us() ^ u64::from(peer.port()) << 40;
        let client = Client::new(address.errand(action), seed);
        let mut call = Call { line, client, buffer: vec![0; BUFFER] };
        let patience = puller.answer();
        match timeout(patience, call.begin()).await.map_err(|_| Failure::Slow(patience))? {
            Ok(said) => return Ok(Dialled { call, peer, said }),
            Err(Failure::Rtmp(ClientError::Redirected(to))) => {
                location = location.follow(&to).map_err(Failure::BadRedirect)?;
                address = address.moved_to(&location).map_err(Failure::BadRedirect)?;
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Redirects(REDIRECTS_MAX))
}

impl Call {
    /// Talks until the server says yes; what it said before.
    async fn begin(&mut self) -> Result<Vec<ClientEvent>, Failure> {
        let mut said = Vec::new();
        loop {
            while let Some(event) = self.client.poll_event().map_err(Failure::Rtmp)? {
                match event {
                    ClientEvent::Started => return Ok(said),
                    event => said.push(event),
                }
            }
            self.flush().await?;
            self.read().await?;
        }
    }

    /// Sends what the machine wants to say.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        let out = self.client.take_output();
        if !out.is_empty() {
            self.line.write_all(&out).await.map_err(Failure::Lost)?;
            self.line.flush().await.map_err(Failure::Lost)?;
        }
        Ok(())
    }

    /// Reads once and hands it to the machine; how much came.
    pub(crate) async fn read(&mut self) -> Result<u64, Failure> {
        let size = match self.line.read(&mut self.buffer).await {
            Ok(0) => return Err(Failure::HungUp),
            // Some close with unread bytes, or without the last word of TLS.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) =>
            {
                return Err(Failure::HungUp);
            }
            read => read.map_err(Failure::Lost)?,
        };
        self.client.handle(&self.buffer[..size]).map_err(Failure::Rtmp)?;
        Ok(size as u64)
    }
}
