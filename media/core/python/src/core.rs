//! `media._core.Core`, by what it is asked: who comes in, what brings streams, where they go, how they stand.

mod doors;
mod outputs;
mod sources;
mod streams;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use pyo3::{exceptions::PyValueError, prelude::*};
use relay::{Config, Proxies};

pub use self::sources::Receiver;
use crate::{error, event::Event};

/// `media._core.Core`.
#[pyclass(frozen, module = "media._core")]
pub struct Core(relay::Core);

#[pymethods]
impl Core {
    #[new]
    #[pyo3(
        signature = (
            *,
            rtp_host = "::",
            rtp_port_min = 30000,
            rtp_port_max = 39999,
            rtp_shared_port = 0,
            threads = 0,
            play_key,
            silence_ms = 5000,
            no_viewer_ms = 0,
            gop_bytes_max = 16_777_216,
            bandwidth_max_bps = 40_000_000,
            hls_segment_ms = 2000,
            merge_write_ms = 0,
            trusted_proxies = Vec::new(),
        ),
        text_signature = "(*, rtp_host='::', rtp_port_min=30000, rtp_port_max=39999, rtp_shared_port=0, threads=0, \
            play_key, silence_ms=5000, no_viewer_ms=0, gop_bytes_max=16777216, bandwidth_max_bps=40000000, \
            hls_segment_ms=2000, merge_write_ms=0, trusted_proxies=())"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        rtp_host: &str,
        rtp_port_min: u16,
        rtp_port_max: u16,
        rtp_shared_port: u16,
        threads: usize,
        play_key: Vec<u8>,
        silence_ms: u64,
        no_viewer_ms: u64,
        gop_bytes_max: usize,
        bandwidth_max_bps: u64,
        hls_segment_ms: u64,
        merge_write_ms: u64,
        trusted_proxies: Vec<String>,
    ) -> PyResult<Self> {
        let config = Config {
            rtp_host: ip(rtp_host)?,
            rtp_port_min,
            rtp_port_max,
            rtp_shared_port,
            threads,
            play_key,
            silence: Duration::from_millis(silence_ms),
            no_viewer: (no_viewer_ms > 0).then(|| Duration::from_millis(no_viewer_ms)),
            gop_bytes_max,
            bandwidth_max_bps,
            hls_segment: Duration::from_millis(hls_segment_ms.clamp(200, 60_000)),
            merge_write: Duration::from_millis(merge_write_ms),
            proxies: networks(trusted_proxies)?,
            ..Config::default()
        };
        py.detach(|| relay::Core::start(config)).map(Self).map_err(error)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn event_fd(&self) -> i32 {
        self.0.event_fd()
    }

    #[pyo3(signature = (limit = 1000))]
    fn poll_events(&self, py: Python<'_>, limit: usize) -> Vec<Event> {
        py.detach(|| self.0.poll_events(limit)).into_iter().map(Event).collect()
    }

    fn metrics(&self, py: Python<'_>) -> BTreeMap<&'static str, f64> {
        py.detach(|| self.0.metrics())
    }
}

fn ip(text: &str) -> PyResult<IpAddr> {
    text.parse().map_err(|_| PyValueError::new_err(format!("{text:?} is no IP address")))
}

fn networks(texts: Vec<String>) -> PyResult<Proxies> {
    Proxies::parse(texts).map_err(PyValueError::new_err)
}

/// Whether RTP is to come in datagrams.
fn datagrams(transport: &str) -> PyResult<bool> {
    match transport {
        "tcp" => Ok(false),
        "udp" => Ok(true),
        _ => Err(PyValueError::new_err(format!("{transport:?} is neither tcp nor udp"))),
    }
}
