//! Which receive ports are free: even numbers of a range (the odd one above belongs to RTCP, RFC 3550 §11). No clock.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// A freed port rests so long: late packets of its last stream must not meet the next one.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(5);

/// The ports of one range. A port is free, taken or resting.
pub(crate) struct PortPool {
    free: VecDeque<u16>,
    taken: HashSet<u16>,
    resting: BTreeMap<Instant, Vec<u16>>,
}

impl PortPool {
    /// All even ports from `min` to `max` whose odd neighbour is in the range too.
    pub(crate) fn new(min: u16, max: u16) -> Self {
        let free = (min..max).filter(|port| port % 2 == 0).collect();
        Self { free, taken: HashSet::new(), resting: BTreeMap::new() }
    }

    /// Takes the port that was free for longest; `None` if none is.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u16> {
        while let Some(entry) = self.resting.first_entry()
            && *entry.key() <= now
        {
            self.free.extend(entry.remove());
        }
        let port = self.free.pop_front()?;
        self.taken.insert(port);
        Some(port)
    }

    /// Lets a taken port rest before its next use; others are ignored.
    pub(crate) fn release(&mut self, now: Instant, port: u16) {
        if self.taken.remove(&port) {
            self.resting.entry(now + QUARANTINE).or_default().push(port);
        }
    }

    /// Free ports, resting ones not counted.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn gives_even_ports_once_and_lets_them_rest() {
        let start = clock::now();
        let mut pool = PortPool::new(30_001, 30_007);
        let ports: Vec<_> = std::iter::from_fn(|| pool.take(start)).collect();
        assert_eq!(ports, [30_002, 30_004, 30_006]);
        pool.release(start, 30_004);
        pool.release(start, 30_004);
        pool.release(start, 9);
        assert_eq!(pool.take(start + QUARANTINE / 2), None);
        assert_eq!(pool.take(start + QUARANTINE), Some(30_004));
        assert_eq!(pool.take(start + 2 * QUARANTINE), None);
    }

    #[test]
    fn a_range_without_a_pair_is_empty() {
        assert_eq!(PortPool::new(30_000, 30_000).take(clock::now()), None);
        assert_eq!(PortPool::new(65_534, 65_535).take(clock::now()), Some(65_534));
    }
}
