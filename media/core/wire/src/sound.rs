//! From the payload of an audio stream to units: which coding it is, and where its frames end.

use bytes::{Bytes, BytesMut};

use crate::{
    aac::{ADTS_LEN, Adts, Config, FRAME_SAMPLES},
    fault::Fault,
    media::{AudioCodec, AudioTrack, Ticks},
    opus,
    timeline::Stamp,
};

/// A run of coded sound.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) data: Bytes,
    pub(crate) stamp: Stamp,
}

/// Reads one audio stream.
#[derive(Debug)]
pub(crate) struct Sound {
    announced: Option<AudioCodec>,
    codec: Option<AudioCodec>,
    config: Option<Config>,
    stated: Bytes,        // the configuration as it came, if it came apart from the frames
    channels: Option<u8>, // of G.711 and Opus, if stated
    adts: bool,
    wrapped: bool,  // Opus with control headers, as in transport streams
    rest: BytesMut, // the start of an ADTS frame
}

/// G.711 is always sampled so often.
const G711_RATE: u32 = 8000;
/// A longer payload is no sound.
const PAYLOAD_MAX: usize = 64 << 10;
/// A longer configuration is not kept as it is.
const CONFIG_MAX: usize = 64;

impl Sound {
    pub(crate) fn new() -> Self {
        Self {
            announced: None,
            codec: None,
            config: None,
            stated: Bytes::new(),
            channels: None,
            adts: false,
            wrapped: false,
            rest: BytesMut::new(),
        }
    }

    /// The coding that a map or an answer announces; what is known from before is forgotten.
    pub(crate) fn announce(&mut self, codec: Option<AudioCodec>) {
        if self.announced != codec {
            self.announced = codec;
            (self.codec, self.channels, self.wrapped) = (None, None, false);
            self.rest.clear();
        }
    }

    /// The sampling that an answer's rtpmap states for AAC.
    pub(crate) fn configure(&mut self, config: Config) {
        self.config = Some(config);
    }

    /// The `AudioSpecificConfig` that a stream states apart from its frames; false if it cannot be read.
    pub(crate) fn handle_config(&mut self, bytes: &Bytes) -> bool {
        let Some(config) = Config::parse(bytes) else { return false };
        self.config = Some(config);
        // It may say more than we read (of SBR and PS), which decoders want to know.
        let kept = if bytes.len() <= CONFIG_MAX { bytes.len() } else { 0 };
        self.stated = Bytes::copy_from_slice(&bytes[..kept]);
        true
    }

    /// Whether a configuration of AAC is known.
    pub(crate) fn is_configured(&self) -> bool {
        self.config.is_some()
    }

    /// How many channels G.711 or Opus has.
    pub(crate) fn set_channels(&mut self, channels: u8) {
        self.channels = Some(channels);
    }

    /// Opus comes as transport streams have it: each packet behind a control header.
    pub(crate) fn expect_control_headers(&mut self) {
        self.wrapped = true;
    }

    /// A frame that was cut is not continued.
    pub(crate) fn handle_gap(&mut self) {
        self.rest.clear();
    }

    /// The track, once the coding is certain.
    pub(crate) fn track(&self) -> Option<AudioTrack> {
        let codec = self.codec?;
        // Opus need not say: packets may be of one or two, and decoders make two of either.
        let channels = self.channels.unwrap_or(if codec == AudioCodec::Opus { 2 } else { 1 });
        let (config, sample_rate, channels) = match self.config {
            Some(config) if codec == AudioCodec::Aac => {
                let stated = Some(self.stated.clone()).filter(|stated| !stated.is_empty());
                let bytes = stated.unwrap_or_else(|| config.to_bytes().into());
                (bytes, config.sample_rate, config.channels)
            }
            _ if codec == AudioCodec::Aac => return None,
            _ if codec == AudioCodec::Opus => (opus::head(channels), opus::RATE, channels),
            _ => (Bytes::new(), G711_RATE, channels),
        };
        Some(AudioTrack { codec, sample_rate, channels, config })
    }

    /// Takes one payload and gives its runs, and what was wrong, to `out` and `fault`.
    pub(crate) fn handle_payload(
        &mut self,
        data: Bytes,
        stamp: Stamp,
        out: &mut Vec<Run>,
        fault: &mut impl FnMut(Fault),
    ) {
        if data.is_empty() || data.len() > PAYLOAD_MAX {
            return;
        }
        match self.decide(&data, fault) {
            AudioCodec::Aac if self.adts => self.split(data, stamp, out, fault),
            AudioCodec::Opus if self.wrapped => Self::unwrap(&data, stamp, out, fault),
            _ => out.push(Run { data, stamp }),
        }
    }

