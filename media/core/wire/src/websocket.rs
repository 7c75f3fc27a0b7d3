//! The server's half of a WebSocket that only sends (RFC 6455): the handshake's answer, frame headers, and a reader that
//! watches what the client sends for Ping and Close.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

/// The value of Sec-WebSocket-Accept for a client's Sec-WebSocket-Key (§4.2.2).
pub fn accept_key(key: &str) -> String {
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    BASE64_STANDARD.encode(digest)
}

/// Whether a Sec-WebSocket-Key is 16 bytes in base64 (§4.1).
pub fn is_key(key: &str) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// What a frame is (§5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A binary message.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// The answer to a Ping.
    Pong = 10,
}

/// The header of one unmasked, unfragmented frame (§5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; 10],
    len: u8,
}

impl FrameHeader {
    /// The header of a frame with `size` bytes of payload.
    pub fn new(opcode: Opcode, size: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = 0x80 | opcode as u8;
        let len = match size {
            0..126 => {
                bytes[1] = size as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(size as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(size as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, len }
    }
}

impl std::ops::Deref for FrameHeader {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A whole control frame; its payload is cut to the 125 bytes that §5.5 allows.
pub fn control_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(125)];
    [&FrameHeader::new(opcode, payload.len())[..], payload].concat()
}

/// Something the client said that needs an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// To be answered with a Pong of the same payload.
    Ping(Vec<u8>),
    /// To be answered with a Close of the same code, if any; then the connection ends.
    Close(Option<u16>),
}

/// The client broke the protocol; the connection ends with the status code 1002 (§7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// §5.1: a client masks all its frames.
    #[error("frame without a mask (RFC 6455 §5.1)")]
    Unmasked,
    /// §5.2: a reserved bit or opcode.
    #[error("reserved bit or opcode in {0:#04x} (RFC 6455 §5.2)")]
    Reserved(u8),
    /// §5.5: a control frame is whole and at most 125 bytes long.
    #[error("control frame too long or in pieces (RFC 6455 §5.5)")]
    Control,
    /// §5.2: a 64-bit length has its highest bit clear.
    #[error("length of more than 63 bits (RFC 6455 §5.2)")]
    Length,
}

/// Reads a client's frames from bytes cut anywhere. Data is skipped, however long; of a control frame at most 125 bytes
/// are kept.
///
/// ```text
///  0       1       2 … 9            +4
/// ┌───────┬───────┬────────────────┬──────┬─────────
/// │FRRR op│M len 7│ len 0, 16 or 64│ mask │ payload
/// └───────┴───────┴────────────────┴──────┴─────────
/// ```
#[derive(Debug, Default)]
pub struct ClientReader {
    header: Vec<u8>,
    /// Bytes of the frame's payload still to come, once its header is whole.
    left: Option<u64>,
    payload: Vec<u8>,
}

impl ClientReader {
    /// Takes what was read from the socket and returns what must be answered, in order. After an error, or after
    /// `Close`, nothing more may be fed.
    pub fn handle(&mut self, mut data: &[u8]) -> Result<Vec<ClientEvent>, FrameError> {
        let mut events = Vec::new();
        while !data.is_empty() {
            data = match self.left {
                None => self.take_header(data)?,
                Some(left) => self.take_payload(data, left),
            };
            if self.left == Some(0) {
                events.extend(self.finish());
                if matches!(events.last(), Some(ClientEvent::Close(_))) {
                    break;
                }
            }
        }
        Ok(events)
    }

    fn take_header<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], FrameError> {
        let (&byte, rest) = data.split_first().unwrap_or((&0, &[]));
        self.header.push(byte);
        match *self.header.as_slice() {
            [first] => check_first(first)?,
            [first, second] => check_second(first, second)?,
            _ => {}
        }
        let size = header_size(self.header.get(1).copied());
        if self.header.len() == size {
            self.left = Some(payload_size(&self.header)?);
        }
        Ok(rest)
    }

    fn take_payload<'a>(&mut self, data: &'a [u8], left: u64) -> &'a [u8] {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        if self.header[0] & 8 != 0 {
            self.payload.extend_from_slice(&data[..taken]);
        }
        self.left = Some(left - taken as u64);
        &data[taken..]
    }

    fn finish(&mut self) -> Option<ClientEvent> {
        let mask: Vec<u8> = self.header[self.header.len() - 4..].to_vec();
        let mut payload = std::mem::take(&mut self.payload);
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let opcode = self.header[0] & 0x0F;
        self.header.clear();
        self.left = None;
        match opcode {
            8 => Some(ClientEvent::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code)))),
            9 => Some(ClientEvent::Ping(payload)),
            _ => None,
        }
    }
}

