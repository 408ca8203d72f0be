//! What systemd is told: ready, how it goes, still alive.
//!
//! # Invariants
//! - The watchdog is fed by the engine's own loop: an engine that hangs is restarted.
//! - Outside systemd all of this is nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::engine::Engine;

/// Tells systemd.
pub struct Notifier {
    silent: bool,
    ready: bool,
    status: String,
    feed_every: Option<Duration>,
    fed: Instant,
}

impl Notifier {
    /// `silent`: nothing is told.
    pub fn new(silent: bool) -> Self {
        Self {
            silent,
            ready: false,
            status: String::new(),
            // Thrice within its time, so that one late feeding ends nothing.
            feed_every: sd_notify::watchdog_enabled().map(|time| time / 3),
            fed: Instant::now(),
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if !self.silent
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::debug!("systemd is not told: {error}");
        }
    }

    /// After each round of the engine.
    pub fn tell(&mut self, engine: &Engine) {
        if self
            .feed_every
            .is_some_and(|every| self.fed.elapsed() >= every)
        {
            self.send(&[NotifyState::Watchdog]);
            self.fed = Instant::now();
        }
        if !self.ready && engine.has_judged() {
            self.ready = true;
            self.send(&[NotifyState::Ready]);
        }
        let status = engine.line();
        if status != self.status {
            self.send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// How long until the watchdog wants to be fed.
    pub fn wait(&self) -> Duration {
        self.feed_every.map_or(Duration::from_secs(3600), |every| {
            every
                .saturating_sub(self.fed.elapsed())
                .max(Duration::from_millis(10))
        })
    }

    /// The configuration is loaded again. Before it was ready there is nothing to tell: being ready
    /// must not be told too early.
    pub fn reloading(&self) {
        if !self.ready {
            return;
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!("no monotonic clock: {error}"),
        }
    }

    /// It was.
    pub fn ready_again(&self) {
        if !self.ready {
            return;
        }
        self.send(&[NotifyState::Ready]);
    }

    /// The service ends.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }
}
