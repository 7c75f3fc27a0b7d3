//! One connection to a server: handshake, commands, and then the media that it sends, or the moment from which it takes
//! ours. No socket, no clock.
//!
//! ```text
//! connect ─▶ createStream ─▶ play ───────────────▶ media
//!         └▶ releaseStream, FCPublish, createStream ─▶ publish ─▶ `into_publisher`
//! ```

use std::collections::VecDeque;

use thiserror::Error;

use super::{
    CHUNK_SIZE, ChunkError, ChunkReader, ClientHandshake, HandshakeError, Message, TargetReader,
    command::{self, Command},
    kind, received,
    server::{WINDOW, fourcc_list},
};
use crate::{
    amf::{Name, Value},
    flv_read::Tag,
};

/// What is repeated of a server's words.
const WORDS_MAX: usize = 300;
/// A longer address of a redirect is cut, and so leads nowhere.
const ADDRESS_MAX: usize = 8192;
/// How much a server should have in store for us, in milliseconds: what live players usually say.
const BUFFER_MS: u32 = 3000;

/// Numbers of our commands (§7.2.1): what is answered is told apart by them.
const CONNECT: f64 = 1.0;
const CREATE: f64 = 4.0;
const START: f64 = 5.0;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The server sends a stream.
    Play,
    /// It takes one.
    Publish,
}

/// What to ask a server for; everything stands as the server is to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// What the connection is for.
    pub action: Action,
    /// The application.
    pub app: String,
    /// The address up to the application, which some servers judge by.
    pub tc_url: String,
    /// The stream's name with its query.
    pub name: String,
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The chunks.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The server said no.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// The server has it elsewhere: the address of an application, to which the stream's name belongs as before.
    #[error("the server sends on to another address")]
    Redirected(String),
}

/// A server's no, in its own words, cut to what can stand in a log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}{}{description}", if description.is_empty() { "" } else { ": " })]
pub struct Refusal {
    /// Such as `NetStream.Publish.BadName`.
    pub code: String,
    /// What else it said.
    pub description: String,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// It agreed; a publisher goes on with `into_publisher`.
    Started,
    /// The metadata say whether there is sound.
    Announced {
        /// Whether there is.
        audio: bool,
    },
    /// A tag of the stream that is played.
    Media(Tag),
    /// The stream is over, as the server says.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Creating,
    Starting,
    Flowing,
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    errand: Errand,
    handshake: Option<ClientHandshake>,
    reader: ChunkReader,
    out: Vec<u8>,
    events: VecDeque<ClientEvent>,
    state: State,
    /// The message stream that the server made for us.
    stream: u32,
    window: u32,
    received: u64,
    acknowledged: u64,
}

impl Client {
    /// A connection that begins with its output. `seed` fills what should be random in the handshake; it protects nothing.
    pub fn new(errand: Errand, seed: u64) -> Self {
        let mut out = Vec::new();
        Self {
            errand,
            handshake: Some(ClientHandshake::new(seed, &mut out)),
            reader: ChunkReader::default(),
            out,
            events: VecDeque::new(),
            state: State::Connecting,
            stream: 0,
            window: WINDOW,
            received: 0,
            acknowledged: 0,
        }
    }

    /// Takes bytes of the server; call `poll_event` until it gives nothing, then send the output.
    pub fn handle(&mut self, mut data: &[u8]) -> Result<(), ClientError> {
        self.received += data.len() as u64;
        if let Some(handshake) = &mut self.handshake {
            let Some(used) = handshake.handle(data, &mut self.out)? else { return Ok(()) };
            self.handshake = None;
            data = &data[used..];
            self.connect();
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

    /// The next event; `None` until more bytes come. After an error nothing more comes, and the output need not be sent.
    pub fn poll_event(&mut self) -> Result<Option<ClientEvent>, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            // What a server says to a publisher that may begin is read by `TargetReader`.
            let hands_over = self.state == State::Flowing && self.errand.action == Action::Publish;
            if self.state == State::Over || hands_over {
                return Ok(None);
            }
            let Some(message) = self.reader.poll()? else { return Ok(None) };
            self.handle_message(&message)?;
        }
    }

