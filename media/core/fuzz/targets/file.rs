//! What a crash left of a recording: whatever it is, the scan goes forward in small steps, what it keeps is whole when it
//! is looked at again, and patching the head changes nothing of that. And who plays it gets well-formed units, from wherever.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    file::{FileReader, Form, Found, Scan},
    media::{Kind, Ticks},
    nal,
};

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
    play(form, data, Ticks::from_millis(i64::from(first) * 40));
    let Some(found) = scan(form, data) else { return };
    assert!(found.head as u64 <= found.size && found.size <= data.len() as u64);
    assert!(found.frames > 0 && found.last <= found.duration);
    let mut kept = data[..found.size as usize].to_vec();
    found.summary().write_into(form, &mut kept[..found.head]);
    let again = scan(form, &kept).expect("what was whole stays whole");
    assert_eq!((again.size, again.frames, again.duration), (found.size, found.frames, found.duration));
    assert_eq!(again.index.entries(), found.index.entries());
});

/// Plays the file, from its beginning and from the key frame before `from`.
fn play(form: Form, mut data: &[u8], from: Ticks) {
    let Ok(mut reader) = FileReader::open(form, &mut data) else { return };
    assert!(reader.head().size <= data.len() as u64);
    for seek in [None, Some(from)] {
        if let Some(to) = seek {
            reader.seek(to);
        }
        let (mut units, mut rounds) = (vec![], 0);
        while reader.read(&mut data, &mut units).unwrap_or(false) {
            rounds += 1;
            // Each takes a piece of the file.
            assert!(rounds <= data.len() + 1, "reading does not end");
        }
        for unit in units {
            if unit.kind == Kind::Video {
                let total: usize = nal::length_prefixed(&unit.data).map(|nal| nal.len() + 4).sum();
                assert_eq!(total, unit.data.len());
                assert!(unit.tracks.video.is_some());
            }
        }
    }
}
