//! A stream as RTMP's messages, chunked once for all its players. The bodies are those of FLV's tags.

use bytes::Bytes;

use super::{
    CHUNK_SIZE, MEDIA_STREAM, channel, chunk_writer,
    chunk_writer::{Header, message},
};
use crate::{
    amf::Value,
    chunk::Chunk,
    flv::FlvOptions,
    flv_body::{self, Announced},
    media::{AccessUnit, Ticks, Tracks},
};

/// Writes one stream for players. It remembers only which tracks it announced, so that a change is announced in time.
#[derive(Debug)]
pub struct RtmpMuxer {
    options: FlvOptions,
    announced: Announced,
}

impl RtmpMuxer {
    /// A muxer for players with these options.
    pub fn new(options: FlvOptions) -> Self {
        Self { options, announced: Announced::default() }
    }

    /// What a player gets first, whenever it joins: onMetaData and sequence headers. `at` is the time of the unit that
    /// follows, which should be a key frame. The metadata have the time 0: ffmpeg takes others for a track of data,
    /// and waits for more of it.
    pub fn head(&self, tracks: &Tracks, at: Ticks) -> Bytes {
        self.head_behind(&[], tracks, at)
    }

    /// What a server gets first that we publish to: as a player, but it is told to keep the metadata for its players.
    pub fn publish_head(&self, tracks: &Tracks, at: Ticks) -> Bytes {
        let mut order = Vec::with_capacity(16);
        Value::text("@setDataFrame").write(&mut order);
        self.head_behind(&order, tracks, at)
    }

    fn head_behind(&self, order: &[u8], tracks: &Tracks, at: Ticks) -> Bytes {
        let timestamp = flv_body::timestamp(at);
        let mut out = Vec::with_capacity(512);
        put(&mut out, flv_body::SCRIPT, 0, &[order, &self.options.metadata(tracks, &[])].concat());
        self.put_sequence_headers(&mut out, tracks, timestamp);
        out.into()
    }

    /// The chunks of one unit: its message, after new sequence headers if its tracks differ from those of the unit
    /// before. `None` if its track is not carried.
    pub fn write(&mut self, unit: &AccessUnit) -> Option<Chunk> {
        let (kind, prefix, body) = self.options.body(unit)?;
        let timestamp = flv_body::timestamp(unit.dts);
        let mut before = Vec::with_capacity(32);
        if self.announced.is_news(&unit.tracks) {
            self.put_sequence_headers(&mut before, &unit.tracks, timestamp);
        }
        message(before, header(kind, timestamp), prefix.bytes(), body)
    }

    fn put_sequence_headers(&self, out: &mut Vec<u8>, tracks: &Tracks, timestamp: u32) {
        for (kind, body) in self.options.sequence_headers(tracks) {
            put(out, kind, timestamp, &body);
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, timestamp: u32, body: &[u8]) {
    chunk_writer::put_message(out, header(kind, timestamp), body, CHUNK_SIZE);
}

fn header(kind: u8, timestamp: u32) -> Header {
    let channel = match kind {
        flv_body::AUDIO => channel::AUDIO,
        flv_body::VIDEO => channel::VIDEO,
        _ => channel::DATA,
    };
    Header { channel, kind, stream: MEDIA_STREAM, timestamp }
}
