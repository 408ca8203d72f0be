//! What others see: the status, what metrics are made from, and the gate.

use std::sync::Arc;
use std::time::Duration;

use cupel_health::track::Moment;
use cupel_model::snapshot::Node;
use cupel_model::units::Bytes;
use cupel_model::wire::Dropped;
use cupel_model::{Coverage, SCHEMA_VERSION, Timestamp, Verdict};
use cupel_reporting::{SetAside, State, Stats};

use super::Engine;
use crate::metrics::{IdentityUse, Own, Reporting, SourceState};
use crate::service::gate;
use crate::service::protocol::Happened;
use crate::service::published::{Published, Told};
use crate::service::store;
use crate::status::{
    Allocation, Configuration, Delivery, IdentityState, Inventory, Log, Source as SourceStatus,
    Status, Storage, WantedOfNode,
};

/// Least time between two publications of news that no judgement came with.
pub(super) const NEWS_GAP: Duration = Duration::from_secs(1);

/// How delivery went.
#[derive(Debug, Default)]
pub struct DeliveryState {
    delivered: u64,
    refused: u64,
    failed: u64,
    last_delivered_at: Option<Timestamp>,
    last_error: Option<String>,
    last_refused: bool,
}

impl DeliveryState {
    /// Whether anything was acknowledged.
    pub(super) fn any(&self) -> bool {
        self.delivered > 0
    }

    pub(super) fn delivered(&mut self, at: Timestamp) {
        self.delivered = self.delivered.saturating_add(1);
        self.last_delivered_at = Some(at);
        self.last_error = None;
        self.last_refused = false;
    }

    pub(super) fn failed(&mut self, _: Timestamp, why: String) {
        self.failed = self.failed.saturating_add(1);
        self.last_error = Some(why);
        self.last_refused = false;
    }

    pub(super) fn refused(&mut self, _: Timestamp, why: String) {
        self.refused = self.refused.saturating_add(1);
        self.last_error = Some(why);
        self.last_refused = true;
    }
}

/// How storage stands before the disk said anything.
pub fn storage(set_aside: &Option<SetAside>) -> store::News {
    if let Some(set_aside) = set_aside {
        tracing::warn!(
            "what was kept is damaged ({}), it is now {}",
            set_aside.why,
            set_aside.path.display()
        );
    }
    store::News {
        state: State::Saved,
        stats: Stats::default(),
        waiting: 0,
        begun_anew: None,
    }
}

/// What is published before anything is known.
pub fn first(
    settings: &crate::config::Settings,
    (now, since_boot): (Timestamp, Duration),
) -> Published {
    Published {
        at: since_boot,
        told: Told::default(),
        snapshot: None,
        previous: None,
        report: None,
        findings: Arc::from([]),
        own: Own {
            started_at: Some(now),
            ..Own::default()
        },
        status: Status {
            schema_version: SCHEMA_VERSION,
            cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
            said_at: now,
            started_at: now,
            uptime_seconds: Duration::ZERO.into(),
            node: Node::default(),
            tenancy: settings.tenancy.value,
            platform: None,
            verdict: Verdict::Unknown,
            judged_at: None,
            allocation: Allocation {
                allowed: true,
                why: None,
            },
            findings: Vec::new(),
            coverage: Coverage::default(),
            sources: Vec::new(),
            log: Log::default(),
            inventory: Inventory {
                state: Delivery::NotConfigured,
                host: None,
                waiting: 0,
                waiting_bytes: Bytes(0),
                oldest_waiting_since: None,
                last_delivered_at: None,
                last_error: None,
                dropped: Dropped::default(),
            },
            identity: None,
            wanted: WantedOfNode::default(),
            storage: Storage {
                saved: true,
                why: None,
            },
            released_until: None,
            configuration: Configuration {
                loaded_at: now,
                refused: None,
            },
        },
    }
}

impl Engine {
    /// How things stand, in a line.
    pub fn line(&self) -> String {
        crate::render::status::line(&self.outlets.published.borrow().status)
    }

