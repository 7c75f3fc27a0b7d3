//! Segments of an HLS list, plain or encrypted, and datagrams with a transport stream: units stay well-formed, whatever
//! follows what.
//!
//! Input: for each piece a byte that says what it is, two for its length, then itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::pull::fuzzing::Pieces;
use wire::{media::Kind, nal, unpack::Output};

fuzz_target!(|data: &[u8]| {
    let (mut rest, mut pieces) = (data, Pieces::default());
    while let &[what, high, low, ref more @ ..] = rest {
        let (piece, left) = more.split_at(more.len().min(usize::from(u16::from_be_bytes([high, low]))));
        rest = left;
        let outputs = match what % 6 {
            0 => pieces.handle_segment(piece, None),
            1 => pieces.handle_segment(piece, Some([what; 16])),
            2 | 3 => pieces.handle_datagram(piece),
            4 => {
                pieces.handle_init(piece);
                vec![]
            }
            _ => {
                pieces.handle_break(what > 127);
                vec![]
            }
        };
        outputs.iter().for_each(check);
    }
});

fn check(output: &Output) {
    let Output::Unit(unit) = output else { return };
    assert!(unit.pts >= unit.dts && unit.dts.0 >= 0);
    match unit.kind {
        Kind::Video => {
            assert!(unit.tracks.video.is_some());
            let total: usize = nal::length_prefixed(&unit.data).map(|nal| nal.len() + 4).sum();
            assert_eq!(total, unit.data.len());
        }
        Kind::Audio => assert!(unit.tracks.audio.is_some()),
    }
}
