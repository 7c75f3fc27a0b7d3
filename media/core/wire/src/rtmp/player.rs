//! What a player says while it is sent media: mostly nothing, acknowledgements, and in the end that it leaves.

use super::{
    ChunkError, ChunkReader,
    command::{self, Command, Status},
    kind,
};

/// What a player wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayerEvent {
    /// To be sent these bytes, between two chunks of media.
    Answer(Vec<u8>),
    /// To leave.
    Leave,
}

/// Reads what a player says after `play` was answered. It is bounded as before: no message is longer than a command may be.
#[derive(Debug)]
pub struct PlayerReader {
    reader: ChunkReader,
}

impl PlayerReader {
    pub(super) fn new(reader: ChunkReader) -> Self {
        Self { reader }
    }

    /// Takes bytes; what they ask for. After an error the player cannot be understood any more.
    pub fn handle(&mut self, data: &[u8]) -> Result<Option<PlayerEvent>, ChunkError> {
        self.reader.handle(data);
        let mut out = Vec::new();
        while let Some(message) = self.reader.poll()? {
            match message.kind {
                kind::USER_CONTROL => command::answer_ping(&mut out, &message.payload),
                kind::COMMAND | kind::COMMAND_AMF3 => {
                    let Some(command) = Command::read(&message) else { continue };
                    match command.name.as_str() {
                        "deleteStream" | "closeStream" => return Ok(Some(PlayerEvent::Leave)),
                        // A live stream goes on all the same; but players wait to be told.
                        "pause" => put_paused(&mut out, &command),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok((!out.is_empty()).then_some(PlayerEvent::Answer(out)))
    }
}

fn put_paused(out: &mut Vec<u8>, command: &Command) {
    let pauses = command.values.get(1) == Some(&crate::amf::Value::Boolean(true));
    let code = if pauses { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" };
    command::put_status(out, Status { error: false, code, description: "a live stream goes on" });
}

/// What a player is told when the stream is over.
pub fn farewell() -> Vec<u8> {
    let mut out = Vec::new();
    command::put_stream_eof(&mut out);
    let (code, description) = ("NetStream.Play.UnpublishNotify", "the stream is over");
    command::put_status(&mut out, Status { error: false, code, description });
    out
}
