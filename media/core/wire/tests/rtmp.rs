//! RTMP as encoders and players speak it, from hand-made bytes: one connection's life on the server's side, and what
//! players are sent.

use std::sync::Arc;

use bytes::Bytes;
use wire::{
    amf::{Reader, Value},
    flv::FlvOptions,
    flv_read::{Tag, TagKind, TagReader},
    media::{AccessUnit, Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    rtmp::{
        ChunkError, ChunkReader, Event, Message, PlayerEvent, RtmpMuxer, Server, ServerError, Target,
        farewell,
    },
    unpack::{Options, Output},
};

const SPS: &[u8] =
    b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x50\xa6\x58";
const PPS: &[u8] = b"\x68\xef\x8f\xcb";

/// A client that counts no bytes of the handshake and writes one chunk a message.
struct Client {
    server: Server,
    answers: ChunkReader,
}

impl Client {
    fn new() -> Self {
        let mut server = Server::new(1);
        server.handle(&[&[3][..], &[0; 1536], &[0; 1536]].concat()).expect("a handshake");
        let out = server.take_output();
        assert_eq!((out.len(), out[0]), (1 + 2 * 1536, 3));
        let mut answers = ChunkReader::default();
        answers.allow_media();
        let mut client = Self { server, answers };
        client.say(2, 1, 0, 0, &65_536_u32.to_be_bytes()).expect("Set Chunk Size");
        client
    }

    fn connected(app: &str, url: &str) -> Self {
        let mut client = Self::new();
        let about = [
            ("app", Value::text(app)),
            ("tcUrl", Value::text(url)),
            ("type", Value::text("nonprivate")),
            ("flashVer", Value::text("LNX 9,0,124,2")),
        ];
        let about = Value::Object(about.map(|(name, value)| (name.into(), value)).into());
        client.command(0, "connect", 1.0, &[about]);
        client
    }

    /// Sends one message in fmt 0 on chunk stream `channel`; what it led to.
    fn say(
        &mut self,
        channel: u8,
        kind: u8,
        stream: u32,
        time: u32,
        payload: &[u8],
    ) -> Result<Vec<Event>, ServerError> {
        let mut bytes = vec![channel];
        bytes.extend_from_slice(&time.to_be_bytes()[1..]);
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        bytes.push(kind);
        bytes.extend_from_slice(&stream.to_le_bytes());
        bytes.extend_from_slice(payload);
        self.server.handle(&bytes)?;
        self.events()
    }

    fn events(&mut self) -> Result<Vec<Event>, ServerError> {
        let mut events = Vec::new();
        while let Some(event) = self.server.poll_event()? {
            events.push(event);
        }
        Ok(events)
    }

    fn command(&mut self, stream: u32, name: &str, transaction: f64, values: &[Value]) -> Vec<Event> {
        self.say(3, 20, stream, 0, &command(name, transaction, values)).expect("a good command")
    }

    /// The messages that the server sent since the last look.
    fn answers(&mut self) -> Vec<Message> {
        read(&mut self.answers, &self.server.take_output())
    }

    /// Name and values of the commands among them.
    fn commands(&mut self) -> Vec<(String, Vec<Value>)> {
        self.answers().iter().filter(|message| message.kind == 20).map(values).collect()
    }
}

fn command(name: &str, transaction: f64, values: &[Value]) -> Vec<u8> {
    let mut payload = Vec::new();
    Value::text(name).write(&mut payload);
    Value::Number(transaction).write(&mut payload);
    for value in values {
        value.write(&mut payload);
    }
    payload
}

fn read(reader: &mut ChunkReader, data: &[u8]) -> Vec<Message> {
    reader.handle(data);
    std::iter::from_fn(|| reader.poll().expect("good chunks")).collect()
}

fn values(message: &Message) -> (String, Vec<Value>) {
    let mut reader = Reader::new(&message.payload);
    let mut values: Vec<_> = std::iter::from_fn(|| reader.next_value().expect("good AMF0")).collect();
    (values.remove(0).as_text().expect("a name").to_owned(), values)
}

fn code((name, values): &(String, Vec<Value>)) -> (&str, &str, &str) {
    let text =
        |key| values.last().and_then(|info| info.get(key)).and_then(Value::as_text).unwrap_or_default();
    (name, text("level"), text("code"))
}

#[test]
fn a_publisher_as_encoders_speak() {
    let mut client = Client::connected("live", "rtmp://gateway/live");
    let answers = client.answers();
    assert_eq!(answers.iter().map(|message| message.kind).collect::<Vec<_>>(), [5, 6, 20]);
    let connected = values(&answers[2]);
    assert_eq!(code(&connected), ("_result", "status", "NetConnection.Connect.Success"));
    let name = [Value::Null, Value::text("cam")];
    for (at, setup) in (2..).zip(["releaseStream", "FCPublish", "createStream"]) {
        assert_eq!(client.command(0, setup, f64::from(at), &name), []);
    }
    let commands = client.commands();
    let names: Vec<_> = commands.iter().map(|command| command.0.as_str()).collect();
    assert_eq!(names, ["_result", "_result", "onFCPublish", "_result"]);
    assert_eq!(commands[3].1, [Value::Number(4.0), Value::Null, Value::Number(1.0)]);

    let wanted = Target { app: "live".into(), name: "cam".into(), query: String::new() };
    let publish = [Value::Null, Value::text("cam"), Value::text("live")];
    assert_eq!(client.command(1, "publish", 5.0, &publish), [Event::Publish(wanted)]);
    // Some do not wait for the answer: nothing of what they send is lost.
    assert_eq!(client.say(4, 9, 1, 0, &[0x17, 0]), Ok(vec![]));
    assert!(client.answers().is_empty());
    client.server.accept_publish();
    let answers = client.answers();
    assert_eq!((answers[0].kind, &answers[0].payload[..]), (4, &[0, 0, 0, 0, 0, 1][..]), "stream begin");
    assert_eq!(code(&values(&answers[1])), ("onStatus", "status", "NetStream.Publish.Start"));
    assert_eq!(answers[1].stream, 1);
    let tag = |kind, millis, body: &'static [u8]| {
        Event::Media(Tag { kind, millis, body: Bytes::from_static(body) })
    };
    assert_eq!(client.events(), Ok(vec![tag(TagKind::Video, 0, &[0x17, 0])]));
    assert_eq!(client.say(4, 8, 1, 23, &[0xAF, 1]), Ok(vec![tag(TagKind::Audio, 23, &[0xAF, 1])]));

    client.command(1, "deleteStream", 6.0, &[Value::Null, Value::Number(1.0)]);
    assert_eq!(code(&client.commands()[0]).2, "NetStream.Unpublish.Success");
    assert_eq!(client.say(4, 8, 1, 40, &[0xAF, 1]), Ok(vec![]), "it is over");
}

