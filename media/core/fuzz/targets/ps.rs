//! A program stream, cut two ways: the same units come out, and no payload is invented.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    fault::Fault,
    inspect::demux_ps,
    ps::{Demuxer, PesHeader, ProgramMap, Sink},
};

#[derive(Debug, Default, PartialEq)]
struct Told {
    headers: Vec<(PesHeader, usize)>,
    ends: Vec<(bool, usize)>,
    maps: Vec<ProgramMap>,
    faults: Vec<Fault>,
    payload: Vec<u8>,
}

impl Sink for Told {
    fn map(&mut self, map: &ProgramMap) {
        assert!(map.streams.len() <= 32);
        self.maps.push(map.clone());
    }

    fn pes(&mut self, header: &PesHeader) {
        self.headers.push((*header, self.payload.len()));
    }

    fn data(&mut self, bytes: &[u8]) {
        self.payload.extend(bytes);
    }

    fn pes_end(&mut self, whole: bool) {
        self.ends.push((whole, self.payload.len()));
    }

    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}

fn read(data: &[u8], step: usize) -> Told {
    let (mut told, mut demuxer) = (Told::default(), Demuxer::new());
    for piece in data.chunks(step) {
        demuxer.handle_bytes(piece, &mut told);
    }
    demuxer.finish(&mut told);
    told
}

fuzz_target!(|data: &[u8]| {
    let Some((&step, data)) = data.split_first() else { return };
    let whole = read(data, usize::MAX);
    assert!(whole.payload.len() <= data.len());
    assert_eq!(whole.headers.len(), whole.ends.len());
    assert_eq!(read(data, usize::from(step) + 1), whole);
    assert_eq!(demux_ps(data).0.len(), whole.headers.len());
});
