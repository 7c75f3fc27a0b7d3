//! The streams as the front door sees them.

use std::sync::{Arc, atomic::Ordering};

use wire::hls::Container;

use crate::{
    clock,
    door::{Access, Directory, Feed, Viewer},
    shard::inbox::{Command, Inbox},
    table::Table,
};

/// Answers the door from the table, and passes viewers on to the shards.
pub(crate) struct Desk {
    pub(crate) table: Arc<Table>,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
}

impl Directory for Desk {
    fn access(&self, app: &str, name: &str) -> Option<Access> {
        let entry = self.table.by_name(app, name)?;
        Some(if entry.private.load(Ordering::Relaxed) { Access::Private } else { Access::Public })
    }

    fn attach(&self, app: &str, name: &str, viewer: Viewer) {
        if let Some(entry) = self.table.by_name(app, name) {
            self.inboxes[entry.shard].push(Command::Attach { receiver: entry.id, viewer });
        }
    }

    fn segments(&self, app: &str, name: &str, container: Container, viewer: u64) -> Option<Feed> {
        let entry = self.table.by_name(app, name)?;
        let (feed, publisher) = entry.feeds.ask(clock::now(), container, viewer);
        if let Some(publisher) = publisher {
            let command = Command::Segment { receiver: entry.id, container, publisher };
            self.inboxes[entry.shard].push(command);
        }
        Some(feed)
    }
}
