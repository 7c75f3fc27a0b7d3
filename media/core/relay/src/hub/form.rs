//! In what form a viewer of a live stream is served, and what that is called outside.

use wire::{
    flv::{FlvOptions, H265},
    fmp4_live::Fmp4Options,
    rtsp::Selection,
    ts::Sound,
};

use crate::options::Output;

/// What a viewer wants; viewers of one form share its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// FLV tags.
    Flv(FlvOptions),
    /// FLV tags as messages of RTMP.
    Rtmp(FlvOptions),
    /// Packets of RTP with these tracks.
    Rtsp(Selection),
    /// MPEG-TS with this sound.
    Ts(Sound),
    /// Fragmented MP4.
    Fmp4(Fmp4Options),
}

impl Form {
    /// Numbers of forms are below this.
    pub(crate) const COUNT: usize = 20;

    /// Its own number.
    pub(crate) fn number(self) -> usize {
        let pair = |first, second| usize::from(first) << 1 | usize::from(second);
        let (kind, variant) = match self {
            Self::Flv(options) => (0, pair(options.h265 == H265::Codec12, options.audio)),
            Self::Rtmp(options) => (1, pair(options.h265 == H265::Codec12, options.audio)),
            Self::Rtsp(selection) => (2, pair(selection.video, selection.audio)),
            Self::Ts(sound) => (3, pair(sound == Sound::Silent, sound == Sound::Standard)),
            Self::Fmp4(options) => (4, pair(options.hev1, options.audio)),
        };
        kind << 2 | variant
    }

    /// Media type of what comes over HTTP.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Flv(_) | Self::Rtmp(_) | Self::Rtsp(_) => "video/x-flv",
            Self::Ts(_) => "video/mp2t",
            Self::Fmp4(_) => "video/mp4",
        }
    }

    /// What it is forbidden or allowed as.
    pub(crate) fn output(self) -> Output {
        match self {
            Self::Flv(_) => Output::Flv,
            Self::Rtmp(_) => Output::Rtmp,
            Self::Rtsp(_) => Output::Rtsp,
            Self::Ts(_) => Output::Ts,
            Self::Fmp4(_) => Output::Fmp4,
        }
    }

    /// What its viewers are counted by.
    pub(crate) fn protocol(self, websocket: bool) -> Protocol {
        match self {
            Self::Flv(_) if websocket => Protocol::WsFlv,
            Self::Flv(_) => Protocol::HttpFlv,
            Self::Ts(_) if websocket => Protocol::WsTs,
            Self::Ts(_) => Protocol::HttpTs,
            Self::Fmp4(_) if websocket => Protocol::WsFmp4,
            Self::Fmp4(_) => Protocol::HttpFmp4,
            Self::Rtmp(_) => Protocol::Rtmp,
            Self::Rtsp(_) => Protocol::Rtsp,
        }
    }
}

/// What viewers of live streams are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    HttpFlv,
    WsFlv,
    HttpTs,
    WsTs,
    HttpFmp4,
    WsFmp4,
    Rtmp,
    Rtsp,
}

impl Protocol {
    pub(crate) const ALL: [Self; 8] = [
        Self::HttpFlv,
        Self::WsFlv,
        Self::HttpTs,
        Self::WsTs,
        Self::HttpFmp4,
        Self::WsFmp4,
        Self::Rtmp,
        Self::Rtsp,
    ];

    /// The name used outside.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HttpFlv => "http-flv",
            Self::WsFlv => "ws-flv",
            Self::HttpTs => "http-ts",
            Self::WsTs => "ws-ts",
            Self::HttpFmp4 => "http-fmp4",
            Self::WsFmp4 => "ws-fmp4",
            Self::Rtmp => "rtmp",
            Self::Rtsp => "rtsp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_a_number_of_its_own() {
        let mut forms = Vec::new();
        for (first, second) in [(false, false), (false, true), (true, false), (true, true)] {
            let h265 = if first { H265::Codec12 } else { H265::Enhanced };
            let options = FlvOptions { h265, audio: second };
            forms.extend([Form::Flv(options), Form::Rtmp(options)]);
            forms.push(Form::Rtsp(Selection { video: first, audio: second }));
            forms.push(Form::Fmp4(Fmp4Options { hev1: first, audio: second }));
        }
        forms.extend([Sound::All, Sound::Standard, Sound::Silent].map(Form::Ts));
        let mut numbers: Vec<_> = forms.iter().map(|form| form.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), forms.len());
        assert!(numbers.iter().all(|number| *number < Form::COUNT));
    }
}
