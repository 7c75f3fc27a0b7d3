//! Streams sent as RTP: what a second receiver of ours makes of them, and targets that refuse, vanish, block and lie.

mod support;

use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use bytes::Bytes;
use relay::{
    Config, EventKind, OpenSender, Opened, SendTransport, Transport,
    send::{Form, Payload, Selection},
    units::{Item, Subscribe, Subscription},
};
use support::{
    LOOPBACK, Relay, SSRC, accept, connect_from,
    fed::{Fed, tracks},
    until,
};
use wire::{
    media::{AccessUnit, AudioCodec, Kind, VideoCodec},
    rtcp::{self, Message},
    rtp::Packet,
};

fn sender(transport: SendTransport, to: u16) -> OpenSender {
    OpenSender {
        transport,
        host: Some(LOOPBACK.into()),
        port: to,
        ssrc: SSRC,
        form: Form { payload: Payload::Ps, selection: Selection { video: true, audio: true } },
        payload_type: 96,
        local_port: 0,
        report_timeout: None,
        wait: Duration::from_secs(10),
        over: None,
        rtcp: false,
    }
}

/// A receiver of ours and the sender that reaches it.
fn join(relay: &Relay, name: &str, source: u64, wanted: &OpenSender) -> (Opened, Opened) {
    let transport = match wanted.transport {
        SendTransport::Udp => Transport::Udp,
        SendTransport::TcpActive => Transport::TcpPassive,
        SendTransport::TcpPassive => Transport::TcpActive,
    };
    let sink = relay.open(name, transport);
    let payloads = vec![
        (8, "PCMA/8000".to_owned()),
        (97, "MPEG4-GENERIC/16000/1".to_owned()),
        (98, "H265/90000".to_owned()),
        (99, "H264/90000".to_owned()),
    ];
    relay.core.expect(sink.id, Some(SSRC), None, payloads).unwrap();
    let wanted = OpenSender { port: sink.port, ..wanted.clone() };
    let opened = relay.core.open_sender(source, &wanted).unwrap();
    if wanted.transport == SendTransport::TcpPassive {
        relay.core.connect(sink.id, SocketAddr::new(LOOPBACK.into(), opened.port)).unwrap();
    }
    (sink, opened)
}

fn subscribe(relay: &Relay, receiver: u64) -> Subscription {
    let (peer, agent) = Default::default();
    let all = Subscribe {
        video: true,
        audio: true,
        from_gop: true,
        bytes_max: 64 << 20,
        protocol: "",
        peer,
        agent,
    };
    relay.core.subscribe(receiver, all).unwrap()
}

fn read(subscription: &Subscription, units: &mut Vec<AccessUnit>) {
    let read = subscription.read(1000).0.into_iter();
    units.extend(read.filter_map(|item| match item {
        Item::Unit(unit) => Some(unit),
        Item::Tracks(_) => None,
    }));
}

fn of(units: &[AccessUnit], kind: Kind) -> Vec<Bytes> {
    units.iter().filter(|unit| unit.kind == kind).map(|unit| unit.data.clone()).collect()
}

/// Whether `got` are units of `sent` in a row, from somewhere in the first GOPs to nearly the end.
fn check(sent: &[AccessUnit], got: &[AccessUnit], what: &str) {
    for kind in [Kind::Video, Kind::Audio] {
        let (sent, got) = (of(sent, kind), of(got, kind));
        if sent.is_empty() {
            assert!(got.is_empty(), "{what}");
            continue;
        }
        let first = sent.iter().position(|unit| Some(unit) == got.first()).expect(what);
        assert!(sent[first..].starts_with(&got), "{what} {kind:?}: {} of {}", got.len(), sent.len());
        assert!(first + got.len() + 2 >= sent.len(), "{what} {kind:?}: {first} + {}", got.len());
    }
}

