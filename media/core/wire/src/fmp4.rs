//! Fragmented MP4 (ISO/IEC 14496-12): an initialisation segment, then fragments of one `moof` and one `mdat` each.
//!
//! Video runs at 90 kHz, sound at its sample rate. G.711 has the sample entries `alaw` and `ulaw` of `QuickTime`, which
//! ffmpeg and VLC read and browsers do not. Opus is carried as its own specification says.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    avc, hevc,
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    opus, sample,
};

pub(crate) const VIDEO_ID: u32 = 1;
pub(crate) const AUDIO_ID: u32 = 2;
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// `sample_depends_on` 2: decodable by itself.
pub(crate) const SYNC_SAMPLE: u32 = 0x0200_0000;
/// `sample_depends_on` 1, `sample_is_non_sync_sample`.
pub(crate) const OTHER_SAMPLE: u32 = 0x0101_0000;

/// What an initialisation segment may differ in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heading {
    /// Room for the length of all fragments (`mehd`, §8.8.2).
    pub(crate) timed: bool,
    /// H.265 as `hev1`, whose parameter sets may stand among the pictures (ISO/IEC 14496-15 §8.3.3).
    pub(crate) hev1: bool,
}

/// The initialisation segment: `ftyp` and `moov`. A track that cannot be described is left out.
pub fn init_segment(tracks: &Tracks) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    put_init(&mut out, tracks, Heading::default());
    out.freeze()
}

/// Writes `ftyp` and `moov`.
pub(crate) fn put_init(out: &mut BytesMut, tracks: &Tracks, heading: Heading) {
    put_box(out, *b"ftyp", |out| out.put_slice(b"iso6\0\0\0\x01iso6mp41"));
    put_box(out, *b"moov", |out| {
        put_full_box(out, *b"mvhd", 0, 0, |out| {
            put_words(out, &[0, 0, 1000, 0, 0x1_0000]);
            out.put_u16(0x0100); // volume
            out.put_bytes(0, 10);
            put_words(out, &MATRIX);
            out.put_bytes(0, 24);
            out.put_u32(AUDIO_ID + 1); // next_track_ID
        });
        let video = tracks.video.as_ref().and_then(|track| Some((track, video_entry(track, heading.hev1)?)));
        let audio = tracks.audio.as_ref().and_then(|track| Some((track, audio_entry(track)?)));
        if let Some((track, entry)) = &video {
            put_track(
                out,
                &Track { id: VIDEO_ID, timescale: 90_000, size: (track.width, track.height), entry },
            );
        }
        if let Some((track, entry)) = &audio {
            put_track(out, &Track { id: AUDIO_ID, timescale: track.sample_rate, size: (0, 0), entry });
        }
        put_box(out, *b"mvex", |out| {
            if heading.timed {
                put_full_box(out, *b"mehd", 1, 0, |out| out.put_u64(0));
            }
            let ids = [video.is_some().then_some(VIDEO_ID), audio.is_some().then_some(AUDIO_ID)];
            for id in ids.into_iter().flatten() {
                put_full_box(out, *b"trex", 0, 0, |out| put_words(out, &[id, 1, 0, 0, 0]));
            }
        });
    });
}

/// Collects the units of one fragment; their bytes are shared until the fragment is written.
#[derive(Debug, Default)]
pub struct Fragment {
    video: Vec<Sample>,
    audio: Vec<Sample>,
    size: usize,
}

#[derive(Debug)]
struct Sample {
    dts: Ticks,
    offset: Ticks,
    key: bool,
    data: Bytes,
}

impl Fragment {
    /// An empty fragment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of payload so far.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether no unit was taken.
    pub fn is_empty(&self) -> bool {
        self.video.is_empty() && self.audio.is_empty()
    }

    /// Takes a unit; false if its track is not carried.
    pub fn push(&mut self, unit: &AccessUnit) -> bool {
        let carried = match unit.kind {
            Kind::Video => {
                unit.tracks.video.as_ref().map(|track| sample::without_announced_sets(unit, track))
            }
            Kind::Audio => unit.tracks.audio.as_ref().and_then(audio_name).map(|_| unit.data.clone()),
        };
        let Some(data) = carried else { return false };
        self.size += data.len();
        let sample = Sample { dts: unit.dts, offset: unit.pts - unit.dts, key: unit.key, data };
        match unit.kind {
            Kind::Video => self.video.push(sample),
            Kind::Audio => self.audio.push(sample),
        }
        true
    }

