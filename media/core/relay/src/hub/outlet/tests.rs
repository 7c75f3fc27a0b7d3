use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use wire::{
    flv::FlvOptions,
    media::{Kind, Ticks, Tracks, VideoCodec, VideoTrack},
};

use super::*;
use crate::{
    clock,
    config::Config,
    door::{self, Framing, Seat},
};

const GOP: u8 = 10;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&server).set_send_buffer_size(16 * 1024).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (server, client)
}

fn tracks() -> Arc<Tracks> {
    let sps = Bytes::from_static(&[0x67, 0x42, 0x00, 0x1F, 0xE9]);
    let pps = Bytes::from_static(&[0x68, 0xCE, 0x3C, 0x80]);
    let video = VideoTrack {
        codec: VideoCodec::H264,
        width: 320,
        height: 192,
        rate: None,
        vps: vec![],
        sps: vec![sps],
        pps: vec![pps],
    };
    Arc::new(Tracks { video: Some(video), audio: None })
}

/// Picture `number` of 25 a second: every tenth is a key frame, and each says its number in every byte.
fn picture(tracks: &Arc<Tracks>, number: u8, size: usize) -> AccessUnit {
    let mut data = (size as u32).to_be_bytes().to_vec();
    data.resize(4 + size, number);
    AccessUnit {
        kind: Kind::Video,
        dts: Ticks(i64::from(number) * 3600),
        pts: Ticks(i64::from(number) * 3600),
        key: number.is_multiple_of(GOP),
        data: data.into(),
        tracks: Arc::clone(tracks),
    }
}

fn outlet() -> Outlet {
    Outlet::new(Form::Flv(FlvOptions::default()), 4 << 20, &GopCache::new(4 << 20), 0)
}

/// The numbers of the pictures in an FLV stream, and whether each is a key frame.
fn read_pictures(flv: &[u8]) -> Vec<(u8, bool)> {
    let mut rest = &flv[13..];
    let mut pictures = Vec::new();
    while rest.len() >= 11 {
        let size = usize::from(rest[1]) << 16 | usize::from(rest[2]) << 8 | usize::from(rest[3]);
        let Some(body) = rest.get(11..11 + size) else { break };
        if rest[0] == 9 && body[1] == 1 {
            pictures.push((body[body.len() - 1], body[0] >> 4 == 1));
        }
        rest = &rest[11 + size + 4..];
    }
    pictures
}

fn viewer(now: Instant, socket: TcpStream, framing: Framing) -> Viewer {
    let peer = socket.peer_addr().unwrap();
    let (form, seat) = (Form::Flv(FlvOptions::default()), Seat::new(&Arc::default()));
    Viewer::new(now, door::Viewer { socket, peer, form, framing, seat, agent: String::new() })
}

#[test]
fn a_slow_viewer_goes_on_at_a_key_frame_and_memory_is_bounded() {
    let (server, mut client) = pair();
    let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
    let mut skips = 0;
    outlet.handle_unit(start, &picture(&tracks, 0, 50_000), true);
    let (key, _) = outlet.add(start, viewer(start, server, Framing::Plain), true);
    for number in 1..250 {
        let now = start + Duration::from_millis(40) * u32::from(number);
        let step = outlet.handle_unit(now, &picture(&tracks, number, 50_000), true);
        assert!(step.gone.is_empty());
        skips += step.written.skips;
    }
    // All that time it has read nothing. Now it reads, and gets whole pictures only.
    let reader = std::thread::spawn(move || {
        let mut flv = Vec::new();
        // The end is a time-out or a close: both are fine.
        let _ = client.read_to_end(&mut flv);
        flv
    });
    let late = start + Duration::from_secs(10);
    for _ in 0..200 {
        let step = outlet.handle_ready(late, key, false, &mut [0; 64]);
        skips += step.written.skips;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(skips, 1, "it was moved once, to the newest key frame");
    drop(outlet);
    let pictures = read_pictures(&reader.join().unwrap());
    let jumps: Vec<_> = pictures.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).collect();
    assert_eq!(jumps.len(), 1, "{pictures:?}");
    assert_eq!(jumps[0][1], (240, true));
    assert_eq!(pictures.last(), Some(&(249, false)));
}

