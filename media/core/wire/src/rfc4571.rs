//! Finds RTP and RTCP packets in the bytes of a TCP connection.
//!
//! | variant | framing |
//! |---|---|
//! | RFC 4571 (GB/T 28181-2016 annex L) | 16-bit length, packet |
//! | interleaved as in RTSP (RFC 2326 §10.12) | `24`, channel, 16-bit length, packet |
//! | private block of 256 bytes first | then as RFC 4571 |
//!
//! A sender that overran its buffer, or bytes before the first packet, make the framer search: for the known
//! SSRC where an RTP header would have it, or for two frames in a row that agree. It gives up after 1 MiB.

/// What the bytes contained.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// One RTP or RTCP packet.
    Packet(&'a [u8]),
    /// So many bytes that no frame explains were skipped before the next packet.
    Skipped(usize),
    /// No packet in 1 MiB: this is not RTP; close the connection. Nothing follows.
    GaveUp,
}

/// How a connection frames its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A 16-bit length (RFC 4571).
    Length,
    /// `$`, channel and 16-bit length (RFC 2326 §10.12).
    Interleaved,
}

/// What stands at some place in the buffer.
#[derive(Debug, Clone, Copy)]
enum Candidate {
    Rtp { len: usize, ssrc: u32 },
    Rtcp { len: usize },
    More,
    No,
}

/// What to do at the read position.
enum Step {
    Frame(Framing, usize, Option<u32>),
    More,
    Skip,
}

impl Framing {
    fn head(self) -> usize {
        match self {
            Self::Length => 2,
            Self::Interleaved => 4,
        }
    }

    /// Whether a frame may begin `data`: version 2, a length that holds its header.
    fn candidate(self, data: &[u8]) -> Candidate {
        let head = self.head();
        if self == Self::Interleaved && data.first().is_some_and(|&byte| byte != b'$') {
            return Candidate::No;
        }
        let Some(packet) = data.get(head..) else { return Candidate::More };
        let len = usize::from(u16::from_be_bytes([data[head - 2], data[head - 1]]));
        if len < MIN_PACKET || packet.first().is_some_and(|&byte| byte >> 6 != 2) {
            return Candidate::No;
        }
        match *packet {
            [_, 192..=223, high, low, ..] => {
                let stated = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
                if stated <= len { Candidate::Rtcp { len } } else { Candidate::No }
            }
            [_, _, _, _, _, _, _, _, a, b, c, d, ..] if len >= 12 => {
                Candidate::Rtp { len, ssrc: u32::from_be_bytes([a, b, c, d]) }
            }
            _ if packet.len() < 12 => Candidate::More,
            _ => Candidate::No,
        }
    }
}

/// An empty receiver report.
const MIN_PACKET: usize = 8;
const GIVE_UP: usize = 1 << 20;
/// Memory for the rest of a reading that is kept when there is none: a packet of most devices.
const REST_KEPT: usize = 2 << 10;
/// Room that bytes are read into has at least so much: the longest frame, the head of the one behind it, and more to read.
pub const SPACE_MIN: usize = 96 << 10;

/// Splits a connection's bytes into packets. Between two readings it keeps no more than what is left of the last one, mostly
/// nothing: all connections of a thread can be read into one space, which stays in the processor's cache.
#[derive(Debug)]
pub struct Framer {
    rest: Vec<u8>,
    framing: Option<Framing>,
    ssrc: Option<u32>,
    skipped: usize,
    gave_up: bool,
}

/// A framer at work: bytes are read into a space that is lent to it, and packets are views of it.
#[derive(Debug)]
pub struct Reading<'a> {
    framer: &'a mut Framer,
    space: &'a mut [u8],
    start: usize,
    end: usize,
}

impl Framer {
    /// A connection that has said nothing yet. `ssrc`: the one that was asked for; another is accepted too.
    pub fn new(ssrc: Option<u32>) -> Self {
        Self { rest: Vec::new(), framing: None, ssrc, skipped: 0, gave_up: false }
    }