    /// Writes the fragment. `end` is when the next one begins: the last picture lasts until then. `sequence` is the
    /// number in `mfhd`, rising from fragment to fragment.
    pub fn write(&self, tracks: &Tracks, sequence: u32, end: Ticks) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size + 256 + 16 * (self.video.len() + self.audio.len()));
        let mut data_offsets = Vec::new();
        put_box(&mut out, *b"moof", |out| {
            put_full_box(out, *b"mfhd", 0, 0, |out| out.put_u32(sequence));
            if !self.video.is_empty() {
                let durations = video_durations(&self.video, end);
                data_offsets.push(put_video_run(out, &self.video, &durations));
            }
            if let Some(track) = tracks.audio.as_ref().filter(|_| !self.audio.is_empty()) {
                data_offsets.push(put_audio_run(out, &self.audio, track));
            }
        });
        let mut data_start = out.len() + 8;
        let runs = [&self.video, &self.audio].into_iter().filter(|samples| !samples.is_empty());
        for (at, samples) in data_offsets.into_iter().zip(runs) {
            out[at..at + 4].copy_from_slice(&(data_start as u32).to_be_bytes());
            data_start += samples.iter().map(|sample| sample.data.len()).sum::<usize>();
        }
        put_box(&mut out, *b"mdat", |out| {
            self.video.iter().chain(&self.audio).for_each(|sample| out.put_slice(&sample.data));
        });
        out.freeze()
    }
}

/// How long each picture lasts; a clock that stood still still moves by a tick.
fn video_durations(samples: &[Sample], end: Ticks) -> Vec<u32> {
    let ends = samples.iter().skip(1).map(|sample| sample.dts).chain([end]);
    samples.iter().zip(ends).map(|(sample, end)| span(sample.dts.0, end.0)).collect()
}

fn span(start: i64, end: i64) -> u32 {
    u32::try_from((end - start).max(1)).unwrap_or(u32::MAX)
}

/// `traf` of the video; returns where the run's data offset stands.
fn put_video_run(out: &mut BytesMut, samples: &[Sample], durations: &[u32]) -> usize {
    put_fragment_of_track(out, VIDEO_ID, OTHER_SAMPLE, samples[0].dts.0, |out| {
        put_run(out, 0xF01, samples.len(), |out| {
            for (sample, duration) in samples.iter().zip(durations) {
                let flags = if sample.key { SYNC_SAMPLE } else { OTHER_SAMPLE };
                let offset = i32::try_from(sample.offset.0).unwrap_or(i32::MAX).cast_unsigned();
                put_words(out, &[*duration, sample.data.len() as u32, flags, offset]);
            }
        })
    })
}

/// `traf` of the sound, on its own timescale; the last sample lasts as long as its content.
fn put_audio_run(out: &mut BytesMut, samples: &[Sample], track: &AudioTrack) -> usize {
    let scaled = |time: Ticks| rescale(time, track.sample_rate);
    let last = samples.last().map_or(0, |sample| scaled(sample.dts) + samples_in(track, &sample.data));
    let ends = samples.iter().skip(1).map(|sample| scaled(sample.dts)).chain([last]);
    put_fragment_of_track(out, AUDIO_ID, SYNC_SAMPLE, scaled(samples[0].dts), |out| {
        put_run(out, 0x301, samples.len(), |out| {
            for (sample, end) in samples.iter().zip(ends) {
                put_words(out, &[span(scaled(sample.dts), end), sample.data.len() as u32]);
            }
        })
    })
}

/// How many samples a run of sound has.
pub(crate) fn samples_in(track: &AudioTrack, data: &[u8]) -> i64 {
    match track.codec {
        AudioCodec::Aac => 1024,
        AudioCodec::Opus => opus::duration(data).unwrap_or(960).into(),
        _ => (data.len() as u32 / u32::from(track.channels.max(1))).into(),
    }
}

/// Ticks on another timescale, rounded to the nearest.
pub(crate) fn rescale(time: Ticks, timescale: u32) -> i64 {
    let product = i128::from(time.0) * i128::from(timescale) + i128::from(Ticks::PER_SECOND / 2);
    product.div_euclid(i128::from(Ticks::PER_SECOND)) as i64
}

