//! MPEG-TS (ISO/IEC 13818-1): one programme with the stream's video and sound.
//!
//! G.711 has no stream type of its own; 0x90 (A-law) and 0x91 (µ-law), private numbers that surveillance players know
//! from the programme stream, announce it. A player that does not know them waits for what it cannot identify, so G.711
//! beside video is carried for those who ask ([`Sound`]). Opus is private data under its registration ("Opus"), each
//! packet behind a control header, as ffmpeg, VLC and `GStreamer` read it.

use bytes::{BufMut, BytesMut};

use crate::{
    adts,
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    nal::{self, NalKind},
    opus,
};

const PACKET_SIZE: usize = 188;
const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
/// How far PTS and DTS run behind the PCR, so that sound which comes late is still in time.
const DELAY: Ticks = Ticks::from_millis(700);

/// Which sound a programme has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sound {
    /// All that has a number.
    #[default]
    All,
    /// No G.711 beside video: players that do not know its number wait for it.
    Standard,
    /// None beside video.
    Silent,
}

/// Writes one stream as transport packets. Continuity counters run on from segment to segment.
#[derive(Debug, Default)]
pub struct TsMuxer {
    programme_counters: [u8; 2],
    video_counter: u8,
    audio_counter: u8,
    sound: Sound,
    /// The map last written and its version (§2.4.4.9), which changes with it.
    programme: Vec<u8>,
    version: u8,
    scratch: Vec<u8>,
}

impl TsMuxer {
    /// A muxer whose counters start at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// A muxer that carries no other sound.
    pub fn with_sound(sound: Sound) -> Self {
        Self { sound, ..Self::default() }
    }

    /// Appends PAT and PMT; they open each segment.
    pub fn write_tables(&mut self, tracks: &Tracks, out: &mut BytesMut) {
        let programme = programme(tracks, self.sound);
        if self.programme != programme {
            self.version = if self.programme.is_empty() { 0 } else { (self.version + 1) & 0x1F };
            self.programme = programme;
        }
        let [pat, pmt] = &mut self.programme_counters;
        let [pmt_high, pmt_low] = PMT_PID.to_be_bytes();
        put_section(out, 0, pat, &section(0, 0, &[0, 1, 0xE0 | pmt_high, pmt_low]));
        put_section(out, PMT_PID, pmt, &section(2, self.version, &self.programme));
    }

    /// Appends the packets of one unit; false if its track is not carried. Pictures get the delimiter and key frames
    /// the parameter sets that the device left out.
    pub fn write(&mut self, unit: &AccessUnit, out: &mut BytesMut) -> bool {
        self.scratch.clear();
        let carried = match unit.kind {
            Kind::Video => {
                unit.tracks.video.as_ref().map(|track| put_picture(&mut self.scratch, unit, track))
            }
            Kind::Audio => {
                audible(&unit.tracks, self.sound).and_then(|track| put_sound(&mut self.scratch, unit, track))
            }
        };
        if carried.is_none() {
            return false;
        }
        let (pid, counter) = match unit.kind {
            Kind::Video => (VIDEO_PID, &mut self.video_counter),
            Kind::Audio => (AUDIO_PID, &mut self.audio_counter),
        };
        let has_clock = unit.kind == Kind::Video || unit.tracks.video.is_none();
        let opening = Opening { clock: has_clock.then_some(unit.dts), random_access: unit.key && has_clock };
        put_packets(out, pid, counter, &opening, &self.scratch);
        true
    }
}

/// What the adaptation field of a unit's first packet says.
struct Opening {
    clock: Option<Ticks>,
    random_access: bool,
}

impl Opening {
    /// Flags and fields (§2.4.3.4), without the length in front; empty if there is nothing to say.
    fn bytes(&self) -> Vec<u8> {
        let random_access = u8::from(self.random_access) << 6;
        match self.clock {
            None if random_access == 0 => Vec::new(),
            None => vec![random_access],
            Some(clock) => {
                let base = clock.0.cast_unsigned() & 0x1_FFFF_FFFF;
                let [.., b0, b1, b2, b3, b4, b5] = (base << 15 | 0x3F << 9).to_be_bytes();
                vec![0x10 | random_access, b0, b1, b2, b3, b4, b5]
            }
        }
    }
}

fn stream_type(codec: AudioCodec) -> u8 {
    match codec {
        AudioCodec::Aac => 0x0F,
        AudioCodec::G711A => 0x90,
        AudioCodec::G711U => 0x91,
        AudioCodec::Opus => 0x06,
    }
}

