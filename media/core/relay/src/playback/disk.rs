//! A file on the disk; perhaps one that is still on its way here.
//!
//! Who fetches a file makes it as large as it will be and lists beside it which bytes of it are there, one piece a line
//! (`first-behind`), in `NAME.there`, always replaced as a whole. The list goes once all is there. What is not there is
//! [`io::ErrorKind::WouldBlock`] to who reads it. It is [`io::ErrorKind::NotFound`] once the list says that no more comes
//! (a line `gone`), or who fetched gave up and deleted the file, which is done before its list goes.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use wire::file::{ReadError, Source};

/// A list of pieces is no larger: who fetches lists about 100 pieces at most (`PIECES_MAX` of
/// `gateway/playback/pieces.py`), each of 42 bytes at most.
const LIST_MAX: u64 = 8192;
/// The line of a list which says that what is not there never comes.
const GONE: &str = "gone";

#[derive(Debug)]
pub(super) struct OnDisk {
    file: File,
    coming: Option<Coming>,
}

/// What is known to be there of a file that is fetched.
#[derive(Debug)]
struct Coming {
    list: PathBuf,
    pieces: Vec<(u64, u64)>,
    /// No more comes.
    gone: bool,
}

impl OnDisk {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut list = path.as_os_str().to_owned();
        list.push(".there");
        let list = PathBuf::from(list);
        // The list is there before the file and goes after its last byte came: looked for before and behind, it cannot be
        // missed.
        let before = list.exists();
        let file = File::open(path)?;
        let coming = before || list.exists();
        Ok(Self { file, coming: coming.then_some(Coming { list, pieces: Vec::new(), gone: false }) })
    }

    /// Its bytes, those that are not there yet too.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// `WouldBlock` if not all of these bytes are there.
    fn await_bytes(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let Some(coming) = &mut self.coming else { return Ok(()) };
        let size = self.file.metadata()?.len();
        // Who opens it while it is being made finds nothing in it.
        if size > 0 && coming.has(offset, length, size) {
            return Ok(());
        }
        match fs::metadata(&coming.list).and_then(|list| {
            if list.len() > LIST_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            fs::read_to_string(&coming.list)
        }) {
            // A list beside a deleted file is that of another one, which is fetched anew.
            _ if self.file.metadata()?.nlink() == 0 => return Err(io::ErrorKind::NotFound.into()),
            Ok(list) => {
                coming.pieces = pieces(&list);
                coming.gone = list.lines().any(|line| line == GONE);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.coming = None;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        match coming {
            coming if size > 0 && coming.has(offset, length, size) => Ok(()),
            Coming { gone: true, .. } => Err(io::ErrorKind::NotFound.into()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Coming {
    fn has(&self, offset: u64, length: usize, size: u64) -> bool {
        let behind = offset.saturating_add(length as u64).min(size);
        offset >= behind || self.pieces.iter().any(|(first, last)| *first <= offset && behind <= *last)
    }
}

impl Source for OnDisk {
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.await_bytes(offset, length)?;
        let mut bytes = vec![0; length];
        let mut size = 0;
        while size < length {
            match self.file.read_at(&mut bytes[size..], offset + size as u64) {
                Ok(0) => break,
                Ok(read) => size += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(size);
        Ok(bytes.into())
    }
}

fn pieces(list: &str) -> Vec<(u64, u64)> {
    let piece = |line: &str| {
        let (first, behind) = line.split_once('-')?;
        Some((first.parse().ok()?, behind.parse().ok()?))
    };
    list.lines().filter_map(piece).collect()
}

/// Whether what could not be read is only not there yet.
pub(super) fn is_late(error: &ReadError) -> bool {
    matches!(error, ReadError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_told_from_what_never_comes() {
        let folder = std::env::temp_dir().join(format!("coming-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, list) = (folder.join("1.mp4"), folder.join("1.mp4.there"));
        fs::write(&path, (0..100).collect::<Vec<u8>>()).unwrap();
        fs::write(&list, "0-10\n50-70\nnonsense\n").unwrap();
        let mut file = OnDisk::open(&path).unwrap();
        assert_eq!(file.size().unwrap(), 100);
        assert_eq!(&file.read(2, 8).unwrap()[..], (2..10).collect::<Vec<u8>>());
        for (offset, length) in [(2, 9), (10, 1), (45, 10), (60, 11), (70, 500)] {
            assert_eq!(file.read(offset, length).unwrap_err().kind(), io::ErrorKind::WouldBlock, "{offset}");
        }
        fs::write(&list, "0-10\n50-100\n").unwrap();
        assert_eq!(file.read(70, 500).unwrap().len(), 30, "fewer at the file's end");
        assert!(file.read(100, 1).unwrap().is_empty());
        fs::remove_file(&list).unwrap();
        assert_eq!(file.read(10, 5).unwrap().len(), 5, "all of it is there");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn who_fetches_can_say_that_no_more_comes() {
        let folder = std::env::temp_dir().join(format!("gone-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, list) = (folder.join("1.mp4"), folder.join("1.mp4.there"));
        fs::write(&path, [1; 100]).unwrap();
        fs::write(&list, "0-10\n").unwrap();
        let mut file = OnDisk::open(&path).unwrap();
        assert_eq!(file.read(10, 1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        fs::write(&list, "0-20\ngone\n").unwrap();
        assert_eq!(file.read(10, 10).unwrap().len(), 10, "what is there can be read");
        assert_eq!(file.read(20, 1).unwrap_err().kind(), io::ErrorKind::NotFound);

        fs::write(&list, "0-20\n").unwrap();
        let mut file = OnDisk::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::remove_file(&list).unwrap();
        assert_eq!(
            file.read(20, 1).unwrap_err().kind(),
            io::ErrorKind::NotFound,
            "it is not whole, but deleted"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
