//! The media relay: receivers, hub, viewers. Knows nothing of SIP, devices or Python.
//!
//! A [`Core`] runs one thread ("shard") a core of the machine. A stream lives on one shard for life: its sockets,
//! reordering, demultiplexing, muxers, cache and raw viewers. Others reach it by commands in the shard's queue, so
//! the path of a packet takes no lock.
#![forbid(unsafe_code)]

mod back;
mod clock;
pub mod config;
mod core;
mod desk;
pub mod door;
pub mod error;
pub mod events;
pub mod feed;
mod feeds;
mod hub;
mod ingest;
mod key_frame;
mod lately;
mod listener;
mod metrics;
pub mod options;
pub mod playback;
mod ports;
mod proof;
mod publishers;
pub mod pull;
pub mod push;
mod questions;
mod reason;
mod record;
mod rtmp;
mod rtsp;
pub mod send;
mod shard;
mod sockets;
pub mod stats;
pub mod table;
mod tap;
mod tls;
pub mod units;
mod viewers;

pub use config::{Config, OpenReceiver, PlayRights, Transport};
pub use core::{Core, Opened, TlsFiles};
pub use error::Error;
pub use events::{Event, Kind as EventKind};
pub use key_frame::KeyFrame;
pub use listener::Proxies;
pub use options::{Output, Outputs, StreamOptions};
pub use record::{Order as RecordOrder, Salvaged, salvage};
pub use send::{OpenSender, SenderStats, Transport as SendTransport};
pub use stats::StreamStats;
pub use tap::Tap;
pub use viewers::ViewerStats;
