//! How streams stand, who watches them, and what is chosen for each.

use std::time::Duration;

use pyo3::prelude::*;
use relay::{Outputs, StreamOptions, options};

use super::Core;
use crate::{error, stream::Stream, viewer::Viewer};

#[pymethods]
impl Core {
    fn streams(&self, py: Python<'_>) -> PyResult<Vec<Stream>> {
        let streams = py.detach(|| self.0.streams()).map_err(error)?;
        Ok(streams.into_iter().map(Stream::from).collect())
    }

    fn stream(&self, py: Python<'_>, app: &str, name: &str) -> PyResult<Option<Stream>> {
        let stream = py.detach(|| self.0.stream(app, name)).map_err(error)?;
        Ok(stream.map(Stream::from))
    }

    fn stream_count(&self) -> usize {
        self.0.stream_count()
    }

    fn viewers(&self, py: Python<'_>, app: &str, name: &str) -> PyResult<Vec<Viewer>> {
        let viewers = py.detach(|| self.0.viewers(app, name)).map_err(error)?;
        Ok(viewers.into_iter().map(Viewer::from).collect())
    }

    fn kick(&self, py: Python<'_>, viewer: u64) -> PyResult<bool> {
        py.detach(|| self.0.kick(viewer)).map_err(error)
    }

    #[pyo3(signature = (
        receiver,
        *,
        forms = None,
        audio = None,
        gop_bytes_max = None,
        from_gop = None,
        no_viewer_ms = None,
        hls_segment_ms = None,
        hls_segments = None,
        hls_always = None,
        merge_write_ms = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn set_options(
        &self,
        receiver: u64,
        forms: Option<Vec<String>>,
        audio: Option<bool>,
        gop_bytes_max: Option<usize>,
        from_gop: Option<bool>,
        no_viewer_ms: Option<u64>,
        hls_segment_ms: Option<u64>,
        hls_segments: Option<usize>,
        hls_always: Option<Vec<String>>,
        merge_write_ms: Option<u64>,
    ) -> PyResult<()> {
        let defaults = self.0.default_options();
        let millis = |chosen: Option<u64>, or: Duration| chosen.map_or(or, Duration::from_millis);
        let outputs = forms.map(|names| Outputs::named(names.iter().map(String::as_str))).transpose();
        let always = hls_always.map(|names| names.iter().map(|name| options::container(name)).collect());
        let chosen = StreamOptions {
            outputs: outputs.map_err(error)?.unwrap_or(defaults.outputs),
            audio: audio.unwrap_or(defaults.audio),
            gop_bytes_max: gop_bytes_max.unwrap_or(defaults.gop_bytes_max),
            from_gop: from_gop.unwrap_or(defaults.from_gop),
            no_viewer: match no_viewer_ms {
                Some(after) => (after > 0).then(|| Duration::from_millis(after)),
                None => defaults.no_viewer,
            },
            hls_segment: millis(hls_segment_ms, defaults.hls_segment),
            hls_segments: hls_segments.unwrap_or(defaults.hls_segments),
            hls_always: always.transpose().map_err(error)?.unwrap_or(defaults.hls_always),
            merge_write: millis(merge_write_ms, defaults.merge_write),
        };
        self.0.set_options(receiver, &chosen).map_err(error)
    }
}
