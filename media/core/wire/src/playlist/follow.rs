//! Follows a list of segments that grows (RFC 8216 §6.3): which segment comes next, and when the list is read again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Media, Segment};

/// A live list is begun so many segments before its end (§6.3.3).
const BEHIND: usize = 3;
/// A list that does not change for so long, or for three segments, is given up.
const STALE: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Fetch this segment, whose number is told.
    Segment {
        /// Its number.
        number: u64,
        /// The segment.
        segment: Box<Segment>,
        /// Segments before it are missing.
        gap: bool,
        /// It has nothing to do with the ones before.
        anew: bool,
    },
    /// Read the list again then.
    Refresh(Instant),
    /// The list did not change for so long.
    Stale(Duration),
    /// There is and will be no more.
    End,
}

/// Where a player of the list stands.
#[derive(Debug, Default)]
pub struct Follower {
    waiting: VecDeque<(u64, Segment)>,
    next: Option<u64>,
    gap: bool,
    anew: bool,
    ended: bool,
    target: Duration,
    refresh: Option<Instant>,
    changed: Option<Instant>,
}

impl Follower {
    /// Before the first list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the list as it was read at `now`.
    pub fn handle_list(&mut self, now: Instant, list: Media) {
        let end = list.sequence.saturating_add(list.segments.len() as u64);
        let first = match self.next {
            None if list.ended => list.sequence,
            None => end.saturating_sub(BEHIND as u64).max(list.sequence),
            // The numbers begin again: the server was restarted.
            Some(next) if end < next => {
                self.anew = true;
                self.waiting.clear();
                end.saturating_sub(BEHIND as u64).max(list.sequence)
            }
            Some(next) => {
                self.gap |= next < list.sequence;
                next.max(list.sequence)
            }
        };
        let fresh = list.segments.into_iter().zip(list.sequence..).filter(|(_, number)| *number >= first);
        let before = self.next.replace(first);
        self.waiting.extend(fresh.map(|(segment, number)| (number, segment)));
        let added = end > first;
        if added || before.is_none() || list.ended {
            self.changed = Some(now);
        }
        self.next = Some(end.max(first));
        (self.ended, self.target) = (list.ended, list.target);
        // A list that did not change is asked for sooner (§6.3.4).
        self.refresh = Some(now + if added { list.target } else { list.target / 2 });
    }

    /// How long the segments that wait play.
    pub fn waiting(&self) -> Duration {
        self.waiting.iter().map(|(_, segment)| segment.duration).sum()
    }

    /// About how long a segment is.
    pub fn target(&self) -> Duration {
        self.target
    }

    /// Whether nothing will be added to the list.
    pub fn is_complete(&self) -> bool {
        self.ended
    }

    /// What to do next; a list that must be read again is read at the time told, or sooner.
    pub fn poll(&mut self, now: Instant) -> Next {
        while let Some((number, segment)) = self.waiting.pop_front() {
            if segment.gap {
                self.gap = true;
                continue;
            }
            let (gap, anew) = (std::mem::take(&mut self.gap), std::mem::take(&mut self.anew));
            return Next::Segment { number, segment: Box::new(segment), gap, anew };
        }
        if self.ended {
            return Next::End;
        }
        let patience = STALE.max(self.target * 3);
        match (self.refresh, self.changed) {
            (_, Some(changed)) if now >= changed + patience => Next::Stale(patience),
            (Some(refresh), _) => Next::Refresh(refresh),
            (None, _) => Next::Refresh(now),
        }
    }

    /// A segment could not be had.
    pub fn handle_missing(&mut self) {
        self.gap = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::start;

    const SECOND: Duration = Duration::from_secs(1);

    fn list(sequence: u64, count: u64, ended: bool) -> Media {
        let segments = (sequence..sequence + count).map(|number| Segment {
            uri: number.to_string(),
            duration: 2 * SECOND,
            range: None,
            discontinuity: false,
            gap: number == 13,
            map: None,
            key: None,
        });
        Media { target: 2 * SECOND, sequence, ended, segments: segments.collect() }
    }

    /// The numbers of the segments that are there, marked `-` behind a gap and `!` when numbers begin again.
    fn drain(follower: &mut Follower, now: Instant) -> (Vec<String>, Next) {
        let mut numbers = vec![];
        loop {
            match follower.poll(now) {
                Next::Segment { number, segment, gap, anew } => {
                    assert_eq!(segment.uri, number.to_string());
                    numbers.push(format!(
                        "{}{}{number}",
                        if gap { "-" } else { "" },
                        if anew { "!" } else { "" }
                    ));
                }
                other => return (numbers, other),
            }
        }
    }

    #[test]
    fn a_live_list_is_begun_near_its_end_and_read_again_in_time() {
        let (mut follower, now) = (Follower::new(), start());
        assert_eq!(follower.poll(now), Next::Refresh(now));
        follower.handle_list(now, list(1, 8, false));
        assert_eq!(follower.waiting(), 6 * SECOND);
        assert_eq!(
            drain(&mut follower, now),
            (vec!["6".into(), "7".into(), "8".into()], Next::Refresh(now + 2 * SECOND))
        );
        let now = now + 2 * SECOND;
        follower.handle_list(now, list(1, 8, false));
        assert_eq!(drain(&mut follower, now), (vec![], Next::Refresh(now + SECOND)));
        follower.handle_list(now, list(2, 8, false));
        assert_eq!(drain(&mut follower, now).0, ["9"]);
        follower.handle_list(now, list(12, 4, false));
        assert_eq!(drain(&mut follower, now).0, ["-12", "-14", "15"], "10 and 11 are gone, 13 never was");
        follower.handle_list(now, list(0, 2, false));
        assert_eq!(drain(&mut follower, now).0, ["!0", "1"]);
        follower.handle_list(now, list(0, 2, true));
        assert_eq!(drain(&mut follower, now).1, Next::End);
    }

    #[test]
    fn a_complete_list_is_played_from_its_beginning_and_ends() {
        let mut follower = Follower::new();
        follower.handle_list(start(), list(5, 5, true));
        assert_eq!(
            drain(&mut follower, start()),
            (["5", "6", "7", "8", "9"].map(Into::into).into(), Next::End)
        );
    }

    #[test]
    fn a_list_that_stands_is_given_up() {
        let mut follower = Follower::new();
        let mut now = start();
        follower.handle_list(now, list(5, 5, false));
        for _ in 0..29 {
            now += SECOND;
            follower.handle_list(now, list(5, 5, false));
            assert!(matches!(drain(&mut follower, now).1, Next::Refresh(_)));
        }
        assert_eq!(drain(&mut follower, now + SECOND).1, Next::Stale(STALE));
    }
}
