//! The arithmetic itself, as a processor does it under load.
//!
//! # Invariants
//! - Nothing is fused that is not written so, and the order of every sum is fixed: each vector unit
//!   gives the same bits.
//! - A result is a list of words; a wrong step anywhere changes at least one of them.

use cupel_hardware::processor::{VectorUnit, Work};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::int8;
use super::operands::{AREA, SIDE, Stream, integers, mantissas};

/// A kind of arithmetic.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// Chains of 64 x 64 -> 128 bit multiplications modulo 2^61 - 1.
    IntegerMultiply,
    /// Chains of add, rotate and exclusive-or on vectors.
    IntegerChain,
    /// FP64 matrix product of whole numbers: exact.
    Fp64Exact,
    /// FP32 matrix product of whole numbers: exact.
    Fp32Exact,
    /// FP64 matrix product of random mantissas: the same bits everywhere.
    Fp64Mantissa,
    /// FP32 matrix product of random mantissas: the same bits everywhere.
    Fp32Mantissa,
    /// The FP64 product by fused multiplications and additions: the unit that draws the most.
    Fp64Fused,
    /// The FP32 product by fused multiplications and additions.
    Fp32Fused,
    /// Product of signed bytes: exact; in the tile unit of AMX where there is one.
    Int8Product,
}

/// Independent chains of [`Kernel::IntegerMultiply`].
pub(super) const MULTIPLY_LANES: usize = 8;
/// Steps of each.
pub(super) const MULTIPLY_STEPS: u32 = 20_000;
/// How often a matrix product is computed for one result: all must be the same, and operands are
/// made only once.
pub(super) const PRODUCTS: u64 = 8;
/// 2^61 - 1, a prime.
pub(super) const PRIME: u64 = (1 << 61) - 1;
/// Independent chains of [`Kernel::IntegerChain`].
pub(super) const CHAIN_LANES: usize = 16;
/// Steps of each.
pub(super) const CHAIN_STEPS: u64 = 4_000;

impl Kernel {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All, in the order in which they run.
    pub const ALL: [Self; Self::COUNT] = [
        Self::IntegerMultiply,
        Self::IntegerChain,
        Self::Fp64Exact,
        Self::Fp32Exact,
        Self::Fp64Mantissa,
        Self::Fp32Mantissa,
        Self::Fp64Fused,
        Self::Fp32Fused,
        Self::Int8Product,
    ];

