//! Parts of a file for players that fetch them by themselves: what HLS over recordings is made of. It waits for the disk.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use wire::{
    file::{Entry, FileReader, Form, ReadError},
    fmp4,
    hls::Container,
    media::{AccessUnit, Kind, Ticks, Tracks},
    ts::{Sound, TsMuxer},
};

use super::{
    deck::{form_of, open},
    disk::OnDisk,
};
use crate::error::Error;

/// A segment is never larger.
const SEGMENT_MAX: usize = 64 << 20;
/// Sound may stand so far behind the picture that it belongs to.
const SOUND_BEHIND: Ticks = Ticks::from_millis(1000);

/// What a file says of itself.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// Its form.
    pub form: Form,
    /// From its first frame to its end.
    pub duration: Ticks,
    /// Bytes that a player of fMP4 needs first.
    pub head: u64,
    /// All its bytes.
    pub size: u64,
    /// Key frames, thinned if there are more than a few thousand.
    pub entries: Vec<Entry>,
    /// What it carries.
    pub tracks: Tracks,
}

fn opened(path: &Path) -> Result<(Form, OnDisk, FileReader), Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Invalid(format!("{}: {error}", path.display()));
    let form = form_of(path).ok_or_else(|| wrong(&"neither .flv nor .mp4"))?;
    let (source, reader) = open(path, form).map_err(|error| wrong(&error))?;
    Ok((form, source, reader))
}

/// Reads a file's head.
pub fn file_facts(path: &Path) -> Result<FileFacts, Error> {
    let (form, source, reader) = opened(path)?;
    let size = source.size().map_err(Error::io(path.display().to_string()))?;
    let head = reader.head();
    let tracks = Tracks::clone(&head.tracks);
    Ok(FileFacts {
        form,
        duration: head.duration,
        head: head.size,
        size,
        entries: head.entries.clone(),
        tracks,
    })
}

/// The initialisation segment that goes with `segment` in fMP4.
pub fn init_segment(path: &Path) -> Result<Bytes, Error> {
    opened(path).map(|(_, _, reader)| fmp4::init_segment(&reader.head().tracks))
}

/// What comes from `from_ms` until before `to_ms`, in milliseconds since the file's beginning, as one segment. It should
/// begin at a key frame.
pub fn segment(path: &Path, from_ms: u64, to_ms: u64, container: Container) -> Result<Bytes, Error> {
    let (_, mut source, mut reader) = opened(path)?;
    let wrong = |error: ReadError| Error::Invalid(format!("{}: {error}", path.display()));
    let ticks = |millis: u64| Ticks::from_millis(millis.min(1 << 40).cast_signed());
    let (from, to) = (ticks(from_ms), ticks(to_ms));
    reader.seek(from + Ticks::from_millis(1)); // times of FLV are rounded to milliseconds
    let (mut units, mut kept, mut size) = (Vec::new(), Vec::<AccessUnit>::new(), 0);
    let mut over = false;
    while !over {
        over = !reader.read(&mut source, &mut units).map_err(wrong)?;
        for unit in units.drain(..) {
            over |= unit.dts >= to + SOUND_BEHIND;
            if (from.as_millis()..to.as_millis()).contains(&unit.dts.as_millis()) {
                size += unit.data.len();
                kept.push(unit);
            }
        }
        if size > SEGMENT_MAX {
            return Err(Error::Invalid(format!("more than {SEGMENT_MAX} bytes in one segment")));
        }
    }
    let tracks = kept.last().map_or_else(|| reader.head().tracks.clone(), |unit| unit.tracks.clone());
    // Players take the times as they are: parts of a file stand one behind the other.
    Ok(match container {
        Container::Ts => {
            let mut muxer = TsMuxer::with_sound(Sound::Standard);
            let mut out = BytesMut::with_capacity(size + size / 16 + 4096);
            muxer.write_tables(&tracks, &mut out);
            for unit in &kept {
                muxer.write(unit, &mut out);
            }
            out.freeze()
        }
        Container::Fmp4 | Container::LowLatency => {
            let mut fragment = fmp4::Fragment::new();
            for unit in &kept {
                fragment.push(unit);
            }
            let last = kept.iter().rfind(|unit| unit.kind == Kind::Video).map_or(to, |unit| unit.dts);
            let sequence = u32::try_from(from_ms / 1000 + 1).unwrap_or(1);
            fragment.write(&tracks, sequence, to.min(last + Ticks::from_millis(10_000)))
        }
    })
}
