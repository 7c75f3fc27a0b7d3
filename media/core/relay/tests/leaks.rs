//! Nothing is left over from a thousand receivers. Alone in its file, and so in its process: it counts descriptors.

mod support;

use std::net::UdpSocket;

use relay::{Config, Transport};
use support::{LOOPBACK, Relay, SSRC, rtp};

#[test]
fn opening_and_closing_leaks_nothing() {
    let relay = Relay::start(Config { rtp_port_min: 20_000, rtp_port_max: 26_000, ..Config::default() });
    let before = support::open_files();
    for round in 0..1000 {
        let transport = if round % 2 == 0 { Transport::Udp } else { Transport::TcpPassive };
        let opened = relay.open("cycle", transport);
        if round % 10 == 0 {
            let device = UdpSocket::bind((LOOPBACK, 0)).unwrap();
            device.send_to(&rtp(SSRC, 1, b"x"), (LOOPBACK, opened.port)).unwrap();
        }
        relay.core.close_receiver(opened.id).unwrap();
    }
    assert!(relay.core.streams().unwrap().is_empty());
    assert_eq!(relay.core.stream_count(), 0);
    assert_eq!(support::open_files(), before);
    assert!(relay.core.metrics()["relay_streams"].abs() < f64::EPSILON);
}
