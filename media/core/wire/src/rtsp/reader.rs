//! A connection's bytes into requests, responses and interleaved packets (RFC 2326 §4, §10.12).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use thiserror::Error;

/// Bytes of a message at most, head and body together.
pub const HEAD_MAX: usize = 64 << 10;

/// Header fields of a message at most.
const FIELDS_MAX: usize = 64;

/// Why a connection cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReaderError {
    /// Larger than [`HEAD_MAX`].
    #[error("a message of more than {HEAD_MAX} bytes")]
    TooBig,
    /// More header fields than anybody needs.
    #[error("more than {FIELDS_MAX} header fields")]
    TooManyFields,
    /// Not RTSP.
    #[error("no RTSP message")]
    Malformed,
}

/// What a message begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Method, in capitals, and URI; the URI of `OPTIONS *` is `*`.
    Request(String, String),
    /// Status.
    Response(u16),
}

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its first line.
    pub start: Start,
    /// Names as sent, values without space around them.
    pub headers: Vec<(String, String)>,
    /// As long as Content-Length says.
    pub body: Bytes,
}

impl Message {
    /// The first header of this name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All headers of this name.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// `CSeq`; a message without a readable one has none.
    pub fn cseq(&self) -> Option<u32> {
        self.header("CSeq")?.trim().parse().ok()
    }

    /// The session's id, its parameters cut off (§12.37).
    pub fn session(&self) -> Option<&str> {
        self.header("Session").map(|value| value.split(';').next().unwrap_or(value).trim())
    }
}

/// One thing that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A request or a response.
    Message(Message),
    /// A packet of an interleaved channel.
    Data(u8, Bytes),
}

/// Cuts a connection's bytes.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// Bytes in which no end of a head was found: a head that comes drop by drop is not searched again and again.
    searched: usize,
    /// The head at the front, while its body has not come whole.
    head: Option<Head>,
}

/// Where a message's head and body end.
#[derive(Debug, Clone, Copy)]
struct Head {
    len: usize,
    body: usize,
}