pub(crate) fn put_fragment_of_track(
    out: &mut BytesMut,
    id: u32,
    default_flags: u32,
    start: i64,
    run: impl FnOnce(&mut BytesMut) -> usize,
) -> usize {
    put_box(out, *b"traf", |out| {
        let flags = 0x02_0020; // default-base-is-moof, default-sample-flags-present
        put_full_box(out, *b"tfhd", 0, flags, |out| put_words(out, &[id, default_flags]));
        put_full_box(out, *b"tfdt", 1, 0, |out| out.put_i64(start.max(0)));
        run(out)
    })
}

/// `trun`; returns where its data offset stands, to be written once the size of `moof` is known.
pub(crate) fn put_run(
    out: &mut BytesMut,
    flags: u32,
    count: usize,
    samples: impl FnOnce(&mut BytesMut),
) -> usize {
    put_full_box(out, *b"trun", 1, flags, |out| {
        out.put_u32(count as u32);
        let at = out.len();
        out.put_u32(0);
        samples(out);
        at
    })
}

/// What `trak` says of a track.
struct Track<'a> {
    id: u32,
    timescale: u32,
    size: (u32, u32),
    entry: &'a [u8],
}

fn put_track(out: &mut BytesMut, track: &Track) {
    let is_video = track.id == VIDEO_ID;
    put_box(out, *b"trak", |out| {
        put_full_box(out, *b"tkhd", 0, 3, |out| {
            put_words(out, &[0, 0, track.id, 0, 0, 0, 0, 0]);
            out.put_u32(if is_video { 0 } else { 0x0100_0000 }); // volume
            put_words(out, &MATRIX);
            put_words(out, &[track.size.0 << 16, track.size.1 << 16]);
        });
        put_box(out, *b"mdia", |out| {
            put_full_box(out, *b"mdhd", 0, 0, |out| put_words(out, &[0, 0, track.timescale, 0, 0x55C4_0000]));
            put_full_box(out, *b"hdlr", 0, 0, |out| {
                out.put_u32(0);
                out.put_slice(if is_video { b"vide" } else { b"soun" });
                out.put_bytes(0, 13); // reserved, and an empty name
            });
            put_box(out, *b"minf", |out| {
                if is_video {
                    put_full_box(out, *b"vmhd", 0, 1, |out| out.put_bytes(0, 8));
                } else {
                    put_full_box(out, *b"smhd", 0, 0, |out| out.put_u32(0));
                }
                put_box(out, *b"dinf", |out| {
                    put_full_box(out, *b"dref", 0, 0, |out| {
                        out.put_u32(1);
                        put_full_box(out, *b"url ", 0, 1, |_| ());
                    });
                });
                put_sample_table(out, track.entry);
            });
        });
    });
}

/// `stbl` with the sample entry and no samples: those come in fragments.
fn put_sample_table(out: &mut BytesMut, entry: &[u8]) {
    put_box(out, *b"stbl", |out| {
        put_full_box(out, *b"stsd", 0, 0, |out| {
            out.put_u32(1);
            out.put_slice(entry);
        });
        for (name, words) in [(*b"stts", 1), (*b"stsc", 1), (*b"stsz", 2), (*b"stco", 1)] {
            put_full_box(out, name, 0, 0, |out| out.put_bytes(0, words * 4));
        }
    });
}

/// `avc1`, `hvc1` or `hev1` with the decoder configuration record.
fn video_entry(track: &VideoTrack, hev1: bool) -> Option<BytesMut> {
    let (name, record_name, record) = match track.codec {
        VideoCodec::H264 => (*b"avc1", *b"avcC", avc::configuration_record(track)?),
        VideoCodec::H265 => {
            (if hev1 { *b"hev1" } else { *b"hvc1" }, *b"hvcC", hevc::configuration_record(track)?)
        }
    };
    let mut out = BytesMut::with_capacity(256);
    put_box(&mut out, name, |out| {
        out.put_bytes(0, 6);
        out.put_u16(1); // data_reference_index
        out.put_bytes(0, 16);
        out.put_u16(u16::try_from(track.width).unwrap_or(u16::MAX));
        out.put_u16(u16::try_from(track.height).unwrap_or(u16::MAX));
        put_words(out, &[0x48_0000, 0x48_0000, 0]); // 72 dpi
        out.put_u16(1); // frame_count
        out.put_bytes(0, 32); // compressorname
        put_words(out, &[0x0018_FFFF]); // depth 24, pre_defined -1
        put_box(out, record_name, |out| out.put_slice(&record));
    });
    Some(out)
}

