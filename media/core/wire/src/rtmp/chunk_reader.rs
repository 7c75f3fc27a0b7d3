//! From chunks to messages (§5.3). Bounded: messages, chunk streams, and bytes of messages that are not whole.
//!
//! ```text
//! basic header   fmt:2 csid:6 [csid - 64: 8 or 16 bits]
//! fmt 0          timestamp:24 length:24 type:8 stream:32 (little endian)   [extended timestamp:32]
//! fmt 1          delta:24     length:24 type:8                             [extended timestamp:32]
//! fmt 2          delta:24                                                  [extended timestamp:32]
//! fmt 3                                                                    [extended timestamp:32]
//! ```

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::kind;

/// A longer message is refused: before media may come, and while it does. A key frame of the largest cameras has 2 MiB.
const COMMAND_MAX: usize = 64 << 10;
const MEDIA_MAX: usize = 8 << 20;
/// Chunk streams that a client may use; real ones use 2 to 8.
const STREAMS_MAX: usize = 64;
/// Bytes of all messages that are not whole, as so many of the longest.
const PARTIAL_MAX: usize = 2;
/// What is reserved for a message before its bytes come.
const RESERVE_MAX: usize = 256 << 10;
/// A timestamp field with this value stands for the extended one (§5.3.1.3).
const EXTENDED: u32 = 0xFF_FFFF;

/// The client's chunks make no sense, or are too large: the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// A message that is longer than 8 MiB, or than 64 KiB where no media is expected.
    #[error("a message of {0} bytes")]
    MessageTooLong(usize),
    /// More chunk streams than 64.
    #[error("too many chunk streams")]
    TooManyStreams,
    /// Too many bytes of messages that were begun and not ended.
    #[error("too many messages begun")]
    TooMuchBegun,
    /// A chunk refers to one before it, and there is none.
    #[error("a chunk of stream {0} that refers to none before it")]
    NoHeader(u32),
    /// Set Chunk Size or Abort with a wrong length or value.
    #[error("a protocol control message that makes no sense")]
    BadControl,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: u8,
    /// The message stream that it belongs to.
    pub stream: u32,
    /// Milliseconds, modulo 2³².
    pub timestamp: u32,
    /// What it carries.
    pub payload: Bytes,
}

/// The last header of a chunk stream and the message that is on its way.
#[derive(Debug, Default)]
struct Channel {
    id: u32,
    /// The timestamp field or its extension, as the last header that had one said: in fmt 0 a time, else a difference.
    field: u32,
    extended: bool,
    timestamp: u32,
    length: usize,
    kind: u8,
    stream: u32,
    /// A message was begun and not ended.
    begun: bool,
    payload: BytesMut,
}

/// Takes a client's bytes and gives its messages. Set Chunk Size and Abort are obeyed here.
#[derive(Debug)]
pub struct ChunkReader {
    buffer: BytesMut,
    message_max: usize,
    chunk_size: usize,
    channels: Vec<Channel>,
    /// Bytes of messages that are not whole.
    partial: usize,
    /// The chunk whose header was read: its channel, and the size of its payload.
    awaited: Option<(usize, usize)>,
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            message_max: COMMAND_MAX,
            chunk_size: 128,
            channels: Vec::new(),
            partial: 0,
            awaited: None,
        }
    }
}

impl ChunkReader {
    /// Media is expected from now on: messages may be long.
    pub fn allow_media(&mut self) {
        self.message_max = MEDIA_MAX;
    }

