//! From the segments of a list to units, whatever form the segments have.

use std::{
    iter,
    time::{Duration, Instant},
};

use aes::{
    Aes128,
    cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7},
};
use bytes::Bytes;
use wire::{
    fmp4_read::Mp4Reader,
    ts_read::TsReader,
    unpack::{Options, Output},
};

use super::super::failure::Failure;
use crate::clock;

/// Where a list goes on after a discontinuity: about a picture after the last one.
const STEP: Duration = Duration::from_millis(40);
/// Longer than anything in a reader waits for what may come.
const LONG: Duration = Duration::from_secs(60);

/// Boxes that a segment of fragmented MP4 may begin with.
const FRAGMENTED: [&[u8; 4]; 6] = [b"ftyp", b"styp", b"moof", b"sidx", b"emsg", b"prft"];

/// The reader of the present form.
enum Reader {
    None,
    Ts(Box<TsReader>),
    Mp4(Box<Mp4Reader>),
}

/// Reads segment after segment. What is in a segment comes at once, so it is read with a clock that almost stands:
/// only the stream's own times count.
pub(in crate::pull) struct Segments {
    reader: Reader,
    now: Instant,
}

impl Default for Segments {
    fn default() -> Self {
        Self { reader: Reader::None, now: clock::now() }
    }
}

impl Segments {
    /// What the segments are, as snapshots tell it.
    pub(in crate::pull) fn payload(&self) -> &'static str {
        if matches!(self.reader, Reader::Mp4(_)) { "fmp4" } else { "ts" }
    }

    /// Takes the initialisation section of the segments that follow.
    pub(in crate::pull) fn handle_init(&mut self, data: &[u8]) -> Result<(), Failure> {
        if matches!(self.reader, Reader::None) {
            self.reader = Reader::Mp4(Box::new(Mp4Reader::new(Options::default())));
        }
        match &mut self.reader {
            Reader::Mp4(reader) => reader.handle_init(data).map_err(Failure::BadMedia),
            _ => Err(Failure::UnknownBody),
        }
    }

    /// Takes a whole segment: what is in it, and of how many packets or samples.
    pub(in crate::pull) fn handle_segment(&mut self, data: &Bytes) -> Result<(Vec<Output>, u32), Failure> {
        self.now += STEP;
        let fragmented = data.get(4..8).is_some_and(|name| FRAGMENTED.iter().any(|known| name == *known));
        if !fragmented && matches!(self.reader, Reader::None) {
            self.reader = Reader::Ts(Box::new(TsReader::new(Options::default())));
        }
        let now = self.now;
        // A list that changes its form is begun anew.
        Ok(match &mut self.reader {
            Reader::Ts(reader) if !fragmented => {
                reader.handle_bytes(now, data).map_err(Failure::NotTs)?;
                reader.handle_end(now);
                reader.handle_timeout(now + LONG);
                (iter::from_fn(|| reader.poll_output()).collect(), reader.take_packets())
            }
            Reader::Mp4(reader) if fragmented => {
                reader.handle_segment(now, data).map_err(Failure::BadMedia)?;
                reader.handle_timeout(now + LONG);
                (iter::from_fn(|| reader.poll_output()).collect(), reader.take_samples())
            }
            _ => return Err(Failure::UnknownBody),
        })
    }

    /// Segments are missing.
    pub(in crate::pull) fn handle_gap(&mut self) {
        match &mut self.reader {
            Reader::None => {}
            Reader::Ts(reader) => reader.handle_gap(),
            Reader::Mp4(reader) => reader.handle_gap(),
        }
    }

    /// What follows has a clock and tracks of its own.
    pub(in crate::pull) fn handle_restart(&mut self) {
        match &mut self.reader {
            Reader::None => {}
            Reader::Ts(reader) => reader.handle_restart(),
            Reader::Mp4(reader) => reader.handle_restart(),
        }
    }
}

/// A segment without its encryption (RFC 8216 §5.2: AES-128-CBC, PKCS 7).
pub(in crate::pull) fn decrypt(data: &[u8], key: [u8; 16], iv: [u8; 16]) -> Result<Bytes, Failure> {
    let cipher = cbc::Decryptor::<Aes128>::new(&key.into(), &iv.into());
    let plain = cipher
        .decrypt_padded_vec::<Pkcs7>(data)
        .map_err(|_| Failure::Encrypted("a segment cannot be decrypted with the key"))?;
    Ok(plain.into())
}
