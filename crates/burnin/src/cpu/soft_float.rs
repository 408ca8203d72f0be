//! IEEE 754 multiplication and addition in integer arithmetic: an oracle that uses no
//! floating-point unit.
//!
//! # Invariants
//! - Round to nearest, ties to even, as the hardware does by default.
//! - Numbers are bits, so nothing can slip into a floating-point register on the way.
//!
//! # What is absent
//! Negative, subnormal and infinite operands of [`Format::multiply`], [`Format::add`] and
//! [`Format::multiply_add`]: the operands of the kernels are in [1, 2), their sums below 2^10.

/// A binary format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// Bits of the mantissa that are stored.
    mantissa: u32,
    /// What is added to the exponent.
    bias: u64,
}

/// `f64`.
pub(super) const FP64: Format = Format {
    mantissa: 52,
    bias: 1023,
};
/// `f32`.
pub(super) const FP32: Format = Format {
    mantissa: 23,
    bias: 127,
};

/// Extra bits below the mantissa while adding.
const GUARD: u32 = 64;

impl Format {
    fn split(self, bits: u64) -> (u64, u64) {
        let hidden = 1 << self.mantissa;
        (bits >> self.mantissa, bits & (hidden - 1) | hidden)
    }

    /// `significand` has its leading one at bit `top`; rounds it to the mantissa and packs it.
    fn pack(self, exponent: u64, significand: u128, top: u32) -> u64 {
        let shift = top - self.mantissa;
        let (mut kept, lost) = if shift == 0 {
            (significand, 0)
        } else {
            (significand >> shift, significand & ((1 << shift) - 1))
        };
        let half = if shift == 0 { 1 } else { 1_u128 << (shift - 1) };
        if lost > half || (lost == half && kept & 1 == 1) {
            kept += 1;
        }
        // A carry out of the mantissa adds one to the exponent by itself.
        let kept = u64::try_from(kept).unwrap_or(u64::MAX);
        (exponent << self.mantissa) + (kept - (1 << self.mantissa))
    }

    /// Product of two positive normal numbers.
    pub(super) fn multiply(self, a: u64, b: u64) -> u64 {
        let ((ea, sa), (eb, sb)) = (self.split(a), self.split(b));
        let product = u128::from(sa) * u128::from(sb);
        let top = 127 - product.leading_zeros();
        let carry = u64::from(top - 2 * self.mantissa);
        self.pack(ea + eb + carry - self.bias, product, top)
    }

    /// Sum of two positive normal numbers or positive zeros.
    pub(super) fn add(self, a: u64, b: u64) -> u64 {
        let (large, small) = if a >= b { (a, b) } else { (b, a) };
        if small == 0 {
            return large;
        }
        let ((el, sl), (es, ss)) = (self.split(large), self.split(small));
        let distance = u32::try_from(el - es).unwrap_or(u32::MAX);
        let wide = u128::from(ss) << GUARD;
        let shifted = match wide.checked_shr(distance) {
            Some(shifted) if shifted << distance == wide => shifted,
            Some(shifted) => shifted | 1,
            None => 1,
        };
        let sum = (u128::from(sl) << GUARD) + shifted;
        let top = 127 - sum.leading_zeros();
        let carry = u64::from(top - GUARD - self.mantissa);
        self.pack(el + carry, sum, top)
    }

    /// `a * b + c`, rounded once. `a` and `b` are in [1, 2), `c` is zero or in [1, 2^16).
    pub(super) fn multiply_add(self, a: u64, b: u64, c: u64) -> u64 {
        let ((_, sa), (_, sb)) = (self.split(a), self.split(b));
        // Both are in units of 2^(-2 * mantissa), in which every sum is exact.
        let mut sum = u128::from(sa) * u128::from(sb);
        if c != 0 {
            let (ec, sc) = self.split(c);
            let distance = u32::try_from(ec - self.bias).unwrap_or(0) + self.mantissa;
            sum += u128::from(sc) << distance;
        }
        let top = 127 - sum.leading_zeros();
        self.pack(self.bias + u64::from(top - 2 * self.mantissa), sum, top)
    }

    /// The bits of a whole number that this format holds exactly; a rounded one is `None`.
    pub(super) fn integer(self, number: i64) -> Option<u64> {
        if number == 0 {
            return Some(0);
        }
        let magnitude = number.unsigned_abs();
        let top = 63 - magnitude.leading_zeros();
        let exponent = self.bias + u64::from(top);
        let bits = if top >= self.mantissa {
            let shift = top - self.mantissa;
            if magnitude.trailing_zeros() < shift {
                return None;
            }
            self.pack(exponent, u128::from(magnitude), top)
        } else {
            let moved = magnitude << (self.mantissa - top);
            self.pack(exponent, u128::from(moved), self.mantissa)
        };
        Some(bits | u64::from(number < 0) << self.sign())
    }

