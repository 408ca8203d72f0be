//! How patient the tracker is, and how much it keeps.

use std::time::Duration;

/// Holds and bounds. The defaults are for service; tests shorten them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A finding is cleared only after it has not been observed for this long (or for its check's
    /// window, where that is longer), by two judgements at least.
    pub hold: Duration,
    /// The same for a finding that keeps coming back.
    pub flapping_hold: Duration,
    /// So often back within 24 hours is "keeps coming back"; it is then confirmed as well.
    pub flapping: u32,
    /// No check's window counts as longer than this.
    pub longest_window: Duration,
    /// Most findings that are tracked.
    pub most: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(30),
            flapping_hold: Duration::from_secs(600),
            flapping: 3,
            longest_window: Duration::MAX,
            most: 4096,
        }
    }
}
