//! What the inventory does by itself: it watches for silent nodes, and forgets what is old.
//!
//! # Invariants
//! - Silence counts from when the server began to listen. A clock that jumped, a process that was
//!   stopped, and reports that could not be stored begin it anew: none of these is a node's silence.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::App;
use super::problem::chain;
use crate::clock::SECOND;

/// Time between two rounds of forgetting.
const PRUNE: Duration = Duration::from_secs(3600);

/// How much longer than it should be the time between two looks may be before the server did not
/// listen in it.
const STALLED: i64 = 30 * SECOND;

/// From now on silence counts again.
pub fn forgive(app: &App) {
    let now = app.clock().microseconds();
    app.0.listening_since.fetch_max(now, Ordering::SeqCst);
}

impl App {
    /// Looks for silent nodes once.
    pub async fn sweep(&self) {
        let now = self.clock().microseconds();
        let since = self.0.listening_since.load(Ordering::SeqCst);
        match self.store().sweep(now, since).await {
            Ok(swept) if swept.raised + swept.escalated > 0 => tracing::info!(
                raised = swept.raised,
                escalated = swept.escalated,
                "nodes are silent"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!("cannot look for silent nodes: {}", chain(&error)),
        }
    }
}

/// Looks for silent nodes and forgets what is old, until the server ends.
pub async fn run(app: App) {
    let Some(every) = app.limits().sweep_every else {
        return;
    };
    let mut ending = app.0.ending.subscribe();
    let mut looked = app.clock().microseconds();
    let mut pruned = Instant::now();
    let between = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = ending.changed() => return,
        }
        let now = app.clock().microseconds();
        let passed = now.saturating_sub(looked);
        if !(0..=between + STALLED).contains(&passed) {
            tracing::warn!(
                seconds = passed / SECOND,
                "the clock jumped or this process was stopped"
            );
            // A clock set back: what was heard lies in the future, which harms nothing.
            app.0.listening_since.store(now, Ordering::SeqCst);
        }
        looked = now;
        app.sweep().await;
        if let Err(error) = app.store().tell().await {
            tracing::warn!("cannot tell what changed: {}", chain(&error));
        }
        if pruned.elapsed() >= PRUNE {
            pruned = Instant::now();
            match app.store().prune().await {
                Ok(pruned) => tracing::debug!("forgot {pruned:?}"),
                Err(error) => tracing::warn!("cannot forget what is old: {}", chain(&error)),
            }
        }
    }
}
