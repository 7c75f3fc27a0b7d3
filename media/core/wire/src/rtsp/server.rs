//! One client's connection as the server sees it (RFC 2326 annex A): a player that describes, sets up and plays, or an encoder
//! that announces, sets up and records. No socket, no clock.
//!
//! It stops at each question until that is answered; what the client sent behind it waits.

use std::fmt::Write;

use bytes::Bytes;

use super::{
    Description, Item, Message, Reader, ReaderError, SdpError, Start, Transport,
    range::{self, Played, Range, TrackStart, Wish},
};
use crate::agent::agent;

/// Methods that we know, as OPTIONS tells.
const PUBLIC: &str =
    "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, RECORD, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// Silence after which a session is over, as we tell clients, in seconds (§12.37).
pub const SESSION_SECONDS: u32 = 60;

/// Parameters that one request asks for.
const PARAMETERS_MAX: usize = 16;

/// Which stream a URI means; nothing is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The first part of the path.
    pub app: String,
    /// The second part of the path.
    pub name: String,
    /// What stands behind `?`, without a track.
    pub query: String,
    /// `trackID=1` at the end.
    pub track: Option<usize>,
}

impl Target {
    /// Reads `rtsp://host/app/name?query`, with `/trackID=0` behind the path or behind the query: players put it there.
    pub fn parse(uri: &str) -> Option<Self> {
        let rest = match uri.split_once("://") {
            Some((_, rest)) => rest.split_once('/')?.1,
            None => uri.strip_prefix('/')?,
        };
        let (rest, behind) = take_track(rest.trim_end_matches('/'));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (path, within) = take_track(path.trim_end_matches('/'));
        let (app, name) = path.split_once('/')?;
        let usable = !app.is_empty() && !name.is_empty() && !name.contains('/');
        usable.then(|| Self {
            app: app.to_owned(),
            name: name.to_owned(),
            query: query.to_owned(),
            track: behind.or(within),
        })
    }
}

fn take_track(text: &str) -> (&str, Option<usize>) {
    let found = text.rsplit_once("/trackID=").and_then(|(rest, number)| Some((rest, number.parse().ok()?)));
    found.map_or((text, None), |(rest, number)| (rest, Some(number)))
}

/// What a client wants or brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// To know a stream: answer with `describe`, `challenge` or `refuse`.
    Describe(Target, Option<String>),
    /// To bring a stream: answer with `accept`, `challenge` or `refuse`.
    Announce(Target, Description, Option<String>),
    /// To have a track sent, or to send it, in one of these ways: answer with `set_up` or `refuse`.
    SetUp {
        /// The stream.
        target: Target,
        /// Number of the track.
        track: usize,
        /// Its offers, best first.
        offers: Vec<Transport>,
        /// The Authorization header.
        authorization: Option<String>,
    },
    /// To be sent what was set up, or another part of it: answer with `play` or `refuse`.
    Play(Wish),
    /// To be sent nothing for a while: answer with `pause` or `refuse`.
    Pause,
    /// To know parameters of these names while it plays: answer with `tell` or `refuse`.
    Get(Vec<String>),
    /// To send what was set up: answer with `accept` or `refuse`.
    Record,
    /// A packet of a channel.
    Data(u8, Bytes),
    /// To leave; it was answered.
    Ended,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is set up, or not all.
    Idle,
    /// An ANNOUNCE was accepted.
    Announced,
    /// PLAY was accepted.
    Playing,
    /// RECORD was accepted.
    Recording,
    /// TEARDOWN, or a refusal that ends the connection.
    Over,
}

/// The question that waits for its answer.
#[derive(Debug, Clone)]
struct Asked {
    cseq: Option<String>,
    /// URI, which describes a session's base.
    uri: String,
    then: Phase,
    /// The track that is to be set up.
    track: Option<usize>,
}

/// One connection.
#[derive(Debug)]
pub struct Server {
    reader: Reader,
    out: Vec<u8>,
    session: String,
    phase: Phase,
    asked: Option<Asked>,
    /// Controls of the tracks that were announced, and the URI of the ANNOUNCE.
    controls: Vec<String>,
    announced: String,
    /// How the client named the tracks that it set up.
    named: Vec<(usize, String)>,
    /// What the client calls itself.
    agent: String,
}