fn check_first(first: u8) -> Result<(), FrameError> {
    let whole = first & 0x80 != 0;
    match first & 0x7F {
        0..=2 => Ok(()),
        8..=10 if whole => Ok(()),
        8..=10 => Err(FrameError::Control),
        _ => Err(FrameError::Reserved(first)),
    }
}

fn check_second(first: u8, second: u8) -> Result<(), FrameError> {
    if second & 0x80 == 0 {
        return Err(FrameError::Unmasked);
    }
    if first & 8 != 0 && second & 0x7F > 125 { Err(FrameError::Control) } else { Ok(()) }
}

/// Bytes of a header, mask included, by its second byte.
fn header_size(second: Option<u8>) -> usize {
    match second.map(|second| second & 0x7F) {
        None => usize::MAX,
        Some(126) => 8,
        Some(127) => 14,
        Some(_) => 6,
    }
}

fn payload_size(header: &[u8]) -> Result<u64, FrameError> {
    let extended = &header[2..header.len() - 4];
    let size = match extended {
        [] => u64::from(header[1] & 0x7F),
        bytes => bytes.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)),
    };
    if size >> 63 == 0 { Ok(size) } else { Err(FrameError::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let header = FrameHeader::new(Opcode::Binary, payload.len());
        let mut out = header.to_vec();
        out[0] = first;
        out[1] |= 0x80;
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    #[test]
    fn the_handshake_of_the_standard() {
        // RFC 6455 §1.3
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_key("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(!is_key("dGhlIHNhbXBsZQ=="));
    }

    #[test]
    fn lengths_take_seven_sixteen_or_sixty_four_bits() {
        assert_eq!(FrameHeader::new(Opcode::Binary, 125)[..], [0x82, 125]);
        assert_eq!(FrameHeader::new(Opcode::Binary, 126)[..], [0x82, 126, 0, 126]);
        assert_eq!(FrameHeader::new(Opcode::Binary, 0xFFFF)[..], [0x82, 126, 0xFF, 0xFF]);
        assert_eq!(FrameHeader::new(Opcode::Binary, 0x1_0000)[..], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(control_frame(Opcode::Close, &1002u16.to_be_bytes()), [0x88, 2, 0x03, 0xEA]);
    }

    #[test]
    fn bytes_cut_anywhere_give_the_same_events() {
        let mut stream = masked(0x81, b"chatter");
        stream.extend(masked(0x89, b"are you there"));
        stream.extend(masked(0x02, &[7; 300]));
        stream.extend(masked(0x80, &vec![7; 70_000]));
        stream.extend(masked(0x8A, b""));
        stream.extend(masked(0x88, &[0x03, 0xE8, b'x']));
        let expected = vec![ClientEvent::Ping(b"are you there".to_vec()), ClientEvent::Close(Some(1000))];
        for size in [1, 2, 3, 7, 1000, stream.len()] {
            let mut reader = ClientReader::default();
            let events: Vec<_> =
                stream.chunks(size).flat_map(|piece| reader.handle(piece).expect("well-formed")).collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_named() {
        let error = |bytes: &[u8]| ClientReader::default().handle(bytes).expect_err("broken");
        assert_eq!(error(&[0x82, 0x05]), FrameError::Unmasked);
        assert_eq!(error(&[0xC2]), FrameError::Reserved(0xC2));
        assert_eq!(error(&[0x83]), FrameError::Reserved(0x83));
        assert_eq!(error(&[0x09]), FrameError::Control);
        assert_eq!(error(&[0x89, 0xFE]), FrameError::Control);
        assert_eq!(error(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), FrameError::Length);
    }
}
