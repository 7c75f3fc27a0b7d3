//! What is sent back on the connection of a receiver, and reports between the packets of a connection.

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use relay::{
    Config, EventKind, OpenSender, Opened, SendTransport, SenderStats, Transport,
    send::{Form, Payload, Selection},
};
use support::{LOOPBACK, Relay, SSRC, accept, fed::Fed, fed::tracks, rtp, until};
use wire::{
    media::{AudioCodec, VideoCodec},
    rtcp::{self, Message, Reporter},
    rtp::{Packet, is_rtcp},
};

const OURS: u32 = 77;

/// Sound alone, over a receiver.
fn talk(over: &Opened) -> OpenSender {
    OpenSender {
        transport: SendTransport::Udp,
        over: Some(over.id),
        host: None,
        port: 0,
        ssrc: OURS,
        form: Form { payload: Payload::Es, selection: Selection { video: false, audio: true } },
        payload_type: 96,
        local_port: 0,
        report_timeout: None,
        wait: Duration::from_secs(10),
        rtcp: false,
    }
}

fn voice(relay: &Relay) -> Fed {
    Fed::open(relay, "voice", tracks(VideoCodec::H264, Some(AudioCodec::G711A)))
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes(), packet].concat()
}

fn read_frame(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 2];
    socket.read_exact(&mut len)?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
    socket.read_exact(&mut packet)?;
    Ok(packet)
}

/// Packets of the voice, one after the other.
fn check(packets: &[Vec<u8>]) {
    let read: Vec<_> = packets.iter().map(|packet| Packet::parse(packet).unwrap()).collect();
    assert!(read.iter().all(|packet| (packet.ssrc, packet.payload_type) == (OURS, 8)));
    assert!(read.iter().all(|packet| packet.payload.len() == 320));
    assert!(read.windows(2).all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1)));
}

/// Speaks on a connection, and hears what comes back on it.
fn converse(relay: &Relay, voice: &mut Fed, device: &mut TcpStream) {
    device.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    relay.wait_event(EventKind::SenderConnected);
    voice.feed(relay, 5);
    let heard: Vec<_> = (0..5)
        .map(|number| {
            device.write_all(&framed(&rtp(SSRC, number, b"device"))).unwrap();
            read_frame(device).unwrap()
        })
        .collect();
    check(&heard);
}

fn only(relay: &Relay) -> SenderStats {
    let senders = relay.core.senders().unwrap();
    assert_eq!(senders.len(), 1);
    senders.into_iter().next().unwrap()
}

fn expect_end(relay: &Relay, kind: EventKind, reason: &str) {
    let ended = relay.wait_event(kind);
    assert!(ended.detail.contains(&("reason", reason.to_owned())), "{ended:?}");
}

#[test]
fn a_device_that_connects_hears_us_on_its_connection_and_on_the_next_one() {
    let relay = Relay::start(Config::default());
    let mut voice = voice(&relay);
    let receiver = relay.open("device", Transport::TcpPassive);
    relay.core.open_sender(voice.id(), &talk(&receiver)).unwrap();
    assert_eq!(only(&relay).state, "listening");
    let again = relay.core.open_sender(voice.id(), &talk(&receiver));
    assert!(again.is_err(), "two writers would tear each other's frames");
    let to = SocketAddr::from((LOOPBACK, receiver.port));
    let mut device = TcpStream::connect(to).unwrap();
    converse(&relay, &mut voice, &mut device);
    let stats = only(&relay);
    assert_eq!((stats.transport, stats.over, stats.port), ("tcp_passive", Some(receiver.id), receiver.port));
    assert_eq!(stats.peer, Some(device.local_addr().unwrap().to_string()));
    assert_eq!((stats.packets, stats.bytes, stats.state), (5, 5 * 334, "sending"));
    relay.wait_stats("device", |stats| stats.received == 5);
    drop(device);
    relay.wait_event(EventKind::Disconnected);
    until("it waits again", || (only(&relay).state == "listening").then_some(()));
    let mut device = TcpStream::connect(to).unwrap();
    converse(&relay, &mut voice, &mut device);
    relay.core.close_receiver(receiver.id).unwrap();
    let mut rest = Vec::new();
    device.read_to_end(&mut rest).expect("closed for the device too");
    expect_end(&relay, EventKind::SenderEnded, "the connection's stream is over");
}

