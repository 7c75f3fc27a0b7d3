//! From a camera's packets to a player's picture: RTP in at the one end, FLV, WebSocket and HLS out at the other.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use relay::{
    Config, Core, OpenReceiver, PlayRights, Transport,
    door::{Door, DoorOptions, sign::sign},
};

const KEY: &[u8] = b"a key of the test";
const SSRC: u32 = 0x0600_0001;
/// x264, 352 by 288 at 25 Hz.
const SPS: &[u8] =
    b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x50\xa6\x58";
const PPS: &[u8] = b"\x68\xef\x8f\xcb";

/// A camera that sends H.264 in RTP at 25 pictures a second, every tenth a key frame, until it is dropped.
struct Camera {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let mut sequence = 0_u16;
            for picture in 0_u32.. {
                let key = picture % 10 == 0;
                let slice = [&[if key { 0x65 } else { 0x41 }, 0x88], &[picture as u8 | 1; 500][..]].concat();
                let nals: &[&[u8]] = if key { &[SPS, PPS, &slice] } else { &[&slice] };
                for (at, nal) in nals.iter().enumerate() {
                    let marker = u8::from(at + 1 == nals.len()) << 7;
                    let mut packet = vec![0x80, marker | 0x62]; // payload type 98
                    packet.extend(sequence.to_be_bytes());
                    packet.extend((picture * 3600).to_be_bytes());
                    packet.extend(SSRC.to_be_bytes());
                    packet.extend_from_slice(nal);
                    let _ = socket.send_to(&packet, (Ipv4Addr::LOCALHOST, port));
                    sequence = sequence.wrapping_add(1);
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(40));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct House {
    _camera: Camera,
    door: Door,
    core: Core,
    receiver: u64,
}

impl House {
    /// A camera, its stream `test/cam`, and a door to it.
    fn new(private: bool, first_port: u16) -> Self {
        let config = Config {
            rtp_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            rtp_port_min: first_port,
            rtp_port_max: first_port + 99,
            threads: 1,
            play_key: KEY.to_vec(),
            ..Config::default()
        };
        let core = Core::start(config).expect("a core");
        let wanted = OpenReceiver {
            app: "test".into(),
            name: "cam".into(),
            transport: Transport::Udp,
            shared: false,
            ssrc: Some(SSRC),
            peer: None,
            any_peer: true,
            hold: Duration::from_millis(200),
            rights: PlayRights { private, ..PlayRights::default() },
        };
        let opened = core.open_receiver(&wanted).expect("a port");
        core.expect(opened.id, None, None, vec![(98, "H264".to_owned())]).expect("the receiver is there");
        let options = DoorOptions {
            host: "127.0.0.1".into(),
            port: 0,
            upstream: "/nonexistent".into(),
            play_key: KEY.to_vec(),
            proxies: relay::Proxies::default(),
        };
        let door = Door::open(options, core.directory()).expect("a free port");
        Self { _camera: Camera::start(opened.port), door, core, receiver: opened.id }
    }

    /// Sends a GET; the connection, with the answer's head read.
    fn get(&self, target: &str, headers: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.door.address()).expect("the door is open");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").expect("the door reads");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer in time");
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).expect("ASCII"))
    }

    /// Status and body of an answer with a length.
    fn fetch(&self, target: &str) -> (u16, Vec<u8>) {
        let (mut stream, head) = self.get(target, "");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.expect("a length").parse().expect("a number")];
        stream.read_exact(&mut body).expect("a whole body");
        (head[9..12].parse().expect("a status"), body)
    }
}

/// The next tag of FLV: kind, milliseconds, first byte of its data.
fn tag(stream: &mut impl Read) -> (u8, u32, u8) {
    let mut header = [0; 11];
    stream.read_exact(&mut header).expect("a tag");
    let size = u32::from_be_bytes([0, header[1], header[2], header[3]]);
    let mut data = vec![0; size as usize + 4];
    stream.read_exact(&mut data).expect("a whole tag");
    assert_eq!(data[size as usize..], (size + 11).to_be_bytes());
    (header[0], u32::from_be_bytes([header[7], header[4], header[5], header[6]]), data[0])
}

