//! RTP packets (RFC 3550 §5.1) and what a receiver counts about them (§A.1, §A.3, §A.8).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                             SSRC                              |
//! |                  CSRC × CC, then extension if X               |
//! ```

use std::time::{Duration, Instant};

use thiserror::Error;

/// Why bytes are no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RtpError {
    /// Fewer than the 12 bytes of a fixed header.
    #[error("{0} bytes are too few for an RTP header")]
    Short(usize),
    /// The version is not 2.
    #[error("version {0} instead of 2")]
    Version(u8),
    /// CSRC list or header extension run past the end.
    #[error("CSRC list or extension ends at {end} of {len} bytes")]
    Header {
        /// Where the header would end.
        end: usize,
        /// How long the packet is.
        len: usize,
    },
    /// The padding count is 0 or longer than the payload.
    #[error("padding of {0} bytes does not fit")]
    Padding(u8),
}

/// A packet; the payload is a view of the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// 0..=127.
    pub payload_type: u8,
    /// The profile's mark, mostly the end of a frame.
    pub marker: bool,
    /// Sequence number.
    pub seq: u16,
    /// In units of the payload's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// Header, CSRC list, extension and padding cut off.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one packet (RFC 3550 §5.1, §5.3.1).
    pub fn parse(data: &'a [u8]) -> Result<Self, RtpError> {
        let Some((head, rest)) = data.split_first_chunk::<12>() else {
            return Err(RtpError::Short(data.len()));
        };
        if head[0] >> 6 != 2 {
            return Err(RtpError::Version(head[0] >> 6));
        }
        Ok(Self {
            payload_type: head[1] & 0x7F,
            marker: head[1] & 0x80 != 0,
            seq: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            payload: payload(head[0], rest, data.len())?,
        })
    }

    /// Reads the packet of this source and number, if it has nothing but the fixed header before its payload and no padding
    /// behind it, as nearly all have; `None` says nothing about it.
    #[inline]
    pub fn parse_next(data: &'a [u8], ssrc: u32, seq: u16) -> Option<Self> {
        let (&[0x80, kind, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3], payload) =
            data.split_first_chunk::<12>()?
        else {
            return None;
        };
        let expected = u16::from_be_bytes([s0, s1]) == seq && u32::from_be_bytes([r0, r1, r2, r3]) == ssrc;
        (expected && !is_rtcp(data)).then_some(Self {
            payload_type: kind & 0x7F,
            marker: kind & 0x80 != 0,
            seq,
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc,
            payload,
        })
    }
}

/// Cuts CSRC list, extension and padding off what follows the fixed header.
fn payload(flags: u8, rest: &[u8], len: usize) -> Result<&[u8], RtpError> {
    let mut start = usize::from(flags & 0x0F) * 4;
    if flags & 0x10 != 0 {
        let words = rest.get(start + 2..start + 4).ok_or(RtpError::Header { end: start + 16, len })?;
        start += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
    }
    let payload = rest.get(start..).ok_or(RtpError::Header { end: start + 12, len })?;
    if flags & 0x20 == 0 {
        return Ok(payload);
    }
    match payload.last() {
        Some(&pad) if pad > 0 && usize::from(pad) <= payload.len() => {
            Ok(&payload[..payload.len() - usize::from(pad)])
        }
        pad => Err(RtpError::Padding(pad.copied().unwrap_or(0))),
    }
}

/// Whether a datagram of version 2 is RTCP (RFC 5761 §4: packet types 192 to 223).
pub fn is_rtcp(data: &[u8]) -> bool {
    matches!(data, [flags, 192..=223, ..] if flags >> 6 == 2)
}

/// Extends `seq` to the number nearest `near` (RFC 3550 §A.1).
pub(crate) fn extend(seq: u16, near: u64) -> u64 {
    let delta = seq.wrapping_sub((near & 0xFFFF) as u16).cast_signed();
    near.wrapping_add_signed(i64::from(delta))
}

/// How a packet stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first of the source.
    First,
    /// The next one, or one after a gap.
    Forward,
    /// It came late and fills a gap.
    Reordered,
    /// It came before.
    Duplicate,
    /// Its number is far off; it counts only if the next one follows it (RFC 3550 §A.1).
    Suspect,
    /// It follows a suspect one: the sender restarted, and counting begins anew.
    Restarted,
}