#[test]
fn queries_come_from_name_app_and_address() {
    let asked = |app: &str, url: &str, name: &str| {
        let mut client = Client::connected(app, url);
        match client.command(1, "publish", 2.0, &[Value::Null, Value::text(name)]).pop() {
            Some(Event::Publish(target)) => (target.app, target.name, target.query),
            other => panic!("{other:?}"),
        }
    };
    let target = |app: &str, name: &str, query: &str| (app.to_owned(), name.to_owned(), query.to_owned());
    assert_eq!(
        asked("live", "rtmp://h/live", "cam?Expires=1&Token=a=b"),
        target("live", "cam", "Expires=1&Token=a=b")
    );
    assert_eq!(asked("live?t=1", "rtmp://h/live?t=1", "cam?x=2"), target("live", "cam", "x=2&t=1"));
    assert_eq!(asked("/live/", "rtmp://h/live?t=1", "/cam/"), target("live", "cam", "t=1"));
    assert_eq!(asked("a/b", "", ""), target("a/b", "", ""));
}

#[test]
fn refusals_say_why_and_end_the_connection() {
    let mut client = Client::connected("live", "");
    client.answers();
    client.command(1, "publish", 2.0, &[Value::Null, Value::text("cam")]);
    client.server.refuse_publish("NetStream.Publish.Denied", "the token has expired");
    let commands = client.commands();
    assert_eq!(code(&commands[0]), ("onStatus", "error", "NetStream.Publish.Denied"));
    let info = commands[0].1.last().and_then(|info| info.get("description"));
    assert_eq!(info.and_then(Value::as_text), Some("the token has expired"));
    assert_eq!(client.command(1, "publish", 3.0, &[Value::Null, Value::text("cam")]), []);
    assert!(client.answers().is_empty());

    let mut early = Client::new();
    assert_eq!(early.command(1, "publish", 2.0, &[Value::Null, Value::text("cam")]), []);
    assert_eq!(
        code(&early.commands()[0]),
        ("_error", "error", "NetConnection.Call.Failed"),
        "before connect"
    );
    early.command(0, "launchMissiles", 3.0, &[Value::Null]);
    assert_eq!(code(&early.commands()[0]), ("_error", "error", "NetConnection.Call.Failed"));
}