impl Reader {
    /// Takes what came.
    pub fn handle_input(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Where a socket reads into; the bytes count at once.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next item, `None` if it has not come whole.
    ///
    /// After an error the connection is of no use.
    pub fn poll_item(&mut self) -> Result<Option<Item>, ReaderError> {
        // Empty lines before a message are tolerated, as in HTTP (RFC 9112 §2.2).
        while self.searched == 0 && matches!(self.buffer.first(), Some(b'\r' | b'\n')) {
            self.buffer.advance(1);
        }
        match self.buffer.first() {
            None => Ok(None),
            Some(b'$') => Ok(self.data()),
            Some(_) => self.message(),
        }
    }

    fn data(&mut self) -> Option<Item> {
        let &[_, channel, high, low, ..] = &self.buffer[..] else { return None };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if self.buffer.len() < 4 + len {
            return None;
        }
        let mut packet = self.buffer.split_to(4 + len);
        packet.advance(4);
        Some(Item::Data(channel, packet.freeze()))
    }

    fn message(&mut self) -> Result<Option<Item>, ReaderError> {
        let head = match self.head {
            Some(head) => head,
            None => match self.find_head()? {
                Some(head) => *self.head.insert(head),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < head.len + head.body {
            return Ok(None);
        }
        let text = self.buffer.split_to(head.len);
        let body = self.buffer.split_to(head.body).freeze();
        (self.searched, self.head) = (0, None);
        let (start, headers) = read_head(&text)?;
        Ok(Some(Item::Message(Message { start, headers, body })))
    }

    fn find_head(&mut self) -> Result<Option<Head>, ReaderError> {
        let from = self.searched.saturating_sub(3);
        self.searched = self.buffer.len();
        let Some(end) = memmem::find(&self.buffer[from..], b"\r\n\r\n") else {
            return if self.buffer.len() > HEAD_MAX { Err(ReaderError::TooBig) } else { Ok(None) };
        };
        let len = from + end + 4;
        let (_, headers) = read_head(&self.buffer[..len])?;
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
        let body = match length {
            Some((_, value)) => value.parse::<usize>().map_err(|_| ReaderError::Malformed)?,
            None => 0,
        };
        // Neither can overflow: the sum is compared only when the body is small.
        if body > HEAD_MAX || len + body > HEAD_MAX {
            return Err(ReaderError::TooBig);
        }
        Ok(Some(Head { len, body }))
    }
}

/// The first line and the fields of a head that is whole. Lines that are no fields are skipped.
fn read_head(head: &[u8]) -> Result<(Start, Vec<(String, String)>), ReaderError> {
    // Values may be in any encoding; what matters is ASCII.
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let start = read_start(lines.next().unwrap_or_default()).ok_or(ReaderError::Malformed)?;
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    let headers: Vec<_> = fields.take(FIELDS_MAX + 1).collect();
    if headers.len() > FIELDS_MAX { Err(ReaderError::TooManyFields) } else { Ok((start, headers)) }
}

/// `SETUP rtsp://… RTSP/1.0` or `RTSP/1.0 200 OK`.
fn read_start(line: &str) -> Option<Start> {
    let mut words = line.split_ascii_whitespace();
    let (first, second) = (words.next()?, words.next()?);
    if is_version(first) {
        let status = second.parse().ok().filter(|status| (100..1000).contains(status))?;
        return Some(Start::Response(status));
    }
    // An URI with spaces, as some encoders send it, is one URI all the same.
    let uri = line.trim().strip_prefix(first)?.trim();
    let (uri, version) = uri.rsplit_once(char::is_whitespace)?;
    let method = first.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (method && is_version(version)).then(|| Start::Request(first.to_ascii_uppercase(), uri.trim().to_owned()))
}

fn is_version(word: &str) -> bool {
    matches!(word, "RTSP/1.0" | "RTSP/1.1" | "RTSP/2.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETUP: &[u8] = b"SETUP rtsp://a/app/name/trackID=0 RTSP/1.0\r\nCSeq: 3\r\n\
        transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 12345678;timeout=60\r\n\r\n";

    fn all(reader: &mut Reader) -> Vec<Item> {
        std::iter::from_fn(|| reader.poll_item().unwrap()).collect()
    }

    #[test]
    fn messages_and_packets_come_in_any_pieces() {
        let announce = b"ANNOUNCE rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 4\r\n\r\nv=0\n";
        let stream = [
            SETUP,
            b"$\x01\x00\x03abc",
            b"\r\n",
            announce,
            b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n",
            b"$\x00\x00\x00",
        ];
        let stream = stream.concat();
        let mut whole = Reader::default();
        whole.handle_input(&stream);
        let expected = all(&mut whole);
        assert_eq!(expected.len(), 5);
        for size in [1, 2, 3, 7, 50] {
            let mut reader = Reader::default();
            let mut items = Vec::new();
            for piece in stream.chunks(size) {
                reader.handle_input(piece);
                items.extend(all(&mut reader));
            }
            assert_eq!(items, expected, "pieces of {size}");
        }
        let Item::Message(setup) = &expected[0] else { panic!() };
        assert_eq!(setup.start, Start::Request("SETUP".into(), "rtsp://a/app/name/trackID=0".into()));
        assert_eq!((setup.cseq(), setup.session()), (Some(3), Some("12345678")));
        assert_eq!(setup.headers("Transport").count(), 1);
        assert_eq!(expected[1], Item::Data(1, Bytes::from_static(b"abc")));
        let Item::Message(announce) = &expected[2] else { panic!() };
        assert_eq!(announce.body, "v=0\n");
        assert!(matches!(&expected[3], Item::Message(Message { start: Start::Response(200), .. })));
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut reader = Reader::default();
        reader.handle_input(&vec![b'A'; HEAD_MAX + 1]);
        assert_eq!(reader.poll_item(), Err(ReaderError::TooBig));
        let mut reader = Reader::default();
        reader.handle_input(b"ANNOUNCE rtsp://a/b RTSP/1.0\r\nContent-Length: 4000000000\r\n\r\n");
        assert_eq!(reader.poll_item(), Err(ReaderError::TooBig));
        let mut reader = Reader::default();
        reader.handle_input(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(reader.poll_item(), Err(ReaderError::Malformed));
        let fields = "X-Field: 1\r\n".repeat(100);
        let mut reader = Reader::default();
        reader.handle_input(format!("OPTIONS * RTSP/1.0\r\n{fields}\r\n").as_bytes());
        assert_eq!(reader.poll_item(), Err(ReaderError::TooManyFields));
    }
}
