//! RTSP 1.0 (RFC 2326): messages on a connection, the Transport header, and session descriptions of streams.

mod client;
mod describe;
pub mod digest;
mod incoming;
mod muxer;
mod range;
mod reader;
mod sdp;
mod server;
mod transport;

pub use client::{Client, ClientError, Event as ClientEvent, Goal};
pub use describe::{TrackFormat, describe, track_formats};
pub use digest::Credentials;
pub use incoming::Incoming;
pub use muxer::{Beginning, Muxer, Selection, interleaved};
pub use range::{Moment, Played, Range, TrackStart, Wish};
pub use reader::{HEAD_MAX, Item, Message, Reader, ReaderError, Start};
pub use sdp::{Description, MediaDescription, SdpError};
pub use server::{Event, SESSION_SECONDS, Server, Target};
pub use transport::{Delivery, Transport};
