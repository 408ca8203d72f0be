//! The sample that rates are made with: kept once, however many look at it.
//!
//! # Invariants
//! - A judgement needs it inside its snapshot and takes it for as long as it lasts; whoever else asks
//!   waits for that, and gets a copy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cupel_model::Snapshot;
use cupel_model::snapshot::Previous;
use cupel_model::units::Seconds;

/// An earlier snapshot. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Sample(Arc<Mutex<Option<Box<Snapshot>>>>);

impl Sample {
    /// Of this snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(snapshot)))))
    }

    fn hold(&self) -> MutexGuard<'_, Option<Box<Snapshot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` on a snapshot that has this as its sample before, from `elapsed_seconds` ago.
    pub fn within<T>(
        &self,
        snapshot: &mut Snapshot,
        elapsed_seconds: Seconds,
        work: impl FnOnce(&Snapshot) -> T,
    ) -> T {
        let mut held = self.hold();
        snapshot.previous = held.take().map(|snapshot| Previous {
            elapsed_seconds,
            snapshot,
        });
        let done = work(snapshot);
        *held = snapshot.previous.take().map(|previous| previous.snapshot);
        done
    }

    /// A copy, as the sample before a snapshot.
    pub fn copy(&self, elapsed_seconds: Seconds) -> Option<Previous> {
        self.hold().as_ref().map(|snapshot| Previous {
            elapsed_seconds,
            snapshot: snapshot.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_health::testing::good;

    #[test]
    fn it_is_lent_and_comes_back() {
        let sample = Sample::new(good());
        let elapsed = Seconds::new(60.0).expect("finite");
        let mut now = good();
        let seen = sample.within(&mut now, elapsed, |snapshot| {
            let previous = snapshot.previous.as_ref().expect("a sample");
            (previous.elapsed_seconds, previous.snapshot.gpus.len())
        });
        assert_eq!(seen, (elapsed, 8));
        assert!(now.previous.is_none());
        let copy = sample.clone().copy(elapsed).expect("it came back");
        assert_eq!(*copy.snapshot, good());
    }
}
