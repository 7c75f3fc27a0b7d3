//! What an RTSP server sends, and the packets of its tracks: cut anywhere it gives the same events and requests, our requests
//! are messages, and packets of any description give units or faults, within bounds.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::{
    rtsp::{
        Client, ClientError, ClientEvent, Credentials, Delivery, Description, Goal, Incoming, Item, Reader,
        digest::{Challenge, Proof},
    },
    unpack::Options,
};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, datagrams, data) = input;
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    let whole = run(now, data, data.len(), datagrams);
    assert_eq!(whole, run(now, data, usize::from(size), datagrams));
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Proof::parse(text);
        let _ = Challenge::parse(text.lines());
    }
    packets(now, data, datagrams);
});

type Seen = (Vec<ClientEvent>, Vec<u8>, Option<ClientError>);

fn run(now: Instant, data: &[u8], size: usize, datagrams: bool) -> Seen {
    let credentials = Credentials::new("me".to_owned(), "secret".to_owned(), 1);
    let mut client = Client::new("rtsp://h/a?b=c".to_owned(), Some(credentials), Goal::Play);
    let (mut events, mut said, mut failed) = (Vec::new(), Vec::new(), None);
    'pieces: for piece in data.chunks(size.max(1)) {
        client.handle(piece);
        loop {
            match client.poll_event(now) {
                Ok(Some(event)) => {
                    if let ClientEvent::Described(description) = &event {
                        client.set_up(tracks(description, datagrams));
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break 'pieces;
                }
            }
        }
        said.extend(client.take_output());
    }
    said.extend(client.take_output());
    client.handle_timeout(now + Duration::from_secs(60));
    client.tear_down();
    said.extend(client.take_output());
    read_back(&said);
    (events, said, failed)
}

fn tracks(description: &Description, datagrams: bool) -> Vec<(usize, Delivery)> {
    let way = |number: usize| match datagrams {
        true => Delivery::Udp { client: (5000, 5001), server: None },
        false => Delivery::Interleaved(Some((number as u8 * 2, number as u8 * 2 + 1))),
    };
    (0..description.media.len().min(4)).map(|number| (number, way(number))).collect()
}

/// Whatever the server sent, our requests are messages.
fn read_back(mut requests: &[u8]) {
    let mut reader = Reader::default();
    while !requests.is_empty() {
        let (piece, rest) = requests.split_at(requests.len().min(1024));
        reader.handle_input(piece);
        requests = rest;
        while let Some(item) = reader.poll_item().expect("we write good messages") {
            assert!(matches!(item, Item::Message(_)));
        }
    }
}

/// A description up to a zero byte, then packets: a byte that says track and kind, one for the length.
fn packets(now: Instant, data: &[u8], datagrams: bool) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(description) = Description::parse(&data[..end]) else { return };
    let hold = if datagrams { Duration::from_millis(200) } else { Duration::ZERO };
    let mut incoming = Incoming::new(&description, Options::default(), hold, 1);
    let (mut rest, mut now) = (data.get(end + 1..).unwrap_or_default(), now);
    while let &[what, len, ref more @ ..] = rest {
        let (packet, left) = more.split_at(more.len().min(usize::from(len)));
        rest = left;
        let track = usize::from(what >> 1 & 3);
        if what & 1 == 0 {
            incoming.handle_rtp(now, track, Bytes::copy_from_slice(packet));
        } else {
            incoming.handle_rtcp(now, track, packet);
        }
        now += Duration::from_millis(u64::from(what >> 3));
        incoming.handle_timeout(now);
        while incoming.poll_output().is_some() {}
        while incoming.poll_report().is_some() {}
    }
}