#[test]
fn metadata_tell_of_sound_and_aggregates_are_taken_apart() {
    let mut client = Client::connected("live", "");
    client.command(1, "publish", 2.0, &[Value::Null, Value::text("cam")]);
    client.server.accept_publish();
    let metadata = |entries: Vec<(&'static str, Value)>| {
        let mut data = Vec::new();
        Value::text("@setDataFrame").write(&mut data);
        Value::text("onMetaData").write(&mut data);
        Value::EcmaArray(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
            .write(&mut data);
        data
    };
    let with = metadata(vec![("width", Value::Number(1.0)), ("audiocodecid", Value::Number(10.0))]);
    assert_eq!(client.say(4, 18, 1, 0, &with), Ok(vec![Event::Announced { audio: true }]));
    let amf3 = [&[0][..], &metadata(vec![("hasAudio", Value::Boolean(false))])].concat();
    assert_eq!(client.say(4, 15, 1, 0, &amf3), Ok(vec![Event::Announced { audio: false }]));
    assert_eq!(client.say(4, 18, 1, 0, b"\x02\0\x09onCuePoin"), Ok(vec![]));

    let part = |kind: u8, time: u8, body: &[u8]| {
        let back = (11 + body.len() as u32).to_be_bytes();
        [&[kind, 0, 0, body.len() as u8, 0, 0, time, 0, 0, 0, 0], body, &back].concat()
    };
    let parts = [part(8, 10, b"\xAF\x01"), part(18, 10, b"x"), part(9, 30, b"\x27\x01")].concat();
    let tags = client.say(4, 22, 1, 1000, &parts[..parts.len() - 4]).expect("good bytes");
    let told: Vec<_> = tags
        .iter()
        .map(|event| match event {
            Event::Media(tag) => (tag.kind, tag.millis, &tag.body[..]),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(TagKind::Audio, 1000, &b"\xAF\x01"[..]), (TagKind::Video, 1020, b"\x27\x01")]);
    assert_eq!(client.say(4, 22, 1, 0, &[9, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 1]), Ok(vec![]), "cut");
}

#[test]
fn pings_and_windows_are_answered() {
    let mut client = Client::connected("live", "");
    client.answers();
    client.say(2, 4, 0, 0, &[0, 6, 1, 2, 3, 4]).expect("a ping");
    assert_eq!(client.answers()[0].payload[..], [0, 7, 1, 2, 3, 4]);
    client.say(2, 4, 0, 0, &[0]).expect("nonsense is passed over");
    client.say(2, 5, 0, 0, &2000_u32.to_be_bytes()).expect("a window");
    client.answers();
    client.say(3, 20, 0, 0, &[0; 3000]).expect("no command");
    let acknowledgements: Vec<_> = client.answers().into_iter().filter(|message| message.kind == 3).collect();
    assert_eq!(acknowledgements.len(), 1);
}

#[test]
fn a_command_is_no_longer_than_64_kib_before_media_may_come() {
    let mut client = Client::new();
    let result = client.say(3, 20, 0, 0, &vec![0; 70_000]);
    assert_eq!(result, Err(ServerError::Chunk(ChunkError::MessageTooLong(70_000))));
}

#[test]
fn a_player_is_answered_and_heard() {
    let mut client = Client::connected("live", "");
    client.command(0, "createStream", 2.0, &[Value::Null]);
    client.answers();
    let play = [Value::Null, Value::text("cam?expires=1&sign=x"), Value::Number(-2000.0)];
    let target = Target { app: "live".into(), name: "cam".into(), query: "expires=1&sign=x".into() };
    assert_eq!(client.command(1, "play", 3.0, &play), [Event::Play(target)]);
    let Client { server, mut answers } = client;
    assert_eq!(server.agent(), "LNX 9,0,124,2", "what it calls itself");
    let (out, mut reader) = server.start_play();
    let messages = read(&mut answers, &out);
    assert_eq!(messages.iter().map(|message| message.kind).collect::<Vec<_>>(), [4, 20, 20, 18]);
    assert_eq!(code(&values(&messages[1])).2, "NetStream.Play.Reset");
    assert_eq!(code(&values(&messages[2])).2, "NetStream.Play.Start");

    let mut say = |kind: u8, payload: &[u8]| {
        let head =
            [&[3, 0, 0, 0][..], &(payload.len() as u32).to_be_bytes()[1..], &[kind, 1, 0, 0, 0]].concat();
        reader.handle(&[&head, payload].concat()).expect("good chunks")
    };
    assert_eq!(say(3, &[0, 0, 1, 0]), None, "an acknowledgement");
    let Some(PlayerEvent::Answer(pong)) = say(4, &[0, 6, 0, 0, 0, 9]) else { panic!("a ping is answered") };
    assert_eq!(read(&mut answers, &pong)[0].payload[..], [0, 7, 0, 0, 0, 9]);
    let pause = command("pause", 4.0, &[Value::Null, Value::Boolean(true), Value::Number(0.0)]);
    let Some(PlayerEvent::Answer(paused)) = say(20, &pause) else { panic!("a pause is answered") };
    assert_eq!(code(&values(&read(&mut answers, &paused)[0])).2, "NetStream.Pause.Notify");
    let delete = command("deleteStream", 5.0, &[Value::Null, Value::Number(1.0)]);
    assert_eq!(say(20, &delete), Some(PlayerEvent::Leave));
    let last = read(&mut answers, &farewell());
    assert_eq!(code(&values(&last[1])).2, "NetStream.Play.UnpublishNotify");
}

fn unit(tracks: &Arc<Tracks>, dts_ms: i64, key: bool, size: usize) -> AccessUnit {
    let slice = [&[if key { 0x65 } else { 0x41 }, 0x88], &vec![0xAB; size][..]].concat();
    let nals: &[&[u8]] = if key { &[SPS, PPS, &slice] } else { &[&slice] };
    let data: Vec<u8> =
        nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect();
    let dts = Ticks::from_millis(dts_ms);
    let pts = Ticks::from_millis(dts_ms + 80);
    AccessUnit { kind: Kind::Video, dts, pts, key, data: data.into(), tracks: Arc::clone(tracks) }
}

#[test]
fn what_players_are_sent_reads_back_as_the_same_units() {
    let sets = |set: &'static [u8]| vec![Bytes::from_static(set)];
    let video = VideoTrack {
        codec: VideoCodec::H264,
        width: 352,
        height: 288,
        rate: Some((25, 1)),
        vps: vec![],
        sps: sets(SPS),
        pps: sets(PPS),
    };
    let tracks = Arc::new(Tracks { video: Some(video), audio: None });
    // Past 4.6 hours times are extended; the large picture needs three chunks.
    let start = 0xFF_FFFF - 100;
    let sizes = [150_000, 10, 500, 59_991, 59_992, 60_001];
    let units: Vec<_> =
        sizes.iter().zip(0..).map(|(&size, at)| unit(&tracks, start + at * 40, at == 0, size)).collect();
    let mut muxer = RtmpMuxer::new(FlvOptions::default());
    let mut bytes = [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &60_000_u32.to_be_bytes()].concat();
    bytes.extend_from_slice(&muxer.head(&tracks, units[0].dts));
    for unit in &units {
        bytes.extend_from_slice(&muxer.write(unit).expect("H.264 is carried").to_bytes());
    }
    let mut reader = ChunkReader::default();
    reader.allow_media();
    let messages = read(&mut reader, &bytes);
    assert_eq!(messages.iter().map(|message| message.kind).collect::<Vec<_>>(), [18, 9, 9, 9, 9, 9, 9, 9]);
    assert_eq!(i64::from(messages[2].timestamp), start);
    assert_eq!(values(&messages[0]).0, "onMetaData");
    let mut tags = TagReader::new(Options::default());
    let now = now();
    for message in messages.into_iter().skip(1) {
        let tag = Tag { kind: TagKind::Video, millis: message.timestamp, body: message.payload };
        tags.handle_tag(now, &tag);
    }
    tags.handle_timeout(now + std::time::Duration::from_secs(2));
    let mut outputs = Vec::new();
    while let Some(output) = tags.poll_output() {
        outputs.push(output);
    }
    let got: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Unit(unit) => {
                Some(((unit.pts - unit.dts).as_millis(), unit.key, unit.data.last().copied()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(got, [true, false, false, false, false, false].map(|key| (80, key, Some(0xAB))));
}

#[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
