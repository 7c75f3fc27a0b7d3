use super::*;
use crate::{rtsp::Server, test_clock::start};

const SDP: &str = "v=0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n\
    m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n";

fn said(client: &mut Client) -> String {
    String::from_utf8(client.take_output()).unwrap()
}

fn answer(client: &mut Client, text: &str) -> Result<Option<Event>, ClientError> {
    client.handle(text.replace('\n', "\r\n").as_bytes());
    client.poll_event(start())
}

fn body(head: &str, body: &str) -> String {
    format!("{head}\nContent-Length: {}\n\n{}", body.len(), body.replace("\r\n", "\n"))
}

fn interleaved() -> Vec<(usize, Delivery)> {
    vec![(0, Delivery::Interleaved(Some((0, 1)))), (1, Delivery::Interleaved(Some((2, 3))))]
}

fn described(client: &mut Client, head: &str, sdp: &str) -> Description {
    said(client);
    assert_eq!(answer(client, "RTSP/1.0 200 OK\nCSeq: 1\nPublic: OPTIONS, GET_PARAMETER\n\n"), Ok(None));
    assert!(said(client).starts_with("DESCRIBE "));
    client.handle(
        format!("{}\r\nContent-Length: {}\r\n\r\n{sdp}", head.replace('\n', "\r\n"), sdp.len()).as_bytes(),
    );
    match client.poll_event(start()) {
        Ok(Some(Event::Described(description))) => description,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_is_described_set_up_played_and_kept() {
    let mut client = Client::new("rtsp://h/cam?x=1".into(), None, Goal::Play);
    let base = "RTSP/1.0 200 OK\nCSeq: 2\nContent-Base: rtsp://h/cam/";
    assert_eq!(described(&mut client, base, SDP).media.len(), 2);
    client.set_up(interleaved());
    let request = said(&mut client);
    assert!(request.starts_with("SETUP rtsp://h/cam/trackID=1 RTSP/1.0\r\nCSeq: 3\r\n"), "{request}");
    assert!(request.contains("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"));
    answer(
        &mut client,
        "RTSP/1.0 200 OK\nCSeq: 3\nSession: 77 ; Timeout = 20\nTransport: RTP/AVP/TCP;interleaved=4-5\n\n",
    )
    .unwrap();
    assert!(said(&mut client).contains("Session: 77\r\n"));
    // No CSeq, no Session, no Transport: as some cameras answer.
    answer(&mut client, "RTSP/1.0 200 OK\n\n").unwrap();
    assert!(said(&mut client).starts_with("PLAY rtsp://h/cam/ RTSP/1.0\r\n"));
    assert_eq!(answer(&mut client, "RTSP/1.0 100 Continue\nCSeq: 5\n\n"), Ok(None));
    client.handle(b"$\x04\x00\x01a");
    assert_eq!(client.poll_event(start()), Ok(Some(Event::Data(4, Bytes::from_static(b"a")))));
    let running = answer(&mut client, "RTSP/1.0 200 OK\nCSeq: 5\n\n").unwrap();
    let ways = vec![(0, Delivery::Interleaved(Some((4, 5)))), (1, Delivery::Interleaved(Some((2, 3))))];
    assert_eq!(running, Some(Event::Running(ways)));
    let due = client.next_timeout().unwrap();
    assert_eq!(due - start(), Duration::from_secs(10), "half of the session's time");
    client.handle_timeout(due);
    assert!(said(&mut client).starts_with("GET_PARAMETER rtsp://h/cam/ RTSP/1.0"));
    answer(&mut client, "RTSP/1.0 501 Not Implemented\nCSeq: 6\n\n").unwrap();
    client.handle_timeout(due + Duration::from_secs(10));
    assert!(said(&mut client).starts_with("OPTIONS "), "the server does not know the other");
    assert_eq!(answer(&mut client, "OPTIONS * RTSP/1.0\nCSeq: 9\n\n"), Ok(None));
    assert_eq!(said(&mut client), "RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n");
    assert_eq!(answer(&mut client, "RTSP/1.0 454 Session Not Found\nCSeq: 7\n\n"), Err(ClientError::Ended));
    client.tear_down();
    assert!(said(&mut client).starts_with("TEARDOWN rtsp://h/cam/ RTSP/1.0"));
}

#[test]
fn controls_lead_where_everybody_goes() {
    for (base, control, expected) in [
        ("rtsp://h/a", "trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a/", "/trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a?b=c", "trackID=1", "rtsp://h/a?b=c/trackID=1"),
        ("rtsp://h/a", "RTSP://10.0.0.1:554/x", "RTSP://10.0.0.1:554/x"),
        ("rtsp://h/a", "*", "rtsp://h/a"),
        ("rtsp://h/a", "", "rtsp://h/a"),
        ("rtsp://h/a", "x y\r\nz", "rtsp://h/a"),
    ] {
        assert_eq!(resolve(base, control), expected);
    }
    let mut client = Client::new("rtsp://h/a".into(), None, Goal::Play);
    let sdp = SDP.replace("a=control:*", "a=control:rtsp://h/b/");
    described(&mut client, "RTSP/1.0 200 OK\nContent-Base: http://other/", &sdp);
    client.set_up(vec![(1, Delivery::Udp { client: (5000, 5001), server: None })]);
    let request = said(&mut client);
    assert!(request.starts_with("SETUP rtsp://h/b/trackID=2 "), "{request}");
    assert!(request.contains("Transport: RTP/AVP;unicast;client_port=5000-5001\r\n"));
    answer(
        &mut client,
        "RTSP/1.0 200 OK\nTransport: RTP/AVP/UDP;unicast;server_port=6000-6001;source=10.0.0.1\n\n",
    )
    .unwrap();
    let delivery = Delivery::Udp { client: (5000, 5001), server: Some((6000, 6001)) };
    assert_eq!(answer(&mut client, "RTSP/1.0 200 OK\n\n"), Ok(Some(Event::Running(vec![(1, delivery)]))));
}

#[test]
fn a_server_that_asks_who_we_are_is_told() {
    let credentials = Credentials::new("me".into(), "secret".into(), 5);
    let mut client = Client::new("rtsp://h/a".into(), Some(credentials), Goal::Play);
    said(&mut client);
    answer(&mut client, "RTSP/1.0 404 Not Found\nCSeq: 1\n\n").expect("OPTIONS need not be known");
    assert!(!said(&mut client).contains("Authorization"));
    let asks = "RTSP/1.0 401 Unauthorized\nCSeq: 2\nWWW-Authenticate: Basic realm=\"x\"\nwww-authenticate: Digest realm=\"x\", nonce=\"1\", qop=\"auth\"\n\n";
    answer(&mut client, asks).unwrap();
    let request = said(&mut client);
    assert!(
        request.contains("Authorization: Digest username=\"me\"") && request.contains("nc=00000001"),
        "{request}"
    );
    let stale = "RTSP/1.0 401 Unauthorized\nCSeq: 3\nWWW-Authenticate: Digest realm=\"x\", nonce=\"2\", stale=true\n\n";
    answer(&mut client, stale).unwrap();
    assert!(said(&mut client).contains("nonce=\"2\""));
    let wrong = "RTSP/1.0 401 Unauthorized\nCSeq: 4\nWWW-Authenticate: Digest realm=\"x\", nonce=\"2\"\n\n";
    assert_eq!(answer(&mut client, wrong), Err(ClientError::Unauthorized));
    let mut client = Client::new("rtsp://h/a".into(), None, Goal::Play);
    assert_eq!(answer(&mut client, "RTSP/1.0 401 No\nCSeq: 1\n\n"), Err(ClientError::Unauthorized));
}

#[test]
fn redirects_refusals_and_nonsense_are_told_apart() {
    let begin = || {
        let mut client = Client::new("rtsp://h/a".into(), None, Goal::Play);
        answer(&mut client, "RTSP/1.0 200 OK\nCSeq: 1\n\n").unwrap();
        said(&mut client);
        client
    };
    let moved = "RTSP/1.0 302 Moved\nCSeq: 2\nLocation: rtsp://other/b\n\n";
    assert_eq!(answer(&mut begin(), moved), Ok(Some(Event::Redirected("rtsp://other/b".into()))));
    let refused = answer(&mut begin(), "RTSP/1.0 404 Not Found\nCSeq: 2\n\n");
    assert_eq!(refused, Err(ClientError::Status("DESCRIBE", 404)));
    assert_eq!(answer(&mut begin(), "RTSP/1.0 404 Not Found\nCSeq: 1\n\n"), Ok(None), "of another request");
    let empty = answer(&mut begin(), "RTSP/1.0 200 OK\nCSeq: 2\n\n");
    assert_eq!(empty, Err(ClientError::Description(SdpError::NoTracks)));
    assert!(matches!(answer(&mut begin(), "HTTP/1.1 200 OK\n\n"), Err(ClientError::Reader(_))));
    let mut client = begin();
    let head = "RTSP/1.0 200 OK\nCSeq: 2";
    client.handle(body(head, SDP).replace('\n', "\r\n").as_bytes());
    client.poll_event(start()).unwrap();
    client.set_up(interleaved());
    let other = answer(&mut client, "RTSP/1.0 200 OK\nTransport: RTP/AVP;unicast;client_port=1-2\n\n");
    assert_eq!(other, Err(ClientError::Transport));
}

#[test]
fn what_we_announce_our_own_server_takes() {
    let mut server = Server::new("S".into());
    let credentials = Credentials::new("me".into(), "secret".into(), 5);
    let sdp = SDP.replace("trackID=1", "trackID=0").replace("trackID=2", "trackID=1");
    let mut client = Client::new("rtsp://h/app/cam".into(), Some(credentials), Goal::Record(sdp));
    let (mut challenged, mut running) = (false, None);
    for _ in 0..20 {
        server.handle(&client.take_output());
        while let Some(event) = server.poll_event().unwrap() {
            use crate::rtsp::Event as Asked;
            match event {
                Asked::Announce(_, _, None) => {
                    challenged = true;
                    server.challenge(&["Digest realm=\"r\", nonce=\"n\"".to_owned()]);
                }
                Asked::SetUp { offers, .. } => {
                    assert!(offers[0].record);
                    server.set_up(&offers[0]);
                }
                _ => server.accept(),
            }
        }
        client.handle(&server.take_output());
        while let Some(event) = client.poll_event(start()).unwrap() {
            match event {
                Event::Described(_) => client.set_up(interleaved()),
                Event::Running(ways) => running = Some(ways),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((challenged, running), (true, Some(interleaved())));
}
