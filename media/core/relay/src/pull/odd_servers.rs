//! Pulls from servers that misbehave, over real loopback sockets and with little patience.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use wire::{
    flv::{FlvMuxer, FlvOptions},
    media::{AccessUnit, Kind as TrackKind, Ticks, Tracks, VideoCodec, VideoTrack},
    ts::TsMuxer,
    unpack::Output,
};

use super::*;
use crate::{
    clock,
    events::Kind,
    feed::{Intake, News},
    shard::inbox::{Command, Inbox},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n";
const MOMENT: Duration = Duration::from_millis(300);
/// The first wait before another try.
const RETRY: Duration = Duration::from_millis(50);
/// Nothing may take longer than this in a test.
const LONG: Duration = Duration::from_secs(10);

/// x264 and x265, 352 by 288 at 25 Hz.
const H264: [&[u8]; 2] = [
    b"\x67\x64\x00\x0d\xac\xd9\x41\x60\x96\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x50\xa6\x58",
    b"\x68\xef\x8f\xcb",
];
const H265: [&[u8]; 3] = [
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x95\x98\x09",
    b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0b\x08\
      \x04\x85\x96\x56\x69\x24\xca\xf0\x16\x80\x80\x00\x00\x03\x00\x80\x00\x00\x0c\x84",
    b"\x44\x01\xc1\x72\xb4\x62\x40",
];

/// `pictures` key frames and their tracks.
fn units(codec: VideoCodec, pictures: i64) -> (Arc<Tracks>, impl Iterator<Item = AccessUnit>) {
    let sets = |sets: &[&'static [u8]]| sets.iter().map(|set| Bytes::from_static(set)).collect::<Vec<_>>();
    let (vps, sps, pps, nal): (_, _, _, &[u8]) = match codec {
        VideoCodec::H264 => (vec![], sets(&H264[..1]), sets(&H264[1..]), &[0, 0, 0, 3, 0x65, 0x88, 7]),
        VideoCodec::H265 => {
            (sets(&H265[..1]), sets(&H265[1..2]), sets(&H265[2..]), &[0, 0, 0, 4, 0x26, 1, 0xAF, 7])
        }
    };
    let video = VideoTrack { codec, width: 352, height: 288, rate: Some((25, 1)), vps, sps, pps };
    let tracks = Arc::new(Tracks { video: Some(video), audio: None });
    let all = Arc::clone(&tracks);
    let units = (0..pictures).map(move |number| {
        let dts = Ticks::from_millis(number * 40);
        let (tracks, data) = (Arc::clone(&all), Bytes::from_static(nal));
        AccessUnit { kind: TrackKind::Video, dts, pts: dts, key: true, data, tracks }
    });
    (tracks, units)
}

/// They as a transport stream.
fn ts(pictures: i64) -> Vec<u8> {
    let (tracks, units) = units(VideoCodec::H264, pictures);
    let (mut muxer, mut out) = (TsMuxer::new(), BytesMut::new());
    muxer.write_tables(&tracks, &mut out);
    for unit in units {
        muxer.write(&unit, &mut out);
    }
    out.to_vec()
}

/// A stream of `pictures` key frames.
fn flv(codec: VideoCodec, pictures: i64) -> Vec<u8> {
    let (tracks, units) = units(codec, pictures);
    let mut muxer = FlvMuxer::new(FlvOptions::default());
    let mut out = muxer.head(&tracks).to_vec();
    for unit in units {
        out.extend_from_slice(&muxer.write(&unit).unwrap().to_bytes());
    }
    out
}

/// A server whose connections `answer` serves, told the number of each and the head of its request.
fn serve(answer: impl Fn(usize, &str, TcpStream) + Send + 'static) -> u16 {
    serve_at(Ipv4Addr::LOCALHOST, answer)
}

fn serve_at(host: Ipv4Addr, answer: impl Fn(usize, &str, TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (vec![], [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|size| size == 1) {
                head.push(byte[0]);
            }
            answer(number, &String::from_utf8_lossy(&head), stream);
        }
    });
    port
}

/// Answers every connection with these bytes, and closes it.
fn serve_bytes(answer: Vec<u8>) -> u16 {
    serve(move |_, _, mut stream| drop(stream.write_all(&answer)))
}

/// What a pull told, in short.
#[derive(Debug, Default)]
struct Told {
    /// Such as `connecting`, `connected`, `failed http_404`, `lost ended`.
    events: Vec<String>,
    details: Vec<String>,
    codecs: Vec<VideoCodec>,
    units: usize,
    messages: u32,
    bytes: u64,
}

impl Told {
    fn take(&mut self, news: News) {
        match news {
            News::Portion(portion, _) => {
                self.messages += portion.messages;
                self.bytes += portion.bytes;
                for output in portion.outputs {
                    match output {
                        Output::Unit(_) => self.units += 1,
                        Output::Tracks(tracks) => {
                            self.codecs.extend(tracks.video.as_ref().map(|track| track.codec));
                        }
                        _ => {}
                    }
                }
            }
            News::CarriedBy(..) => {}
            News::Connected(peer) => {
                self.events.push("connected".to_owned());
                self.details.push(format!("peer={peer:?}"));
            }
            News::Told(kind, detail) => {
                self.note(if kind == Kind::ConnectFailed { "failed" } else { kind.name() }, &detail);
            }
            News::Disconnected(detail) => self.note("lost", &detail),
            News::Ended(reason, _) => self.events.push(reason),
        }
    }

    fn note(&mut self, what: &str, detail: &[(&'static str, String)]) {
        let cause = detail.iter().find(|(name, _)| *name == "cause").map(|(_, cause)| format!(" {cause}"));
        self.events.push(format!("{what}{}", cause.unwrap_or_default()));
        self.details.extend(detail.iter().map(|(name, value)| format!("{name}={value}")));
    }
}

/// Pulls `url` until `enough`; what was told up to then.
fn pull_with(wanted: &OpenPull, enough: impl Fn(&Told) -> bool) -> Told {
    run(Pull::new(wanted).unwrap(), address::is_public, enough)
}

/// Runs a pull until `enough`, where `judge` says what is public.
fn run(pull: Pull, judge: Judge, enough: impl Fn(&Told) -> bool) -> Told {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let patience = Patience { answer: MOMENT, silence: MOMENT, media: 2 * MOMENT, retry: RETRY };
    let puller = Arc::new(Puller { patience, judge, ..Puller::default() });
    let inbox = Arc::new(Inbox::new().unwrap());
    let (feeder, intake): (Feeder, Intake) = Feeder::new(1, Arc::clone(&inbox), u64::MAX);
    let running = runtime.spawn(pull.run(puller, feeder));
    let mut told = Told::default();
    let end = clock::now() + LONG;
    while !enough(&told) {
        assert!(clock::now() < end, "{told:?}");
        for command in inbox.take() {
            if let Command::Feed { news, .. } = command {
                told.take(news);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    drop(intake);
    let ended = runtime.block_on(async { tokio::time::timeout(LONG, running).await });
    ended.expect("it ends when the stream is closed").unwrap();
    told
}

fn wanted(url: String) -> OpenPull {
    let (app, name) = ("a".to_owned(), "n".to_owned());
    OpenPull {
        app,
        name,
        source: Source { url, ..Source::default() },
        rights: PlayRights::default(),
        allow_private: true,
    }
}

fn pull(port: u16, enough: impl Fn(&Told) -> bool) -> Told {
    pull_with(&wanted(format!("http://127.0.0.1:{port}/live.flv")), enough)
}

/// The first thing that goes wrong.
fn failure(port: u16) -> String {
    let told = pull(port, |told| told.events.iter().any(|event| event.contains(' ')));
    told.events.into_iter().find(|event| event.contains(' ')).unwrap()
}

#[test]
fn a_source_that_ends_is_asked_again_and_may_come_back_with_another_coding() {
    let port = serve(|number, _, mut stream| {
        let codec = if number == 0 { VideoCodec::H264 } else { VideoCodec::H265 };
        let body = flv(codec, 20);
        let _ = stream.write_all(OK.as_bytes());
        let _ = stream.write_all(&body[..body.len() - 10]); // the last tag is cut
    });
    let told = pull(port, |told| told.units >= 38);
    assert_eq!(told.codecs, [VideoCodec::H264, VideoCodec::H265]);
    assert_eq!(told.events[..5], ["connecting", "connected", "lost ended", "connecting", "connected"]);
    assert_eq!(told.messages, 2 * (19 + 2));
    let wait = told.details.iter().find_map(|detail| detail.strip_prefix("retry_ms=")).unwrap();
    assert!((37..=50).contains(&wait.parse::<u32>().unwrap()), "{wait}");
}

/// The waits that were told, in milliseconds.
fn waits(told: &Told) -> Vec<u32> {
    let waits = told.details.iter().filter_map(|detail| detail.strip_prefix("retry_ms="));
    waits.map(|wait| wait.parse().unwrap()).collect()
}

#[test]
fn what_comes_to_its_own_end_begins_again_after_the_first_wait_each_time() {
    let body = flv(VideoCodec::H264, 5);
    let file =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let rounds = |told: &Told| told.events.iter().filter(|event| event.starts_with("lost")).count() >= 5;
    let told = pull(serve_bytes(file), rounds);
    assert!(told.events.iter().any(|event| event == "lost complete"), "{told:?}");
    assert!(waits(&told).iter().all(|wait| *wait <= 50), "{told:?}");
    let live = pull(serve_bytes([OK.as_bytes(), &body].concat()), rounds);
    assert!(waits(&live)[4] > 500, "a live stream that breaks off is waited for: {live:?}");
    let empty = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nFLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    let empty = pull(serve_bytes(empty), rounds);
    assert!(waits(&empty)[4] > 500, "so is one that brings nothing: {empty:?}");
}

#[test]
fn a_program_that_is_done_begins_again_and_has_no_address() {
    let path = std::env::temp_dir().join(format!("done-{}.ts", std::process::id()));
    std::fs::write(&path, ts(5)).unwrap();
    for (script, short) in [("cat \"$0\"", true), ("cat \"$0\"; exit 1", false)] {
        let command = ["sh", "-c", script, path.to_str().unwrap()].map(str::to_owned).to_vec();
        let mut wanted = wanted("srt://127.0.0.1:9/x".to_owned());
        wanted.source.command = command;
        let told =
            pull_with(&wanted, |told| told.events.iter().filter(|event| event.contains(' ')).count() >= 5);
        assert_eq!(waits(&told)[4] <= 50, short, "{told:?}");
        assert!(told.details.contains(&"peer=None".to_owned()), "{told:?}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn chunked_bodies_and_heads_of_all_sorts_are_read() {
    let body = flv(VideoCodec::H264, 5);
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(100) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let sized = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    for head in [
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200\r\nServer : x\r\nBad header\r\nX: a\r\n b\r\n\r\n",
        OK,
        &sized,
    ] {
        let told = pull(serve_bytes([head.as_bytes(), &body].concat()), |told| told.units >= 5);
        assert_eq!(told.codecs, [VideoCodec::H264], "{head}");
    }
    pull(serve_bytes(chunked), |told| told.units >= 5);
}

#[test]
fn refusals_and_bad_answers_are_told_by_name() {
    let answer = |head: &str, body: &[u8]| failure(serve_bytes([head.as_bytes(), body].concat()));
    for (status, cause) in
        [("401 No", "http_401"), ("403 No", "http_403"), ("404 No", "http_404"), ("500 x", "http_500")]
    {
        assert_eq!(
            answer(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"), b""),
            format!("failed {cause}")
        );
    }
    assert_eq!(answer("HTTP/1.1 204 Nothing\r\n\r\n", b""), "failed http_204");
    assert_eq!(answer("HTTP/1.1 302 No\r\nContent-Length: 0\r\n\r\n", b""), "failed http_302");
    assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"FLV"), "failed compressed");
    assert_eq!(answer(OK, b"<html>this is no stream</html>"), "lost unknown_body");
    assert_eq!(answer("RTSP/1.0 200 OK\r\n\r\n", b""), "failed not_http");
    assert_eq!(answer("", b""), "failed not_http");
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    assert_eq!(failure(closed), "failed connection_refused");
    let unknown = pull_with(&wanted("http://nowhere.invalid/".to_owned()), |told| told.events.len() > 1);
    // Where there is no resolver at all, it takes its time to say so.
    assert!(["failed unresolved", "failed timeout"].contains(&unknown.events[1].as_str()), "{unknown:?}");
}

#[test]
fn garbage_behind_a_header_is_given_up() {
    let body = [&flv(VideoCodec::H264, 3)[..], &vec![0x55; 3 << 20]].concat();
    let told = pull(serve_bytes([OK.as_bytes(), &body].concat()), |told| told.events.len() > 2);
    assert_eq!(told.events[..3], ["connecting", "connected", "lost not_flv"]);
    assert_eq!(told.units, 3, "what came before counts");
    assert!(told.bytes > 1 << 20, "{} bytes were read", told.bytes);
}

#[test]
fn a_tag_of_the_greatest_size_is_never_held() {
    let port = serve(|_, _, mut stream| {
        let _ = stream.write_all(OK.as_bytes());
        let _ = stream.write_all(&flv(VideoCodec::H264, 1));
        let _ = stream.write_all(&[9, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0]);
        let some = vec![7; 1 << 20];
        while stream.write_all(&some).is_ok() {}
    });
    // 16 MiB of one tag and no picture, then nonsense.
    let told = pull(port, |told| told.events.len() > 2);
    assert!(told.events[2] == "lost not_flv" || told.events[2] == "lost no_media", "{told:?}");
}

#[test]
fn a_head_without_end_and_a_server_that_says_nothing_are_left() {
    let endless = serve(|_, _, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let fields = "X-More: of it\r\n".repeat(1000);
        while stream.write_all(fields.as_bytes()).is_ok() {}
    });
    assert_eq!(failure(endless), "failed not_http");
    let (sender, _streams) = std::sync::mpsc::channel();
    let mute = serve(move |_, _, stream| drop(sender.send(stream)));
    assert_eq!(failure(mute), "failed timeout");
}

#[test]
fn a_source_that_stops_or_only_drips_is_left() {
    let (sender, _streams) = std::sync::mpsc::channel();
    let stops = serve(move |_, _, mut stream| {
        let _ = stream.write_all(&[OK.as_bytes(), &flv(VideoCodec::H264, 3)].concat());
        let _ = sender.send(stream);
    });
    assert_eq!(failure(stops), "lost silent");
    let drips = serve(|_, _, mut stream| {
        let _ = stream.write_all(&[OK.as_bytes(), &flv(VideoCodec::H264, 1)].concat());
        let script = [&[18, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5][..], &12_u32.to_be_bytes()].concat();
        for byte in script.iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(MOMENT / 20);
        }
    });
    assert_eq!(failure(drips), "lost no_media");
}

#[test]
fn redirects_are_followed_five_times_and_tell_no_secrets_to_others() {
    let round = serve(|_, _, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: again\r\nContent-Length: 0\r\n\r\n");
    });
    assert_eq!(failure(round), "failed too_many_redirects");

    let other = serve(|_, head, mut stream| {
        let secret = head.to_lowercase().contains("x-key") || head.to_lowercase().contains("authorization");
        let answer = if secret { "HTTP/1.1 400 Told\r\n\r\n" } else { OK };
        let _ = stream.write_all(&[answer.as_bytes(), &flv(VideoCodec::H264, 4)].concat());
    });
    let first = serve(move |_, head, mut stream| {
        let known = head.contains("x-key: 7\r\n") && head.contains("authorization: Basic bWU6cA==\r\n");
        let location = match head.split(' ').nth(1).unwrap() {
            "/a/live.flv?t=1" if known => "../b".to_owned(),
            "/b" if known => format!("http://127.0.0.1:{other}/c"),
            _ => "/nowhere/..".to_owned(),
        };
        let head = format!("HTTP/1.1 307 Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
    });
    let headers = vec![("X-Key".to_owned(), "7".to_owned())];
    let url = format!("http://me:p@127.0.0.1:{first}/a/live.flv?t=1");
    let told = pull_with(
        &OpenPull { source: Source { url: url.clone(), headers, ..Source::default() }, ..wanted(url) },
        |told| told.units >= 4,
    );
    assert_eq!(told.events[..2], ["connecting", "connected"]);
    assert_eq!(told.details[0], format!("url=http://127.0.0.1:{first}/a/live.flv?…"));
}

#[test]
fn only_public_addresses_are_connected_to_however_they_are_written() {
    let (sender, visits) = std::sync::mpsc::channel();
    let port = serve(move |_, _, _| {
        let _ = sender.send(());
    });
    // What the parser does not take for an address, the resolver may: 2130706433 is 127.0.0.1.
    for host in ["localhost", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "LOCALHOST", "localhost."] {
        let url = format!("http://{host}:{port}/live.flv");
        let told = pull_with(&OpenPull { allow_private: false, ..wanted(url) }, |told| told.events.len() > 1);
        let refused = ["failed forbidden_address", "failed unresolved"];
        assert!(refused.contains(&told.events[1].as_str()), "{host}: {told:?}");
    }
    for host in
        ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[::ffff:a9fe:a9fe]", "0.0.0.0"]
    {
        let url = format!("http://{host}:{port}/live.flv");
        assert!(Pull::new(&OpenPull { allow_private: false, ..wanted(url) }).is_err(), "{host}");
    }
    assert!(visits.try_recv().is_err(), "somebody was connected to");
}

#[test]
fn a_redirect_to_an_address_that_is_not_public_is_not_followed() {
    const PUBLIC: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2); // stands for the public internet here
    let (sender, visits) = std::sync::mpsc::channel();
    let inner = serve(move |_, _, mut stream| {
        let _ = sender.send(());
        let _ = stream.write_all(&[OK.as_bytes(), &flv(VideoCodec::H264, 4)].concat());
    });
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "localhost"] {
        let outer = serve_at(PUBLIC, move |_, _, mut stream| {
            let head =
                format!("HTTP/1.1 302 Go\r\nLocation: http://{host}:{inner}/x\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        });
        let url = format!("http://{PUBLIC}:{outer}/");
        let public: Judge = |address| address == PUBLIC;
        let pull = Pull {
            order: Order::new(&Source { url, ..Source::default() }, true).unwrap(),
            allow_private: false,
        };
        let told = run(pull, public, |told| told.events.len() > 1);
        assert_eq!(told.events[1], "failed forbidden_address", "{host}");
    }
    assert!(visits.try_recv().is_err(), "somebody was connected to");
}
