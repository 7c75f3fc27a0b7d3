//! A stream's packets, whatever they hold: units stay in order and well-formed, and memory stays bounded.
//!
//! Input: for each packet a byte of flags, a byte of length (in units of 4), then the payload.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use wire::{
    media::Kind,
    nal,
    rtp::Packet,
    unpack::{Options, Output, Unpacker},
};

const LIMIT: usize = 8192;
const TYPES: [u8; 4] = [96, 96, 8, 98];

fuzz_target!(|data: &[u8]| {
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let mut now = Instant::now();
    let mut unpacker = Unpacker::new(Options { frame_bytes_max: LIMIT, ..Options::default() });
    let (mut rest, mut timestamp, mut last) = (data, 0_u32, [None; 2]);
    while let [flags, len, tail @ ..] = rest {
        let (payload, tail) = tail.split_at((usize::from(*len) * 4).min(tail.len()));
        rest = tail;
        if flags & 1 != 0 {
            timestamp = timestamp.wrapping_add(3600);
        }
        if flags & 2 != 0 {
            unpacker.handle_gap(u64::from(flags >> 5));
        }
        if flags & 4 != 0 {
            now += Duration::from_millis(40);
            unpacker.handle_timeout(now);
        }
        if flags & 0xC0 == 0xC0 {
            timestamp = timestamp.wrapping_mul(31);
        }
        let payload_type = TYPES[usize::from(flags >> 4 & 3)];
        let packet = Packet { payload_type, marker: flags & 8 != 0, seq: 0, timestamp, ssrc: 1, payload };
        unpacker.handle_packet(now, &packet);
        while let Some(output) = unpacker.poll_output() {
            let Output::Unit(unit) = output else { continue };
            assert!(unit.pts >= unit.dts && unit.dts.0 >= 0);
            let before = last[usize::from(unit.kind == Kind::Video)].replace(unit.dts);
            assert!(before.is_none_or(|before| before < unit.dts));
            if unit.kind == Kind::Video {
                assert!(unit.tracks.video.is_some() && unit.data.len() <= 3 * LIMIT);
                let total: usize = nal::length_prefixed(&unit.data).map(|nal| nal.len() + 4).sum();
                assert_eq!(total, unit.data.len());
            } else {
                assert!(unit.tracks.audio.is_some() && !unit.data.is_empty());
            }
        }
    }
});
