//! One client's connection as the server sees it: handshake, commands, and the media of a publisher. No socket, no clock.
//!
//! It stops at `publish` and `play` until the one is answered; what the client sent behind them waits.

use std::collections::VecDeque;

use thiserror::Error;

use super::{
    CHUNK_SIZE, ChunkError, ChunkReader, Handshake, HandshakeError, MEDIA_STREAM, Message, PlayerReader,
    channel, chunk_writer,
    chunk_writer::Header,
    command::{self, Command, Status, object},
    kind, received,
};
use crate::{agent::agent, amf::Value, flv_read::Tag};

/// How much may be on its way unacknowledged, as we tell clients and take for granted of them (§5.4.3 to §5.4.5).
pub(super) const WINDOW: u32 = 5_000_000;
/// Codings that we carry beyond those of the plain format, as Enhanced RTMP lists them in `connect`.
pub(super) fn fourcc_list() -> Value {
    Value::StrictArray(["hvc1", "Opus"].map(Value::text).into())
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ServerError {
    /// The handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The chunks.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// Which stream is meant, as the client said it: nothing is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The application, without a query and without slashes around it.
    pub app: String,
    /// The stream's name, without a query.
    pub name: String,
    /// What stood behind `?` in the stream's name, the application and `tcUrl`, joined by `&`.
    pub query: String,
}

/// A part of the publisher's media.
pub type Media = Tag;

/// What a client wants or brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It wants to publish: answer with `accept_publish` or `refuse_publish`.
    Publish(Target),
    /// It wants to play: answer with `start_play` or `refuse_play`.
    Play(Target),
    /// The metadata say whether there is sound.
    Announced {
        /// Whether there is.
        audio: bool,
    },
    /// A tag of the published stream.
    Media(Media),
    /// It ended the stream.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Connected, or about to be.
    Idle,
    /// `publish` or `play` waits for its answer.
    Asked,
    Publishing,
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Server {
    handshake: Option<Handshake>,
    reader: ChunkReader,
    out: Vec<u8>,
    events: VecDeque<Event>,
    state: State,
    /// App and query of `connect`.
    connected: Option<(String, String)>,
    /// What the client calls itself.
    agent: String,
    window: u32,
    received: u64,
    acknowledged: u64,
}

impl Server {
    /// A connection of which nothing came. `seed` fills what should be random in the handshake; it protects nothing.
    pub fn new(seed: u64) -> Self {
        Self {
            handshake: Some(Handshake::new(seed)),
            reader: ChunkReader::default(),
            out: Vec::new(),
            events: VecDeque::new(),
            state: State::Idle,
            connected: None,
            agent: String::new(),
            window: WINDOW,
            received: 0,
            acknowledged: 0,
        }
    }

    /// Takes bytes of the client; call `poll_event` until it gives nothing, then send the output.
    pub fn handle(&mut self, mut data: &[u8]) -> Result<(), ServerError> {
        self.received += data.len() as u64;
        if let Some(handshake) = &mut self.handshake {
            let Some(used) = handshake.handle(data, &mut self.out)? else { return Ok(()) };
            self.handshake = None;
            data = &data[used..];
        }
        self.reader.handle(data);
        if self.received - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = self.received;
            // The sequence number wraps (§5.4.3).
            let number = (self.received as u32).to_be_bytes();
            command::put_control(&mut self.out, kind::ACKNOWLEDGEMENT, &number);
        }
        Ok(())
    }

    /// The next event; `None` until more bytes come, or a question is answered.
    pub fn poll_event(&mut self) -> Result<Option<Event>, ServerError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if matches!(self.state, State::Asked | State::Over) {
                return Ok(None);
            }
            let Some(message) = self.reader.poll()? else { return Ok(None) };
            self.handle_message(&message);
        }
    }

    /// What is to be sent to the client.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether the handshake is over and the client said `connect`.
    pub fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// What the client calls itself in `connect`; empty if it does not.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Lets the publisher begin.
    pub fn accept_publish(&mut self) {
        self.state = State::Publishing;
        self.reader.allow_media();
        command::put_stream_begin(&mut self.out);
        let (code, description) = ("NetStream.Publish.Start", "the stream is being published");
        command::put_status(&mut self.out, Status { error: false, code, description });
    }

    /// Sends the publisher away; `code` is `NetStream.Publish.` and something behind it.
    pub fn refuse_publish(&mut self, code: &str, description: &str) {
        self.refuse(code, description);
    }

    /// Lets the player begin: what follows on the connection is what a muxer makes.
    pub fn start_play(mut self) -> (Vec<u8>, PlayerReader) {
        command::put_stream_begin(&mut self.out);
        for (code, description) in [
            ("NetStream.Play.Reset", "the stream is played from where it is"),
            ("NetStream.Play.Start", "the stream is being played"),
        ] {
            command::put_status(&mut self.out, Status { error: false, code, description });
        }
        let mut access = Vec::new();
        Value::text("|RtmpSampleAccess").write(&mut access);
        for _ in ["audio", "video"] {
            Value::Boolean(true).write(&mut access);
        }
        let header = Header { channel: channel::DATA, kind: kind::DATA, stream: MEDIA_STREAM, timestamp: 0 };
        chunk_writer::put_message(&mut self.out, header, &access, CHUNK_SIZE);
        (self.out, PlayerReader::new(self.reader))
    }

    /// Sends the player away; `code` is `NetStream.Play.` and something behind it.
    pub fn refuse_play(&mut self, code: &str, description: &str) {
        self.refuse(code, description);
    }

    /// Tells a publisher that its stream was closed from our side.
    pub fn end_publish(&mut self, description: &str) {
        self.refuse("NetStream.Unpublish.Success", description);
    }

    fn refuse(&mut self, code: &str, description: &str) {
        self.state = State::Over;
        let error = code != "NetStream.Unpublish.Success";
        command::put_status(&mut self.out, Status { error, code, description });
    }

    fn handle_message(&mut self, message: &Message) {
        match message.kind {
            kind::COMMAND | kind::COMMAND_AMF3 => {
                if let Some(command) = Command::read(message) {
                    self.handle_command(&command);
                }
            }
            kind::DATA | kind::DATA_AMF3 if self.state == State::Publishing => {
                let announced = received::announced_audio(message);
                self.events.extend(announced.map(|audio| Event::Announced { audio }));
            }
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE if self.state == State::Publishing => {
                self.events.extend(received::tags(message).into_iter().map(Event::Media));
            }
            kind::USER_CONTROL => command::answer_ping(&mut self.out, &message.payload),
            kind::WINDOW_SIZE => {
                if let Some(window) = message.payload.first_chunk() {
                    self.window = u32::from_be_bytes(*window).clamp(1024, WINDOW);
                }
            }
            _ => {}
        }
    }

    fn handle_command(&mut self, command: &Command) {
        match command.name.as_str() {
            "connect" => self.connect(command),
            "createStream" => self.answer(command, Value::Number(MEDIA_STREAM.into())),
            "publish" | "play" => self.ask(command),
            "deleteStream" | "closeStream" => self.end(),
            "getStreamLength" => self.answer(command, Value::Number(0.0)),
            "FCPublish" | "FCSubscribe" | "FCUnpublish" => {
                self.answer(command, Value::Undefined);
                let (name, code) = match command.name.as_str() {
                    "FCPublish" => ("onFCPublish", "NetStream.Publish.Start"),
                    "FCUnpublish" => ("onFCUnpublish", "NetStream.Unpublish.Success"),
                    _ => ("onFCSubscribe", "NetStream.Play.Start"),
                };
                let description = command.text(1).unwrap_or_default();
                let status = Status { error: false, code, description }.value();
                command::put_command(&mut self.out, 0, name, 0.0, &[Value::Null, status]);
            }
            "releaseStream" | "_checkbw" | "receiveAudio" | "receiveVideo" | "pause" | "seek" => {
                self.answer(command, Value::Undefined);
            }
            _ => self.fail(command, "NetConnection.Call.Failed", "there is no such command"),
        }
    }

    fn answer(&mut self, command: &Command, value: Value) {
        if command.transaction != 0.0 {
            let values = [Value::Null, value];
            command::put_command(&mut self.out, 0, "_result", command.transaction, &values);
        }
    }

    fn fail(&mut self, command: &Command, code: &str, description: &str) {
        if command.transaction != 0.0 && !command.name.starts_with('_') && !command.name.starts_with("on") {
            let status = Status { error: true, code, description }.value();
            let values = [Value::Null, status];
            command::put_command(&mut self.out, 0, "_error", command.transaction, &values);
        }
    }

    /// `connect` (§7.2.1.1).
    fn connect(&mut self, command: &Command) {
        let Some(about) = command.values.first() else {
            return self.fail(command, "NetConnection.Connect.Rejected", "connect needs an object");
        };
        let text = |name| about.get(name).and_then(Value::as_text).unwrap_or_default();
        let (app, mut query) = split_query(text("app"));
        let (_, of_url) = split_query(text("tcUrl"));
        if query.is_empty() {
            query = of_url;
        }
        self.agent = agent(text("flashVer"));
        self.connected = Some((app.trim_matches('/').to_owned(), query.to_owned()));
        command::put_control(&mut self.out, kind::WINDOW_SIZE, &WINDOW.to_be_bytes());
        // Limit type 2, dynamic (§5.4.5).
        let bandwidth = [&WINDOW.to_be_bytes()[..], &[2]].concat();
        command::put_control(&mut self.out, kind::PEER_BANDWIDTH, &bandwidth);
        command::put_control(&mut self.out, kind::SET_CHUNK_SIZE, &(CHUNK_SIZE as u32).to_be_bytes());
        let mut status = vec![
            ("level".into(), Value::text("status")),
            ("code".into(), Value::text("NetConnection.Connect.Success")),
            ("description".into(), Value::text("connected")),
            ("objectEncoding".into(), Value::Number(0.0)),
        ];
        if about.get("fourCcList").is_some() || about.get("videoFourCcInfoMap").is_some() {
            status.push(("fourCcList".into(), fourcc_list()));
        }
        let about_us =
            object([("fmsVer", Value::text("FMS/3,5,7,7009")), ("capabilities", Value::Number(31.0))]);
        let values = [about_us, Value::Object(status)];
        command::put_command(&mut self.out, 0, "_result", command.transaction, &values);
    }

    /// `publish` or `play` (§7.2.2.1, §7.2.2.6).
    fn ask(&mut self, command: &Command) {
        let Some((app, of_app)) = self.connected.as_ref().filter(|_| self.state == State::Idle) else {
            return self.fail(command, "NetConnection.Call.Failed", "this connection cannot do that now");
        };
        let (name, query) = split_query(command.text(1).unwrap_or_default());
        let queries = [query, of_app];
        let query = queries.into_iter().filter(|query| !query.is_empty()).collect::<Vec<_>>().join("&");
        let target = Target { app: app.clone(), name: name.trim_matches('/').to_owned(), query };
        let is_play = command.name == "play";
        self.state = State::Asked;
        self.events.push_back(if is_play { Event::Play(target) } else { Event::Publish(target) });
    }

    fn end(&mut self) {
        if self.state == State::Publishing {
            self.end_publish("the stream is over");
            self.events.push_back(Event::Ended);
        }
    }
}

/// What stands before and behind the first question mark.
fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}
