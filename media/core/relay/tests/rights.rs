//! Who may play: signatures and their revocation, tokens that somebody else judges, and how many may watch.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::Duration,
};

use relay::{Config, Event, EventKind, OpenReceiver, PlayRights, Transport};
use support::{LOOPBACK, Relay, until};

struct House {
    relay: Relay,
    port: u16,
}

impl House {
    /// A relay with the stream `test/cam`.
    fn new(rights: PlayRights) -> Self {
        let relay = Relay::start(Config { play_key: b"a key of the test".to_vec(), ..Config::default() });
        relay.open_with(OpenReceiver { rights, ..Relay::receiver("cam", Transport::Udp) });
        let port = relay.core.listen_http("127.0.0.1", 0, "/nonexistent").unwrap();
        Self { relay, port }
    }

    fn private() -> Self {
        Self::new(PlayRights::default())
    }

    fn send(&self, target: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect((LOOPBACK, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
        stream
    }

    /// Status and, of an error, its code; with the connection that was opened for it.
    fn ask(&self, target: &str, headers: &str) -> (String, TcpStream) {
        let mut stream = self.send(target, headers);
        let answer = read(&mut stream);
        (answer, stream)
    }

    fn says(&self, target: &str, headers: &str) -> String {
        self.ask(target, headers).0
    }

    fn counted(&self, name: &str) -> usize {
        let counted = self.relay.core.metrics()[name];
        (0..1000).rposition(|number| f64::from(number) <= counted).unwrap()
    }

    /// The next question; its ticket.
    fn question(&self) -> (u64, Event) {
        let event = self.relay.wait_event(EventKind::Play);
        (detail(&event, "ticket").parse().unwrap(), event)
    }
}

fn detail<'a>(event: &'a Event, name: &str) -> &'a str {
    &event.detail.iter().find(|(found, _)| *found == name).unwrap().1
}

