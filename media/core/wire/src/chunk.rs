//! What a muxer hands to many viewers: bytes that are made once and never copied again.

use std::io::IoSlice;

use bytes::{BufMut, Bytes, BytesMut};

/// One piece of a live byte stream: what a muxer puts before a unit, the unit itself (shared with the GOP cache, not
/// copied), and what it puts behind. A viewer writes it with one `writev`; cloning it counts references only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Headers of containers, and anything that must precede the unit.
    pub head: Bytes,
    /// The unit's payload.
    pub body: Bytes,
    /// What closes the unit, such as FLV's `PreviousTagSize`.
    pub tail: Option<[u8; 4]>,
}

impl Chunk {
    /// A chunk of `head` alone.
    pub fn from_bytes(head: Bytes) -> Self {
        Self { head, body: Bytes::new(), tail: None }
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len() + self.tail().len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts in the order they are written; some may be empty.
    pub fn parts(&self) -> [&[u8]; 3] {
        [&self.head, &self.body, self.tail()]
    }

    /// What is left to write after the first `written` bytes of `prefix` (a WebSocket frame header, or empty) and
    /// chunk together, ready for `writev`. Slices that are used up are empty.
    pub fn remaining<'a>(&'a self, prefix: &'a [u8], mut written: usize) -> [IoSlice<'a>; 4] {
        let [head, body, tail] = self.parts();
        [prefix, head, body, tail].map(|part| {
            let skipped = written.min(part.len());
            written -= skipped;
            IoSlice::new(&part[skipped..])
        })
    }

    /// One contiguous copy.
    pub fn to_bytes(&self) -> Bytes {
        if self.body.is_empty() && self.tail.is_none() {
            return self.head.clone();
        }
        let mut out = BytesMut::with_capacity(self.len());
        self.parts().into_iter().for_each(|part| out.put_slice(part));
        out.freeze()
    }

    fn tail(&self) -> &[u8] {
        self.tail.as_ref().map_or(&[], <[u8; 4]>::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_the_suffix_wherever_a_write_stopped() {
        let chunk = Chunk {
            head: Bytes::from_static(b"head"),
            body: Bytes::from_static(b"body"),
            tail: Some(*b"tail"),
        };
        let whole = b"ws:headbodytail";
        for written in 0..=whole.len() {
            let rest: Vec<u8> =
                chunk.remaining(b"ws:", written).iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(rest, whole[written..], "after {written}");
        }
        assert_eq!(chunk.to_bytes(), whole[3..]);
        assert_eq!(chunk.len(), 12);
    }
}
