//! Bring-up as text for people.

use cupel_model::Verdict;

/// The contract's word.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Degraded => "degraded",
        Verdict::Unknown => "unknown",
        Verdict::Unhealthy => "unhealthy",
    }
}
