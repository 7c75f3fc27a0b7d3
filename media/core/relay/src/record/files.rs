//! The disk as recordings see it; tests put another one in its place.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use wire::file::Form;

/// Two files of one millisecond get numbers that follow each other; after so many something else is wrong.
const TRIES: u64 = 1000;

/// When a file's first and last frame came, in milliseconds of the UNIX epoch: its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) form: Form,
}

/// The name of a file that is being written.
pub(crate) fn part_name(start_ms: u64, form: Form) -> String {
    format!("{start_ms}.{}.part", form.extension())
}

/// Reads the name of a file that was being written.
pub(crate) fn parse_part_name(name: &str) -> Option<(u64, Form)> {
    let (start, extension) = name.strip_suffix(".part")?.split_once('.')?;
    let form = [Form::Flv, Form::Fmp4].into_iter().find(|form| form.extension() == extension)?;
    let start = start.bytes().all(|byte| byte.is_ascii_digit()).then_some(start)?;
    Some((start.parse().ok()?, form))
}

/// A file that is being written.
pub(crate) trait OpenFile: Send {
    /// Writes all parts behind what was written before.
    fn append(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Writes over the file's beginning.
    fn rewrite(&mut self, head: &[u8]) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&mut self, size: u64) -> io::Result<()>;
    /// Returns once all of it is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// Where files are made.
pub(crate) trait Files: Send + Sync {
    /// Makes a file that was not there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;
    /// Whether something has this name.
    fn exists(&self, path: &Path) -> bool;
    /// Gives a file another name, and returns once that is on the disk.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// Makes the file of a slice that begins at `start_ms`; another millisecond is taken where that one is.
pub(crate) fn create_part(
    files: &dyn Files,
    directory: &Path,
    start_ms: u64,
    form: Form,
) -> io::Result<(u64, PathBuf, Box<dyn OpenFile>)> {
    for start_ms in start_ms..start_ms.saturating_add(TRIES) {
        let path = directory.join(part_name(start_ms, form));
        match files.create(&path) {
            Ok(file) => return Ok((start_ms, path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Gives a finished file its name; another millisecond is taken where that one is.
pub(crate) fn publish(files: &dyn Files, part: &Path, name: &mut Name) -> io::Result<PathBuf> {
    for _ in 0..TRIES {
        let file = format!("{}-{}.{}", name.start_ms, name.end_ms, name.form.extension());
        let whole = part.with_file_name(file);
        if !files.exists(&whole) {
            files.rename(part, &whole)?;
            return Ok(whole);
        }
        name.end_ms += 1;
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The file system.
pub(crate) struct Folder;

impl Files for Folder {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_directory(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// Returns once the names in the directory of `path` are on the disk.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

impl OpenFile for File {
    fn append(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            // The system takes 1,024 parts at once.
            let count = parts.len().min(1024);
            match self.write_vectored(&parts[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, head: &[u8]) -> io::Result<()> {
        self.write_all_at(head, 0)
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_none() {
        for form in [Form::Flv, Form::Fmp4] {
            assert_eq!(parse_part_name(&part_name(1_767_225_600_123, form)), Some((1_767_225_600_123, form)));
        }
        for name in
            ["", ".part", "1.flv", "1.ts.part", "+1.flv.part", "x.flv.part", "1-2.flv.part", "1.flv.part2"]
        {
            assert_eq!(parse_part_name(name), None, "{name}");
        }
        assert_eq!(parse_part_name(&format!("{}0.flv.part", u64::MAX)), None);
    }
}
