//! What a crash left of a recording: whatever it is, the scan goes forward in small steps, what it keeps is whole when it
//! is looked at again, and patching the head changes nothing of that.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::file::{Form, Found, Scan};

fn scan(form: Form, data: &[u8]) -> Option<Found> {
    let mut scan = Scan::new(form, data.len() as u64);
    let mut before = None;
    while let Some(want) = scan.want() {
        assert!(before < Some(want.offset) && want.length <= 1 << 20);
        before = Some(want.offset);
        let start = usize::try_from(want.offset).unwrap().min(data.len());
        scan.handle_bytes(&data[start..(start + want.length).min(data.len())]);
    }
    scan.finish()
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let form = if first % 2 == 0 { Form::Flv } else { Form::Fmp4 };
    let Some(found) = scan(form, data) else { return };
    assert!(found.head as u64 <= found.size && found.size <= data.len() as u64);
    assert!(found.frames > 0 && found.last <= found.duration);
    let mut kept = data[..found.size as usize].to_vec();
    found.summary().write_into(form, &mut kept[..found.head]);
    let again = scan(form, &kept).expect("what was whole stays whole");
    assert_eq!((again.size, again.frames, again.duration), (found.size, found.frames, found.duration));
    assert_eq!(again.index.entries(), found.index.entries());
});
