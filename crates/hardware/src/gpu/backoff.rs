//! When a GPU that hung the driver is tried again.

use std::time::Duration;

/// The longest pause, in minutes.
const LONGEST: u64 = 60;

/// How long a GPU is left alone after it hung or crashed the driver `failures` times in a row:
/// 1, 2, 4 … 60 minutes.
pub fn retry_after(failures: u32) -> Duration {
    let minutes = 1_u64
        .checked_shl(failures.saturating_sub(1))
        .map_or(LONGEST, |minutes| minutes.min(LONGEST));
    Duration::from_secs(minutes * 60)
}

#[cfg(test)]
mod tests {
    use super::retry_after;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let minutes: Vec<u64> = (1..=9).map(|n| retry_after(n).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(retry_after(u32::MAX).as_secs(), 3600);
        assert_eq!(retry_after(0).as_secs(), 60);
    }
}
