//! Reads fragmented MP4 as HLS carries it (ISO/IEC 14496-12 §8.8, RFC 8216 §3.3): an initialisation section, then
//! segments of fragments. The first video and the first audio track are used.

mod boxes;

use std::{ops::Range, time::Instant};

use bytes::{BufMut, Bytes, BytesMut};

use self::boxes::{Fragment, Sample, Track};
use crate::{
    avc,
    fault::Fault,
    hevc,
    media::{AudioCodec, Kind, VideoCodec},
    timeline::{MASK_33, Stamp},
    units::Units,
    unpack::{Options, Output},
};

/// Samples of one segment.
const SAMPLES_MAX: usize = 200_000;

/// Why bytes are no fragmented MP4 that can be read; the text says what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMp4(&'static str);

/// What the samples of a track are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Coding {
    Video {
        codec: VideoCodec,
        length_size: usize,
    },
    Aac,
    /// G.711 or Opus.
    Plain(AudioCodec),
}

/// From initialisation section and segments to access units.
#[derive(Debug)]
pub struct Mp4Reader {
    frame_bytes_max: usize,
    units: Units,
    tracks: Vec<(Track, Coding)>,
    count: u32,
}

impl Mp4Reader {
    /// Before the initialisation section.
    pub fn new(options: Options) -> Self {
        let frame_bytes_max = options.frame_bytes_max;
        Self { frame_bytes_max, units: Units::new(options), tracks: Vec::new(), count: 0 }
    }

    /// Takes the initialisation section, in force for the segments that follow.
    pub fn handle_init(&mut self, data: &[u8]) -> Result<(), BadMp4> {
        let found = boxes::tracks(data).ok_or(BadMp4("the initialisation section cannot be read"))?;
        self.tracks.clear();
        let mut seen = [false; 2];
        for track in found {
            let kind = if track.handler == *b"vide" { Kind::Video } else { Kind::Audio };
            if std::mem::replace(&mut seen[usize::from(kind == Kind::Audio)], true) {
                continue;
            }
            if let Some(coding) = self.announce(&track) {
                self.tracks.push((track, coding));
            }
        }
        if self.tracks.is_empty() {
            return Err(BadMp4("the initialisation section has no track that can be carried"));
        }
        let sound = self.tracks.iter().any(|(_, coding)| !matches!(coding, Coding::Video { .. }));
        self.units.expect_audio(sound);
        Ok(())
    }

    /// Tells the units what the track is; `None` if it is not carried.
    fn announce(&mut self, track: &Track) -> Option<Coding> {
        let video = |codec| Some(Coding::Video { codec, length_size: 4 });
        let coding = match &track.entry {
            b"avc1" | b"avc3" => video(VideoCodec::H264),
            b"hvc1" | b"hev1" => video(VideoCodec::H265),
            b"mp4a" => Some(Coding::Aac),
            b"alaw" => Some(Coding::Plain(AudioCodec::G711A)),
            b"ulaw" => Some(Coding::Plain(AudioCodec::G711U)),
            b"Opus" => Some(Coding::Plain(AudioCodec::Opus)),
            _ => None,
        };
        match coding {
            Some(Coding::Video { codec, .. }) => {
                self.units.change_video(codec);
                let record = match codec {
                    VideoCodec::H264 => avc::read_record(&track.config),
                    VideoCodec::H265 => hevc::read_record(&track.config),
                };
                let Some(record) = record else {
                    self.units.fault(Fault::BadSequenceHeader);
                    return None;
                };
                let mut sets = Vec::with_capacity(track.config.len());
                for set in &record.sets {
                    sets.put_u32(set.len() as u32);
                    sets.put_slice(set);
                }
                self.units.handle_sets(&sets);
                Some(Coding::Video { codec, length_size: record.length_size })
            }
            Some(Coding::Aac) => {
                self.units.change_audio(AudioCodec::Aac);
                if !self.units.sound.handle_config(&track.config) {
                    self.units.fault(Fault::UnsupportedCodec("audio of an unknown type"));
                    return None;
                }
                coding
            }
            Some(Coding::Plain(codec)) => {
                self.units.change_audio(codec);
                // `dOps`: a version, then how many channels come out.
                if let (AudioCodec::Opus, &[_, channels @ 1..=2, ..]) = (codec, &track.config[..]) {
                    self.units.sound.set_channels(channels);
                }
                coding
            }
            None => {
                let name = if track.handler == *b"vide" {
                    "video of an unknown type"
                } else {
                    "audio of an unknown type"
                };
                self.units.fault(Fault::UnsupportedCodec(name));
                None
            }
        }
    }

