//! What an RTSP client sends: cut anywhere it gives the same events and answers, whatever it says our answers are
//! messages, and a transport or a range that was read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::rtsp::{Description, Event, Item, Played, Range, Reader, Server, TrackStart, Transport, Wish};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, accepts, data) = input;
    let whole = run(data, data.len(), accepts);
    assert_eq!(whole, run(data, usize::from(size), accepts));
    let _ = Description::parse(data);
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(range) = Range::parse(text) {
            assert_eq!(Range::parse(&range.to_string()), Some(range), "{text}");
        }
        for transport in Transport::parse(text) {
            assert_eq!(Transport::parse(&transport.to_string()), [transport], "{text}");
        }
    }
});

/// Events and what was answered; all that came before an error.
fn run(data: &[u8], size: usize, accepts: bool) -> (Vec<Event>, Vec<u8>) {
    let mut server = Server::new("session".to_owned());
    let mut events = Vec::new();
    'pieces: for piece in data.chunks(size.max(1)) {
        server.handle(piece);
        loop {
            match server.poll_event() {
                Ok(Some(event)) => {
                    answer(&mut server, &event, accepts);
                    events.push(event);
                }
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    let answers = server.take_output();
    read_back(&answers);
    (events, answers)
}

fn answer(server: &mut Server, event: &Event, accepts: bool) {
    match event {
        Event::Data(..) | Event::Ended => {}
        _ if !accepts => server.refuse(403),
        Event::Play(Wish { range, scale, speed }) => {
            let played =
                Played { range: range.unwrap_or(Range::NOW), scale: scale.unwrap_or(1.0), speed: *speed };
            server.play(played, &[TrackStart { track: 0, seq: 1, timestamp: 2 }]);
        }
        Event::Pause => server.pause(Some(Range::NOW)),
        Event::Get(names) => server.tell(&names.join("\r\n")),
        Event::Describe(..) => server.describe("v=0\r\n"),
        Event::SetUp { offers, .. } => server.set_up(&offers[0]),
        Event::Announce(..) | Event::Record => server.accept(),
    }
}

/// Whatever the client sent, our answers are messages.
fn read_back(mut answers: &[u8]) {
    let mut reader = Reader::default();
    while !answers.is_empty() {
        let (piece, rest) = answers.split_at(answers.len().min(1024));
        reader.handle_input(piece);
        answers = rest;
        while let Some(item) = reader.poll_item().expect("we write good messages") {
            assert!(matches!(item, Item::Message(_)));
        }
    }
}
