//! The client's side of one connection (RFC 2326 annex A): it describes, sets up and plays what a server has, or announces and
//! records what we have. No socket, no clock.
//!
//! Servers are cameras as often as not: an answer without `CSeq` is the one that is waited for, a session without an id needs
//! none, and of a Transport that cannot be read what was asked for is assumed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use thiserror::Error;

use super::{
    Credentials, Delivery, Description, Item, Message, Reader, ReaderError, SdpError, Start, Transport,
};

/// What we call ourselves.
const AGENT: &str = "gateway";

/// Of a session that states no time-out (RFC 2326 §12.37).
const SESSION: Duration = Duration::from_secs(60);

/// Tracks that are set up at most.
const TRACKS_MAX: usize = 8;

/// How often one request is sent again with other credentials.
const TRIES: u8 = 3;

/// Why it came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The server speaks no RTSP.
    #[error("{0}")]
    Reader(#[from] ReaderError),
    /// A request was refused.
    #[error("the server answered {1} to {0}")]
    Status(&'static str, u16),
    /// Name and password are wrong, or none are known.
    #[error("the server wants another user or password")]
    Unauthorized,
    /// What is described cannot be used.
    #[error("{0}")]
    Description(#[from] SdpError),
    /// The server sends in a way that was not asked for.
    #[error("the server chose a transport that was not offered")]
    Transport,
    /// The server ended the session.
    #[error("the server ended the session")]
    Ended,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What the server has: answer with `set_up`.
    Described(Description),
    /// Packets flow from now on, or may be sent: how each track travels.
    Running(Vec<(usize, Delivery)>),
    /// A packet of a channel.
    Data(u8, Bytes),
    /// It is somewhere else.
    Redirected(String),
}

/// What we want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// To be sent a stream.
    Play,
    /// To send one: its description, with controls `trackID=n`.
    Record(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Options,
    Describe,
    Announce,
    /// The description is with the owner.
    Chosen,
    SetUp(usize),
    Begin,
    Running,
    Over,
}

/// A request on its way.
#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    cseq: u32,
    tries: u8,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    goal: Goal,
    url: String,
    credentials: Option<Credentials>,
    reader: Reader,
    out: Vec<u8>,
    step: Step,
    asked: Option<Asked>,
    cseq: u32,
    session: Option<String>,
    timeout: Duration,
    /// Where the session's controls begin.
    base: String,
    /// Whose PLAY is that of all tracks.
    aggregate: String,
    controls: Vec<String>,
    wanted: Vec<(usize, Delivery)>,
    /// `GET_PARAMETER`, unless the server does not know it.
    keepalive: &'static str,
    next: Option<Instant>,
}

impl Client {
    /// Begins; `url` is without user and password.
    pub fn new(url: String, credentials: Option<Credentials>, goal: Goal) -> Self {
        let mut client = Self {
            goal,
            base: url.clone(),
            aggregate: url.clone(),
            url,
            credentials,
            reader: Reader::default(),
            out: Vec::new(),
            step: Step::Options,
            asked: None,
            cseq: 0,
            session: None,
            timeout: SESSION,
            controls: Vec::new(),
            wanted: Vec::new(),
            keepalive: "OPTIONS",
            next: None,
        };
        client.ask(0);
        client
    }

    /// Takes bytes of the server; call `poll_event` until it gives nothing, then send the output.
    pub fn handle(&mut self, data: &[u8]) {
        self.reader.handle_input(data);
    }

    /// The next event; `None` until more bytes come. After an error the connection is of no use.
    pub fn poll_event(&mut self, now: Instant) -> Result<Option<Event>, ClientError> {
        // Packets may come before the answer to PLAY, and are whole only if they are read behind it.
        while self.step != Step::Chosen && self.step != Step::Over {
            let event = match self.reader.poll_item()? {
                None => break,
                Some(Item::Data(channel, packet)) => Some(Event::Data(channel, packet)),
                Some(Item::Message(message)) => self.handle_message(now, &message)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// What is to be sent to the server.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Sets these tracks of the description up, in this way each.
    pub fn set_up(&mut self, tracks: Vec<(usize, Delivery)>) {
        if self.step == Step::Chosen {
            self.wanted = tracks;
            self.wanted.truncate(TRACKS_MAX);
            self.step = Step::SetUp(0);
            self.ask(0);
        }
    }

    /// Keeps the session alive.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next.is_some_and(|due| now >= due) {
            self.next = Some(now + self.interval());
            // One that was not answered is forgotten: what counts is whether packets come.
            self.ask(0);
        }
    }

    /// When to call `handle_timeout`.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Says goodbye; the answer need not be waited for.
    pub fn tear_down(&mut self) {
        if self.session.is_some() && self.step != Step::Over {
            self.put("TEARDOWN", &self.aggregate.clone(), "", "");
        }
        self.step = Step::Over;
    }

    fn interval(&self) -> Duration {
        (self.timeout / 2).clamp(Duration::from_secs(2), Duration::from_secs(30))
    }

    /// Sends the request of this step, for the `tries`th time.
    fn ask(&mut self, tries: u8) {
        let (method, uri) = match self.step {
            Step::Options => ("OPTIONS", self.url.clone()),
            Step::Describe => ("DESCRIBE", self.url.clone()),
            Step::Announce => ("ANNOUNCE", self.url.clone()),
            Step::SetUp(number) => {
                let track = self.wanted.get(number).map_or(0, |(track, _)| *track);
                ("SETUP", self.controls.get(track).cloned().unwrap_or_else(|| self.base.clone()))
            }
            Step::Begin if self.goal == Goal::Play => ("PLAY", self.aggregate.clone()),
            Step::Begin => ("RECORD", self.aggregate.clone()),
            Step::Running => (self.keepalive, self.aggregate.clone()),
            Step::Chosen | Step::Over => return,
        };
        let (fields, body) = match (self.step, &self.goal) {
            (Step::Describe, _) => ("Accept: application/sdp\r\n".to_owned(), String::new()),
            (Step::Announce, Goal::Record(body)) => {
                ("Content-Type: application/sdp\r\n".to_owned(), body.clone())
            }
            (Step::SetUp(number), goal) => {
                let record = *goal != Goal::Play;
                let delivery = self.wanted.get(number).map_or(Delivery::Interleaved(None), |wanted| wanted.1);
                (format!("Transport: {}\r\n", Transport { delivery, record, ssrc: None }), String::new())
            }
            (Step::Begin, _) => ("Range: npt=0.000-\r\n".to_owned(), String::new()),
            _ => (String::new(), String::new()),
        };
        self.put(method, &uri, &fields, &body);
        self.asked = Some(Asked { method, cseq: self.cseq, tries });
    }

    fn put(&mut self, method: &'static str, uri: &str, fields: &str, body: &str) {
        self.cseq += 1;
        let session = self.session.as_ref().map(|id| format!("Session: {id}\r\n")).unwrap_or_default();
        let authorization = self.credentials.as_mut().and_then(|known| known.authorization(method, uri));
        let authorization =
            authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let cseq = self.cseq;
        let request = format!(
            "{method} {uri} RTSP/1.0\r\nCSeq: {cseq}\r\nUser-Agent: {AGENT}\r\n{session}{authorization}{fields}{length}\r\n{body}"
        );
        self.out.extend_from_slice(request.as_bytes());
    }

    fn handle_message(&mut self, now: Instant, message: &Message) -> Result<Option<Event>, ClientError> {
        let status = match &message.start {
            Start::Response(status) => *status,
            Start::Request(method, _) => return self.handle_request(method, message),
        };
        let Some(asked) = self.asked.clone() else { return Ok(None) };
        // An answer to a request that is not waited for any more; one without a number is taken for ours.
        if status < 200 || message.cseq().is_some_and(|cseq| cseq != asked.cseq) {
            return Ok(None);
        }
        self.asked = None;
        if status == 401 || status == 407 {
            let offered = message.headers("WWW-Authenticate").chain(message.headers("Proxy-Authenticate"));
            let again = self.credentials.as_mut().is_some_and(|known| known.handle_challenges(offered));
            if !again || asked.tries >= TRIES {
                return Err(ClientError::Unauthorized);
            }
            self.ask(asked.tries + 1);
            return Ok(None);
        }
        if let (300..400, Some(location)) = (status, message.header("Location")) {
            self.step = Step::Over;
            return Ok(Some(Event::Redirected(location.to_owned())));
        }
        if let Some(session) = message.header("Session") {
            self.take_session(session);
        }
        let good = (200..300).contains(&status);
        match self.step {
            // Some know no OPTIONS; what counts comes next.
            Step::Options => {
                let knows = |header: &str| header.to_ascii_uppercase().contains("GET_PARAMETER");
                if good && message.header("Public").is_some_and(knows) {
                    self.keepalive = "GET_PARAMETER";
                }
                self.step = if self.goal == Goal::Play { Step::Describe } else { Step::Announce };
                self.ask(0);
            }
            Step::Running if !good && self.keepalive == "GET_PARAMETER" && status != 454 => {
                self.keepalive = "OPTIONS";
            }
            Step::Running if status == 454 => return Err(ClientError::Ended),
            Step::Running => {}
            _ if !good => return Err(ClientError::Status(asked.method, status)),
            Step::Describe => return self.describe(message).map(Some),
            Step::Announce => return self.announced().map(Some),
            Step::SetUp(number) => self.take_transport(number, message)?,
            Step::Begin => {
                self.step = Step::Running;
                self.next = Some(now + self.interval());
                return Ok(Some(Event::Running(self.wanted.clone())));
            }
            Step::Chosen | Step::Over => {}
        }
        Ok(None)
    }

    /// Some servers ask, too: whether we are there, mostly.
    fn handle_request(&mut self, method: &str, message: &Message) -> Result<Option<Event>, ClientError> {
        let cseq = message.header("CSeq").unwrap_or_default();
        let cseq: String = cseq.chars().filter(char::is_ascii_digit).take(10).collect();
        self.out.extend_from_slice(format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n").as_bytes());
        match (method, message.header("Location")) {
            ("REDIRECT", Some(location)) => Ok(Some(Event::Redirected(location.to_owned()))),
            ("TEARDOWN", _) => Err(ClientError::Ended),
            _ => Ok(None),
        }
    }

    fn take_session(&mut self, value: &str) {
        let mut parts = value.split(';').map(str::trim);
        let id: String =
            parts.next().unwrap_or_default().chars().filter(|one| !one.is_control()).take(256).collect();
        let timeout = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse::<u32>().ok())?
        });
        if let Some(seconds) = timeout.filter(|seconds| *seconds > 0) {
            self.timeout = Duration::from_secs(u64::from(seconds));
        }
        if !id.is_empty() {
            self.session = Some(id);
        }
    }

    fn describe(&mut self, message: &Message) -> Result<Event, ClientError> {
        let description = Description::parse(&message.body)?;
        let base = ["Content-Base", "Content-Location"].iter().find_map(|name| message.header(name));
        // A base without a host, and one of another protocol, lead nowhere.
        if let Some(base) = base.filter(|base| is_rtsp(base)) {
            base.clone_into(&mut self.base);
        }
        self.aggregate = resolve(&self.base, &description.control);
        if is_rtsp(&description.control) {
            self.base.clone_from(&self.aggregate);
        }
        self.controls = description.media.iter().map(|media| resolve(&self.base, &media.control)).collect();
        self.step = Step::Chosen;
        Ok(Event::Described(description))
    }

    fn announced(&mut self) -> Result<Event, ClientError> {
        let Goal::Record(body) = &self.goal else { return Err(ClientError::Ended) };
        let description = Description::parse(body.as_bytes())?;
        self.controls = description.media.iter().map(|media| resolve(&self.base, &media.control)).collect();
        self.step = Step::Chosen;
        Ok(Event::Described(description))
    }

    fn take_transport(&mut self, number: usize, message: &Message) -> Result<(), ClientError> {
        let told = message.header("Transport");
        let Some((_, wanted)) = self.wanted.get_mut(number) else { return Err(ClientError::Transport) };
        if let Some(told) = told.and_then(|told| Transport::answered(told, wanted)) {
            match (&*wanted, told) {
                (Delivery::Interleaved(_), Delivery::Interleaved(Some(_)))
                | (Delivery::Udp { .. }, Delivery::Udp { .. }) => *wanted = told,
                (Delivery::Interleaved(_), Delivery::Interleaved(None)) => {}
                _ => return Err(ClientError::Transport),
            }
        }
        self.step = if number + 1 < self.wanted.len() { Step::SetUp(number + 1) } else { Step::Begin };
        self.ask(0);
        Ok(())
    }
}

fn is_rtsp(uri: &str) -> bool {
    let scheme = uri.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let clean = !uri.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    clean && matches!(scheme.as_deref(), Some("rtsp" | "rtsps" | "rtspu"))
}

/// Where a control leads (RFC 2326 §C.1.1): not as RFC 3986 says, but behind the base, query and all, as everybody does.
fn resolve(base: &str, control: &str) -> String {
    if control.is_empty()
        || control == "*"
        || control.chars().any(|one| one.is_whitespace() || one.is_control())
    {
        return base.to_owned();
    }
    if is_rtsp(control) {
        return control.to_owned();
    }
    format!("{}/{}", base.strip_suffix('/').unwrap_or(base), control.trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