    /// Goes on in `space`, at whose start it puts what is left of the last reading. What is in none of the packets when the
    /// reading is dropped is kept.
    ///
    /// # Panics
    /// If the space is smaller than `SPACE_MIN`.
    pub fn read<'a>(&'a mut self, space: &'a mut [u8]) -> Reading<'a> {
        assert!(space.len() >= SPACE_MIN, "a frame and the head of the next one must fit");
        let end = self.rest.len();
        space[..end].copy_from_slice(&self.rest);
        self.rest.clear();
        Reading { framer: self, space, start: 0, end }
    }

    /// Tells the SSRC of the SDP answer.
    pub fn expect_ssrc(&mut self, ssrc: u32) {
        if self.framing.is_none() {
            self.ssrc = Some(ssrc);
        }
    }

    /// How the connection frames, once a packet was found.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }
}

impl Reading<'_> {
    /// Room to read into, never empty; tell with `filled` how much was used. Drain `poll_output` before.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.space.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.space[self.end..]
    }

    /// `len` bytes of `room` were filled.
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.space.len());
    }

    /// Copies bytes in, as many as there is room for, and returns how many: drain `poll_output`, then go on.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.filled(len);
        len
    }

    /// The next packet, or `None` until more bytes come.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        loop {
            if self.framer.gave_up {
                return None;
            }
            match self.step() {
                Step::More => return None,
                Step::Skip => {
                    self.framer.framing = None;
                    self.start += 1;
                    self.framer.skipped += 1;
                    if self.framer.skipped > GIVE_UP {
                        self.framer.gave_up = true;
                        return Some(Output::GaveUp);
                    }
                }
                Step::Frame(framing, len, ssrc) => {
                    self.framer.framing = Some(framing);
                    self.framer.ssrc = ssrc.or(self.framer.ssrc);
                    if self.framer.skipped > 0 {
                        return Some(Output::Skipped(std::mem::take(&mut self.framer.skipped)));
                    }
                    let from = self.start + framing.head();
                    if self.end < from + len {
                        return None;
                    }
                    self.start = from + len;
                    return Some(Output::Packet(&self.space[from..from + len]));
                }
            }
        }
    }

    /// Judges the bytes at the read position.
    fn step(&self) -> Step {
        let data = &self.space[self.start..self.end];
        if data.is_empty() {
            return Step::More;
        }
        let framings =
            self.framer.framing.map_or([Framing::Length, Framing::Interleaved], |known| [known; 2]);
        let mut more = false;
        for framing in framings {
            match framing.candidate(data) {
                Candidate::Rtp { len, ssrc } if self.framer.ssrc == Some(ssrc) => {
                    return Step::Frame(framing, len, Some(ssrc));
                }
                Candidate::Rtp { len, ssrc } => match confirm(framing, data, len, ssrc) {
                    Step::Skip => {}
                    Step::More => more = true,
                    frame @ Step::Frame(..) => return frame,
                },
                Candidate::Rtcp { len } if self.framer.framing.is_some() => {
                    return Step::Frame(framing, len, None);
                }
                Candidate::More => more = true,
                Candidate::Rtcp { .. } | Candidate::No => {}
            }
        }
        if more { Step::More } else { Step::Skip }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let rest = &self.space[self.start..self.end];
        if rest.is_empty() && self.framer.rest.capacity() > REST_KEPT {
            self.framer.rest = Vec::new();
        }
        self.framer.rest.extend_from_slice(rest);
    }
}

