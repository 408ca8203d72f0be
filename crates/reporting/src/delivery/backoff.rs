//! How long to wait after a failure.
//!
//! # Invariants
//! - Between [`FLOOR`] and [`CEILING`], or bounds of one's own, or what the inventory asked for and
//!   up to a tenth more; spread evenly, so that a fleet that lost its inventory at one moment does
//!   not come back at one.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Least wait.
pub const FLOOR: Duration = Duration::from_secs(1);

/// Longest wait of its own accord.
pub const CEILING: Duration = Duration::from_secs(5 * 60);

/// Waits after failures in a row.
#[derive(Debug)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    failures: u32,
    random: StdRng,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(FLOOR, CEILING, 0)
    }
}

impl Backoff {
    /// Waits within these bounds, after `failures` in a row that are remembered elsewhere.
    pub fn between(floor: Duration, ceiling: Duration, failures: u32) -> Self {
        Self {
            floor,
            ceiling,
            failures,
            random: rand::make_rng(),
        }
    }

    /// Always the same waits, for tests.
    pub fn seeded(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            ..Self::default()
        }
    }

    /// How long to wait after one more failure; `asked` is what the inventory asked for.
    pub fn after(&mut self, asked: Option<Duration>) -> Duration {
        let random = self.random.random();
        let wait = bounded(self.floor, self.ceiling, self.failures, asked, random);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// It went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The wait after `failures` earlier failures in a row: evenly between [`FLOOR`] and a bound that
/// starts at twice that and doubles up to [`CEILING`]. `random` is in `0.0..1.0`.
pub fn delay(failures: u32, asked: Option<Duration>, random: f64) -> Duration {
    bounded(FLOOR, CEILING, failures, asked, random)
}

fn bounded(
    floor: Duration,
    ceiling: Duration,
    failures: u32,
    asked: Option<Duration>,
    random: f64,
) -> Duration {
    let random = if random.is_finite() {
        random.clamp(0.0, 1.0)
    } else {
        1.0
    };
    let doubled = 2_u32.checked_pow(failures.saturating_add(1).min(31));
    let bound = floor
        .saturating_mul(doubled.unwrap_or(u32::MAX))
        .min(ceiling);
    let own = floor + bound.saturating_sub(floor).mul_f64(random);
    let asked = asked.unwrap_or_default();
    own.max(asked + asked.mul_f64(random / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling_and_are_spread_over_all_of_it() {
        let seconds = |failures, random| delay(failures, None, random).as_secs_f64();
        let longest: Vec<f64> = (0..10).map(|failures| seconds(failures, 1.0)).collect();
        assert_eq!(
            longest,
            [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]
        );
        for failures in [0, 1, 8, 31, u32::MAX] {
            assert_eq!(delay(failures, None, 0.0), FLOOR);
            assert!(delay(failures, None, 1.0) <= CEILING);
        }
        assert_eq!(seconds(2, 0.5), 4.5);
    }

    #[test]
    fn what_the_inventory_asks_for_is_the_least() {
        let asked = Some(Duration::from_secs(100));
        assert_eq!(delay(0, asked, 0.0), Duration::from_secs(100));
        assert_eq!(delay(0, asked, 1.0), Duration::from_secs(110));
        assert_eq!(delay(9, asked, 1.0), CEILING);
        assert_eq!(delay(0, None, f64::NAN), Duration::from_secs(2));
    }

    #[test]
    fn a_fleet_does_not_come_back_at_one_moment() {
        let mut waits: Vec<u64> = (0..1000)
            .map(|seed| {
                let mut backoff = Backoff::seeded(seed);
                for _ in 0..8 {
                    backoff.after(None);
                }
                backoff.after(None).as_secs()
            })
            .collect();
        waits.sort_unstable();
        let most = waits
            .chunk_by(|a, b| a == b)
            .map(<[u64]>::len)
            .max()
            .expect("waits");
        assert!(most < 20, "{most} of 1000 nodes within one second of 299");
    }

    #[test]
    fn bounds_and_failures_may_come_from_elsewhere() {
        let (floor, ceiling) = (Duration::from_secs(60), Duration::from_secs(3600));
        for (failures, most) in [(0, 120), (1, 240), (5, 3600), (u32::MAX, 3600)] {
            for _ in 0..50 {
                let wait = Backoff::between(floor, ceiling, failures).after(None);
                assert!(wait >= floor, "{failures}: {wait:?}");
                assert!(wait <= Duration::from_secs(most), "{failures}: {wait:?}");
            }
        }
    }

    #[test]
    fn success_begins_again_and_a_seed_repeats() {
        let mut a = Backoff::seeded(7);
        let mut b = Backoff::seeded(7);
        let waits: Vec<Duration> = (0..20).map(|_| a.after(None)).collect();
        assert_eq!(
            waits,
            (0..20).map(|_| b.after(None)).collect::<Vec<Duration>>()
        );
        a.reset();
        assert!(a.after(None) <= Duration::from_secs(2));
    }
}
