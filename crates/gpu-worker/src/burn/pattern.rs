//! The pattern of tested memory on the host's side: the function of kernels/pattern.cuh.

const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xbf58_476d_1ce4_e5b9;

/// The inverse of an odd number modulo 2^64, by Newton's iteration.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut step = 0;
    while step < 5 {
        guess = guess.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(guess)));
        step += 1;
    }
    guess
}

const STRIDE_INVERSE: u64 = inverse(STRIDE);
const FACTOR_INVERSE: u64 = inverse(FACTOR);

/// What belongs into word `index`.
#[inline]
pub fn word(seed: u64, index: u64) -> u64 {
    let mut z = index.wrapping_mul(STRIDE).wrapping_add(seed);
    z ^= z >> 32;
    z = z.wrapping_mul(FACTOR);
    z ^ z >> 32
}

/// The first of these words that is not what belongs there; they are words 0, 1, ….
pub fn first_wrong(seed: u64, words: &[u64]) -> Option<usize> {
    /// Words that are compared before anybody asks whether one differed.
    const STRIP: usize = 512;
    let mut first = 0_u64;
    for (number, strip) in words.chunks(STRIP).enumerate() {
        let differing = strip
            .iter()
            .zip(first..)
            .fold(0, |sum, (got, index)| sum | (got ^ word(seed, index)));
        if differing != 0 {
            let at = strip
                .iter()
                .zip(first..)
                .position(|(got, index)| *got != word(seed, index));
            return at.map(|at| number * STRIP + at);
        }
        first += strip.len() as u64;
    }
    None
}

/// Which word's pattern this is; every value is some word's.
pub fn index_of(seed: u64, word: u64) -> u64 {
    let mut z = word ^ word >> 32;
    z = z.wrapping_mul(FACTOR_INVERSE);
    z ^= z >> 32;
    z.wrapping_sub(seed).wrapping_mul(STRIDE_INVERSE)
}

/// A sequence of numbers that look random, from the same function.
pub struct Numbers {
    seed: u64,
    next: u64,
}

impl Numbers {
    /// Another sequence for each purpose of a job.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self {
            seed: word(!seed, purpose),
            next: 0,
        }
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        word(self.seed, self.next)
    }

    /// The next one below `limit`, which is above zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        let wide = (u128::from(self.number()) * u128::from(limit)) >> 64;
        u64::try_from(wide).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_its_index() {
        for index in [0, 1, 77, u64::MAX, 1 << 40] {
            assert_eq!(index_of(5, word(5, index)), index);
        }
    }

    #[test]
    fn it_is_the_function_of_the_kernels() {
        let mut words = vec![0; 4096];
        cupel_fake_driver::kernel_pattern(9, 5000, &mut words);
        for (index, is) in (5000..).zip(&words) {
            assert_eq!(word(9, index), *is, "{index}");
        }
    }

    #[test]
    fn the_first_wrong_word_is_found_wherever_it_is() {
        let mut words: Vec<u64> = (0..2000).map(|index| word(3, index)).collect();
        assert_eq!(first_wrong(3, &words), None);
        for at in [1999, 1024, 511, 0] {
            words[at] ^= 1 << 63;
            assert_eq!(first_wrong(3, &words), Some(at));
        }
        assert_eq!(first_wrong(3, &[]), None);
    }

    #[test]
    fn numbers_stay_below_their_limit_and_differ() {
        let mut numbers = Numbers::new(1, 2);
        let drawn: Vec<u64> = (0..100).map(|_| numbers.below(1000)).collect();
        assert!(drawn.iter().all(|n| *n < 1000));
        assert!(drawn.iter().any(|n| *n > 800) && drawn.iter().any(|n| *n < 200));
    }
}