    /// Its place in [`Self::ALL`].
    pub(super) fn number(self) -> u64 {
        match self {
            Self::IntegerMultiply => 0,
            Self::IntegerChain => 1,
            Self::Fp64Exact => 2,
            Self::Fp32Exact => 3,
            Self::Fp64Mantissa => 4,
            Self::Fp32Mantissa => 5,
            Self::Fp64Fused => 6,
            Self::Fp32Fused => 7,
            Self::Int8Product => 8,
        }
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::IntegerMultiply => "integer-multiply",
            Self::IntegerChain => "integer-chain",
            Self::Fp64Exact => "fp64-exact",
            Self::Fp32Exact => "fp32-exact",
            Self::Fp64Mantissa => "fp64-mantissa",
            Self::Fp32Mantissa => "fp32-mantissa",
            Self::Fp64Fused => "fp64-fused",
            Self::Fp32Fused => "fp32-fused",
            Self::Int8Product => "int8-product",
        }
    }

    /// How many words a result has.
    pub fn words(self) -> u64 {
        match self {
            Self::IntegerMultiply => MULTIPLY_LANES as u64,
            Self::IntegerChain => 2 * CHAIN_LANES as u64,
            Self::Fp64Exact
            | Self::Fp32Exact
            | Self::Fp64Mantissa
            | Self::Fp32Mantissa
            | Self::Fp64Fused
            | Self::Fp32Fused => AREA as u64,
            Self::Int8Product => int8::WORDS,
        }
    }

    /// How many bits of a word are the result's.
    pub fn word_bits(self) -> u32 {
        match self {
            Self::IntegerMultiply
            | Self::IntegerChain
            | Self::Fp64Exact
            | Self::Fp64Mantissa
            | Self::Fp64Fused => 64,
            Self::Fp32Exact | Self::Fp32Mantissa | Self::Fp32Fused | Self::Int8Product => 32,
        }
    }

    /// Whether `words` are the result of a round, by the oracle that runs on every result.
    pub fn is_right(self, seed: u64, round: u64, words: &[u64]) -> bool {
        super::oracle::is_right(self, seed, round, words)
    }

    /// How many operations a result takes.
    pub fn operations(self) -> u64 {
        match self {
            Self::IntegerMultiply => MULTIPLY_LANES as u64 * u64::from(MULTIPLY_STEPS),
            // Rotate, add, exclusive-or, rotate, exclusive-or.
            Self::IntegerChain => 5 * CHAIN_LANES as u64 * CHAIN_STEPS,
            Self::Fp64Exact
            | Self::Fp32Exact
            | Self::Fp64Mantissa
            | Self::Fp32Mantissa
            | Self::Fp64Fused
            | Self::Fp32Fused => PRODUCTS * 2 * (AREA * SIDE) as u64,
            Self::Int8Product => PRODUCTS * int8::OPERATIONS,
        }
    }

    /// Whether it needs a unit that multiplies and adds in one instruction; elsewhere it is very
    /// slow.
    pub(super) fn is_fused(self) -> bool {
        match self {
            Self::Fp64Fused | Self::Fp32Fused => true,
            Self::IntegerMultiply
            | Self::IntegerChain
            | Self::Fp64Exact
            | Self::Fp32Exact
            | Self::Fp64Mantissa
            | Self::Fp32Mantissa
            | Self::Int8Product => false,
        }
    }

    /// Computes the result of a round on a vector unit, which the processor must have.
    pub fn compute(self, seed: u64, round: u64, unit: VectorUnit) -> Vec<u64> {
        match self {
            Self::IntegerMultiply => multiply_chain(seed, round),
            Self::IntegerChain => {
                let state = on(unit, Chained(chain_start(seed, round)));
                state.into_iter().flatten().collect()
            }
            Self::Int8Product => int8::on_vectors(seed, round, unit),
            Self::Fp64Exact => {
                let (a, b) = integers(seed, self, round);
                let real = |m: Vec<i32>| m.into_iter().map(f64::from).collect::<Vec<_>>();
                product64(real(a), real(b), unit, false)
            }
            Self::Fp32Exact => {
                let (a, b) = integers(seed, self, round);
                // At most nine bits each: the way through i16 loses none.
                let real = |m: Vec<i32>| {
                    m.into_iter()
                        .map(|n| f32::from(i16::try_from(n).unwrap_or(i16::MAX)))
                        .collect::<Vec<_>>()
                };
                product32(real(a), real(b), unit, false)
            }
            Self::Fp64Mantissa | Self::Fp64Fused => {
                let (a, b) = mantissas(seed, self, round);
                let real = |m: Vec<u64>| m.into_iter().map(f64::from_bits).collect::<Vec<_>>();
                product64(real(a), real(b), unit, self.is_fused())
            }
            Self::Fp32Mantissa | Self::Fp32Fused => {
                let (a, b) = mantissas(seed, self, round);
                let real = |m: Vec<u64>| {
                    m.into_iter()
                        .map(|bits| f32::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)))
                        .collect::<Vec<_>>()
                };
                product32(real(a), real(b), unit, self.is_fused())
            }
        }
    }
}

impl std::fmt::Display for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs `work` on `unit`.
pub(super) fn on<W: Work>(unit: VectorUnit, work: W) -> W::Output {
    match unit.run(work) {
        Some(output) => output,
        None => unreachable!("units are chosen among those that there are"),
    }
}

/// Start, factor and addend of every lane.
pub(super) fn multiply_start(seed: u64, round: u64) -> [(u64, u64, u64); MULTIPLY_LANES] {
    let mut stream = Stream::new(seed, Kernel::IntegerMultiply, round);
    std::array::from_fn(|_| {
        (
            stream.word() % PRIME,
            stream.word() % (PRIME - 2) + 2,
            stream.word() % PRIME,
        )
    })
}

