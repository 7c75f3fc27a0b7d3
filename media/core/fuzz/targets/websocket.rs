//! What a WebSocket client sends: cut anywhere it gives the same events, and nothing grows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::websocket::{ClientEvent, ClientReader, FrameError};

fuzz_target!(|input: (u8, &[u8])| {
    let (size, data) = input;
    let whole = read(data, data.len());
    let pieces = read(data, usize::from(size));
    assert_eq!(whole.is_ok(), pieces.is_ok());
    assert!(whole.is_err() || whole == pieces);
    for event in whole.iter().flatten() {
        assert!(!matches!(event, ClientEvent::Ping(payload) if payload.len() > 125));
    }
});

/// The events of `data` in pieces of `size` bytes, up to Close.
fn read(data: &[u8], size: usize) -> Result<Vec<ClientEvent>, FrameError> {
    let mut reader = ClientReader::default();
    let mut events = Vec::new();
    for piece in data.chunks(size.max(1)) {
        events.extend(reader.handle(piece)?);
        if matches!(events.last(), Some(ClientEvent::Close(_))) {
            break;
        }
    }
    Ok(events)
}
