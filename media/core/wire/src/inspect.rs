//! The demuxer's findings as plain values: for diagnosis, and to compare it with other readers.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    fault::Fault,
    ps::{Demuxer, PesHeader, Sink},
};

/// A PES packet of video or audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PesRecord {
    /// C0 to DF audio, E0 to EF video.
    pub stream_id: u8,
    /// Presentation time in 90 kHz, 33 bits.
    pub pts: Option<u64>,
    /// Decoding time in 90 kHz, 33 bits.
    pub dts: Option<u64>,
    /// Its payload.
    pub payload: Bytes,
    /// It was as long as it said.
    pub whole: bool,
}

/// All PES packets of video and audio in a program stream, and what it gets wrong. Reading begins at the first
/// pack header.
pub fn demux_ps(data: &[u8]) -> (Vec<PesRecord>, Vec<Fault>) {
    let mut records = Records::default();
    let mut demuxer = Demuxer::new();
    demuxer.handle_bytes(data, &mut records);
    demuxer.finish(&mut records);
    (records.done, records.faults)
}

#[derive(Default)]
struct Records {
    done: Vec<PesRecord>,
    faults: Vec<Fault>,
    header: Option<PesHeader>,
    payload: BytesMut,
}

impl Sink for Records {
    fn pes(&mut self, header: &PesHeader) {
        self.header = Some(*header);
    }

    fn data(&mut self, bytes: &[u8]) {
        self.payload.put_slice(bytes);
    }

    fn pes_end(&mut self, whole: bool) {
        let Some(PesHeader { stream_id, pts, dts, .. }) = self.header.take() else { return };
        let payload = self.payload.split().freeze();
        self.done.push(PesRecord { stream_id, pts, dts, payload, whole });
    }

    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}