#[test]
fn what_is_sent_comes_back_byte_for_byte() {
    // Used ports rest, and many are used.
    let relay = Relay::start(Config { rtp_port_min: 26_000, rtp_port_max: 26_400, ..Config::default() });
    let ways = [SendTransport::Udp, SendTransport::TcpActive, SendTransport::TcpPassive];
    for video in [VideoCodec::H264, VideoCodec::H265] {
        for audio in [None, Some(AudioCodec::G711A), Some(AudioCodec::Aac)] {
            let mut source = Fed::open(&relay, "source", tracks(video, audio));
            let mut sinks = Vec::new();
            for way in ways {
                for payload in [Payload::Ps, Payload::Es] {
                    let payload_type = match (payload, video) {
                        (Payload::Ps, _) => 96,
                        (Payload::Es, VideoCodec::H265) => 98,
                        (Payload::Es, VideoCodec::H264) => 99,
                    };
                    let selection = Selection { video: true, audio: true };
                    let wanted =
                        OpenSender { form: Form { payload, selection }, payload_type, ..sender(way, 0) };
                    let name = format!("{} {}", way.name(), payload.name());
                    let (sink, _) = join(&relay, &name.replace(' ', "-"), source.id(), &wanted);
                    sinks.push((name, subscribe(&relay, sink.id), Vec::new(), sink));
                    relay.wait_event(EventKind::SenderConnected);
                }
            }
            source.feed(&relay, 40);
            for (name, subscription, units, _) in &mut sinks {
                until(name, || {
                    read(subscription, units);
                    (of(units, Kind::Video).len() >= 38).then_some(())
                });
            }
            std::thread::sleep(Duration::from_millis(300));
            for (name, subscription, units, sink) in &mut sinks {
                read(subscription, units);
                check(&source.sent, units, &format!("{name} {video:?} {audio:?}"));
                relay.core.close_receiver(sink.id).unwrap();
            }
            assert_eq!(relay.core.senders().unwrap().len(), 6);
            relay.core.close_receiver(source.id()).unwrap();
            for _ in 0..6 {
                assert!(
                    relay.wait_event(EventKind::SenderEnded).detail.iter().any(|(name, _)| *name == "reason")
                );
            }
            assert!(relay.core.senders().unwrap().is_empty());
            drop(source);
            until("the stream is gone", || {
                relay.core.stream("test", "source").unwrap().is_none().then_some(())
            });
        }
    }
}

/// The packets that a target of datagrams was sent.
fn datagrams(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2000];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|size| buffer[..size].to_vec())).collect()
}

/// Two sockets side by side, for packets and reports.
fn target() -> (UdpSocket, UdpSocket) {
    let pair = until("two free ports", || {
        let rtp = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        let reports = UdpSocket::bind((LOOPBACK, rtp.local_addr().unwrap().port().checked_add(1)?)).ok()?;
        Some((rtp, reports))
    });
    for socket in [&pair.0, &pair.1] {
        socket2::SockRef::from(socket).set_recv_buffer_size(4 << 20).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    }
    pair
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

#[test]
fn targets_share_payloads_and_have_numbers_of_their_own() {
    let relay = Relay::start(Config::default());
    let mut source = Fed::open(&relay, "shared", tracks(VideoCodec::H264, None));
    let targets = [target(), target()];
    for ((rtp, _), ssrc) in targets.iter().zip(1..) {
        let wanted = OpenSender { ssrc, ..sender(SendTransport::Udp, port(rtp)) };
        relay.core.open_sender(source.id(), &wanted).unwrap();
    }
    source.feed(&relay, 20);
    let sent = targets.each_ref().map(|(rtp, _)| datagrams(rtp));
    assert_eq!(sent[0].len(), sent[1].len());
    for (sent, ssrc) in sent.iter().zip(1..) {
        let first = Packet::parse(&sent[0]).unwrap().seq;
        for (packet, number) in sent.iter().zip(0..) {
            let read = Packet::parse(packet).unwrap();
            assert_eq!((read.ssrc, read.seq.wrapping_sub(first), packet.len() <= 1400), (ssrc, number, true));
        }
    }
    assert!(sent[0].iter().zip(&sent[1]).all(|(one, other)| one[12..] == other[12..]));
    assert!((relay.core.metrics()["relay_senders"] - 2.0).abs() < 0.1);
    assert_eq!(relay.wait_stats("shared", |_| true).viewers["gb28181"], 2);
}

#[test]
fn a_target_hears_reports_and_the_goodbye() {
    let relay = Relay::start(Config::default());
    let mut source = Fed::open(&relay, "reports", tracks(VideoCodec::H264, None));
    let (rtp, reports) = target();
    let opened = relay.core.open_sender(source.id(), &sender(SendTransport::Udp, port(&rtp))).unwrap();
    source.feed(&relay, 12);
    let sent = datagrams(&rtp);
    let first = Packet::parse(&sent[0]).unwrap();
    let said = datagrams(&reports);
    let Some(Message::SenderReport { ssrc, rtp_timestamp, .. }) = rtcp::messages(&said[0]).next() else {
        panic!("{said:?}")
    };
    assert_eq!((ssrc, rtp_timestamp), (SSRC, first.timestamp));
    reports.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 1], (LOOPBACK, opened.port + 1)).unwrap();
    until("the report was heard", || relay.core.senders().unwrap()[0].heard_ms);
    relay.core.close_sender(opened.id).unwrap();
    let ended = relay.wait_event(EventKind::SenderEnded);
    assert!(ended.detail.contains(&("reason", "closed".to_owned())), "{ended:?}");
    let goodbye = datagrams(&reports);
    assert_eq!(rtcp::messages(&goodbye[0]).last(), Some(Message::Bye { ssrc: SSRC }));
    until("it is no viewer any more", || {
        (relay.core.stream("test", "reports").unwrap()?.viewers["gb28181"] == 0).then_some(())
    });
}

