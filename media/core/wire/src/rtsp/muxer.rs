//! A live stream as interleaved packets (RFC 2326 §10.12): `$`, channel, length, packet. Made once for all players of a
//! stream; who takes datagrams finds the packets by the same lengths.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    chunk::Chunk,
    media::{AccessUnit, Kind, Ticks, Tracks},
    packetize::{self, Packetizer},
    rtsp::{TrackStart, track_formats},
};

/// Stream time between two sender reports of a track, from which players learn how tracks lie to each other.
const REPORTS: Ticks = Ticks::from_millis(5_000);

/// Seconds from 1900 to 1970 (RFC 3550 §4).
const NTP_EPOCH: u64 = 2_208_988_800;

/// What a muxer begins with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beginning {
    /// Random bits, for sources, sequence numbers and timestamps (RFC 3550 §5.1, §8.1).
    pub seed: u64,
    /// The wall clock when the stream's own clock stood at zero, in milliseconds of the UNIX epoch.
    pub epoch_ms: i64,
}

/// Which tracks are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// The pictures.
    pub video: bool,
    /// The sound.
    pub audio: bool,
}

impl Selection {
    fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Video => self.video,
            Kind::Audio => self.audio,
        }
    }
}

/// Makes the packets of one stream; track `n` of its description is in channel `2n`, its reports in `2n + 1`.
#[derive(Debug)]
pub struct Muxer {
    beginning: Beginning,
    selection: Selection,
    described: Option<Arc<Tracks>>,
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
    pub fn new(beginning: Beginning, selection: Selection) -> Self {
        Self { beginning, selection, described: None, tracks: Vec::new(), packets: Vec::new() }
    }

    /// Whether a player to whom `described` was described can go on with `tracks`.
    pub fn can_follow(described: &Tracks, tracks: &Tracks) -> bool {
        let video = |tracks: &Tracks| tracks.video.as_ref().map(|track| track.codec);
        described.audio == tracks.audio && video(described) == video(tracks)
    }

    /// Whether a player of `selection` can go on with `tracks` though sound is left out for a while, or is none of its own.
    pub fn can_stay(selection: Selection, described: &Tracks, tracks: &Tracks) -> bool {
        let silent = !selection.audio || tracks.audio.is_none() && tracks.video.is_some();
        let video = |tracks: &Tracks| tracks.video.as_ref().map(|track| track.codec);
        video(described) == video(tracks) && (silent || described.audio == tracks.audio)
    }

