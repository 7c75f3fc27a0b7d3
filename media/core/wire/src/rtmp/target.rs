//! What a server says while we publish to it: mostly nothing, acknowledgements, and in the end that it had enough.

use super::{
    ChunkError, ChunkReader,
    client::{Refusal, is_refusal, refusal},
    command::{self, Command},
    kind,
};
use crate::amf::Value;

/// What a server wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetEvent {
    /// To be sent these bytes, between two chunks of media.
    Answer(Vec<u8>),
    /// That we stop.
    Stop(Refusal),
}

/// Reads what a server says after `publish` was answered, bounded as before.
#[derive(Debug)]
pub struct TargetReader {
    reader: ChunkReader,
    name: String,
    stream: u32,
}

impl TargetReader {
    pub(super) fn new(reader: ChunkReader, name: String, stream: u32) -> Self {
        Self { reader, name, stream }
    }

    /// The message stream that the server wants the media on.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Takes bytes; what they ask for. After an error the server cannot be understood any more.
    pub fn handle(&mut self, data: &[u8]) -> Result<Option<TargetEvent>, ChunkError> {
        self.reader.handle(data);
        let mut out = Vec::new();
        while let Some(message) = self.reader.poll()? {
            match message.kind {
                kind::USER_CONTROL => command::answer_ping(&mut out, &message.payload),
                kind::COMMAND | kind::COMMAND_AMF3 => {
                    if let Some(stop) = Command::read(&message).and_then(|command| stops(&command)) {
                        return Ok(Some(TargetEvent::Stop(stop)));
                    }
                }
                _ => {}
            }
        }
        Ok((!out.is_empty()).then_some(TargetEvent::Answer(out)))
    }

    /// What the server is told when the stream is over.
    pub fn farewell(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let name = [Value::Null, Value::text(&*self.name)];
        command::put_command(&mut out, 0, "FCUnpublish", 6.0, &name);
        let stream = [Value::Null, Value::Number(self.stream.into())];
        command::put_command(&mut out, 0, "deleteStream", 7.0, &stream);
        out
    }
}

fn stops(command: &Command) -> Option<Refusal> {
    let info = command.values.last();
    match command.name.as_str() {
        "onStatus" => {
            let text =
                |name| info.and_then(|info| info.get(name)).and_then(Value::as_text).unwrap_or_default();
            let over = text("code") == "NetStream.Unpublish.Success";
            (over || is_refusal(text("level"), text("code"))).then(|| refusal(info, ""))
        }
        "close" => Some(refusal(info, "the server closes the connection")),
        _ => None,
    }
}
