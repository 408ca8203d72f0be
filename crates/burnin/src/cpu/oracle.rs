//! What a result must be, found another way than the kernel finds it.
//!
//! # Invariants
//! - No oracle uses the floating-point unit, nor the kernel's own algorithm: closed forms, the
//!   inverse function, whole-number arithmetic, and IEEE arithmetic written in integers.
//! - [`is_right`] is cheap and runs on every result; [`truth`] is slow and runs on what is disputed.

use super::kernel::{
    CHAIN_LANES, CHAIN_STEPS, Chain, Kernel, MULTIPLY_STEPS, PRIME, chain_key, chain_start,
    multiply_start,
};
use super::operands::{AREA, SIDE, Stream, integers, mantissas};
use super::soft_float::{FP32, FP64, Format};

/// Elements of a product of random mantissas that are computed again in integers each time.
const SAMPLES: usize = 32;

fn format(kernel: Kernel) -> Format {
    if kernel.word_bits() == 32 { FP32 } else { FP64 }
}

/// Whether `words` can be the result. Certain for the exact kernels, up to a chance below 2^-7
/// that two or more faults in one row cancel out; for random mantissas a sample is looked at, and
/// the rest is compared with other processors.
pub(super) fn is_right(kernel: Kernel, seed: u64, round: u64, words: &[u64]) -> bool {
    match kernel {
        Kernel::IntegerMultiply => words == closed_form(seed, round),
        Kernel::IntegerChain => goes_back(seed, round, words),
        Kernel::Int8Product => super::int8::is_right(seed, round, words),
        Kernel::Fp64Exact | Kernel::Fp32Exact => freivalds(kernel, seed, round, words),
        Kernel::Fp64Mantissa | Kernel::Fp32Mantissa | Kernel::Fp64Fused | Kernel::Fp32Fused => {
            let operands = mantissas(seed, kernel, round);
            let mut stream = Stream::new(!seed, kernel, round);
            (0..SAMPLES).all(|_| {
                let at = usize::try_from(stream.word() % AREA as u64).unwrap_or(0);
                words.get(at) == Some(&soft_element(kernel, &operands, at))
            })
        }
    }
}

/// All words of the result.
pub(super) fn truth(kernel: Kernel, seed: u64, round: u64) -> Vec<u64> {
    match kernel {
        Kernel::IntegerMultiply => closed_form(seed, round),
        Kernel::IntegerChain => one_lane_at_a_time(seed, round),
        Kernel::Int8Product => super::int8::truth(seed, round),
        Kernel::Fp64Exact | Kernel::Fp32Exact => {
            let (a, b) = integers(seed, kernel, round);
            (0..AREA)
                .map(|at| {
                    let sum = (0..SIDE)
                        .map(|k| {
                            i64::from(a[at / SIDE * SIDE + k]) * i64::from(b[k * SIDE + at % SIDE])
                        })
                        .sum();
                    // The operands are chosen so small that every sum is exact.
                    format(kernel).integer(sum).unwrap_or(u64::MAX)
                })
                .collect()
        }
        Kernel::Fp64Mantissa | Kernel::Fp32Mantissa | Kernel::Fp64Fused | Kernel::Fp32Fused => {
            let operands = mantissas(seed, kernel, round);
            (0..AREA)
                .map(|at| soft_element(kernel, &operands, at))
                .collect()
        }
    }
}

/// The chain in one leap: the affine map raised to the number of steps by squaring.
fn closed_form(seed: u64, round: u64) -> Vec<u64> {
    let times = |a: u64, b: u64| {
        u64::try_from(u128::from(a) * u128::from(b) % u128::from(PRIME)).unwrap_or(0)
    };
    let plus = |a: u64, b: u64| (a + b) % PRIME;
    multiply_start(seed, round)
        .into_iter()
        .map(|(x, factor, addend)| {
            let mut whole = (1, 0);
            let mut power = (factor, addend);
            let mut steps = MULTIPLY_STEPS;
            while steps > 0 {
                if steps & 1 == 1 {
                    whole = (
                        times(power.0, whole.0),
                        plus(times(power.0, whole.1), power.1),
                    );
                }
                power = (
                    times(power.0, power.0),
                    plus(times(power.0, power.1), power.1),
                );
                steps >>= 1;
            }
            plus(times(whole.0, x), whole.1)
        })
        .collect()
}

