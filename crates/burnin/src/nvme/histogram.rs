//! Times of many requests, in constant memory.
//!
//! # Invariants
//! - A time is known to one part in 32; the longest is kept exactly.

use std::time::Duration;

/// Steps between one power of two and the next.
const STEPS: u64 = 32;
const STEP_BITS: u32 = 5;

/// How often each time was seen.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; usize::try_from(64 * STEPS).unwrap_or(0)],
            total: 0,
            longest: 0,
        }
    }
}

fn place(nanoseconds: u64) -> usize {
    let place = if nanoseconds < STEPS {
        nanoseconds
    } else {
        let power = 63 - nanoseconds.leading_zeros();
        let shift = power - STEP_BITS;
        let step = (nanoseconds >> shift) - STEPS;
        u64::from(shift + 1) * STEPS + step
    };
    usize::try_from(place).unwrap_or(0)
}

/// The longest time that belongs to a place.
fn upper(place: u64) -> u64 {
    if place < STEPS {
        return place;
    }
    let (shift, step) = (place / STEPS - 1, place % STEPS);
    ((STEPS + step) << shift) + ((1 << shift) - 1)
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(place(nanoseconds)) {
            *count += 1;
        }
        self.total += 1;
        self.longest = self.longest.max(nanoseconds);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The longest, in µs.
    pub(super) fn longest(&self) -> f64 {
        self.longest as f64 / 1000.0
    }

    /// The time, in µs, that this share of the requests did not exceed.
    pub(super) fn share(&self, share: f64) -> f64 {
        let wanted = share * self.total as f64;
        let mut seen = 0;
        for (place, count) in (0_u64..).zip(&self.counts) {
            seen += count;
            if seen as f64 >= wanted && *count > 0 {
                return upper(place).min(self.longest) as f64 / 1000.0;
            }
        }
        self.longest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_time_is_known_to_a_part_in_32(nanoseconds: u64) {
            let at = place(nanoseconds);
            prop_assert!(at < 64 * 32);
            let most = upper(at as u64);
            prop_assert!(most >= nanoseconds);
            prop_assert!((most - nanoseconds) as f64 <= nanoseconds as f64 / 32.0 + 1.0);
        }
    }

    #[test]
    fn shares_of_a_thousand_requests() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let mut twice = Histogram::default();
        twice.merge(&histogram);
        for (share, want) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = twice.share(share);
            assert!((got - want).abs() / want < 0.04, "{share}: {got}");
        }
        assert_eq!(twice.longest(), 1000.0);
        assert_eq!(twice.total(), 1000);
    }
}
