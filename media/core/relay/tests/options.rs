//! What is chosen for a stream: it counts for those who come, and at once for those who watch.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use relay::{
    Config, Error, EventKind, Outputs, PlayRights, StreamOptions, Transport,
    feed::{Feeder, OpenFeed, Portion},
    units::{Item, Subscribe, Subscription},
};
use support::{LOOPBACK, Relay, fed::tracks, feeding::wanted, until};
use wire::{
    hls::Container,
    media::{AccessUnit, AudioCodec, Kind, Ticks, Tracks, VideoCodec},
    unpack::Output,
};

/// The stream `test/cam` with pictures and sound, fed by hand, and a door to it.
struct House {
    relay: Relay,
    feeder: Feeder,
    tracks: Arc<Tracks>,
    port: u16,
    number: i64,
}

impl House {
    fn new() -> Self {
        let relay = Relay::start(Config::default());
        let feeder = relay.core.open_feed(&wanted("cam")).unwrap();
        let port = relay.core.listen_http("127.0.0.1", 0, "/nonexistent").unwrap();
        let tracks = tracks(VideoCodec::H264, Some(AudioCodec::G711A));
        let mut house = Self { relay, feeder, tracks, port, number: 0 };
        house.send(Output::Tracks(Arc::clone(&house.tracks)));
        house
    }

    fn options(&self) -> StreamOptions {
        self.relay.core.default_options()
    }

    fn set(&self, options: &StreamOptions) {
        self.relay.core.set_options(self.feeder.id(), options).unwrap();
    }

    fn send(&mut self, output: Output) {
        let portion = Portion { outputs: vec![output], messages: 1, bytes: 100, ..Portion::default() };
        let runtime = self.relay.core.runtime().unwrap();
        runtime.block_on(self.feeder.send(portion)).unwrap();
    }

    /// A picture and the sound with it, 40 ms behind those before.
    fn picture(&mut self, key: bool) {
        let dts = Ticks::from_millis(self.number * 40);
        self.number += 1;
        let tracks = Arc::clone(&self.tracks);
        let data = Bytes::from([&100_u32.to_be_bytes()[..], &[0x65; 100]].concat());
        self.send(Output::Unit(AccessUnit { kind: Kind::Video, dts, pts: dts, key, data, tracks }));
        let (tracks, data) = (Arc::clone(&self.tracks), Bytes::from_static(&[0xD5; 320]));
        self.send(Output::Unit(AccessUnit { kind: Kind::Audio, dts, pts: dts, key: true, data, tracks }));
    }

    /// Key frames a second apart.
    fn seconds(&mut self, count: i64) {
        for number in 0..count * 25 {
            self.picture(number % 25 == 0);
        }
    }

    /// Waits until all that was sent has reached the stream.
    fn settle(&self) {
        let sent = 1 + 2 * self.number.cast_unsigned();
        self.relay.wait_stats("cam", |stats| stats.received == sent);
    }

    /// A connection on which `target` was asked for, and the head of its answer.
    fn get(&self, target: &str) -> (TcpStream, String) {
        Self::answered(self.ask(target))
    }

    fn ask(&self, target: &str) -> TcpStream {
        let mut stream = TcpStream::connect((LOOPBACK, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        stream
    }

    fn answered(mut stream: TcpStream) -> (TcpStream, String) {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer in time");
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).unwrap())
    }

    /// The status and the whole body.
    fn fetch(&self, target: &str) -> (String, String) {
        let (mut stream, head) = self.get(target);
        let mut body = String::new();
        stream.read_to_string(&mut body).unwrap();
        (head[9..12].to_owned(), body)
    }

    fn subscribe(&self, protocol: &'static str) -> Result<Subscription, Error> {
        let (peer, agent) = Default::default();
        let wanted =
            Subscribe { video: true, audio: true, from_gop: true, bytes_max: 1 << 20, protocol, peer, agent };
        self.relay.core.subscribe(self.feeder.id(), wanted)
    }
}

