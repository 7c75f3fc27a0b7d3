//! AMF0 from a client: whatever it is, reading ends, and what was read can be written and reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::amf::{Reader, Value};

fuzz_target!(|data: &[u8]| {
    for value in read(data) {
        let mut written = Vec::new();
        value.write(&mut written);
        if written.len() < data.len() {
            // Not compared as values: a number may be no number.
            let again = read(&written);
            assert_eq!(format!("{:?}", again.first()), format!("{:?}", Some(&value)));
        }
    }
});

fn read(data: &[u8]) -> Vec<Value> {
    let mut reader = Reader::new(data);
    std::iter::from_fn(|| reader.next_value().ok().flatten()).collect()
}