#[test]
fn a_target_that_reports_nothing_is_given_up_if_asked_for() {
    let relay = Relay::start(Config::default());
    let source = Fed::open(&relay, "mute", tracks(VideoCodec::H264, None));
    let (rtp, _reports) = target();
    let timeout = Some(Duration::from_millis(500));
    let wanted = OpenSender { report_timeout: timeout, ..sender(SendTransport::Udp, port(&rtp)) };
    relay.core.open_sender(source.id(), &wanted).unwrap();
    let ended = relay.wait_event(EventKind::SenderEnded);
    assert!(ended.detail.contains(&("reason", "the target reports nothing".to_owned())), "{ended:?}");
}

#[test]
fn who_refuses_the_connection_is_tried_three_times() {
    let relay = Relay::start(Config::default());
    let source = Fed::open(&relay, "refused", tracks(VideoCodec::H264, None));
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let closed = listener.local_addr().unwrap().port();
    drop(listener);
    let opened = relay.core.open_sender(source.id(), &sender(SendTransport::TcpActive, closed)).unwrap();
    let failed = relay.wait_event(EventKind::SenderFailed);
    assert!(failed.detail.contains(&("sender", opened.id.to_string())), "{failed:?}");
    assert!(failed.detail.iter().any(|(_, value)| value.contains("refused")), "{failed:?}");
    assert!(relay.core.senders().unwrap().is_empty());
}

#[test]
fn a_passive_sender_waits_for_its_target_alone_and_not_for_ever() {
    let relay = Relay::start(Config::default());
    let mut source = Fed::open(&relay, "passive", tracks(VideoCodec::H264, None));
    let friend = Ipv4Addr::new(127, 0, 0, 3);
    let wanted = OpenSender { host: Some(IpAddr::V4(friend)), ..sender(SendTransport::TcpPassive, 0) };
    let opened = relay.core.open_sender(source.id(), &wanted).unwrap();
    let to = SocketAddr::from((LOOPBACK, opened.port));
    let mut stranger = TcpStream::connect(to).unwrap();
    assert_eq!(stranger.read(&mut [0; 8]).unwrap_or(0), 0, "closed without a word");
    let mut welcome = connect_from(friend, to);
    relay.wait_event(EventKind::SenderConnected);
    source.feed(&relay, 1);
    let mut head = [0; 14];
    welcome.read_exact(&mut head).unwrap();
    assert_eq!((head[0], head[2]), (5, 0x80));
    assert!(TcpStream::connect(to).is_err(), "it listens no more");
    drop(welcome);
    let ended = relay.wait_event(EventKind::SenderEnded);
    let broke = |value: &String| value.contains("closed") || value.contains("broke");
    assert!(ended.detail.iter().any(|(_, value)| broke(value)), "{ended:?}");
    let wanted = OpenSender { wait: Duration::from_millis(300), ..wanted };
    relay.core.open_sender(source.id(), &wanted).unwrap();
    let failed = relay.wait_event(EventKind::SenderFailed);
    assert!(failed.detail.contains(&("reason", "nobody connected".to_owned())), "{failed:?}");
}

