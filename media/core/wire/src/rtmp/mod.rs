//! RTMP for publishers and players (Adobe, "Adobe's Real Time Messaging Protocol", 1.0, 2012; Veovera, "Enhanced RTMP",
//! v1 and v2), both sides, sans-IO.
//!
//! [`Server`] is one connection up to the end of a publish, or up to the moment that a player is to be sent media; from
//! then on [`PlayerReader`] hears what the player says, and an [`RtmpMuxer`] makes the bytes that all players share.
//! [`Client`] is a connection to somebody else's server, from which it plays, or to which it publishes: then a
//! [`TargetReader`] hears the server, and the bytes are the same muxer's.

mod chunk_reader;
mod chunk_writer;
mod client;
mod client_handshake;
mod command;
mod handshake;
mod muxer;
mod player;
mod received;
mod renumber;
mod server;
mod target;

pub use self::{
    chunk_reader::{ChunkError, ChunkReader, Message},
    client::{Action, Client, ClientError, ClientEvent, Errand, Refusal},
    client_handshake::ClientHandshake,
    handshake::{Handshake, HandshakeError},
    muxer::RtmpMuxer,
    player::{PlayerEvent, PlayerReader, farewell},
    renumber::Renumber,
    server::{Event, Media, Server, ServerError, Target},
    target::{TargetEvent, TargetReader},
};

/// Message types (§5.4, §6.2, §7.1).
mod kind {
    pub(super) const SET_CHUNK_SIZE: u8 = 1;
    pub(super) const ABORT: u8 = 2;
    pub(super) const ACKNOWLEDGEMENT: u8 = 3;
    pub(super) const USER_CONTROL: u8 = 4;
    pub(super) const WINDOW_SIZE: u8 = 5;
    pub(super) const PEER_BANDWIDTH: u8 = 6;
    pub(super) const AUDIO: u8 = 8;
    pub(super) const VIDEO: u8 = 9;
    pub(super) const DATA_AMF3: u8 = 15;
    pub(super) const COMMAND_AMF3: u8 = 17;
    pub(super) const DATA: u8 = 18;
    pub(super) const COMMAND: u8 = 20;
    pub(super) const AGGREGATE: u8 = 22;
}

/// Chunk streams that we write on (§5.3.1.1).
mod channel {
    pub(super) const CONTROL: u8 = 2;
    pub(super) const COMMAND: u8 = 3;
    pub(super) const AUDIO: u8 = 4;
    pub(super) const DATA: u8 = 5;
    pub(super) const VIDEO: u8 = 6;
}

/// The one message stream of a connection that publishes or plays: `createStream` always answers it.
const MEDIA_STREAM: u32 = 1;

/// The size of the chunks we write. Most messages fit into one; players bear no more than 65,535 (§5.4.1 allows more).
const CHUNK_SIZE: usize = 60_000;
