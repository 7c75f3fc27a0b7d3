//! What a device always does, learnt from its stream: so that a frame can be handed on before the next one comes.

/// A rule that a device may follow: trusted after it held some times in a row, and, once broken, only after many
/// more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    held: u16,
    needed: u16,
}

impl Habit {
    const FIRST: u16 = 4;

    pub(crate) fn new() -> Self {
        Self { held: 0, needed: Self::FIRST }
    }

    /// A rule that is trusted whatever happens.
    pub(crate) fn certain() -> Self {
        Self { held: 0, needed: 0 }
    }

    /// The rule held.
    pub(crate) fn held(&mut self) {
        self.held = self.held.saturating_add(1);
    }

    /// The rule was broken.
    pub(crate) fn broken(&mut self) {
        self.held = 0;
        self.needed = self.needed.saturating_mul(8);
    }

    pub(crate) fn is_trusted(self) -> bool {
        self.held >= self.needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_comes_slower_after_a_breach() {
        let mut habit = Habit::new();
        (0..3).for_each(|_| habit.held());
        assert!(!habit.is_trusted());
        habit.held();
        assert!(habit.is_trusted());
        habit.broken();
        (0..31).for_each(|_| habit.held());
        assert!(!habit.is_trusted());
        habit.held();
        assert!(habit.is_trusted());
    }
}
