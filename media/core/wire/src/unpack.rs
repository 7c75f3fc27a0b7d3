//! From ordered RTP packets to access units: the whole chain for one stream.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    aac::Config,
    es::{self, Packing, Pictures},
    fault::Fault,
    frames::{self, Frame},
    media::{AccessUnit, AudioCodec, Kind, Tracks, VideoCodec},
    opus,
    payload::{BareAudio, Expected, expected, static_audio},
    probe::{Probe, Verdict},
    program::Program,
    ps::begins_pack,
    rtp,
    rtp_aac::{AacReader, Layout},
    timeline::Stamp,
    transport::Transport,
    units::Units,
};

/// Limits and patience of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A larger frame is dropped; 4 MiB.
    pub frame_bytes_max: usize,
    /// How long video that is ready waits for announced audio (and audio for video that never shows); 1 s.
    pub audio_wait: Duration,
    /// How long audio waits for the first key frame of video that is there; 10 s.
    pub video_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            frame_bytes_max: 4 << 20,
            audio_wait: Duration::from_secs(1),
            video_wait: Duration::from_secs(10),
        }
    }
}

pub use crate::payload::Payload;

/// What comes out of a stream.
#[derive(Debug, Clone)]
pub enum Output {
    /// What the packets carry; once, before all else but faults.
    Payload(Payload),
    /// The tracks from now on; always before the first unit that has them.
    Tracks(Arc<Tracks>),
    /// A complete access unit.
    Unit(AccessUnit),
    /// A deviation.
    Fault(Fault),
}

/// How the packets of video (and what comes with it) are read.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every stream has the large one")]
enum Reader {
    Probing(Probe),
    /// In place, for it is what most streams have, and what each packet needs.
    Program(Program),
    Transport(Box<Transport>),
    Pictures(Box<Pictures>),
    /// Nothing can be made of it.
    Nothing,
}

/// A packet kept while probing.
#[derive(Debug)]
struct Kept {
    now: Instant,
    payload_type: u8,
    marker: bool,
    seq: u16,
    timestamp: u32,
    payload: Bytes,
}

/// What is kept while probing.
const KEPT_PACKETS: usize = 256;
const KEPT_BYTES: usize = 512 << 10;

/// Unpacks one stream; its packets come in order, gaps are told.
#[derive(Debug)]
pub struct Unpacker {
    options: Options,
    reader: Reader,
    units: Units,
    kept: Vec<Kept>,
    kept_bytes: usize,
    expected: Vec<(u8, Expected)>,
    program_type: Option<u8>, // payload type of the program stream
    audio_type: Option<u8>,   // last payload type of bare sound: one packet alone proves nothing
    audio: Option<BareAudio>, // as read now
    aac: AacReader,
    told: Vec<Payload>,
}

