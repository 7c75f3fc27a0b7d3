//! Reads FLV: the tags of a stream (HTTP-FLV), or RTMP's messages, which have the same bodies. Comes out what comes out
//! of every reader: tracks, access units and faults ([`Output`]).
//!
//! [`TagReader`] takes tags; [`FlvReader`] takes the bytes of a stream and finds the tags itself.

pub(crate) mod body;
mod split;

use std::{ops::Range, time::Instant};

use bytes::{BufMut, Bytes, BytesMut};

pub use self::split::{FlvError, Tag, TagKind};
use self::{
    body::{Audio, Video},
    split::{Piece, Splitter},
};
use crate::{
    aac::Adts,
    avc,
    fault::Fault,
    hevc,
    media::{AudioCodec, VideoCodec},
    nal, opus,
    timeline::Stamp,
    units::Units,
    unpack::{Options, Output, Payload},
};

/// A longer sequence header is refused.
const RECORD_MAX: usize = 64 << 10;
/// What a video tag has besides its NAL units, at most.
const PREFIX_MAX: usize = 64 << 10;

/// From tags to access units.
#[derive(Debug)]
pub struct TagReader {
    frame_bytes_max: usize,
    units: Units,
    length_size: usize,
    /// Codings that are not carried and were told of: video, audio.
    unsupported: [Option<&'static str>; 2],
    told: bool,
    spans: Vec<Range<usize>>,
}

impl TagReader {
    /// A stream that has not begun.
    pub fn new(options: Options) -> Self {
        Self {
            frame_bytes_max: options.frame_bytes_max,
            units: Units::new(options),
            length_size: 4,
            unsupported: [None; 2],
            told: false,
            spans: Vec::new(),
        }
    }

    /// Whether sound is to be expected, as a file header or onMetaData says: the start waits a moment for it.
    pub fn expect_audio(&mut self, expected: bool) {
        self.units.expect_audio(expected);
    }

    /// Takes the next tag. Scripts are passed over.
    pub fn handle_tag(&mut self, now: Instant, tag: &Tag) {
        match tag.kind {
            TagKind::Video => match body::video(&tag.body) {
                Some(video) => self.handle_video(now, tag.millis, video),
                // Servers send empty tags to keep a connection alive.
                None if tag.body.is_empty() => {}
                None => self.units.fault(Fault::BadTag),
            },
            TagKind::Audio => match body::audio(&tag.body) {
                Some(audio) => self.handle_audio(now, tag.millis, audio),
                None if tag.body.is_empty() => {}
                None => self.units.fault(Fault::BadTag),
            },
            TagKind::Script => {}
        }
    }

    /// Tags are missing: video goes on at the next key frame.
    pub fn handle_gap(&mut self) {
        self.units.sound.handle_gap();
        self.units.handle_video_gap();
    }