/// The descriptors of sound: the registration, and how many channels there are.
fn descriptors(track: &AudioTrack) -> Vec<u8> {
    match track.codec {
        AudioCodec::Opus => [&[5, 4], &opus::REGISTRATION[..], &[0x7F, 2, 0x80, track.channels]].concat(),
        _ => Vec::new(),
    }
}

/// The sound that is carried.
fn audible(tracks: &Tracks, sound: Sound) -> Option<&AudioTrack> {
    let carried = |codec| match sound {
        _ if tracks.video.is_none() => true,
        Sound::All => true,
        Sound::Standard => matches!(codec, AudioCodec::Aac | AudioCodec::Opus),
        Sound::Silent => false,
    };
    tracks.audio.as_ref().filter(|track| carried(track.codec))
}

/// The body of the PMT (§2.4.4.8).
fn programme(tracks: &Tracks, sound: Sound) -> Vec<u8> {
    let clock_pid = if tracks.video.is_some() { VIDEO_PID } else { AUDIO_PID };
    let video = tracks.video.as_ref().map(|track| match track.codec {
        VideoCodec::H264 => (0x1B, VIDEO_PID, Vec::new()),
        VideoCodec::H265 => (0x24, VIDEO_PID, Vec::new()),
    });
    let audio = audible(tracks, sound).map(|track| (stream_type(track.codec), AUDIO_PID, descriptors(track)));
    let mut out = Vec::with_capacity(24);
    out.put_u16(0xE000 | clock_pid);
    out.put_u16(0xF000); // no descriptors
    for (stream_type, pid, descriptors) in video.into_iter().chain(audio) {
        out.put_u8(stream_type);
        out.put_u16(0xE000 | pid);
        out.put_u16(0xF000 | descriptors.len() as u16);
        out.put_slice(&descriptors);
    }
    out
}

/// A section for programme 1, current, with its CRC (§2.4.4.3).
fn section(table_id: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![table_id];
    out.put_u16(0xB000 | (body.len() + 9) as u16);
    out.put_slice(&[0, 1, 0xC1 | version << 1, 0, 0]);
    out.put_slice(body);
    out.put_u32(crc32(&out));
    out
}

/// The CRC of annex A.
fn crc32(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 }
        })
    })
}

fn put_section(out: &mut BytesMut, pid: u16, counter: &mut u8, section: &[u8]) {
    put_packet_header(out, pid, true, 1, counter);
    out.put_u8(0); // pointer_field
    out.put_slice(section);
    out.put_bytes(0xFF, PACKET_SIZE - 5 - section.len());
}

fn put_packet_header(out: &mut BytesMut, pid: u16, unit_start: bool, fields: u8, counter: &mut u8) {
    out.put_u8(0x47);
    out.put_u16(u16::from(unit_start) << 14 | pid);
    out.put_u8(fields << 4 | *counter);
    *counter = (*counter + 1) & 0x0F;
}

/// Cuts a PES packet into transport packets; the last is filled up inside its adaptation field (§2.4.3.5).
fn put_packets(out: &mut BytesMut, pid: u16, counter: &mut u8, opening: &Opening, mut pes: &[u8]) {
    out.reserve((pes.len() / 184 + 2) * PACKET_SIZE);
    let mut field = opening.bytes();
    let mut unit_start = true;
    while !pes.is_empty() {
        let fixed = if field.is_empty() { 0 } else { 1 + field.len() };
        let taken = pes.len().min(184 - fixed);
        let field_size = 184 - taken;
        put_packet_header(out, pid, unit_start, if field_size == 0 { 1 } else { 3 }, counter);
        if field_size > 0 {
            out.put_u8((field_size - 1) as u8);
        }
        if field_size > 1 {
            if field.is_empty() {
                field.push(0);
            }
            out.put_slice(&field);
            out.put_bytes(0xFF, field_size - 1 - field.len());
        }
        out.put_slice(&pes[..taken]);
        pes = &pes[taken..];
        field.clear();
        unit_start = false;
    }
}

/// The PES header (§2.4.3.6). A length that 16 bits cannot hold is written as 0, which video may do.
fn put_pes_header(out: &mut Vec<u8>, unit: &AccessUnit, payload_size: usize) {
    let timed_twice = unit.pts != unit.dts;
    let times = if timed_twice { 10 } else { 5 };
    let opus = unit.tracks.audio.as_ref().is_some_and(|track| track.codec == AudioCodec::Opus);
    let stream_id = match unit.kind {
        Kind::Video => 0xE0,
        Kind::Audio if opus => 0xBD, // private_stream_1
        Kind::Audio => 0xC0,
    };
    out.put_slice(&[0, 0, 1, stream_id]);
    out.put_u16(u16::try_from(payload_size + 3 + times).unwrap_or(0));
    out.put_slice(&[0x84, if timed_twice { 0xC0 } else { 0x80 }, times as u8]);
    put_time(out, if timed_twice { 3 } else { 2 }, unit.pts + DELAY);
    if timed_twice {
        put_time(out, 1, unit.dts + DELAY);
    }
}