/// A frame of unknown SSRC counts if the next frame has the same one.
fn confirm(framing: Framing, data: &[u8], len: usize, ssrc: u32) -> Step {
    match framing.candidate(data.get(framing.head() + len..).unwrap_or_default()) {
        Candidate::Rtp { ssrc: next, .. } if next == ssrc => Step::Frame(framing, len, Some(ssrc)),
        Candidate::Rtcp { .. } => Step::Frame(framing, len, Some(ssrc)),
        Candidate::More => Step::More,
        Candidate::Rtp { .. } | Candidate::No => Step::Skip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, fill: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 0];
        packet.extend(ssrc.to_be_bytes());
        packet.resize(12 + len, fill);
        packet
    }

    fn framed(packet: &[u8]) -> Vec<u8> {
        [&(packet.len() as u16).to_be_bytes(), packet].concat()
    }

    fn interleaved(packet: &[u8]) -> Vec<u8> {
        [&[b'$', 0][..], &framed(packet)].concat()
    }

    /// Feeds `bytes` in pieces of `step` and collects packets and the sum of what was skipped.
    fn run(framer: &mut Framer, bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, usize, bool) {
        let (mut packets, mut skipped, mut gave_up) = (vec![], 0, false);
        let mut space = vec![0; SPACE_MIN];
        for piece in bytes.chunks(step) {
            let mut done = 0;
            // What others read into the space meanwhile must not matter.
            space.fill(0x80);
            let mut reading = framer.read(&mut space);
            while done < piece.len() {
                done += reading.handle_bytes(&piece[done..]);
                while let Some(output) = reading.poll_output() {
                    match output {
                        Output::Packet(packet) => packets.push(packet.to_vec()),
                        Output::Skipped(bytes) => skipped += bytes,
                        Output::GaveUp => gave_up = true,
                    }
                }
                if gave_up {
                    return (packets, skipped, gave_up);
                }
            }
        }
        (packets, skipped, gave_up)
    }

    #[test]
    fn both_framings_are_recognised_however_the_bytes_are_split() {
        for wrap in [framed, interleaved] {
            let packets = [packet(7, 1, 1400), packet(7, 2, 0), packet(7, 3, 300)];
            let bytes: Vec<u8> = packets.iter().flat_map(|packet| wrap(packet)).collect();
            for step in [1, 2, 3, 7, 1000, 5000] {
                for ssrc in [None, Some(7)] {
                    let mut framer = Framer::new(ssrc);
                    let (seen, skipped, _) = run(&mut framer, &bytes, step);
                    assert_eq!(seen, packets, "step {step}, ssrc {ssrc:?}");
                    assert_eq!(skipped, 0);
                }
            }
        }
    }

    #[test]
    fn another_ssrc_than_the_expected_one_is_accepted_when_confirmed() {
        let bytes = [framed(&packet(9, 1, 10)), framed(&packet(9, 2, 10))].concat();
        let (seen, ..) = run(&mut Framer::new(Some(7)), &bytes, 64);
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_private_block_before_the_first_packet_is_skipped() {
        let mut block = vec![1, 0];
        block.resize(256, 0x11);
        let bytes = [block, framed(&packet(7, 1, 100)), framed(&packet(7, 2, 100))].concat();
        let (seen, skipped, _) = run(&mut Framer::new(None), &bytes, 50);
        assert_eq!((seen.len(), skipped), (2, 256));
    }

    #[test]
    fn broken_framing_is_found_again_by_ssrc() {
        let good = framed(&packet(7, 1, 1400));
        let mut bytes = good.clone();
        bytes.extend(&good[..700]); // the sender's buffer overran
        bytes.extend(&good);
        bytes.extend(&good);
        bytes.extend(&good);
        let (seen, skipped, _) = run(&mut Framer::new(None), &bytes, 333);
        // The cut packet swallows the head of its successor; the rest of that one is skipped.
        assert_eq!(seen.len(), 4);
        assert_eq!(skipped, 700);
    }

    #[test]
    fn receiver_reports_between_packets_are_passed_on() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
        let bytes =
            [framed(&packet(7, 1, 10)), framed(&report), framed(&packet(7, 2, 10)), framed(&report)].concat();
        let (seen, skipped, _) = run(&mut Framer::new(None), &bytes, 5);
        assert_eq!((seen.len(), skipped), (4, 0));
    }

    #[test]
    fn gives_up_after_a_mebibyte_of_nonsense() {
        let bytes = vec![0x55; GIVE_UP + 100_000];
        let (seen, _, gave_up) = run(&mut Framer::new(Some(7)), &bytes, 4096);
        assert!(gave_up && seen.is_empty());
    }

    #[test]
    fn the_longest_frame_fits() {
        let long = packet(7, 1, 65_535 - 12);
        let bytes = [framed(&long), framed(&long)].concat();
        let (seen, skipped, _) = run(&mut Framer::new(None), &bytes, 10_000);
        assert_eq!((seen.len(), skipped), (2, 0));
    }
}
