//! Streams that are pushed by RTSP: to another core, and to servers that have their own ways.

mod support;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use relay::{
    Config, Event, EventKind, PlayRights,
    push::{OpenPush, PushState},
};
use support::{
    Relay, accept as connection,
    fed::GOP,
    feeding::{detail, push, source, ticket},
    until,
};

const REALM: &str = "a house";

fn open(relay: &Relay, receiver: u64, url: String, datagrams: bool) -> u64 {
    relay.core.open_push(&OpenPush { receiver, url, allow_private: true, datagrams }).unwrap()
}

/// Decides about the next publisher: whom it does not know it asks to prove itself.
fn let_in(to: &Relay, user: &str) -> u64 {
    loop {
        let asked = to.wait_event(EventKind::Publish);
        assert_eq!(detail(&asked, "protocol"), "rtsp");
        let ticket = detail(&asked, "ticket").parse().unwrap();
        if detail(&asked, "user") == user {
            let rights = PlayRights { private: false, ..PlayRights::default() };
            return to.core.accept_publish(ticket, "test", "copy", rights).unwrap();
        }
        assert_eq!(detail(&asked, "user"), "");
        to.core.refuse_publish(ticket, "who is it?", true);
    }
}

fn failed(from: &Relay) -> Event {
    from.wait_event(EventKind::PushFailed)
}

fn goes_and_comes_back(datagrams: bool) {
    let (from, to) = (Relay::start(Config::default()), Relay::start(Config::default()));
    let port = to.core.listen_rtsp("127.0.0.1", 0, Some(REALM)).unwrap();
    let (id, running) = source(&from, "cam");
    let push = open(&from, id, format!("rtsp://me:secret@127.0.0.1:{port}/test/copy?a=b"), datagrams);
    let copy = let_in(&to, "me");
    from.wait_event(EventKind::PushConnected);
    let stats = to.wait_stats("copy", |stats| stats.received > 2 * GOP as u64 && stats.width == 352);
    assert_eq!((stats.transport.name(), stats.lost), ("rtsp", 0));
    assert!(stats.faults.is_empty(), "{:?}", stats.faults);
    let told = from.core.pushes().remove(0);
    assert_eq!((told.id, told.state, told.failures), (push, PushState::Pushing, 0));
    assert_eq!(told.url, format!("rtsp://127.0.0.1:{port}/test/copy…"));
    until("bytes", || (from.core.pushes()[0].bytes_out > 70_000).then_some(()));

    to.core.close_receiver(copy).unwrap();
    assert_eq!(detail(&failed(&from), "cause"), "ended");
    let_in(&to, "me");
    from.wait_event(EventKind::PushConnected);
    to.wait_stats("copy", |stats| stats.received > GOP as u64);
    drop(running);
    assert_eq!(detail(&from.wait_event(EventKind::PushEnded), "reason"), "the stream is over");
    let ended = to.wait_event(EventKind::Ended);
    assert_eq!(detail(&ended, "reason"), "the publisher ended the stream", "it said so: {ended:?}");
}

#[test]
fn a_push_proves_who_it_is_comes_back_and_says_goodbye() {
    goes_and_comes_back(false);
}

#[test]
fn a_push_in_datagrams_does_so_too() {
    goes_and_comes_back(true);
}

#[test]
fn a_push_that_is_closed_takes_its_leave() {
    for datagrams in [false, true] {
        let (from, to) = (Relay::start(Config::default()), Relay::start(Config::default()));
        let port = to.core.listen_rtsp("127.0.0.1", 0, None).unwrap();
        let (id, _source) = source(&from, "cam");
        let push = open(&from, id, format!("rtsp://127.0.0.1:{port}/test/copy"), datagrams);
        let_in(&to, "");
        to.wait_stats("copy", |stats| stats.received > GOP as u64);
        from.core.close_push(push);
        assert_eq!(detail(&from.wait_event(EventKind::PushEnded), "reason"), "closed");
        let ended = to.wait_event(EventKind::Ended);
        assert_eq!(detail(&ended, "reason"), "the publisher ended the stream", "{datagrams}: it said so");
        assert!(from.core.pushes().is_empty());
    }
}