fn multiply_chain(seed: u64, round: u64) -> Vec<u64> {
    let start = multiply_start(seed, round);
    let mut x = start.map(|(x, _, _)| x);
    for _ in 0..MULTIPLY_STEPS {
        for (x, (_, factor, addend)) in x.iter_mut().zip(&start) {
            let (low, high) = x.widening(*factor);
            // 2^61 is 1: fold what stands above bit 61 down.
            let sum = (low & PRIME) + (low >> 61 | high << 3) + addend;
            let folded = (sum & PRIME) + (sum >> 61);
            *x = if folded >= PRIME {
                folded - PRIME
            } else {
                folded
            };
        }
    }
    x.to_vec()
}

/// The multiplication that leaves both halves.
trait Widening {
    fn widening(self, other: u64) -> (u64, u64);
}

impl Widening for u64 {
    #[inline(always)]
    fn widening(self, other: u64) -> (u64, u64) {
        let wide = (u128::from(self) * u128::from(other)).to_le_bytes();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = wide;
        (
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        )
    }
}

/// Left and right words of all lanes.
pub(super) type Chain = [[u64; CHAIN_LANES]; 2];

/// What a chain starts from.
pub(super) fn chain_start(seed: u64, round: u64) -> Chain {
    let mut stream = Stream::new(seed, Kernel::IntegerChain, round);
    std::array::from_fn(|_| std::array::from_fn(|_| stream.word()))
}

