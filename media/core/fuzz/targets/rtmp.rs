//! What an RTMP client sends: cut anywhere it gives the same events and answers, nothing grows beyond its bound, and what
//! a publisher's tags become is well-formed.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use wire::{
    flv_read::TagReader,
    rtmp::{ChunkReader, Event, Server},
    unpack::Options,
};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, plays, data) = input;
    let whole = run(data, data.len(), plays);
    let pieces = run(data, usize::from(size), plays);
    assert_eq!(whole, pieces);
});

/// Events and their number, and the kinds of what was answered; all that came before an error.
fn run(data: &[u8], size: usize, plays: bool) -> (Vec<Event>, Vec<u8>) {
    let mut server = Server::new(1);
    server.handle(&[&[3][..], &[0; 3072]].concat()).expect("a handshake");
    server.take_output();
    let (mut events, mut answers) = (Vec::new(), ChunkReader::default());
    let mut kinds = Vec::new();
    let mut reader = TagReader::new(Options::default());
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    'pieces: for piece in data.chunks(size.max(1)) {
        if server.handle(piece).is_err() {
            break;
        }
        loop {
            match server.poll_event() {
                Ok(Some(event)) => {
                    match &event {
                        Event::Publish(_) => server.accept_publish(),
                        Event::Play(_) if plays => break 'pieces,
                        Event::Play(_) => server.refuse_play("NetStream.Play.Failed", "no"),
                        Event::Media(tag) => reader.handle_tag(now, tag),
                        Event::Announced { .. } | Event::Ended => {}
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
        while reader.poll_output().is_some() {}
    }
    answers.allow_media();
    answers.handle(&server.take_output());
    while let Some(message) = answers.poll().expect("we write good chunks") {
        // Acknowledgements come as bytes do.
        if message.kind != 3 {
            kinds.push(message.kind);
        }
    }
    if plays && matches!(events.last(), Some(Event::Play(_))) {
        let (_, mut player) = server.start_play();
        let _ = player.handle(data);
    }
    (events, kinds)
}
