use pyo3::prelude::*;
use relay::ViewerStats;

/// `media._core.Viewer`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct Viewer {
    id: u64,
    protocol: &'static str,
    peer: Option<String>,
    since_ms: u64,
    bytes_out: u64,
    skips: u64,
    user_agent: String,
}

impl From<ViewerStats> for Viewer {
    fn from(stats: ViewerStats) -> Self {
        let ViewerStats { id, protocol, peer, since_ms, bytes_out, skips, user_agent } = stats;
        Self { id, protocol, peer, since_ms, bytes_out, skips, user_agent }
    }
}
