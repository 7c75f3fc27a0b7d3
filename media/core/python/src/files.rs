//! Recordings that were written, and single pictures.

use std::path::PathBuf;

use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};
use relay::playback;
use wire::{file::Form, hls::Container, media::VideoCodec};

use crate::error;

/// `media._core.KeyFrame`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct KeyFrame {
    codec: &'static str,
    width: u32,
    height: u32,
    wall_ms: u64,
    dts_90k: i64,
    data: Py<PyBytes>,
}

fn video_name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "H264",
        VideoCodec::H265 => "H265",
    }
}

impl KeyFrame {
    pub(crate) fn new(py: Python<'_>, found: &relay::KeyFrame) -> Self {
        let relay::KeyFrame { codec, width, height, wall_ms, dts_90k, ref data } = *found;
        Self {
            codec: video_name(codec),
            width,
            height,
            wall_ms,
            dts_90k,
            data: PyBytes::new(py, data).unbind(),
        }
    }
}

/// `media._core.FileFacts`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct FileFacts {
    form: &'static str,
    duration_ms: i64,
    head: u64,
    size: u64,
    entries: Vec<(i64, u64)>,
    video: Option<&'static str>,
    width: u32,
    height: u32,
    audio: bool,
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments from Python are values")]
pub fn file_facts(py: Python<'_>, path: PathBuf) -> PyResult<FileFacts> {
    let facts = py.detach(|| playback::file_facts(&path)).map_err(error)?;
    let video = facts.tracks.video.as_ref();
    Ok(FileFacts {
        form: match facts.form {
            Form::Flv => "flv",
            Form::Fmp4 => "mp4",
        },
        duration_ms: facts.duration.as_millis(),
        head: facts.head,
        size: facts.size,
        entries: facts.entries.iter().map(|entry| (entry.at.as_millis(), entry.offset)).collect(),
        video: video.map(|track| video_name(track.codec)),
        width: video.map_or(0, |track| track.width),
        height: video.map_or(0, |track| track.height),
        audio: facts.tracks.audio.is_some(),
    })
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments from Python are values")]
pub fn init_segment(py: Python<'_>, path: PathBuf) -> PyResult<Py<PyBytes>> {
    let data = py.detach(|| playback::init_segment(&path)).map_err(error)?;
    Ok(PyBytes::new(py, &data).unbind())
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "arguments from Python are values")]
pub fn segment(py: Python<'_>, path: PathBuf, from_ms: u64, to_ms: u64, form: &str) -> PyResult<Py<PyBytes>> {
    let container = match form {
        "ts" => Container::Ts,
        "fmp4" => Container::Fmp4,
        _ => return Err(PyValueError::new_err(format!("{form:?} is neither ts nor fmp4"))),
    };
    let data = py.detach(|| playback::segment(&path, from_ms, to_ms, container)).map_err(error)?;
    Ok(PyBytes::new(py, &data).unbind())
}
