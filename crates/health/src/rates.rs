//! What was counted between two samples, and whether that is faster than it should be.
//!
//! # Invariants
//! - A counter that went backwards was reset, and one that has saturated tells no rate: neither
//!   gives one, and the first sample after a reset is a new baseline.
//! - A handful of errors in a short time is no rate: a limit a minute or an hour is passed only by
//!   at least [`ENOUGH`] errors between the two samples.

use cupel_model::snapshot::NamedCounter;
use cupel_model::{Counter, Event, LogSource, Reading, Snapshot};

use crate::context::Context;
use crate::outcome::Outcome;

/// So many errors between two samples are a rate. No published number.
pub const ENOUGH: u64 = 10;

/// Samples closer than this tell no rate, in seconds.
const SHORTEST: f64 = 1.0;

/// The time between the sample before and this one.
#[derive(Clone, Copy, Debug)]
pub struct Interval<'a> {
    /// The sample before.
    pub before: &'a Snapshot,
    /// How long ago it was taken.
    pub seconds: f64,
}

impl<'a> Interval<'a> {
    /// The interval that ends with this sample, or the outcome of every check that needs one.
    pub fn of(context: &Context<'a>) -> Result<Self, Outcome> {
        let Some(previous) = &context.snapshot.previous else {
            return Err(Outcome::skipped("one-sample"));
        };
        let seconds = previous.elapsed_seconds.get();
        if seconds < SHORTEST {
            return Err(Outcome::skipped("the two samples are too close together"));
        }
        Ok(Self {
            before: &previous.snapshot,
            seconds,
        })
    }

    /// `count` as a rate a second.
    pub fn per_second(&self, count: u64) -> f64 {
        whole(count) / self.seconds
    }

    /// Whether `count` between the samples is more than `limit` a second allows.
    pub fn exceeds(&self, count: u64, limit: f64) -> bool {
        if limit <= 0.0 {
            return count > 0;
        }
        count >= ENOUGH && self.per_second(count) > limit
    }
}

/// How a counter moved between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It counted so many.
    By(u64),
    /// It was reset meanwhile, or was not there before: a new baseline.
    Anew,
    /// It stands at its maximum: there is more than it can tell.
    Saturated,
}

/// How far a counter has moved.
pub fn moved(now: Counter, before: Option<Counter>) -> Moved {
    if now.saturated {
        return Moved::Saturated;
    }
    match before.and_then(|before| now.since(before)) {
        Some(count) => Moved::By(count),
        None => Moved::Anew,
    }
}

/// The counter of this name, where it is listed.
pub fn named<'a>(counters: &'a [NamedCounter], name: &str) -> Option<&'a Reading<Counter>> {
    let mut all = counters.iter();
    all.find(|counter| counter.name == name)
        .map(|counter| &counter.value)
}

/// A count as a floating number.
#[expect(
    clippy::cast_precision_loss,
    reason = "rates need no more than the 53 bits of a count"
)]
pub fn whole(count: u64) -> f64 {
    count as f64
}

/// A rate with as many digits as are worth reading.
pub fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// `count` within `seconds`, as a number a day; what took less than a day counts as within a day.
pub fn a_day(count: u64, seconds: f64) -> f64 {
    whole(count) / (seconds / DAY).max(1.0)
}

/// The events of the kernel log that the kernel itself wrote, with their places.
pub fn told<'a>(context: &Context<'a>, wanted: impl Fn(&Event) -> bool) -> Vec<(usize, &'a Event)> {
    let log = context.snapshot.kernel_log.iter().enumerate();
    log.filter(|(_, event)| event.source != LogSource::User && wanted(event))
        .collect()
}

/// How often these events happened.
pub fn times(events: &[(usize, &Event)]) -> u64 {
    let repeats = events.iter().map(|(_, event)| event.repeats);
    repeats.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Node;

    #[test]
    fn a_rate_needs_two_samples_and_more_than_a_handful() {
        let mut node = Node::good();
        assert!(Interval::of(&Context::new(&node.snapshot, None)).is_err());
        node.sample();
        let context = Context::new(&node.snapshot, None);
        let interval = Interval::of(&context).expect("ten seconds");
        let per_minute = 1.0 / 60.0;
        assert!(!interval.exceeds(9, per_minute));
        assert!(interval.exceeds(10, per_minute));
        assert!(!interval.exceeds(10, 1.0));
        assert!(interval.exceeds(1, 0.0));
        assert!(!interval.exceeds(0, 0.0));
    }

    #[test]
    fn counters_that_were_reset_or_are_full_give_no_rate() {
        let exact = Counter::exact;
        assert_eq!(moved(exact(7), Some(exact(5))), Moved::By(2));
        assert_eq!(moved(exact(1), Some(exact(5))), Moved::Anew);
        assert_eq!(moved(exact(1), None), Moved::Anew);
        let full = Counter::with_width(255, 8);
        assert_eq!(moved(full, Some(exact(5))), Moved::Saturated);
        assert_eq!(moved(exact(3), Some(full)), Moved::Anew);
    }

    #[test]
    fn what_took_less_than_a_day_counts_as_a_day() {
        assert!((a_day(3, 60.0) - 3.0).abs() < 1e-9);
        assert!((a_day(30, 10.0 * DAY) - 3.0).abs() < 1e-9);
    }
}
