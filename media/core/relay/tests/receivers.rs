//! Receivers on loopback sockets: who may send, by which way, and what is counted.

mod support;

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use datagram::Outbound;
use relay::{Config, Error, EventKind, OpenReceiver, Transport};
use support::{LOOPBACK, Relay, SSRC, rtp};

#[test]
fn counts_loss_reordering_and_duplicates_exactly() {
    let relay = Relay::start(Config::default());
    let opened = relay.open("exact", Transport::Udp);
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let numbers: Vec<u16> = (0..200).map(|number| 65_500_u16.wrapping_add(number)).collect();
    let mut sent = 0;
    for (position, number) in numbers.iter().enumerate() {
        let swapped = match position {
            50 => numbers[51],
            51 => numbers[50],
            120..125 => continue,
            _ => *number,
        };
        for _ in 0..if position == 70 { 2 } else { 1 } {
            device.send_to(&rtp(SSRC, swapped, b"payload"), (LOOPBACK, opened.port)).unwrap();
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let stats = relay.wait_stats("exact", |stats| stats.received == 195);
    assert_eq!((stats.expected, stats.received, stats.lost), (200, 195, 5));
    assert_eq!((stats.reordered, stats.duplicates, stats.rejected), (1, 1, 0));
    assert_eq!(stats.bytes_in, sent * 19);
    assert_eq!(stats.ssrc, Some(SSRC));
    assert_eq!(stats.peer, Some(device.local_addr().unwrap().to_string()));
    let first = relay.wait_event(EventKind::FirstPacket);
    assert!(first.detail.contains(&("payload_type", "96".to_owned())));
}

#[test]
fn packets_that_were_joined_arrive_one_by_one_whoever_cuts_them() {
    for receive_offload in [true, false] {
        let relay = Relay::start(Config { receive_offload, ..Config::default() });
        let opened = relay.open("joined", Transport::Udp);
        let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        device.connect((LOOPBACK, opened.port)).unwrap();
        // 40 of a size and a shorter one in a run; the second run begins where the first one ended.
        for run in 0..2 {
            let packets: Vec<_> = (run * 41..run * 41 + 41)
                .map(|number| rtp(SSRC, number, &vec![7; if number % 41 == 40 { 10 } else { 1000 }]))
                .collect();
            let parts: Vec<_> = packets.iter().map(|packet| [&packet[..], &[]]).collect();
            assert_eq!(Outbound::default().send(device.as_fd(), None, &parts).unwrap(), 41);
        }
        let stats = relay.wait_stats("joined", |stats| stats.received == 82);
        assert_eq!((stats.expected, stats.lost, stats.reordered), (82, 0, 0), "offload: {receive_offload}");
        assert_eq!(stats.bytes_in, 80 * 1012 + 2 * 22);
    }
}

#[test]
fn what_is_left_in_one_turn_is_taken_in_the_next() {
    let relay = Relay::start(Config { receive_offload: false, ..Config::default() });
    let opened = relay.open("many", Transport::Udp);
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    device.connect((LOOPBACK, opened.port)).unwrap();
    let packets: Vec<_> = (0..3000).map(|number| rtp(SSRC, number, b"x")).collect();
    let parts: Vec<_> = packets.iter().map(|packet| [&packet[..], &[]]).collect();
    let mut sent = 0;
    while sent < parts.len() {
        sent += Outbound::default().send(device.as_fd(), None, &parts[sent..]).unwrap();
    }
    let stats = relay.wait_stats("many", |stats| stats.received == 3000);
    assert_eq!((stats.expected, stats.lost, stats.duplicates), (3000, 0, 0));
}

#[test]
fn a_stranger_is_dropped_counted_and_told_of_once() {
    let relay = Relay::start(Config::default());
    let peer = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    let opened = relay.open_with(OpenReceiver { peer, ..Relay::receiver("guarded", Transport::Udp) });
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let device = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    for number in 0..10 {
        stranger.send_to(&rtp(SSRC, number, b"x"), (LOOPBACK, opened.port)).unwrap();
    }
    relay.wait_stats("guarded", |stats| stats.rejected == 10);
    device.send_to(&rtp(7, 1, b"x"), (LOOPBACK, opened.port)).unwrap();
    device.send_to(&rtp(8, 2, b"x"), (LOOPBACK, opened.port)).unwrap();
    let stats = relay.wait_stats("guarded", |stats| stats.rejected == 11);
    assert_eq!((stats.ssrc, stats.received), (Some(7), 1));
    let mismatch = relay.wait_event(EventKind::SsrcMismatch);
    assert_eq!(mismatch.detail, [("expected", SSRC.to_string()), ("got", "7".to_owned())]);
    let rejected = relay.wait_event(EventKind::Rejected);
    assert!(rejected.detail.contains(&("count", "11".to_owned())), "{rejected:?}");
}

#[test]
fn tells_silence_and_its_end() {
    let relay = Relay::start(Config { silence: Duration::from_millis(300), ..Config::default() });
    let opened = relay.open("quiet", Transport::Udp);
    relay.wait_event(EventKind::Silent);
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    device.send_to(&rtp(SSRC, 1, b"x"), (LOOPBACK, opened.port)).unwrap();
    relay.wait_event(EventKind::Resumed);
    relay.wait_event(EventKind::Silent);
}

#[test]
fn takes_one_connection_from_the_right_peer() {
    let relay = Relay::start(Config::default());
    let peer = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    let opened = relay.open_with(OpenReceiver { peer, ..Relay::receiver("passive", Transport::TcpPassive) });
    let to = SocketAddr::from((LOOPBACK, opened.port));
    let mut stranger = TcpStream::connect(to).unwrap();
    stranger.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(stranger.read(&mut [0; 1]).unwrap(), 0, "a stranger is hung up on");

    let mut device = support::connect_from(Ipv4Addr::new(127, 0, 0, 2), to);
    relay.wait_event(EventKind::Connected);
    for number in 0..50 {
        let packet = rtp(SSRC, number, &[9; 700]);
        device.write_all(&(packet.len() as u16).to_be_bytes()).unwrap();
        device.write_all(&packet).unwrap();
    }
    let stats = relay.wait_stats("passive", |stats| stats.received == 50);
    assert_eq!((stats.lost, stats.rejected), (0, 1));

    let mut second = support::connect_from(Ipv4Addr::new(127, 0, 0, 2), to);
    second.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0, "the stream has its connection");
    drop(device);
    relay.wait_event(EventKind::Disconnected);
    let _again = support::connect_from(Ipv4Addr::new(127, 0, 0, 2), to);
    relay.wait_event(EventKind::Connected);
}

#[test]
fn a_connection_that_is_no_rtp_is_hung_up_on() {
    let relay = Relay::start(Config::default());
    let opened = relay.open("mute", Transport::TcpPassive);
    let mut device = TcpStream::connect((LOOPBACK, opened.port)).unwrap();
    device.write_all(b"GET / HTTP/1.1\r\nHost: camera\r\n\r\n").unwrap();
    device.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
    assert_eq!(device.read(&mut [0; 1]).unwrap(), 0);
    assert!(relay.wait_event(EventKind::Disconnected).detail[1].1.contains("no RTP"));
}

#[test]
fn connects_to_the_device_after_a_refusal() {
    let relay = Relay::start(Config::default());
    let opened = relay.open("active", Transport::TcpActive);
    assert_eq!(opened.port, 0);
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    relay.core.connect(opened.id, to).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let listener = TcpListener::bind(to).unwrap();
    let mut device = support::accept(&listener);
    relay.wait_event(EventKind::Connected);
    let packet = rtp(SSRC, 1, b"abc");
    let frame = [&(packet.len() as u16).to_be_bytes()[..], &packet].concat();
    device.write_all(&frame).unwrap();
    relay.wait_stats("active", |stats| stats.received == 1);
    drop(device);
    relay.wait_event(EventKind::Disconnected);
}

#[test]
fn gives_up_after_three_tries() {
    let relay = Relay::start(Config::default());
    let opened = relay.open("refused", Transport::TcpActive);
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    relay.core.connect(opened.id, to).unwrap();
    let failed = relay.wait_event(EventKind::ConnectFailed);
    assert!(failed.detail[0].1.contains("refused"), "{failed:?}");
}

#[test]
fn the_shared_port_tells_streams_apart_by_ssrc_and_address() {
    let (reserved, shared_port) = support::free_port();
    drop(reserved);
    let relay = Relay::start(Config { rtp_shared_port: shared_port, ..Config::default() });
    let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let open = |name: &str, ssrc, transport| {
        let wanted = Relay::receiver(name, transport);
        relay.open_with(OpenReceiver { shared: true, ssrc: Some(ssrc), peer, ..wanted })
    };
    let first = open("first", 1, Transport::Udp);
    open("second", 2, Transport::Udp);
    open("third", 3, Transport::TcpPassive);
    assert_eq!(first.port, shared_port);
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let stranger = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    for number in 0..20 {
        device.send_to(&rtp(1, number, b"one"), (LOOPBACK, shared_port)).unwrap();
        device.send_to(&rtp(2, number, b"two"), (LOOPBACK, shared_port)).unwrap();
        device.send_to(&rtp(9, number, b"nobody"), (LOOPBACK, shared_port)).unwrap();
        stranger.send_to(&rtp(1, number, b"evil"), (LOOPBACK, shared_port)).unwrap();
    }
    let mut connection = TcpStream::connect((LOOPBACK, shared_port)).unwrap();
    let packet = rtp(3, 1, b"three");
    connection.write_all(&[&(packet.len() as u16).to_be_bytes()[..], &packet].concat()).unwrap();
    assert_eq!(relay.wait_stats("first", |stats| stats.rejected == 20).received, 20);
    assert_eq!(relay.wait_stats("second", |stats| stats.received == 20).lost, 0);
    relay.wait_stats("third", |stats| stats.received == 1);
    let taken = relay.core.open_receiver(&OpenReceiver {
        shared: true,
        ssrc: Some(2),
        ..Relay::receiver("fourth", Transport::Udp)
    });
    assert!(matches!(taken, Err(Error::SsrcTaken(2))));
    relay.core.expect(first.id, Some(4), None, vec![]).unwrap();
    relay.core.close_receiver(first.id).unwrap();
    open("again", 4, Transport::Udp);
}

#[test]
fn a_bandwidth_cap_drops_what_is_beyond() {
    let relay = Relay::start(Config { bandwidth_max_bps: 80_000, ..Config::default() });
    let opened = relay.open("greedy", Transport::Udp);
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for number in 0..40 {
        device.send_to(&rtp(SSRC, number, &[0; 988]), (LOOPBACK, opened.port)).unwrap();
    }
    let stats = relay.wait_stats("greedy", |stats| stats.faults.get("over_rate").is_some_and(|n| *n >= 29));
    assert!((10..=11).contains(&stats.received), "{}", stats.received);
}

#[test]
fn answers_sender_reports() {
    let relay = Relay::start(Config::default());
    let opened = relay.open("reported", Transport::Udp);
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let rtcp = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    device.send_to(&rtp(SSRC, 1, b"x"), (LOOPBACK, opened.port)).unwrap();
    relay.wait_stats("reported", |stats| stats.received == 1);
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(SSRC.to_be_bytes());
    report.extend([0; 20]);
    rtcp.send_to(&report, (LOOPBACK, opened.port + 1)).unwrap();
    rtcp.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let mut answer = [0; 200];
    let (size, from) = rtcp.recv_from(&mut answer).unwrap();
    assert_eq!(from.port(), opened.port + 1);
    assert_eq!((answer[1], &answer[8..12]), (201, &SSRC.to_be_bytes()[..]));
    assert_eq!(size % 4, 0);
}

#[test]
fn a_tap_copies_what_arrives() {
    let relay = Relay::start(Config::default());
    let opened = relay.open("tapped", Transport::Udp);
    let tap = relay.core.tap(opened.id, 3).unwrap();
    let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for number in 0..5 {
        device.send_to(&rtp(SSRC, number, b"copy"), (LOOPBACK, opened.port)).unwrap();
    }
    relay.wait_stats("tapped", |stats| stats.received == 5);
    let packets = tap.read(100);
    assert_eq!(packets.len(), 3);
    assert_eq!((&packets[2].data[..], tap.dropped()), (&rtp(SSRC, 2, b"copy")[..], 2));
}

#[test]
fn names_and_closed_cores_are_refused() {
    let relay = Relay::start(Config::default());
    relay.open("one", Transport::Udp);
    let again = relay.core.open_receiver(&Relay::receiver("one", Transport::Udp));
    assert!(matches!(again, Err(Error::StreamExists(..))));
    let control = relay.core.open_receiver(&Relay::receiver("a\nb", Transport::Udp));
    assert!(matches!(control, Err(Error::Invalid(_))));
    assert!(matches!(relay.core.connect(99, (LOOPBACK, 1).into()), Err(Error::UnknownReceiver(99))));
    relay.core.close();
    assert!(matches!(relay.core.open_receiver(&Relay::receiver("two", Transport::Udp)), Err(Error::Closed)));
}
