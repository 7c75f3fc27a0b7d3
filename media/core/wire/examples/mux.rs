//! Muxes elementary streams into every output form, for players and probes to judge.
//!
//! `mux OUT_DIR VIDEO TIMES [AUDIO]`: VIDEO is Annex B and ends in `.h264` or `.h265`; TIMES has a line `pts,dts,key` in
//! ticks of 90 kHz for each picture in coded order; AUDIO is ADTS (`.aac`) or G.711 (`.alaw`, `.ulaw`).
//! Writes `out.flv`, `codec12.flv`, `ts/` and `fmp4/`, the last two with a playlist.

use std::{error::Error, fs, path::Path, sync::Arc};

use bytes::Bytes;
use wire::{
    flv::{FlvMuxer, FlvOptions, H265},
    hls::{Container, Segmenter, SegmenterOptions},
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, video, times, rest @ ..] = arguments.as_slice() else {
        return Err("usage: mux OUT_DIR VIDEO TIMES [AUDIO]".into());
    };
    let pictures = pictures(&fs::read(video)?, video.ends_with("h265"));
    let audio = rest.first().map(|path| sound(path)).transpose()?;
    let tracks = Arc::new(Tracks {
        video: Some(video_track(&pictures, video.ends_with("h265"))?),
        audio: audio.as_ref().map(|(track, _)| track.clone()),
    });
    let mut units = audio.map_or_else(Vec::new, |(track, frames)| sound_units(&track, frames, &tracks));
    for (nals, line) in pictures.iter().zip(fs::read_to_string(times)?.lines()) {
        let numbers: Vec<i64> =
            line.split(',').take(3).map(str::parse).collect::<std::result::Result<_, _>>()?;
        let data = nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes(), nal.as_slice()].concat());
        let (dts, pts) = (Ticks(numbers[1]), Ticks(numbers[0]));
        let (key, tracks) = (numbers[2] == 1, Arc::clone(&tracks));
        units.push(AccessUnit { kind: Kind::Video, dts, pts, key, data: data.collect(), tracks });
    }
    units.sort_by_key(|unit| unit.dts);
    write_flv(&Path::new(out).join("out.flv"), H265::Enhanced, &units)?;
    write_flv(&Path::new(out).join("codec12.flv"), H265::Codec12, &units)?;
    write_hls(&Path::new(out).join("ts"), Container::Ts, &units)?;
    write_hls(&Path::new(out).join("fmp4"), Container::Fmp4, &units)
}

fn write_flv(path: &Path, h265: H265, units: &[AccessUnit]) -> Result<()> {
    let mut muxer = FlvMuxer::new(FlvOptions { h265, audio: true });
    let mut out = muxer.head(&units[0].tracks).to_vec();
    for chunk in units.iter().filter_map(|unit| muxer.write(unit)) {
        out.extend_from_slice(&chunk.to_bytes());
    }
    Ok(fs::write(path, out)?)
}

/// The segments with the last playlist, and all segments in one file.
fn write_hls(dir: &Path, container: Container, units: &[AccessUnit]) -> Result<()> {
    fs::create_dir_all(dir.join(container.folder()))?;
    let target = Ticks::from_millis(2000);
    let mut segmenter = Segmenter::new(SegmenterOptions { container, target, first_sequence: 0 });
    let mut all = Vec::new();
    for window in units.iter().filter_map(|unit| segmenter.write(unit)) {
        let segment = window.segments().last().ok_or("an empty window")?;
        let folder = dir.join(container.folder());
        if let Some(init) = &segment.init {
            fs::write(folder.join(format!("init-{}.mp4", init.id)), &init.data)?;
            all = if all.is_empty() { init.data.to_vec() } else { all };
        }
        let extension = if container == Container::Ts { "ts" } else { "m4s" };
        fs::write(folder.join(format!("{}.{extension}", segment.sequence)), &segment.data)?;
        all.extend_from_slice(&segment.data);
        fs::write(dir.join("index.m3u8"), window.playlist("") + "#EXT-X-ENDLIST\n")?;
    }
    Ok(fs::write(dir.join(if container == Container::Ts { "all.ts" } else { "all.mp4" }), all)?)
}

