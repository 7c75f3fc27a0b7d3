//! What an RTMP server sends to us as its client: cut anywhere it gives the same events, answers and end, nothing grows
//! beyond its bound, and what a player's tags become is well-formed.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use wire::{
    flv_read::TagReader,
    rtmp::{Action, ChunkReader, Client, ClientEvent, Errand, TargetEvent},
    unpack::Options,
};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, plays, data) = input;
    let whole = run(data, data.len(), plays);
    let pieces = run(data, usize::from(size), plays);
    assert_eq!(whole, pieces);
});

/// Events, the kinds of what was said to the server, and how it ended.
fn run(data: &[u8], size: usize, plays: bool) -> (Vec<ClientEvent>, Vec<u8>, String) {
    let action = if plays { Action::Play } else { Action::Publish };
    let name = "cam?key=k".to_owned();
    let mut client =
        Client::new(Errand { action, app: "live".to_owned(), tc_url: "rtmp://h/live".to_owned(), name }, 1);
    assert_eq!(client.take_output().len(), 1537);
    client.handle(&[&[3][..], &[0; 3072]].concat()).expect("a handshake");
    client.take_output(); // C2 and connect
    let (mut events, mut kinds, mut said) = (Vec::new(), Vec::new(), ChunkReader::default());
    said.handle(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0xEA, 0x60]);
    let mut reader = TagReader::new(Options::default());
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    let mut end = String::new();
    'pieces: for piece in data.chunks(size.max(1)) {
        if let Err(error) = client.handle(piece) {
            end = error.to_string();
            break;
        }
        loop {
            match client.poll_event() {
                Ok(Some(event)) => {
                    if let ClientEvent::Media(tag) = &event {
                        reader.handle_tag(now, tag);
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(error) => {
                    end = error.to_string();
                    break 'pieces;
                }
            }
        }
        while reader.poll_output().is_some() {}
    }
    assert!(end.len() < 3000, "a server's words are cut");
    said.handle(&client.take_output());
    while let Some(message) = said.poll().expect("we write good chunks") {
        // Acknowledgements come as bytes do.
        if message.kind != 3 {
            kinds.push(message.kind);
        }
    }
    if !plays && events.contains(&ClientEvent::Started) {
        let (_, mut target) = client.into_publisher();
        if let Ok(Some(TargetEvent::Answer(answer))) = target.handle(data) {
            said.handle(&answer);
            while said.poll().expect("we write good chunks").is_some() {}
        }
        said.handle(&target.farewell());
        assert!(said.poll().expect("we write good chunks").is_some());
    }
    (events, kinds, end)
}
