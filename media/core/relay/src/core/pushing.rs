//! Streams that are sent on to other servers.

use std::sync::Arc;

use super::Core;
use crate::{
    error::Error,
    push::{OpenPush, Push, PushStats, Source},
};

impl Core {
    /// Sends a stream to another server for as long as its receiver is open; the push's id.
    pub fn open_push(&self, wanted: &OpenPush) -> Result<u64, Error> {
        let runtime = self.runtime()?;
        let entry = self.table.by_id(wanted.receiver)?;
        let inbox = self.read_shards().get(entry.shard).map(|shard| Arc::clone(&shard.inbox));
        let source = Source::new(&entry, inbox.ok_or(Error::Closed)?);
        let push = Push::new(wanted, &entry, source, Arc::clone(&self.puller), &self.pushes)?;
        let id = push.id();
        runtime.spawn(push.run());
        Ok(id)
    }

    /// Closes a push, which takes its leave of the server first; an unknown one is ignored.
    pub fn close_push(&self, push: u64) {
        self.pushes.close(push);
    }

    /// The pushes that are open, the oldest first.
    pub fn pushes(&self) -> Vec<PushStats> {
        self.pushes.stats()
    }
}
