//! How others reach a shard: commands in a queue and a bell.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, mpsc::SyncSender},
    time::Duration,
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

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
    /// Rings too where somebody waits for what a command does: it ends the shard's pause.
    urgent: OwnedFd,
}

impl Inbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        let bell = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self { commands: Mutex::default(), bell: bell()?, urgent: bell()? })
    }

    pub(crate) fn push(&self, command: Command) {
        let urgent = matches!(command, Command::Attach { .. });
        lock(&self.commands).push_back(command);
        ring(&self.bell);
        if urgent {
            ring(&self.urgent);
        }
    }

    /// Sleeps for `rest`, or until a command comes that somebody waits for. One that came before ends one pause.
    pub(crate) fn pause(&self, rest: Duration) {
        let timeout = Timespec { tv_sec: rest.as_secs().cast_signed(), tv_nsec: rest.subsec_nanos().into() };
        let mut watched = [PollFd::new(&self.urgent, PollFlags::IN)];
        if poll(&mut watched, Some(&timeout)).is_ok_and(|rang| rang > 0) {
            let _ = rustix::io::read(&self.urgent, &mut [0_u8; 8]);
        }
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

fn ring(bell: &OwnedFd) {
    // Cannot fail but for a full counter, and then the bell rings already.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use wire::flv::FlvOptions;

    use super::*;
    use crate::{
        clock,
        door::{Form, Framing, Seat},
    };

    fn attach() -> Command {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, seat) = (socket.local_addr().unwrap(), Seat::new(&Arc::default()));
        let (form, framing) = (Form::Flv(FlvOptions::default()), Framing::Plain);
        Command::Attach {
            receiver: 1,
            viewer: Viewer { socket, peer, form, framing, seat, agent: String::new() },
        }
    }

    #[test]
    fn only_who_waits_ends_a_pause() {
        let inbox = Inbox::new().unwrap();
        let lasts = |rest| {
            let began = clock::now();
            inbox.pause(rest);
            clock::now() - began
        };
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(30));
        inbox.push(Command::Close { receiver: 1 });
        assert!(lasts(short) >= short, "nobody waits for that");
        inbox.push(attach());
        assert!(lasts(long) < long);
        assert!(lasts(short) >= short, "the bell was heard");
        assert_eq!(inbox.take().len(), 2);
    }

    #[test]
    fn who_comes_during_a_pause_ends_it() {
        let inbox = Inbox::new().unwrap();
        let began = clock::now();
        std::thread::scope(|scope| {
            scope.spawn(|| inbox.push(attach()));
            inbox.pause(Duration::from_secs(30));
        });
        assert!(clock::now() - began < Duration::from_secs(30));
    }
}
