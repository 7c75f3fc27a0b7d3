//! An FLV stream, cut two ways: the same outputs come, units stay in order and well-formed, and no byte is invented.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use wire::{
    flv_read::FlvReader,
    media::Kind,
    nal,
    unpack::{Options, Output},
};

const LIMIT: usize = 8192;

fuzz_target!(|data: &[u8]| {
    let Some((&step, data)) = data.split_first() else { return };
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    let (whole, failed) = read(now, data, usize::MAX);
    let (pieces, failed_too) = read(now, data, usize::from(step) + 1);
    assert_eq!(failed, failed_too);
    assert!(failed || whole == pieces);
});

fn read(now: Instant, data: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut reader = FlvReader::new(Options { frame_bytes_max: LIMIT, ..Options::default() });
    let (mut seen, mut last, mut bytes) = (vec![], [None; 2], 0);
    for piece in data.chunks(step) {
        let failed = reader.handle_bytes(now, piece).is_err();
        while let Some(output) = reader.poll_output() {
            seen.push(format!("{output:?}"));
            let Output::Unit(unit) = output else { continue };
            bytes += unit.data.len();
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
        if failed {
            return (seen, true);
        }
    }
    // Lengths of one byte become four: at most five bytes come out for two.
    assert!(bytes <= data.len() * 3);
    (seen, false)
}