    /// The source begins anew, with another clock, other sequence headers and perhaps other tracks; the stream's own
    /// clock goes on.
    pub fn handle_restart(&mut self) {
        self.units.handle_restart();
        (self.length_size, self.unsupported) = (4, [None; 2]);
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

    fn handle_video(&mut self, now: Instant, millis: u32, video: Video) {
        match video {
            Video::Header(codec, record) => {
                self.tell();
                self.units.change_video(codec);
                self.handle_record(codec, &record);
            }
            Video::Picture(_, _, data) if data.is_empty() => {}
            Video::Picture(codec, delay, data) => {
                self.tell();
                self.units.change_video(codec);
                let stamp = Stamp::Millis { decoded: millis, delay };
                match self.normalise(data) {
                    Ok(data) => self.units.handle_video(now, data, stamp),
                    Err(fault) => {
                        self.units.fault(fault);
                        self.units.handle_video_gap();
                    }
                }
            }
            Video::Aside => {}
            Video::Unsupported(name) => self.refuse(0, name),
        }
    }

    /// The parameter sets of a sequence header, which pictures need not repeat.
    fn handle_record(&mut self, codec: VideoCodec, record: &[u8]) {
        let read = match codec {
            _ if record.len() > RECORD_MAX => None,
            VideoCodec::H264 => avc::read_record(record),
            VideoCodec::H265 => hevc::read_record(record),
        };
        let Some(read) = read else { return self.units.fault(Fault::BadSequenceHeader) };
        self.length_size = read.length_size;
        let mut sets = Vec::with_capacity(record.len());
        for set in read.sets {
            sets.put_u32(set.len() as u32);
            sets.put_slice(set);
        }
        self.units.handle_sets(&sets);
    }

    /// NAL units behind lengths of 4 bytes, whatever they stand behind; nothing is copied if that is so already.
    fn normalise(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        if data.len() > self.frame_bytes_max {
            return Err(Fault::FrameTooBig);
        }
        if let Some(nals) = split_nals(&data, self.length_size) {
            if self.length_size == 4 && nals.iter().all(|nal| !nal.is_empty()) {
                return Ok(data);
            }
            let mut out = BytesMut::with_capacity(nals.iter().map(|nal| nal.len() + 4).sum());
            for nal in nals.into_iter().filter(|nal| !nal.is_empty()) {
                out.put_u32(nal.len() as u32);
                out.put_slice(nal);
            }
            return Ok(out.freeze());
        }
        if data.starts_with(&[0, 0, 0, 1]) || data.starts_with(&[0, 0, 1]) {
            self.units.fault(Fault::StartCodes);
            let data = BytesMut::from(&data[..]);
            return Ok(nal::into_length_prefixed(data, &mut self.spans).freeze());
        }
        Err(Fault::NalLengths)
    }

    fn handle_audio(&mut self, now: Instant, millis: u32, audio: Audio) {
        let stamp = Stamp::Millis { decoded: millis, delay: 0 };
        match audio {
            Audio::Header(config) => {
                self.tell();
                self.units.change_audio(AudioCodec::Aac);
                if !self.units.sound.handle_config(&config) {
                    self.units.fault(Fault::BadSequenceHeader);
                }
            }
            Audio::Aac(data) if data.is_empty() => {}
            Audio::Aac(data) => {
                self.tell();
                self.units.change_audio(AudioCodec::Aac);
                if Adts::fits(&data) {
                    self.units.handle_audio(now, data, stamp);
                } else if self.units.sound.is_configured() {
                    self.units.handle_aac(now, data, stamp);
                } else {
                    self.units.fault(Fault::ParameterSetsMissing);
                }
            }
            Audio::OpusHead(head) => {
                self.tell();
                self.units.change_audio(AudioCodec::Opus);
                match opus::stated_channels(&head) {
                    Some(channels) => self.units.sound.set_channels(channels),
                    None => self.units.fault(Fault::BadSequenceHeader),
                }
            }
            Audio::Opus(data) if data.is_empty() => {}
            Audio::Opus(data) => {
                self.tell();
                self.units.change_audio(AudioCodec::Opus);
                self.units.handle_audio(now, data, stamp);
            }
            Audio::G711(codec, channels, data) => {
                self.tell();
                self.units.change_audio(codec);
                self.units.sound.set_channels(channels);
                self.units.handle_audio(now, data, stamp);
            }
            Audio::Aside => {}
            Audio::Unsupported(name) => {
                self.units.expect_audio(false);
                self.refuse(1, name);
            }
        }
    }

    /// Counts a coding that is not carried once, not with each of its frames.
    fn refuse(&mut self, track: usize, name: &'static str) {
        if self.unsupported[track].replace(name) != Some(name) {
            self.units.fault(Fault::UnsupportedCodec(name));
        }
    }

    fn tell(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.units.tell(Output::Payload(Payload::Flv));
        }
    }
}

/// The NAL units behind lengths of `size` bytes; `None` if these do not add up to the whole.
fn split_nals(mut data: &[u8], size: usize) -> Option<Vec<&[u8]>> {
    let mut nals = Vec::with_capacity(8);
    while !data.is_empty() {
        let (len, rest) = data.split_at_checked(size)?;
        let len = len.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
        let (nal, rest) = rest.split_at_checked(len)?;
        nals.push(nal);
        data = rest;
    }
    Some(nals)
}

/// From the bytes of an FLV file or stream to access units.
#[derive(Debug)]
pub struct FlvReader {
    splitter: Splitter,
    body_max: usize,
    begun: bool,
    count: u32,
    tags: TagReader,
}

impl FlvReader {
    /// Before the first byte.
    pub fn new(options: Options) -> Self {
        let body_max = options.frame_bytes_max.saturating_add(PREFIX_MAX);
        Self {
            splitter: Splitter::new(body_max),
            body_max,
            begun: false,
            count: 0,
            tags: TagReader::new(options),
        }
    }

    /// Takes the next bytes of the connection. After an error nothing more comes of it.
    pub fn handle_bytes(&mut self, now: Instant, data: &[u8]) -> Result<(), FlvError> {
        self.splitter.handle_bytes(data);
        while let Some(piece) = self.splitter.poll()? {
            match piece {
                Piece::Header { audio } => {
                    if std::mem::replace(&mut self.begun, true) {
                        self.tags.handle_restart();
                    }
                    self.tags.expect_audio(audio);
                }
                Piece::Tag(tag) => {
                    self.count += 1;
                    self.tags.handle_tag(now, &tag);
                }
                Piece::OddTag(tag) => {
                    self.count += 1;
                    self.tags.units.fault(Fault::BackPointer);
                    self.tags.handle_tag(now, &tag);
                }
                Piece::Gap(fault) => {
                    self.tags.units.fault(fault);
                    self.tags.handle_gap();
                }
            }
        }
        Ok(())
    }

    /// How many tags came since it was asked last.
    pub fn take_tags(&mut self) -> u32 {
        std::mem::take(&mut self.count)
    }

    /// Another connection takes the place of the last one: what follows begins with a file header again.
    pub fn handle_reconnect(&mut self) {
        self.splitter = Splitter::new(self.body_max);
    }

    /// Lets time pass; early calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tags.handle_timeout(now);
    }

    /// When to call `handle_timeout`.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.tags.next_timeout()
    }

    /// The next output, or `None` until something is handled.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.tags.poll_output()
    }
}