/// Whether the inverse of every step, last one first, leads back to the start.
fn goes_back(seed: u64, round: u64, words: &[u64]) -> bool {
    let mut state: Chain = [[0; CHAIN_LANES]; 2];
    if words.len() != 2 * CHAIN_LANES {
        return false;
    }
    let (left, right) = words.split_at(CHAIN_LANES);
    state[0].copy_from_slice(left);
    state[1].copy_from_slice(right);
    let [left, right] = &mut state;
    for step in (0..CHAIN_STEPS).rev() {
        let key = chain_key(step);
        for (x, y) in left.iter_mut().zip(right.iter_mut()) {
            *y = (*y ^ *x).rotate_right(3);
            *x = (*x ^ key).wrapping_sub(*y).rotate_left(8);
        }
    }
    state == chain_start(seed, round)
}

/// The chain lane by lane, on the scalar unit: `black_box` keeps the compiler from vectors.
fn one_lane_at_a_time(seed: u64, round: u64) -> Vec<u64> {
    let start = chain_start(seed, round);
    let lane = |lane: usize| {
        let (mut x, mut y) = (start[0][lane], start[1][lane]);
        for step in 0..CHAIN_STEPS {
            x = std::hint::black_box(x.rotate_right(8).wrapping_add(y) ^ chain_key(step));
            y = y.rotate_left(3) ^ x;
        }
        (x, y)
    };
    let lanes: Vec<_> = (0..CHAIN_LANES).map(lane).collect();
    lanes
        .iter()
        .map(|(x, _)| *x)
        .chain(lanes.iter().map(|(_, y)| *y))
        .collect()
}

/// C * r = A * (B * r) in whole numbers, for a vector r without zeros: a single wrong element
/// always shows.
fn freivalds(kernel: Kernel, seed: u64, round: u64, words: &[u64]) -> bool {
    let (a, b) = integers(seed, kernel, round);
    let mut stream = Stream::new(!seed, kernel, round);
    let r: Vec<i64> = (0..SIDE)
        .map(|_| i64::from(stream.word().to_le_bytes()[0]) + 1)
        .collect();
    let dot = |row: &[i32], with: &[i64]| -> i64 {
        row.iter().zip(with).map(|(x, y)| i64::from(*x) * y).sum()
    };
    let br: Vec<i64> = b.chunks_exact(SIDE).map(|row| dot(row, &r)).collect();
    words.len() == AREA
        && a.chunks_exact(SIDE)
            .zip(words.chunks_exact(SIDE))
            .all(|(a, c)| {
                let mut sum = 0_i64;
                for (word, weight) in c.iter().zip(&r) {
                    let Some(part) = format(kernel)
                        .as_integer(*word)
                        .and_then(|n| n.checked_mul(*weight))
                    else {
                        return false;
                    };
                    sum = sum.wrapping_add(part);
                }
                sum == dot(a, &br)
            })
}

/// One element of a product of random mantissas, in integer arithmetic.
fn soft_element(kernel: Kernel, (a, b): &(Vec<u64>, Vec<u64>), at: usize) -> u64 {
    let format = format(kernel);
    (0..SIDE).fold(0, |sum, k| {
        let (a, b) = (a[at / SIDE * SIDE + k], b[k * SIDE + at % SIDE]);
        if kernel.is_fused() {
            format.multiply_add(a, b, sum)
        } else {
            format.add(sum, format.multiply(a, b))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_hardware::processor::VectorUnit;
    use proptest::prelude::*;

    #[test]
    fn oracle_and_processor_agree_to_the_bit() {
        for kernel in Kernel::ALL {
            for round in 0..2 {
                let words = kernel.compute(42, round, VectorUnit::Baseline);
                assert!(is_right(kernel, 42, round, &words), "{kernel}");
                assert_eq!(truth(kernel, 42, round), words, "{kernel}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_single_wrong_bit_of_an_exact_result_is_seen(
            which in 0_usize..4, word in any::<prop::sample::Index>(), bit in any::<u32>(),
        ) {
            let kernel = Kernel::ALL[which];
            let mut words = kernel.compute(42, 0, VectorUnit::Baseline);
            let at = word.index(words.len());
            words[at] ^= 1 << (bit % kernel.word_bits());
            prop_assert!(!is_right(kernel, 42, 0, &words));
        }
    }
}
