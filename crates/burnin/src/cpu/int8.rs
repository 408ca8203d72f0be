//! Products of signed bytes: exact, on vectors or in the tile unit of AMX, with the same bits.
//!
//! # Invariants
//! - Operands lie as tiles want them; whoever computes without tiles reads the same bytes.
//! - A tile unit is used only after it agreed with vectors on some processor: what disagrees on all
//!   of them is more likely a mistake of ours than of each processor.

use cupel_hardware::amx::{Amx, ROW_BYTES, ROWS, TILE};
use cupel_hardware::processor::{VectorUnit, Work, allowed, pin};
use cupel_model::Reading;

use super::kernel::{Kernel, PRODUCTS, blocks, on};
use super::operands::Stream;

/// Tiles of an operand: 16 x 4096 times 4096 x 16.
const TILES: usize = 64;
/// The inner index.
const INNER: usize = TILES * ROW_BYTES;
/// Words of a result.
pub(super) const WORDS: u64 = (ROWS * ROWS) as u64;
/// Operations of one product.
pub(super) const OPERATIONS: u64 = 2 * (ROWS * ROWS * INNER) as u64;
/// How often a product is computed in the tile unit for one result: a tile unit is that much
/// faster than vectors are.
const AMX_PRODUCTS: u64 = 1024;
/// Processors on which tiles are tried before they are given up.
const TRIED: usize = 4;

/// Both operands.
struct Operands {
    a: Vec<i8>,
    b: Vec<i8>,
}

impl Operands {
    fn new(seed: u64, round: u64) -> Self {
        let mut stream = Stream::new(seed, Kernel::Int8Product, round);
        let mut bytes = || -> Vec<i8> {
            let words = (0..TILES * TILE / 8).flat_map(|_| stream.word().to_le_bytes());
            words.map(u8::cast_signed).collect()
        };
        Self {
            a: bytes(),
            b: bytes(),
        }
    }

    fn a(&self, row: usize, inner: usize) -> i8 {
        self.a[inner / ROW_BYTES * TILE + row * ROW_BYTES + inner % ROW_BYTES]
    }

    fn b(&self, inner: usize, column: usize) -> i8 {
        let within = inner % ROW_BYTES;
        self.b[inner / ROW_BYTES * TILE + within / 4 * ROW_BYTES + 4 * column + within % 4]
    }
}

fn words(sums: &[i32]) -> Vec<u64> {
    sums.iter()
        .map(|sum| u64::from(sum.cast_unsigned()))
        .collect()
}

/// The operands as vectors want them: rows of the first, columns of the second side by side.
struct Plain {
    rows: Vec<i32>,
    panels: Vec<Vec<[i32; ROWS]>>,
}

impl Work for Plain {
    type Output = Vec<i32>;

    #[inline(always)]
    fn work(self) -> Vec<i32> {
        let step = |x: i32, y: i32, sum: i32| sum.wrapping_add(x.wrapping_mul(y));
        let first = blocks(&self.rows, INNER, &self.panels, 0, &step);
        for _ in 1..PRODUCTS {
            let rows = std::hint::black_box(&self.rows);
            let again = blocks(rows, INNER, &self.panels, 0, &step);
            if again != first {
                return again;
            }
        }
        first
    }
}

/// The result on a vector unit.
pub(super) fn on_vectors(seed: u64, round: u64, unit: VectorUnit) -> Vec<u64> {
    let operands = Operands::new(seed, round);
    let rows = (0..ROWS)
        .flat_map(|row| (0..INNER).map(move |inner| (row, inner)))
        .map(|(row, inner)| i32::from(operands.a(row, inner)))
        .collect();
    let columns = |inner| std::array::from_fn(|column| i32::from(operands.b(inner, column)));
    let panels = vec![(0..INNER).map(columns).collect()];
    words(&on(unit, Plain { rows, panels }))
}

