//! Streams that are fed by a task: their events, figures, viewers and end.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use relay::{
    Config, Error, EventKind, RecordOrder,
    feed::{Closed, Feeder, Portion},
};
use support::{Relay, fed::tracks, feeding::wanted, until};
use wire::{
    fault::Fault,
    media::{AccessUnit, Kind, Ticks, Tracks, VideoCodec},
    unpack::Output,
};

fn picture(tracks: &Arc<Tracks>, number: i64, size: usize) -> Portion {
    let dts = Ticks::from_millis(number * 40);
    let data = Bytes::from([&(size as u32).to_be_bytes()[..], &vec![0x65; size]].concat());
    let unit =
        AccessUnit { kind: Kind::Video, dts, pts: dts, key: number == 0, data, tracks: Arc::clone(tracks) };
    Portion { outputs: vec![Output::Unit(unit)], messages: 1, bytes: size as u64, ..Portion::default() }
}

async fn feed(feeder: &mut Feeder, pictures: i64, size: usize) -> Result<(), Closed> {
    let tracks = tracks(VideoCodec::H264, None);
    let news = Output::Tracks(Arc::clone(&tracks));
    feeder
        .send(Portion {
            outputs: vec![news, Output::Fault(Fault::BadNal)],
            messages: 1,
            bytes: 40,
            ..Portion::default()
        })
        .await?;
    for number in 0..pictures {
        feeder.send(picture(&tracks, number, size)).await?;
    }
    Ok(())
}

#[test]
fn a_fed_stream_tells_what_a_receiver_tells() {
    let relay = Relay::start(Config { silence: Duration::from_millis(100), ..Config::default() });
    let mut feeder = relay.core.open_feed(&wanted("fed")).unwrap();
    let id = feeder.id();
    assert!(matches!(relay.core.open_feed(&wanted("fed")), Err(Error::StreamExists(..))));
    let peer: SocketAddr = "192.0.2.1:1935".parse().unwrap();
    feeder.connected(peer);
    relay.core.runtime().unwrap().block_on(feed(&mut feeder, 50, 1000)).unwrap();
    let stats = relay.wait_stats("fed", |stats| stats.received == 51);
    assert_eq!((stats.transport.name(), stats.payload, stats.port), ("rtmp", Some("flv"), 0));
    assert_eq!((stats.expected, stats.lost, stats.bytes_in), (51, 0, 50_040));
    assert_eq!((stats.width, stats.height, stats.peer), (352, 288, Some(peer.to_string())));
    assert_eq!(stats.faults["bad_nal"], 1);
    relay.wait_event(EventKind::Silent);
    feeder.tell(EventKind::Resumed, vec![]);
    feeder.close("the end", "finished");
    let ended = relay.wait_event(EventKind::Ended);
    assert_eq!(
        (ended.receiver, ended.detail),
        (id, vec![("reason", "the end".to_owned()), ("cause", "finished".to_owned())])
    );
    until("the stream to be gone", || (relay.core.stream_count() == 0).then_some(()));
    let kinds = [EventKind::Connected, EventKind::FirstPacket, EventKind::Tracks, EventKind::FirstKeyFrame];
    let peers = kinds.map(|kind| relay.wait_event(kind).detail.into_iter().find(|(name, _)| *name == "peer"));
    assert_eq!(peers.iter().flatten().count(), 2, "connected, first_packet");
    relay.wait_event(EventKind::Disconnected);
    relay.core.open_feed(&wanted("fed")).expect("the name is free again");
}

#[test]
fn a_source_that_comes_back_has_resumed_however_soon() {
    let relay = Relay::start(Config::default());
    let mut feeder = relay.core.open_feed(&wanted("back")).unwrap();
    let runtime = relay.core.runtime().unwrap();
    let peer: SocketAddr = "192.0.2.1:80".parse().unwrap();
    feeder.connected(peer);
    runtime.block_on(feed(&mut feeder, 1, 1000)).unwrap();
    feeder.disconnected(vec![("reason", "gone".to_owned())]);
    feeder.connected(peer);
    runtime.block_on(feeder.send(picture(&tracks(VideoCodec::H264, None), 1, 1000))).unwrap();
    let told = relay.wait_event(EventKind::Resumed);
    assert_eq!(told.receiver, feeder.id());
    assert!(relay.core.poll_events(100).iter().all(|event| event.kind != EventKind::Resumed), "told once");
}

