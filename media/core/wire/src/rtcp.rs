//! RTCP: what a receiver sends and reads (RFC 3550 §6).

use std::time::{Duration, Instant};

use crate::rtp::Statistics;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;

/// Seconds from 1900 to 1970 (§4).
const NTP_EPOCH: u64 = 2_208_988_800;

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// SR (§6.4.1); its report blocks concern what we send, and are left out.
    SenderReport {
        /// The sender.
        ssrc: u32,
        /// Wall clock, NTP format.
        ntp: u64,
        /// The same instant in units of the RTP timestamps.
        rtp_timestamp: u32,
        /// RTP packets sent.
        packets: u32,
        /// Payload bytes sent.
        bytes: u32,
    },
    /// RR (§6.4.2).
    ReceiverReport {
        /// The sender of the report.
        ssrc: u32,
    },
    /// SDES (§6.5), the first chunk.
    Description {
        /// Who is described.
        ssrc: u32,
        /// Its canonical name, if stated.
        cname: Option<&'a [u8]>,
    },
    /// BYE (§6.6), the first source.
    Bye {
        /// Who leaves.
        ssrc: u32,
    },
    /// Any other packet type.
    Other(u8),
}

/// Reads a compound packet; ends silently where the bytes make no sense any more.
pub fn messages(data: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let &[flags, kind, high, low, ..] = rest else { return None };
        let len = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        if flags >> 6 != 2 || len > rest.len() {
            return None;
        }
        let body = &rest[4..len];
        rest = &rest[len..];
        Some(read(kind, flags & 0x1F, body))
    })
}

fn read(kind: u8, count: u8, body: &[u8]) -> Message<'_> {
    let word =
        |at: usize| body.get(at..at + 4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    let message = match kind {
        SENDER_REPORT => (|| {
            let ntp = u64::from(word(4)?) << 32 | u64::from(word(8)?);
            let (rtp_timestamp, packets, bytes) = (word(12)?, word(16)?, word(20)?);
            Some(Message::SenderReport { ssrc: word(0)?, ntp, rtp_timestamp, packets, bytes })
        })(),
        RECEIVER_REPORT => word(0).map(|ssrc| Message::ReceiverReport { ssrc }),
        DESCRIPTION if count > 0 => {
            word(0).map(|ssrc| Message::Description { ssrc, cname: cname(&body[4..]) })
        }
        BYE if count > 0 => word(0).map(|ssrc| Message::Bye { ssrc }),
        _ => None,
    };
    message.unwrap_or(Message::Other(kind))
}

/// The CNAME item of an SDES chunk.
fn cname(mut items: &[u8]) -> Option<&[u8]> {
    while let [kind, len, rest @ ..] = items {
        let value = rest.get(..usize::from(*len))?;
        match *kind {
            0 => return None,
            CNAME => return Some(value),
            _ => items = &rest[value.len()..],
        }
    }
    None
}

/// Writes reports: as a receiver about one source, as a sender about itself. Receiver reports are owed only to a sender that sends its own
/// (GB/T 28181-2022 makes RTCP optional, and some devices close a connection on which anything comes back).
#[derive(Debug, Clone)]
pub struct Reporter {
    ssrc: u32,
    cname: String,
    heard: Option<(Instant, u32)>,
}

impl Reporter {
    /// `ssrc` and `cname` (at most 255 bytes are used) are our own.
    pub fn new(ssrc: u32, cname: impl Into<String>) -> Self {
        Self { ssrc, cname: cname.into(), heard: None }
    }

    /// A sender report with wall clock `ntp` came at `now`.
    pub fn handle_sender_report(&mut self, now: Instant, ntp: u64) {
        self.heard = Some((now, (ntp >> 16) as u32));
    }

    /// Whether the source sends reports, and therefore gets some.
    pub fn is_due(&self) -> bool {
        self.heard.is_some()
    }

