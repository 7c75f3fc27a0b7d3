//! Looks for two zeros in a row. Coded video has them where a start code is, or where it marks that none is
//! (ITU-T H.264 §7.4.1), and hardly elsewhere: blocks without any are passed at once.

use std::sync::LazyLock;

use memchr::memmem::Finder;

static PAIR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(&[0, 0]));

/// Where the first two zeros in a row of `data[from..]` stand, counted from the start of `data`.
pub fn zero_pair(data: &[u8], from: usize) -> Option<usize> {
    let at = without(data, from.min(data.len()));
    PAIR.find(&data[at..]).map(|found| at + found)
}

#[cfg(target_arch = "x86_64")]
fn without(data: &[u8], from: usize) -> usize {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function needs.
        unsafe { avx2::without(data, from) }
    } else {
        from
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn without(_: &[u8], from: usize) -> usize {
    from
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_setzero_si256,
    };

    const VECTOR: usize = 32;
    const BLOCK: usize = 4 * VECTOR;

    /// Where the first block from `from` on begins that has two zeros in a row, or is too short to be looked at.
    #[target_feature(enable = "avx2")]
    #[expect(clippy::cast_ptr_alignment, reason = "these loads take any address")]
    pub(super) fn without(data: &[u8], from: usize) -> usize {
        let mut at = from;
        // The second zero may stand one byte behind the block.
        while let Some(block) = data.get(at..at + BLOCK + 1) {
            // A byte of these is zero where both bytes of a pair are.
            let [first, second, third, fourth] = [0, 1, 2, 3].map(|number| {
                let bytes = block[number * VECTOR..].as_ptr();
                // SAFETY: the vectors begin at 0 and 1 behind `bytes`, 33 bytes together; the last one ends the block.
                let (left, right) = unsafe {
                    (
                        _mm256_loadu_si256(bytes.cast::<__m256i>()),
                        _mm256_loadu_si256(bytes.add(1).cast::<__m256i>()),
                    )
                };
                _mm256_or_si256(left, right)
            });
            let least = _mm256_min_epu8(_mm256_min_epu8(first, second), _mm256_min_epu8(third, fourth));
            if _mm256_movemask_epi8(_mm256_cmpeq_epi8(least, _mm256_setzero_si256())) != 0 {
                break;
            }
            at += BLOCK;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slowly(data: &[u8], from: usize) -> Option<usize> {
        (from..data.len().saturating_sub(1)).find(|&at| data[at..at + 2] == [0, 0])
    }

    #[test]
    fn two_zeros_are_found_wherever_they_stand() {
        for len in [0, 1, 2, 31, 64, 128, 129, 130, 257, 400] {
            for zeros in 1..=3 {
                for at in 0..len {
                    let mut data = vec![1; len];
                    data[at..(at + zeros).min(len)].fill(0);
                    for from in [0, 1, 100, len] {
                        assert_eq!(zero_pair(&data, from), slowly(&data, from), "{len} {zeros} {at} {from}");
                    }
                }
            }
            assert_eq!(zero_pair(&vec![7; len], 0), None);
            assert_eq!(zero_pair(&[0, 9].repeat(len), 0), None);
        }
    }

    #[test]
    fn each_of_many_is_found() {
        let data: Vec<u8> =
            (0..2000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8 % 3).collect();
        let mut from = 0;
        while let Some(at) = zero_pair(&data, from) {
            assert_eq!(Some(at), slowly(&data, from));
            from = at + 1;
        }
        assert_eq!(slowly(&data, from), None);
        assert!(from > 1900, "there are pairs to the end");
    }
}
