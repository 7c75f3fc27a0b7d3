//! URLs of sources and targets, and redirects: what is read can be written and connected to, and no secret goes elsewhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let (url, reference) = data.split_once('\n').unwrap_or((data, ""));
    relay::pull::fuzzing::url(url, reference);
});
