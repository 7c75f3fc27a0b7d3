//! A transport stream, cut two ways: units stay in order and well-formed, and no byte is invented.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use wire::{
    media::Kind,
    nal,
    ts_read::TsReader,
    unpack::{Options, Output},
};

const LIMIT: usize = 8192;

fuzz_target!(|data: &[u8]| {
    let Some((&step, data)) = data.split_first() else { return };
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    for step in [usize::MAX, usize::from(step) + 1] {
        let mut reader = TsReader::new(Options { frame_bytes_max: LIMIT, ..Options::default() });
        let (mut last, mut bytes) = ([None; 2], 0);
        for piece in data.chunks(step) {
            if reader.handle_bytes(now, piece).is_err() {
                break;
            }
            check(&mut reader, &mut last, &mut bytes);
        }
        reader.handle_end(now);
        check(&mut reader, &mut last, &mut bytes);
        // A start code of three bytes becomes a length of four.
        assert!(bytes <= data.len() * 2);
    }
});

fn check(reader: &mut TsReader, last: &mut [Option<wire::media::Ticks>; 2], bytes: &mut usize) {
    while let Some(output) = reader.poll_output() {
        let Output::Unit(unit) = output else { continue };
        *bytes += unit.data.len();
        assert!(unit.pts >= unit.dts && unit.dts.0 >= 0);
        let before = last[usize::from(unit.kind == Kind::Video)].replace(unit.dts);
        assert!(before.is_none_or(|before| before < unit.dts));
        if unit.kind == Kind::Video {
            assert!(unit.tracks.video.is_some());
            let total: usize = nal::length_prefixed(&unit.data).map(|nal| nal.len() + 4).sum();
            assert_eq!(total, unit.data.len());
        } else {
            assert!(unit.tracks.audio.is_some() && !unit.data.is_empty());
        }
    }
}
