//! When a slice is over. No clock.

const DAY_MS: i64 = 24 * 3_600_000;

/// The local times at which a recording is cut: multiples of the slice's length since local midnight, and midnight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    pub(crate) slice_ms: u64,
    /// Local time less UTC; there is no summer time.
    pub(crate) utc_offset_ms: i64,
}

impl Calendar {
    /// The first cut after `wall_ms`; both in milliseconds of the UNIX epoch.
    pub(crate) fn next_cut(&self, wall_ms: u64) -> u64 {
        let local = wall_ms.cast_signed().saturating_add(self.utc_offset_ms);
        let in_day = local.rem_euclid(DAY_MS);
        let slice = i64::try_from(self.slice_ms).unwrap_or(DAY_MS).clamp(1, DAY_MS);
        let next = ((in_day / slice + 1) * slice).min(DAY_MS);
        wall_ms.saturating_add((next - in_day).cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const MINUTE: u64 = 60_000;
    /// 2026-01-01 00:00:00 UTC.
    const NEW_YEAR: u64 = 1_767_225_600_000;

    fn next(slice_ms: u64, offset_h: i64, wall_ms: u64) -> u64 {
        Calendar { slice_ms, utc_offset_ms: offset_h * HOUR.cast_signed() }.next_cut(wall_ms) - NEW_YEAR
    }

    #[test]
    fn cuts_are_multiples_since_local_midnight() {
        assert_eq!(next(10 * MINUTE, 8, NEW_YEAR), 10 * MINUTE);
        assert_eq!(next(10 * MINUTE, 8, NEW_YEAR + 10 * MINUTE - 1), 10 * MINUTE);
        assert_eq!(next(10 * MINUTE, 8, NEW_YEAR + 10 * MINUTE), 20 * MINUTE);
        // It is 08:00 there: 7-hour slices end at 14:00, that is 06:00 UTC.
        assert_eq!(next(7 * HOUR, 8, NEW_YEAR), 6 * HOUR);
        assert_eq!(next(7 * HOUR, -3, NEW_YEAR + HOUR), 3 * HOUR, "21:00 the day before, until midnight");
    }

    #[test]
    fn midnight_always_cuts() {
        assert_eq!(next(7 * HOUR, 0, NEW_YEAR + 22 * HOUR), 24 * HOUR);
        assert_eq!(next(u64::MAX, 8, NEW_YEAR), 16 * HOUR);
        assert_eq!(next(48 * HOUR, 0, NEW_YEAR), 24 * HOUR);
    }

    #[test]
    fn a_cut_is_always_ahead() {
        for slice_ms in [1, 7, 999, 2000, 3_333_333] {
            for wall in (0..200_000_000).step_by(12_347) {
                let cut = Calendar { slice_ms, utc_offset_ms: -5_400_000 }.next_cut(wall);
                assert!(cut > wall && cut - wall <= slice_ms);
            }
        }
    }
}
