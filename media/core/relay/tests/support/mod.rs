//! What the tests on sockets share. Each test has a core of its own and a slice of ports of its own.
#![allow(dead_code, reason = "not every test file uses all of it")]

pub mod fed;
pub mod feeding;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use relay::{Config, Core, Event, EventKind, OpenReceiver, Opened, PlayRights, StreamStats, Transport};

pub const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub const SSRC: u32 = 0x06DA_C2C1;

const PATIENCE: Duration = Duration::from_secs(10);
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A core and the events it told that nobody waited for yet.
pub struct Relay {
    pub core: Core,
    events: Mutex<Vec<Event>>,
}

impl Relay {
    pub fn start(mut config: Config) -> Self {
        if config.rtp_port_min == Config::default().rtp_port_min {
            // Below the range the kernel gives to others, apart from other test processes, 40 ports a test.
            let base = 12_000 + (std::process::id() % 100) as u16 * 60;
            config.rtp_port_min = base + NEXT_PORT.fetch_add(40, Ordering::Relaxed) % 8000;
            config.rtp_port_max = config.rtp_port_min + 39;
        }
        config.threads = 1;
        Self { core: Core::start(config).unwrap(), events: Mutex::default() }
    }

    pub fn receiver(name: &str, transport: Transport) -> OpenReceiver {
        OpenReceiver {
            app: "test".to_owned(),
            name: name.to_owned(),
            transport,
            shared: false,
            ssrc: Some(SSRC),
            peer: Some(LOOPBACK.into()),
            any_peer: false,
            hold: Duration::from_millis(200),
            rights: PlayRights { private: false, ..PlayRights::default() },
        }
    }

    pub fn open(&self, name: &str, transport: Transport) -> Opened {
        self.open_with(Self::receiver(name, transport))
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    pub fn open_with(&self, wanted: OpenReceiver) -> Opened {
        self.core.open_receiver(&wanted).unwrap()
    }

    /// The next event of this kind.
    pub fn wait_event(&self, kind: EventKind) -> Event {
        let mut events = self.events.lock().unwrap();
        until(&format!("event {kind:?}"), || {
            events.extend(self.core.poll_events(1000));
            let at = events.iter().position(|event| event.kind == kind)?;
            Some(events.remove(at))
        })
    }

    /// The stream's figures once they are as `good` wants.
    pub fn wait_stats(&self, name: &str, good: impl Fn(&StreamStats) -> bool) -> StreamStats {
        let mut last = None;
        until(&format!("stats of {name}"), || {
            let stats = self.core.stream("test", name).unwrap()?;
            last = Some(stats.clone());
            good(&stats).then_some(stats)
        })
    }
}

/// Polls until something is there.
#[expect(clippy::disallowed_methods, reason = "tests on sockets wait in real time")]
pub fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An RTP packet of payload type 96.
pub fn rtp(ssrc: u32, seq: u16, payload: &[u8]) -> Vec<u8> {
    rtp_at(ssrc, seq, u32::from(seq) * 90, false, payload)
}

pub fn rtp_at(ssrc: u32, seq: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0x60 | u8::from(marker) << 7];
    packet.extend(seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// A connection from another loopback address.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// The next connection, waited for with patience.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let (socket, _) = until("a connection", || listener.accept().ok());
    socket.set_nonblocking(false).unwrap();
    socket
}

/// A port that was free a moment ago, for datagrams and connections; dropping the socket frees it.
pub fn free_port() -> (UdpSocket, u16) {
    until("a port that is free for both", || {
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        TcpListener::bind((LOOPBACK, port)).is_ok().then_some((socket, port))
    })
}

/// Descriptors that this process has open.
pub fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
