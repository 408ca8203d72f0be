//! Operands of products on the host's side, and the oracle: what an exact product must be, from the
//! seed alone, without the GPU. The functions of kernels/operands.cu.

use cupel_model::worker_burnin::Element;

use super::pattern;

/// How kernels call the types.
pub fn number_of(element: Element) -> u32 {
    match element {
        Element::Bf16 => 0,
        Element::Fp8 => 1,
        Element::Fp32 => 2,
        Element::Fp64 => 3,
    }
}

/// Bytes of an element.
pub fn bytes_of(element: Element) -> u64 {
    match element {
        Element::Bf16 => 2,
        Element::Fp8 => 1,
        Element::Fp32 => 4,
        Element::Fp64 => 8,
    }
}

/// Bytes of an element of the result.
pub fn result_bytes(element: Element) -> u64 {
    match element {
        Element::Bf16 | Element::Fp8 | Element::Fp32 => 4,
        Element::Fp64 => 8,
    }
}

/// Largest magnitude of an exact operand.
fn amplitude(element: Element) -> i64 {
    match element {
        Element::Bf16 => 15,
        Element::Fp8 => 1,
        Element::Fp32 => 31,
        Element::Fp64 => 1 << 19,
    }
}

/// The integer that is element `index` of an exact operand.
#[inline]
pub fn integer(element: Element, seed: u64, index: u64) -> i64 {
    let random = pattern::word(seed, index);
    if element == Element::Fp8 {
        return match random & 3 {
            0 => 1,
            1 => -1,
            _ => 0,
        };
    }
    let amplitude = amplitude(element);
    let range = 2 * amplitude.unsigned_abs() + 1;
    // The range is below 2^21, so the product fits and the quotient is below 2^21.
    let drawn = ((random >> 32) * range) >> 32;
    i64::try_from(drawn).unwrap_or(0) - amplitude
}

/// An exact product: C = A times the transpose of B, A of `rows` x `depth`, B of `columns` x `depth`.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    /// Type of the operands.
    pub element: Element,
    /// Rows of A.
    pub rows: u64,
    /// Rows of B.
    pub columns: u64,
    /// Columns of both.
    pub depth: u64,
    /// Seed of A.
    pub seed_a: u64,
    /// Seed of B.
    pub seed_b: u64,
}

/// What the sums of a product must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Of each row: C times a vector of ones is A times (the transpose of B times ones).
    pub rows: Vec<i64>,
    /// Of each column.
    pub columns: Vec<i64>,
}

impl Exact {
    /// The sums, from the operands alone: four passes over them instead of a product.
    pub fn sums(&self) -> Sums {
        let across = |seed, rows| totals(self.element, seed, rows, self.depth);
        let times = |seed, rows, totals: &[i64]| {
            (0..rows)
                .map(|row| {
                    totals
                        .iter()
                        .zip(row * self.depth..)
                        .fold(0_i64, |sum, (total, index)| {
                            let product = integer(self.element, seed, index).wrapping_mul(*total);
                            sum.wrapping_add(product)
                        })
                })
                .collect()
        };
        let (of_a, of_b) = (
            across(self.seed_a, self.rows),
            across(self.seed_b, self.columns),
        );
        Sums {
            rows: times(self.seed_a, self.rows, &of_b),
            columns: times(self.seed_b, self.columns, &of_a),
        }
    }

    /// One element of the product.
    pub fn element_at(&self, row: u64, column: u64) -> i64 {
        let (a, b) = (row * self.depth, column * self.depth);
        (0..self.depth).fold(0_i64, |sum, k| {
            let left = integer(self.element, self.seed_a, a + k);
            let right = integer(self.element, self.seed_b, b + k);
            sum.wrapping_add(left.wrapping_mul(right))
        })
    }

    /// One element as the GPU must give it, bit by bit.
    pub fn bits_at(&self, row: u64, column: u64) -> u64 {
        let value = self.element_at(row, column);
        if self.element == Element::Fp64 {
            return double(value).to_bits();
        }
        u64::from(single(value).to_bits())
    }
}

/// Sums over the rows of an operand, one for each column.
fn totals(element: Element, seed: u64, rows: u64, depth: u64) -> Vec<i64> {
    let mut totals = vec![0_i64; usize::try_from(depth).unwrap_or(0)];
    for row in 0..rows {
        for (total, index) in totals.iter_mut().zip(row * depth..) {
            *total += integer(element, seed, index);
        }
    }
    totals
}

#[expect(
    clippy::cast_precision_loss,
    reason = "every partial sum is below 2^24: operands are chosen so"
)]
fn single(value: i64) -> f32 {
    value as f32
}

#[expect(
    clippy::cast_precision_loss,
    reason = "every partial sum is below 2^53: operands are chosen so"
)]
fn double(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_elements() {
        for element in Element::ALL {
            let exact = Exact {
                element,
                rows: 12,
                columns: 7,
                depth: 33,
                seed_a: 5,
                seed_b: 6,
            };
            let rows: Vec<i64> = (0..12)
                .map(|row| (0..7).map(|column| exact.element_at(row, column)).sum())
                .collect();
            let columns: Vec<i64> = (0..7)
                .map(|column| (0..12).map(|row| exact.element_at(row, column)).sum())
                .collect();
            assert_eq!(exact.sums(), Sums { rows, columns }, "{element:?}");
        }
    }

    #[test]
    fn no_partial_sum_outgrows_the_accumulator() {
        let most = |element| amplitude(element) * amplitude(element) * 8192;
        assert!(most(Element::Bf16) < 1 << 24);
        assert!(most(Element::Fp32) < 1 << 24);
        assert!(most(Element::Fp64) < 1 << 53);
        // Half of the fp8 operands are 0, so that a quarter of the products is not.
        let nonzero = (0..8192)
            .filter(|i| integer(Element::Fp8, 3, *i) != 0)
            .count();
        assert!((3900..4300).contains(&nonzero), "{nonzero}");
    }

    #[test]
    fn every_integer_of_the_range_comes_and_none_else() {
        let drawn: std::collections::BTreeSet<i64> =
            (0..4096).map(|i| integer(Element::Bf16, 1, i)).collect();
        assert_eq!(drawn, (-15..=15).collect());
    }
}