    /// Begins anew with `tracks`, as they were described.
    fn set_tracks(&mut self, tracks: &Arc<Tracks>) {
        self.described = Some(Arc::clone(tracks));
        let made = track_formats(tracks).into_iter().zip(0_u8..).map(|(format, number)| {
            // Which of the 64 bits go where matters only in that tracks differ.
            let bits = self.beginning.seed.rotate_left(u32::from(number) * 29) ^ u64::from(number);
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
        self.tracks = made.filter(|track| self.selection.has(track.kind)).collect();
    }

    /// The packets of one unit, behind a report if one is due; `None` if its track is not sent. Where the tracks change so
    /// that a player cannot follow, new ones begin.
    pub fn write(&mut self, unit: &AccessUnit) -> Option<Chunk> {
        let stays = |known: &Arc<Tracks>| {
            Arc::ptr_eq(known, &unit.tracks) || Self::can_stay(self.selection, known, &unit.tracks)
        };
        if !self.described.as_ref().is_some_and(stays) {
            self.set_tracks(&unit.tracks);
        }
        let track = self.tracks.iter_mut().find(|track| track.kind == unit.kind)?;
        self.packets.clear();
        track.packetizer.packetize(unit, &mut self.packets);
        let size = self.packets.iter().map(|packet| 4 + packet.len()).sum::<usize>();
        let mut out = BytesMut::with_capacity(size + 4 + REPORT_LEN);
        if track.reported.is_none_or(|at| unit.dts - at >= REPORTS) {
            track.reported = Some(unit.dts);
            track.put_report(unit.pts, self.beginning.epoch_ms + unit.pts.as_millis(), &mut out);
        }
        for packet in &self.packets {
            put_frame(&mut out, track.channel, packet.len());
            packet.parts().into_iter().for_each(|part| out.put_slice(part));
        }
        (!out.is_empty()).then(|| Chunk::from_bytes(out.freeze()))
    }

    /// What the next packet of each track is, and the timestamp that belongs to `time`.
    pub fn upcoming(&self, time: Ticks) -> Vec<TrackStart> {
        let start = |track: &Track| TrackStart {
            track: usize::from(track.channel / 2),
            seq: track.packetizer.next_seq(),
            timestamp: track.packetizer.timestamp(time, track.clock_rate),
        };
        self.tracks.iter().map(start).collect()
    }

    /// Tells that every track has ended (RFC 3550 §6.6): players of datagrams see no end of a connection.
    pub fn farewell(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.tracks.len() * (4 + FAREWELL_LEN));
        for track in &self.tracks {
            put_frame(&mut out, track.channel + 1, FAREWELL_LEN);
            out.put_slice(&[0x80, 201, 0, 1]);
            out.put_u32(track.ssrc);
            out.put_slice(&[0x81, 203, 0, 1]);
            out.put_u32(track.ssrc);
        }
        out.freeze()
    }
}

const REPORT_LEN: usize = 28;

/// An empty receiver report and the goodbye behind it.
const FAREWELL_LEN: usize = 16;

impl Track {
    /// A sender report (RFC 3550 §6.4.1): which wall clock time belongs to `time`.
    fn put_report(&self, time: Ticks, wall_ms: i64, out: &mut BytesMut) {
        let wall_ms = wall_ms.max(0).unsigned_abs();
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
    use super::*;
    use crate::{
        media::{AudioCodec, VideoCodec},
        rtp::Packet,
        testing,
    };

    const BOTH: Selection = Selection { video: true, audio: true };

    fn muxer(selection: Selection) -> Muxer {
        Muxer::new(Beginning { seed: 0x0123_4567_89AB_CDEF, epoch_ms: 1_700_000_000_000 }, selection)
    }

    fn packets(muxer: &mut Muxer, unit: &AccessUnit) -> Vec<(u8, Bytes)> {
        muxer.write(unit).map(|chunk| interleaved(&chunk.to_bytes()).collect()).unwrap_or_default()
    }

    #[test]
    fn each_track_has_its_channels_and_its_reports() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut muxer = muxer(BOTH);
        let mut ssrcs = Vec::new();
        let mut channels = Vec::new();
        for second in 0..12 {
            for unit in [
                testing::video(&tracks, second * 1000, second * 1000, true),
                testing::audio(&tracks, second * 1000, 160),
            ] {
                for (channel, packet) in packets(&mut muxer, &unit) {
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
        let packets = packets(&mut muxer(BOTH), &testing::video(&tracks, 440, 500, true));
        let report = &packets[0].1;
        assert_eq!(report[8..12], 3_908_988_800_u32.to_be_bytes());
        assert_eq!(report[12..16], (1_u32 << 31).to_be_bytes(), "half a second");
        let timestamp = Packet::parse(&packets[1].1).unwrap().timestamp;
        assert_eq!(report[16..20], timestamp.to_be_bytes());
    }

    #[test]
    fn every_track_that_was_sent_says_goodbye() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let mut muxer = muxer(BOTH);
        assert!(muxer.farewell().is_empty(), "nothing was sent");
        let sent = packets(&mut muxer, &testing::video(&tracks, 0, 0, true));
        let told: Vec<_> = interleaved(&muxer.farewell()).collect();
        assert_eq!(told.iter().map(|(channel, _)| *channel).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(told[0].1[12..], sent[0].1[4..8], "the source is that of the reports");
        assert!(told.iter().all(|(_, packet)| packet.len() == FAREWELL_LEN && packet[9] == 203));
    }

    #[test]
    fn only_what_was_selected_is_sent_under_its_number() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::Aac)));
        let mut sound = muxer(Selection { video: false, audio: true });
        assert_eq!(packets(&mut sound, &testing::video(&tracks, 0, 0, true)), []);
        let channels: Vec<_> = packets(&mut sound, &testing::audio(&tracks, 0, 100))
            .iter()
            .map(|(channel, _)| *channel)
            .collect();
        assert_eq!(channels, [3, 2]);
    }

    #[test]
    fn sound_that_is_left_out_comes_back_as_it_was() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
        let silent = Arc::new(Tracks { audio: None, ..Tracks::clone(&tracks) });
        let mut muxer = muxer(BOTH);
        packets(&mut muxer, &testing::video(&tracks, 0, 0, true));
        packets(&mut muxer, &testing::audio(&tracks, 0, 160));
        packets(&mut muxer, &testing::video(&silent, 40, 40, true));
        let told = muxer.upcoming(Ticks::from_millis(80));
        let made = [
            packets(&mut muxer, &testing::video(&tracks, 80, 80, true)),
            packets(&mut muxer, &testing::audio(&tracks, 80, 160)),
        ];
        for (start, packets) in told.iter().zip(made) {
            let packet = Packet::parse(&packets.last().unwrap().1).unwrap();
            assert_eq!((packet.seq, packet.timestamp), (start.seq, start.timestamp));
        }
        let pictures = Selection { video: true, audio: false };
        assert!(!Muxer::can_stay(BOTH, &silent, &tracks) && Muxer::can_stay(pictures, &silent, &tracks));
    }

    #[test]
    fn new_parameter_sets_go_on_and_new_codings_begin_anew() {
        let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
        let mut larger = (*tracks).clone();
        larger.video.as_mut().unwrap().width = 640;
        let larger = Arc::new(larger);
        let other = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711U)));
        assert!(Muxer::can_follow(&tracks, &larger) && !Muxer::can_follow(&tracks, &other));
        let mut muxer = muxer(BOTH);
        let seqs: Vec<_> = [&tracks, &larger, &other]
            .into_iter()
            .zip(0..)
            .map(|(tracks, number)| {
                let packets = packets(&mut muxer, &testing::video(tracks, number * 40, number * 40, true));
                Packet::parse(&packets.last().unwrap().1).unwrap().seq
            })
            .collect();
        assert_eq!(seqs[1], seqs[0].wrapping_add(1));
        assert_eq!(seqs[2], seqs[0], "a stream of its own");
    }
}
