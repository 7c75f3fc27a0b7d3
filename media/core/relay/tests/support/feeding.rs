//! Streams that are fed in real time, and pushes of them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use relay::{
    Event, EventKind, PlayRights, Transport,
    feed::{Feeder, OpenFeed, Portion},
    push::{OpenPush, PushState},
};
use tokio::task::JoinHandle;
use wire::{
    media::{AccessUnit, Kind, Ticks, VideoCodec},
    unpack::Output,
};

use super::{
    Relay,
    fed::{GOP, tracks},
};

pub fn wanted(name: &str) -> OpenFeed {
    OpenFeed {
        app: "test".to_owned(),
        name: name.to_owned(),
        transport: Transport::Rtmp,
        payload: "flv",
        rights: PlayRights { private: false, ..PlayRights::default() },
    }
}

/// Feeds a stream in real time until it is closed, or this is dropped.
pub struct Source(pub JoinHandle<()>);

impl Drop for Source {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub fn source(relay: &Relay, name: &str) -> (u64, Source) {
    let feeder = relay.core.open_feed(&wanted(name)).unwrap();
    (feeder.id(), Source(relay.core.runtime().unwrap().spawn(feed(feeder))))
}

pub async fn feed(mut feeder: Feeder) {
    let tracks = tracks(VideoCodec::H264, None);
    let news = vec![Output::Tracks(Arc::clone(&tracks))];
    let mut portion = Portion { outputs: news, messages: 1, bytes: 40, ..Portion::default() };
    for number in 0..10_000 {
        let dts = Ticks::from_millis(number * 20);
        let key = number % GOP == 0;
        // Every tenth is larger than a chunk.
        let size = if key { 70_000_u32 } else { 500 };
        let slice =
            [&size.to_be_bytes()[..], &[if key { 0x65 } else { 0x41 }, 0x88], &vec![0xAB; size as usize - 2]];
        let data = Bytes::from(slice.concat());
        let tracks = Arc::clone(&tracks);
        portion.outputs.push(Output::Unit(AccessUnit {
            kind: Kind::Video,
            dts,
            pts: dts,
            key,
            data,
            tracks,
        }));
        if feeder.send(std::mem::take(&mut portion)).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn push(relay: &Relay, receiver: u64, url: String) -> u64 {
    let wanted = OpenPush { receiver, url, allow_private: true, datagrams: false };
    relay.core.open_push(&wanted).unwrap()
}

pub fn state(relay: &Relay, push: u64) -> Option<PushState> {
    relay.core.pushes().iter().find(|stats| stats.id == push).map(|stats| stats.state)
}

pub fn detail<'a>(event: &'a Event, name: &str) -> &'a str {
    event.detail.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

pub fn ticket(relay: &Relay) -> (u64, String) {
    let asked = relay.wait_event(EventKind::Publish);
    let path = format!("{}/{}?{}", detail(&asked, "app"), detail(&asked, "name"), detail(&asked, "query"));
    (detail(&asked, "ticket").parse().unwrap(), path)
}

pub fn accept(relay: &Relay, ticket: u64) -> u64 {
    relay.core.accept_publish(ticket, "test", "copy", PlayRights::default()).unwrap()
}
