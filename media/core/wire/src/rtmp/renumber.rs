//! Media for a server that made another message stream than ours: the same bytes with another number in their headers.

use super::{CHUNK_SIZE, MEDIA_STREAM, kind};

/// Where a full header (fmt 0) has its type and its message stream; what follows is the extended timestamp.
const KIND: usize = 7;
const STREAM: usize = 8;
const HEADER: usize = 12;
const EXTENSION: usize = 4;

/// Changes the message stream of the media in what our muxers and machines write, whose messages begin with full headers
/// and never interleave.
#[derive(Debug)]
pub struct Renumber {
    stream: [u8; 4],
    header: [u8; HEADER + EXTENSION],
    /// Bytes of the chunk's header that were seen.
    seen: usize,
    /// Bytes of the chunk that are still to come.
    chunk: usize,
    /// Bytes of its message behind the chunk.
    message: usize,
    extended: bool,
}

impl Renumber {
    /// Media for message stream `stream`; `None` if that is ours.
    pub fn to(stream: u32) -> Option<Self> {
        let stream = (stream != MEDIA_STREAM).then(|| stream.to_le_bytes())?;
        Some(Self { stream, header: [0; HEADER + EXTENSION], seen: 0, chunk: 0, message: 0, extended: false })
    }

    /// Takes the next bytes and changes them in place; they may be cut anywhere.
    pub fn handle(&mut self, data: &mut [u8]) {
        let mut at = 0;
        while let Some(byte) = data.get_mut(at) {
            if self.chunk > 0 {
                let size = self.chunk.min(data.len() - at);
                self.chunk -= size;
                at += size;
                continue;
            }
            self.header[self.seen] = *byte;
            if self.seen >= STREAM && self.seen < HEADER && self.is_full() && self.is_media() {
                *byte = self.stream[self.seen - STREAM];
            }
            self.seen += 1;
            at += 1;
            if self.seen == self.header_size() {
                self.begin_chunk();
            }
        }
    }

    fn is_full(&self) -> bool {
        self.header[0] >> 6 == 0
    }

    fn is_media(&self) -> bool {
        matches!(self.header[KIND], kind::AUDIO | kind::VIDEO | kind::DATA)
    }

    fn header_size(&self) -> usize {
        let extension = |extended| if extended { EXTENSION } else { 0 };
        if self.is_full() {
            HEADER + extension(self.seen >= 4 && self.header[1..4] == [0xFF; 3])
        } else {
            1 + extension(self.extended)
        }
    }

    fn begin_chunk(&mut self) {
        if self.is_full() {
            self.extended = self.seen > HEADER;
            let [_, _, _, _, a, b, c, ..] = self.header;
            self.message = u32::from_be_bytes([0, a, b, c]) as usize;
        }
        self.chunk = self.message.min(CHUNK_SIZE);
        self.message -= self.chunk;
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::{
        ChunkReader,
        chunk_writer::{Header, put_message},
    };

    #[test]
    fn media_get_the_number_and_commands_keep_theirs_wherever_the_bytes_are_cut() {
        let mut bytes = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0xEA, 0x60];
        let sent = [
            (18, 1, 0),
            (9, 150_000, 5),
            (8, 0, 0xFF_FFFF),
            (9, 60_001, u32::MAX),
            (20, 30, 0),
            (9, 60_000, 7),
        ];
        for (kind, size, timestamp) in sent {
            let stream = u32::from(kind != 20);
            put_message(
                &mut bytes,
                Header { channel: 6, kind, stream, timestamp },
                &vec![kind; size],
                CHUNK_SIZE,
            );
        }
        for step in [1, 3, 5000, 60_013, usize::MAX] {
            let mut renumber = Renumber::to(0x0102).unwrap();
            let mut changed = bytes.clone();
            changed.chunks_mut(step).for_each(|piece| renumber.handle(piece));
            let mut reader = ChunkReader::default();
            reader.allow_media();
            reader.handle(&changed);
            let read: Vec<_> = std::iter::from_fn(|| reader.poll().unwrap()).collect();
            let told: Vec<_> = read.iter().map(|m| (m.kind, m.payload.len(), m.timestamp)).collect();
            assert_eq!(told, sent, "{step}");
            assert!(read.iter().all(|m| m.stream == if m.kind == 20 { 0 } else { 0x0102 }), "{step}");
        }
        assert!(Renumber::to(1).is_none());
    }
}
