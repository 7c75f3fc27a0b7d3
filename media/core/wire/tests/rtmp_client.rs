//! RTMP as a client speaks it: against our own server's machine, and against bytes that other servers are known to send.

use std::sync::Arc;

use bytes::Bytes;
use wire::{
    amf::{Name, Reader, Value},
    flv::FlvOptions,
    flv_read::{Tag, TagKind},
    media::{AccessUnit, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    rtmp::{
        Action, ChunkReader, Client, ClientError, ClientEvent, Errand, Event, Message, Refusal, RtmpMuxer,
        Server, Target, TargetEvent, TargetReader,
    },
};

fn errand(action: Action) -> Errand {
    Errand { action, app: "live".into(), tc_url: "rtmp://server:1935/live".into(), name: "cam?key=k".into() }
}

/// A client and a server of ours with nothing between them.
struct Pair {
    client: Client,
    server: Server,
}

impl Pair {
    fn new(action: Action) -> Self {
        Self { client: Client::new(errand(action), 3), server: Server::new(4) }
    }

    /// Carries bytes to and fro, `step` at a time, until nobody has any; what either side makes of them.
    fn run(&mut self, step: usize) -> (Vec<ClientEvent>, Vec<Event>) {
        let (mut of_client, mut of_server) = (Vec::new(), Vec::new());
        loop {
            let (up, down) = (self.client.take_output(), self.server.take_output());
            if up.is_empty() && down.is_empty() {
                return (of_client, of_server);
            }
            for piece in up.chunks(step) {
                self.server.handle(piece).expect("we speak RTMP");
                of_server.extend(std::iter::from_fn(|| self.server.poll_event().expect("good chunks")));
            }
            for piece in down.chunks(step) {
                self.client.handle(piece).expect("we speak RTMP");
                of_client.extend(std::iter::from_fn(|| self.client.poll_event().expect("no refusal")));
            }
        }
    }
}

#[test]
fn our_own_server_takes_a_stream_and_the_bytes_of_all_players() {
    for step in [1, 7, 1000, usize::MAX] {
        let mut pair = Pair::new(Action::Publish);
        let target = Target { app: "live".into(), name: "cam".into(), query: "key=k".into() };
        assert_eq!(pair.run(step), (vec![], vec![Event::Publish(target)]));
        pair.server.accept_publish();
        assert_eq!(pair.run(step), (vec![ClientEvent::Started], vec![]));

        let (rest, mut reader) = pair.client.into_publisher();
        assert_eq!((rest.len(), reader.stream()), (0, 1));
        let (tracks, mut muxer) = (tracks(), RtmpMuxer::new(FlvOptions::default()));
        let mut bytes = muxer.publish_head(&tracks, Ticks(0)).to_vec();
        bytes.extend_from_slice(&muxer.write(&picture(&tracks)).expect("H.264 is carried").to_bytes());
        bytes.extend_from_slice(&reader.farewell());
        pair.server.handle(&bytes).expect("good chunks");
        let events: Vec<_> = std::iter::from_fn(|| pair.server.poll_event().expect("good chunks")).collect();
        let [Event::Announced { audio: false }, Event::Media(header), Event::Media(tag), Event::Ended] =
            &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((header.kind, header.body[..2].to_vec()), (TagKind::Video, vec![0x17, 0]));
        assert_eq!(tag.body[tag.body.len() - 3..], [0x65, 0x88, 7]);
        let stop = reader.handle(&pair.server.take_output()).expect("good chunks");
        let Some(TargetEvent::Stop(refusal)) = stop else { panic!("{stop:?}") };
        assert_eq!(refusal.code, "NetStream.Unpublish.Success");
    }
}

#[test]
fn our_own_server_refuses_and_is_understood() {
    let mut pair = Pair::new(Action::Publish);
    pair.run(100);
    pair.server.refuse_publish("NetStream.Publish.Denied", "the token has\nexpired");
    pair.client.handle(&pair.server.take_output()).expect("good chunks");
    let error = pair.client.poll_event().expect_err("a refusal");
    assert_eq!(error.to_string(), "the server refused: NetStream.Publish.Denied: the token has expired");
}

#[test]
fn our_own_server_is_played() {
    let mut pair = Pair::new(Action::Play);
    let target = Target { app: "live".into(), name: "cam".into(), query: "key=k".into() };
    assert_eq!(pair.run(11), (vec![], vec![Event::Play(target)]));
    let (answer, _) = pair.server.start_play();
    let (tracks, mut muxer) = (tracks(), RtmpMuxer::new(FlvOptions::default()));
    let media = [&muxer.head(&tracks, Ticks(0))[..], &muxer.write(&picture(&tracks)).unwrap().to_bytes()];
    let mut events = Vec::new();
    for piece in [answer, media.concat(), wire::rtmp::farewell()].concat().chunks(13) {
        pair.client.handle(piece).expect("good chunks");
        events.extend(std::iter::from_fn(|| pair.client.poll_event().expect("no refusal")));
    }
    let told: Vec<_> = events
        .iter()
        .map(|event| match event {
            ClientEvent::Started => "started",
            ClientEvent::Announced { audio: false } => "silent",
            ClientEvent::Media(Tag { kind: TagKind::Video, .. }) => "video",
            ClientEvent::Ended => "ended",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["started", "silent", "video", "video", "ended"]);
}

/// A server of hand-made bytes behind a plain handshake.
struct Foreign {
    client: Client,
    heard: ChunkReader,
}

impl Foreign {
    fn new(action: Action) -> Self {
        let mut client = Client::new(errand(action), 5);
        assert_eq!(client.take_output().len(), 1537);
        client.handle(&[&[3][..], &[0; 1536], &[1; 1536]].concat()).expect("a handshake");
        let mut heard = ChunkReader::default();
        heard.handle(&client.take_output()[1536..]);
        Self { client, heard }
    }

    /// A connection to which the server said yes up to `createStream`, with message stream `number`.
    fn asked(action: Action, number: f64) -> Self {
        let mut foreign = Self::new(action);
        foreign.heard();
        let success = object(&[("level", "status"), ("code", "NetConnection.Connect.Success")]);
        assert_eq!(foreign.say("_result", 1.0, &[Value::Null, success]), Ok(vec![]));
        assert_eq!(foreign.say("_result", 4.0, &[Value::Null, Value::Number(number)]), Ok(vec![]));
        foreign
    }

    /// Names, numbers, message streams and texts of the commands that the client sent.
    fn heard(&mut self) -> Vec<(String, f64, u32, Vec<Value>)> {
        self.messages().iter().filter(|message| message.kind == 20).map(command).collect()
    }

    fn messages(&mut self) -> Vec<Message> {
        self.heard.handle(&self.client.take_output());
        std::iter::from_fn(|| self.heard.poll().expect("good chunks")).collect()
    }

    fn say(&mut self, name: &str, number: f64, values: &[Value]) -> Result<Vec<ClientEvent>, ClientError> {
        let mut payload = Vec::new();
        Value::text(name).write(&mut payload);
        Value::Number(number).write(&mut payload);
        for value in values {
            value.write(&mut payload);
        }
        self.send(20, &payload)
    }

    fn status(
        &mut self,
        level: &str,
        code: &str,
        description: &str,
    ) -> Result<Vec<ClientEvent>, ClientError> {
        let info = object(&[("level", level), ("code", code), ("description", description)]);
        self.say("onStatus", 0.0, &[Value::Null, info])
    }

    fn send(&mut self, kind: u8, payload: &[u8]) -> Result<Vec<ClientEvent>, ClientError> {
        self.client.handle(&message(kind, payload))?;
        let mut events = Vec::new();
        while let Some(event) = self.client.poll_event()? {
            events.push(event);
        }
        Ok(events)
    }
}

/// A message in chunks of 128 bytes, as a server that never changes their size sends it.
fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out =
        [&[3, 0, 0, 0][..], &(payload.len() as u32).to_be_bytes()[1..], &[kind, 1, 0, 0, 0]].concat();
    for (at, piece) in payload.chunks(128).enumerate() {
        out.extend_from_slice(if at == 0 { &[] } else { &[0xC3] });
        out.extend_from_slice(piece);
    }
    out
}

fn command(message: &Message) -> (String, f64, u32, Vec<Value>) {
    let mut reader = Reader::new(&message.payload);
    let mut values = std::iter::from_fn(|| reader.next_value().expect("good AMF0"));
    let name = values.next().as_ref().and_then(Value::as_text).expect("a name").to_owned();
    let number = values.next().as_ref().and_then(Value::as_number).expect("a number");
    (name, number, message.stream, values.collect())
}

fn object(entries: &[(&'static str, &str)]) -> Value {
    Value::Object(entries.iter().map(|(name, text)| (Name::from(*name), Value::text(*text))).collect())
}

#[test]
fn a_publisher_says_what_servers_expect_in_their_order() {
    let mut foreign = Foreign::new(Action::Publish);
    let connect = foreign.heard();
    let [(name, 1.0, 0, values)] = &connect[..] else { panic!("{connect:?}") };
    let text = |key| values[0].get(key).and_then(Value::as_text);
    assert_eq!((name.as_str(), text("app"), text("type")), ("connect", Some("live"), Some("nonprivate")));
    assert_eq!(text("tcUrl"), Some("rtmp://server:1935/live"));
    foreign.say("_result", 1.0, &[Value::Null, Value::Null]).expect("yes");
    let asked: Vec<_> = foreign.heard().into_iter().map(|(name, number, ..)| (name, number)).collect();
    let wanted = [("releaseStream", 2.0), ("FCPublish", 3.0), ("createStream", 4.0)];
    assert_eq!(asked, wanted.map(|(name, number)| (name.to_owned(), number)));
    let unknown = object(&[("level", "error"), ("code", "NetConnection.Call.Failed")]);
    assert_eq!(foreign.say("_error", 2.0, &[Value::Null, unknown]), Ok(vec![]), "not all know releaseStream");
    foreign.say("_result", 4.0, &[Value::Null, Value::Number(7.0)]).expect("a stream");
    let publish = foreign.heard();
    let values = vec![Value::Null, Value::text("cam?key=k"), Value::text("live")];
    assert_eq!(publish, [("publish".to_owned(), 5.0, 7, values)]);
    let started = foreign.status("status", "NetStream.Publish.Start", "");
    assert_eq!(started, Ok(vec![ClientEvent::Started]));
    assert_eq!(foreign.client.into_publisher().1.stream(), 7);
}

#[test]
fn a_player_asks_for_what_is_live_and_bears_a_server_that_never_says_it_starts() {
    let mut foreign = Foreign::asked(Action::Play, 1.0);
    let messages = foreign.messages();
    let names: Vec<_> = messages.iter().filter(|m| m.kind == 20).map(|m| command(m).0).collect();
    assert_eq!(names, ["createStream", "play"]);
    let buffer = messages.last().expect("the buffer's length");
    assert_eq!((buffer.kind, &buffer.payload[..]), (4, &[0, 3, 0, 0, 0, 1, 0, 0, 0x0B, 0xB8][..]));
    let events = foreign.send(9, &[0x17, 0]).expect("a tag");
    let tag = Tag { kind: TagKind::Video, millis: 0, body: Bytes::from_static(&[0x17, 0]) };
    assert_eq!(events, [ClientEvent::Started, ClientEvent::Media(tag)]);
    assert_eq!(foreign.status("status", "NetStream.Play.Start", ""), Ok(vec![]), "it has started");
    assert_eq!(foreign.status("status", "NetStream.Play.UnpublishNotify", ""), Ok(vec![ClientEvent::Ended]));
    assert_eq!(foreign.send(9, &[0x17, 0]), Ok(vec![]), "it is over");
}

#[test]
fn a_no_is_told_in_the_servers_words_whatever_its_form() {
    let refused = |code: &str, description: &str| {
        Err(ClientError::Refused(Refusal { code: code.into(), description: description.into() }))
    };
    let mut foreign = Foreign::new(Action::Publish);
    let info =
        object(&[("level", "error"), ("code", "NetConnection.Connect.Rejected"), ("description", "no\tapp")]);
    let said = foreign.say("_error", 1.0, &[Value::Null, info]);
    assert_eq!(said, refused("NetConnection.Connect.Rejected", "no app"));
    let mut foreign = Foreign::new(Action::Publish);
    assert_eq!(foreign.say("_error", 1.0, &[Value::text("gone")]), refused("no code", "gone"));
    let mut foreign = Foreign::new(Action::Publish);
    assert_eq!(foreign.say("_error", 1.0, &[]), refused("no code", "the command failed"));
    // Not every server calls its error one.
    let mut foreign = Foreign::asked(Action::Publish, 1.0);
    let said = foreign.status("status", "NetStream.Publish.BadName", "taken");
    assert_eq!(said, refused("NetStream.Publish.BadName", "taken"));
    let mut foreign = Foreign::asked(Action::Play, 1.0);
    let said = foreign.status("error", "NetStream.Play.StreamNotFound", &"x".repeat(1000));
    assert_eq!(said, refused("NetStream.Play.StreamNotFound", &"x".repeat(300)));
    let mut foreign = Foreign::asked(Action::Play, 1.0);
    assert_eq!(foreign.say("close", 0.0, &[]), refused("no code", "the server closes the connection"));
    let mut foreign = Foreign::new(Action::Play);
    foreign.say("_result", 1.0, &[]).expect("yes");
    let said = foreign.say("_result", 4.0, &[Value::Null]);
    assert_eq!(said, refused("no code", "createStream was answered without a usable number"));
}

#[test]
fn a_redirect_is_told_at_connect_and_later() {
    let ex = |code: f64| {
        let ex =
            vec![("code".into(), Value::Number(code)), ("redirect".into(), Value::text("rtmp://b/live"))];
        let code = Value::text("NetConnection.Connect.Rejected");
        Value::Object(vec![
            ("level".into(), Value::text("error")),
            ("code".into(), code),
            ("ex".into(), Value::Object(ex)),
        ])
    };
    let to = Err(ClientError::Redirected("rtmp://b/live".into()));
    let mut foreign = Foreign::new(Action::Play);
    assert_eq!(foreign.say("_error", 1.0, &[Value::Null, ex(302.0)]), to);
    let mut foreign = Foreign::asked(Action::Publish, 1.0);
    assert_eq!(foreign.say("onStatus", 0.0, &[Value::Null, ex(302.0)]), to);
    let mut foreign = Foreign::new(Action::Play);
    let said = foreign.say("_error", 1.0, &[Value::Null, ex(500.0)]);
    assert!(matches!(said, Err(ClientError::Refused(_))), "{said:?}");
}

#[test]
fn pings_windows_and_limits_are_answered() {
    let mut foreign = Foreign::asked(Action::Play, 1.0);
    foreign.messages();
    foreign.send(4, &[0, 6, 1, 2, 3, 4]).expect("a ping");
    foreign.send(6, &[0, 0, 0x10, 0, 2]).expect("a limit");
    foreign.send(5, &2000_u32.to_be_bytes()).expect("a window");
    let kinds: Vec<_> = foreign.messages().iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [4, 5]);
    foreign.send(9, &[0x27; 1000]).expect("more than a window, with what came before it");
    let acknowledged = foreign.messages();
    assert_eq!(acknowledged.iter().map(|message| message.kind).collect::<Vec<_>>(), [3]);
    foreign.send(9, &[0x27; 1000]).expect("half a window");
    assert_eq!(foreign.messages(), []);
}

#[test]
fn a_target_is_heard() {
    let target = || -> TargetReader {
        let mut foreign = Foreign::asked(Action::Publish, 1.0);
        foreign.status("status", "NetStream.Publish.Start", "").expect("yes");
        foreign.client.into_publisher().1
    };
    assert_eq!(target().handle(&message(3, &[0, 0, 1, 0])), Ok(None), "an acknowledgement");
    let answer = target().handle(&message(4, &[0, 6, 0, 0, 0, 9])).expect("good chunks");
    assert!(matches!(answer, Some(TargetEvent::Answer(_))), "{answer:?}");
    let mut payload = Vec::new();
    Value::text("onStatus").write(&mut payload);
    Value::Number(0.0).write(&mut payload);
    object(&[("level", "error"), ("code", "NetStream.Publish.Denied"), ("description", "too late")])
        .write(&mut payload);
    let stop = target().handle(&message(20, &payload)).expect("good chunks");
    let refusal = Refusal { code: "NetStream.Publish.Denied".into(), description: "too late".into() };
    assert_eq!(stop, Some(TargetEvent::Stop(refusal)));
    assert!(target().handle(&message(20, &vec![0; 70_000])).is_err(), "a message above 64 KiB");
}

fn tracks() -> Arc<Tracks> {
    let sps = Bytes::from_static(b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x50\xa6\x58");
    let pps = Bytes::from_static(b"\x68\xef\x8f\xcb");
    let (vps, sps, pps) = (vec![], vec![sps], vec![pps]);
    let video = VideoTrack { codec: VideoCodec::H264, width: 352, height: 288, rate: None, vps, sps, pps };
    Arc::new(Tracks { video: Some(video), audio: None })
}

fn picture(tracks: &Arc<Tracks>) -> AccessUnit {
    let data = Bytes::from_static(&[0, 0, 0, 3, 0x65, 0x88, 7]);
    AccessUnit {
        kind: Kind::Video,
        dts: Ticks(0),
        pts: Ticks(0),
        key: true,
        data,
        tracks: Arc::clone(tracks),
    }
}