    /// Takes one whole segment. What is wrong in it costs the samples that it hits.
    pub fn handle_segment(&mut self, now: Instant, data: &Bytes) -> Result<(), BadMp4> {
        let mut samples: Vec<(usize, Sample)> = Vec::new();
        let mut fragments = 0;
        for Fragment { track_id, samples: found } in
            boxes::fragments(data, &self.tracks, SAMPLES_MAX).ok_or(BadMp4("the segment cannot be read"))?
        {
            fragments += 1;
            let Some(at) = self.tracks.iter().position(|(track, _)| track.id == track_id) else { continue };
            samples.extend(found.into_iter().map(|sample| (at, sample)));
        }
        if fragments == 0 {
            return Err(BadMp4("the segment has no fragment"));
        }
        samples.sort_by_key(|(_, sample)| sample.dts);
        for (at, sample) in samples {
            self.handle_sample(now, at, data, &sample);
        }
        Ok(())
    }

    fn handle_sample(&mut self, now: Instant, at: usize, data: &Bytes, sample: &Sample) {
        self.count += 1;
        let Range { start, end } = sample.range;
        if end > data.len() || start >= end {
            return self.units.fault(Fault::BadTag);
        }
        let bytes = data.slice(start..end);
        let (pts, dts) = (sample.pts.cast_unsigned(), Some(sample.dts.cast_unsigned()));
        let stamp = Stamp::Pes { pts: pts & MASK_33, dts: dts.map(|dts| dts & MASK_33) };
        match self.tracks[at].1 {
            Coding::Video { codec, length_size } => {
                self.units.change_video(codec);
                if let Some(data) = self.with_lengths_of_4(&bytes, length_size) {
                    self.units.handle_video(now, data, stamp);
                } else {
                    self.units.fault(Fault::NalLengths);
                    self.units.handle_video_gap();
                }
            }
            Coding::Aac => self.units.handle_aac(now, Bytes::copy_from_slice(&bytes), stamp),
            Coding::Plain(_) => self.units.handle_audio(now, Bytes::copy_from_slice(&bytes), stamp),
        }
    }

    /// The sample apart from its segment, so that one kept picture does not keep the whole segment.
    fn with_lengths_of_4(&self, sample: &[u8], size: usize) -> Option<Bytes> {
        if sample.len() > self.frame_bytes_max {
            return None;
        }
        let mut out = BytesMut::with_capacity(sample.len() + 16);
        let mut rest = sample;
        while !rest.is_empty() {
            let (len, behind) = rest.split_at_checked(size)?;
            let len = len.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
            let (nal, behind) = behind.split_at_checked(len)?;
            if !nal.is_empty() {
                out.put_u32(nal.len() as u32);
                out.put_slice(nal);
            }
            rest = behind;
        }
        Some(out.freeze())
    }

    /// Segments are missing; video goes on at the next key frame.
    pub fn handle_gap(&mut self) {
        self.units.sound.handle_gap();
        self.units.handle_video_gap();
    }

    /// What follows is another stream, which begins with its own initialisation section.
    pub fn handle_restart(&mut self) {
        self.units.handle_restart();
        self.tracks.clear();
    }

    /// How many samples came since it was asked last.
    pub fn take_samples(&mut self) -> u32 {
        std::mem::take(&mut self.count)
    }

    /// Lets time pass; early calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.units.handle_timeout(now);
    }

    /// The next output, or `None` until something is handled.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.units.poll_output()
    }
}