    /// Lets others see how things stand, and tells whoever follows what happened.
    pub(super) fn publish(&mut self, now: &Moment) {
        if self
            .released_until
            .is_some_and(|until| now.since_boot >= until)
        {
            self.released_until = None;
            self.has_news = true;
        }
        let judged = self.last_published < self.last_judgement;
        let gap = self
            .last_published
            .is_none_or(|at| now.since_boot.saturating_sub(at) >= NEWS_GAP);
        if judged || (self.has_news && gap) || !self.happened.is_empty() {
            self.has_news = false;
            self.last_published = Some(now.since_boot);
            let status = self.status(now);
            let (snapshot, report) = match &self.latest {
                Some((snapshot, report)) => (Some(Arc::clone(snapshot)), Some(Arc::clone(report))),
                None => (None, None),
            };
            let published = Published {
                at: now.since_boot,
                snapshot,
                previous: self.previous.clone(),
                report,
                own: self.own(&status),
                findings: Arc::clone(&self.findings),
                status,
                told: self.told.clone(),
            };
            self.outlets.published.send_replace(Arc::new(published));
        }
        // After what they are part of can be seen: who asks then and follows misses nothing.
        let first = self.told.last.saturating_sub(
            u64::try_from(self.happened.len().saturating_sub(1)).unwrap_or(u64::MAX),
        );
        for numbered in (first..).zip(self.happened.drain(..)) {
            // Nobody follows: that is fine.
            let _ = self.outlets.happened.send(numbered);
        }
        self.write_gate(now);
    }

    /// Something happened that whoever follows is told with the next publication.
    pub(super) fn happened(&mut self, what: Happened) {
        self.told.last = self.told.last.saturating_add(1);
        self.happened.push(what);
    }

    /// Time between two words to the hook.
    fn gate_renewal(&self) -> Duration {
        gate::renewed_every(self.rules.settings.service.hook_valid.value)
    }

    /// When the word to the hook must be renewed, in time since boot.
    pub(super) fn gate_due(&self) -> Option<Duration> {
        let (at, _) = self.last_gate.as_ref()?;
        Some(at.saturating_add(self.gate_renewal()))
    }

    fn write_gate(&mut self, now: &Moment) {
        let Some((_, report)) = &self.latest else {
            return;
        };
        let valid = self.rules.settings.service.hook_valid.value;
        let (verdict, findings) = (report.verdict, &self.findings);
        let new = gate::gate(&now.boot, now.at, now.since_boot, valid, verdict, findings);
        let same = self.last_gate.as_ref().is_some_and(|(at, last)| {
            now.since_boot < at.saturating_add(self.gate_renewal())
                && (last.allowed, last.verdict, &last.reason, last.valid_seconds)
                    == (new.allowed, new.verdict, &new.reason, new.valid_seconds)
        });
        let tried = self
            .gate_failed
            .is_some_and(|at| now.since_boot.saturating_sub(at) < NEWS_GAP);
        if same || tried {
            return;
        }
        match gate::write(&self.outlets.gate, &new) {
            Ok(()) => {
                self.last_gate = Some((now.since_boot, new));
                self.gate_failed = None;
            }
            Err(error) => {
                if self.gate_failed.is_none() {
                    tracing::warn!("cannot write {}: {error}", self.outlets.gate.display());
                }
                self.gate_failed = Some(now.since_boot);
            }
        }
    }

    fn status(&self, now: &Moment) -> Status {
        let findings = &self.findings;
        let (snapshot, report) = match &self.latest {
            Some((snapshot, report)) => (Some(snapshot), Some(report)),
            None => (None, None),
        };
        let (records, lost) = self.log.counts();
        let why = gate::reason(findings);
        Status {
            schema_version: SCHEMA_VERSION,
            cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
            said_at: now.at,
            started_at: self.began.at,
            uptime_seconds: now.since_boot.saturating_sub(self.began.since_boot).into(),
            node: snapshot
                .map(|snapshot| snapshot.node.clone())
                .unwrap_or_default(),
            tenancy: self.rules.settings.tenancy.value,
            platform: report.and_then(|report| report.platform.clone()),
            verdict: report.map_or(Verdict::Unknown, |report| report.verdict),
            judged_at: snapshot.map(|snapshot| snapshot.taken_at),
            allocation: Allocation {
                allowed: why.is_none(),
                why,
            },
            findings: findings.to_vec(),
            coverage: report
                .map(|report| report.coverage.clone())
                .unwrap_or_default(),
            sources: self.sources(now),
            log: Log {
                records,
                lost,
                last_event_at: self.log.last_event(),
                why: self.log.why_unreadable().map(str::to_owned),
            },
            inventory: self.inventory(),
            identity: self.identity.clone(),
            wanted: WantedOfNode {
                lifecycle: self.wanted.as_ref().map(|wanted| wanted.lifecycle),
                baseline: self
                    .wanted
                    .as_ref()
                    .and_then(|wanted| wanted.baseline.clone()),
                upgrade: self
                    .wanted
                    .as_ref()
                    .and_then(|wanted| wanted.upgrade.clone()),
                upgrade_state: self.wanted_state.upgrade.clone(),
                etag: self.wanted_state.etag.clone(),
                refused: self.wanted_state.refused.clone(),
            },
            storage: match &self.storage.state {
                State::Saved if self.held.is_none() => Storage {
                    saved: true,
                    why: None,
                },
                State::Saved => Storage {
                    saved: false,
                    why: Some("the disk is slow: what is new waits in memory".to_owned()),
                },
                State::InMemory { why, .. } => Storage {
                    saved: false,
                    why: Some(why.clone()),
                },
            },
            released_until: self.released_until.and_then(|until| {
                let left = i64::try_from(until.saturating_sub(now.since_boot).as_micros()).ok()?;
                Timestamp::from_microseconds(now.at.microseconds().checked_add(left)?).ok()
            }),
            configuration: Configuration {
                loaded_at: self.rules.loaded_at,
                refused: self.rules.refused.clone(),
            },
        }
    }

