//! The front door over real loopback sockets: what a client sends and gets, what the server behind sees.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU64, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use relay::door::{
    Access, Answer, Credential, Denied, Directory, Door, DoorOptions, Feed, Form, Framing, Player, Question,
    Seat, Viewer, sign::sign,
};
use relay::{Output, Proxies};
use tokio::sync::watch;
use wire::{
    hls::{Container, LISTED, Segmenter, SegmenterOptions, Window},
    media::{AccessUnit, AudioCodec, AudioTrack, Kind, Ticks, Tracks},
    websocket::accept_key,
};

const KEY: &[u8] = b"a key of the test";

/// Streams that a test put there.
#[derive(Default)]
struct Streams {
    access: Mutex<HashMap<(String, String), Access>>,
    viewers: Mutex<Option<mpsc::Sender<Viewer>>>,
    window: watch::Sender<Option<Arc<Window>>>,
    bytes_out: Arc<AtomicU64>,
}

impl Directory for Streams {
    fn access(&self, app: &str, name: &str) -> Option<Access> {
        self.access.lock().expect("lock").get(&(app.to_owned(), name.to_owned())).copied()
    }

    fn attach(&self, _: &str, _: &str, viewer: Viewer) {
        if let Some(viewers) = &*self.viewers.lock().expect("lock") {
            viewers.send(viewer).expect("the test waits for viewers");
        }
    }

    fn ask(&self, question: &Question<'_>) -> Answer {
        Answer::Known(matches!(question.credential, Credential::Token("good")))
    }

    fn ask_for_aac(&self, _: &str, _: &str, _: SocketAddr, _: &'static str) -> Answer {
        Answer::Unknown
    }

    fn tracks(&self, _: &str, _: &str) -> Option<watch::Receiver<Option<Arc<Tracks>>>> {
        None // HTTP describes nothing
    }

    fn seat(&self, app: &str, name: &str, _: Output) -> Result<Seat, Denied> {
        self.access(app, name).map(|_| Seat::new(&Arc::default())).ok_or(Denied::Gone)
    }

    fn segments(&self, app: &str, name: &str, _: Container, _: Player<'_>) -> Result<Feed, Denied> {
        self.access(app, name).ok_or(Denied::Gone)?;
        Ok(Feed {
            window: self.window.subscribe(),
            bytes_out: Arc::clone(&self.bytes_out),
            bytes_to_player: Arc::default(),
        })
    }
}

struct House {
    door: Door,
    streams: Arc<Streams>,
    viewers: mpsc::Receiver<Viewer>,
    dir: PathBuf,
}

impl House {
    /// A door with the streams `default/public` and `default/private`.
    fn new(test: &str) -> Self {
        Self::behind(test, &[])
    }