    /// Takes bytes; `poll` gives what they complete, and must be called until it gives nothing.
    pub fn handle(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next message; `None` until more bytes come. After an error nothing more comes.
    pub fn poll(&mut self) -> Result<Option<Message>, ChunkError> {
        loop {
            if self.awaited.is_none() {
                self.awaited = self.read_header()?;
            }
            let Some((at, size)) = self.awaited.filter(|(_, size)| self.buffer.len() >= *size) else {
                return Ok(None);
            };
            self.awaited = None;
            if let Some(message) = self.take(at, size)? {
                return Ok(Some(message));
            }
        }
    }

    /// Takes a chunk's header, if it is there: the channel, and how much payload follows.
    fn read_header(&mut self) -> Result<Option<(usize, usize)>, ChunkError> {
        let Some((format, id, basic)) = basic_header(&self.buffer) else { return Ok(None) };
        let size = basic + [11, 7, 3, 0][usize::from(format)];
        let Some(fields) = self.buffer.get(basic..size) else { return Ok(None) };
        let known = self.channels.iter().position(|channel| channel.id == id);
        let old = known.map(|at| &self.channels[at]);
        if old.is_none() && format != 0 {
            return Err(ChunkError::NoHeader(id));
        }
        let goes_on = format == 3 && old.is_some_and(|old| old.begun);
        let mut field =
            fields.first_chunk().map_or_else(|| old.map_or(0, |old| old.field), |field| number(*field));
        let extended = if format == 3 { old.is_some_and(|old| old.extended) } else { field == EXTENDED };
        let mut extension = 0;
        if extended {
            let Some(value) = self.buffer[size..].first_chunk() else { return Ok(None) };
            let value = u32::from_be_bytes(*value);
            // Some encoders leave it out where a message goes on, though §5.3.1.3 demands it.
            if !goes_on || value == field {
                (extension, field) = (4, value);
            }
        }
        let length = fields.get(3..6).and_then(<[u8]>::first_chunk).map(|length| number(*length) as usize);
        let (kind, stream) = (fields.get(6).copied(), fields.get(7..).and_then(<[u8]>::first_chunk).copied());
        if let Some(length) = length.filter(|length| *length > self.message_max) {
            return Err(ChunkError::MessageTooLong(length));
        }
        let at = match known {
            Some(at) => at,
            None if self.channels.len() >= STREAMS_MAX => return Err(ChunkError::TooManyStreams),
            None => {
                self.channels.push(Channel { id, ..Channel::default() });
                self.channels.len() - 1
            }
        };
        self.buffer.advance(size + extension);
        let channel = &mut self.channels[at];
        if !goes_on {
            // A message that another one cuts off is lost.
            self.partial -= channel.payload.len();
            channel.payload.clear();
            channel.begun = true;
            channel.field = field;
            channel.extended = extended;
            channel.length = length.unwrap_or(channel.length);
            channel.kind = kind.unwrap_or(channel.kind);
            channel.stream = stream.map_or(channel.stream, u32::from_le_bytes);
            // A new message in fmt 3 repeats the last difference; behind fmt 0 that is its time (§5.3.1.2.4).
            let base = if format == 0 { 0 } else { channel.timestamp };
            channel.timestamp = base.wrapping_add(field);
        }
        Ok(Some((at, (channel.length - channel.payload.len()).min(self.chunk_size))))
    }

    /// Takes a chunk's payload; the message that it completes.
    fn take(&mut self, at: usize, size: usize) -> Result<Option<Message>, ChunkError> {
        let channel = &mut self.channels[at];
        let payload = if size == channel.length {
            self.buffer.split_to(size)
        } else {
            self.partial += size;
            if self.partial > PARTIAL_MAX * self.message_max {
                return Err(ChunkError::TooMuchBegun);
            }
            if channel.payload.is_empty() {
                channel.payload.reserve(channel.length.min(RESERVE_MAX));
            }
            channel.payload.extend_from_slice(&self.buffer[..size]);
            self.buffer.advance(size);
            if channel.payload.len() < channel.length {
                return Ok(None);
            }
            self.partial -= channel.length;
            std::mem::take(&mut channel.payload)
        };
        channel.begun = false;
        let Channel { kind, stream, timestamp, .. } = *channel;
        let message = Message { kind, stream, timestamp, payload: payload.freeze() };
        match kind {
            kind::SET_CHUNK_SIZE => self.set_chunk_size(control(&message)?).map(|()| None),
            kind::ABORT => {
                self.abort(control(&message)?);
                Ok(None)
            }
            _ => Ok(Some(message)),
        }
    }

    /// Set Chunk Size (§5.4.1): the first bit is not part of it.
    fn set_chunk_size(&mut self, value: u32) -> Result<(), ChunkError> {
        self.chunk_size =
            Some(value as usize & 0x7FFF_FFFF).filter(|size| *size > 0).ok_or(ChunkError::BadControl)?;
        Ok(())
    }

    /// Abort Message (§5.4.2).
    fn abort(&mut self, id: u32) {
        if let Some(channel) = self.channels.iter_mut().find(|channel| channel.id == id) {
            self.partial -= channel.payload.len();
            channel.payload = BytesMut::new();
            channel.begun = false;
        }
    }
}

/// The number that a protocol control message carries.
fn control(message: &Message) -> Result<u32, ChunkError> {
    message.payload.first_chunk().map(|value| u32::from_be_bytes(*value)).ok_or(ChunkError::BadControl)
}

/// Format, chunk stream and size of a basic header (§5.3.1.1).
fn basic_header(data: &[u8]) -> Option<(u8, u32, usize)> {
    let (&first, rest) = data.split_first()?;
    let (id, size) = match first & 0x3F {
        0 => (64 + u32::from(*rest.first()?), 2),
        1 => (64 + u32::from(u16::from_le_bytes(*rest.first_chunk()?)), 3),
        id => (u32::from(id), 1),
    };
    Some((first >> 6, id, size))
}

fn number([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<Vec<Message>, ChunkError> {
        let mut reader = ChunkReader::default();
        reader.allow_media();
        reader.handle(data);
        let mut messages = Vec::new();
        while let Some(message) = reader.poll()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// fmt 0 on chunk stream 4: time, length, type, message stream 1.
    fn full(time: u32, length: u32, kind: u8) -> Vec<u8> {
        [&[4], &time.to_be_bytes()[1..], &length.to_be_bytes()[1..], &[kind, 1, 0, 0, 0]].concat()
    }

    fn times(data: &[u8]) -> Vec<u32> {
        read(data).unwrap().iter().map(|message| message.timestamp).collect()
    }

    #[test]
    fn each_format_repeats_what_it_leaves_out() {
        let data = [
            &full(1000, 2, 8)[..],
            b"ab",
            &[0x44, 0, 0, 20, 0, 0, 1, 9],
            b"c",
            &[0x84, 0, 0, 40],
            b"d",
            &[0xC4],
            b"e",
        ]
        .concat();
        let messages = read(&data).unwrap();
        let told: Vec<_> = messages.iter().map(|m| (m.kind, m.stream, m.timestamp, &m.payload[..])).collect();
        assert_eq!(
            told,
            [(8, 1, 1000, &b"ab"[..]), (9, 1, 1020, b"c"), (9, 1, 1060, b"d"), (9, 1, 1100, b"e")]
        );
        for cut in 0..data.len() {
            let mut reader = ChunkReader::default();
            let mut again = Vec::new();
            for piece in [&data[..cut], &data[cut..]] {
                reader.handle(piece);
                while let Some(message) = reader.poll().unwrap() {
                    again.push(message);
                }
            }
            assert_eq!(again, messages, "cut at {cut}");
        }
    }

    #[test]
    fn messages_of_several_chunks_interleave() {
        let long: Vec<u8> = (0..300_u32).map(|byte| byte as u8).collect();
        let mut data = full(5, 300, 9);
        data.extend_from_slice(&long[..128]);
        data.extend_from_slice(&[2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 9]); // an acknowledgement
        data.extend_from_slice(&[&[0xC4], &long[128..256], &[0xC4], &long[256..]].concat());
        let messages = read(&data).unwrap();
        assert_eq!(messages.iter().map(|message| message.kind).collect::<Vec<_>>(), [3, 9]);
        assert_eq!(messages[1].payload, long);
    }

    #[test]
    fn chunk_streams_have_numbers_of_one_to_three_bytes() {
        let tail = [0, 0, 7, 0, 0, 0, 8, 1, 0, 0, 0];
        for head in [&[63][..], &[0, 1], &[1, 1, 2]] {
            assert_eq!(times(&[head, &tail].concat()), [7]);
        }
        assert_eq!(basic_header(&[0xC1, 1, 2]), Some((3, 64 + 0x0201, 3)));
        assert_eq!(basic_header(&[0xC1, 1]), None);
    }

    #[test]
    fn the_chunk_size_changes_at_once_and_is_checked() {
        let set = |size: u32| [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &size.to_be_bytes()].concat();
        let long = [7; 1000];
        let data = [&set(4096)[..], &full(0, 1000, 9), &long].concat();
        assert_eq!(read(&data).unwrap()[0].payload, long[..]);
        assert_eq!(read(&set(0)), Err(ChunkError::BadControl));
        assert_eq!(read(&set(0x8000_0000)), Err(ChunkError::BadControl));
        assert_eq!(read(&[2, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 9]), Err(ChunkError::BadControl), "cut");
    }

    #[test]
    fn an_aborted_message_and_one_that_is_cut_off_are_lost() {
        let abort = [2, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0, 4];
        let data = [&full(0, 200, 9)[..], &[1; 128], &abort, &full(40, 1, 9), &[2]].concat();
        assert_eq!(times(&data), [40]);
        let data = [&full(0, 200, 9)[..], &[1; 128], &full(40, 1, 9), &[2]].concat();
        assert_eq!(times(&data), [40]);
    }

    #[test]
    fn extended_timestamps_stand_in_every_chunk_or_only_in_the_first() {
        let late = 0x0102_0304_u32;
        let head = [&full(EXTENDED, 200, 9)[..], &late.to_be_bytes(), &[1; 128]].concat();
        let strict = [&head[..], &[0xC4], &late.to_be_bytes(), &[2; 72]].concat();
        let sloppy = [&head[..], &[0xC4], &[2; 72]].concat();
        for data in [&strict, &sloppy] {
            let messages = read(data).unwrap();
            assert_eq!((messages[0].timestamp, messages[0].payload.len()), (late, 200));
            assert_eq!(messages[0].payload[128..], [2; 72]);
        }
        let next = [&strict[..], &[0x84, 0, 0, 40], &[1; 128], &[0xC4], &[2; 72]].concat();
        assert_eq!(times(&next), [late, late + 40], "a difference that fits ends the extension");
        let wraps = [&full(EXTENDED, 1, 8)[..], &[0xFF; 4], &[0], &[0x84, 0, 0, 2, 9]].concat();
        assert_eq!(times(&wraps), [u32::MAX, 1]);
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(read(&full(0, 0xFF_FFFF, 9)), Err(ChunkError::MessageTooLong(0xFF_FFFF)));
        let mut commands = ChunkReader::default();
        commands.handle(&full(0, 65_537, 20));
        assert_eq!(commands.poll(), Err(ChunkError::MessageTooLong(65_537)), "no media was allowed");
        assert_eq!(read(&[0xC5]), Err(ChunkError::NoHeader(5)));
        let many = |count: u8| {
            let each = (2..2 + count).map(|id| [&[id][..], &full(0, 0, 8)[1..]].concat());
            read(&each.collect::<Vec<_>>().concat())
        };
        assert_eq!(many(62).map(|messages| messages.len()), Ok(62));
        let two: Vec<_> = (0..3_u8).map(|id| [&[0, id][..], &full(0, 0, 8)[1..]].concat()).collect();
        let data = [(2..64_u8).map(|id| [&[id][..], &full(0, 0, 8)[1..]].concat()).collect::<Vec<_>>(), two]
            .concat();
        assert_eq!(read(&data.concat()), Err(ChunkError::TooManyStreams));
        let mut data = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF].to_vec();
        for id in 4..8 {
            data.extend([&[id][..], &full(0, 8 << 20, 9)[1..]].concat());
            data.resize(data.len() + 0x7F_FFFF, 0);
        }
        assert_eq!(read(&data), Err(ChunkError::TooMuchBegun));
    }

    #[test]
    fn an_empty_message_is_one() {
        assert_eq!(read(&full(9, 0, 8)).unwrap()[0].payload.len(), 0);
    }
}