    /// A compound of RR and SDES about `source` (§6.1: every compound has a CNAME).
    pub fn report(&self, now: Instant, source: u32, statistics: &mut Statistics) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.cname.len());
        let lost = statistics.lost().min(0x7F_FFFF) as u32;
        let (report, delay) = self.heard.map_or((0, 0), |(then, report)| (report, since(then, now)));
        out.extend([0x81, RECEIVER_REPORT, 0, 7]);
        for word in [
            self.ssrc,
            source,
            u32::from(statistics.take_fraction_lost()) << 24 | lost,
            statistics.highest(),
            statistics.jitter_units(),
            report,
            delay,
        ] {
            out.extend(word.to_be_bytes());
        }
        self.describe(&mut out);
        out
    }

    /// A compound of SR (§6.4.1) and SDES about what we send: `timestamp` was due at `wall_us`, microseconds of the UNIX
    /// epoch; `sent` are packets and payload octets.
    pub fn sender_report(&self, wall_us: u64, timestamp: u32, sent: (u32, u32)) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.cname.len());
        let fraction = ((wall_us % 1_000_000) << 32) / 1_000_000;
        out.extend([0x80, SENDER_REPORT, 0, 6]);
        for word in [
            self.ssrc,
            (wall_us / 1_000_000 + NTP_EPOCH) as u32, // modulo 2³², as NTP counts
            fraction as u32,
            timestamp,
            sent.0,
            sent.1,
        ] {
            out.extend(word.to_be_bytes());
        }
        self.describe(&mut out);
        out
    }

    /// A compound of SDES and BYE behind an empty RR (§6.6): nothing more comes from us.
    pub fn goodbye(&self) -> Vec<u8> {
        let mut out = vec![0x80, RECEIVER_REPORT, 0, 1];
        out.extend(self.ssrc.to_be_bytes());
        self.describe(&mut out);
        out.extend([0x81, BYE, 0, 1]);
        out.extend(self.ssrc.to_be_bytes());
        out
    }

    fn describe(&self, out: &mut Vec<u8>) {
        let name = &self.cname.as_bytes()[..self.cname.len().min(255)];
        let words = (4 + 2 + name.len()) / 4 + 1; // at least one zero byte ends the chunk
        out.extend([0x81, DESCRIPTION]);
        out.extend((words as u16).to_be_bytes());
        let start = out.len();
        out.extend(self.ssrc.to_be_bytes());
        out.extend([CNAME, name.len() as u8]);
        out.extend(name);
        out.resize(start + words * 4, 0);
    }
}

/// Delay in units of 1/65536 s (DLSR).
fn since(then: Instant, now: Instant) -> u32 {
    let delay = now.saturating_duration_since(then).min(Duration::from_secs(65_535));
    (delay.as_nanos() * 65_536 / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::start;

    fn sender_report() -> Vec<u8> {
        let mut report = vec![0x80, 200, 0, 6];
        for word in [0xAABB_CCDD_u32, 0x1111_2222, 0x3333_4444, 90_000, 10, 14_000] {
            report.extend(word.to_be_bytes());
        }
        report
    }

    #[test]
    fn what_a_sender_says_reads_back() {
        let sender = Reporter::new(9, "relay");
        let report = sender.sender_report(1_700_000_000_500_000, 90_000, (10, 14_000));
        let expected = Message::SenderReport {
            ssrc: 9,
            ntp: 3_908_988_800 << 32 | 1 << 31,
            rtp_timestamp: 90_000,
            packets: 10,
            bytes: 14_000,
        };
        let described = Message::Description { ssrc: 9, cname: Some(b"relay") };
        assert_eq!(messages(&report).collect::<Vec<_>>(), [expected, described]);
        let goodbye = sender.goodbye();
        let last: Vec<_> = messages(&goodbye).skip(1).collect();
        assert_eq!(last, [described, Message::Bye { ssrc: 9 }]);
    }

    #[test]
    fn a_report_reads_back_with_last_sr_and_delay() {
        let start = start();
        let mut reporter = Reporter::new(5, "gateway@example");
        assert!(!reporter.is_due());
        let Some(Message::SenderReport { ntp, .. }) = messages(&sender_report()).next() else {
            panic!("no sender report");
        };
        reporter.handle_sender_report(start, ntp);
        let report =
            reporter.report(start + Duration::from_millis(500), 0xAABB_CCDD, &mut Statistics::new(90_000));
        assert_eq!(report.len() % 4, 0);
        assert_eq!(&report[24..28], &0x2222_3333_u32.to_be_bytes());
        assert_eq!(&report[28..32], &32_768_u32.to_be_bytes());
        let seen: Vec<_> = messages(&report).collect();
        assert_eq!(
            seen,
            [
                Message::ReceiverReport { ssrc: 5 },
                Message::Description { ssrc: 5, cname: Some(b"gateway@example") }
            ]
        );
    }

    #[test]
    fn every_length_of_name_ends_with_a_zero_on_a_word() {
        let now = start();
        for len in 0..300 {
            let report = Reporter::new(1, "x".repeat(len)).report(now, 2, &mut Statistics::new(90_000));
            assert_eq!(report.len() % 4, 0);
            assert_eq!(report.last(), Some(&0));
            assert_eq!(messages(&report).count(), 2);
        }
    }

    #[test]
    fn a_compound_ends_where_it_is_cut() {
        let bytes = [sender_report(), vec![0x81, 203, 0, 1, 0, 0, 0, 9], vec![0x81, 203, 0, 9]].concat();
        let seen: Vec<_> = messages(&bytes).collect();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1], Message::Bye { ssrc: 9 });
        assert_eq!(messages(&[0x80, 200, 0, 0]).next(), Some(Message::Other(200)));
    }
}