/// The constant of a step, so that no two steps are alike.
#[inline(always)]
pub(super) fn chain_key(step: u64) -> u64 {
    step.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A chain to be run.
struct Chained(Chain);

impl Work for Chained {
    type Output = Chain;

    #[inline(always)]
    fn work(self) -> Chain {
        let mut state = self.0;
        chain(&mut state);
        state
    }
}

#[inline(always)]
fn chain(state: &mut Chain) {
    let [left, right] = state;
    for step in 0..CHAIN_STEPS {
        let key = chain_key(step);
        for (x, y) in left.iter_mut().zip(right.iter_mut()) {
            *x = x.rotate_right(8).wrapping_add(*y) ^ key;
            *y = y.rotate_left(3) ^ *x;
        }
    }
}

/// C += A * B, row by row, from zero.
struct Product<T, S, const W: usize> {
    a: Vec<T>,
    b: Vec<T>,
    zero: T,
    step: S,
}

impl<T: Copy + PartialEq, S: Fn(T, T, T) -> T, const W: usize> Work for Product<T, S, W> {
    type Output = Vec<T>;

    #[inline(always)]
    fn work(self) -> Vec<T> {
        let panels: Vec<Vec<[T; W]>> = (0..SIDE / W)
            .map(|panel| pack(&self.b, panel, self.zero))
            .collect();
        let first = blocks(&self.a, SIDE, &panels, self.zero, &self.step);
        for _ in 1..PRODUCTS {
            // Not known to be the same product, so that it is computed each time.
            let a = std::hint::black_box(&self.a);
            let again = blocks(a, SIDE, &panels, self.zero, &self.step);
            if again != first {
                // One of them is wrong: the oracle says which word, this one's or no one's.
                return if first == blocks(a, SIDE, &panels, self.zero, &self.step) {
                    again
                } else {
                    first
                };
            }
        }
        first
    }
}

/// Columns of a block of FP64: two AVX-512 registers.
const WIDTH64: usize = 16;
/// Columns of a block of FP32.
const WIDTH32: usize = 32;

fn product64(a: Vec<f64>, b: Vec<f64>, unit: VectorUnit, fused: bool) -> Vec<u64> {
    let zero = 0.0;
    let c = if fused {
        let step = |x: f64, y: f64, sum: f64| x.mul_add(y, sum);
        on(unit, Product::<_, _, WIDTH64> { a, b, zero, step })
    } else {
        let step = |x: f64, y: f64, sum: f64| sum + x * y;
        on(unit, Product::<_, _, WIDTH64> { a, b, zero, step })
    };
    c.into_iter().map(f64::to_bits).collect()
}

fn product32(a: Vec<f32>, b: Vec<f32>, unit: VectorUnit, fused: bool) -> Vec<u64> {
    let zero = 0.0;
    let c = if fused {
        let step = |x: f32, y: f32, sum: f32| x.mul_add(y, sum);
        on(unit, Product::<_, _, WIDTH32> { a, b, zero, step })
    } else {
        let step = |x: f32, y: f32, sum: f32| sum + x * y;
        on(unit, Product::<_, _, WIDTH32> { a, b, zero, step })
    };
    c.into_iter().map(|x| u64::from(x.to_bits())).collect()
}

/// Rows of a block.
const ROWS: usize = 4;

/// A * B, each element summed in the order of the inner index, of which a row of A has `inner`. A block of four rows and `W` columns
/// stays in registers over the whole sum: vectors lie across columns, and there are enough
/// independent sums to keep every arithmetic unit busy.
#[inline(always)]
pub(super) fn blocks<T: Copy, const W: usize>(
    a: &[T],
    inner: usize,
    panels: &[Vec<[T; W]>],
    zero: T,
    step: &impl Fn(T, T, T) -> T,
) -> Vec<T> {
    let width = panels.len() * W;
    let mut c = vec![zero; a.len() / inner * width];
    for (a, c) in a
        .chunks_exact(ROWS * inner)
        .zip(c.chunks_exact_mut(ROWS * width))
    {
        let mut rows = a.chunks_exact(inner);
        let mut row = || rows.next().unwrap_or_default();
        let (a0, a1, a2, a3) = (row(), row(), row(), row());
        for (number, panel) in panels.iter().enumerate() {
            let [mut s0, mut s1, mut s2, mut s3] = [[zero; W]; ROWS];
            let terms = a0.iter().zip(a1).zip(a2.iter().zip(a3));
            for (((x0, x1), (x2, x3)), y) in terms.zip(panel) {
                s0 = add(*x0, y, s0, step);
                s1 = add(*x1, y, s1, step);
                s2 = add(*x2, y, s2, step);
                s3 = add(*x3, y, s3, step);
            }
            for (row, sums) in c.chunks_exact_mut(width).zip([s0, s1, s2, s3]) {
                if let Some(place) = row.chunks_exact_mut(W).nth(number) {
                    place.copy_from_slice(&sums);
                }
            }
        }
    }
    c
}

/// One row of a block: every sum and its next term. Whole arrays go in and out, which is what makes
/// the compiler keep them in vector registers in every build.
#[inline(always)]
fn add<T: Copy, const W: usize>(
    x: T,
    y: &[T; W],
    mut sums: [T; W],
    step: &impl Fn(T, T, T) -> T,
) -> [T; W] {
    let mut column = 0;
    while column < W {
        sums[column] = step(x, y[column], sums[column]);
        column += 1;
    }
    sums
}

/// The columns of a panel, row by row.
fn pack<T: Copy, const W: usize>(b: &[T], panel: usize, zero: T) -> Vec<[T; W]> {
    b.chunks_exact(SIDE)
        .map(|row| {
            let mut columns = [zero; W];
            for (column, x) in columns.iter_mut().zip(row.iter().skip(panel * W)) {
                *column = *x;
            }
            columns
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_unit_gives_the_same_bits() {
        for kernel in Kernel::ALL {
            let baseline = kernel.compute(7, 3, VectorUnit::Baseline);
            assert_eq!(baseline.len() as u64, kernel.words());
            for unit in VectorUnit::available() {
                assert_eq!(
                    kernel.compute(7, 3, unit),
                    baseline,
                    "{kernel} {}",
                    unit.name()
                );
            }
        }
    }

    #[test]
    fn rounds_and_seeds_differ() {
        for kernel in Kernel::ALL {
            let one = kernel.compute(7, 3, VectorUnit::Baseline);
            assert_ne!(one, kernel.compute(7, 4, VectorUnit::Baseline), "{kernel}");
            assert_ne!(one, kernel.compute(8, 3, VectorUnit::Baseline), "{kernel}");
        }
    }
}
