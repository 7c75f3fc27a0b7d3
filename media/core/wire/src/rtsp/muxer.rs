//! A live stream as interleaved packets (RFC 2326 §10.12): `$`, channel, length, packet. Made once for all players of a
//! stream; who takes datagrams finds the packets by the same lengths.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    chunk::Chunk,
    media::{AccessUnit, Kind, Ticks, Tracks},
    packetize::{self, Packetizer},
    rtsp::track_formats,
};

/// Stream time between two sender reports of a track, from which players learn how tracks lie to each other.
const REPORTS: Ticks = Ticks::from_millis(5_000);

/// Seconds from 1900 to 1970 (RFC 3550 §4).
const NTP_EPOCH: u64 = 2_208_988_800;

/// What random numbers a muxer begins with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seed(pub u64);

/// Makes the packets of one stream; track `n` is in channel `2n`, its reports in `2n + 1`.
#[derive(Debug)]
pub struct Muxer {
    seed: Seed,
    tracks: Vec<Track>,
    packets: Vec<Chunk>,
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    channel: u8,
    clock_rate: u32,
    ssrc: u32,
    packetizer: Packetizer,
    reported: Option<Ticks>,
}

impl Muxer {
    /// One that has sent nothing. All players of a stream share its numbers.
    pub fn new(seed: Seed) -> Self {
        Self { seed, tracks: Vec::new(), packets: Vec::new() }
    }

    /// Begins with `tracks`, as they were described.
    pub fn set_tracks(&mut self, tracks: &Tracks) {
        let made = track_formats(tracks).into_iter().zip(0_u8..).map(|(format, number)| {
            // Which of the 64 bits go where matters only in that tracks differ.
            let bits = self.seed.0.rotate_left(u32::from(number) * 29) ^ u64::from(number);
            let ssrc = (bits >> 32) as u32;
            let options = packetize::Options {
                payload_type: format.payload_type,
                ssrc,
                first_seq: bits as u16,
                timestamp_offset: bits.rotate_left(13) as u32,
                packet_max: packetize::PACKET_MAX,
            };
            Track {
                kind: format.kind,
                channel: number * 2,
                clock_rate: format.clock_rate,
                ssrc,
                packetizer: Packetizer::new(options),
                reported: None,
            }
        });
        self.tracks = made.collect();
    }

    /// The packets of one unit, behind a report if one is due. `wall_ms`: milliseconds of the UNIX epoch now.
    pub fn write(&mut self, unit: &AccessUnit, wall_ms: u64) -> Chunk {
        let Some(track) = self.tracks.iter_mut().find(|track| track.kind == unit.kind) else {
            return Chunk::default();
        };
        self.packets.clear();
        track.packetizer.packetize(unit, &mut self.packets);
        let size = self.packets.iter().map(|packet| 4 + packet.len()).sum::<usize>();
        let mut out = BytesMut::with_capacity(size + 4 + REPORT_LEN);
        if track.reported.is_none_or(|at| unit.dts - at >= REPORTS) {
            track.reported = Some(unit.dts);
            track.put_report(unit.pts, wall_ms, &mut out);
        }
        for packet in &self.packets {
            put_frame(&mut out, track.channel, packet.len());
            packet.parts().into_iter().for_each(|part| out.put_slice(part));
        }
        Chunk::from_bytes(out.freeze())
    }
}

const REPORT_LEN: usize = 28;

impl Track {
    /// A sender report (RFC 3550 §6.4.1): which wall clock time belongs to `time`.
    fn put_report(&self, time: Ticks, wall_ms: u64, out: &mut BytesMut) {
        put_frame(out, self.channel + 1, REPORT_LEN);
        out.put_slice(&[0x80, 200, 0, 6]);
        out.put_u32(self.ssrc);
        out.put_u32((wall_ms / 1000 + NTP_EPOCH) as u32);
        out.put_u32((((wall_ms % 1000) << 32) / 1000) as u32);
        out.put_u32(self.packetizer.timestamp(time, self.clock_rate));
        let (packets, octets) = self.packetizer.sent();
        out.put_u32(packets);
        out.put_u32(octets);
    }
}

fn put_frame(out: &mut BytesMut, channel: u8, len: usize) {
    out.put_u8(b'$');
    out.put_u8(channel);
    out.put_u16(len as u16);
}

/// The packets in what [`Muxer::write`] made, each with its channel, without their frames.
pub fn interleaved(data: &Bytes) -> impl Iterator<Item = (u8, Bytes)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &[_, channel, high, low] = data.get(at..at + 4)? else { return None };
        let (start, len) = (at + 4, usize::from(u16::from_be_bytes([high, low])));
        at = start + len;
        (at <= data.len()).then(|| (channel, data.slice(start..at)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        media::{AudioCodec, VideoCodec},
        rtp::Packet,
        testing,
    };

    #[test]
    fn each_track_has_its_channels_and_its_reports() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut muxer = Muxer::new(Seed(0x0123_4567_89AB_CDEF));
        muxer.set_tracks(&tracks);
        let mut ssrcs = Vec::new();
        let mut channels = Vec::new();
        for second in 0..12 {
            for unit in [
                testing::video(&tracks, second * 1000, second * 1000, true),
                testing::audio(&tracks, second * 1000, 160),
            ] {
                let chunk = muxer.write(&unit, 1_700_000_000_500).to_bytes();
                for (channel, packet) in interleaved(&chunk) {
                    channels.push(channel);
                    match channel {
                        0 | 2 => ssrcs.push(Packet::parse(&packet).unwrap().ssrc),
                        _ => assert_eq!((packet.len(), packet[1]), (REPORT_LEN, 200)),
                    }
                }
            }
        }
        assert_eq!(&channels[..4], [1, 0, 3, 2]);
        channels.retain(|channel| *channel == 1);
        assert_eq!(channels.len(), 3, "at 0, 5 and 10 s");
        ssrcs.sort_unstable();
        ssrcs.dedup();
        assert_eq!(ssrcs.len(), 2);
    }

    #[test]
    fn a_report_ties_timestamps_to_the_wall_clock() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let mut muxer = Muxer::new(Seed(7));
        muxer.set_tracks(&tracks);
        let chunk = muxer.write(&testing::video(&tracks, 40, 80, true), 1_700_000_000_500).to_bytes();
        let packets: Vec<_> = interleaved(&chunk).collect();
        let report = &packets[0].1;
        assert_eq!(report[8..12], 3_908_988_800_u32.to_be_bytes());
        assert_eq!(report[12..16], (1_u32 << 31).to_be_bytes(), "half a second");
        let timestamp = Packet::parse(&packets[1].1).unwrap().timestamp;
        assert_eq!(report[16..20], timestamp.to_be_bytes());
    }

    #[test]
    fn a_track_that_was_not_described_is_not_sent() {
        let mut muxer = Muxer::new(Seed(7));
        muxer.set_tracks(&testing::tracks(VideoCodec::H264, None));
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)));
        assert!(muxer.write(&testing::audio(&tracks, 0, 100), 0).is_empty());
    }
}