    /// The whole number that these bits are; `None` for anything else, negative zero included.
    pub(super) fn as_integer(self, bits: u64) -> Option<i64> {
        if bits == 0 {
            return Some(0);
        }
        let sign = self.sign();
        let negative = bits >> sign == 1;
        if bits >> sign > 1 {
            return None;
        }
        let (exponent, significand) = self.split(bits & ((1 << sign) - 1));
        let top = u32::try_from(exponent.checked_sub(self.bias)?).ok()?;
        if top > 62 {
            return None;
        }
        let magnitude = if top >= self.mantissa {
            significand << (top - self.mantissa)
        } else {
            let shift = self.mantissa - top;
            if significand.trailing_zeros() < shift {
                return None;
            }
            significand >> shift
        };
        let magnitude = i64::try_from(magnitude).ok()?;
        Some(if negative { -magnitude } else { magnitude })
    }

    fn sign(self) -> u32 {
        // The exponent has as many bits as the bias, and one.
        self.mantissa + 65 - self.bias.leading_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_hardware_in_fp64(a in 1.0_f64..1000.0, b in 1.0_f64..1000.0, tiny in 1e-20_f64..1e-10) {
            let bits = |x: f64| x.to_bits();
            prop_assert_eq!(FP64.multiply(bits(a), bits(b)), bits(a * b));
            prop_assert_eq!(FP64.add(bits(a), bits(b)), bits(a + b));
            prop_assert_eq!(FP64.add(bits(a), bits(tiny)), bits(a + tiny));
            prop_assert_eq!(FP64.add(bits(a), 0), bits(a));
        }

        #[test]
        fn agrees_with_the_hardware_in_fp32(a in 1.0_f32..1000.0, b in 1.0_f32..1000.0, tiny in 1e-12_f32..1e-3) {
            let bits = |x: f32| u64::from(x.to_bits());
            prop_assert_eq!(FP32.multiply(bits(a), bits(b)), bits(a * b));
            prop_assert_eq!(FP32.add(bits(a), bits(b)), bits(a + b));
            prop_assert_eq!(FP32.add(bits(a), bits(tiny)), bits(a + tiny));
        }

        #[test]
        fn agrees_with_the_hardware_when_fused(
            a in 1.0_f64..2.0, b in 1.0_f64..2.0, c in 1.0_f64..1000.0,
        ) {
            let bits = f64::to_bits;
            prop_assert_eq!(FP64.multiply_add(bits(a), bits(b), bits(c)), bits(a.mul_add(b, c)));
            prop_assert_eq!(FP64.multiply_add(bits(a), bits(b), 0), bits(a.mul_add(b, 0.0)));
        }

        #[test]
        fn agrees_with_the_hardware_when_fused_in_fp32(
            a in 1.0_f32..2.0, b in 1.0_f32..2.0, c in 1.0_f32..1000.0,
        ) {
            let bits = |x: f32| u64::from(x.to_bits());
            prop_assert_eq!(FP32.multiply_add(bits(a), bits(b), bits(c)), bits(a.mul_add(b, c)));
        }

        #[test]
        fn whole_numbers_go_in_and_out(n in -(1_i64 << 52)..(1 << 52), m in -(1_i32 << 23)..(1 << 23)) {
            let bits = FP64.integer(n).expect("fits");
            prop_assert_eq!(f64::from_bits(bits), n as f64);
            prop_assert_eq!(FP64.as_integer(bits), Some(n));
            let bits = FP32.integer(i64::from(m)).expect("fits");
            prop_assert_eq!(FP32.as_integer(bits), Some(i64::from(m)));
        }
    }

    #[test]
    fn ties_go_to_even_and_what_is_no_whole_number_is_none() {
        let one = 1.0_f64.to_bits();
        let half_step = (f64::EPSILON / 2.0).to_bits();
        assert_eq!(FP64.add(one, half_step), one);
        assert_eq!(FP64.add(one + 1, half_step), one + 2);
        for bad in [0.5_f64, -0.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(FP64.as_integer(bad.to_bits()), None, "{bad}");
        }
        assert_eq!(FP32.integer((1 << 24) + 1), None);
    }
}