#[test]
fn a_device_that_is_connected_to_hears_us_on_that_connection() {
    let relay = Relay::start(Config::default());
    let mut voice = voice(&relay);
    let receiver = relay.open("device", Transport::TcpActive);
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    relay.core.connect(receiver.id, listener.local_addr().unwrap()).unwrap();
    let mut device = accept(&listener);
    relay.wait_event(EventKind::Connected);
    let opened = relay.core.open_sender(voice.id(), &talk(&receiver)).unwrap();
    converse(&relay, &mut voice, &mut device);
    assert_eq!(only(&relay).transport, "tcp_active");
    relay.core.close_sender(opened.id).unwrap();
    expect_end(&relay, EventKind::SenderEnded, "closed");
    // The connection is the receiver's, and stays.
    device.write_all(&framed(&rtp(SSRC, 5, b"device"))).unwrap();
    relay.wait_stats("device", |stats| stats.received == 6);
}

/// A device of datagrams that speaks hears what we say at the port that it speaks from.
fn datagrams_both_ways(relay: &Relay, receiver: &Opened, from: u16) {
    let mut voice = voice(relay);
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    device.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    relay.core.open_sender(voice.id(), &talk(receiver)).unwrap();
    device.send_to(&rtp(SSRC, 1, b"device"), (LOOPBACK, from)).unwrap();
    relay.wait_event(EventKind::SenderConnected);
    voice.feed(relay, 5);
    let mut buffer = [0; 2000];
    let heard: Vec<_> = (0..5)
        .map(|_| {
            let (size, source) = device.recv_from(&mut buffer).unwrap();
            assert_eq!(source.port(), from);
            buffer[..size].to_vec()
        })
        .collect();
    check(&heard);
    device.send_to(&rtp(SSRC, 2, b"device"), (LOOPBACK, from)).unwrap();
    relay.wait_stats("device", |stats| stats.received == 2);
    relay.core.close_receiver(receiver.id).unwrap();
    expect_end(relay, EventKind::SenderEnded, "the connection's stream is over");
}

#[test]
fn datagrams_go_back_to_where_they_come_from() {
    let relay = Relay::start(Config::default());
    let receiver = relay.open("device", Transport::Udp);
    datagrams_both_ways(&relay, &receiver, receiver.port);
}

#[test]
fn datagrams_go_back_from_the_shared_port() {
    let (socket, port) = support::free_port();
    drop(socket);
    let relay = Relay::start(Config { rtp_shared_port: port, ..Config::default() });
    let mut wanted = Relay::receiver("device", Transport::Udp);
    wanted.shared = true;
    let receiver = relay.open_with(wanted);
    datagrams_both_ways(&relay, &receiver, port);
}

#[test]
fn a_connection_is_not_waited_for_for_ever() {
    let relay = Relay::start(Config::default());
    let voice = voice(&relay);
    let receiver = relay.open("device", Transport::TcpPassive);
    let wanted = OpenSender { wait: Duration::from_millis(200), ..talk(&receiver) };
    relay.core.open_sender(voice.id(), &wanted).unwrap();
    expect_end(&relay, EventKind::SenderFailed, "no connection came");
    let named = OpenSender { host: Some(LOOPBACK.into()), port: 9000, ..talk(&receiver) };
    assert!(relay.core.open_sender(voice.id(), &named).is_err(), "the receiver decides where to");
    assert!(relay.core.open_sender(voice.id(), &OpenSender { over: Some(999), ..talk(&receiver) }).is_err());
    let fed = OpenSender { over: Some(voice.id()), ..talk(&receiver) };
    assert!(relay.core.open_sender(voice.id(), &fed).is_err(), "what is fed has no connection");
}

#[test]
fn frames_stay_whole_on_a_full_connection_and_from_one_sender_to_the_next() {
    let relay = Relay::start(Config::default());
    let mut source = Fed::open(&relay, "big", tracks(VideoCodec::H264, None));
    source.key_size = 1_500_000;
    let receiver = relay.open("device", Transport::TcpActive);
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(16 << 10).unwrap();
    relay.core.connect(receiver.id, listener.local_addr().unwrap()).unwrap();
    let mut device = accept(&listener);
    let form = Form { payload: Payload::Ps, selection: Selection { video: true, audio: true } };
    let wanted = OpenSender { form, ..talk(&receiver) };
    let first = relay.core.open_sender(source.id(), &wanted).unwrap();
    relay.wait_event(EventKind::SenderConnected);
    source.feed(&relay, 60);
    device.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut packets = Vec::new();
    until("it takes some, and goes on at a key frame", || {
        packets.extend((0..100).map(|_| read_frame(&mut device).unwrap()));
        (only(&relay).skips > 0).then_some(())
    });
    source.feed(&relay, 30);
    let stats = only(&relay);
    assert!(stats.dropped > 0, "{stats:?}");
    relay.core.close_sender(first.id).unwrap();
    relay.wait_event(EventKind::SenderEnded);
    let second = OpenSender { ssrc: OURS + 1, ..wanted };
    relay.core.open_sender(source.id(), &second).unwrap();
    relay.wait_event(EventKind::SenderConnected);
    let mut of_second = 0;
    while of_second < 500 {
        packets.push(read_frame(&mut device).unwrap());
        of_second += usize::from(Packet::parse(packets.last().unwrap()).unwrap().ssrc == OURS + 1);
    }
    let (mut sources, mut seq, mut gaps) = (Vec::new(), None, 0);
    for packet in &packets {
        let packet = Packet::parse(packet).unwrap();
        assert!([OURS, OURS + 1].contains(&packet.ssrc) && packet.payload_type == 96);
        if packet.ssrc == OURS {
            gaps += u64::from(seq.is_some_and(|seq: u16| packet.seq != seq.wrapping_add(1)));
            seq = Some(packet.seq);
        }
        sources.push(packet.ssrc);
    }
    assert!(sources.is_sorted() && sources[0] == OURS, "the second begins where the first one's frame ends");
    assert!(gaps <= stats.skips, "{gaps} gaps, {} skips", stats.skips);
}

