//! The tracks of a session that is sent to us, as access units: order and loss of each track, and the clock that both share
//! (RFC 3550 §6.4.1: sender reports tie timestamps to one wall clock). Before there are reports, arrival ties them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Description, MediaDescription};
use crate::{
    aac::Config,
    es::{self, Packing, Pictures},
    fault::Fault,
    media::{AudioCodec, Kind, VideoCodec},
    reorder::{self, Reorder},
    rtcp::{self, Message, Reporter},
    rtp::{self, Statistics},
    rtp_aac::{AacReader, Layout, latm_config},
    timeline::Stamp,
    units::Units,
    unpack::{Options, Output, Unpacker},
};

/// Packets that may wait for a missing one.
const WINDOW: u16 = 512;

/// How often a track's sender is told what came (RFC 3550 §6.2).
const REPORTS: Duration = Duration::from_secs(5);

/// So many packets in a row of another payload type, or source, than is expected: it is meant.
const INSISTENCE: u8 = 3;

/// What our receiver reports call us.
const CNAME: &str = "relay";

/// What the packets of one track carry.
#[derive(Debug)]
enum Content {
    Pictures(Box<Pictures>),
    /// Sound whose packets are runs of it.
    Plain,
    Aac(AacReader),
    /// A program or transport stream with both tracks in it.
    Mixed(Box<Unpacker>),
}

/// One sender report.
#[derive(Debug, Clone, Copy)]
struct Report {
    /// Wall clock, NTP format.
    ntp: u64,
    /// The same instant in the track's clock.
    timestamp: u32,
}

struct Track {
    /// Its place in the description.
    number: usize,
    kind: Kind,
    payload_type: u8,
    clock_rate: u32,
    content: Content,
    reorder: Reorder<Bytes>,
    statistics: Statistics,
    reporter: Reporter,
    source: Option<u32>,
    /// A payload type or source that is not the track's, and how often it came in a row.
    strange: (u32, u8),
    report: Option<Report>,
    owed: Option<Instant>,
}

/// Reads a session's tracks; see the module. `handle_*`, then `poll_output` and `poll_report` until they give nothing.
pub struct Incoming {
    units: Units,
    tracks: Vec<Track>,
    reports: VecDeque<(usize, Vec<u8>)>,
    lost: u64,
}

impl Incoming {
    /// The first video and the first audio track of `description` that can be read; the others are ignored. Packets wait for
    /// missing ones at most `hold`: zero where they cannot come out of order. `ssrc` is our own, in reports.
    pub fn new(description: &Description, options: Options, hold: Duration, ssrc: u32) -> Self {
        let mut units = Units::new(options);
        let mut tracks: Vec<Track> = Vec::new();
        for (number, media) in description.media.iter().enumerate() {
            if tracks
                .iter()
                .any(|track| track.kind == media.kind || matches!(track.content, Content::Mixed(_)))
            {
                continue;
            }
            let Some(content) = content(media, options) else {
                units.fault(Fault::UnsupportedCodec(unsupported(media)));
                continue;
            };
            tracks.push(Track {
                number,
                kind: media.kind,
                payload_type: media.payload_type,
                clock_rate: media.clock_rate,
                content,
                reorder: Reorder::new(hold, WINDOW),
                statistics: Statistics::new(media.clock_rate),
                reporter: Reporter::new(ssrc, CNAME),
                source: None,
                strange: (0, 0),
                report: None,
                owed: None,
            });
        }
        let found = |kind| {
            let track = tracks.iter().find(|track| track.kind == kind)?;
            description.media.get(track.number)
        };
        prepare(&mut units, found(Kind::Video), found(Kind::Audio));
        Self { units, tracks, reports: VecDeque::new(), lost: 0 }
    }

    /// The tracks that are read, as numbers in the description; none: nothing in the session can be read.
    pub fn tracks(&self) -> impl Iterator<Item = usize> {
        self.tracks.iter().map(|track| track.number)
    }

