//! Puts RTP packets back in order within a bounded window (RFC 3550 §5.1). No socket, no clock.
//!
//! A ring of slots: taking and giving a packet are both O(1). The caller drains `poll_output` after each
//! `handle_packet`. Packets that come in order need not be stored at all: `pass` says so. A ring has as many slots as gaps
//! have needed so far, for most streams never need many.

use std::time::{Duration, Instant};

use crate::rtp::{MAX_DROPOUT, MAX_MISORDER, extend};

/// What leaves the buffer, in sequence order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// The next packet.
    Packet(P),
    /// So many packets were given up; the next one follows a gap.
    Lost(u64),
    /// The sender started new numbers; the next packet is the first of them.
    Restarted,
}

/// Slots of a ring that has held little.
const SLOTS: u64 = 4;

fn empty<P>(slots: u64) -> Box<[Option<P>]> {
    std::iter::repeat_with(|| None).take(slots as usize).collect()
}

/// Holds early packets until the gap before them fills, ages or overflows.
pub struct Reorder<P> {
    hold: Duration,
    capacity: u64,
    /// A power of two of them, which doubles up to `slots_max` as numbers further apart are held.
    slots: Box<[Option<P>]>,
    slots_max: u64,
    /// When the oldest held packet must go; moves when the first gap changes.
    due: Option<Instant>,
    next: Option<u64>, // extended sequence number
    newest: u64,
    held: u64,
    settled: bool, // a second packet came, so the first one was really the first
    leap: Option<Leap<P>>,
    suspect: Option<(u16, P)>, // a stray, or the first packet of a restarted sender
    late: u64,
}

/// A packet beyond the ring: all that is held leaves before it.
struct Leap<P> {
    seq: u16,
    packet: P,
    /// At a restart, the packet before it, which was a suspect until this one came.
    first: Option<P>,
}

impl<P> Reorder<P> {
    /// Waits at most `hold` for a missing packet, across at most `capacity` numbers.
    pub fn new(hold: Duration, capacity: u16) -> Self {
        let capacity = capacity.clamp(1, 4096);
        let slots_max = (u64::from(capacity) * 2).next_power_of_two();
        Self {
            hold,
            capacity: u64::from(capacity),
            slots: empty(slots_max.min(SLOTS)),
            slots_max,
            due: None,
            next: None,
            newest: 0,
            held: 0,
            settled: false,
            leap: None,
            suspect: None,
            late: 0,
        }
    }

    /// True if this packet is the next one and nothing waits: the caller may use it at once, and must not
    /// give it to `handle_packet`.
    pub fn pass(&mut self, seq: u16) -> bool {
        match self.next {
            Some(next) if self.settled && self.held == 0 && self.leap.is_none() && next as u16 == seq => {
                self.next = Some(next + 1);
                self.drop_suspect();
                true
            }
            _ => false,
        }
    }

    /// The number for which `pass` would be true, and for those that follow it, if nothing unusual came before.
    pub fn passing(&self) -> Option<u16> {
        let settled = self.settled && self.held == 0 && self.leap.is_none() && self.suspect.is_none();
        self.next.filter(|_| settled).map(|next| next as u16)
    }

    /// So many packets from `passing` on were used without being given to `handle_packet`.
    pub fn pass_on(&mut self, packets: u16) {
        self.next = self.next.map(|next| next + u64::from(packets));
    }

    /// Takes a packet that arrived at `now`; a late or duplicate one is dropped.
    pub fn handle_packet(&mut self, now: Instant, seq: u16, packet: P) {
        let Some(next) = self.next else {
            let first = (1 << 16) + u64::from(seq);
            self.next = Some(first);
            return self.store(now, first, packet);
        };
        let number = extend(seq, next);
        if number < next {
            return self.handle_old(now, seq, next, number, packet);
        }
        self.settled = true;
        if number - next < self.slots_max {
            self.drop_suspect();
            self.store(now, number, packet);
        } else if number - next < MAX_DROPOUT {
            self.leap(Leap { seq, packet, first: None });
        } else {
            self.handle_suspect(seq, packet);
        }
    }

    /// A packet from before `next`: late, or the true first one, or of a restarted sender.
    fn handle_old(&mut self, now: Instant, seq: u16, next: u64, number: u64, packet: P) {
        if next - number >= MAX_MISORDER {
            self.settled = true;
            return self.handle_suspect(seq, packet);
        }
        if self.settled || self.newest - number >= self.capacity {
            self.late += 1;
            return;
        }
        self.settled = true;
        self.next = Some(number);
        self.store(now, number, packet);
    }

