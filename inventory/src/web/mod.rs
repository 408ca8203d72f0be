//! HTTP: the routes, who may call them, what they read and write.
//!
//! # Invariants
//! - Every route stands in [`table::routes`]; the router and `/openapi.json` are made from it.
//! - What a request may cost in memory and time is bounded before anything of it is trusted.
//! - A token's secret is in no log and in no answer but the one that makes it.

mod answer;
mod body;
mod enrolments;
mod events;
mod expected;
mod guard;
mod limits;
mod lists;
mod login;
mod metrics;
mod nodes;
mod openapi;
mod pages;
mod parameters;
mod problem;
mod reports;
mod route;
mod service;
mod table;
mod tls;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use tokio::sync::{Semaphore, broadcast, watch as channel};

pub use limits::{Limits, connections};
pub use metrics::Metrics;
pub use problem::{Body as ProblemBody, MEDIA_TYPE as PROBLEM, Mistake};
pub use route::{About, Access};
pub use service::{Bound, Server};
pub use table::routes;
pub use tls::{Secured, Tls, TlsError};

use crate::authority::{Authority, AuthorityError, Policy};
use crate::clock::Clock;
use crate::store::{Identity, Store, Token};

/// The API's description as JSON.
pub fn description() -> serde_json::Value {
    let routes = routes();
    openapi::describe(routes.iter().map(|route| &route.about))
}

/// What is set when the server starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Whether it is reached by TLS: then cookies say so.
    pub secure: bool,
    /// How certificates of nodes are made.
    pub policy: Policy,
}

/// What all requests share.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    clock: Clock,
    limits: Limits,
    metrics: Metrics,
    /// Whether this is reached by TLS: then cookies say so.
    secure: bool,
    /// Memory for bodies that are being read.
    body_memory: Arc<Semaphore>,
    /// Large reports that are being taken apart.
    heavy: Arc<Semaphore>,
    /// Memory for reports that wait for their commit.
    waiting: Arc<Semaphore>,
    /// Those who listen to the stream of changes.
    listeners: Arc<Semaphore>,
    /// Nodes that reported, for those who watch one.
    reported: broadcast::Sender<Arc<str>>,
    /// Turns true when the server ends.
    ending: channel::Sender<bool>,
    /// Since when silence is the nodes' own, in microseconds.
    listening_since: AtomicI64,
    tokens: guard::Recent<String, Token>,
    identities: guard::Recent<guard::Fingerprint, Identity>,
    /// How certificates of nodes are made.
    policy: Policy,
    authority: tokio::sync::OnceCell<Arc<Authority>>,
    description: std::sync::OnceLock<Vec<u8>>,
}

impl App {
    /// With this store.
    pub fn new(store: Store, clock: Clock, limits: Limits, setup: Setup) -> Self {
        let now = clock.microseconds();
        Self(Arc::new(Shared {
            body_memory: Arc::new(Semaphore::new(limits.body_memory)),
            heavy: Arc::new(Semaphore::new(limits.heavy_at_once)),
            waiting: Arc::new(Semaphore::new(limits.waiting_memory)),
            listeners: Arc::new(Semaphore::new(limits.listeners)),
            reported: broadcast::channel(1024).0,
            ending: channel::channel(false).0,
            listening_since: AtomicI64::new(now),
            metrics: Metrics::default(),
            tokens: guard::Recent::default(),
            identities: guard::Recent::default(),
            policy: setup.policy,
            authority: tokio::sync::OnceCell::new(),
            description: std::sync::OnceLock::new(),
            store,
            clock,
            limits,
            secure: setup.secure,
        }))
    }

    /// The authority that gives nodes their identity; it is made when it is first needed.
    ///
    /// # Errors
    /// Its files cannot be read or written.
    pub async fn authority(&self) -> Result<Arc<Authority>, AuthorityError> {
        let open = || async {
            let now = self.clock().microseconds();
            Authority::open(self.store().directory(), now).map(Arc::new)
        };
        self.0.authority.get_or_try_init(open).await.cloned()
    }

    /// How certificates of nodes are made.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn body_memory(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.body_memory)
    }

    /// Tells everything that lasts to end.
    pub fn end(&self) {
        self.0.ending.send_replace(true);
    }
}