    /// Takes an RTP packet of track `number`; others are ignored.
    pub fn handle_rtp(&mut self, now: Instant, number: usize, data: Bytes) {
        let Some(at) = self.tracks.iter().position(|track| track.number == number) else { return };
        let track = &mut self.tracks[at];
        let Ok(packet) = rtp::Packet::parse(&data) else {
            // Some cameras send their reports in the channel of the packets.
            if rtp::is_rtcp(&data) {
                return self.handle_rtcp(now, number, &data);
            }
            return self.units.fault(Fault::BadRtp);
        };
        if rtp::is_rtcp(&data) {
            return self.handle_rtcp(now, number, &data);
        }
        if !track.expects(&packet) {
            return self.units.fault(Fault::ForeignPacket);
        }
        track.owed.get_or_insert(now + REPORTS / 2);
        track.statistics.handle_packet(now, &packet);
        let seq = packet.seq;
        if track.reorder.pass(seq) {
            self.read(now, at, &data);
        } else {
            track.reorder.handle_packet(now, seq, data);
        }
        self.drain(now, at);
    }

    /// Takes a compound of RTCP about track `number`.
    pub fn handle_rtcp(&mut self, now: Instant, number: usize, data: &[u8]) {
        let Some(track) = self.tracks.iter_mut().find(|track| track.number == number) else { return };
        for message in rtcp::messages(data) {
            let Message::SenderReport { ssrc, ntp, rtp_timestamp: timestamp, .. } = message else { continue };
            if track.source.is_none_or(|source| source == ssrc) {
                track.reporter.handle_sender_report(now, ntp);
                // §6.4.1: a sender without a clock says zero.
                track.report = (ntp != 0).then_some(Report { ntp, timestamp });
            }
        }
    }

    /// Lets time pass; early calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        for at in 0..self.tracks.len() {
            self.drain(now, at);
            let track = &mut self.tracks[at];
            if let Content::Mixed(unpacker) = &mut track.content {
                unpacker.handle_timeout(now);
            }
            if track.owed.is_some_and(|owed| now >= owed) {
                track.owed = Some(now + REPORTS);
                let report =
                    track.reporter.report(now, track.source.unwrap_or_default(), &mut track.statistics);
                self.reports.push_back((track.number, report));
            }
        }
        self.units.handle_timeout(now);
    }

    /// Nothing more will come: what waits for missing packets is read without them.
    pub fn finish(&mut self, now: Instant) {
        for at in 0..self.tracks.len() {
            // Each round reads up to the next gap.
            for _ in 0..WINDOW {
                let Some(due) = self.tracks[at].reorder.next_timeout() else { break };
                self.drain(due.max(now), at);
            }
        }
    }

    /// When to call `handle_timeout`.
    pub fn next_timeout(&self) -> Option<Instant> {
        let tracks = self.tracks.iter().flat_map(|track| {
            let unpacker = match &track.content {
                Content::Mixed(unpacker) => unpacker.next_timeout(),
                _ => None,
            };
            [track.reorder.next_timeout(), track.owed, unpacker]
        });
        tracks.chain([self.units.next_timeout()]).flatten().min()
    }

    /// The next output, or `None` until something is handled.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.units.poll_output().or_else(|| {
            self.tracks.iter_mut().find_map(|track| match &mut track.content {
                Content::Mixed(unpacker) => unpacker.poll_output(),
                _ => None,
            })
        })
    }

    /// A receiver report for the sender of a track.
    pub fn poll_report(&mut self) -> Option<(usize, Vec<u8>)> {
        self.reports.pop_front()
    }

    /// Packets that never came, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn drain(&mut self, now: Instant, at: usize) {
        while let Some(output) = self.tracks[at].reorder.poll_output(now) {
            match output {
                reorder::Output::Packet(data) => self.read(now, at, &data),
                reorder::Output::Lost(lost) => {
                    self.lost += lost;
                    self.handle_gap(at, lost, Fault::SequenceGap);
                }
                reorder::Output::Restarted => self.handle_gap(at, 1, Fault::SequenceRestart),
            }
        }
    }

    fn handle_gap(&mut self, at: usize, lost: u64, fault: Fault) {
        let units = &mut self.units;
        match &mut self.tracks[at].content {
            Content::Pictures(pictures) => {
                units.fault(fault);
                if pictures.handle_gap() {
                    units.fault(Fault::DamagedUnit);
                }
                units.handle_video_gap();
            }
            Content::Plain => units.fault(fault),
            Content::Aac(reader) => {
                units.fault(fault);
                reader.handle_gap();
            }
            Content::Mixed(unpacker) => unpacker.handle_gap(lost),
        }
    }

    /// Takes a track's next packet.
    fn read(&mut self, now: Instant, at: usize, data: &Bytes) {
        let Ok(packet) = rtp::Packet::parse(data) else { return };
        if packet.payload.is_empty() {
            return; // probes, and packets that keep a way through a firewall open
        }
        let picture = self.picture_time(at, packet.timestamp);
        let (units, track) = (&mut self.units, &mut self.tracks[at]);
        let rate = track.clock_rate;
        let tied = |stamp| match (stamp, picture) {
            (Stamp::Rtp { timestamp, rate }, Some(picture)) => Stamp::Tied { timestamp, rate, picture },
            (stamp, _) => stamp,
        };
        match &mut track.content {
            Content::Pictures(pictures) => {
                pictures.handle_packet(&packet);
                drain_pictures(now, pictures, units);
            }
            Content::Plain => {
                let payload = Bytes::copy_from_slice(packet.payload);
                units.handle_audio(now, payload, tied(Stamp::Rtp { timestamp: packet.timestamp, rate }));
            }
            Content::Aac(reader) => {
                let each = |frame, stamp| units.handle_aac(now, frame, tied(stamp));
                if reader.handle_packet(&packet, each).is_none() {
                    units.fault(Fault::BadPayload);
                }
            }
            Content::Mixed(unpacker) => unpacker.handle_packet(now, &packet),
        }
    }

    /// The RTP timestamp of a picture that belongs to the instant `timestamp` of track `at`, which is sound.
    fn picture_time(&self, at: usize, timestamp: u32) -> Option<u32> {
        let sound = &self.tracks[at];
        if sound.kind == Kind::Video {
            return None;
        }
        let video = self.tracks.iter().find(|track| track.kind == Kind::Video)?.report?;
        let report = sound.report?;
        let since = i128::from(timestamp.wrapping_sub(report.timestamp).cast_signed());
        let between = i128::from(report.ntp.wrapping_sub(video.ntp).cast_signed());
        let ticks = since * 90_000 / i128::from(sound.clock_rate.max(1)) + ((between * 90_000) >> 32);
        Some(video.timestamp.wrapping_add_signed(ticks as i32))
    }
}