impl Server {
    /// A connection of which nothing came. `session` is the id of its one session: nobody else may guess it.
    pub fn new(session: String) -> Self {
        let (reader, out, controls, announced, named) = Default::default();
        let agent = String::new();
        Self { reader, out, session, phase: Phase::Idle, asked: None, controls, announced, named, agent }
    }

    /// What the client calls itself (§12.41), as it said first; empty if it did not.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Takes bytes of the client; call `poll_event` until it gives nothing, then send the output.
    pub fn handle(&mut self, data: &[u8]) {
        self.reader.handle_input(data);
    }

    /// The next event; `None` until more bytes come, or a question is answered.
    pub fn poll_event(&mut self) -> Result<Option<Event>, ReaderError> {
        while self.asked.is_none() && self.phase != Phase::Over {
            let event = match self.reader.poll_item()? {
                None => break,
                Some(Item::Data(channel, packet)) => Some(Event::Data(channel, packet)),
                Some(Item::Message(message)) => self.handle_message(&message),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// What is to be sent to the client.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Answers DESCRIBE.
    pub fn describe(&mut self, description: &str) {
        if let Some(asked) = self.asked.take() {
            // Tracks are relative to this, and a query must not come between (§C.1.1).
            let base = asked.uri.split('?').next().unwrap_or_default().trim_end_matches('/');
            let query = asked.uri.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
            let fields = format!("Content-Base: {base}/{query}\r\nContent-Type: application/sdp\r\n");
            self.put(asked.cseq.as_deref(), 200, &fields, description);
        }
    }

    /// Answers SETUP with the way that was chosen.
    pub fn set_up(&mut self, chosen: &Transport) {
        if let Some(asked) = self.asked.take() {
            let fields =
                format!("Transport: {chosen}\r\nSession: {};timeout={SESSION_SECONDS}\r\n", self.session);
            self.put(asked.cseq.as_deref(), 200, &fields, "");
            if let Some(track) = asked.track {
                self.named.retain(|(known, _)| *known != track);
                self.named.push((track, asked.uri));
            }
        }
    }

    /// Answers ANNOUNCE and RECORD.
    pub fn accept(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.phase = asked.then;
            let mut fields = String::new();
            if asked.then == Phase::Recording {
                // Writing into a String cannot fail.
                let _ = write!(fields, "Session: {}\r\nRange: npt=now-\r\n", self.session);
            }
            self.put(asked.cseq.as_deref(), 200, &fields, "");
        }
    }

    /// Answers PLAY: what is sent, and where its tracks begin, as far as that is known (§12.33).
    pub fn play(&mut self, played: Played, starts: &[TrackStart]) {
        if let Some(asked) = self.asked.take() {
            self.phase = asked.then;
            let mut fields = format!(
                "Session: {}\r\nRange: {}\r\nScale: {}\r\n",
                self.session, played.range, played.scale
            );
            if let Some(speed) = played.speed {
                // Writing into a String cannot fail.
                let _ = write!(fields, "Speed: {speed}\r\n");
            }
            let tracks = starts.iter().filter_map(|start| {
                let (_, uri) = self.named.iter().find(|(track, _)| *track == start.track)?;
                Some(format!("url={uri};seq={};rtptime={}", start.seq, start.timestamp))
            });
            let tracks: Vec<_> = tracks.collect();
            if !tracks.is_empty() {
                // Writing into a String cannot fail.
                let _ = write!(fields, "RTP-Info: {}\r\n", tracks.join(","));
            }
            self.put(asked.cseq.as_deref(), 200, &fields, "");
        }
    }

    /// Answers PAUSE with where the stream stands, if that can be told.
    pub fn pause(&mut self, at: Option<Range>) {
        if let Some(asked) = self.asked.take() {
            let range = at.map(|at| format!("Range: {at}\r\n")).unwrap_or_default();
            self.put(asked.cseq.as_deref(), 200, &format!("Session: {}\r\n{range}", self.session), "");
        }
    }

    /// Answers `GET_PARAMETER` with lines of `name: value`.
    pub fn tell(&mut self, parameters: &str) {
        if let Some(asked) = self.asked.take() {
            let fields = format!("Session: {}\r\nContent-Type: text/parameters\r\n", self.session);
            self.put(asked.cseq.as_deref(), 200, &fields, parameters);
        }
    }

    /// Whether a question waits for its answer, and with it all that the client says.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Asks the client who it is; `challenges` are values of WWW-Authenticate (RFC 7616, RFC 7617).
    pub fn challenge(&mut self, challenges: &[String]) {
        if let Some(asked) = self.asked.take() {
            let fields: String =
                challenges.iter().flat_map(|one| ["WWW-Authenticate: ", one.as_str(), "\r\n"]).collect();
            self.put(asked.cseq.as_deref(), 401, &fields, "");
        }
    }

    /// Says no to what was asked; the client may ask for something else.
    pub fn refuse(&mut self, status: u16) {
        if let Some(asked) = self.asked.take() {
            self.put(asked.cseq.as_deref(), status, "", "");
        }
    }

    fn handle_message(&mut self, message: &Message) -> Option<Event> {
        let Start::Request(method, uri) = &message.start else {
            return None; // an answer to nothing that we asked
        };
        let cseq = message.header("CSeq").map(clean);
        if self.agent.is_empty() {
            self.agent = message.header("User-Agent").map(agent).unwrap_or_default();
        }
        if let Some(feature) = message.header("Require").map(clean) {
            self.put(cseq.as_deref(), 551, &format!("Unsupported: {feature}\r\n"), ""); // §12.32
            return None;
        }
        let foreign = message.session().is_some_and(|session| session != self.session);
        if foreign && !matches!(method.as_str(), "OPTIONS" | "DESCRIBE" | "ANNOUNCE") {
            self.put(cseq.as_deref(), 454, "", "");
            return None;
        }
        let uri = uri.clone();
        match method.as_str() {
            "OPTIONS" => self.put(cseq.as_deref(), 200, &format!("Public: {PUBLIC}\r\n"), ""),
            "GET_PARAMETER" if !wanted(message).is_empty() => {
                // §11.3.2: nothing can be told of what does not play.
                if self.phase != Phase::Playing {
                    self.put(cseq.as_deref(), 451, "", "");
                    return None;
                }
                self.asked = Some(Asked { cseq, uri, then: self.phase, track: None });
                return Some(Event::Get(wanted(message)));
            }
            "GET_PARAMETER" | "SET_PARAMETER" => {
                let session = format!("Session: {}\r\n", self.session);
                self.put(cseq.as_deref(), 200, &session, "");
            }
            "TEARDOWN" => {
                self.put(cseq.as_deref(), 200, "", "");
                self.phase = Phase::Over;
                return Some(Event::Ended);
            }
            "DESCRIBE" | "ANNOUNCE" | "SETUP" | "PLAY" | "PAUSE" | "RECORD" => {
                let asked = Asked { cseq, uri, then: self.phase, track: None };
                return self.ask(message, asked);
            }
            _ => self.put(cseq.as_deref(), 501, "", ""),
        }
        None
    }

    /// A question to whoever owns the connection, if the request is one that can be asked now.
    fn ask(&mut self, message: &Message, mut asked: Asked) -> Option<Event> {
        let Start::Request(method, _) = &message.start else { return None };
        let event = match (method.as_str(), self.phase) {
            ("PLAY", Phase::Idle | Phase::Playing) => wish(message).map(Event::Play),
            ("PAUSE", Phase::Playing) => Ok(Event::Pause),
            ("RECORD", Phase::Recording) => Err(200), // again: nothing changes
            ("RECORD", Phase::Announced) => Ok(Event::Record),
            ("DESCRIBE", Phase::Idle) => {
                let target = Target::parse(&asked.uri).ok_or(404);
                target.map(|target| Event::Describe(target, authorization(message)))
            }
            ("ANNOUNCE", Phase::Idle) => self.announce(message, &asked.uri),
            ("SETUP", Phase::Idle | Phase::Announced) => self.ask_set_up(message, &asked.uri),
            _ => Err(455),
        };
        match &event {
            Ok(Event::Play(_)) => asked.then = Phase::Playing,
            Ok(Event::Record) => asked.then = Phase::Recording,
            Ok(Event::Announce(..)) => asked.then = Phase::Announced,
            Ok(Event::SetUp { track, .. }) => asked.track = Some(*track),
            _ => {}
        }
        match event {
            Ok(event) => {
                self.asked = Some(asked);
                Some(event)
            }
            Err(status) => {
                let session = format!("Session: {}\r\n", self.session);
                self.put(asked.cseq.as_deref(), status, if status == 200 { &session } else { "" }, "");
                None
            }
        }
    }

    fn announce(&mut self, message: &Message, uri: &str) -> Result<Event, u16> {
        let target = Target::parse(uri).ok_or(404_u16)?;
        let description = Description::parse(&message.body)
            .map_err(|error| if error == SdpError::NotText { 400_u16 } else { 415 })?;
        self.controls = description.media.iter().map(|media| media.control.clone()).collect();
        uri.clone_into(&mut self.announced);
        Ok(Event::Announce(target, description, authorization(message)))
    }

    fn ask_set_up(&self, message: &Message, uri: &str) -> Result<Event, u16> {
        let offers: Vec<_> = message.headers("Transport").flat_map(Transport::parse).take(8).collect();
        if offers.is_empty() {
            return Err(461);
        }
        // An announced track is found by its own control, whatever that looks like, behind the query or before it.
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let base = |text: &str, control: &str| {
            let base = text.strip_suffix(control).filter(|base| base.ends_with('/') || base.is_empty())?;
            (!control.is_empty()).then(|| base.trim_end_matches('/').to_owned())
        };
        let announced = self.controls.iter().enumerate().find_map(|(number, control)| {
            let within = || base(path, control).map(|base| format!("{base}?{query}"));
            Some((number, base(uri, control).or_else(within)?))
        });
        let (announced, uri) = match announced {
            // The control is an address of its own: whose it is was told by ANNOUNCE.
            Some((number, base)) if base.is_empty() || base.starts_with('?') => {
                (Some(number), self.announced.clone())
            }
            Some((number, base)) => (Some(number), base),
            None => (None, uri.to_owned()),
        };
        let uri = uri.as_str();
        let mut target = Target::parse(uri).ok_or(404_u16)?;
        let track = announced.or(target.track.take()).unwrap_or(0);
        Ok(Event::SetUp { target, track, offers, authorization: authorization(message) })
    }

    fn put(&mut self, cseq: Option<&str>, status: u16, fields: &str, body: &str) {
        let reason = reason(status);
        let cseq = cseq.map(|cseq| format!("CSeq: {cseq}\r\n")).unwrap_or_default();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let answer = format!("RTSP/1.0 {status} {reason}\r\n{cseq}{fields}{length}\r\n{body}");
        self.out.extend_from_slice(answer.as_bytes());
    }
}

/// What of a client's text may stand in an answer.
fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(64).collect()
}

fn authorization(message: &Message) -> Option<String> {
    message.header("Authorization").map(str::to_owned)
}

/// What PLAY asks for.
fn wish(message: &Message) -> Result<Wish, u16> {
    let range = message.header("Range").map(|text| Range::parse(text).ok_or(457_u16)).transpose()?;
    let scale = message.header("Scale").map(|text| range::scale(text).ok_or(400_u16)).transpose()?;
    let speed = message.header("Speed").map(|text| range::scale(text).ok_or(400_u16)).transpose()?;
    Ok(Wish { range, scale, speed })
}

/// Names of the parameters that are asked for, one a line (§10.8).
fn wanted(message: &Message) -> Vec<String> {
    let body = String::from_utf8_lossy(&message.body);
    let names = body.lines().map(|line| clean(line.trim())).filter(|name| !name.is_empty());
    names.take(PARAMETERS_MAX).collect()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        406 => "Not Acceptable",
        415 => "Unsupported Media Type",
        451 => "Parameter Not Understood",
        453 => "Not Enough Bandwidth",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        457 => "Invalid Range",
        461 => "Unsupported Transport",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        551 => "Option not supported",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests;
