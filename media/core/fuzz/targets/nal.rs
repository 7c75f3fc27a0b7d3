//! NAL units and parameter sets: conversion keeps every unit, and sizes stay within bounds.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use wire::{
    media::VideoCodec,
    nal,
    parameter_sets::{ParameterSets, parse_sps},
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
});
