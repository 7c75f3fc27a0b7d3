//! The one place of the relay that reads the clocks. Everything else is handed the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for deadlines and durations.
#[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Calendar time in microseconds of the UNIX epoch, for people.
#[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
pub(crate) fn wall_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Calendar time in milliseconds of the UNIX epoch.
pub(crate) fn wall_ms() -> u64 {
    wall_us() / 1000
}
