use super::*;
use crate::{
    media::VideoCodec,
    rtsp::{Delivery, Moment, describe},
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
fn what_the_client_calls_itself_is_known() {
    let mut server = Server::new("S".to_owned());
    assert_eq!(server.agent(), "");
    for (cseq, agent) in [(1, "a player\u{7}"), (2, "another")] {
        server
            .handle(format!("OPTIONS * RTSP/1.0\r\nCSeq: {cseq}\r\nuser-agent: {agent}\r\n\r\n").as_bytes());
        assert_eq!(server.poll_event(), Ok(None));
        assert_eq!(server.agent(), "a player", "what it said first, to be shown");
    }
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
    for uri in ["", "*", "rtsp://host", "rtsp://host/", "rtsp://host/app", "rtsp://host/a/b/c", "/app//x"] {
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
    let description = describe(&testing::tracks(VideoCodec::H264, None), 7, Range::NOW);
    server.describe(&description);
    let answer = said(&mut server);
    assert!(answer.contains("Content-Base: rtsp://h/app/gate/?a=b\r\n") && answer.ends_with(&description));
    assert_eq!(server.poll_event(), Ok(None));
    assert!(said(&mut server).contains("CSeq: 3"));
    let request =
        "SETUP rtsp://h/app/gate/trackID=0 RTSP/1.0\nCSeq: 4\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1";
    let Some(Event::SetUp { track: 0, offers, .. }) = ask(&mut server, request) else { panic!() };
    server.set_up(&offers[0]);
    assert!(said(&mut server).contains("interleaved=0-1\r\nSession: ABC;timeout=60\r\n"));
    assert_eq!(
        ask(&mut server, "PLAY rtsp://h/app/gate RTSP/1.0\nCSeq: 5\nSession: ABC"),
        Some(Event::Play(Wish::default()))
    );
    let starts = [(0, 7), (1, 8)].map(|(track, seq)| TrackStart { track, seq, timestamp: 9 });
    server.play(Played { range: Range::NOW, scale: 1.0, speed: None }, &starts);
    let answer = said(&mut server);
    assert!(answer.contains("CSeq: 5\r\nSession: ABC\r\nRange: npt=now-\r\nScale: 1\r\n"));
    assert!(
        answer.ends_with("RTP-Info: url=rtsp://h/app/gate/trackID=0;seq=7;rtptime=9\r\n\r\n"),
        "{answer}"
    );
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
        said(&mut server).contains("401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=\"x\"\r\n")
    );
    assert_eq!(server.poll_event(), Ok(None));
    assert!(said(&mut server).contains("455 Method Not Valid"));
    server.handle(request.as_bytes());
    assert!(matches!(server.poll_event(), Ok(Some(Event::Announce(..)))));
    server.accept();
    said(&mut server);
    let request = "SETUP rtsp://h/app/gate/streamid=1 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP;unicast;client_port=5000-5001;mode=record";
    let Some(Event::SetUp { target: found, track, offers, .. }) = ask(&mut server, request) else { panic!() };
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

/// A server whose PLAY was accepted.
fn playing() -> Server {
    let mut server = Server::new("ABC".into());
    ask(&mut server, "PLAY rtsp://h/app/gate RTSP/1.0\nCSeq: 1");
    server.play(Played { range: Range::NOW, scale: 1.0, speed: None }, &[]);
    said(&mut server);
    server
}

#[test]
fn a_player_seeks_pauses_and_asks_where_it_is() {
    let mut server = playing();
    let request = "PLAY * RTSP/1.0\nCSeq: 2\nRange: npt=12.5-\nScale: 2.0\nSpeed: 3.5";
    let (start, end) = (Some(Moment::Npt(12_500)), None);
    let wish = Wish { range: Some(Range { start, end }), scale: Some(2.0), speed: Some(3.5) };
    assert_eq!(ask(&mut server, request), Some(Event::Play(wish)));
    assert!(server.is_asked());
    server.play(
        Played { range: Range { start, end: Some(Moment::Npt(60_000)) }, scale: 2.0, speed: Some(3.5) },
        &[],
    );
    assert!(
        said(&mut server).contains("Session: ABC\r\nRange: npt=12.500-60.000\r\nScale: 2\r\nSpeed: 3.5\r\n")
    );
    assert_eq!(ask(&mut server, "PAUSE * RTSP/1.0\nCSeq: 3"), Some(Event::Pause));
    server.pause(Some(Range { start, end }));
    assert!(said(&mut server).contains("CSeq: 3\r\nSession: ABC\r\nRange: npt=12.500-\r\n"));
    server.handle(b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 4\r\nContent-Length: 17\r\n\r\nposition\r\nscale\r\n");
    let names = vec!["position".to_owned(), "scale".to_owned()];
    assert_eq!(server.poll_event(), Ok(Some(Event::Get(names))));
    server.tell("position: 12.500\r\n");
    let answer = said(&mut server);
    assert!(
        answer.contains("Content-Type: text/parameters\r\n")
            && answer.ends_with("\r\n\r\nposition: 12.500\r\n")
    );
}

#[test]
fn what_cannot_be_played_so_is_refused() {
    let mut server = playing();
    for (request, status) in [
        ("PLAY * RTSP/1.0\nCSeq: 2\nRange: smpte=1:00:00-", "457 Invalid Range"),
        ("PLAY * RTSP/1.0\nCSeq: 3\nScale: fast", "400"),
        ("PLAY * RTSP/1.0\nCSeq: 3\nSpeed: inf", "400"),
        ("RECORD * RTSP/1.0\nCSeq: 4", "455"),
    ] {
        assert_eq!(ask(&mut server, request), None, "{request}");
        assert!(said(&mut server).starts_with(&format!("RTSP/1.0 {status}")), "{request}");
    }
    let mut idle = Server::new("ABC".into());
    assert_eq!(ask(&mut idle, "PAUSE * RTSP/1.0\nCSeq: 1"), None);
    assert!(said(&mut idle).starts_with("RTSP/1.0 455"));
    idle.handle(b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 8\r\n\r\nposition");
    assert_eq!(idle.poll_event(), Ok(None));
    assert!(said(&mut idle).starts_with("RTSP/1.0 451"));
}