    /// RFC 3550 §A.1: two packets in a row with far-off numbers are a restart; one is a stray.
    fn handle_suspect(&mut self, seq: u16, packet: P) {
        match self.suspect.take() {
            Some((before, first)) if before.wrapping_add(1) == seq => {
                self.leap(Leap { seq, packet, first: Some(first) });
            }
            stray => {
                self.late += u64::from(stray.is_some());
                self.suspect = Some((seq, packet));
            }
        }
    }

    fn drop_suspect(&mut self) {
        if self.suspect.take().is_some() {
            self.late += 1;
        }
    }

    fn leap(&mut self, leap: Leap<P>) {
        if self.leap.is_some() {
            self.late += 1;
        } else {
            self.leap = Some(leap);
        }
    }

    fn store(&mut self, now: Instant, number: u64, packet: P) {
        self.make_room(number);
        let at = self.slot(number);
        if self.slots[at].is_some() {
            self.late += 1;
            return;
        }
        self.slots[at] = Some(packet);
        self.held += 1;
        self.newest = if self.held == 1 { number } else { self.newest.max(number) };
        self.due.get_or_insert(now + self.hold);
    }

    /// Sees to it that `number` and all that is held have slots of their own.
    fn make_room(&mut self, number: u64) {
        let first = self.next.map_or(number, |next| next.min(number));
        let newest = if self.held == 0 { number } else { self.newest.max(number) };
        let needed = (newest - first + 1).next_power_of_two().min(self.slots_max);
        if needed <= self.slots.len() as u64 {
            return;
        }
        let mut old = std::mem::replace(&mut self.slots, empty(needed));
        if self.held > 0 {
            let before = old.len();
            for held in (first..=self.newest).rev().take(before) {
                let at = self.slot(held);
                self.slots[at] = old[held as usize & (before - 1)].take();
            }
        }
    }

    fn slot(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    /// The next output, or `None` until another packet comes or `next_timeout` passes.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output<P>> {
        let next = self.next?;
        if self.held == 0 {
            return self.land(now, next);
        }
        let aged = self.due.is_some_and(|due| now >= due);
        if !self.settled && !aged {
            return None;
        }
        self.settled = true;
        let at = self.slot(next);
        if let Some(packet) = self.slots[at].take() {
            self.held -= 1;
            self.next = Some(next + 1);
            self.rearm(now);
            return Some(Output::Packet(packet));
        }
        if !aged && self.leap.is_none() && self.newest - next < self.capacity {
            return None;
        }
        let first = (next..=self.newest).find(|&number| self.slots[self.slot(number)].is_some())?;
        self.next = Some(first);
        Some(Output::Lost(first - next))
    }

    /// Nothing is held any more: what leapt ahead becomes the next packet.
    fn land(&mut self, now: Instant, next: u64) -> Option<Output<P>> {
        let Leap { seq, packet, first } = self.leap.take()?;
        let Some(first) = first else {
            let number = extend(seq, next);
            self.next = Some(number);
            self.store(now, number, packet);
            return Some(Output::Lost(number - next));
        };
        let number = (1 << 16) + u64::from(seq.wrapping_sub(1));
        self.next = Some(number);
        self.store(now, number, first);
        self.store(now, number + 1, packet);
        Some(Output::Restarted)
    }

    /// A packet left: a gap that remains gets its own patience.
    fn rearm(&mut self, now: Instant) {
        let next_waits = self.next.is_some_and(|next| self.slots[self.slot(next)].is_some());
        if self.held == 0 {
            self.due = None;
        } else if !next_waits {
            self.due = Some(now + self.hold);
        }
    }

    /// When to call `poll_output` even if no packet comes.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Packets dropped because they came late, twice, or from nowhere.
    pub fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::start;

    const HOLD: Duration = Duration::from_millis(200);

    fn drain(reorder: &mut Reorder<u16>, now: Instant) -> Vec<Output<u16>> {
        std::iter::from_fn(|| reorder.poll_output(now)).collect()
    }

    /// All outputs for packets that come 1 ms apart.
    fn run(reorder: &mut Reorder<u16>, numbers: &[u16]) -> Vec<Output<u16>> {
        let mut seen = vec![];
        for (&seq, at) in numbers.iter().zip(0..) {
            let now = start() + Duration::from_millis(at);
            if reorder.pass(seq) {
                seen.push(Output::Packet(seq));
            } else {
                reorder.handle_packet(now, seq, seq);
            }
            seen.extend(drain(reorder, now));
        }
        seen
    }

    fn packets(numbers: impl IntoIterator<Item = u16>) -> Vec<Output<u16>> {
        numbers.into_iter().map(Output::Packet).collect()
    }