#[test]
fn a_push_that_is_closed_ends_its_session_by_teardown() {
    let from = Relay::start(Config::default());
    let (id, _source) = source(&from, "cam");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let push = push(&from, id, format!("rtsp://{}/x", listener.local_addr().unwrap()));
    let mut stream = connection(&listener);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    agree(&mut stream, "RECORD", "Session: S\r\n");
    from.wait_event(EventKind::PushConnected);
    from.core.close_push(push);
    let last = request(&mut stream);
    assert!(last.starts_with("TEARDOWN rtsp://") && last.contains("Session: S\r\n"), "{last}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "and nothing behind it");
}

#[test]
fn a_slow_server_is_told_behind_what_it_is_being_sent() {
    let from = Relay::start(Config::default());
    let (id, _source) = source(&from, "cam");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4 << 10).unwrap();
    let push = push(&from, id, format!("rtsp://{}/x", listener.local_addr().unwrap()));
    let mut stream = connection(&listener);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    agree(&mut stream, "RECORD", "Session: S\r\n");
    // It reads nothing until a picture does not fit any more.
    let mut before = 0;
    until("it is full", || {
        std::thread::sleep(Duration::from_millis(200));
        let bytes = from.core.pushes()[0].bytes_out;
        (bytes > 0 && std::mem::replace(&mut before, bytes) == bytes).then_some(())
    });
    from.core.close_push(push);
    let last = request(&mut stream);
    assert!(last.starts_with("TEARDOWN rtsp://"), "{last}");
    assert_eq!(detail(&from.wait_event(EventKind::PushEnded), "reason"), "closed");
}

#[test]
fn who_waits_to_try_again_is_closed_at_once() {
    let from = Relay::start(Config::default());
    let (id, _source) = source(&from, "cam");
    let push = push(&from, id, "rtsp://127.0.0.1:1/x".to_owned());
    assert_eq!(detail(&failed(&from), "cause"), "connection_refused");
    from.core.close_push(push);
    assert_eq!(detail(&from.wait_event(EventKind::PushEnded), "reason"), "closed");
}

#[test]
fn who_is_not_let_in_hears_why() {
    let (from, to) = (Relay::start(Config::default()), Relay::start(Config::default()));
    let port = to.core.listen_rtsp("127.0.0.1", 0, Some(REALM)).unwrap();
    let (id, _source) = source(&from, "cam");
    push(&from, id, format!("rtsp://127.0.0.1:{port}/test/copy"));
    to.core.refuse_publish(ticket(&to).0, "who is it?", true);
    assert_eq!(detail(&failed(&from), "cause"), "unauthorized");
    to.core.refuse_publish(ticket(&to).0, "never", false);
    let refused = failed(&from);
    assert_eq!(detail(&refused, "cause"), "rtsp_403");
    assert_eq!(detail(&refused, "reason"), "the server answered 403 to ANNOUNCE");
    for url in ["rtsp://127.0.0.1:1", "rtsps://127.0.0.1/test/cam", "rtsp://10.0.0.1/test/cam"] {
        let wanted = OpenPush { receiver: id, url: url.to_owned(), allow_private: false, datagrams: true };
        assert!(from.core.open_push(&wanted).is_err(), "{url}");
    }
}

/// A server that answers each request with 200 and `fields`, up to the answer to `until`.
fn agree(stream: &mut TcpStream, until: &str, fields: &str) {
    loop {
        let request = request(stream);
        let cseq = request.lines().find(|line| line.starts_with("CSeq")).unwrap();
        write!(stream, "RTSP/1.0 200 OK\r\n{cseq}\r\n{fields}\r\n").unwrap();
        if request.starts_with(until) {
            return;
        }
    }
}

/// The next request, with its body; packets are passed over.
fn request(stream: &mut TcpStream) -> String {
    let mut text = vec![0];
    stream.read_exact(&mut text).unwrap();
    while text[0] == b'$' {
        let mut head = [0; 3];
        stream.read_exact(&mut head).unwrap();
        let mut packet = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]])) + 1];
        stream.read_exact(&mut packet).unwrap();
        text = packet.split_off(packet.len() - 1);
    }
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    stream.read_exact(&mut vec![0; length.map_or(0, |length| length.parse().unwrap())]).unwrap();
    text
}

#[test]
fn a_server_is_told_that_we_are_there_and_one_with_other_channels_is_left() {
    let from = Relay::start(Config::default());
    let (id, _source) = source(&from, "cam");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    push(&from, id, format!("rtsp://{}/x", listener.local_addr().unwrap()));
    let mut stream = connection(&listener);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    agree(&mut stream, "SETUP", "Transport: RTP/AVP/TCP;unicast;interleaved=4-5\r\n");
    assert!(request(&mut stream).starts_with("RECORD "));
    write!(stream, "RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n").unwrap();
    let other = failed(&from);
    assert_eq!(detail(&other, "cause"), "not_rtsp", "{other:?}");

    let mut stream = connection(&listener);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    agree(&mut stream, "RECORD", "Session: S;timeout=4\r\nPublic: GET_PARAMETER\r\n");
    from.wait_event(EventKind::PushConnected);
    let kept = request(&mut stream);
    assert!(kept.starts_with("GET_PARAMETER ") && kept.contains("Session: S\r\n"), "{kept}");
    drop(stream);
    assert_eq!(detail(&failed(&from), "cause"), "ended");
    drop(listener);
    assert_eq!(detail(&failed(&from), "cause"), "connection_refused");
}