#[test]
fn who_asks_for_aac_is_given_the_stream_beside_once_it_is_there() {
    let mut house = House::new();
    house.seconds(1);
    house.settle();
    let core = &house.relay.core;
    core.set_private("test", "cam", true);
    assert!(
        house.get("/test/cam.live.flv?audio=aac").1.contains(" 403 "),
        "nothing is made for who may not play"
    );
    let right = core.sign("test", "cam", 4_000_000_000, 0);
    let past = core.sign("test", "cam", 1_000_000_000, 0);
    assert!(house.fetch(&format!("/test/cam.live.flv?audio=aac&{past}")).1.contains("signature_expired"));
    let target = format!("/test/cam.live.flv?{right}&audio=aac");
    let answer = |good: bool| {
        let asking = house.ask(&target);
        let event = house.relay.wait_event(EventKind::Aac);
        assert_eq!((&*event.app, &*event.name), ("test", "cam"));
        let ticket = event.detail.iter().find(|(name, _)| *name == "ticket").unwrap().1.parse().unwrap();
        let beside = good.then(|| {
            let (app, name) = ("test".to_owned(), "cam~aac".to_owned());
            let (transport, rights) = (Transport::Derived, PlayRights::default());
            core.open_feed(&OpenFeed { app, name, transport, payload: "flv", rights }).unwrap()
        });
        core.answer_play(ticket, good);
        (House::answered(asking), beside)
    };
    let (((mut refused, head), _), mut said) = (answer(false), String::new());
    refused.read_to_string(&mut said).unwrap();
    assert!(head.contains(" 503 ") && said.contains("sound_unavailable"), "{head}{said}");
    let ((first, head), beside) = answer(true);
    assert!(head.contains(" 200 "), "{head}");
    let watched = |name: &str, count| {
        house.relay.wait_stats(name, |stats| stats.viewers.values().sum::<u32>() == count);
    };
    watched("cam~aac", 1);
    watched("cam", 0);
    let second = house.get(&target);
    assert!(second.1.contains(" 200 "), "the same one, and nobody is asked");
    watched("cam~aac", 2);
    let (status, _) = house.fetch(&format!("/test/cam~aac.live.flv?{right}"));
    assert_eq!(status, "403", "the signature is of the stream, not of what is beside it");
    drop((first, second, beside));
}

#[test]
fn a_form_that_is_not_allowed_is_refused_and_who_watches_by_it_is_sent_away() {
    let mut house = House::new();
    house.seconds(3);
    house.settle();
    let (mut flv, head) = house.get("/test/cam.live.flv");
    assert!(head.starts_with("HTTP/1.1 200"));
    let (_ts, head) = house.get("/test/cam.live.ts");
    assert!(head.starts_with("HTTP/1.1 200"));
    house.relay.wait_stats("cam", |stats| stats.viewers.values().sum::<u32>() == 2);
    let browser = house.subscribe("whep").unwrap();
    house.set(&StreamOptions { outputs: Outputs::named(["ts", "hls"]).unwrap(), ..house.options() });
    flv.read_to_end(&mut Vec::new()).expect("the player is sent away");
    until("the browser to be sent away", || browser.read(100).1.then_some(()));
    let left = house.relay.wait_stats("cam", |stats| stats.viewers.values().sum::<u32>() == 1);
    assert_eq!(left.viewers["http-ts"], 1, "who may watch goes on");
    for target in ["/test/cam.live.flv", "/test/cam.live.mp4", "/test/cam/hls.ll.m3u8"] {
        let (status, body) = house.fetch(target);
        assert!(status == "403" && body.contains("form_not_allowed"), "{target}: {status} {body}");
    }
    assert!(matches!(house.subscribe("whep"), Err(Error::FormNotAllowed(..))));
    house.subscribe("").expect("whoever works on the stream is no viewer");
    let (status, body) = house.fetch("/test/cam/hls/1.ts");
    assert!(status == "404" && body.contains("segment_not_found"), "admitted: {status} {body}");
    house.set(&house.options());
    assert!(house.get("/test/cam.live.flv").1.starts_with("HTTP/1.1 200"));
    let bad = StreamOptions { hls_segments: 0, ..house.options() };
    let refused = house.relay.core.set_options(house.feeder.id(), &bad);
    assert!(matches!(refused, Err(Error::Invalid(_))));
    assert!(matches!(house.relay.core.set_options(999, &house.options()), Err(Error::UnknownReceiver(999))));
}

