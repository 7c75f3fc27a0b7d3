//! Fragmented MP4: an initialisation section and a segment, split anywhere: units stay in order and well-formed.
#![no_main]

use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::{
    fmp4_read::Mp4Reader,
    media::Kind,
    nal,
    unpack::{Options, Output},
};

fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], data)) = data.split_first_chunk::<2>() else { return };
    let split = usize::from(u16::from_be_bytes([high, low])).min(data.len());
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    let mut reader = Mp4Reader::new(Options { frame_bytes_max: 8192, ..Options::default() });
    if reader.handle_init(&data[..split]).is_err() {
        return;
    }
    let segment = Bytes::copy_from_slice(&data[split..]);
    let mut last = [None; 2];
    for _ in 0..2 {
        let _ = reader.handle_segment(now, &segment);
        while let Some(output) = reader.poll_output() {
            let Output::Unit(unit) = output else { continue };
            assert!(unit.pts >= unit.dts && unit.dts.0 >= 0);
            let before = last[usize::from(unit.kind == Kind::Video)].replace(unit.dts);
            assert!(before.is_none_or(|before| before < unit.dts));
            if unit.kind == Kind::Video {
                assert!(unit.tracks.video.is_some());
                let total: usize = nal::length_prefixed(&unit.data).map(|nal| nal.len() + 4).sum();
                assert_eq!(total, unit.data.len());
            } else {
                assert!(unit.tracks.audio.is_some());
            }
        }
        reader.handle_gap();
    }
});
