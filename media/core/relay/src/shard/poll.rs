//! epoll with tokens that say what became ready.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

/// What a descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Role {
    /// The command queue.
    Waker,
    /// A dedicated RTP port.
    Rtp,
    /// Its RTCP neighbour.
    Rtcp,
    /// A dedicated TCP port.
    Listener,
    /// The connection that carries a stream, or is on its way to.
    Connection,
    /// A raw viewer.
    Viewer,
    /// A sender's socket.
    Sender,
    /// The shared RTP port.
    SharedRtp,
    /// The shared TCP port.
    SharedListener,
    /// A connection to the shared port that has not shown its SSRC.
    Newcomer,
}

impl Role {
    const ALL: [Self; 10] = [
        Self::Waker,
        Self::Rtp,
        Self::Rtcp,
        Self::Listener,
        Self::Connection,
        Self::Viewer,
        Self::Sender,
        Self::SharedRtp,
        Self::SharedListener,
        Self::Newcomer,
    ];
}

/// Role, stream and number within the stream, in the 64 bits that epoll keeps for us. A token may outlive what it
/// names by one turn: readiness is a hint, and every handler bears a false one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) role: Role,
    /// Below 2²⁴.
    pub(crate) stream: usize,
    pub(crate) part: u32,
}

impl Token {
    pub(crate) fn new(role: Role, stream: usize, part: u32) -> Self {
        Self { role, stream, part }
    }

    fn pack(self) -> u64 {
        (self.role as u64) << 56 | (self.stream as u64 & 0xFF_FFFF) << 32 | u64::from(self.part)
    }

    fn unpack(bits: u64) -> Option<Self> {
        let role = *Role::ALL.get((bits >> 56) as usize)?;
        Some(Self { role, stream: (bits >> 32 & 0xFF_FFFF) as usize, part: bits as u32 })
    }
}

/// What a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// While something is to be read.
    Read,
    /// Each time that something comes: whoever leaves something unread must come back on his own.
    Arrivals,
    /// While it can be written: a connection attempt came to its end.
    Write,
    /// Errors only.
    Nothing,
    /// Each time that something comes or the socket drains (edge triggered).
    Edges,
}

/// One thing that became ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    /// There is something to read, be it the end.
    pub(crate) readable: bool,
}

/// Turns of the loop take at most so many.
const READY_MAX: usize = 512;

pub(crate) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Watches a descriptor until it is closed.
    pub(crate) fn add(&self, source: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(token.pack()), flags(interest))?)
    }

    /// Watches a descriptor for something else.
    pub(crate) fn modify(&self, source: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, epoll::EventData::new_u64(token.pack()), flags(interest))?)
    }

    /// Watches a descriptor no more; closing it does the same.
    pub(crate) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Waits at most `timeout`, and puts what is ready into `ready`.
    pub(crate) fn wait(&self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); READY_MAX];
        let millis = timeout.as_micros().div_ceil(1000);
        let timeout =
            Timespec { tv_sec: (millis / 1000) as i64, tv_nsec: (millis % 1000 * 1_000_000) as i64 };
        match epoll::wait(&self.epoll, &mut space, Some(&timeout)) {
            Ok((events, _)) => {
                let readable = epoll::EventFlags::IN
                    | epoll::EventFlags::HUP
                    | epoll::EventFlags::RDHUP
                    | epoll::EventFlags::ERR;
                ready.extend(events.iter().filter_map(|event| {
                    let token = Token::unpack({ event.data }.u64())?;
                    Some(Ready { token, readable: { event.flags }.intersects(readable) })
                }));
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::Arrivals => epoll::EventFlags::IN | epoll::EventFlags::ET,
        Interest::Write => epoll::EventFlags::OUT,
        Interest::Nothing => epoll::EventFlags::empty(),
        Interest::Edges => {
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_64_bits() {
        for role in Role::ALL {
            let token = Token::new(role, 0xFF_FFFE, u32::MAX - 1);
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::MAX), None);
    }
}