/// What a viewer of FLV is told there is: 1 video, 4 sound, 5 both.
fn announced(stream: &mut TcpStream) -> u8 {
    let mut header = [0; 13];
    stream.read_exact(&mut header).expect("the file header");
    header[4]
}

#[test]
fn sound_that_is_switched_off_goes_at_once_and_comes_back_with_a_key_frame() {
    let mut house = House::new();
    house.seconds(1);
    house.settle();
    assert_eq!(announced(&mut house.get("/test/cam.live.flv").0), 5);
    let listener = house.subscribe("").unwrap();
    house.set(&StreamOptions { audio: false, ..house.options() });
    house.picture(false);
    house.settle();
    let heard = |listener: &Subscription| {
        let is_sound = |item: &&Item| matches!(item, Item::Unit(unit) if unit.kind == Kind::Audio);
        listener.read(1000).0.iter().filter(is_sound).count()
    };
    assert_eq!(heard(&listener), 25, "what came before");
    house.seconds(2);
    house.settle();
    assert_eq!(heard(&listener), 0);
    assert_eq!(house.relay.wait_stats("cam", |_| true).audio_codec, None);
    assert_eq!(announced(&mut house.get("/test/cam.live.flv").0), 1);
    house.set(&house.options());
    house.seconds(2);
    house.settle();
    assert_eq!(heard(&listener), 50);
    assert_eq!(announced(&mut house.get("/test/cam.live.flv").0), 5);
}

#[test]
fn viewers_begin_with_the_next_key_frame_where_that_is_chosen() {
    for options in [
        StreamOptions { from_gop: false, ..StreamOptions::of(&Config::default()) },
        StreamOptions { gop_bytes_max: 0, ..StreamOptions::of(&Config::default()) },
    ] {
        let mut house = House::new();
        house.set(&options);
        house.seconds(1);
        house.settle();
        let (mut stream, head) = house.get("/test/cam.live.flv");
        assert!(head.starts_with("HTTP/1.1 200"));
        house.relay.wait_stats("cam", |stats| stats.viewers["http-flv"] == 1);
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "nothing of what came before");
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        house.picture(false);
        house.picture(true);
        let mut flv = [0; 512];
        stream.read_exact(&mut flv).expect("the key frame");
        assert!(flv.starts_with(b"FLV\x01\x05"));
        assert_eq!(house.relay.wait_stats("cam", |_| true).faults.get("gop_too_big"), None);
    }
}

#[test]
fn segments_are_as_long_and_as_many_as_chosen_and_ready_before_anybody_asks() {
    let mut house = House::new();
    let hls = StreamOptions {
        hls_always: vec![Container::Ts],
        hls_segment: Duration::from_secs(1),
        hls_segments: 3,
        no_viewer: Some(Duration::from_millis(1)),
        ..house.options()
    };
    house.set(&hls);
    house.seconds(8);
    house.settle();
    house.relay.wait_event(EventKind::NoViewers);
    let (status, playlist) = house.fetch("/test/cam/hls.m3u8");
    assert_eq!((status.as_str(), playlist.matches("#EXTINF:1.0").count()), ("200", 3), "{playlist}");
    house.set(&StreamOptions { hls_segment: Duration::from_secs(3), ..hls });
    house.seconds(10);
    house.settle();
    let playlist = house.fetch("/test/cam/hls.m3u8").1;
    assert!(playlist.contains("#EXT-X-TARGETDURATION:3") && playlist.contains("#EXTINF:3.0"), "{playlist}");
}
