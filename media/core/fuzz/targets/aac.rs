//! ADTS headers and AudioSpecificConfig: lengths stay within bounds, and what is written reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::aac::{Adts, Config};

fuzz_target!(|data: &[u8]| {
    if let Some(adts) = Adts::parse(data) {
        assert!(adts.header_len < adts.frame_len && adts.frame_len < 8192);
        assert_eq!(Config::parse(&adts.config.to_bytes()), Some(adts.config));
    }
    Adts::fits(data);
    if let Some(config) = Config::parse(data) {
        assert_eq!(Config::parse(&config.to_bytes()), Some(config));
    }
});