    #[test]
    fn order_is_restored_across_the_wrap() {
        let mut reorder = Reorder::new(HOLD, 64);
        assert_eq!(
            run(&mut reorder, &[65_533, 65_534, 0, 65_535, 2, 1, 1, 3]),
            packets([65_533, 65_534, 65_535, 0, 1, 2, 3])
        );
        assert_eq!((reorder.late(), reorder.next_timeout()), (1, None));
    }

    #[test]
    fn packets_that_pass_together_pass_like_each_alone() {
        let mut reorder = Reorder::new(HOLD, 64);
        assert_eq!(reorder.passing(), None, "nothing is known of the numbers");
        assert_eq!(run(&mut reorder, &[65_530]), []);
        assert_eq!(reorder.passing(), None, "an earlier one may come");
        assert_eq!(run(&mut reorder, &[65_531]), [Output::Packet(65_530), Output::Packet(65_531)]);
        assert_eq!(reorder.passing(), Some(65_532));
        reorder.pass_on(10);
        assert_eq!(reorder.passing(), Some(6));
        assert!(reorder.pass(6));
        assert_eq!(run(&mut reorder, &[8]), []);
        assert_eq!(reorder.passing(), None, "one is awaited");
        assert_eq!(run(&mut reorder, &[7]), [Output::Packet(7), Output::Packet(8)]);
        assert_eq!(run(&mut reorder, &[30_000]), []);
        assert_eq!(reorder.passing(), None, "a stray is watched");
    }

    #[test]
    fn the_first_packet_may_be_the_late_one() {
        assert_eq!(run(&mut Reorder::new(HOLD, 64), &[11, 10, 12]), packets([10, 11, 12]));
        let mut alone = Reorder::new(HOLD, 64);
        assert_eq!(run(&mut alone, &[11]), []);
        assert_eq!(alone.next_timeout(), Some(start() + HOLD));
        assert_eq!(drain(&mut alone, start() + HOLD), packets([11]));
    }

    #[test]
    fn a_gap_is_given_up_by_age() {
        let mut reorder = Reorder::new(HOLD, 64);
        assert_eq!(run(&mut reorder, &[1, 2, 5, 6]), packets([1, 2]));
        let due = reorder.next_timeout().unwrap();
        assert_eq!(due, start() + Duration::from_millis(2) + HOLD);
        assert_eq!(drain(&mut reorder, start() + HOLD), []);
        assert_eq!(drain(&mut reorder, due), [Output::Lost(2), Output::Packet(5), Output::Packet(6)]);
    }

    #[test]
    fn a_gap_is_given_up_when_the_window_is_full() {
        let mut reorder = Reorder::new(HOLD, 4);
        let seen = run(&mut reorder, &[1, 2, 4, 5, 6, 7]);
        assert_eq!(
            seen,
            [
                Output::Packet(1),
                Output::Packet(2),
                Output::Lost(1),
                Output::Packet(4),
                Output::Packet(5),
                Output::Packet(6),
                Output::Packet(7)
            ]
        );
    }

    #[test]
    fn a_long_loss_flushes_what_is_held() {
        let mut reorder = Reorder::new(HOLD, 4);
        let seen = run(&mut reorder, &[1, 2, 4, 1000, 1001]);
        let lost = [Output::Lost(1), Output::Packet(4), Output::Lost(995), Output::Packet(1000)];
        assert_eq!(seen[2..6], lost);
        assert_eq!(seen[6], Output::Packet(1001));
    }

    #[test]
    fn the_ring_grows_with_the_gaps_it_has_to_bridge() {
        let mut reorder = Reorder::new(HOLD, 512);
        assert_eq!(run(&mut reorder, &[65_530, 65_531, 65_532]).len(), 3);
        assert_eq!(reorder.slots.len() as u64, SLOTS);
        let early: Vec<u16> = (0..300).map(|number| 65_534_u16.wrapping_add(number)).collect();
        let mut numbers = early.clone();
        numbers.insert(150, 65_533);
        let seen = run(&mut reorder, &numbers);
        assert_eq!(seen[0], Output::Packet(65_533));
        assert_eq!(seen[1..], packets(early), "none was lost when the ring grew");
        assert_eq!((reorder.slots.len(), reorder.late()), (256, 0));
        assert_eq!(
            run(&mut reorder, &[10_000, 298, 298])[0],
            Output::Packet(298),
            "what leaps takes no slots"
        );
        assert_eq!(reorder.slots.len(), 256);
    }

    #[test]
    fn a_restart_needs_two_packets_in_a_row() {
        let mut reorder = Reorder::new(HOLD, 4);
        let seen = run(&mut reorder, &[1, 2, 30_000, 3, 30_000, 30_001, 30_002]);
        let mut wanted = packets([1, 2, 3]);
        wanted.push(Output::Restarted);
        wanted.extend(packets([30_000, 30_001, 30_002]));
        assert_eq!(seen, wanted);
    }
}
