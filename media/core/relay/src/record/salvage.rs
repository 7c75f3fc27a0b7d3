//! What a crash left: a file that was being written is cut to its last whole frame, and finished.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use wire::file::{Form, Found, Scan};

use super::files::{self, Files, Folder, Name};
use crate::error::Error;

/// A file that was salvaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Where it is now.
    pub path: PathBuf,
    /// When its first frame came, in milliseconds of the UNIX epoch.
    pub start_ms: u64,
    /// When its last frame came, as its times tell.
    pub end_ms: u64,
    /// Pictures and runs of sound.
    pub frames: u64,
}

/// Finishes a file of which only the name and what is on the disk is known; one without a frame is removed. Nobody may
/// be writing it.
pub fn salvage(path: &Path) -> Result<Option<Salvaged>, Error> {
    let known = path.file_name().and_then(|name| files::parse_part_name(name.to_str()?));
    let Some((start_ms, form)) = known else {
        return Err(Error::Invalid(format!("{} is no name of an unfinished recording", path.display())));
    };
    let what = || Error::io(format!("cannot salvage {}", path.display()));
    // Opening a pipe would wait for its other end.
    if !path.symlink_metadata().map_err(what())?.is_file() {
        return Err(Error::Invalid(format!("{} is no file", path.display())));
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(what())?;
    let Some(found) = scan(&file, form).map_err(what())? else {
        drop(file);
        Folder.remove(path).and_then(|()| files::sync_directory(path)).map_err(what())?;
        return Ok(None);
    };
    finish(&file, form, &found).map_err(what())?;
    let end_ms = start_ms.saturating_add(found.last.as_millis().max(0).cast_unsigned());
    let mut name = Name { start_ms, end_ms, form };
    let path = files::publish(&Folder, path, &mut name).map_err(what())?;
    Ok(Some(Salvaged { path, start_ms, end_ms: name.end_ms, frames: found.frames }))
}

fn scan(file: &File, form: Form) -> io::Result<Option<Found>> {
    let mut scan = Scan::new(form, file.metadata()?.len());
    let mut bytes = Vec::new();
    while let Some(want) = scan.want() {
        bytes.resize(want.length, 0);
        let size = read_at(file, &mut bytes, want.offset)?;
        scan.handle_bytes(&bytes[..size]);
    }
    Ok(scan.finish())
}

fn finish(file: &File, form: Form, found: &Found) -> io::Result<()> {
    file.set_len(found.size)?;
    let mut head = vec![0; found.head];
    file.read_exact_at(&mut head, 0)?;
    found.summary().write_into(form, &mut head);
    file.write_all_at(&head, 0)?;
    file.sync_all()
}

/// Reads as much as there is.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut size = 0;
    while size < bytes.len() {
        match file.read_at(&mut bytes[size..], offset + size as u64) {
            Ok(0) => break,
            Ok(read) => size += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}