    /// What is to be sent to the server.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// After `Started` of a publisher: what is still to be sent, and who hears what the server says from now on. What
    /// follows on the connection is what a muxer makes.
    pub fn into_publisher(self) -> (Vec<u8>, TargetReader) {
        (self.out, TargetReader::new(self.reader, self.errand.name, self.stream))
    }

    fn plays(&self) -> bool {
        self.errand.action == Action::Play
    }

    /// `connect` (§7.2.1.1), behind the size of our chunks.
    fn connect(&mut self) {
        let size = (CHUNK_SIZE as u32).to_be_bytes();
        command::put_control(&mut self.out, kind::SET_CHUNK_SIZE, &size);
        let version = if self.plays() { "LNX 9,0,124,2" } else { "FMLE/3.0 (compatible; media-relay)" };
        let mut about: Vec<(Name, Value)> = vec![
            ("app".into(), Value::text(&*self.errand.app)),
            ("flashVer".into(), Value::text(version)),
            ("tcUrl".into(), Value::text(&*self.errand.tc_url)),
        ];
        if self.plays() {
            about.push(("fpad".into(), Value::Boolean(false)));
            // Every sound and picture coding that has a bit (§7.2.1.1): there is none for H.265.
            for (name, number) in [("capabilities", 15.0), ("audioCodecs", 4071.0), ("videoCodecs", 252.0)] {
                about.push((name.into(), Value::Number(number)));
            }
            about.push(("videoFunction".into(), Value::Number(1.0)));
        } else {
            about.push(("type".into(), Value::text("nonprivate")));
        }
        about.push(("fourCcList".into(), fourcc_list()));
        command::put_command(&mut self.out, 0, "connect", CONNECT, &[Value::Object(about)]);
    }

    fn handle_message(&mut self, message: &Message) -> Result<(), ClientError> {
        match message.kind {
            kind::COMMAND | kind::COMMAND_AMF3 => {
                if let Some(command) = Command::read(message) {
                    self.handle_command(&command)?;
                }
            }
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE if self.is_playing() => {
                // Some servers never say that it starts.
                self.start();
                self.events.extend(received::tags(message).into_iter().map(ClientEvent::Media));
            }
            kind::DATA | kind::DATA_AMF3 if self.is_playing() => {
                let announced = received::announced_audio(message);
                self.events.extend(announced.map(|audio| ClientEvent::Announced { audio }));
            }
            kind::USER_CONTROL => command::answer_ping(&mut self.out, &message.payload),
            kind::WINDOW_SIZE => {
                if let Some(window) = message.payload.first_chunk() {
                    self.window = u32::from_be_bytes(*window).clamp(1024, WINDOW);
                }
            }
            // Some servers stop until their limit was answered with a window (§5.4.5).
            kind::PEER_BANDWIDTH => {
                command::put_control(&mut self.out, kind::WINDOW_SIZE, &WINDOW.to_be_bytes());
            }
            _ => {}
        }
        Ok(())
    }

    fn is_playing(&self) -> bool {
        self.plays() && matches!(self.state, State::Starting | State::Flowing)
    }

    fn start(&mut self) {
        if self.state == State::Starting {
            self.state = State::Flowing;
            self.events.push_back(ClientEvent::Started);
        }
    }