/// The sample entry's name; `None` for sound that is not carried.
pub(crate) fn audio_name(track: &AudioTrack) -> Option<[u8; 4]> {
    match track.codec {
        _ if track.sample_rate == 0 => None,
        AudioCodec::Aac if track.config.len() >= 2 => Some(*b"mp4a"),
        AudioCodec::G711A => Some(*b"alaw"),
        AudioCodec::G711U => Some(*b"ulaw"),
        AudioCodec::Opus => Some(*b"Opus"),
        AudioCodec::Aac => None,
    }
}

/// `mp4a` with `esds`, `Opus` with `dOps`, or `alaw`, `ulaw`.
fn audio_entry(track: &AudioTrack) -> Option<BytesMut> {
    let name = audio_name(track)?;
    let mut out = BytesMut::with_capacity(128);
    put_box(&mut out, name, |out| {
        out.put_bytes(0, 6);
        out.put_u16(1); // data_reference_index
        out.put_bytes(0, 8);
        out.put_u16(u16::from(track.channels));
        put_words(out, &[0x0010_0000]); // 16 bits a sample once decoded
        out.put_u16(0);
        out.put_u32(u32::from(u16::try_from(track.sample_rate).unwrap_or(0)) << 16);
        if track.codec == AudioCodec::Aac {
            put_full_box(out, *b"esds", 0, 0, |out| put_elementary_stream(out, &track.config));
        }
        if track.codec == AudioCodec::Opus {
            put_box(out, *b"dOps", |out| out.put_slice(&opus::specific_box(track.channels)));
        }
    });
    Some(out)
}

/// `ES_Descriptor` (ISO/IEC 14496-1 §7.2.6.5) of AAC.
fn put_elementary_stream(out: &mut BytesMut, config: &[u8]) {
    let config = &config[..config.len().min(64)];
    let size = config.len() as u8;
    out.put_slice(&[3, 23 + size, 0, AUDIO_ID as u8, 0]);
    out.put_slice(&[4, 15 + size, 0x40, 0x15]); // MPEG-4 audio, audio stream
    out.put_bytes(0, 11); // buffer size and bit rates unknown
    out.put_slice(&[5, size]);
    out.put_slice(config);
    out.put_slice(&[6, 1, 2]); // SLConfigDescriptor: predefined for MP4
}

pub(crate) fn put_words(out: &mut BytesMut, words: &[u32]) {
    for word in words {
        out.put_u32(*word);
    }
}