#[test]
fn a_target_that_blocks_skips_to_a_key_frame_and_holds_up_nobody() {
    let relay = Relay::start(Config::default());
    let mut source = Fed::open(&relay, "blocked", tracks(VideoCodec::H264, None));
    source.key_size = 1_500_000;
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(16 << 10).unwrap();
    let to = listener.local_addr().unwrap().port();
    relay.core.open_sender(source.id(), &sender(SendTransport::TcpActive, to)).unwrap();
    let mut slow = accept(&listener);
    let (sink, _) = join(&relay, "other", source.id(), &sender(SendTransport::TcpActive, 0));
    let subscription = subscribe(&relay, sink.id);
    source.feed(&relay, 140);
    let mut units = Vec::new();
    until("the other target has all", || {
        read(&subscription, &mut units);
        (units.len() >= 138).then_some(())
    });
    check(&source.sent, &units, "beside one that blocks");
    // Now it reads: whole packets, with a gap in their numbers where it skipped.
    slow.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut data, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(size @ 1..) = slow.read(&mut buffer) {
        data.extend_from_slice(&buffer[..size]);
    }
    let (mut at, mut seqs) = (0, Vec::new());
    while let Some(&[high, low]) = data.get(at..at + 2) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let Some(packet) = data.get(at + 2..at + 2 + len) else { break };
        seqs.push(Packet::parse(packet).unwrap().seq);
        at += 2 + len;
    }
    let gaps = seqs.windows(2).filter(|pair| pair[1] != pair[0].wrapping_add(1)).count();
    let skips = relay.core.senders().unwrap().iter().map(|sender| sender.skips).sum::<u64>();
    assert!(gaps > 0 && gaps as u64 == skips, "{gaps} gaps, {skips} skips");
}

#[test]
fn a_target_of_datagrams_that_is_not_there_costs_nobody_anything() {
    let relay = Relay::start(Config::default());
    let mut source = Fed::open(&relay, "nobody", tracks(VideoCodec::H264, None));
    let (gone, _) = target();
    let closed = port(&gone);
    drop(gone);
    relay.core.open_sender(source.id(), &sender(SendTransport::Udp, closed)).unwrap();
    let (rtp, _reports) = target();
    relay.core.open_sender(source.id(), &sender(SendTransport::Udp, port(&rtp))).unwrap();
    source.feed(&relay, 20);
    let seqs: Vec<_> = datagrams(&rtp).iter().map(|packet| Packet::parse(packet).unwrap().seq).collect();
    assert!(seqs.len() > 60 && seqs.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    assert_eq!(relay.core.senders().unwrap().len(), 2, "it may come back");
}

#[test]
fn sound_alone_goes_to_a_device_that_is_spoken_to() {
    let relay = Relay::start(Config::default());
    let mut source = Fed::open(&relay, "talk", tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
    let (rtp, _reports) = target();
    let form = Form { payload: Payload::Es, selection: Selection { video: false, audio: true } };
    relay
        .core
        .open_sender(source.id(), &OpenSender { form, ..sender(SendTransport::Udp, port(&rtp)) })
        .unwrap();
    source.feed(&relay, 10);
    let sent = datagrams(&rtp);
    let packets: Vec<_> = sent.iter().map(|packet| Packet::parse(packet).unwrap()).collect();
    assert_eq!(packets.len(), 10);
    assert!(packets.iter().all(|packet| packet.payload_type == 8 && packet.payload.len() == 320));
    assert!(packets.windows(2).all(|pair| pair[1].timestamp == pair[0].timestamp + 320));
}

#[test]
fn a_way_that_cannot_be_gone_is_told() {
    let relay = Relay::start(Config::default());
    let source = Fed::open(&relay, "nowhere", tracks(VideoCodec::H264, None));
    let broadcast = Some(Ipv4Addr::BROADCAST.into());
    let wanted = OpenSender { host: broadcast, ..sender(SendTransport::Udp, 9000) };
    relay.core.open_sender(source.id(), &wanted).unwrap();
    relay.wait_event(EventKind::SenderFailed);
    assert!(relay.core.senders().unwrap().is_empty());
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    let relay = Relay::start(Config::default());
    let source = Fed::open(&relay, "wrong", tracks(VideoCodec::H264, None));
    let good = sender(SendTransport::Udp, 9000);
    let nothing = Form { payload: Payload::Ps, selection: Selection { video: false, audio: false } };
    for wrong in [
        OpenSender { form: nothing, ..good.clone() },
        OpenSender { host: None, ..good.clone() },
        OpenSender { host: Some(Ipv4Addr::UNSPECIFIED.into()), ..good.clone() },
        OpenSender { host: Some(Ipv4Addr::new(239, 1, 1, 1).into()), ..good.clone() },
        OpenSender { port: 0, ..good.clone() },
        OpenSender { payload_type: 128, ..good.clone() },
        OpenSender { local_port: 5000, ..sender(SendTransport::TcpActive, 9000) },
    ] {
        assert!(relay.core.open_sender(source.id(), &wrong).is_err(), "{wrong:?}");
    }
    assert!(relay.core.open_sender(9999, &good).is_err());
    let many = (0..100).find(|_| relay.core.open_sender(source.id(), &good).is_err());
    assert!(many.is_some(), "ports or the bound end it");
    relay.core.close_sender(123_456).unwrap();
}
