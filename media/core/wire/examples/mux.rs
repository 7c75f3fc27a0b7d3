//! Muxes elementary streams into every output form, for players and probes to judge.
//!
//! `mux OUT_DIR VIDEO TIMES [AUDIO]`: VIDEO is Annex B and ends in `.h264` or `.h265`; TIMES has a line `pts,dts,key` in
//! ticks of 90 kHz for each picture in coded order; AUDIO is ADTS (`.aac`) or G.711 (`.alaw`, `.ulaw`).
//! Writes `out.flv`, `codec12.flv`, `out.ps`, `ts/` and `fmp4/`, the last two with a playlist.

use std::{error::Error, fs, path::Path, sync::Arc};

use bytes::Bytes;
use wire::{
    aac::{Adts, Config},
    flv::{FlvMuxer, FlvOptions, H265},
    hls::{Container, LISTED, Segmenter, SegmenterOptions},
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    nal::{self, NalKind, ParameterSet},
    parameter_sets::parse_sps,
    ps_write::{PsMuxer, Selection},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, video, times, rest @ ..] = arguments.as_slice() else {
        return Err("usage: mux OUT_DIR VIDEO TIMES [AUDIO]".into());
    };
    let codec = if video.ends_with("h265") { VideoCodec::H265 } else { VideoCodec::H264 };
    let stream = fs::read(video)?;
    let pictures = pictures(&stream, codec);
    let audio = rest.first().map(|path| sound(path)).transpose()?;
    let tracks = Arc::new(Tracks {
        video: Some(video_track(&pictures[0], codec)?),
        audio: audio.as_ref().map(|(track, _)| track.clone()),
    });
    let mut units = audio.map_or_else(Vec::new, |(track, frames)| sound_units(&track, frames, &tracks));
    for (nals, line) in pictures.iter().zip(fs::read_to_string(times)?.lines()) {
        let numbers: Vec<i64> =
            line.split(',').take(3).map(str::parse).collect::<std::result::Result<_, _>>()?;
        let data = nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat());
        let (dts, pts) = (Ticks(numbers[1]), Ticks(numbers[0]));
        let (key, tracks) = (numbers[2] == 1, Arc::clone(&tracks));
        units.push(AccessUnit { kind: Kind::Video, dts, pts, key, data: data.collect(), tracks });
    }
    units.sort_by_key(|unit| unit.dts);
    write_flv(&Path::new(out).join("out.flv"), H265::Enhanced, &units)?;
    write_flv(&Path::new(out).join("codec12.flv"), H265::Codec12, &units)?;
    write_ps(&Path::new(out).join("out.ps"), &units)?;
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

fn write_ps(path: &Path, units: &[AccessUnit]) -> Result<()> {
    let mut muxer = PsMuxer::new(Selection { video: true, audio: true });
    let mut out = Vec::new();
    for unit in units {
        muxer.write(unit, |bytes| out.extend_from_slice(bytes));
    }
    Ok(fs::write(path, out)?)
}

/// The segments with the last playlist, and all segments in one file.
fn write_hls(dir: &Path, container: Container, units: &[AccessUnit]) -> Result<()> {
    fs::create_dir_all(dir.join(container.folder()))?;
    let target = Ticks::from_millis(2000);
    let mut segmenter = Segmenter::new(SegmenterOptions {
        container,
        target,
        listed: LISTED,
        first_sequence: 0,
        epoch_ms: 0,
    });
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

/// NAL units of each picture.
fn pictures(data: &[u8], codec: VideoCodec) -> Vec<Vec<&[u8]>> {
    let is_slice = |nal: &&[u8]| matches!(nal::kind(codec, nal), NalKind::KeySlice | NalKind::Slice);
    let mut pictures: Vec<Vec<&[u8]>> = vec![Vec::new()];
    for nal in nal::annex_b(data).map(|range| &data[range]) {
        let last = pictures.last_mut().expect("never empty");
        if nal::starts_access_unit(codec, nal) && last.iter().any(is_slice) {
            pictures.push(vec![nal]);
        } else {
            last.push(nal);
        }
    }
    pictures
}

fn video_track(picture: &[&[u8]], codec: VideoCodec) -> Result<VideoTrack> {
    let sets = |wanted: ParameterSet| -> Vec<Bytes> {
        let sets = picture.iter().filter(|nal| nal::kind(codec, nal) == NalKind::Set(wanted));
        sets.map(|nal| Bytes::copy_from_slice(nal)).collect()
    };
    let [vps, sps, pps] = [ParameterSet::Video, ParameterSet::Sequence, ParameterSet::Picture].map(sets);
    let info = parse_sps(codec, sps.first().ok_or("no sequence parameter set")?)?;
    Ok(VideoTrack { codec, width: info.width, height: info.height, rate: info.rate, vps, sps, pps })
}

fn sound(path: &str) -> Result<(AudioTrack, Vec<Bytes>)> {
    let data = Bytes::from(fs::read(path)?);
    if !path.ends_with("aac") {
        let codec = if path.ends_with("alaw") { AudioCodec::G711A } else { AudioCodec::G711U };
        let track = AudioTrack { codec, sample_rate: 8000, channels: 1, config: Bytes::new() };
        return Ok((track, data.chunks(320).map(Bytes::copy_from_slice).collect()));
    }
    let config = Adts::parse(&data).ok_or("no ADTS")?.config;
    let Config { sample_rate, channels, .. } = config;
    let track =
        AudioTrack { codec: AudioCodec::Aac, sample_rate, channels, config: config.to_bytes().into() };
    let (mut at, mut frames) = (0, Vec::new());
    while let Some(header) = Adts::parse(&data[at..]).filter(|header| at + header.frame_len <= data.len()) {
        frames.push(data.slice(at + header.header_len..at + header.frame_len));
        at += header.frame_len;
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