fn nal_type(nal: &[u8], h265: bool) -> u8 {
    if h265 { nal[0] >> 1 & 0x3F } else { nal[0] & 0x1F }
}

/// NAL units of each picture.
fn pictures(data: &[u8], h265: bool) -> Vec<Vec<Vec<u8>>> {
    let mut nals = Vec::new();
    let mut start = None;
    let mut at = 0;
    while at + 3 <= data.len() {
        if data[at..at + 3] == [0, 0, 1] {
            let end = if at > 0 && data[at - 1] == 0 { at - 1 } else { at };
            nals.extend(start.map(|start| data[start..end].to_vec()));
            start = Some(at + 3);
        }
        at += 1;
    }
    nals.extend(start.map(|start| data[start..].to_vec()));
    let mut pictures: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
    let mut has_slice = false;
    for nal in nals {
        let kind = nal_type(&nal, h265);
        let slice = if h265 { kind < 32 } else { (1..=5).contains(&kind) };
        let first = slice && nal[if h265 { 2 } else { 1 }] & 0x80 != 0;
        let opens = first || if h265 { matches!(kind, 32..=35 | 39) } else { matches!(kind, 6..=9) };
        if opens && has_slice {
            pictures.push(Vec::new());
            has_slice = false;
        }
        has_slice |= slice;
        pictures.last_mut().expect("never empty").push(nal);
    }
    pictures
}

fn video_track(pictures: &[Vec<Vec<u8>>], h265: bool) -> Result<VideoTrack> {
    let sets = |wanted: u8| -> Vec<Bytes> {
        let sets = pictures[0].iter().filter(|nal| nal_type(nal, h265) == wanted);
        sets.map(|nal| nal.clone().into()).collect()
    };
    let size = std::env::var("SIZE").unwrap_or_else(|_| "352x288".into());
    let (width, height) = size.split_once('x').ok_or("SIZE is WIDTHxHEIGHT")?;
    let (width, height, rate) = (width.parse()?, height.parse()?, Some((25, 1)));
    let codec = if h265 { VideoCodec::H265 } else { VideoCodec::H264 };
    let [vps, sps, pps] = if h265 { [sets(32), sets(33), sets(34)] } else { [Vec::new(), sets(7), sets(8)] };
    Ok(VideoTrack { codec, width, height, rate, vps, sps, pps })
}

fn sound(path: &str) -> Result<(AudioTrack, Vec<Bytes>)> {
    let data = fs::read(path)?;
    if !path.ends_with("aac") {
        let codec = if path.ends_with("alaw") { AudioCodec::G711A } else { AudioCodec::G711U };
        let track = AudioTrack { codec, sample_rate: 8000, channels: 1, config: Bytes::new() };
        return Ok((track, data.chunks(320).map(Bytes::copy_from_slice).collect()));
    }
    let rates =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000];
    let (profile, rate, channels) = (data[2] >> 6, data[2] >> 2 & 0xF, (data[2] & 1) << 2 | data[3] >> 6);
    let config = vec![(profile + 1) << 3 | rate >> 1, (rate & 1) << 7 | channels << 3].into();
    let sample_rate = rates[usize::from(rate)];
    let track = AudioTrack { codec: AudioCodec::Aac, sample_rate, channels, config };
    let (mut rest, mut frames) = (data.as_slice(), Vec::new());
    while rest.len() > 7 {
        let size = (usize::from(rest[3] & 3) << 11) | (usize::from(rest[4]) << 3) | usize::from(rest[5] >> 5);
        frames.push(Bytes::copy_from_slice(&rest[7..size]));
        rest = &rest[size..];
    }
    Ok((track, frames))
}

fn sound_units(track: &AudioTrack, frames: Vec<Bytes>, tracks: &Arc<Tracks>) -> Vec<AccessUnit> {
    let mut samples = 0_i64;
    let units = frames.into_iter().map(|data| {
        let dts = Ticks(samples * Ticks::PER_SECOND / i64::from(track.sample_rate));
        samples += if track.codec == AudioCodec::Aac { 1024 } else { i64::try_from(data.len()).unwrap_or(0) };
        AccessUnit { kind: Kind::Audio, dts, pts: dts, key: true, data, tracks: Arc::clone(tracks) }
    });
    units.collect()
}
