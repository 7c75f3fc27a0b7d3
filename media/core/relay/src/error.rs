//! What can fail when the relay is asked for something.

use std::io;

/// The world failed or the caller asked for what is not there; the text says what and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No receiver has this id: it was closed.
    #[error("no receiver {0}: it was closed")]
    UnknownReceiver(u64),
    /// The stream has a receiver already.
    #[error("stream {0}/{1} has a receiver already")]
    StreamExists(String, String),
    /// All ports of the range are taken or in quarantine.
    #[error("no free port between {0} and {1}")]
    NoFreePort(u16, u16),
    /// Another receiver of the shared port waits for this SSRC.
    #[error("SSRC {0} is taken on the shared port")]
    SsrcTaken(u32),
    /// The configuration has no shared port.
    #[error("there is no shared RTP port: set rtp_shared_port")]
    NoSharedPort,
    /// Nobody waits with this ticket.
    #[error("no publisher waits with ticket {0}: it is gone, or was answered")]
    NoPublisher(u64),
    /// The stream has as many viewers as it may have.
    #[error("stream {0}/{1} has as many viewers as it may have")]
    TooManyViewers(String, String),
    /// The stream is not given out in this form.
    #[error("stream {0}/{1} is not given out in this form: its options say so")]
    FormNotAllowed(String, String),
    /// A value that cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// A socket call failed.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// The core was closed.
    #[error("the core is closed")]
    Closed,
    /// A shard did not answer in time.
    #[error("the relay is overloaded: no answer within {0} ms")]
    Busy(u64),
}

impl Error {
    /// Names what was tried when `error` came.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io(what, error)
    }
}
