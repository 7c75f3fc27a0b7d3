//! The files of a playback, read one behind the other. It waits for the disk: call it on a thread that may.

use std::path::{Path, PathBuf};

use wire::{
    file::{FileReader, Form, ReadError},
    media::{AccessUnit, Kind, Ticks},
};

use super::{
    PlayFile,
    disk::{OnDisk, is_late},
};
use crate::hub::gop::begins;

/// What is wrong with files is told of so many times.
const PROBLEMS_MAX: usize = 8;
/// Units that a search for a key frame looks through: an hour's worth.
const SEARCH_MAX: usize = 400_000;

/// The form that a file's name tells.
pub(super) fn form_of(path: &Path) -> Option<Form> {
    let extension = path.extension()?.to_str()?;
    [Form::Flv, Form::Fmp4].into_iter().find(|form| form.extension() == extension)
}

/// Units that were read together, with times from their file's zero.
pub(super) struct Batch {
    /// When the file begins.
    pub(super) start_ms: u64,
    /// They begin another file than those before, or somewhere else in it.
    pub(super) fresh: bool,
    /// How long the file is.
    pub(super) duration: Ticks,
    pub(super) units: Vec<AccessUnit>,
}

struct Opened {
    source: OnDisk,
    reader: FileReader,
    /// The newest key frame that was read.
    key: Option<Ticks>,
    /// Nothing was read of it.
    fresh: bool,
}

/// What is to be read next is not there yet: the same call is to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Late;

/// What became of reading on.
enum Step {
    Read(Batch),
    Late,
    /// The file is over.
    Over,
    /// So is the playback.
    End,
}

#[derive(Default)]
pub(super) struct Deck {
    files: Vec<(PlayFile, Option<Form>)>,
    end_ms: Option<u64>,
    number: usize,
    open: Option<Opened>,
    problems: Vec<String>,
    /// The file whose problem was noted last: it is not noted again each time that it is tried.
    noted: Option<usize>,
}

impl Deck {
    /// `None` if a file's name does not tell its form.
    pub(super) fn new(files: Vec<PlayFile>, end_ms: Option<u64>) -> Option<Self> {
        let files: Vec<_> = files.into_iter().map(|file| (form_of(&file.path), file)).collect();
        let known = files.iter().all(|(form, _)| form.is_some());
        let files = files.into_iter().map(|(form, file)| (file, form)).collect();
        known.then_some(Self { files, end_ms, ..Self::default() })
    }

    /// When the first file begins.
    pub(super) fn start_ms(&self) -> u64 {
        self.files.first().map_or(0, |(file, _)| file.start_ms)
    }

    /// Where it ends, if the last file tells; it reads that file's head.
    pub(super) fn end_ms(&self) -> Option<u64> {
        let (file, form) = self.files.last()?;
        let (_, reader) = open(&file.path, (*form)?).ok()?;
        let end_ms = file.start_ms.saturating_add_signed(reader.head().duration.as_millis());
        Some(end_ms.min(self.end_ms.unwrap_or(u64::MAX)))
    }

    /// What is wrong with files since it was asked last.
    pub(super) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// Goes to the last key frame at or before a moment, or to the next file if none has that moment.
    pub(super) fn seek(&mut self, position_ms: u64, keys_only: bool) -> Result<Option<Batch>, Late> {
        let behind = self.files.partition_point(|(file, _)| file.start_ms <= position_ms);
        self.number = behind.saturating_sub(1);
        self.open = None;
        let Some(start_ms) = self.files.get(self.number).map(|(file, _)| file.start_ms) else {
            return Ok(None);
        };
        let offset = Ticks::from_millis(position_ms.saturating_sub(start_ms).min(1 << 40).cast_signed());
        let Some(opened) = self.opened()? else { return self.next(keys_only) };
        let duration = opened.reader.head().duration;
        if duration > Ticks(0) && offset >= duration {
            self.turn_over();
            return self.next(keys_only);
        }
        match search(opened, offset) {
            Ok(mut units) => {
                opened.fresh = false;
                opened.key = units.iter().filter(|unit| is_key(unit)).map(|unit| unit.dts).next_back();
                if keys_only {
                    units.retain(is_key);
                    units.truncate(1);
                    opened.key = units.first().map(|unit| unit.dts);
                }
                Ok(Some(Batch { start_ms, fresh: true, duration, units }))
            }
            Err(error) if is_late(&error) => Err(Late),
            Err(error) => {
                self.note(&error);
                self.turn_over();
                self.next(keys_only)
            }
        }
    }