impl Unpacker {
    /// A stream that has not begun.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            reader: Reader::Probing(Probe::new()),
            units: Units::new(options),
            kept: Vec::new(),
            kept_bytes: 0,
            expected: Vec::new(),
            program_type: None,
            audio_type: None,
            audio: None,
            aac: AacReader::new(Layout::HBR, Config::ASSUMED.sample_rate),
            told: Vec::new(),
        }
    }

    /// Tells payload types and encoding names of the SDP answer, such as (96, "PS"), (98, "H264") or
    /// (102, "MPEG4-GENERIC/16000/1"). They are hints: what the packets show counts more.
    pub fn expect<'a>(&mut self, payloads: impl IntoIterator<Item = (u8, &'a str)>) {
        self.expected = payloads
            .into_iter()
            .filter_map(|(number, name)| Some((number, expected(name)?)))
            .take(32)
            .collect();
    }

    /// Takes the next packet.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, packet: &rtp::Packet<'_>) {
        if !self.handle_middle(packet) {
            self.handle_any(now, packet);
        }
    }

    /// Takes a packet of which nothing is to be learnt, as most are; false, and nothing done, if it is none.
    #[inline]
    fn handle_middle(&mut self, packet: &rtp::Packet<'_>) -> bool {
        let Reader::Program(program) = &mut self.reader else { return false };
        self.program_type == Some(packet.payload_type) && program.handle_middle(packet)
    }

    #[inline(never)]
    fn handle_any(&mut self, now: Instant, packet: &rtp::Packet<'_>) {
        if packet.payload.is_empty() {
            return;
        }
        if let Some(audio) = self.bare_audio(packet) {
            return self.handle_audio(now, packet, audio);
        }
        match &mut self.reader {
            Reader::Probing(probe) => {
                let announced = self.expected.iter().find_map(|&(number, expected)| match expected {
                    Expected::Main(main) if number == packet.payload_type => Some(main),
                    _ => None,
                });
                match probe.handle_packet(packet, announced) {
                    None => self.keep(now, packet),
                    Some(verdict) => self.decide(now, packet, verdict),
                }
            }
            _ => self.read(now, packet),
        }
    }

    fn read(&mut self, now: Instant, packet: &rtp::Packet<'_>) {
        match &mut self.reader {
            Reader::Program(program) => {
                if begins_pack(packet.payload) {
                    self.program_type = Some(packet.payload_type);
                }
                program.handle_packet(packet);
                self.drain_frames(now);
            }
            Reader::Transport(transport) => {
                transport.handle_packet(packet);
                self.drain_frames(now);
            }
            Reader::Pictures(pictures) => {
                pictures.handle_packet(packet);
                self.drain_pictures(now);
            }
            Reader::Probing(_) | Reader::Nothing => {}
        }
    }

    fn keep(&mut self, now: Instant, packet: &rtp::Packet<'_>) {
        let &rtp::Packet { payload_type, marker, seq, timestamp, payload, .. } = packet;
        self.kept_bytes += payload.len();
        if self.kept.len() < KEPT_PACKETS && self.kept_bytes <= KEPT_BYTES {
            let payload = Bytes::copy_from_slice(payload);
            self.kept.push(Kept { now, payload_type, marker, seq, timestamp, payload });
        }
    }

    /// The payload is known: what was kept is read, then this packet.
    fn decide(&mut self, now: Instant, packet: &rtp::Packet<'_>, verdict: Verdict) {
        let limit = self.options.frame_bytes_max;
        let kept = std::mem::take(&mut self.kept);
        self.kept_bytes = 0;
        self.reader = match verdict {
            Verdict::Ps => {
                self.tell(Payload::Ps);
                self.program_type = Some(packet.payload_type);
                Reader::Program(Program::new(limit))
            }
            Verdict::Nals(codec) | Verdict::AnnexB(codec) => {
                self.tell(if codec == VideoCodec::H264 { Payload::H264 } else { Payload::H265 });
                self.units.announce(Some(codec), self.audio.and_then(BareAudio::codec));
                // Viewers are to see both tracks from the start: pictures wait a moment for sound that was answered.
                self.units.expect_audio(
                    self.audio.and_then(BareAudio::codec).is_some() || self.is_sound_expected(),
                );
                let packing = if let Verdict::AnnexB(_) = verdict { Packing::AnnexB } else { Packing::Rtp };
                Reader::Pictures(Box::new(Pictures::new(codec, packing, limit)))
            }
            Verdict::Ts => {
                self.tell(Payload::Ts);
                Reader::Transport(Box::new(Transport::new(limit)))
            }
            Verdict::Unsupported(name) => {
                self.units.fault(Fault::UnsupportedPayload(name));
                // What is unknown may have begun badly; a maker's container stays one.
                if name == "unknown" { Reader::Probing(Probe::new()) } else { Reader::Nothing }
            }
        };
        for Kept { now, payload_type, marker, seq, timestamp, payload } in kept {
            let kept =
                rtp::Packet { payload_type, marker, seq, timestamp, ssrc: packet.ssrc, payload: &payload };
            self.read(now, &kept);
        }
        self.read(now, packet);
    }

    /// Whether the answer names sound that is carried.
    fn is_sound_expected(&self) -> bool {
        let sounds = |expected: &(u8, Expected)| matches!(expected.1, Expected::Audio(audio) if audio.codec().is_some());
        self.expected.iter().any(sounds)
    }

    fn drain_frames(&mut self, now: Instant) {
        while let Some(event) = self.poll_frame() {
            match event {
                frames::Event::Frame(Frame { kind: Kind::Video, data, stamp }) => {
                    if let Reader::Program(program) = &mut self.reader {
                        if self.units.handle_pictures(now, data, stamp) {
                            program.handle_joined();
                        }
                    } else {
                        self.units.handle_annex_b(now, data, stamp);
                    }
                    self.pass_codec();
                }
                frames::Event::Frame(Frame { kind: Kind::Audio, data, stamp }) => {
                    self.units.handle_audio(now, data.freeze(), stamp);
                }
                frames::Event::Map { video, audio } => self.units.handle_map(video, audio),
                frames::Event::VideoGap => self.units.handle_video_gap(),
                frames::Event::Fault(fault) => self.units.fault(fault),
            }
        }
    }

    fn poll_frame(&mut self) -> Option<frames::Event> {
        match &mut self.reader {
            Reader::Program(program) => program.poll_event(),
            Reader::Transport(transport) => transport.poll_event(),
            _ => None,
        }
    }

    /// Tells the reader which coding the parameter sets proved.
    fn pass_codec(&mut self) {
        let Some(codec) = self.units.codec() else { return };
        match &mut self.reader {
            Reader::Program(program) => program.set_codec(codec),
            Reader::Transport(transport) => transport.set_codec(codec),
            Reader::Pictures(pictures) => pictures.set_codec(codec),
            Reader::Probing(_) | Reader::Nothing => {}
        }
    }

    fn drain_pictures(&mut self, now: Instant) {
        let Reader::Pictures(pictures) = &mut self.reader else { return };
        while let Some(event) = pictures.poll_event() {
            match event {
                es::Event::Picture(data, stamp) => match pictures.packing() {
                    Packing::Rtp => self.units.handle_video(now, data.freeze(), stamp),
                    Packing::AnnexB => self.units.handle_annex_b(now, data, stamp),
                },
                es::Event::Gap => self.units.handle_video_gap(),
                es::Event::Fault(fault) => self.units.fault(fault),
            }
        }
        self.pass_codec();
    }

    /// What sound a packet carries by its payload type, unless it shows or continues a program stream.
    fn bare_audio(&mut self, packet: &rtp::Packet<'_>) -> Option<BareAudio> {
        let number = packet.payload_type;
        let stated = self.expected.iter().find(|expected| expected.0 == number);
        let audio = match stated {
            Some(&(_, Expected::Audio(audio))) => audio,
            Some(_) => return None,
            None => static_audio(number)?,
        };
        if begins_pack(packet.payload) || self.program_type == Some(number) {
            return None;
        }
        Some(audio)
    }

    fn handle_audio(&mut self, now: Instant, packet: &rtp::Packet<'_>, audio: BareAudio) {
        if self.audio_type.replace(packet.payload_type) != Some(packet.payload_type) {
            return; // some devices give the first packet of a program stream a payload type of sound
        }
        if self.audio != Some(audio) {
            self.audio = Some(audio);
            self.begin_audio(audio);
        }
        let timestamp = packet.timestamp;
        match audio {
            BareAudio::G711(_) => {
                let data = Bytes::copy_from_slice(packet.payload);
                self.units.handle_audio(now, data, Stamp::Rtp { timestamp, rate: 8000 });
            }
            BareAudio::Opus => {
                let data = Bytes::copy_from_slice(packet.payload);
                self.units.handle_audio(now, data, Stamp::Rtp { timestamp, rate: opus::RATE });
            }
            BareAudio::Aac { .. } => {
                let units = &mut self.units;
                let each = |data, stamp| units.handle_aac(now, data, stamp);
                if self.aac.handle_packet(packet, each).is_none() {
                    self.units.fault(Fault::BadPayload);
                }
            }
            BareAudio::Unsupported(_) => {}
        }
    }

    fn begin_audio(&mut self, audio: BareAudio) {
        match audio {
            BareAudio::G711(codec) => {
                self.tell(if codec == AudioCodec::G711A { Payload::G711A } else { Payload::G711U });
                self.units.announce(None, Some(codec));
            }
            BareAudio::Aac { rate, stated } => {
                self.tell(Payload::Aac);
                self.aac = AacReader::new(Layout::HBR, rate);
                self.units.announce(None, Some(AudioCodec::Aac));
                if stated {
                    self.units.sound.configure(Config { sample_rate: rate, ..Config::ASSUMED });
                }
            }
            BareAudio::Opus => {
                self.tell(Payload::Opus);
                self.units.announce(None, Some(AudioCodec::Opus));
            }
            BareAudio::Unsupported(name) => self.units.fault(Fault::UnsupportedCodec(name)),
        }
    }

    fn tell(&mut self, payload: Payload) {
        if !self.told.contains(&payload) {
            self.told.push(payload);
            self.units.tell(Output::Payload(payload));
        }
    }

    /// Tells that `lost` packets before the next one will never come (at a restart: an unknown number, say 1).
    pub fn handle_gap(&mut self, lost: u64) {
        if lost == 0 {
            return;
        }
        self.units.fault(Fault::SequenceGap);
        self.units.sound.handle_gap();
        self.aac.handle_gap();
        let damaged = match &mut self.reader {
            Reader::Program(program) => program.handle_gap(),
            Reader::Transport(transport) => transport.handle_gap(),
            Reader::Pictures(pictures) => pictures.handle_gap(),
            Reader::Probing(_) => {
                self.kept.clear();
                self.kept_bytes = 0;
                false
            }
            Reader::Nothing => false,
        };
        if damaged {
            self.units.fault(Fault::DamagedUnit);
        }
        self.units.handle_video_gap();
    }

    /// Lets time pass; early calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.units.handle_timeout(now);
    }

    /// When to call `handle_timeout`.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.units.next_timeout()
    }

    /// The next output, or `None` until something is handled.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.units.poll_output()
    }
}
