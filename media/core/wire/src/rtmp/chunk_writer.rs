//! From messages to chunks (§5.3). Every message begins with a full header (fmt 0): its bytes then mean the same to every
//! player, whenever it joined.

use bytes::{BufMut, Bytes, BytesMut};

use super::CHUNK_SIZE;
use crate::chunk::Chunk;

/// Times from here on stand in the extended timestamp (§5.3.1.3).
const EXTENDED: u32 = 0xFF_FFFF;

/// Which chunk stream a message goes by, and what its header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) channel: u8,
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) timestamp: u32,
}

impl Header {
    /// The first chunk's header for a message of `length` bytes.
    fn put(&self, out: &mut impl BufMut, length: usize) {
        out.put_u8(self.channel);
        out.put_uint(self.timestamp.min(EXTENDED).into(), 3);
        out.put_uint(length as u64, 3);
        out.put_u8(self.kind);
        out.put_u32_le(self.stream);
        self.put_extension(out);
    }

    /// A further chunk's header (fmt 3); it repeats the extended timestamp.
    fn put_next(&self, out: &mut impl BufMut) {
        out.put_u8(0xC0 | self.channel);
        self.put_extension(out);
    }

    fn put_extension(&self, out: &mut impl BufMut) {
        if self.timestamp >= EXTENDED {
            out.put_u32(self.timestamp);
        }
    }
}

/// Appends a message in chunks of `chunk_size` bytes.
pub(super) fn put_message(out: &mut impl BufMut, header: Header, payload: &[u8], chunk_size: usize) {
    header.put(out, payload.len());
    let mut pieces = payload.chunks(chunk_size);
    out.put_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        header.put_next(out);
        out.put_slice(piece);
    }
}

/// `before`, then a message of `prefix` and `body` in chunks of our size. The body is referenced, not copied, unless it
/// has to be cut. `None` if it is longer than a message can be.
pub(super) fn message(mut before: Vec<u8>, header: Header, prefix: &[u8], body: Bytes) -> Option<Chunk> {
    let length = prefix.len() + body.len();
    if length >= 1 << 24 {
        return None;
    }
    if length <= CHUNK_SIZE {
        header.put(&mut before, length);
        before.extend_from_slice(prefix);
        return Some(Chunk { head: before.into(), body, tail: None });
    }
    let mut out = BytesMut::with_capacity(before.len() + length + 16 + length / CHUNK_SIZE * 5);
    out.put_slice(&before);
    header.put(&mut out, length);
    out.put_slice(prefix);
    let (first, rest) = body.split_at(CHUNK_SIZE - prefix.len());
    out.put_slice(first);
    for piece in rest.chunks(CHUNK_SIZE) {
        header.put_next(&mut out);
        out.put_slice(piece);
    }
    Some(Chunk::from_bytes(out.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::{ChunkReader, Message};

    fn read(data: &[u8]) -> Vec<Message> {
        let mut reader = ChunkReader::default();
        reader.allow_media();
        reader.handle(
            &[&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &(CHUNK_SIZE as u32).to_be_bytes(), data].concat(),
        );
        std::iter::from_fn(|| reader.poll().expect("good chunks")).collect()
    }

    #[test]
    fn what_is_written_reads_back_whatever_its_size_and_time() {
        for (size, timestamp) in
            [(0, 0), (10, 0xFF_FFFE), (CHUNK_SIZE, 0xFF_FFFF), (CHUNK_SIZE + 1, u32::MAX)]
                .into_iter()
                .chain([(3 * CHUNK_SIZE + 5, 40), (3 * CHUNK_SIZE, 1 << 31)])
        {
            let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let header = Header { channel: 6, kind: 9, stream: 1, timestamp };
            let mut out = Vec::new();
            put_message(&mut out, header, &payload, CHUNK_SIZE);
            let wanted = Message { kind: 9, stream: 1, timestamp, payload: payload.clone().into() };
            assert_eq!(read(&out), std::slice::from_ref(&wanted));
            let cut = size.min(5);
            let body = Bytes::from(payload).slice(cut..);
            let chunk =
                message(Vec::new(), header, &wanted.payload[..cut], body.clone()).expect("short enough");
            assert_eq!(chunk.to_bytes(), out);
            assert_eq!(chunk.body.as_ptr() == body.as_ptr(), size <= CHUNK_SIZE, "copied only if it is cut");
        }
    }

    #[test]
    fn a_message_has_less_than_16_mebibytes() {
        let header = Header { channel: 6, kind: 9, stream: 1, timestamp: 0 };
        assert!(message(Vec::new(), header, &[0], vec![0; (1 << 24) - 1].into()).is_none());
    }
}
