//! Why a pull does not flow, as a word for programs and a sentence for people.

use std::{io, time::Duration};

use http::StatusCode;
use wire::{
    flv_read::FlvError,
    fmp4_read::BadMp4,
    playlist::PlaylistError,
    rtmp::{self, Refusal},
    rtsp::ClientError,
    ts_read::TsError,
};

use super::location::BadUrl;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot resolve the name: {0}")]
    Unresolved(io::Error),
    #[error("the address {0} is not one of the public internet")]
    Forbidden(String),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("more than {0} redirects")]
    Redirects(usize),
    #[error("a redirect that cannot be followed: {0}")]
    BadRedirect(BadUrl),
    #[error("the answer is compressed ({0}): it is asked for as it is")]
    Encoded(String),
    #[error("the answer is not HTTP: {0}")]
    NotHttp(hyper::Error),
    #[error("{0}")]
    NotFlv(FlvError),
    #[error("the program ended: {0}")]
    Child(String),
    #[error("the program ended: {0}")]
    Finished(String),
    #[error("cannot listen: {0}")]
    Listen(io::Error),
    #[error("source and interface must be addresses")]
    BadSource,
    #[error("{0}")]
    NotTs(TsError),
    #[error("the server does not answer a range of bytes with that range")]
    NoRange,
    #[error("the playlist cannot be used: {0}")]
    BadPlaylist(PlaylistError),
    #[error("the media cannot be used: {0}")]
    BadMedia(BadMp4),
    #[error("the playlist names another playlist where a list of segments should be")]
    NestedPlaylist,
    #[error("{0}")]
    Encrypted(&'static str),
    #[error("{what} is larger than {max} bytes")]
    TooLarge { what: &'static str, max: usize },
    #[error("the playlist did not change for {} s", .0.as_secs())]
    Stale(Duration),
    #[error("the list of segments is at its end")]
    Complete,
    #[error("the file is at its end")]
    FileEnd,
    #[error("the answer is neither FLV nor a transport stream nor a playlist")]
    UnknownBody,
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("{0}")]
    Rtsp(#[from] ClientError),
    #[error("no port is free for datagrams")]
    NoPort,
    #[error("nothing in the session can be read")]
    NoTracks,
    #[error("the connection broke: {0}")]
    Lost(io::Error),
    #[error("{0}")]
    Rtmp(rtmp::ClientError),
    #[error("the server ended it: {0}")]
    Stopped(Refusal),
    #[error("the server closed the connection")]
    HungUp,
    #[error("what is sent is not taken")]
    Stalled,
    #[error("neither track can be sent that way")]
    NothingToSend,
    #[error("the server ended the stream")]
    Ended,
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("no picture or sound came for {} s", .0.as_secs())]
    NoMedia(Duration),
    /// Of no interest to anybody: the stream was closed.
    #[error("the stream was closed")]
    Closed,
}

impl Failure {
    /// Whether the source said that there is no more of it: a list that is complete, a file of a stated length, a program
    /// that is done.
    pub(crate) fn is_own_end(&self) -> bool {
        matches!(self, Self::Complete | Self::FileEnd | Self::Finished(_))
    }

    /// A word that does not change.
    pub(crate) fn cause(&self) -> String {
        let cause = match self {
            Self::Unresolved(_) => "unresolved",
            Self::Forbidden(_) => "forbidden_address",
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => "connection_refused",
            Self::Connect(_) => "unreachable",
            Self::Tls(_) => "tls",
            Self::Slow(_) => "timeout",
            Self::Status(status) => return format!("http_{}", status.as_u16()),
            Self::Redirects(_) => "too_many_redirects",
            Self::BadRedirect(_) | Self::Rtmp(rtmp::ClientError::Redirected(_)) => "bad_redirect",
            Self::Encoded(_) => "compressed",
            Self::NotHttp(_) => "not_http",
            Self::NotFlv(_) => "not_flv",
            Self::Child(_) | Self::Finished(_) => "program",
            Self::Listen(_) | Self::BadSource => "cannot_listen",
            Self::NotTs(_) => "not_ts",
            Self::NoRange => "no_range",
            Self::BadPlaylist(_) | Self::NestedPlaylist => "bad_playlist",
            Self::BadMedia(_) => "bad_media",
            Self::Encrypted(_) => "encrypted",
            Self::TooLarge { .. } => "too_large",
            Self::Stale(_) => "stale_playlist",
            Self::Complete | Self::FileEnd => "complete",
            Self::UnknownBody => "unknown_body",
            Self::Broken(_) | Self::Lost(_) => "broken",
            Self::Rtsp(ClientError::Status(_, status)) => return format!("rtsp_{status}"),
            Self::Rtsp(ClientError::Unauthorized) => "unauthorized",
            Self::Rtsp(ClientError::Description(_)) | Self::NoTracks => "no_tracks",
            Self::Rtsp(ClientError::Reader(_) | ClientError::Transport) => "not_rtsp",
            Self::NoPort => "no_port",
            Self::Ended | Self::HungUp | Self::Rtsp(ClientError::Ended) => "ended",
            Self::Rtmp(rtmp::ClientError::Refused(_)) => "refused",
            Self::Rtmp(_) => "not_rtmp",
            Self::Stopped(_) => "stopped",
            Self::Stalled => "stalled",
            Self::NothingToSend => "nothing_to_send",
            Self::Silent(_) => "silent",
            Self::NoMedia(_) => "no_media",
            Self::Closed => "closed",
        };
        cause.to_owned()
    }
}