/// 33 bits in five bytes, between marker bits.
fn put_time(out: &mut Vec<u8>, prefix: u8, time: Ticks) {
    let time = time.0.cast_unsigned();
    out.put_u8(prefix << 4 | (time >> 29) as u8 & 0x0E | 1);
    out.put_u16((time >> 14) as u16 | 1);
    out.put_u16((time << 1) as u16 | 1);
}

fn put_picture(out: &mut Vec<u8>, unit: &AccessUnit, track: &VideoTrack) {
    let delimiter: &[u8] = match track.codec {
        VideoCodec::H264 => &[0x09, 0xF0],
        VideoCodec::H265 => &[0x46, 0x01, 0x50],
    };
    let kind = |nal: &&[u8]| nal::kind(track.codec, nal);
    let content = nal::length_prefixed(&unit.data).filter(|nal| kind(nal) != NalKind::Delimiter);
    let has_sets = content.clone().any(|nal| matches!(kind(&nal), NalKind::Set(_)));
    let sets = [&track.vps, &track.sps, &track.pps].into_iter().flatten().map(AsRef::as_ref);
    let repeated = sets.filter(|_| unit.key && !has_sets);
    let nals = std::iter::once(delimiter).chain(repeated).chain(content);
    let size = nals.clone().map(|nal| 4 + nal.len()).sum();
    put_pes_header(out, unit, size);
    for nal in nals {
        out.put_slice(&[0, 0, 0, 1]);
        out.put_slice(nal);
    }
}