impl Track {
    /// Whether a packet is the track's. One that is not counts only if it insists.
    fn expects(&mut self, packet: &rtp::Packet<'_>) -> bool {
        let source = *self.source.get_or_insert(packet.ssrc);
        let typed = packet.payload_type == self.payload_type;
        if typed && source == packet.ssrc {
            self.strange.1 = 0;
            return true;
        }
        // Payload types of comfort noise, events and retransmissions come between others; a wrong description does not.
        let sign = if typed { packet.ssrc } else { u32::from(packet.payload_type) };
        self.strange.1 = if self.strange.0 == sign { self.strange.1.saturating_add(1) } else { 1 };
        self.strange.0 = sign;
        if self.strange.1 < INSISTENCE {
            return false;
        }
        (self.payload_type, self.source) = (packet.payload_type, Some(packet.ssrc));
        if source != packet.ssrc {
            self.report = None;
        }
        self.strange.1 = 0;
        true
    }
}

fn drain_pictures(now: Instant, pictures: &mut Pictures, units: &mut Units) {
    while let Some(event) = pictures.poll_event() {
        match event {
            es::Event::Picture(data, stamp) => units.handle_video(now, data.freeze(), stamp),
            es::Event::Gap => units.handle_video_gap(),
            es::Event::Fault(fault) => units.fault(fault),
        }
    }
    if let Some(codec) = units.codec() {
        pictures.set_codec(codec);
    }
}

/// How a track is read; `None` if it cannot be.
fn content(media: &MediaDescription, options: Options) -> Option<Content> {
    let limit = options.frame_bytes_max;
    match media.encoding.as_str() {
        "MP2P" | "PS" | "MP2T" => {
            let mut unpacker = Unpacker::new(options);
            unpacker.expect([(media.payload_type, media.encoding.as_str())]);
            Some(Content::Mixed(Box::new(unpacker)))
        }
        _ if media.kind == Kind::Video => {
            let codec = video_codec(media)?;
            Some(Content::Pictures(Box::new(Pictures::new(codec, Packing::Rtp, limit))))
        }
        "PCMA" | "PCMU" => (media.clock_rate == 8_000).then_some(Content::Plain),
        "OPUS" => Some(Content::Plain),
        "MPEG4-GENERIC" => Some(Content::Aac(AacReader::new(sections(media)?, media.clock_rate))),
        "MP4A-LATM" => {
            let (_, frames) = latm_config(&media.audio_config()?)?;
            Some(Content::Aac(AacReader::new(Layout::Latm { frames }, media.clock_rate)))
        }
        _ => None,
    }
}