#[test]
fn what_is_said_does_not_wait_in_the_system_behind_a_slow_connection() {
    let relay = Relay::start(Config::default());
    let mut voice = voice(&relay);
    let receiver = relay.open("device", Transport::TcpActive);
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4 << 10).unwrap();
    relay.core.connect(receiver.id, listener.local_addr().unwrap()).unwrap();
    let mut device = accept(&listener);
    relay.core.open_sender(voice.id(), &talk(&receiver)).unwrap();
    relay.wait_event(EventKind::SenderConnected);
    until("its own buffer is full, and what grew too old is left out", || {
        voice.feed(&relay, 25);
        (only(&relay).skips > 4).then_some(())
    });
    let there = device.peek(&mut vec![0; 1 << 20]).unwrap() as u64;
    let waiting = only(&relay).bytes - there;
    assert!(waiting < (2 << 10) + 5 * 334, "{waiting} bytes wait, a quarter of a second and some packets");
    // Now it listens, and soon hears what is new.
    device.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let last = only(&relay).packets;
    let old: Vec<_> = (0..last).map(|_| read_frame(&mut device).unwrap()).collect();
    check(&old[..old.len() / 4]);
    voice.feed(&relay, 5);
    let seq = |packet: &Vec<u8>| Packet::parse(packet).unwrap().seq;
    let heard = read_frame(&mut device).unwrap();
    assert!(seq(&heard) != seq(old.last().unwrap()), "another one");
}

#[test]
fn reports_go_between_the_packets_of_a_connection_if_asked_for() {
    let relay = Relay::start(Config::default());
    let mut voice = voice(&relay);
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let over = Opened { id: 0, port: 0 };
    let to = |port| OpenSender {
        transport: SendTransport::TcpActive,
        over: None,
        host: Some(LOOPBACK.into()),
        port,
        rtcp: true,
        ..talk(&over)
    };
    let opened = relay.core.open_sender(voice.id(), &to(listener.local_addr().unwrap().port())).unwrap();
    let mut target = accept(&listener);
    target.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Another one of the kind goes to a receiver of ours, which bears reports.
    let sink = relay.open("sink", Transport::TcpPassive);
    relay.core.open_sender(voice.id(), &OpenSender { ssrc: SSRC, ..to(sink.port) }).unwrap();
    voice.feed(&relay, 1);
    let packet = read_frame(&mut target).unwrap();
    check(std::slice::from_ref(&packet));
    let report = read_frame(&mut target).unwrap();
    assert!(is_rtcp(&report));
    let Some(Message::SenderReport { ssrc, rtp_timestamp, packets, bytes, .. }) =
        rtcp::messages(&report).next()
    else {
        panic!("no sender report");
    };
    let timestamp = Packet::parse(&packet).unwrap().timestamp;
    assert_eq!((ssrc, rtp_timestamp, packets, bytes), (OURS, timestamp, 1, 320));
    // What the target reports is taken note of, and changes nothing.
    target.write_all(&framed(&Reporter::new(5, "device").goodbye())).unwrap();
    until("it was heard", || {
        let senders = relay.core.senders().unwrap();
        senders.iter().any(|sender| sender.id == opened.id && sender.heard_ms.is_some()).then_some(())
    });
    voice.feed(&relay, 3);
    let more: Vec<_> = (0..3).map(|_| read_frame(&mut target).unwrap()).collect();
    check(&[vec![packet], more].concat());
    let stats = relay.wait_stats("sink", |stats| stats.received == 4);
    assert!(stats.faults.is_empty(), "{:?}", stats.faults);
    relay.core.close_sender(opened.id).unwrap();
    let last = read_frame(&mut target).unwrap();
    assert_eq!(rtcp::messages(&last).last(), Some(Message::Bye { ssrc: OURS }));
    assert_eq!(target.read(&mut [0; 8]).unwrap(), 0);
}
