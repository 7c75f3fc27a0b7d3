//! What may be chosen for each stream: the forms it is given out in, its sound, and how much is kept for whom.

use std::time::Duration;

use wire::hls::Container;

use crate::{config::Config, error::Error};

/// Ways in which viewers get a stream; each can be forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Output {
    /// FLV over HTTP and WebSocket.
    Flv,
    /// MPEG-TS over HTTP and WebSocket.
    Ts,
    /// Fragmented MP4 over HTTP and WebSocket.
    Fmp4,
    /// HLS with segments of MPEG-TS or fragmented MP4.
    Hls,
    /// Low-latency HLS.
    LowLatencyHls,
    /// RTMP.
    Rtmp,
    /// RTSP.
    Rtsp,
    /// WebRTC.
    WebRtc,
}

impl Output {
    const ALL: [Self; 8] = [
        Self::Flv,
        Self::Ts,
        Self::Fmp4,
        Self::Hls,
        Self::LowLatencyHls,
        Self::Rtmp,
        Self::Rtsp,
        Self::WebRtc,
    ];

    /// The name used outside.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flv => "flv",
            Self::Ts => "ts",
            Self::Fmp4 => "fmp4",
            Self::Hls => "hls",
            Self::LowLatencyHls => "ll-hls",
            Self::Rtmp => "rtmp",
            Self::Rtsp => "rtsp",
            Self::WebRtc => "webrtc",
        }
    }
}

impl From<Container> for Output {
    fn from(container: Container) -> Self {
        match container {
            Container::Ts | Container::Fmp4 => Self::Hls,
            Container::LowLatency => Self::LowLatencyHls,
        }
    }
}

/// A set of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outputs(u8);

impl Outputs {
    /// Every output there is.
    pub const ALL: Self = Self(u8::MAX);

    /// Those with these names.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        names.into_iter().try_fold(Self(0), |set, name| {
            let output = Output::ALL.into_iter().find(|output| output.name() == name);
            let output = output.ok_or_else(|| Error::Invalid(format!("no form is called {name:?}")))?;
            Ok(Self(set.0 | 1 << output as u8))
        })
    }

    /// Whether `output` is one of them.
    pub fn has(self, output: Output) -> bool {
        self.0 & 1 << output as u8 != 0
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// The container of HLS with this name: `ts`, `fmp4` or `ll`.
pub fn container(name: &str) -> Result<Container, Error> {
    match name {
        "ts" => Ok(Container::Ts),
        "fmp4" => Ok(Container::Fmp4),
        "ll" => Ok(Container::LowLatency),
        _ => Err(Error::Invalid(format!("no segments of HLS are called {name:?}"))),
    }
}

/// The options of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// How viewers may get it.
    pub outputs: Outputs,
    /// Whether its sound is given out at all.
    pub audio: bool,
    /// Bytes of units that are kept for the next viewer; 0: none are.
    pub gop_bytes_max: usize,
    /// Viewers begin with what is kept since the last key frame; else they wait for the next one. HLS is behind anyway
    /// and begins with what is kept.
    pub from_gop: bool,
    /// Unwatched for so long it is told of; `None`: never.
    pub no_viewer: Option<Duration>,
    /// How long segments of HLS are, if key frames allow.
    pub hls_segment: Duration,
    /// Segments that a playlist lists.
    pub hls_segments: usize,
    /// Containers that are cut whether players ask or not.
    pub hls_always: Vec<Container>,
    /// What comes within so long goes to a viewer with one write; zero: everything at once.
    pub merge_write: Duration,
}

/// Bounds of what can be chosen.
const SEGMENT: std::ops::RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(30);
const SEGMENTS: std::ops::RangeInclusive<usize> = 2..=30;
const GOP_MAX: usize = 256 << 20;
const MERGE_MAX: Duration = Duration::from_secs(2);

impl StreamOptions {
    /// What counts for a stream without options of its own.
    pub fn of(config: &Config) -> Self {
        Self {
            outputs: Outputs::ALL,
            audio: true,
            gop_bytes_max: config.gop_bytes_max,
            from_gop: true,
            no_viewer: config.no_viewer,
            hls_segment: config.hls_segment,
            hls_segments: wire::hls::LISTED,
            hls_always: Vec::new(),
            merge_write: config.merge_write,
        }
    }

    /// Refuses what would take unbounded memory or make no sense.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = [
            (!SEGMENT.contains(&self.hls_segment), "a segment of HLS has 0.2 to 30 s"),
            (!SEGMENTS.contains(&self.hls_segments), "a playlist lists 2 to 30 segments"),
            (self.gop_bytes_max > GOP_MAX, "at most 256 MiB of a GOP can be kept"),
            (self.merge_write > MERGE_MAX, "writes are merged for at most 2 s"),
        ];
        match wrong.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, why)) => Err(Error::Invalid(why.to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_named() {
        let some = Outputs::named(["flv", "ll-hls"]).unwrap();
        assert!(some.has(Output::Flv) && some.has(Container::LowLatency.into()));
        assert!(!some.has(Output::Rtsp) && !some.has(Container::Ts.into()));
        assert_eq!(Outputs::named(Output::ALL.map(Output::name)).unwrap(), Outputs::ALL);
        assert!(matches!(Outputs::named(["flv", "dash"]), Err(Error::Invalid(why)) if why.contains("dash")));
        assert!(!Outputs::named([]).unwrap().has(Output::Flv));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = StreamOptions::of(&Config::default());
        good.check().unwrap();
        for bad in [
            StreamOptions { hls_segment: Duration::ZERO, ..good.clone() },
            StreamOptions { hls_segments: 1, ..good.clone() },
            StreamOptions { hls_segments: 31, ..good.clone() },
            StreamOptions { gop_bytes_max: usize::MAX, ..good.clone() },
            StreamOptions { merge_write: Duration::from_secs(3), ..good },
        ] {
            assert!(matches!(bad.check(), Err(Error::Invalid(_))), "{bad:?}");
        }
    }
}