    fn sources(&self, now: &Moment) -> Vec<SourceStatus> {
        self.rules
            .settings
            .service
            .every
            .keys()
            .map(|source| {
                let fragment = self.fragments.get(*source);
                let read = self.reads.iter().find(|read| read.source == *source);
                // A problem of the source itself, not of one of its devices.
                let whole = fragment.and_then(|fragment| {
                    fragment
                        .problems
                        .iter()
                        .find(|problem| problem.source == source.name())
                });
                SourceStatus {
                    name: source.name().to_owned(),
                    read_at: fragment.map(|fragment| fragment.taken_at),
                    age_seconds: fragment
                        .map(|fragment| now.since_boot.saturating_sub(fragment.since_boot).into()),
                    took_seconds: read.map(|read| read.took.into()),
                    why: match (fragment, whole) {
                        (None, _) => Some("not read yet".to_owned()),
                        (Some(_), Some(problem)) => Some(problem.why.clone()),
                        (Some(_), None) => None,
                    },
                }
            })
            .collect()
    }

    fn inventory(&self) -> Inventory {
        let url = self.rules.settings.inventory.url.value.as_deref();
        let waiting = self.storage.waiting;
        Inventory {
            state: match url {
                None => Delivery::NotConfigured,
                Some(_) if self.delivery.last_refused => Delivery::Refused,
                Some(_) if waiting > 0 || self.delivery.last_delivered_at.is_none() => {
                    Delivery::Waiting
                }
                Some(_) => Delivery::Delivered,
            },
            host: url.map(crate::status::host),
            waiting,
            waiting_bytes: Bytes(self.storage.stats.waiting_bytes),
            oldest_waiting_since: self.storage.stats.oldest_waiting,
            last_delivered_at: self.delivery.last_delivered_at,
            last_error: self.delivery.last_error.clone(),
            dropped: self.storage.stats.dropped,
        }
    }

    fn own(&self, status: &Status) -> Own {
        Own {
            started_at: Some(self.began.at),
            judgements: self.judgements,
            sources: status
                .sources
                .iter()
                .map(|source| SourceState {
                    name: source.name.clone(),
                    up: source.why.is_none(),
                    age_seconds: source.age_seconds,
                    took_seconds: source.took_seconds,
                })
                .collect(),
            kernel_log_records: status.log.records,
            kernel_log_lost: status.log.lost,
            driver_events: self.driver_events.clone(),
            gpu_workers_replaced: self.workers_replaced,
            // Read when somebody asks.
            processes: Vec::new(),
            state_saved: Some(status.storage.saved),
            released_until: status.released_until,
            configuration_loaded_at: Some(status.configuration.loaded_at),
            configuration_refused: status.configuration.refused.is_some(),
            reporting: status.inventory.host.is_some().then_some(Reporting {
                waiting: status.inventory.waiting,
                oldest_waiting: self.storage.stats.oldest_waiting,
                spool_bytes: self.storage.stats.waiting_bytes,
                delivered: self.delivery.delivered,
                refused: self.delivery.refused,
                failed: self.delivery.failed,
                dropped: status.inventory.dropped,
                last_delivery: self.delivery.last_delivered_at,
            }),
            identity: status.identity.as_ref().map(|identity| IdentityUse {
                is_good: identity.state == IdentityState::Good,
                expires: identity.not_after,
                renewal_failed: identity.renewal_error.is_some(),
            }),
        }
    }
}
