//! A connection's bytes, cut two ways: the same packets come out, and no byte is counted twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::rfc4571::{Framer, Output, SPACE_MIN};

fn read(data: &[u8], step: usize) -> (Vec<Vec<u8>>, usize) {
    let mut framer = Framer::new(Some(0x0707_0707));
    let mut space = vec![0; SPACE_MIN];
    let (mut packets, mut bytes) = (vec![], 0);
    for mut piece in data.chunks(step) {
        let mut reading = framer.read(&mut space);
        while !piece.is_empty() {
            piece = &piece[reading.handle_bytes(piece)..];
            while let Some(output) = reading.poll_output() {
                match output {
                    Output::Packet(packet) => {
                        bytes += packet.len() + 2;
                        packets.push(packet.to_vec());
                    }
                    Output::Skipped(len) => bytes += len,
                    Output::GaveUp => return (packets, bytes),
                }
            }
        }
    }
    (packets, bytes)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, data) = input;
    let whole = read(data, usize::MAX);
    assert!(whole.1 <= data.len());
    assert_eq!(read(data, usize::from(step) + 1), whole);
});