    fn handle_command(&mut self, command: &Command) -> Result<(), ClientError> {
        let info = command.values.last();
        if let Some(address) = info.and_then(redirect) {
            return Err(ClientError::Redirected(address));
        }
        match command.name.as_str() {
            "_result" if command.transaction == CONNECT && self.state == State::Connecting => {
                self.state = State::Creating;
                self.create_stream();
            }
            "_result" if command.transaction == CREATE && self.state == State::Creating => {
                let number = command.values.get(1).and_then(Value::as_number);
                // Only a whole number of 32 bits survives both ways.
                let Some(stream) = number.and_then(|number| u32::try_from(number as i64).ok()) else {
                    let reason = "createStream was answered without a usable number";
                    return Err(ClientError::Refused(refusal(None, reason)));
                };
                self.stream = stream;
                self.state = State::Starting;
                self.ask();
            }
            // What releaseStream and FCPublish are answered does not matter: many servers do not know them.
            "_error" if [CONNECT, CREATE, START].contains(&command.transaction) => {
                return Err(ClientError::Refused(refusal(info, "the command failed")));
            }
            "onStatus" => self.handle_status(info)?,
            "close" => return Err(ClientError::Refused(refusal(info, "the server closes the connection"))),
            _ => {}
        }
        Ok(())
    }

    fn create_stream(&mut self) {
        let name = [Value::Null, Value::text(&*self.errand.name)];
        if !self.plays() {
            command::put_command(&mut self.out, 0, "releaseStream", 2.0, &name);
            command::put_command(&mut self.out, 0, "FCPublish", 3.0, &name);
        }
        command::put_command(&mut self.out, 0, "createStream", CREATE, &[Value::Null]);
    }

    /// `play` (§7.2.2.1) or `publish` (§7.2.2.6).
    fn ask(&mut self) {
        let name = Value::text(&*self.errand.name);
        match self.errand.action {
            Action::Play => {
                self.reader.allow_media();
                // -2000: what is live, else what was recorded.
                let values = [Value::Null, name, Value::Number(-2000.0)];
                command::put_command(&mut self.out, self.stream, "play", START, &values);
                command::put_buffer_length(&mut self.out, self.stream, BUFFER_MS);
            }
            Action::Publish => {
                let values = [Value::Null, name, Value::text("live")];
                command::put_command(&mut self.out, self.stream, "publish", START, &values);
            }
        }
    }

    fn handle_status(&mut self, info: Option<&Value>) -> Result<(), ClientError> {
        let text = |name| info.and_then(|info| info.get(name)).and_then(Value::as_text).unwrap_or_default();
        let code = text("code");
        if is_refusal(text("level"), code) {
            return Err(ClientError::Refused(refusal(info, "")));
        }
        match code {
            "NetStream.Play.Start" | "NetStream.Publish.Start" => self.start(),
            "NetStream.Play.Stop"
            | "NetStream.Play.Complete"
            | "NetStream.Play.UnpublishNotify"
            | "NetStream.Unpublish.Success"
                if self.state == State::Flowing =>
            {
                self.state = State::Over;
                self.events.push_back(ClientEvent::Ended);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a status means that nothing will come of it; not every server sets the level.
pub(super) fn is_refusal(level: &str, code: &str) -> bool {
    let last = code.rsplit('.').next().unwrap_or_default();
    level == "error"
        || ["BadName", "BadConnection", "Denied", "Failed", "Rejected", "StreamNotFound", "InvalidApp"]
            .contains(&last)
}

/// What a server said, as its information object or else `otherwise` has it.
pub(super) fn refusal(info: Option<&Value>, otherwise: &str) -> Refusal {
    let text = |name| info.and_then(|info| info.get(name)).and_then(Value::as_text).map(words);
    // Some send a bare text instead of an object.
    let bare = info.and_then(Value::as_text).map(words);
    Refusal {
        code: text("code").filter(|code| !code.is_empty()).unwrap_or_else(|| "no code".to_owned()),
        description: text("description").or(bare).unwrap_or_else(|| otherwise.to_owned()),
    }
}

fn words(text: &str) -> String {
    text.chars().take(WORDS_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Where an information object leads: code 302 in `ex`, and the address of an application there.
fn redirect(info: &Value) -> Option<String> {
    let ex = info.get("ex")?;
    let found = ex.get("code").and_then(Value::as_number) == Some(302.0);
    let address = ex.get("redirect").and_then(Value::as_text).filter(|_| found)?;
    Some(address.chars().take(ADDRESS_MAX).collect())
}
