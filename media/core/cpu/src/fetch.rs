//! Asks the processor for memory before it is needed: what a stream keeps has left the caches when its next packets come, and
//! to fetch it line by line takes longer than to work with it. While the system hands over the packets it comes on its own.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Begins to fetch all lines of `value` itself, not what it points to. It may come to nothing; it never fails.
pub fn fetch<T: ?Sized>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    for offset in (0..size_of_val(value)).step_by(LINE) {
        line(start.wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint; no address makes it fail.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}

/// Elsewhere what is needed is fetched when it is needed.
#[cfg(not(target_arch = "x86_64"))]
fn line(_: *const u8) {}
