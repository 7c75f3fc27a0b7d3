use bytes::{Bytes, BytesMut};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};
use relay::units::{Fresh, Item};
use wire::media::{AccessUnit, AudioCodec, Kind, Tracks, VideoCodec, VideoTrack};

use crate::CoreError;

const AUDIO: [(&str, AudioCodec); 4] = [
    ("PCMA", AudioCodec::G711A),
    ("PCMU", AudioCodec::G711U),
    ("AAC", AudioCodec::Aac),
    ("OPUS", AudioCodec::Opus),
];
const VIDEO: [(&str, VideoCodec); 2] = [("H264", VideoCodec::H264), ("H265", VideoCodec::H265)];

fn audio_name(codec: AudioCodec) -> &'static str {
    AUDIO.iter().find(|named| named.1 == codec).map_or("", |named| named.0)
}

fn video_name(codec: VideoCodec) -> &'static str {
    VIDEO.iter().find(|named| named.1 == codec).map_or("", |named| named.0)
}

fn audio_named(name: &str) -> Option<AudioCodec> {
    AUDIO.iter().find(|named| named.0 == name).map(|named| named.1)
}

/// `media._core.Unit`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct Unit {
    kind: &'static str,
    codec: &'static str,
    pts_90k: i64,
    dts_90k: i64,
    key: bool,
    data: Py<PyBytes>,
}

/// `media._core.UnitTracks`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct UnitTracks {
    kind: &'static str,
    video: Option<&'static str>,
    width: u32,
    height: u32,
    sps: Py<PyBytes>,
    audio: Option<&'static str>,
    sample_rate: u32,
    channels: u8,
    config: Py<PyBytes>,
}

fn tracks(py: Python<'_>, tracks: &Tracks) -> UnitTracks {
    let (video, audio) = (tracks.video.as_ref(), tracks.audio.as_ref());
    let sps = video.and_then(|track| track.sps.first()).map_or(&[][..], |set| set);
    UnitTracks {
        kind: "tracks",
        video: video.map(|track| video_name(track.codec)),
        width: video.map_or(0, |track| track.width),
        height: video.map_or(0, |track| track.height),
        sps: PyBytes::new(py, sps).unbind(),
        audio: audio.map(|track| audio_name(track.codec)),
        sample_rate: audio.map_or(0, |track| track.sample_rate),
        channels: audio.map_or(0, |track| track.channels),
        config: PyBytes::new(py, audio.map_or(&[][..], |track| &track.config)).unbind(),
    }
}

fn unit(py: Python<'_>, unit: &AccessUnit) -> PyResult<Unit> {
    let (kind, codec, data) = match (unit.kind, &unit.tracks.video, &unit.tracks.audio) {
        (Kind::Video, Some(track), _) => ("video", video_name(track.codec), annex_b(py, unit, track)?),
        (Kind::Audio, _, Some(track)) => ("audio", audio_name(track.codec), PyBytes::new(py, &unit.data)),
        (Kind::Video, ..) => ("video", "", PyBytes::new(py, &unit.data)),
        (Kind::Audio, ..) => ("audio", "", PyBytes::new(py, &unit.data)),
    };
    Ok(Unit { kind, codec, pts_90k: unit.pts.0, dts_90k: unit.dts.0, key: unit.key, data: data.unbind() })
}

/// Written straight into the bytes object: one copy.
fn annex_b<'py>(py: Python<'py>, unit: &AccessUnit, track: &VideoTrack) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, wire::raw::annex_b_len(unit, track), |out| {
        wire::raw::write_annex_b(unit, track, out);
        Ok(())
    })
}

/// `media._core.Subscription`.
#[pyclass(frozen, module = "media._core")]
pub struct Subscription(pub relay::units::Subscription);

#[pymethods]
impl Subscription {
    #[getter]
    fn fd(&self) -> i32 {
        self.0.fd()
    }

    #[pyo3(signature = (limit = 64))]
    fn read<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let (items, ended) = py.detach(|| self.0.read(limit));
        if items.is_empty() && ended {
            return Ok(None);
        }
        let bound = |item: &Item| match item {
            Item::Tracks(new) => Ok(Bound::new(py, tracks(py, new))?.into_any()),
            Item::Unit(next) => Ok(Bound::new(py, unit(py, next)?)?.into_any()),
        };
        items.iter().map(bound).collect::<PyResult<_>>().map(Some)
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    fn close(&self) {
        self.0.close();
    }
}

/// `media._core.Feed`.
#[pyclass(frozen, module = "media._core")]
pub struct Feed(pub relay::units::UnitFeed);

#[pymethods]
impl Feed {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[pyo3(signature = (codec, *, channels = 1, config = Vec::new()), text_signature = "($self, codec, *, channels=1, config=b'')")]
    fn announce_audio(&self, codec: &str, channels: u8, config: Vec<u8>) -> PyResult<()> {
        let codec = audio_named(codec).ok_or_else(|| unknown(codec))?;
        if !(1..=2).contains(&channels) || config.len() > 64 {
            return Err(PyValueError::new_err(
                "sound has one or two channels, and a configuration of at most 64 bytes",
            ));
        }
        if codec == AudioCodec::Aac && wire::aac::Config::parse(&config).is_none() {
            return Err(PyValueError::new_err("the configuration of AAC cannot be read"));
        }
        self.push_fresh(Fresh::Audio(codec, channels, config.into())).map(drop)
    }

    fn push(&self, codec: &str, pts_90k: i64, dts_90k: i64, data: &[u8]) -> PyResult<bool> {
        let fresh = if let Some(&(_, codec)) = VIDEO.iter().find(|named| named.0 == codec) {
            Fresh::Picture(codec, pts_90k, dts_90k, BytesMut::from(data))
        } else {
            let codec = audio_named(codec).ok_or_else(|| unknown(codec))?;
            Fresh::Sound(codec, pts_90k, Bytes::copy_from_slice(data))
        };
        self.push_fresh(fresh)
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    fn close(&self, reason: &str) {
        self.0.close(reason);
    }
}

impl Feed {
    fn push_fresh(&self, fresh: Fresh) -> PyResult<bool> {
        self.0.push(fresh).map_err(|closed| CoreError::new_err(closed.to_string()))
    }
}

fn unknown(codec: &str) -> PyErr {
    PyValueError::new_err(format!("{codec:?} is no coding that the relay carries"))
}