fn video_codec(media: &MediaDescription) -> Option<VideoCodec> {
    match media.encoding.as_str() {
        "H264" => Some(VideoCodec::H264),
        "H265" | "HEVC" => Some(VideoCodec::H265),
        _ => None,
    }
}

/// The header section that fmtp states (RFC 3640 §4.1); the sizes of `AAC-hbr` if it states none.
fn sections(media: &MediaDescription) -> Option<Layout> {
    let number = |name: &str| media.parameter(name).and_then(|value| value.parse::<u32>().ok());
    // Times in the headers (§3.2.1.1) are of no use to sound, and nobody sends them.
    let timed = ["ctsdeltalength", "dtsdeltalength", "auxiliarydatasizelength", "streamstateindication"];
    let plain = timed.iter().all(|name| number(name).unwrap_or(0) == 0);
    let stated = media.parameter("sizelength").is_some() || number("constantsize").is_some();
    let size = number("sizelength").unwrap_or(if stated { 0 } else { 13 });
    let (index, delta) =
        if stated { (number("indexlength"), number("indexdeltalength")) } else { (Some(3), Some(3)) };
    let (index, delta) = (index.unwrap_or(0), delta.unwrap_or(0));
    (plain && size <= 16 && index <= 16 && delta <= 16).then_some(Layout::Sections { size, index, delta })
}

/// Tells the units what the description says of the tracks that are read.
fn prepare(units: &mut Units, video: Option<&MediaDescription>, audio: Option<&MediaDescription>) {
    let codec = audio.and_then(|media| match media.encoding.as_str() {
        "PCMA" => Some(AudioCodec::G711A),
        "PCMU" => Some(AudioCodec::G711U),
        "OPUS" => Some(AudioCodec::Opus),
        "MPEG4-GENERIC" | "MP4A-LATM" => Some(AudioCodec::Aac),
        _ => None,
    });
    units.announce(video.and_then(video_codec), codec);
    let sets = video.map(MediaDescription::parameter_sets).unwrap_or_default();
    let sets: Vec<u8> =
        sets.iter().flat_map(|set| [&(set.len() as u32).to_be_bytes(), &set[..]].concat()).collect();
    if !sets.is_empty() {
        units.handle_sets(&sets);
    }
    let (Some(media), Some(codec)) = (audio, codec) else { return };
    if codec == AudioCodec::Aac {
        let stated = media.audio_config();
        let config = match (media.encoding.as_str(), stated) {
            // Behind the configuration other fields follow there: it is written anew.
            ("MP4A-LATM", Some(stated)) => {
                latm_config(&stated).and_then(|(config, _)| Config::parse(&config)).map(Config::to_bytes)
            }
            (_, stated) => stated,
        };
        let known = config.is_some_and(|config| units.sound.handle_config(&config.into()));
        if !known {
            let channels = media.channels.clamp(1, 7);
            units.sound.configure(Config { object_type: 2, sample_rate: media.clock_rate, channels });
        }
    } else {
        // RFC 7587 §7: rtpmap says two whatever is sent.
        let stereo = codec != AudioCodec::Opus || media.parameter("sprop-stereo") == Some("1");
        units.sound.set_channels(if stereo { media.channels.clamp(1, 2) } else { 1 });
    }
}

/// What a track is that cannot be read.
fn unsupported(media: &MediaDescription) -> &'static str {
    const KNOWN: [&str; 8] =
        ["L16", "G726-32", "G722", "MPA", "MP4V-ES", "JPEG", "SVAC", "VND.ONVIF.METADATA"];
    let known = KNOWN.iter().find(|name| media.encoding == **name);
    known.copied().unwrap_or(if media.kind == Kind::Video { "video" } else { "sound" })
}

#[cfg(test)]
mod tests;