fn put_sound(out: &mut Vec<u8>, unit: &AccessUnit, track: &AudioTrack) -> Option<()> {
    let header = match track.codec {
        AudioCodec::Aac => adts::header(track, unit.data.len())?.to_vec(),
        AudioCodec::Opus => {
            let mut header = Vec::with_capacity(4);
            opus::put_control_header(&mut header, unit.data.len());
            header
        }
        _ => Vec::new(),
    };
    let size = header.len() + unit.data.len();
    (size < 0xFF00).then_some(())?; // only video may leave its length open
    put_pes_header(out, unit, size);
    out.put_slice(&header);
    out.put_slice(&unit.data);
    Some(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing;

    /// Payload and adaptation field of each packet of `pid`, continuity checked.
    fn packets(data: &[u8], pid: u16) -> Vec<(Vec<u8>, Vec<u8>)> {
        assert_eq!(data.len() % PACKET_SIZE, 0);
        let mut counter = 0;
        let mut found = Vec::new();
        for packet in data.chunks(PACKET_SIZE) {
            assert_eq!(packet[0], 0x47);
            if u16::from_be_bytes([packet[1] & 0x1F, packet[2]]) != pid {
                continue;
            }
            assert_eq!(packet[3] & 0x0F, counter);
            counter = (counter + 1) & 0x0F;
            let field_size = if packet[3] & 0x20 == 0 { 0 } else { 1 + usize::from(packet[4]) };
            found.push((packet[4..4 + field_size].to_vec(), packet[4 + field_size..].to_vec()));
        }
        found
    }

    fn written(units: &[AccessUnit]) -> BytesMut {
        let (mut muxer, mut out) = (TsMuxer::new(), BytesMut::new());
        muxer.write_tables(&units[0].tracks, &mut out);
        assert!(units.iter().all(|unit| muxer.write(unit, &mut out)));
        out
    }

    #[test]
    fn the_tables_name_the_streams() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H265, Some(AudioCodec::G711A)));
        let out = written(&[testing::video(&tracks, 0, 0, true)]);
        let pat = &packets(&out, 0)[0].1;
        assert_eq!(pat[..13], [0, 0, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0]);
        assert_eq!(pat[13..17], 0x2AB1_04B2_u32.to_be_bytes(), "the checksum every such PAT has");
        let pmt = &packets(&out, PMT_PID)[0].1;
        let streams = [0x24, 0xE1, 0x00, 0xF0, 0, 0x90, 0xE1, 0x01, 0xF0, 0];
        assert_eq!(pmt[9..23], [&[0xE1, 0x00, 0xF0, 0], &streams[..]].concat());
    }

    #[test]
    fn a_picture_has_delimiter_sets_clock_and_times() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let mut unit = testing::video(&tracks, 1000, 1080, true);
        unit.data = testing::length_prefixed(&[testing::H264_IDR]).into();
        let out = written(&[unit]);
        let [(field, payload)] = packets(&out, VIDEO_PID).try_into().expect("one packet");
        assert_eq!(field[1], 0x50, "random access and PCR");
        assert_eq!(field[2..8], (90_000_u64 << 15 | 0x7E00).to_be_bytes()[2..]);
        assert_eq!(payload[..4], [0, 0, 1, 0xE0]);
        assert_eq!(usize::from(u16::from_be_bytes([payload[4], payload[5]])), payload.len() - 6);
        let pts = (1080 + 700) * 90_u64;
        assert_eq!(payload[9], 0x31 | (pts >> 29) as u8);
        let low = u64::from(payload[12]) << 7 | u64::from(payload[13]) >> 1;
        assert_eq!(low, pts & 0x7FFF);
        let nals = [testing::H264_AUD, testing::H264_SPS, testing::H264_PPS, testing::H264_IDR];
        let annex_b: Vec<u8> = nals.iter().flat_map(|nal| [b"\0\0\0\x01", *nal].concat()).collect();
        assert_eq!(payload[19..], annex_b);
    }

    #[test]
    fn payloads_of_every_size_fill_whole_packets() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711U)));
        for size in 1..600 {
            let out = written(&[testing::audio(&tracks, 0, size)]);
            let payload: Vec<u8> = packets(&out, AUDIO_PID).into_iter().flat_map(|packet| packet.1).collect();
            assert_eq!(payload.len(), 14 + size, "of {size}");
        }
    }

    #[test]
    fn a_large_picture_leaves_its_length_open_and_sound_may_not() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711U)));
        let mut unit = testing::video(&tracks, 0, 0, false);
        unit.data = testing::length_prefixed(&[&vec![0x41; 100_000]]).into();
        let packets = packets(&written(&[unit]), VIDEO_PID);
        assert_eq!(packets[0].1[4..6], [0, 0]);
        let size: usize = packets.iter().map(|packet| packet.1.len()).sum();
        assert_eq!(size, 14 + 6 + 4 + 100_000);
        let long = testing::audio(&tracks, 0, 70_000);
        assert!(!TsMuxer::new().write(&long, &mut BytesMut::new()));
    }

    #[test]
    fn hls_leaves_g711_out_beside_video() {
        let mut out = BytesMut::new();
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut muxer = TsMuxer::with_sound(Sound::Standard);
        muxer.write_tables(&tracks, &mut out);
        assert!(muxer.write(&testing::video(&tracks, 0, 0, true), &mut out));
        assert!(!muxer.write(&testing::audio(&tracks, 0, 160), &mut out));
        let alone = Arc::new(Tracks { video: None, ..(*tracks).clone() });
        assert!(muxer.write(&testing::audio(&alone, 0, 160), &mut out));
        let [with, without] = [TsMuxer::new(), TsMuxer::with_sound(Sound::Standard)].map(|mut muxer| {
            let mut out = BytesMut::new();
            muxer.write_tables(&tracks, &mut out);
            out.windows(5).any(|window| window == [0x90, 0xE1, 0x01, 0xF0, 0])
        });
        assert!(with && !without);
    }

    #[test]
    fn opus_is_announced_with_its_channels() {
        for channels in [1, 2] {
            let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Opus));
            tracks.audio.as_mut().unwrap().channels = channels;
            let out = written(&[testing::video(&Arc::new(tracks), 0, 0, true)]);
            let wanted =
                [&[0x06, 0xE1, 0x01, 0xF0, 10, 5, 4][..], b"Opus", &[0x7F, 2, 0x80, channels]].concat();
            assert!(packets(&out, PMT_PID)[0].1.windows(wanted.len()).any(|window| window == wanted));
        }
    }

    #[test]
    fn sound_alone_carries_the_clock() {
        let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac));
        tracks.video = None;
        let out = written(&[testing::audio(&Arc::new(tracks), 0, 300)]);
        let (field, payload) = &packets(&out, AUDIO_PID)[0];
        assert_eq!(field[1], 0x50);
        assert_eq!(payload[14..16], [0xFF, 0xF1]);
        let pmt = &packets(&out, PMT_PID)[0].1;
        assert_eq!(pmt[9..11], [0xE1, 0x01]);
    }
}
