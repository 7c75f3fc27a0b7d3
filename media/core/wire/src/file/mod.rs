//! A stream as files that stand for themselves: headers, a key frame first, times from zero.
//!
//! H.264 and sound alone become FLV, H.265 becomes fragmented MP4, unless one form is wished for. What is only known at
//! the end (length, where the key frames are) has its room reserved in the head, which is patched when a file is closed,
//! or salvaged after a crash.

mod flv;
mod flv_scan;
mod fmp4;
mod fmp4_scan;
mod index;
mod muxer;
mod read;
mod read_flv;
mod read_fmp4;
mod scan;

pub use self::{
    index::{Entry, Index},
    muxer::FileMuxer,
    read::{FileReader, Head, ReadError, Source},
    scan::{Found, Scan, Want},
};
use crate::media::{AudioCodec, Ticks, Tracks, VideoCodec};

/// The two forms of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Tags; H.265 and Opus in the enhanced form.
    Flv,
    /// Fragmented MP4.
    Fmp4,
}

impl Form {
    /// The form for a stream with these tracks where one is wished for. Sound alone has the form that fits it: in
    /// fragmented MP4 there would be no place to seek to.
    pub fn wished(wish: Option<Self>, tracks: &Tracks) -> Self {
        wish.filter(|_| tracks.video.is_some()).unwrap_or_else(|| Self::of(tracks))
    }

    /// The form that most players read, for a stream with these tracks: FLV for H.264 and sound alone, without Opus.
    pub fn of(tracks: &Tracks) -> Self {
        let h265 = tracks.video.as_ref().is_some_and(|track| track.codec == VideoCodec::H265);
        let opus = tracks.audio.as_ref().is_some_and(|track| track.codec == AudioCodec::Opus);
        if h265 || opus { Self::Fmp4 } else { Self::Flv }
    }

    /// The end of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Flv => "flv",
            Self::Fmp4 => "mp4",
        }
    }
}

/// What is known of a file once it has its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary<'a> {
    /// From its first time to the end of its last picture.
    pub duration: Ticks,
    /// All of it, in bytes.
    pub size: u64,
    /// Where one can begin to play, in order.
    pub entries: &'a [Entry],
}

impl Summary<'_> {
    /// Writes what is known into `head`, the first bytes of a file of this form. What has no room there is left out; a
    /// head that is not one of ours is left alone.
    pub fn write_into(&self, form: Form, head: &mut [u8]) {
        match form {
            Form::Flv => flv::patch(head, self),
            Form::Fmp4 => fmp4::patch(head, self),
        }
    }
}

/// Puts `bytes` at `at`, if they fit there.
fn put_at(target: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = at.checked_add(bytes.len()).and_then(|end| target.get_mut(at..end)) {
        room.copy_from_slice(bytes);
    }
}
