//! Who watches, and sending one of them away.

use std::sync::{Arc, mpsc::sync_channel};

use super::{ANSWER, Core, busy};
use crate::{
    clock,
    error::Error,
    hub::{Hub, Order},
    options::StreamOptions,
    shard::inbox::Command,
    shard::turn::Turn,
    viewers::ViewerStats,
};

impl Core {
    /// Who watches a stream now, in whatever form; nobody watches one that is not there.
    pub fn viewers(&self, app: &str, name: &str) -> Result<Vec<ViewerStats>, Error> {
        self.check_open()?;
        let Some(entry) = self.table.by_name(app, name) else { return Ok(Vec::new()) };
        let live = self.ask(entry.id, entry.shard, |hub, _| hub.list_viewers())?;
        let mut viewers = entry.feeds.viewers();
        viewers.extend(live.unwrap_or_default());
        viewers.sort_by_key(|viewer| viewer.id);
        Ok(viewers)
    }

    /// Sets what is chosen for a stream, at once and as long as it is open. Who watches in a form that it is not given
    /// out in any more is sent away.
    pub fn set_options(&self, receiver: u64, options: &StreamOptions) -> Result<(), Error> {
        self.check_open()?;
        options.check()?;
        let entry = self.table.by_id(receiver)?;
        let order = Order::Options(Arc::new(options.clone()));
        let started = entry.feeds.set_options(clock::now(), options);
        self.send(entry.shard, Command::Hub { receiver, order })?;
        for (container, publisher) in started {
            let order = Order::Segment(container, publisher);
            self.send(entry.shard, Command::Hub { receiver, order })?;
        }
        Ok(())
    }

    /// What counts for a stream without options of its own.
    pub fn default_options(&self) -> StreamOptions {
        StreamOptions::of(&self.config)
    }

    /// Sends a viewer away; false if it is gone already. A live one is cut off and may come again; a player of HLS is
    /// refused for a minute.
    pub fn kick(&self, viewer: u64) -> Result<bool, Error> {
        self.check_open()?;
        let now = clock::now();
        let Some(entry) =
            self.table.find(|entry| entry.feeds.has_seat(viewer) || entry.feeds.kick(now, viewer))
        else {
            return Ok(false);
        };
        if !entry.feeds.has_seat(viewer) {
            return Ok(true);
        }
        let kicked = self.ask(entry.id, entry.shard, move |hub, turn| hub.kick(turn, viewer))?;
        Ok(kicked.unwrap_or(false))
    }

    /// Asks a stream's shard; `None` if the stream is gone.
    fn ask<T: Send + 'static>(
        &self,
        receiver: u64,
        shard: usize,
        question: impl FnOnce(&mut Hub, Turn<'_>) -> T + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let (reply, answer) = sync_channel(1);
        let question = Box::new(move |hub: &mut Hub, turn: Turn<'_>| {
            // Whoever asked may have given up waiting.
            let _ = reply.try_send(question(hub, turn));
        });
        self.send(shard, Command::Hub { receiver, order: Order::Ask(question) })?;
        match answer.recv_timeout(ANSWER) {
            Ok(answer) => Ok(Some(answer)),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Ok(None),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Err(busy()),
        }
    }
}
