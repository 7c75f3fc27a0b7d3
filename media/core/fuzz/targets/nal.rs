//! NAL units and parameter sets: conversion keeps every unit, and sizes stay within bounds; ready frames become units that are
//! well-formed.
#![no_main]

use std::time::Instant;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use wire::{
    media::{Kind, VideoCodec},
    nal,
    parameter_sets::{ParameterSets, parse_sps},
    raw::RawReader,
    unpack::{Options, Output},
};

fuzz_target!(|data: &[u8]| {
    let units: Vec<&[u8]> = nal::annex_b(data).map(|span| &data[span]).collect();
    let out = nal::into_length_prefixed(BytesMut::from(data), &mut Vec::new());
    assert!(nal::length_prefixed(&out).eq(units.iter().copied()));
    for codec in [VideoCodec::H264, VideoCodec::H265] {
        for unit in &units {
            nal::kind(codec, unit);
            nal::starts_access_unit(codec, unit);
            if let Ok(info) = parse_sps(codec, unit) {
                assert!((1..=16_384).contains(&info.width) && (1..=16_384).contains(&info.height));
            }
        }
        let mut sets = ParameterSets::new(codec);
        if sets.handle_unit(units.iter().copied()).is_ok() {
            if let Some(track) = sets.track() {
                assert!(track.vps.len() + track.sps.len() + track.pps.len() <= 48);
            }
            assert!(sets.handle_unit(std::iter::empty()) == Ok(false));
        }
    }
    frames(data);
});

/// The same bytes as ready frames, cut behind each byte of ones.
fn frames(data: &[u8]) {
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    for codec in [VideoCodec::H264, VideoCodec::H265] {
        let mut reader = RawReader::new(Options { frame_bytes_max: 8192, ..Options::default() });
        for (number, frame) in data.split_inclusive(|byte| *byte == 0xFF).enumerate() {
            let time = number as i64 * 3600;
            reader.handle_video(now, codec, time, time, BytesMut::from(frame));
            while let Some(output) = reader.poll_output() {
                let Output::Unit(unit) = output else { continue };
                assert!(unit.kind == Kind::Video && unit.tracks.video.is_some());
                let total: usize = nal::length_prefixed(&unit.data).map(|nal| nal.len() + 4).sum();
                assert_eq!(total, unit.data.len());
            }
        }
    }
}
