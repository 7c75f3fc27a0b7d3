//! Commands and what is said back (§7.2), user control messages (§7.1.7).

use super::{CHUNK_SIZE, MEDIA_STREAM, Message, channel, chunk_writer, chunk_writer::Header, kind};
use crate::amf::{Name, Reader, Value};

/// A longer command is passed over.
const COMMAND_MAX: usize = 64 << 10;

/// User control events (§7.1.7).
const STREAM_BEGIN: u16 = 0;
const STREAM_EOF: u16 = 1;
const BUFFER_LENGTH: u16 = 3;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// What a client asks for, or a server answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) name: String,
    /// 0 asks for no answer.
    pub(super) transaction: f64,
    /// The command object, then the arguments.
    pub(super) values: Vec<Value>,
}

impl Command {
    /// Reads a command, in AMF0 or in the AMF3 form of it, which begins with AMF0 all the same; `None` if it is none.
    /// Values that cannot be read are taken for absent.
    pub(super) fn read(message: &Message) -> Option<Self> {
        let (name, rest) = read_values(message)?;
        let mut rest = rest.into_iter();
        let transaction = rest.next().as_ref().and_then(Value::as_number).unwrap_or(0.0);
        Some(Self { name, transaction, values: rest.collect() })
    }

    /// The text of argument `number`, the first behind the command object being 1.
    pub(super) fn text(&self, number: usize) -> Option<&str> {
        self.values.get(number)?.as_text()
    }
}

/// The name and the values of a command or data message.
pub(super) fn read_values(message: &Message) -> Option<(String, Vec<Value>)> {
    let mut data = message.payload.get(..message.payload.len().min(COMMAND_MAX))?;
    if matches!(message.kind, kind::COMMAND_AMF3 | kind::DATA_AMF3) {
        // The format's number, 0, stands before the values where they are AMF0.
        data = data.strip_prefix(&[0]).unwrap_or(data);
    }
    let mut reader = Reader::new(data);
    let Ok(Some(Value::String(name))) = reader.next_value() else { return None };
    let values = std::iter::from_fn(|| reader.next_value().ok().flatten()).collect();
    Some((name, values))
}

/// An object of texts and the like.
pub(super) fn object<const N: usize>(entries: [(&'static str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(name, value)| (Name::from(name), value)).collect())
}

/// What an information object says of a stream or connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status<'a> {
    /// Whether this is an error.
    pub(super) error: bool,
    pub(super) code: &'a str,
    pub(super) description: &'a str,
}

impl Status<'_> {
    pub(super) fn value(self) -> Value {
        object([
            ("level", Value::text(if self.error { "error" } else { "status" })),
            ("code", Value::text(self.code)),
            ("description", Value::text(self.description)),
        ])
    }
}

/// Appends a command message on message stream `stream`.
pub(super) fn put_command(out: &mut Vec<u8>, stream: u32, name: &str, transaction: f64, values: &[Value]) {
    let mut payload = Vec::with_capacity(256);
    Value::text(name).write(&mut payload);
    Value::Number(transaction).write(&mut payload);
    for value in values {
        value.write(&mut payload);
    }
    let header = Header { channel: channel::COMMAND, kind: kind::COMMAND, stream, timestamp: 0 };
    chunk_writer::put_message(out, header, &payload, CHUNK_SIZE);
}

/// Appends `onStatus` (§7.2.2) on the media stream.
pub(super) fn put_status(out: &mut Vec<u8>, status: Status<'_>) {
    put_command(out, MEDIA_STREAM, "onStatus", 0.0, &[Value::Null, status.value()]);
}

/// Appends a protocol control or user control message.
pub(super) fn put_control(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let header = Header { channel: channel::CONTROL, kind, stream: 0, timestamp: 0 };
    chunk_writer::put_message(out, header, payload, CHUNK_SIZE);
}

/// Appends "the stream begins" (§7.1.7).
pub(super) fn put_stream_begin(out: &mut Vec<u8>) {
    put_user_control(out, STREAM_BEGIN, MEDIA_STREAM);
}

/// Appends "the stream is over" (§7.1.7).
pub(super) fn put_stream_eof(out: &mut Vec<u8>) {
    put_user_control(out, STREAM_EOF, MEDIA_STREAM);
}

/// Appends how many milliseconds of message stream `stream` should be in store for us (§7.1.7).
pub(super) fn put_buffer_length(out: &mut Vec<u8>, stream: u32, millis: u32) {
    let payload = [&BUFFER_LENGTH.to_be_bytes()[..], &stream.to_be_bytes(), &millis.to_be_bytes()].concat();
    put_control(out, kind::USER_CONTROL, &payload);
}

fn put_user_control(out: &mut Vec<u8>, event: u16, value: u32) {
    put_control(out, kind::USER_CONTROL, &[&event.to_be_bytes()[..], &value.to_be_bytes()].concat());
}

/// Answers a ping, if `payload` is one.
pub(super) fn answer_ping(out: &mut Vec<u8>, payload: &[u8]) {
    if let Some((event, value)) = payload.split_first_chunk()
        && u16::from_be_bytes(*event) == PING_REQUEST
        && let Some(time) = value.first_chunk()
    {
        put_user_control(out, PING_RESPONSE, u32::from_be_bytes(*time));
    }
}