/// A jump ahead by more is a restart, not loss (RFC 3550 §A.1).
pub const MAX_DROPOUT: u64 = 3000;
/// A packet behind by more is a restart, not reordering (RFC 3550 §A.1).
pub const MAX_MISORDER: u64 = 100;

/// What RFC 3550 counts about one source. The sums survive restarts of its numbering.
#[derive(Debug, Clone)]
pub struct Statistics {
    clock_rate: u32,
    base: u64,
    highest: Option<u64>,
    seen: u128, // bit n: highest - n came
    suspect: Option<u16>,
    expected_before: u64, // of numberings that ended by a restart
    received: u64,
    duplicates: u64,
    reordered: u64,
    restarts: u64,
    jitter: u64, // sixteenths of a timestamp unit
    transit: Option<(Instant, u32)>,
    interval: (u64, u64), // expected and received at the last report
}

impl Statistics {
    /// For timestamps that count `clock_rate` per second (90,000 for video and PS).
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            base: 0,
            highest: None,
            seen: 0,
            suspect: None,
            expected_before: 0,
            received: 0,
            duplicates: 0,
            reordered: 0,
            restarts: 0,
            jitter: 0,
            transit: None,
            interval: (0, 0),
        }
    }

    /// Counts one packet.
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet<'_>) -> Arrival {
        let arrival = self.place(packet.seq);
        match arrival {
            Arrival::Duplicate => self.duplicates += 1,
            Arrival::Suspect => {}
            _ => {
                self.received += 1;
                self.measure(now, packet.timestamp);
            }
        }
        arrival
    }

    /// The number that follows the highest one, if nothing else is awaited.
    pub fn next(&self) -> Option<u16> {
        self.highest.filter(|_| self.suspect.is_none()).map(|highest| (highest as u16).wrapping_add(1))
    }

    /// Counts so many packets that came in order, from `next` on. Their times are told by `measure`.
    pub fn count(&mut self, packets: u16) {
        let Some(highest) = &mut self.highest else { return };
        *highest += u64::from(packets);
        self.received += u64::from(packets);
        let came = 1_u128.checked_shl(u32::from(packets)).map_or(u128::MAX, |end| end - 1);
        self.seen = self.seen.checked_shl(u32::from(packets)).unwrap_or(0) | came;
    }

    fn place(&mut self, seq: u16) -> Arrival {
        let Some(highest) = self.highest else {
            self.restart(seq);
            return Arrival::First;
        };
        let number = extend(seq, highest);
        if number > highest && number - highest < MAX_DROPOUT {
            self.seen = self.seen.checked_shl((number - highest) as u32).unwrap_or(0) | 1;
            self.highest = Some(number);
            self.suspect = None;
            return Arrival::Forward;
        }
        if number <= highest && highest - number < MAX_MISORDER {
            return self.look_back(number, highest - number);
        }
        if self.suspect == Some(seq) {
            self.expected_before += highest - self.base + 1;
            self.restarts += 1;
            self.restart(seq);
            return Arrival::Restarted;
        }
        self.suspect = Some(seq.wrapping_add(1));
        Arrival::Suspect
    }

    /// A new connection brings what follows: its numbers need not go on from the last one's, and what lies between them
    /// was not lost.
    pub fn renumber(&mut self) {
        if let Some(highest) = self.highest.take() {
            self.expected_before += highest - self.base + 1;
        }
        self.suspect = None;
        self.transit = None;
    }

    fn look_back(&mut self, number: u64, distance: u64) -> Arrival {
        let bit = 1_u128 << distance;
        if self.seen & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        self.base = self.base.min(number); // earlier than the first one that came
        self.reordered += 1;
        Arrival::Reordered
    }

    fn restart(&mut self, seq: u16) {
        self.base = (1 << 16) + u64::from(seq);
        self.highest = Some(self.base);
        self.seen = 1;
        self.suspect = None;
        self.transit = None;
    }

    /// Interarrival jitter (RFC 3550 §A.8), from packets of different timestamps only: all packets of one
    /// frame carry the same one, and a frame's burst is not jitter.
    pub fn measure(&mut self, now: Instant, timestamp: u32) {
        let Some((then, before)) = self.transit else {
            self.transit = Some((now, timestamp));
            return;
        };
        if timestamp == before {
            return;
        }
        self.transit = Some((now, timestamp));
        let stamped = i128::from(timestamp.wrapping_sub(before).cast_signed());
        let passed =
            now.saturating_duration_since(then).as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
        let deviation = stamped.unsigned_abs().abs_diff(passed).min(u128::from(u64::MAX)) as u64;
        if stamped >= 0 && deviation < u64::from(self.clock_rate) * 10 {
            self.jitter = self.jitter + deviation - ((self.jitter + 8) >> 4); // a jump of the clock is no jitter
        }
    }

    /// Packets that should have come (§A.3).
    pub fn expected(&self) -> u64 {
        self.expected_before + self.highest.map_or(0, |highest| highest - self.base + 1)
    }

    /// Packets that came, duplicates not counted.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that have not come (yet).
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Packets that came twice.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets that came later than a following one.
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// How often the sender began new sequence numbers.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Interarrival jitter in units of the timestamp (§A.8).
    pub fn jitter_units(&self) -> u32 {
        (self.jitter >> 4).min(u64::from(u32::MAX)) as u32
    }

    /// Interarrival jitter.
    pub fn jitter(&self) -> Duration {
        Duration::from_nanos((self.jitter >> 4).saturating_mul(1_000_000_000) / u64::from(self.clock_rate))
    }

    /// Extended highest sequence number received, as in a report block.
    pub fn highest(&self) -> u32 {
        self.highest.map_or(0, |highest| highest.wrapping_sub(1 << 16) as u32)
    }

    /// Share lost since the last call, in 1/256 (§A.3).
    pub fn take_fraction_lost(&mut self) -> u8 {
        let (expected, received) = (self.expected(), self.received);
        let (before, had) = std::mem::replace(&mut self.interval, (expected, received));
        let (due, came) = (expected.saturating_sub(before), received - had);
        if due == 0 || came >= due {
            return 0;
        }
        ((due - came) * 256 / due).min(255) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::start;

    fn packet(seq: u16) -> Packet<'static> {
        Packet {
            payload_type: 96,
            marker: false,
            seq,
            timestamp: u32::from(seq) * 3600,
            ssrc: 1,
            payload: &[],
        }
    }

    fn place(statistics: &mut Statistics, numbers: &[u16]) -> Vec<Arrival> {
        numbers.iter().map(|&seq| statistics.handle_packet(start(), &packet(seq))).collect()
    }

    #[test]
    fn padding_extension_and_sources_are_cut_off() {
        let mut bytes = vec![0xB1, 0xE0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2];
        bytes.extend([0, 0, 0, 3]); // CSRC
        bytes.extend([0xBE, 0xDE, 0, 1, 9, 9, 9, 9]); // extension of one word
        bytes.extend([b'p', b'a', 0, 0, 3]); // payload and padding
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.payload_type, packet.marker, packet.seq), (96, true, 9));
        assert_eq!((packet.timestamp, packet.ssrc, packet.payload), (1, 2, &b"pa"[..]));
    }

    #[test]
    fn every_cut_of_a_header_is_an_error() {
        let bytes = [0xB1, 96, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 9, 9, 9, 9, 1];
        for len in 0..bytes.len() {
            assert!(Packet::parse(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Packet::parse(&bytes).unwrap().payload.is_empty());
        assert_eq!(Packet::parse(&[0; 12]), Err(RtpError::Version(0)));
    }

    #[test]
    fn loss_duplicates_and_reordering_are_told_apart() {
        use Arrival::{Duplicate, First, Forward, Reordered};
        let mut statistics = Statistics::new(90_000);
        let seen = place(&mut statistics, &[65_534, 65_535, 2, 0, 0, 1, 5]);
        assert_eq!(seen, [First, Forward, Forward, Reordered, Duplicate, Reordered, Forward]);
        assert_eq!((statistics.expected(), statistics.received(), statistics.lost()), (8, 6, 2));
        assert_eq!((statistics.duplicates(), statistics.reordered()), (1, 2));
        assert_eq!(statistics.highest(), 65_536 + 5);
        assert_eq!(statistics.take_fraction_lost(), 64);
        assert_eq!(statistics.take_fraction_lost(), 0);
    }

    #[test]
    fn two_packets_in_a_row_restart_the_numbering_and_one_does_not() {
        use Arrival::{Forward, Restarted, Suspect};
        let mut statistics = Statistics::new(90_000);
        place(&mut statistics, &[10, 11]);
        let seen = place(&mut statistics, &[40_000, 12, 40_000, 40_001, 40_002]);
        assert_eq!(seen, [Suspect, Forward, Suspect, Restarted, Forward]);
        assert_eq!((statistics.expected(), statistics.received(), statistics.restarts()), (5, 5, 1));
    }

    #[test]
    fn what_lies_between_two_connections_was_not_lost() {
        use Arrival::{First, Forward};
        let mut statistics = Statistics::new(90_000);
        statistics.renumber();
        place(&mut statistics, &[10, 11, 13]);
        statistics.renumber();
        assert_eq!(statistics.lost(), 1);
        assert_eq!(place(&mut statistics, &[2_000, 2_001, 2_003]), [First, Forward, Forward]);
        assert_eq!((statistics.expected(), statistics.received(), statistics.lost()), (8, 6, 2));
    }

    #[test]
    fn packets_counted_together_count_like_each_alone() {
        for run in [1, 3, 127, 128, 700] {
            let (mut alone, mut together) = (Statistics::new(90_000), Statistics::new(90_000));
            let first = 65_500_u16;
            for statistics in [&mut alone, &mut together] {
                place(statistics, &[first, first.wrapping_add(1)]);
            }
            let numbers: Vec<u16> = (2..2 + run).map(|step| first.wrapping_add(step)).collect();
            place(&mut alone, &numbers);
            assert_eq!(together.next(), numbers.first().copied());
            together.count(run);
            // What came is known of both, to the same depth.
            let late: Vec<u16> = (0..99).map(|back| first.wrapping_add(run + 1).wrapping_sub(back)).collect();
            assert_eq!(place(&mut alone, &late), place(&mut together, &late), "{run}");
            assert_eq!((alone.expected(), alone.received()), (together.expected(), together.received()));
            assert_eq!((alone.highest(), alone.next()), (together.highest(), together.next()));
        }
        let mut restarting = Statistics::new(90_000);
        place(&mut restarting, &[10, 11, 40_000]);
        assert_eq!(restarting.next(), None, "a suspect is awaited to go on");
    }

    #[test]
    fn only_the_next_plain_packet_is_read_the_short_way() {
        let plain = [0x80, 0xE0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 7];
        assert_eq!(Packet::parse_next(&plain, 2, 9), Packet::parse(&plain).ok());
        assert_eq!((Packet::parse_next(&plain, 2, 8), Packet::parse_next(&plain, 3, 9)), (None, None));
        assert_eq!(Packet::parse_next(&plain[..11], 2, 9), None);
        for (at, byte) in [(0, 0xA0), (0, 0x90), (0, 0x81), (0, 0x40), (1, 200)] {
            let mut odd = plain;
            odd[at] = byte;
            assert_eq!(Packet::parse_next(&odd, 2, 9), None, "{odd:x?}");
        }
    }

    #[test]
    fn jitter_follows_the_deviation() {
        let mut statistics = Statistics::new(90_000);
        let (mut now, mut seq) = (start(), 0);
        for late in [0, 10, 0, 10, 0, 10, 0, 10].into_iter().cycle().take(400) {
            statistics.handle_packet(now + Duration::from_millis(late), &packet(seq));
            (now, seq) = (now + Duration::from_millis(40), seq + 1);
        }
        let jitter = statistics.jitter().as_micros();
        assert!((9_000..=10_000).contains(&jitter), "{jitter}");
    }

    #[test]
    fn reports_are_not_packets() {
        assert!(is_rtcp(&[0x80, 200, 0, 0]));
        assert!(!is_rtcp(&[0x80, 96, 0, 0]));
        assert!(!is_rtcp(&[0x00, 200]));
    }
}
