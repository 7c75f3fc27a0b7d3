//! Why a connection, a stream or a sender is over: a sentence for people, and a word for programs that does not change.
//!
//! A pull and a push fail in more ways than these, see `pull::Failure`; its words and ours mean the same where they are the same.

use std::io;

/// What an event says of it.
pub(crate) type Detail = [(&'static str, String); 2];

/// What an event says: the sentence, and the word.
pub(crate) fn detail(reason: impl Into<String>, cause: &str) -> Detail {
    [("reason", reason.into()), ("cause", cause.to_owned())]
}

/// What ended a connection of packets, or a sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    /// Somebody of ours wanted it.
    #[error("closed")]
    Closed,
    #[error("the stream is over")]
    StreamOver,
    #[error("closed by the peer")]
    HungUp,
    #[error("replaced by a new connection")]
    Replaced,
    #[error("no RTP in 1 MiB")]
    NotRtp,
    #[error("no RTP packet in 5 s")]
    Mute,
    #[error("timed out")]
    Slow,
    #[error("{1}")]
    Unconnected(io::ErrorKind, String),
    #[error("{0}")]
    Lost(String),
    #[error("the connection broke")]
    Broke,
    #[error("the connection was closed")]
    Gone,
    #[error("the port was closed")]
    PortGone,
    #[error("{0}")]
    NoSocket(String),
    #[error("no target")]
    NoTarget,
    #[error("the target closed the connection")]
    TargetLeft,
    #[error("the target refuses datagrams")]
    Refused,
    #[error("the target reports nothing")]
    Unreported,
    #[error("the target takes nothing")]
    Stalled,
    #[error("the connection's stream is over")]
    OtherOver,
    #[error("no connection came")]
    NoConnection,
    #[error("nobody connected")]
    Nobody,
    #[error("only strangers connected")]
    Strangers,
}

impl Reason {
    /// Why a connection could not be had.
    pub(crate) fn unconnected(error: &io::Error) -> Self {
        Self::Unconnected(error.kind(), error.to_string())
    }

    /// A word that does not change.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::StreamOver => "stream_over",
            Self::HungUp | Self::TargetLeft => "ended",
            Self::Replaced => "replaced",
            Self::NotRtp => "not_rtp",
            Self::Mute => "no_media",
            Self::Slow => "timeout",
            Self::Unconnected(io::ErrorKind::ConnectionRefused, _) => "connection_refused",
            Self::Unconnected(..) | Self::NoTarget => "unreachable",
            Self::Lost(_) | Self::Broke | Self::Gone => "broken",
            Self::PortGone | Self::NoSocket(_) => "no_port",
            Self::Refused => "refused",
            Self::Unreported => "silent",
            Self::Stalled => "stalled",
            Self::OtherOver => "receiver_over",
            Self::NoConnection | Self::Nobody => "no_connection",
            Self::Strangers => "strangers",
        }
    }

    /// What an event says of it.
    pub(crate) fn detail(&self) -> Detail {
        detail(self.to_string(), self.cause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_keeps_what_the_system_said_and_its_word_does_not_change() {
        let refused = Reason::unconnected(&io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(refused.detail(), detail("connection refused", "connection_refused"));
        let away = Reason::unconnected(&io::Error::from(io::ErrorKind::HostUnreachable));
        assert_eq!((away.cause(), away.to_string().as_str()), ("unreachable", "host unreachable"));
        assert_eq!(Reason::Mute.detail(), detail("no RTP packet in 5 s", "no_media"));
    }
}
