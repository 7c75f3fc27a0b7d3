//! ADTS headers, AudioSpecificConfig and packets of Opus: lengths stay within bounds, and what is written reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    aac::{Adts, Config},
    opus,
};

fuzz_target!(|data: &[u8]| {
    if let Some(adts) = Adts::parse(data) {
        assert!(adts.header_len < adts.frame_len && adts.frame_len < 8192);
        assert_eq!(Config::parse(&adts.config.to_bytes()), Some(adts.config));
    }
    Adts::fits(data);
    if let Some(config) = Config::parse(data) {
        assert_eq!(Config::parse(&config.to_bytes()), Some(config));
    }
    assert!(opus::duration(data).is_none_or(|samples| (1..=opus::RATE * 120 / 1000).contains(&samples)));
});
