//! The server's clock, handed in so that tests can turn it.
//!
//! # Invariants
//! - Whoever needs "now" gets it from a [`Clock`]; nothing else here reads the time of day.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use cupel_model::Timestamp;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;

/// Tells the time of day.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// One that stands still until it is turned.
    pub fn set_to(now: Timestamp) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(now.microseconds()))))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        time(self.microseconds())
    }

    /// Now, in microseconds since 1970.
    pub fn microseconds(&self) -> i64 {
        match &self.0 {
            Source::System => jiff::Timestamp::now().as_microsecond(),
            Source::Set(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Turns it forward; the machine's clock cannot be turned and stays as it is.
    pub fn advance(&self, seconds: i64) {
        if let Source::Set(now) = &self.0 {
            now.fetch_add(seconds.saturating_mul(SECOND), Ordering::SeqCst);
        }
    }
}

/// Time since the process began, by a clock that never jumps.
pub fn uptime() -> std::time::Duration {
    static BEGAN: OnceLock<std::time::Instant> = OnceLock::new();
    BEGAN.get_or_init(std::time::Instant::now).elapsed()
}

/// A point in time from what the store holds; what is outside the calendar becomes 1970.
pub fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microseconds(microseconds).unwrap_or(Timestamp::EPOCH)
}

/// Seconds as whole microseconds, between 0 and a thousand years.
pub fn microseconds(seconds: f64) -> i64 {
    const LONGEST: f64 = 1000.0 * 366.0 * 86_400.0;
    let bounded = if seconds.is_finite() {
        seconds.clamp(0.0, LONGEST)
    } else {
        0.0
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded to a thousand years, which fits"
    )]
    let whole = (bounded * 1e6).round() as i64;
    whole
}

/// Microseconds as seconds.
pub fn seconds(microseconds: i64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 285 years; beyond that it is for show"
    )]
    let whole = microseconds as f64;
    whole / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_clock_stands_until_it_is_turned() {
        let clock = Clock::set_to(time(5 * SECOND));
        assert_eq!(clock.now().to_string(), "1970-01-01T00:00:05.000000Z");
        let same = clock.clone();
        same.advance(2);
        assert_eq!(clock.microseconds(), 7 * SECOND);
    }

    #[test]
    fn seconds_are_bounded_and_round_trip() {
        assert_eq!(microseconds(1.5), 1_500_000);
        assert_eq!(microseconds(-3.0), 0);
        assert_eq!(microseconds(f64::NAN), 0);
        assert!(microseconds(1e300) > 0);
        assert!((seconds(microseconds(86_400.25)) - 86_400.25).abs() < 1e-6);
    }
}