    /// The next units; `None` behind the last file.
    pub(super) fn next(&mut self, keys_only: bool) -> Result<Option<Batch>, Late> {
        while self.number < self.files.len() {
            match self.step(keys_only) {
                Step::Read(batch) => return Ok(Some(batch)),
                Step::Late => return Err(Late),
                Step::Over => self.turn_over(),
                Step::End => self.number = self.files.len(),
            }
        }
        Ok(None)
    }

    fn turn_over(&mut self) {
        self.number += 1;
        self.open = None;
    }

    /// Reads on in the present file.
    fn step(&mut self, keys_only: bool) -> Step {
        let end_ms = self.end_ms.unwrap_or(u64::MAX);
        let Some(start_ms) = self.files.get(self.number).map(|(file, _)| file.start_ms) else {
            return Step::End;
        };
        if start_ms > end_ms {
            return Step::End;
        }
        let opened = match self.opened() {
            Ok(Some(opened)) => opened,
            Ok(None) => return Step::Over,
            Err(Late) => return Step::Late,
        };
        let duration = opened.reader.head().duration;
        if keys_only && opened.key.is_some_and(|key| !opened.reader.skip(key)) {
            return Step::Over;
        }
        let mut units = Vec::new();
        match opened.reader.read(&mut opened.source, &mut units) {
            Ok(true) => {}
            Ok(false) => return Step::Over,
            Err(error) if is_late(&error) => return Step::Late,
            Err(error) => {
                self.note(&error);
                return Step::Over;
            }
        }
        let fresh = std::mem::take(&mut opened.fresh);
        if keys_only {
            units.retain(is_key);
            units.truncate(1);
        }
        opened.key = units.iter().filter(|unit| is_key(unit)).map(|unit| unit.dts).next_back().or(opened.key);
        let end = Ticks::from_millis((end_ms - start_ms).min(1 << 40).cast_signed());
        let before = units.len();
        units.retain(|unit| unit.dts <= end);
        if units.is_empty() && before > 0 {
            return Step::End;
        }
        Step::Read(Batch { start_ms, fresh, duration, units })
    }

    /// The present file; `None`, and a problem, if it cannot be opened.
    fn opened(&mut self) -> Result<Option<&mut Opened>, Late> {
        if self.open.is_none() {
            let Some((file, Some(form))) = self.files.get(self.number) else { return Ok(None) };
            match open(&file.path, *form) {
                Ok((source, reader)) => self.open = Some(Opened { source, reader, key: None, fresh: true }),
                Err(error) if is_late(&error) => return Err(Late),
                Err(error) => {
                    self.note(&error);
                    return Ok(None);
                }
            }
        }
        Ok(self.open.as_mut())
    }

    fn note(&mut self, error: &ReadError) {
        let path: PathBuf =
            self.files.get(self.number).map(|(file, _)| file.path.clone()).unwrap_or_default();
        if self.noted.replace(self.number) != Some(self.number) && self.problems.len() < PROBLEMS_MAX {
            self.problems.push(format!("{}: {error}", path.display()));
        }
    }
}

pub(super) fn open(path: &Path, form: Form) -> Result<(OnDisk, FileReader), ReadError> {
    let mut source = OnDisk::open(path)?;
    let reader = FileReader::open(form, &mut source)?;
    Ok((source, reader))
}

/// The units from the last key frame at or before `to` on, as far as they were read.
fn search(opened: &mut Opened, to: Ticks) -> Result<Vec<AccessUnit>, ReadError> {
    opened.reader.seek(to);
    let mut units: Vec<AccessUnit> = Vec::new();
    loop {
        let from = units.len();
        let more = opened.reader.read(&mut opened.source, &mut units)?;
        let reached = units[from..].iter().any(|unit| is_reference(unit) && unit.dts > to);
        let start = units.iter().rposition(|unit| begins(unit) && unit.dts <= to);
        if let Some(start) = start.filter(|start| *start > 0) {
            units.drain(..start);
        }
        if reached || !more || units.len() > SEARCH_MAX {
            return Ok(units);
        }
    }
}

fn is_key(unit: &AccessUnit) -> bool {
    unit.kind == Kind::Video && unit.key
}

fn is_reference(unit: &AccessUnit) -> bool {
    unit.kind == Kind::Video || unit.tracks.video.is_none()
}
