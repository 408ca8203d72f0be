//! What was found in the store a moment ago, so that it is not asked for every request.
//!
//! # Invariants
//! - Nothing is believed for longer than two seconds: another process may have changed it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long something is believed without asking the store again.
const BELIEVED: Duration = Duration::from_secs(2);

/// Most of what is believed.
const MOST: usize = 20_000;

/// What was found in the store a moment ago.
#[derive(Debug)]
pub struct Recent<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// What was kept under this key, if that was a moment ago.
    pub fn recall<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let held = self.0.lock().ok()?;
        let (at, value) = held.get(key)?;
        (at.elapsed() < BELIEVED).then(|| value.clone())
    }

    /// Keeps it for a moment.
    pub fn keep(&self, key: K, value: &V) {
        if let Ok(mut held) = self.0.lock() {
            if held.len() >= MOST {
                held.retain(|_, (at, _)| at.elapsed() < BELIEVED);
            }
            if held.len() < MOST {
                held.insert(key, (Instant::now(), value.clone()));
            }
        }
    }

    /// Forgets all of it: something was changed here.
    pub fn forget(&self) {
        if let Ok(mut held) = self.0.lock() {
            held.clear();
        }
    }
}
