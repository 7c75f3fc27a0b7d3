use std::collections::BTreeMap;

use pyo3::prelude::*;
use relay::StreamStats;

/// `media._core.Stream`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct Stream {
    app: String,
    name: String,
    receiver: u64,
    transport: &'static str,
    port: u16,
    peer: Option<String>,
    ssrc: Option<u32>,
    payload: Option<&'static str>,
    private: bool,
    opened_ms: u64,
    first_packet_ms: Option<u64>,
    first_key_frame_ms: Option<u64>,
    video_codec: Option<&'static str>,
    width: u32,
    height: u32,
    fps: f64,
    gop: u32,
    audio_codec: Option<&'static str>,
    sample_rate: u32,
    channels: u8,
    expected: u64,
    received: u64,
    lost: u64,
    reordered: u64,
    duplicates: u64,
    rejected: u64,
    jitter_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
    rate_in_bps: u64,
    rate_out_bps: u64,
    rate_video_bps: u64,
    rate_audio_bps: u64,
    viewers: BTreeMap<&'static str, u32>,
    faults: BTreeMap<&'static str, u64>,
}

impl From<StreamStats> for Stream {
    fn from(stats: StreamStats) -> Self {
        Self {
            app: stats.app,
            name: stats.name,
            receiver: stats.receiver,
            transport: stats.transport.name(),
            port: stats.port,
            peer: stats.peer,
            ssrc: stats.ssrc,
            payload: stats.payload,
            private: stats.private,
            opened_ms: stats.opened_ms,
            first_packet_ms: stats.first_packet_ms,
            first_key_frame_ms: stats.first_key_frame_ms,
            video_codec: stats.video_codec,
            width: stats.width,
            height: stats.height,
            fps: stats.fps,
            gop: stats.gop,
            audio_codec: stats.audio_codec,
            sample_rate: stats.sample_rate,
            channels: stats.channels,
            expected: stats.expected,
            received: stats.received,
            lost: stats.lost,
            reordered: stats.reordered,
            duplicates: stats.duplicates,
            rejected: stats.rejected,
            jitter_ms: stats.jitter_ms,
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
            rate_in_bps: stats.rate_in_bps,
            rate_out_bps: stats.rate_out_bps,
            rate_video_bps: stats.rate_video_bps,
            rate_audio_bps: stats.rate_audio_bps,
            viewers: stats.viewers,
            faults: stats.faults,
        }
    }
}

#[pymethods]
impl Stream {
    fn __repr__(&self) -> String {
        format!("<Stream {}/{} receiver={}>", self.app, self.name, self.receiver)
    }
}
