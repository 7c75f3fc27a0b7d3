//! Streams sent as RTP.

use std::sync::Arc;

use super::{Core, Opened};
use crate::{
    error::Error,
    hub,
    send::{Means, OpenSender, Opening, Order, SenderStats},
    shard::inbox::Command,
};

impl Core {
    /// Sends a stream until it ends, its target goes, or the sender is closed. The port is 0 for one that connects.
    pub fn open_sender(&self, receiver: u64, wanted: &OpenSender) -> Result<Opened, Error> {
        self.check_open()?;
        let entry = self.table.by_id(receiver)?;
        let shard = entry.shard;
        let over = wanted.over.map(|over| self.table.by_id(over)).transpose()?;
        let means = Means {
            config: &self.config,
            ports: &self.ports,
            events: &self.events,
            directory: &self.senders,
            over,
        };
        let opening = Opening::new(&means, entry, wanted)?;
        let account = Arc::clone(&opening.listed.account);
        let order = hub::Order::Send(Order::Open(Box::new(opening)));
        self.send(shard, Command::Hub { receiver, order })?;
        Ok(Opened { id: account.id, port: account.port })
    }

    /// Ends a sender; an unknown one is ignored.
    pub fn close_sender(&self, sender: u64) -> Result<(), Error> {
        self.check_open()?;
        let Some(account) = self.senders.get(sender) else { return Ok(()) };
        let (receiver, order) = (account.entry.id, hub::Order::Send(Order::Close(sender)));
        self.send(account.entry.shard, Command::Hub { receiver, order })
    }

    /// Snapshots of all senders, by their ids.
    pub fn senders(&self) -> Result<Vec<SenderStats>, Error> {
        self.check_open()?;
        Ok(self.senders.stats())
    }
}