#[test]
fn flv_begins_with_headers_and_a_key_frame_and_goes_on_in_order() {
    let house = House::new(false, 21_000);
    for viewer in ["first", "late"] {
        let (mut stream, head) = house.get("/test/cam.live.flv", "");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let mut header = [0; 13];
        stream.read_exact(&mut header).expect("the file header");
        assert_eq!(header, *b"FLV\x01\x01\0\0\0\x09\0\0\0\0", "{viewer}");
        assert_eq!((tag(&mut stream).0, tag(&mut stream).2), (18, 0x17), "metadata, sequence header");
        let (kind, mut millis, first) = tag(&mut stream);
        assert_eq!((kind, first), (9, 0x17), "a key frame");
        for _ in 0..15 {
            let (_, next, _) = tag(&mut stream);
            assert_eq!(next - millis, 40);
            millis = next;
        }
    }
    let stats = house.core.stream("test", "cam").expect("the core is there").expect("the stream is there");
    assert_eq!((stats.width, stats.height), (352, 288));
}

#[test]
fn a_websocket_carries_the_same_bytes_and_is_closed_by_agreement() {
    let house = House::new(false, 21_100);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (mut stream, head) = house.get("/test/cam.live.flv?audio=0", upgrade);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut message = || {
        let mut start = [0; 2];
        stream.read_exact(&mut start).expect("a frame");
        let mut size = [0; 2];
        if start[1] == 126 {
            stream.read_exact(&mut size).expect("a length");
        } else {
            size = u16::from(start[1]).to_be_bytes();
        }
        let mut payload = vec![0; usize::from(u16::from_be_bytes(size))];
        stream.read_exact(&mut payload).expect("a whole frame");
        (start[0], payload)
    };
    let (opcode, payload) = message();
    assert_eq!((opcode, &payload[..5]), (0x82, &b"FLV\x01\x01"[..]));
    let (_, payload) = message();
    assert_eq!((payload[0], payload[11]), (9, 0x17));
    let mut closing = house.get("/test/cam.live.flv", upgrade).0;
    closing.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).expect("the relay reads");
    let mut rest = Vec::new();
    closing.read_to_end(&mut rest).expect("the relay closes");
    assert!(rest.ends_with(&[0x88, 2, 0x03, 0xE8]), "the same code comes back");
}

#[test]
fn hls_lists_segments_of_both_kinds_that_can_be_fetched() {
    let house = House::new(true, 21_200);
    let query = sign(KEY, "test", "cam", 4_000_000_000, 0);
    for (playlist, container) in [("hls.m3u8", "hls"), ("hls.fmp4.m3u8", "hls.fmp4")] {
        assert_eq!(house.fetch(&format!("/test/cam/{playlist}")).0, 403);
        let (status, body) = house.fetch(&format!("/test/cam/{playlist}?{query}"));
        let text = String::from_utf8(body).expect("UTF-8");
        assert_eq!(status, 200, "{text}");
        let addresses = text.lines().filter(|line| line.starts_with(container));
        let maps = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-MAP:URI=\"")?.strip_suffix('"'));
        let mut fetched = 0;
        for address in addresses.chain(maps) {
            let (status, body) = house.fetch(&format!("/test/cam/{address}"));
            assert_eq!(status, 200, "{address}");
            assert!(body[0] == 0x47 || matches!(&body[4..8], b"moof" | b"ftyp"), "{address}");
            fetched += 1;
        }
        assert!(fetched > 0, "{text}");
    }
    let stats = house.core.stream("test", "cam").expect("the core is there").expect("the stream is there");
    assert!(stats.bytes_in > 0);
    house.core.close_receiver(house.receiver).expect("the core is there");
    // Its players are behind: for some seconds they find the end of the stream.
    let mut last = String::new();
    for _ in 0..100 {
        last = String::from_utf8(house.fetch(&format!("/test/cam/hls.m3u8?{query}")).1).expect("UTF-8");
        if last.ends_with("#EXT-X-ENDLIST\n") {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(last.ends_with("#EXT-X-ENDLIST\n"), "{last}");
    let address = last.lines().rfind(|line| line.starts_with("hls/")).expect("a last segment");
    assert_eq!(house.fetch(&format!("/test/cam/{address}")).0, 200);
    assert_eq!(house.fetch("/test/cam/hls.m3u8").0, 403);
    assert_eq!(house.fetch(&format!("/test/cam.live.flv?{query}")).0, 404);
    house.core.set_generation("test", "cam", 1);
    assert_eq!(house.fetch(&format!("/test/cam/{address}")).0, 403, "what is revoked stays so");
}
