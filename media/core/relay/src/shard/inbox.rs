//! How others reach a shard: commands in a queue and a bell.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, mpsc::SyncSender},
    time::Duration,
};

use rustix::event::{EventfdFlags, eventfd};

use crate::{
    door::Viewer,
    feed::{Intake, News},
    hub::Order,
    ingest::{Expected, Sockets},
    stats::StreamStats,
    table::{Entry, Lease, lock},
    tap::TapQueue,
};

/// A stream that is to live on the shard.
pub(crate) struct Open {
    pub(crate) entry: Arc<Entry>,
    pub(crate) origin: Origin,
}

/// What its source is made of.
pub(crate) enum Origin {
    Packets { sockets: Sockets, lease: Option<Lease>, expected: Expected, hold: Duration },
    Feed { payload: &'static str, intake: Intake },
}

/// What a shard is asked for. Receivers that are gone meanwhile are ignored.
pub(crate) enum Command {
    Open(Box<Open>),
    Connect {
        receiver: u64,
        to: SocketAddr,
    },
    Expect {
        receiver: u64,
        ssrc: Option<u32>,
        peer: Option<IpAddr>,
        payloads: Vec<(u8, String)>,
    },
    Close {
        receiver: u64,
    },
    Feed {
        receiver: u64,
        news: News,
    },
    Attach {
        receiver: u64,
        viewer: Viewer,
    },
    /// Something for the stream's hub.
    Hub {
        receiver: u64,
        order: Order,
    },
    Tap {
        receiver: u64,
        tap: Arc<TapQueue>,
    },
    /// Snapshots of one stream or of all.
    Snapshot {
        receiver: Option<u64>,
        reply: SyncSender<Vec<StreamStats>>,
    },
    Stop,
}

/// A shard's queue of commands; per stream or rarer, or bounded by the credit of a feed, so it needs no bound of its own.
pub(crate) struct Inbox {
    commands: Mutex<VecDeque<Command>>,
    bell: OwnedFd,
}

impl Inbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { commands: Mutex::default(), bell })
    }

    pub(crate) fn push(&self, command: Command) {
        lock(&self.commands).push_back(command);
        // Cannot fail but for a full counter, and then the bell rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Everything that waits.
    pub(crate) fn take(&self) -> VecDeque<Command> {
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        std::mem::take(&mut *lock(&self.commands))
    }

    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
