//! Where key frames stand in a file. Bounded: beyond its capacity every second one is forgotten, again and again.

use crate::media::Ticks;

/// A place where one can begin to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Time since the file's beginning.
    pub at: Ticks,
    /// Bytes since the file's beginning.
    pub offset: u64,
}

/// The key frames of one file, thinned evenly.
#[derive(Debug, Clone)]
pub struct Index {
    entries: Vec<Entry>,
    capacity: usize,
    /// One of so many is kept.
    stride: u64,
    seen: u64,
}

impl Index {
    /// Most entries that a file has room for: with one key frame a second, those of an hour.
    pub const CAPACITY_MAX: usize = 3600;

    /// An index of at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity: capacity.min(Self::CAPACITY_MAX), stride: 1, seen: 0 }
    }

    /// Takes the next key frame.
    pub fn push(&mut self, at: Ticks, offset: u64) {
        if self.seen.is_multiple_of(self.stride) && self.entries.len() == self.capacity {
            let mut number = 0;
            self.entries.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.stride *= 2;
        }
        if self.seen.is_multiple_of(self.stride) && self.entries.len() < self.capacity {
            self.entries.push(Entry { at, offset });
        }
        self.seen += 1;
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Those in the first `size` bytes.
    pub fn entries_below(&self, size: u64) -> &[Entry] {
        &self.entries[..self.entries.partition_point(|entry| entry.offset < size)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_first_and_thins_evenly() {
        for capacity in 1..20 {
            let mut index = Index::new(capacity);
            for number in 0..1000 {
                index.push(Ticks(number), number.cast_unsigned());
                assert!(index.entries().len() <= capacity);
            }
            let times: Vec<_> = index.entries().iter().map(|entry| entry.at.0).collect();
            assert_eq!(times[0], 0);
            let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(steps.windows(2).all(|pair| pair[0] == pair[1]), "{steps:?}");
            assert!(times.len() * 2 >= capacity, "{capacity}: {times:?}");
        }
    }

    #[test]
    fn without_room_it_stays_empty() {
        let mut index = Index::new(0);
        (0..100).for_each(|number| index.push(Ticks(number), 0));
        assert!(index.entries().is_empty());
    }

    #[test]
    fn what_stands_behind_a_cut_is_left_out() {
        let mut index = Index::new(8);
        (0..4).for_each(|number| index.push(Ticks(number), 10 * number.cast_unsigned()));
        assert_eq!(index.entries_below(20).len(), 2);
        assert_eq!(index.entries_below(21).len(), 3);
    }
}