    /// AAC whose frames the transport delimits.
    pub(crate) fn handle_frame(
        &mut self,
        data: Bytes,
        stamp: Stamp,
        out: &mut Vec<Run>,
        fault: &mut impl FnMut(Fault),
    ) {
        self.codec = Some(AudioCodec::Aac);
        if self.config.is_none() {
            fault(Fault::AacWithoutAdts);
            self.config = Some(Config::ASSUMED);
        }
        out.push(Run { data, stamp });
    }

    /// The coding: what the bytes prove, else what was announced, else G.711 A-law.
    fn decide(&mut self, data: &[u8], fault: &mut impl FnMut(Fault)) -> AudioCodec {
        if let Some(codec) = self.codec {
            let unmarked = codec == AudioCodec::Aac && !self.adts;
            self.adts |= unmarked && Adts::fits(data);
            return codec;
        }
        let adts = memchr::memchr_iter(0xFF, data).any(|at| Adts::fits(&data[at..]));
        let codec = match self.announced {
            // Nobody announces Opus who does not send it, and any byte may begin its packets.
            Some(codec @ (AudioCodec::Aac | AudioCodec::Opus)) => codec,
            _ if Adts::fits(data) => AudioCodec::Aac,
            announced => announced.unwrap_or(AudioCodec::G711A),
        };
        if self.announced.is_some_and(|announced| announced != codec) {
            fault(Fault::PsmContradicts);
        }
        self.adts = adts && codec == AudioCodec::Aac;
        if codec == AudioCodec::Aac && !adts {
            fault(Fault::AacWithoutAdts);
            self.config.get_or_insert(Config::ASSUMED);
        }
        self.codec = Some(codec);
        codec
    }

    /// The packets of Opus behind their control headers, which a payload holds whole.
    fn unwrap(mut data: &[u8], stamp: Stamp, out: &mut Vec<Run>, fault: &mut impl FnMut(Fault)) {
        let mut stamp = Some(stamp);
        let mut after = Stamp::Arrival;
        while !data.is_empty() {
            let Some((packet, rest)) = opus::behind_control_header(data) else {
                return fault(Fault::BadPayload);
            };
            data = rest;
            let Some(samples) = opus::duration(packet) else {
                fault(Fault::BadPayload);
                continue;
            };
            out.push(Run { data: Bytes::copy_from_slice(packet), stamp: stamp.take().unwrap_or(after) });
            after = Stamp::After(Ticks(i64::from(samples) * Ticks::PER_SECOND / i64::from(opus::RATE)));
        }
    }

    /// ADTS frames; one may be cut by the end of a payload. A payload's time is that of the first frame that
    /// begins in it.
    fn split(&mut self, data: Bytes, stamp: Stamp, out: &mut Vec<Run>, fault: &mut impl FnMut(Fault)) {
        let held = self.rest.len();
        let bytes = if held > 0 {
            self.rest.extend_from_slice(&data);
            let joined = Bytes::copy_from_slice(&self.rest);
            self.rest.clear();
            joined
        } else {
            data
        };
        let mut at = 0;
        let mut stamp = Some(stamp);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let Some(adts) = Adts::parse(rest) else {
                if rest.len() < ADTS_LEN && rest[0] == 0xFF {
                    break;
                }
                fault(Fault::BadAdts);
                at += memchr::memchr(0xFF, &rest[1..]).map_or(rest.len(), |next| next + 1);
                continue;
            };
            if adts.frame_len > rest.len() {
                break;
            }
            if self.config.replace(adts.config) != Some(adts.config) {
                self.stated = Bytes::new();
            }
            let step = i64::from(FRAME_SAMPLES) * Ticks::PER_SECOND / i64::from(adts.config.sample_rate);
            let own = if at >= held { stamp.take() } else { None };
            let data = bytes.slice(at + adts.header_len..at + adts.frame_len);
            out.push(Run { data, stamp: own.unwrap_or(Stamp::After(Ticks(step))) });
            at += adts.frame_len;
        }
        self.rest.extend_from_slice(&bytes[at.min(bytes.len())..]);
    }
}