#[test]
fn each_connection_that_brings_nothing_is_told_to_be_silent() {
    let relay = Relay::start(Config { silence: Duration::from_millis(100), ..Config::default() });
    let mut feeder = relay.core.open_feed(&wanted("mute")).unwrap();
    let peer: SocketAddr = "192.0.2.1:80".parse().unwrap();
    feeder.connected(peer);
    relay.core.runtime().unwrap().block_on(feed(&mut feeder, 1, 1000)).unwrap();
    for _ in 0..2 {
        feeder.disconnected(vec![("reason", "gone".to_owned())]);
        relay.wait_event(EventKind::Disconnected);
        feeder.connected(peer);
        relay.wait_event(EventKind::Silent);
    }
    let runtime = relay.core.runtime().unwrap();
    runtime.block_on(feeder.send(picture(&tracks(VideoCodec::H264, None), 1, 1000))).unwrap();
    relay.wait_event(EventKind::Resumed);
}

#[test]
fn a_feeder_is_told_of_the_end_from_outside() {
    let relay = Relay::start(Config::default());
    let mut feeder = relay.core.open_feed(&wanted("closed")).unwrap();
    let runtime = relay.core.runtime().unwrap();
    runtime.block_on(feed(&mut feeder, 1, 1000)).unwrap();
    relay.wait_stats("closed", |stats| stats.received == 2);
    relay.core.close_receiver(feeder.id()).unwrap();
    runtime.block_on(feeder.closed());
    assert_eq!(runtime.block_on(feeder.send(Portion::default())), Err(Closed));
}

#[test]
fn a_dropped_feeder_ends_its_stream_and_bandwidth_is_kept() {
    let relay = Relay::start(Config { bandwidth_max_bps: 8_000_000, ..Config::default() });
    let mut feeder = relay.core.open_feed(&wanted("fast")).unwrap();
    let runtime = relay.core.runtime().unwrap();
    let limited =
        async { tokio::time::timeout(Duration::from_millis(300), feed(&mut feeder, 1000, 10_000)).await };
    assert!(runtime.block_on(limited).is_err(), "10 MB at 1 MB a second");
    let stats = relay.wait_stats("fast", |stats| stats.received > 1);
    assert!(stats.bytes_in < 1_500_000, "{}", stats.bytes_in);
    drop(feeder);
    assert_eq!(relay.wait_event(EventKind::Ended).detail[0].1, "the source is gone");
}

#[test]
fn a_recording_parts_where_its_source_breaks_and_none_repeats_what_another_has() {
    let relay = Relay::start(Config::default());
    let mut feeder = relay.core.open_feed(&wanted("kept")).unwrap();
    let (runtime, id, tracks) = (relay.core.runtime().unwrap(), feeder.id(), tracks(VideoCodec::H264, None));
    let peer: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let send = |feeder: &mut Feeder, numbers: std::ops::Range<i64>| {
        for number in numbers {
            let mut portion = picture(&tracks, number, 1000);
            if let Some(Output::Unit(unit)) = portion.outputs.first_mut() {
                unit.key = number % 10 == 0;
            }
            runtime.block_on(feeder.send(portion)).unwrap();
        }
    };
    let directory = std::env::temp_dir().join(format!("relay-feeds-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let order = || RecordOrder {
        directory: directory.clone(),
        slice_ms: 3_600_000,
        utc_offset_ms: 0,
        form: None,
        tag: String::new(),
    };
    let slice = |reason: &str| {
        let event = relay.wait_event(EventKind::Slice);
        let detail: std::collections::HashMap<_, _> = event.detail.into_iter().collect();
        assert_eq!((detail["reason"].as_str(), detail["lost"].as_str()), (reason, "0"));
        detail["frames"].clone()
    };
    feeder.connected(peer);
    send(&mut feeder, 0..15);
    relay.wait_stats("kept", |stats| stats.received == 15);
    let first = relay.core.record(id, order()).unwrap();
    send(&mut feeder, 15..25);
    feeder.disconnected(vec![("reason", "gone".to_owned())]);
    assert_eq!(slice("broken"), "15", "from the cached key frame on, at once");
    feeder.connected(peer);
    send(&mut feeder, 30..35);
    relay.wait_stats("kept", |stats| stats.received == 30);
    relay.core.stop_recording(first);
    assert_eq!(slice("stopped"), "5");
    let second = relay.core.record(id, order()).unwrap();
    send(&mut feeder, 35..45);
    relay.wait_stats("kept", |stats| stats.received == 40);
    relay.core.stop_recording(second);
    assert_eq!(slice("stopped"), "5", "it begins with the next key frame: the cached one is in another file");
    std::fs::remove_dir_all(directory).unwrap();
}