    /// The same, with trusted proxies.
    fn behind(test: &str, proxies: &[&str]) -> Self {
        let dir = std::env::temp_dir().join(format!("door-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the socket");
        let (sender, viewers) = mpsc::channel();
        let streams = Arc::new(Streams::default());
        *streams.viewers.lock().expect("lock") = Some(sender);
        for (name, access) in [("public", Access::Public), ("private", Access::Private { generation: 0 })] {
            streams.access.lock().expect("lock").insert(("default".into(), name.into()), access);
        }
        let options = DoorOptions {
            host: "127.0.0.1".into(),
            port: 0,
            upstream: dir.join("up.sock"),
            play_key: KEY.to_vec(),
            proxies: Proxies::parse(proxies).expect("networks"),
        };
        let door = Door::open(options, Arc::clone(&streams) as Arc<dyn Directory>).expect("a free port");
        Self { door, streams, viewers, dir }
    }

    /// Lets `answer` serve the connections of the server behind.
    fn serve(&self, answer: fn(UnixStream)) {
        let listener = UnixListener::bind(self.dir.join("up.sock")).expect("a free path");
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || answer(stream))));
        });
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.door.address()).expect("the door is open");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    }

    /// One request on a connection of its own; head and body of the answer.
    fn ask(&self, request: &str) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("the door reads");
        let head = read_head(&mut stream);
        let body = if request.starts_with("HEAD") { String::new() } else { read_body(&mut stream, &head) };
        (head, body)
    }

    fn get(&self, target: &str) -> (String, String) {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    fn viewer(&self) -> Viewer {
        self.viewers.recv_timeout(Duration::from_secs(20)).expect("a viewer")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("an answer in time") == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("ASCII")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn read_body(stream: &mut impl Read, head: &str) -> String {
    let size = header(head, "content-length").map_or(0, |size| size.parse().expect("a number"));
    let mut body = vec![0; size];
    stream.read_exact(&mut body).expect("a whole body");
    String::from_utf8(body).expect("UTF-8")
}

fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status: {head:?}"))
}

/// A server that answers every request with the request's own head.
fn mirror(mut stream: UnixStream) {
    loop {
        let head = read_head(&mut stream);
        if head.is_empty() {
            return;
        }
        let body = read_body(&mut stream, &head);
        let echo = head + &body;
        let answer = format!(
            "HTTP/1.1 201 Created\r\nContent-Length: {}\r\nX-Custom: yes\r\nKeep-Alive: timeout=9\r\n\r\n{echo}",
            echo.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn other_requests_go_upstream_and_say_truly_where_they_came_from() {
    let house = House::new("proxy");
    house.serve(mirror);
    let (head, body) = house.ask(
        "POST /v3/things?q=%20 HTTP/1.1\r\nHost: gateway:8080\r\nContent-Length: 5\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\nX-Auth-Token: t\r\nConnection: keep-alive, X-Hop\r\n\
         X-Hop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\n\r\nhello",
    );
    assert_eq!(status(&head), 201);
    assert_eq!(header(&head, "x-custom"), Some("yes"));
    assert_eq!(header(&head, "keep-alive"), None);
    let (seen, payload) = body.split_once("\r\n\r\n").expect("a head and a body");
    assert!(seen.starts_with("POST /v3/things?q=%20 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(payload, "hello");
    assert_eq!(header(seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(seen, "host"), Some("gateway:8080"));
    assert_eq!(header(seen, "x-auth-token"), Some("t"));
    for name in ["x-forwarded-host", "forwarded", "x-hop", "te", "upgrade"] {
        assert_eq!(header(seen, name), None, "{name}");
    }
}

#[test]
fn a_trusted_proxy_says_where_requests_came_from() {
    let house = House::behind("trusted", &["127.0.0.0/8"]);
    house.serve(mirror);
    let (_, seen) = house.ask(
        "GET /v3/things HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 203.0.113.9, 127.0.0.2\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\r\n",
    );
    assert_eq!(header(&seen, "x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(header(&seen, "x-forwarded-proto"), Some("https"));
    assert_eq!(header(&seen, "x-forwarded-host"), None);
    // What is no text is not passed over together with what the proxy added to it.
    let (_, seen) =
        house.ask("GET /v3/things HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: é, 203.0.113.9\r\n\r\n");
    assert_eq!(header(&seen, "x-forwarded-for"), Some("203.0.113.9"));
    let (_, seen) = house.get("/v3/things");
    assert_eq!(header(&seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(&seen, "x-forwarded-proto"), Some("http"));
}

#[test]
fn a_connection_is_kept_for_further_requests_and_old_clients_are_closed() {
    let house = House::new("keep");
    house.serve(mirror);
    let mut stream = house.connect();
    for number in 0..3 {
        write!(stream, "GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n").expect("the door reads");
        let head = read_head(&mut stream);
        assert!(read_body(&mut stream, &head).starts_with(&format!("GET /{number} ")));
    }
    let mut stream = house.connect();
    stream.write_all(b"GET /old HTTP/1.0\r\n\r\n").expect("the door reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the door closes");
    assert!(answer.contains(" 201 ") && answer.contains("GET /old HTTP/1.1\r\n"), "{answer}");
}

#[test]
fn an_upstream_that_closed_an_idle_connection_is_asked_again() {
    let house = House::new("idle");
    house.serve(|mut stream| {
        let head = read_head(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())
            .expect("the door reads");
    });
    let mut stream = house.connect();
    for number in 0..3 {
        write!(stream, "GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n").expect("the door reads");
        let head = read_head(&mut stream);
        assert_eq!(status(&head), 200, "{head}");
        read_body(&mut stream, &head);
    }
}

#[test]
fn without_upstream_the_answer_is_503_and_a_broken_one_502() {
    let house = House::new("away");
    let (head, body) = house.get("/healthz");
    assert_eq!((status(&head), header(&head, "retry-after")), (503, Some("1")));
    assert!(body.contains("\"error_code\":\"upstream_away\""), "{body}");
    house.serve(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"what?\r\n\r\n").expect("the door reads");
    });
    assert_eq!(status(&house.get("/healthz").0), 502);
}

#[test]
fn a_long_head_is_refused() {
    let house = House::new("long");
    let filler = "y".repeat(70_000);
    let (head, _) = house.ask(&format!("GET / HTTP/1.1\r\nHost: x\r\nX-Filler: {filler}\r\n\r\n"));
    assert_eq!(status(&head), 431);
}

#[test]
fn a_live_stream_takes_the_socket_over() {
    let house = House::new("flv");
    house.serve(mirror);
    let mut stream = house.connect();
    stream.write_all(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n").expect("the door reads");
    let head = read_head(&mut stream);
    read_body(&mut stream, &head);
    let request = "GET /default/public.live.flv?codec=12&audio=0 HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("the door reads");
    let mut viewer = house.viewer();
    assert!(matches!(viewer.framing, Framing::Plain));
    assert!(matches!(viewer.form, Form::Flv(options) if !options.audio));
    assert_eq!(viewer.peer, stream.local_addr().expect("an address"));
    viewer.socket.write_all(b"FLV!").expect("room for a few bytes");
    drop(viewer);
    let head = read_head(&mut stream);
    assert_eq!(status(&head), 200);
    assert_eq!(header(&head, "content-type"), Some("video/x-flv"));
    assert_eq!(header(&head, "connection"), Some("close"));
    assert_eq!(header(&head, "access-control-allow-origin"), Some("*"));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed by the stream");
    assert_eq!(rest, b"FLV!");
}

#[test]
fn a_websocket_is_answered_by_the_door_and_belongs_to_the_stream() {
    let house = House::new("ws");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let request = |key: &str, version: u8| {
        format!(
            "GET /default/public.live.flv HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {version}\r\nSec-WebSocket-Protocol: flv, x\r\n\r\n"
        )
    };
    let mut stream = house.connect();
    stream.write_all(request(key, 13).as_bytes()).expect("the door reads");
    let head = read_head(&mut stream);
    assert_eq!(status(&head), 101);
    assert_eq!(header(&head, "sec-websocket-accept"), Some(accept_key(key).as_str()));
    assert_eq!(header(&head, "sec-websocket-protocol"), Some("flv"));
    assert!(matches!(house.viewer().framing, Framing::WebSocket));
    let (head, _) = house.ask(&request(key, 8));
    assert_eq!((status(&head), header(&head, "sec-websocket-version")), (426, Some("13")));
    assert_eq!(status(&house.ask(&request("short", 13)).0), 400);
}

#[test]
fn private_streams_want_a_signature() {
    let house = House::new("sign");
    let target = |query: &str| format!("/default/private.live.flv?{query}");
    let refused = |query: &str| {
        let (head, body) = house.get(&target(query));
        assert_eq!(status(&head), 403);
        body
    };
    let good = sign(KEY, "default", "private", 4_000_000_000, 0);
    assert!(refused("").contains("signature_missing"));
    assert!(refused(&sign(KEY, "default", "private", 1_600_000_000, 0)).contains("signature_expired"));
    assert!(refused(&sign(KEY, "default", "public", 4_000_000_000, 0)).contains("signature_wrong"));
    assert!(refused(&good.replace("4000000000", "4000000001")).contains("signature_wrong"));
    let head = house.ask(&format!("HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n", target(&good))).0;
    assert_eq!((status(&head), header(&head, "content-type")), (200, Some("video/x-flv")));
    let mut stream = house.connect();
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target(&good)).expect("the door reads");
    assert_eq!(status(&read_head(&mut stream)), 200);
    house.viewer();
}

#[test]
fn unknown_streams_preflights_and_foreign_methods() {
    let house = House::new("odd");
    for target in ["/default/none.live.flv", "/default/none/hls.m3u8", "/default/none/hls/1.ts"] {
        let (head, body) = house.get(target);
        assert_eq!(
            (status(&head), header(&head, "content-type")),
            (404, Some("application/json")),
            "{target}"
        );
        assert!(body.contains("\"error_code\":\"stream_not_found\""), "{body}");
    }
    let (head, _) =
        house.ask("OPTIONS /default/public/hls.m3u8 HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n\r\n");
    assert_eq!(status(&head), 204);
    assert_eq!(header(&head, "access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
    let allowed = header(&head, "access-control-allow-headers").expect("headers are allowed");
    assert!(allowed.split(", ").any(|name| name == "X-Auth-Token"), "{allowed}");
    assert_eq!(header(&head, "access-control-allow-origin"), Some("*"));
    let post = "POST /default/public.live.flv HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let (head, _) = house.ask(post);
    assert_eq!((status(&head), header(&head, "allow")), (405, Some("GET, HEAD, OPTIONS")));
}

/// A window over a second of sound.
fn window() -> Arc<Window> {
    let audio = AudioTrack { codec: AudioCodec::G711A, sample_rate: 8000, channels: 1, config: Bytes::new() };
    let tracks = Arc::new(Tracks { video: None, audio: Some(audio) });
    let target = Ticks::from_millis(500);
    let mut segmenter = Segmenter::new(SegmenterOptions {
        container: Container::Ts,
        target,
        listed: LISTED,
        first_sequence: 40,
        epoch_ms: 0,
    });
    let units = (0..60).map(|at| AccessUnit {
        kind: Kind::Audio,
        dts: Ticks::from_millis(at * 20),
        pts: Ticks::from_millis(at * 20),
        key: true,
        data: Bytes::from_static(&[0xD5; 160]),
        tracks: Arc::clone(&tracks),
    });
    units.filter_map(|unit| segmenter.write(&unit)).last().expect("two segments")
}

#[test]
fn a_playlist_waits_for_its_first_segment_and_passes_the_signature_on() {
    let house = House::new("hls");
    let query = sign(KEY, "default", "private", 4_000_000_000, 0);
    let publisher = Arc::clone(&house.streams);
    let later = thread::spawn(move || {
        while publisher.window.receiver_count() == 0 {
            thread::yield_now();
        }
        publisher.window.send_replace(Some(window()));
    });
    let (head, playlist) = house.get(&format!("/default/private/hls.m3u8?{query}&x=%22%0Ay"));
    later.join().expect("published");
    assert_eq!((status(&head), header(&head, "content-type")), (200, Some("application/vnd.apple.mpegurl")));
    assert!(playlist.ends_with(&format!("#EXTINF:0.500000,\nhls/41.ts?{query}\n")), "{playlist}");
    let mut stream = house.connect();
    write!(stream, "GET /default/private/hls/41.ts?{query} HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("the door reads");
    let head = read_head(&mut stream);
    assert_eq!((status(&head), header(&head, "content-type")), (200, Some("video/mp2t")));
    let size: usize = header(&head, "content-length").expect("a length").parse().expect("a number");
    let mut segment = vec![0; size];
    stream.read_exact(&mut segment).expect("a whole segment");
    assert_eq!(segment, window().resource("41.ts").expect("a segment"));
    assert_eq!(status(&house.get(&format!("/default/private/hls/42.ts?{query}")).0), 404);
    assert_eq!(status(&house.get("/default/private/hls/41.ts").0), 403);
}

#[test]
fn a_websocket_of_the_server_behind_is_tied_through() {
    let house = House::new("tunnel");
    house.serve(|mut stream| {
        let head = read_head(&mut stream);
        assert_eq!(header(&head, "upgrade"), Some("websocket"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-A: b\r\n\r\nhi";
        stream.write_all(answer.as_bytes()).expect("the door reads");
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).expect("the client speaks");
        bytes.reverse();
        stream.write_all(&bytes).expect("the door reads");
    });
    let mut stream = house.connect();
    let request = "GET /events HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("the door reads");
    let head = read_head(&mut stream);
    assert_eq!((status(&head), header(&head, "x-a")), (101, Some("b")));
    stream.write_all(b"abcd").expect("the door reads");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("closed by the server behind");
    assert_eq!(said, "hidcba");
}

#[test]
fn a_dropped_door_is_closed() {
    let house = House::new("drop");
    let address = house.door.address();
    let mut idle = house.connect();
    drop(house);
    assert!(TcpStream::connect(address).is_err());
    assert!(matches!(idle.read(&mut [0]), Ok(0) | Err(_)));
}
