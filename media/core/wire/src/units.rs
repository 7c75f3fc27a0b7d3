//! From frames to access units: tracks, times, and when a stream may begin.
//!
//! Video waits for a key frame with its parameter sets, at the start and after every loss. Tracks are published
//! before the first unit that has them. Video that is ready waits for announced audio a moment, so that viewers
//! see both tracks from the start; audio alone begins if no video shows.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};

use crate::{
    bits::{self, Bits},
    fault::Fault,
    media::{AccessUnit, AudioCodec, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    nal::{self, NalKind, ParameterSet},
    parameter_sets::{self, ParameterSets, h264},
    payload::{audio_of_entry, video_of_stream_type},
    ps::MapEntry,
    sound::{Run, Sound},
    timeline::{Stamp, Timed, Timeline},
    unpack::{Options, Output},
};

/// So many bytes of a slice hold its type.
const HEAD: usize = 16;
/// What stands before each NAL unit.
const LENGTH: usize = 4;
/// How long a picture lasts of which nothing is known: 25 a second.
const PICTURE: Ticks = Ticks(Ticks::PER_SECOND / 25);

/// A PES packet of more pictures is none: what follows stays together. Bounds what one frame can turn into.
const JOINED_MAX: usize = 64;
/// So many pictures in vain show that no key frame comes (10 s of 25 a second).
const REFUSED_MAX: u16 = 250;

/// Makes the access units of one stream.
#[derive(Debug)]
pub(crate) struct Units {
    options: Options,
    timeline: Timeline,
    pub(crate) sound: Sound,
    announced: Option<VideoCodec>,
    sets: Option<ParameterSets>,
    tracks: Tracks,         // as known
    published: Arc<Tracks>, // as told
    changed: bool,          // the two differ
    awaits_key: bool,
    refused: u16,     // pictures that came while one was awaited
    keyless: bool,    // none comes: intra pictures take its place
    prefix: BytesMut, // NAL units that came without a picture
    begun: Option<Instant>,
    saw_video: bool,
    audio_announced: bool,
    muted: bool, // the sound is of a coding that is not carried
    started: bool,
    held: VecDeque<(Kind, Timed, bool, Bytes)>, // ready before the start
    held_since: Option<Instant>,
    spans: Vec<Range<usize>>,
    runs: Vec<Run>,
    output: VecDeque<Output>,
}

/// What the NAL units of a frame are.
#[derive(Debug, Default, Clone, Copy)]
struct Look {
    any: bool,
    slice: bool,
    key: bool,
    sets: bool,
}

impl Look {
    fn at(codec: VideoCodec, data: &[u8]) -> Self {
        let mut look = Self::default();
        for nal in nal::length_prefixed(data) {
            look.any = true;
            match nal::kind(codec, nal) {
                // Without its first slice it is the rest of a picture, at which no decoding can start.
                NalKind::KeySlice if !look.slice && nal::continues_picture(Some(codec), nal) => {
                    look.slice = true;
                }
                NalKind::KeySlice => (look.key, look.slice) = (look.key || !look.slice, true),
                NalKind::Slice => look.slice = true,
                NalKind::Set(_) => look.sets = true,
                _ => {}
            }
        }
        look
    }
}

/// Whether all slices of a picture of H.264 are intra coded (§7.4.3, table 7-6).
fn is_intra(data: &[u8]) -> bool {
    let is_intra = |nal: &[u8]| {
        let head = bits::unescape(nal, HEAD);
        let mut bits = Bits::new(head.get(1..)?);
        bits.ue()?; // first_mb_in_slice
        Some(matches!(bits.ue()?, 2 | 4 | 7 | 9))
    };
    nal::length_prefixed(data)
        .filter(|nal| nal::kind(VideoCodec::H264, nal).is_slice())
        .all(|nal| is_intra(nal) == Some(true))
}

impl Units {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            timeline: Timeline::new(),
            sound: Sound::new(),
            announced: None,
            sets: None,
            tracks: Tracks::default(),
            published: Arc::default(),
            changed: false,
            awaits_key: true,
            refused: 0,
            keyless: false,
            prefix: BytesMut::new(),
            begun: None,
            saw_video: false,
            audio_announced: false,
            muted: false,
            started: false,
            held: VecDeque::new(),
            held_since: None,
            spans: Vec::new(),
            runs: Vec::new(),
            output: VecDeque::new(),
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub(crate) fn tell(&mut self, output: Output) {
        self.output.push_back(output);
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.output.push_back(Output::Fault(fault));
    }

    /// The coding that the NAL units proved, or else the announced one.
    pub(crate) fn codec(&self) -> Option<VideoCodec> {
        self.sets.as_ref().map(ParameterSets::codec).or(self.announced)
    }

    /// The codings that a map or an answer announces.
    pub(crate) fn announce(&mut self, video: Option<VideoCodec>, audio: Option<AudioCodec>) {
        self.announced = video.or(self.announced);
        self.audio_announced = audio.is_some();
        self.sound.announce(audio);
        if !self.started {
            // What was guessed before is void: viewers are not to begin with it.
            self.tracks.audio = self.sound.track();
        }
    }

    /// The stream states the coding of the pictures that follow; sets of another coding are void.
    pub(crate) fn change_video(&mut self, codec: VideoCodec) {
        if self.announced.replace(codec) != Some(codec)
            && self.sets.as_ref().is_some_and(|sets| sets.codec() != codec)
        {
            self.sets = None;
            self.handle_video_gap();
        }
    }

    /// The stream states the coding of the sound that follows.
    pub(crate) fn change_audio(&mut self, codec: AudioCodec) {
        self.audio_announced = true;
        self.sound.announce(Some(codec));
    }

    /// Whether there will be sound, of whatever coding.
    pub(crate) fn expect_audio(&mut self, expected: bool) {
        self.audio_announced = expected;
    }

    /// The source begins anew, with a clock, parameter sets and sound of its own. Tracks that turn out as they were
    /// are not told again.
    pub(crate) fn handle_restart(&mut self) {
        self.timeline.handle_restart();
        self.sound = Sound::new();
        (self.announced, self.sets, self.tracks) = (None, None, Tracks::default());
        (self.started, self.saw_video, self.audio_announced, self.muted) = (false, false, false, false);
        (self.begun, self.held_since) = (None, None);
        (self.refused, self.keyless) = (0, false);
        self.held.clear();
        self.handle_video_gap();
    }

    /// What a program stream map says of the codings.
    pub(crate) fn handle_map(&mut self, video: Option<MapEntry>, audio: Option<MapEntry>) {
        let channels = audio.and_then(|entry| entry.channels);
        let (video, audio) =
            (video.map(|entry| video_of_stream_type(entry.stream_type)), audio.map(audio_of_entry));
        for name in [video.and_then(Result::err), audio.and_then(Result::err)].into_iter().flatten() {
            self.fault(Fault::UnsupportedCodec(name));
        }
        self.muted = matches!(audio, Some(Err(_)));
        self.announce(video.and_then(Result::ok), audio.and_then(Result::ok));
        if audio == Some(Ok(AudioCodec::Opus)) {
            self.sound.expect_control_headers();
            if let Some(channels) = channels {
                self.sound.set_channels(channels);
            }
        }
    }

    /// Video bytes are lost.
    pub(crate) fn handle_video_gap(&mut self) {
        self.awaits_key = true;
        self.prefix.clear();
    }

    /// A frame with start codes.
    pub(crate) fn handle_annex_b(&mut self, now: Instant, data: BytesMut, stamp: Stamp) {
        let data = nal::into_length_prefixed(data, &mut self.spans);
        self.handle_video(now, data.freeze(), stamp);
    }

    /// A frame with start codes that may hold several pictures; whether it did. Those behind the first one have no times.
    pub(crate) fn handle_pictures(&mut self, now: Instant, data: BytesMut, stamp: Stamp) -> bool {
        let mut data = nal::into_length_prefixed(data, &mut self.spans).freeze();
        let mut stamp = stamp;
        for joined in 0..JOINED_MAX {
            let Some(next) = self.next_picture(&data) else {
                self.handle_video(now, data, stamp);
                return joined > 0;
            };
            self.handle_video(now, data.split_to(next), stamp);
            stamp = Stamp::After(PICTURE);
        }
        self.handle_video(now, data, stamp);
        true
    }

    /// Where a second picture begins. Fields belong together in pairs: where there may be some, nothing is parted.
    fn next_picture(&self, data: &[u8]) -> Option<usize> {
        let codec = self.codec()?;
        let (mut at, mut sliced, mut begins) = (0, false, None);
        for nal in nal::length_prefixed(data) {
            if nal::kind(codec, nal).is_slice() {
                if sliced && nal::starts_access_unit(codec, nal) {
                    return begins.or(Some(at)).filter(|&at| !self.has_fields(codec, &data[..at]));
                }
                (sliced, begins) = (true, None);
            } else if sliced && nal::starts_access_unit(codec, nal) {
                begins = begins.or(Some(at));
            }
            at += LENGTH + nal.len();
        }
        None
    }

    /// Whether pictures may be fields, as the sets of this one say, else those that are known.
    fn has_fields(&self, codec: VideoCodec, picture: &[u8]) -> bool {
        let own = nal::length_prefixed(picture)
            .find(|nal| nal::kind(codec, nal) == NalKind::Set(ParameterSet::Sequence));
        let known = || self.tracks.video.as_ref()?.sps.first().map(|set| &set[..]);
        let set = own.or_else(known).filter(|_| codec == VideoCodec::H264);
        set.and_then(h264::frames_only) == Some(false)
    }

    /// A frame of NAL units behind 4-byte lengths.
    pub(crate) fn handle_video(&mut self, now: Instant, data: Bytes, stamp: Stamp) {
        self.begun.get_or_insert(now);
        self.saw_video = true;
        self.notice_codec(&data);
        let Some(codec) = self.codec() else {
            return self.fault(Fault::KeyFrameAwaited);
        };
        let look = Look::at(codec, &data);
        if !look.any {
            return self.fault(Fault::BadNal);
        }
        if look.sets {
            self.take_sets(codec, &data);
        }
        if !look.slice {
            return self.keep(&data);
        }
        let key = look.key || self.stands_in(codec, &data);
        self.keyless &= !look.key;
        if !self.may_decode(key) {
            self.prefix.clear();
            return;
        }
        let data = if self.prefix.is_empty() {
            data
        } else {
            self.prefix.extend_from_slice(&data);
            self.prefix.split().freeze()
        };
        self.emit(now, Kind::Video, stamp, key, data);
    }

    /// Whether a picture takes the place of key frames that never come: some cameras send intra pictures that are no IDR. Those
    /// that refresh pictures slice by slice, and send no intra picture either, are not shown.
    fn stands_in(&mut self, codec: VideoCodec, data: &[u8]) -> bool {
        self.keyless |= self.awaits_key && self.refused >= REFUSED_MAX;
        self.keyless && codec == VideoCodec::H264 && is_intra(data)
    }

    /// Parameter sets prove a coding; what was announced, or came before, gives way.
    fn notice_codec(&mut self, data: &[u8]) {
        let Some(proved) = nal::length_prefixed(data).find_map(nal::evidence) else { return };
        if self.sets.as_ref().is_some_and(|sets| sets.codec() == proved) {
            return;
        }
        match self.announced {
            Some(announced) if announced != proved => self.fault(Fault::PsmContradicts),
            Some(_) => {}
            None => self.fault(Fault::PsmMissing),
        }
        self.sets = Some(ParameterSets::new(proved));
        self.handle_video_gap();
    }

    /// Parameter sets apart from pictures, behind 4-byte lengths. New ones are in force from the next key frame on.
    pub(crate) fn handle_sets(&mut self, data: &[u8]) {
        self.notice_codec(data);
        let Some(codec) = self.codec() else { return };
        let before = self.tracks.video.clone();
        self.take_sets(codec, data);
        if before.is_some() && before != self.tracks.video {
            self.handle_video_gap();
        }
    }

    fn take_sets(&mut self, codec: VideoCodec, data: &[u8]) {
        let sets = self.sets.get_or_insert_with(|| ParameterSets::new(codec));
        let Ok(changed) = sets.handle_unit(nal::length_prefixed(data)) else {
            return self.fault(Fault::BadParameterSet);
        };
        if changed && let Some(track) = sets.track() {
            self.set_video(track);
        }
    }

    fn set_video(&mut self, track: VideoTrack) {
        if self.tracks.video.as_ref() != Some(&track) {
            let (depth, step) = parameter_sets::reordering(&track).unwrap_or((0, Ticks(0)));
            self.timeline.handle_order(depth, step);
            self.tracks.video = Some(track);
            self.changed = true;
        }
    }

    /// NAL units without a picture belong to the next one.
    fn keep(&mut self, data: &[u8]) {
        if self.prefix.len() + data.len() > self.options.frame_bytes_max {
            self.prefix.clear();
            return self.fault(Fault::FrameTooBig);
        }
        self.prefix.extend_from_slice(data);
    }

    fn may_decode(&mut self, key: bool) -> bool {
        if self.awaits_key && !key {
            self.refused = self.refused.saturating_add(1);
            self.fault(Fault::KeyFrameAwaited);
            return false;
        }
        let codec = self.codec();
        if self.tracks.video.as_ref().is_none_or(|track| Some(track.codec) != codec) {
            self.fault(Fault::ParameterSetsMissing);
            return false;
        }
        (self.awaits_key, self.refused) = (false, 0);
        true
    }

    /// The payload of an audio stream: a PES packet, or an RTP packet of G.711.
    pub(crate) fn handle_audio(&mut self, now: Instant, data: Bytes, stamp: Stamp) {
        if self.muted {
            return;
        }
        let (sound, output) = (&mut self.sound, &mut self.output);
        let mut fault = |fault| output.push_back(Output::Fault(fault));
        sound.handle_payload(data, stamp, &mut self.runs, &mut fault);
        self.emit_runs(now);
    }

    /// A frame of AAC without ADTS header.
    pub(crate) fn handle_aac(&mut self, now: Instant, data: Bytes, stamp: Stamp) {
        let (sound, output) = (&mut self.sound, &mut self.output);
        let mut fault = |fault| output.push_back(Output::Fault(fault));
        sound.handle_frame(data, stamp, &mut self.runs, &mut fault);
        self.emit_runs(now);
    }

    fn emit_runs(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
        let track = self.sound.track();
        if track.is_some() && self.tracks.audio != track {
            self.tracks.audio = track;
            self.changed = true;
        }
        let mut runs = std::mem::take(&mut self.runs);
        for Run { data, stamp } in runs.drain(..) {
            // Sound before the first picture would leave viewers with a black start: it waits, unheard.
            if self.started || !self.held.is_empty() || self.is_due(now) {
                self.emit(now, Kind::Audio, stamp, true, data);
            }
        }
        self.runs = runs;
    }

    fn emit(&mut self, now: Instant, kind: Kind, stamp: Stamp, key: bool, data: Bytes) {
        let timed = self.timeline.handle_unit(now, kind, stamp);
        if let Some(fault) = timed.fault {
            self.fault(fault);
        }
        if timed.early {
            return;
        }
        if self.started {
            return self.release(kind, timed, key, data);
        }
        if kind == Kind::Video {
            self.held_since.get_or_insert(now);
        }
        self.held.push_back((kind, timed, key, data));
        self.handle_timeout(now);
    }

    /// Hands a unit on, behind its tracks if these are new.
    fn release(&mut self, kind: Kind, timed: Timed, key: bool, data: Bytes) {
        if std::mem::take(&mut self.changed) && self.tracks != *self.published {
            self.published = Arc::new(self.tracks.clone());
            self.output.push_back(Output::Tracks(Arc::clone(&self.published)));
        }
        let Timed { dts, pts, .. } = timed;
        let tracks = Arc::clone(&self.published);
        self.output.push_back(Output::Unit(AccessUnit { kind, dts, pts, key, data, tracks }));
    }

    /// Until when the start waits; `None` if nothing is there to start with, or nothing to wait for.
    fn deadline(&self) -> Option<Instant> {
        if let Some(since) = self.held_since {
            return Some(since + self.options.audio_wait);
        }
        self.tracks.audio.as_ref()?;
        let wait = if self.saw_video { self.options.video_wait } else { self.options.audio_wait };
        Some(self.begun? + wait)
    }

    fn is_due(&self, now: Instant) -> bool {
        let complete = self.tracks.audio.is_some() || !self.audio_announced;
        let full = || self.held.iter().map(|unit| unit.3.len()).sum::<usize>() > self.options.frame_bytes_max;
        (self.held_since.is_some() && (complete || full())) || self.deadline().is_some_and(|due| now >= due)
    }

    /// Starts the stream if its time has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.started || !self.is_due(now) {
            return;
        }
        self.started = true;
        for (kind, timed, key, data) in std::mem::take(&mut self.held) {
            self.release(kind, timed, key, data);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if self.started { None } else { self.deadline() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        test_clock::start,
        testing::{H264_PPS, H264_SPS},
    };

    #[test]
    fn a_source_that_begins_anew_has_to_show_anew_that_no_key_frame_comes() {
        let mut units = Units::new(Options::default());
        let nals = [H264_SPS, H264_PPS, &[0x61, 0x88, 0x84]];
        let picture: Vec<u8> = nals.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect();
        let shown = |units: &mut Units, timestamp: u32| {
            let stamp = Stamp::Rtp { timestamp, rate: 90_000 };
            units.handle_annex_b(start(), BytesMut::from(&picture[..]), stamp);
            std::iter::from_fn(|| units.poll_output()).any(|output| matches!(output, Output::Unit(_)))
        };
        for _ in 0..2 {
            units.handle_restart();
            let first = (0..1000).position(|number| shown(&mut units, number * 3600));
            assert_eq!(first, Some(usize::from(REFUSED_MAX)));
        }
    }
}