/// The result in the tile unit, and the operations that it took.
pub(super) fn in_tiles(seed: u64, round: u64, amx: Amx) -> (Vec<u64>, u64) {
    let operands = Operands::new(seed, round);
    let first = amx.multiply(&operands.a, &operands.b);
    for _ in 1..AMX_PRODUCTS {
        let again = amx.multiply(&operands.a, &operands.b);
        if again != first {
            return (words(&again), AMX_PRODUCTS * OPERATIONS);
        }
    }
    (words(&first), AMX_PRODUCTS * OPERATIONS)
}

/// The tile unit, if there is one that agrees with vectors somewhere; else why not.
pub(super) fn usable(seed: u64) -> Reading<Amx> {
    Amx::find().and_then(|amx| {
        let agrees = |cpu: u32| {
            let agree = move || {
                // Elsewhere is as good as here.
                let _ = pin(cpu);
                in_tiles(seed, u64::MAX, amx).0 == on_vectors(seed, u64::MAX, VectorUnit::Baseline)
            };
            std::thread::spawn(agree).join().unwrap_or(false)
        };
        let cpus = allowed().unwrap_or_default();
        if cpus.into_iter().take(TRIED).any(agrees) {
            Reading::Value(amx)
        } else {
            Reading::failed(
                "the tile unit disagrees with vectors on every processor that was tried",
            )
        }
    })
}

/// C * r = A * (B * r) in whole numbers, for a vector r without zeros: a single wrong element always
/// shows.
pub(super) fn is_right(seed: u64, round: u64, words: &[u64]) -> bool {
    let operands = Operands::new(seed, round);
    let mut stream = Stream::new(!seed, Kernel::Int8Product, round);
    let r: Vec<i64> = (0..ROWS)
        .map(|_| i64::from(stream.word().to_le_bytes()[0]) + 1)
        .collect();
    let br: Vec<i64> = (0..INNER)
        .map(|inner| {
            let parts = r.iter().enumerate();
            parts
                .map(|(column, weight)| i64::from(operands.b(inner, column)) * weight)
                .sum()
        })
        .collect();
    words.len() as u64 == WORDS
        && words.chunks_exact(ROWS).enumerate().all(|(row, words)| {
            let mut sum = 0_i64;
            for (word, weight) in words.iter().zip(&r) {
                let Ok(bits) = u32::try_from(*word) else {
                    return false;
                };
                sum += i64::from(bits.cast_signed()) * weight;
            }
            let want: i64 = br
                .iter()
                .enumerate()
                .map(|(inner, weight)| i64::from(operands.a(row, inner)) * weight)
                .sum();
            sum == want
        })
}

/// All words of the result, element by element.
pub(super) fn truth(seed: u64, round: u64) -> Vec<u64> {
    let operands = Operands::new(seed, round);
    (0..ROWS * ROWS)
        .map(|at| {
            let sum: i64 = (0..INNER)
                .map(|inner| {
                    i64::from(operands.a(at / ROWS, inner))
                        * i64::from(operands.b(inner, at % ROWS))
                })
                .sum();
            // 4096 products of two bytes stay far below 2^31.
            i32::try_from(sum).map_or(u64::MAX, |sum| u64::from(sum.cast_unsigned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_tiles_and_oracle_agree() {
        let right = truth(9, 3);
        for unit in VectorUnit::available() {
            assert_eq!(on_vectors(9, 3, unit), right, "{}", unit.name());
        }
        assert!(is_right(9, 3, &right));
        for at in [0, 17, 255] {
            let mut wrong = right.clone();
            wrong[at] ^= 1 << 30;
            assert!(!is_right(9, 3, &wrong), "{at}");
        }
        match usable(9) {
            Reading::Value(amx) => assert_eq!(in_tiles(9, 3, amx).0, right),
            Reading::Unsupported(why) => eprintln!("left out: {why}"),
            Reading::Absent(why) | Reading::Failed(why) => panic!("{why}"),
        }
    }
}