/// A box whose size is filled in when its content is written.
pub(crate) fn put_box<T>(out: &mut BytesMut, name: [u8; 4], content: impl FnOnce(&mut BytesMut) -> T) -> T {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(&name);
    let result = content(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
    result
}

pub(crate) fn put_full_box<T>(
    out: &mut BytesMut,
    name: [u8; 4],
    version: u8,
    flags: u32,
    content: impl FnOnce(&mut BytesMut) -> T,
) -> T {
    put_box(out, name, |out| {
        out.put_u32(u32::from(version) << 24 | flags);
        content(out)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing;

    /// Name and content of the boxes in `data`, sizes checked.
    fn boxes(mut data: &[u8]) -> Vec<(String, &[u8])> {
        let mut found = Vec::new();
        while !data.is_empty() {
            let size = word(data, 0) as usize;
            found.push((String::from_utf8_lossy(&data[4..8]).into_owned(), &data[8..size]));
            data = &data[size..];
        }
        found
    }

    /// The content of the box at `path`; a step such as `trak.1` is the second of its name.
    fn at<'a>(data: &'a [u8], path: &str) -> &'a [u8] {
        path.split('/').fold(data, |data, step| {
            let (name, number) = step.split_once('.').unwrap_or((step, "0"));
            let mut named = boxes(data).into_iter().filter(|(found, _)| found == name);
            named.nth(number.parse().expect("a number")).unwrap_or_else(|| panic!("no {step} in {path}")).1
        })
    }

    fn word(data: &[u8], offset: usize) -> u32 {
        u32::from_be_bytes(data[offset..offset + 4].try_into().expect("four bytes"))
    }

    #[test]
    fn the_init_segment_describes_both_tracks() {
        let init = init_segment(&testing::tracks(VideoCodec::H265, Some(AudioCodec::Aac)));
        let names: Vec<_> = boxes(at(&init, "moov")).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["mvhd", "trak", "trak", "mvex"]);
        assert_eq!(word(at(&init, "moov/trak/mdia/mdhd"), 12), 90_000);
        assert_eq!(word(at(&init, "moov/trak.1/mdia/mdhd"), 12), 16_000);
        let entry = at(&at(&init, "moov/trak/mdia/minf/stbl/stsd")[8..], "hvc1");
        assert_eq!(entry[24..28], [352_u16.to_be_bytes(), 288_u16.to_be_bytes()].concat());
        let record = hevc::configuration_record(
            testing::tracks(VideoCodec::H265, None).video.as_ref().expect("video"),
        );
        assert_eq!(Some(at(&entry[78..], "hvcC").to_vec()), record);
        let entry = at(&at(&init, "moov/trak.1/mdia/minf/stbl/stsd")[8..], "mp4a");
        let descriptors = &at(&entry[28..], "esds")[4..];
        assert_eq!(descriptors[..2], [3, descriptors.len() as u8 - 2]);
        assert_eq!(descriptors[20..24], [5, 2, 0x14, 0x08]);
    }

    #[test]
    fn a_track_that_cannot_be_described_is_left_out() {
        let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac));
        tracks.audio.as_mut().expect("audio").config.clear();
        tracks.video.as_mut().expect("video").sps.clear();
        let names: Vec<_> = boxes(&init_segment(&tracks)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ftyp", "moov"]);
        assert_eq!(boxes(at(&init_segment(&tracks), "moov")).len(), 2, "mvhd and mvex alone");
        assert!(!Fragment::new().push(&testing::audio(&Arc::new(tracks), 0, 10)));
    }

    #[test]
    fn opus_has_its_own_entry_and_lasts_as_its_packets_say() {
        let mut tracks = testing::tracks(VideoCodec::H264, Some(AudioCodec::Opus));
        let audio = tracks.audio.as_mut().expect("audio");
        (audio.sample_rate, audio.channels) = (48_000, 2);
        let init = init_segment(&tracks);
        let entry = at(&at(at(&init, "moov/trak.1/mdia/minf/stbl"), "stsd")[8..], "Opus");
        assert_eq!(at(&entry[28..], "dOps"), [0, 2, 0x01, 0x38, 0, 0, 0xBB, 0x80, 0, 0, 0]);
        let tracks = Arc::new(tracks);
        let mut unit = testing::audio(&tracks, 0, 10);
        unit.data = Bytes::from_static(&[0x83, 4]);
        let mut fragment = Fragment::new();
        assert!(fragment.push(&unit));
        let out = fragment.write(&tracks, 1, Ticks(0));
        assert_eq!(word(at(&out, "moof/traf/trun"), 12), 480);
    }

    #[test]
    fn a_fragment_points_at_its_samples_and_times_them() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut fragment = Fragment::new();
        let units = [
            testing::video(&tracks, 1000, 1080, true),
            testing::audio(&tracks, 1010, 160),
            testing::video(&tracks, 1040, 1040, false),
            testing::audio(&tracks, 1035, 160),
        ];
        assert!(units.iter().all(|unit| fragment.push(unit)));
        let out = fragment.write(&tracks, 7, Ticks::from_millis(1100));
        assert_eq!(word(at(&out, "moof/mfhd"), 4), 7);
        let run = at(&out, "moof/traf/trun");
        assert_eq!(word(run, 4), 2);
        let key_size = 4 + testing::H264_IDR.len() as u32;
        let words: Vec<u32> = (3..11).map(|index| word(run, index * 4)).collect();
        assert_eq!(words, [3600, key_size, SYNC_SAMPLE, 7200, 5400, 7, OTHER_SAMPLE, 0]);
        assert_eq!(at(&out, "moof/traf/tfdt")[4..], 90_000_u64.to_be_bytes());
        let sound = at(&out, "moof/traf.1/trun");
        let words: Vec<u32> = (3..7).map(|index| word(sound, index * 4)).collect();
        assert_eq!(words, [200, 160, 160, 160], "the gap belongs to the sample before it");
        assert_eq!(at(&out, "moof/traf.1/tfdt")[4..], 8080_u64.to_be_bytes());
        let (video_at, sound_at) = (word(run, 8) as usize, word(sound, 8) as usize);
        assert_eq!(out[video_at..video_at + 9], *testing::length_prefixed(&[testing::H264_IDR]));
        assert_eq!(out[sound_at..], [0xD5; 320]);
    }
}
