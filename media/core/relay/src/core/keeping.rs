//! What is kept of streams, and what is made of it: recordings, playbacks, single pictures.

use std::sync::{Arc, mpsc::sync_channel};

use super::{ANSWER, Core, Opened};
use crate::{
    config::Transport,
    error::Error,
    feed::OpenFeed,
    hub,
    key_frame::{KeyFrame, key_frame},
    playback::{Control, OpenPlayback, Playback},
    record::Order,
    shard::inbox::Command,
};

impl Core {
    /// Records a stream from its newest key frame on until it ends; the recording's id.
    pub fn record(&self, receiver: u64, order: Order) -> Result<u64, Error> {
        self.check_open()?;
        let entry = self.table.by_id(receiver)?;
        let (recording, tap) = self.recorder.record(&entry, order)?;
        self.send(entry.shard, Command::Hub { receiver, order: hub::Order::Record(tap) })?;
        Ok(recording)
    }

    /// Ends a recording, whose last file will be told of; an unknown one is ignored.
    pub fn stop_recording(&self, recording: u64) {
        self.recorder.stop(recording);
    }

    /// Opens a stream that plays recordings, until their end or until it is closed.
    pub fn open_playback(&self, wanted: &OpenPlayback) -> Result<Opened, Error> {
        let playback = Playback::new(wanted)?;
        let runtime = self.runtime()?;
        let feeder = self.open_feed(&OpenFeed {
            app: wanted.app.clone(),
            name: wanted.name.clone(),
            transport: Transport::Playback,
            payload: "file",
            rights: wanted.rights,
        })?;
        let id = feeder.id();
        let steered = self.playbacks.enter(id, &playback);
        runtime.spawn(playback.run(Arc::clone(&self.playbacks), steered, feeder));
        Ok(Opened { id, port: 0 })
    }

    /// Seeks, stops or speeds up a playback.
    pub fn control_playback(&self, receiver: u64, control: Control) -> Result<(), Error> {
        self.playbacks.control(receiver, control)
    }

    /// The newest key frame of a stream; `None` if none is cached.
    pub fn key_frame(&self, receiver: u64) -> Result<Option<KeyFrame>, Error> {
        let entry = self.table.by_id(receiver)?;
        let (reply, answer) = sync_channel(1);
        self.send(entry.shard, Command::Hub { receiver, order: hub::Order::KeyFrame(reply) })?;
        let found = answer.recv_timeout(ANSWER).unwrap_or_default();
        Ok(found.and_then(|(unit, wall_ms)| key_frame(&unit, wall_ms)))
    }
}
