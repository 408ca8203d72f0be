//! Copies and fills that go past the caches, as a test of memory bandwidth needs them: an ordinary
//! store first reads what it overwrites, which costs a third of the bandwidth.
//!
//! # Invariants
//! - What is written is in memory order before the function returns.
//!
//! Both functions are inline, so that they are compiled as well as the crate that calls them.
//!
//! # What is absent
//! No streaming stores on other architectures than x86-64: there it is an ordinary copy.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "non-temporal stores through pointers into a slice of ours"
    )
)]

/// Copies as many words as the shorter slice has.
#[inline]
pub fn copy(from: &[u64], to: &mut [u64]) {
    let count = from.len().min(to.len());
    let (from, to) = (&from[..count], &mut to[..count]);
    stream(to, |index| from[index], |at| [from[at], from[at + 1]]);
}

/// Writes `value` into every word.
#[inline]
pub fn fill(value: u64, to: &mut [u64]) {
    stream(to, |_| value, |_| [value; 2]);
}

/// `one` gives a word by its place, `two` a word and the next.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn stream(to: &mut [u64], one: impl Fn(usize) -> u64, two: impl Fn(usize) -> [u64; 2]) {
    use std::arch::x86_64::{__m128i, _mm_set_epi64x, _mm_sfence, _mm_stream_si128};
    // SAFETY: any bits are a value of both types, and the middle part has the alignment of the
    // wider one.
    let (head, middle, tail) = unsafe { to.align_to_mut::<__m128i>() };
    for (index, word) in head.iter_mut().enumerate() {
        *word = one(index);
    }
    let first = head.len();
    let count = middle.len();
    for (index, pair) in middle.iter_mut().enumerate() {
        let [low, high] = two(first + 2 * index);
        // SAFETY: SSE2 is in every x86-64, and `pair` is an aligned, writable place of 16 bytes.
        unsafe {
            let value = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
            _mm_stream_si128(std::ptr::from_mut(pair), value);
        }
    }
    for (index, word) in tail.iter_mut().enumerate() {
        *word = one(first + 2 * count + index);
    }
    // SAFETY: SSE is in every x86-64.
    unsafe { _mm_sfence() };
}

/// `one` gives a word by its place, `two` a word and the next.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn stream(to: &mut [u64], one: impl Fn(usize) -> u64, _: impl Fn(usize) -> [u64; 2]) {
    for (index, word) in to.iter_mut().enumerate() {
        *word = one(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_arrives_whatever_the_alignment_and_length() {
        let source: Vec<u64> = (1..200).collect();
        for begin in 0..4 {
            for length in 0..70 {
                let mut to = vec![0_u64; 100];
                copy(&source[..length], &mut to[begin..begin + length]);
                let want: Vec<u64> = (0..100)
                    .map(|at: usize| {
                        let inside = (begin..begin + length).contains(&at);
                        if inside { source[at - begin] } else { 0 }
                    })
                    .collect();
                assert_eq!(to, want, "{begin} {length}");
                fill(9, &mut to[begin..begin + length]);
                assert_eq!(to.iter().filter(|word| **word == 9).count(), length);
            }
        }
    }
}
