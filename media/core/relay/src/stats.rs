//! A stream's figures at one moment, as they are handed out.

use std::collections::BTreeMap;

use crate::config::Transport;

/// A snapshot of one stream; the names are those of `media/_core.pyi`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each figure is described once, in media/_core.pyi")]
pub struct StreamStats {
    pub app: String,
    pub name: String,
    pub receiver: u64,
    pub transport: Transport,
    pub port: u16,
    pub peer: Option<String>,
    pub ssrc: Option<u32>,
    pub payload: Option<&'static str>,
    pub private: bool,
    pub opened_ms: u64,
    pub first_packet_ms: Option<u64>,
    pub first_key_frame_ms: Option<u64>,
    pub video_codec: Option<&'static str>,
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub gop: u32,
    pub audio_codec: Option<&'static str>,
    pub sample_rate: u32,
    pub channels: u8,
    pub expected: u64,
    pub received: u64,
    pub lost: u64,
    pub reordered: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub jitter_ms: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub rate_in_bps: u64,
    pub rate_out_bps: u64,
    pub rate_video_bps: u64,
    pub rate_audio_bps: u64,
    pub viewers: BTreeMap<&'static str, u32>,
    pub faults: BTreeMap<&'static str, u64>,
}