/// `200`, or such as `403 signature_missing`.
fn read(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer in time");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = &head[9..12];
    if status == "200" {
        return status.to_owned();
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let code = body.split('"').nth(3).unwrap();
    format!("{status} {code}")
}

const LIVE: &str = "/test/cam.live.flv";
const FOREVER: u64 = 4_000_000_000;
/// Admitted to HLS, and nothing there: no media comes in these tests.
const ADMITTED: &str = "404 segment_not_found";

#[test]
fn a_new_generation_revokes_what_was_signed_before() {
    let house = House::private();
    let core = &house.relay.core;
    let first = format!("{LIVE}?{}", core.sign("test", "cam", FOREVER, 0));
    assert_eq!(house.says(&first, ""), "200");
    core.set_generation("test", "cam", 1);
    assert_eq!(house.says(&first, ""), "403 signature_wrong");
    let second = core.sign("test", "cam", FOREVER, 1);
    assert_eq!(house.says(&format!("{LIVE}?{second}"), ""), "200");
    assert_eq!(house.says(&format!("/test/cam/hls/1.ts?{second}"), ""), ADMITTED);
    core.set_generation("test", "cam", 2);
    assert_eq!(house.says(&format!("/test/cam/hls/1.ts?{second}"), ""), "403 signature_wrong");
    core.set_generation("test", "none", 3);
}

#[test]
fn a_token_is_asked_about_once_it_is_needed() {
    let house = House::private();
    let core = &house.relay.core;
    let mut waiting = house.send(LIVE, "X-Auth-Token: abc\r\n");
    let (ticket, event) = house.question();
    assert_eq!((&*event.app, &*event.name), ("test", "cam"));
    assert_eq!((detail(&event, "protocol"), detail(&event, "token")), ("http-flv", "abc"));
    assert_eq!(detail(&event, "peer"), waiting.local_addr().unwrap().to_string());
    core.answer_play(ticket, true);
    assert_eq!(read(&mut waiting), "200");

    let mut waiting = house.send("/test/cam.live.flv?token=a%2Bb", "");
    let (ticket, event) = house.question();
    assert_eq!(detail(&event, "token"), "a+b");
    core.answer_play(ticket, false);
    assert_eq!(read(&mut waiting), "403 token_refused");

    let signed = format!("{LIVE}?{}", core.sign("test", "cam", FOREVER, 0));
    assert_eq!(house.says(&signed, "X-Auth-Token: abc\r\n"), "200", "the signature is enough");
    assert_eq!(house.says(LIVE, ""), "403 signature_missing");
    assert_eq!(house.says(LIVE, "X-Auth-Token:\r\n"), "403 signature_missing");
    let long = format!("X-Auth-Token: {}\r\n", "x".repeat(9000));
    assert_eq!(house.says(LIVE, &long), "403 token_refused");
    core.set_private("test", "cam", false);
    assert_eq!(house.says(LIVE, "X-Auth-Token: abc\r\n"), "200", "a public stream asks nothing");
    assert_eq!(house.says("/test/none.live.flv", "X-Auth-Token: abc\r\n"), "404 stream_not_found");
    assert_eq!(house.counted("relay_play_questions_total"), 2);
}

#[test]
fn nobody_else_waits_while_a_token_is_judged_and_silence_is_a_no() {
    let house = House::private();
    let mut waiting = house.send(LIVE, "X-Auth-Token: abc\r\n");
    house.question();
    let signed = format!("{LIVE}?{}", house.relay.core.sign("test", "cam", FOREVER, 0));
    assert_eq!(house.says(&signed, ""), "200");
    assert_eq!(read(&mut waiting), "403 token_unchecked");
}

#[test]
fn a_player_of_segments_is_asked_about_once_in_a_while() {
    let house = House::private();
    let mut first = house.send("/test/cam/hls/1.ts", "X-Auth-Token: abc\r\n");
    let mut second = house.send("/test/cam/hls/2.ts", "X-Auth-Token: abc\r\n");
    let (ticket, event) = house.question();
    assert_eq!(detail(&event, "protocol"), "hls");
    house.relay.core.answer_play(ticket, true);
    assert_eq!((read(&mut first), read(&mut second)), (ADMITTED.to_owned(), ADMITTED.to_owned()));
    for _ in 0..5 {
        assert_eq!(house.says("/test/cam/hls/3.ts", "X-Auth-Token: abc\r\n"), ADMITTED);
    }
    assert_eq!(house.counted("relay_play_questions_total"), 1);
    let mut other = house.send(LIVE, "X-Auth-Token: abc\r\n");
    house.relay.core.answer_play(house.question().0, false);
    assert_eq!(read(&mut other), "403 token_refused", "a live stream asks each time");
}

#[test]
fn many_who_ask_at_once_are_bounded() {
    let house = Arc::new(House::private());
    let asking: Vec<_> = (0..20)
        .map(|number| {
            let house = Arc::clone(&house);
            thread::spawn(move || house.says(LIVE, &format!("X-Auth-Token: t{number}\r\n")))
        })
        .collect();
    let answers: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    let count = |code: &str| answers.iter().filter(|answer| *answer == code).count();
    assert_eq!((count("403 token_unchecked"), count("503 busy")), (16, 4), "{answers:?}");
}

#[test]
fn a_stream_has_no_more_viewers_than_it_may_and_who_leaves_makes_room() {
    let house = House::new(PlayRights { private: false, viewers_max: 2, ..PlayRights::default() });
    let (first, one) = house.ask(LIVE, "");
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut two = house.send(LIVE, upgrade);
    let mut status = [0; 12];
    two.read_exact(&mut status).unwrap();
    assert_eq!((first.as_str(), &status), ("200", b"HTTP/1.1 101"));
    assert_eq!(house.says(LIVE, ""), "503 too_many_viewers");
    assert_eq!(house.says("/test/cam/hls/1.ts", ""), "503 too_many_viewers");
    drop(one);
    until("a place", || (house.says("/test/cam/hls/1.ts", "") == ADMITTED).then_some(()));
    assert_eq!(house.says("/test/cam/hls/2.ts", ""), ADMITTED, "a player keeps its place");
    assert_eq!(house.says("/test/cam/hls/2.ts", "User-Agent: another\r\n"), "503 too_many_viewers");
    assert_eq!(house.says(LIVE, ""), "503 too_many_viewers");
    house.relay.core.set_viewers_max("test", "cam", 3);
    let (third, three) = house.ask(LIVE, "");
    assert_eq!(third, "200");
    house.relay.core.set_viewers_max("test", "cam", 0);
    assert_eq!(house.says(LIVE, ""), "200");
    assert!(house.counted("relay_viewers_refused_total") >= 4);
    drop((two, three));
}