#[test]
fn what_is_merged_goes_out_together_and_a_newcomer_begins_at_once() {
    let ((server, client), (other, newcomer)) = (pair(), pair());
    let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
    let merge_write = Duration::from_millis(300);
    outlet.set(&StreamOptions { merge_write, ..StreamOptions::of(&Config::default()) }, 4 << 20);
    let at = |ms: u64| start + Duration::from_millis(ms);
    let waits = |mut socket: &TcpStream| {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        socket.read(&mut [0; 1 << 14]).unwrap_or(0)
    };
    outlet.handle_unit(at(0), &picture(&tracks, 0, 100), true);
    outlet.add(at(10), viewer(start, server, Framing::Plain), true);
    assert!(waits(&client) > 100, "who comes gets the cached pictures at once");
    for number in 1..=7 {
        outlet.handle_unit(at(u64::from(number) * 40), &picture(&tracks, number, 100), true);
    }
    assert_eq!(waits(&client), 0, "less than 300 ms have gone by");
    outlet.add(at(290), viewer(start, other, Framing::Plain), true);
    assert!(waits(&newcomer) > 8 * 100);
    outlet.handle_unit(at(320), &picture(&tracks, 8, 100), true);
    assert!(waits(&client) > 8 * 100, "all of them with one write");
    outlet.handle_unit(at(360), &picture(&tracks, 11, 100), true);
    assert_eq!(waits(&client), 0);
    assert!(outlet.check(at(700)).written.bytes > 200, "the source fell silent");
}

#[test]
fn a_viewer_that_takes_nothing_is_closed() {
    let (server, _client) = pair();
    let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
    outlet.add(start, viewer(start, server, Framing::Plain), true);
    for number in 0..100 {
        outlet.handle_unit(start, &picture(&tracks, number, 100_000), true);
    }
    assert!(outlet.check(start + Duration::from_secs(9)).gone.is_empty());
    assert_eq!(outlet.check(start + Duration::from_secs(10)).gone, [(0, Gone::Stalled)]);
}

#[test]
fn a_viewer_of_nothing_is_closed_later() {
    let (server, _client) = pair();
    let (mut outlet, start) = (outlet(), clock::now());
    outlet.add(start, viewer(start, server, Framing::Plain), true);
    assert!(outlet.check(start + Duration::from_secs(29)).gone.is_empty());
    assert_eq!(outlet.check(start + Duration::from_secs(30)).gone, [(0, Gone::Stalled)]);
}

#[test]
fn a_websocket_viewer_gets_frames_and_answers_to_pings() {
    let (server, mut client) = pair();
    let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
    outlet.handle_unit(start, &picture(&tracks, 0, 1000), true);
    let (key, _) = outlet.add(start, viewer(start, server, Framing::WebSocket), true);
    let mut head = [0; 4];
    client.read_exact(&mut head).unwrap();
    assert_eq!((head[0], head[1]), (0x82, 126));
    let mut flv = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    client.read_exact(&mut flv).unwrap();
    assert!(flv.starts_with(b"FLV\x01\x01"));
    client.read_exact(&mut head).unwrap();
    let mut chunk = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    client.read_exact(&mut chunk).unwrap();
    assert_eq!(chunk[0], 9);
    client.write_all(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).unwrap();
    client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let step = outlet.handle_ready(start, key, true, &mut [0; 64]);
    assert_eq!(step.gone, [(key, Gone::Left)]);
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x88, 0], "the answer to Close replaces the one to Ping");
}

#[test]
fn who_slept_through_a_change_of_size_is_closed() {
    let (server, mut client) = pair();
    let (mut outlet, old, start) = (outlet(), tracks(), clock::now());
    outlet.handle_unit(start, &picture(&old, 0, 200_000), true);
    let (key, _) = outlet.add(start, viewer(start, server, Framing::Plain), true);
    let mut other = (*old).clone();
    other.video.as_mut().unwrap().width = 640;
    let new = Arc::new(other);
    for number in 10..100 {
        assert!(outlet.handle_unit(start, &picture(&new, number, 200_000), true).gone.is_empty());
    }
    let reader = std::thread::spawn(move || client.read_to_end(&mut Vec::new()));
    let gone = (0..1000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(2));
        outlet.handle_ready(start, key, false, &mut [0; 64]).gone.pop()
    });
    assert_eq!(gone, Some((key, Gone::Stalled)));
    drop(outlet);
    reader.join().unwrap().unwrap();
}
