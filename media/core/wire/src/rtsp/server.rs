//! One client's connection as the server sees it (RFC 2326 annex A): a player that describes, sets up and plays, or an encoder
//! that announces, sets up and records. No socket, no clock.
//!
//! It stops at each question until that is answered; what the client sent behind it waits.

use std::fmt::Write;

use bytes::Bytes;

use super::{Description, Item, Message, Reader, ReaderError, SdpError, Start, Transport};

/// Methods that we know, as OPTIONS tells.
const PUBLIC: &str =
    "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, RECORD, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// Silence after which a session is over, as we tell clients, in seconds (§12.37).
pub const SESSION_SECONDS: u32 = 60;

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// To be sent what was set up: answer with `accept` or `refuse`.
    Play,
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
    /// PLAY or RECORD was accepted.
    Running,
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
}

impl Server {
    /// A connection of which nothing came. `session` is the id of its one session: nobody else may guess it.
    pub fn new(session: String) -> Self {
        let (out, controls, announced) = Default::default();
        Self { reader: Reader::default(), out, session, phase: Phase::Idle, asked: None, controls, announced }
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
        }
    }

    /// Answers ANNOUNCE, PLAY and RECORD.
    pub fn accept(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.phase = asked.then;
            let mut fields = String::new();
            if asked.then == Phase::Running {
                // Writing into a String cannot fail.
                let _ = write!(fields, "Session: {}\r\nRange: npt=now-\r\n", self.session);
            }
            self.put(asked.cseq.as_deref(), 200, &fields, "");
        }
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
            "GET_PARAMETER" | "SET_PARAMETER" => {
                let session = format!("Session: {}\r\n", self.session);
                self.put(cseq.as_deref(), 200, &session, "");
            }
            "TEARDOWN" => {
                self.put(cseq.as_deref(), 200, "", "");
                self.phase = Phase::Over;
                return Some(Event::Ended);
            }
            // A live stream goes on all the same; players wait for an answer.
            "PAUSE" => self.put(cseq.as_deref(), 200, &format!("Session: {}\r\n", self.session), ""),
            "DESCRIBE" | "ANNOUNCE" | "SETUP" | "PLAY" | "RECORD" => {
                let asked = Asked { cseq, uri, then: self.phase };
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
            ("PLAY" | "RECORD", Phase::Running) => Err(200), // again: nothing changes
            ("PLAY", Phase::Idle) => Ok(Event::Play),
            ("RECORD", Phase::Announced) => Ok(Event::Record),
            ("DESCRIBE", Phase::Idle) => {
                let target = Target::parse(&asked.uri).ok_or(404);
                target.map(|target| Event::Describe(target, authorization(message)))
            }
            ("ANNOUNCE", Phase::Idle) => self.announce(message, &asked.uri),
            ("SETUP", Phase::Idle | Phase::Announced) => self.ask_set_up(message, &asked.uri),
            _ => Err(455),
        };
        if matches!(event, Ok(Event::Play | Event::Record)) {
            asked.then = Phase::Running;
        } else if matches!(event, Ok(Event::Announce(..))) {
            asked.then = Phase::Announced;
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

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        406 => "Not Acceptable",
        415 => "Unsupported Media Type",
        453 => "Not Enough Bandwidth",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        461 => "Unsupported Transport",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        551 => "Option not supported",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::VideoCodec,
        rtsp::{Delivery, describe},
        testing,
    };

    fn ask(server: &mut Server, request: &str) -> Option<Event> {
        server.handle(format!("{}\r\n\r\n", request.replace('\n', "\r\n")).as_bytes());
        server.poll_event().unwrap()
    }

    fn said(server: &mut Server) -> String {
        String::from_utf8(server.take_output()).unwrap()
    }

    fn target(name: &str) -> Target {
        Target { app: "app".into(), name: name.into(), query: String::new(), track: None }
    }

    #[test]
    fn uris_name_streams_and_tracks() {
        let whole = Target { query: "expires=1&sign=x/y".into(), track: Some(1), ..target("gate") };
        for uri in [
            "rtsp://host:8554/app/gate?expires=1&sign=x/y/trackID=1",
            "rtsp://me:secret@host/app/gate/trackID=1?expires=1&sign=x/y",
            "/app/gate/?expires=1&sign=x/y/trackID=1",
        ] {
            assert_eq!(Target::parse(uri), Some(whole.clone()), "{uri}");
        }
        assert_eq!(Target::parse("rtsp://host/app/gate/"), Some(target("gate")));
        for uri in ["", "*", "rtsp://host", "rtsp://host/", "rtsp://host/app", "rtsp://host/a/b/c", "/app//x"]
        {
            assert_eq!(Target::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_player_describes_sets_up_and_plays() {
        let mut server = Server::new("ABC".into());
        assert_eq!(ask(&mut server, "OPTIONS rtsp://h/app/gate RTSP/1.0\nCSeq: 1"), None);
        assert!(said(&mut server).starts_with("RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE"));
        let event =
            ask(&mut server, "DESCRIBE rtsp://h/app/gate?a=b RTSP/1.0\nCSeq: 2\nAuthorization: Basic eA==");
        let expected = Target { query: "a=b".into(), ..target("gate") };
        assert_eq!(event, Some(Event::Describe(expected, Some("Basic eA==".into()))));
        assert_eq!(said(&mut server), "", "the question waits");
        server.handle(b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n");
        assert_eq!(server.poll_event(), Ok(None), "and so does what follows");
        let description = describe(&testing::tracks(VideoCodec::H264, None), 7);
        server.describe(&description);
        let answer = said(&mut server);
        assert!(
            answer.contains("Content-Base: rtsp://h/app/gate/?a=b\r\n") && answer.ends_with(&description)
        );
        assert_eq!(server.poll_event(), Ok(None));
        assert!(said(&mut server).contains("CSeq: 3"));
        let request = "SETUP rtsp://h/app/gate/trackID=0 RTSP/1.0\nCSeq: 4\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1";
        let Some(Event::SetUp { track: 0, offers, .. }) = ask(&mut server, request) else { panic!() };
        server.set_up(&offers[0]);
        assert!(said(&mut server).contains("interleaved=0-1\r\nSession: ABC;timeout=60\r\n"));
        assert_eq!(
            ask(&mut server, "PLAY rtsp://h/app/gate RTSP/1.0\nCSeq: 5\nSession: ABC"),
            Some(Event::Play)
        );
        server.accept();
        assert!(said(&mut server).contains("CSeq: 5\r\nSession: ABC\r\nRange: npt=now-\r\n"));
        assert_eq!(ask(&mut server, "GET_PARAMETER * RTSP/1.0\nCSeq: 6\nSession: ABC"), None);
        assert!(said(&mut server).starts_with("RTSP/1.0 200"));
        assert_eq!(ask(&mut server, "TEARDOWN * RTSP/1.0\nCSeq: 7\nSession: ABC"), Some(Event::Ended));
    }

    #[test]
    fn an_encoder_announces_sets_up_and_records() {
        let mut server = Server::new("ABC".into());
        let body = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n\
            m=audio 0 RTP/AVP 8\r\na=control:streamid=1\r\n";
        let request = format!(
            "ANNOUNCE rtsp://h/app/gate RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.handle(request.as_bytes());
        let Ok(Some(Event::Announce(found, description, None))) = server.poll_event() else { panic!() };
        assert_eq!((found, description.media.len()), (target("gate"), 2));
        assert_eq!(ask(&mut server, "RECORD rtsp://h/app/gate RTSP/1.0\nCSeq: 2"), None);
        server.challenge(&["Digest realm=\"x\"".into()]);
        assert!(
            said(&mut server)
                .contains("401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=\"x\"\r\n")
        );
        assert_eq!(server.poll_event(), Ok(None));
        assert!(said(&mut server).contains("455 Method Not Valid"));
        server.handle(request.as_bytes());
        assert!(matches!(server.poll_event(), Ok(Some(Event::Announce(..)))));
        server.accept();
        said(&mut server);
        let request = "SETUP rtsp://h/app/gate/streamid=1 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP;unicast;client_port=5000-5001;mode=record";
        let Some(Event::SetUp { target: found, track, offers, .. }) = ask(&mut server, request) else {
            panic!()
        };
        assert_eq!((found, track), (target("gate"), 1));
        assert!(offers[0].record && matches!(offers[0].delivery, Delivery::Udp { .. }));
        server.refuse(461);
        let tail = "RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP;interleaved=0-1";
        for uri in ["rtsp://h/app/gate?a=b/streamid=1", "rtsp://h/app/gate/streamid=1?a=b"] {
            let Some(Event::SetUp { target: found, track, .. }) =
                ask(&mut server, &format!("SETUP {uri} {tail}"))
            else {
                panic!("{uri}")
            };
            assert_eq!((found, track), (Target { query: "a=b".into(), ..target("gate") }, 1), "{uri}");
            server.refuse(461);
        }
        assert!(said(&mut server).starts_with("RTSP/1.0 461 Unsupported Transport\r\nCSeq: 3\r\n"));
        assert_eq!(ask(&mut server, "RECORD rtsp://h/app/gate RTSP/1.0\nCSeq: 4"), Some(Event::Record));
        server.accept();
        server.handle(b"$\x02\x00\x01x");
        assert_eq!(server.poll_event(), Ok(Some(Event::Data(2, Bytes::from_static(b"x")))));
    }

    #[test]
    fn what_cannot_be_is_answered_with_why() {
        let cases = [
            ("PLAY rtsp://h/app/gate RTSP/1.0\nCSeq: 1\nSession: XYZ", "454"),
            ("RECORD rtsp://h/app/gate RTSP/1.0\nCSeq: 1", "455"),
            ("DESCRIBE rtsp://h/ RTSP/1.0\nCSeq: 1", "404"),
            ("SETUP rtsp://h/app/gate RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;multicast", "461"),
            ("ANNOUNCE rtsp://h/app/gate RTSP/1.0\nCSeq: 1", "415"),
            ("REDIRECT rtsp://h/app/gate RTSP/1.0\nCSeq: 1", "501"),
            ("DESCRIBE rtsp://h/app/gate RTSP/1.0\nCSeq: 1\nRequire: magic", "551"),
        ];
        for (request, status) in cases {
            let mut server = Server::new("ABC".into());
            assert_eq!(ask(&mut server, request), None, "{request}");
            assert!(said(&mut server).starts_with(&format!("RTSP/1.0 {status} ")), "{request}");
        }
        let mut server = Server::new("ABC".into());
        server.handle(b"GET / HTTP/1.1\r\n\r\n");
        assert!(server.poll_event().is_err());
    }
}
