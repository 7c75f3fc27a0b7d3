//! Unpacks a program stream or transport stream from a file as if it came over RTP, for players and probes to judge.
//!
//! `unpack FILE OUT_DIR`: each pack is sent in packets of 1400 bytes, stamped with its SCR; transport packets go
//! seven at a time. Writes `video.h264` or
//! `video.h265` and `audio.raw`, and prints tracks, units (time, size, `K` for key frames) and faults.

use std::{error::Error, fs, io::Write, path::Path, time::Duration};

use wire::{
    fault::FaultCounts,
    media::{Kind, VideoCodec},
    nal, ps, rtp,
    unpack::{Options, Output, Unpacker},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, out] = arguments.as_slice() else { return Err("usage: unpack FILE OUT_DIR".into()) };
    fs::create_dir_all(out)?;
    let data = fs::read(file)?;
    let (mut files, mut faults) = (Files::create(Path::new(out))?, FaultCounts::new());
    let mut unpacker = Unpacker::new(Options::default());
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let mut now = std::time::Instant::now();
    let mut seq = 0_u16;
    for pack in packs(&data) {
        let count = pack.len().div_ceil(1400);
        for (number, payload) in pack.chunks(1400).enumerate() {
            seq = seq.wrapping_add(1);
            let (timestamp, marker) = (clock(pack), number + 1 == count);
            let packet = rtp::Packet { payload_type: 96, marker, seq, timestamp, ssrc: 1, payload };
            unpacker.handle_packet(now, &packet);
            files.drain(&mut unpacker, &mut faults)?;
        }
        now += Duration::from_millis(1);
    }
    unpacker.handle_timeout(now + Duration::from_secs(10));
    files.drain(&mut unpacker, &mut faults)?;
    for (name, number) in faults.iter() {
        println!("fault {name} {number}");
    }
    Ok(())
}

/// The stream cut before each pack header, or into groups of transport packets.
fn packs(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    if data.first() == Some(&0x47) {
        return data.chunks(7 * 188).collect::<Vec<_>>().into_iter();
    }
    let mut starts: Vec<usize> = memchr::memmem::find_iter(data, &[0, 0, 1, 0xBA])
        .filter(|&at| ps::begins_pack(&data[at..]))
        .collect();
    starts.push(data.len());
    starts.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect::<Vec<_>>().into_iter()
}

/// The low 32 bits of a pack's SCR (ISO/IEC 13818-1 §2.5.3.3).
fn clock(pack: &[u8]) -> u32 {
    let Some(bytes) = pack.get(4..9) else { return 0 };
    let bits = bytes.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    ((bits >> 6 & 3 << 30) | (bits >> 5 & 0x7FFF << 15) | (bits >> 4 & 0x7FFF)) as u32
}

struct Files {
    video: [fs::File; 2],
    audio: fs::File,
}

impl Files {
    fn create(out: &Path) -> std::io::Result<Self> {
        let create = |name: &str| fs::File::create(out.join(name));
        Ok(Self { video: [create("video.h264")?, create("video.h265")?], audio: create("audio.raw")? })
    }

    fn drain(&mut self, unpacker: &mut Unpacker, faults: &mut FaultCounts) -> std::io::Result<()> {
        while let Some(output) = unpacker.poll_output() {
            let unit = match output {
                Output::Unit(unit) => unit,
                Output::Tracks(tracks) => {
                    println!("{tracks:?}");
                    continue;
                }
                Output::Payload(payload) => {
                    println!("payload {}", payload.name());
                    continue;
                }
                Output::Fault(fault) => {
                    faults.count(fault);
                    continue;
                }
            };
            let key = if unit.key { " K" } else { "" };
            println!("{:?} dts {} pts {} {}{key}", unit.kind, unit.dts.0, unit.pts.0, unit.data.len());
            if unit.kind == Kind::Audio {
                self.audio.write_all(&unit.data)?;
                continue;
            }
            let h265 = unit.tracks.video.as_ref().is_some_and(|track| track.codec == VideoCodec::H265);
            for nal in nal::length_prefixed(&unit.data) {
                self.video[usize::from(h265)].write_all(&[0, 0, 0, 1])?;
                self.video[usize::from(h265)].write_all(nal)?;
            }
        }
        Ok(())
    }
}
