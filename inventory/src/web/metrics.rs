//! Counters of this process, and `/metrics` in Prometheus' text format.
//!
//! # Invariants
//! - Every metric has a unit in its name, a help text, and a bounded set of labels.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use cupel_model::Severity;

use crate::record::IdentityState;
use crate::store::Figures;

/// Upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Durations, counted by how long they were.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(index) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[index].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str) {
        let mut sum = 0;
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let count = self.count.load(Ordering::Relaxed).max(sum);
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum {seconds}");
        let _ = writeln!(text, "{name}_count {count}");
    }
}

/// Why a certificate that was shown is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BadCertificate {
    /// Its time is over.
    Expired,
    /// It is not of this authority, its time has not begun, or it is damaged.
    Invalid,
    /// Its identity was taken away.
    Revoked,
    /// Its node was enrolled anew.
    Superseded,
    /// It is of this authority, and not in the database.
    Unknown,
}

impl BadCertificate {
    const ALL: [Self; 5] = [
        Self::Expired,
        Self::Invalid,
        Self::Revoked,
        Self::Superseded,
        Self::Unknown,
    ];

    /// What the verifier of connections says.
    pub fn of(error: &rustls::CertificateError) -> Self {
        use rustls::CertificateError::{Expired, ExpiredContext};
        if matches!(error, Expired | ExpiredContext { .. }) {
            Self::Expired
        } else {
            Self::Invalid
        }
    }

    /// As it stands in the metric.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Revoked => "revoked",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
        }
    }
}

type Labels = (&'static str, String);

/// What this process counts.
#[derive(Debug, Default)]
pub struct Metrics {
    reports: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    answers: Mutex<BTreeMap<Labels, u64>>,
    refused_certificates: [AtomicU64; BadCertificate::ALL.len()],
    report_seconds: Histogram,
}

impl Metrics {
    /// Counts a report. `kind` is empty when it was not understood.
    pub fn report(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        if let Ok(mut reports) = self.reports.lock() {
            *reports.entry((kind, outcome)).or_default() += 1;
        }
        self.report_seconds.observe(took);
    }

    /// Counts an answer.
    pub fn answered(&self, operation: &'static str, status: StatusCode, _took: Duration) {
        if let Ok(mut answers) = self.answers.lock() {
            let key = (operation, status.as_u16().to_string());
            *answers.entry(key).or_default() += 1;
        }
    }

    /// Counts a client's certificate that was not good. Gives how many that makes for this reason.
    pub fn refused_certificate(&self, reason: BadCertificate) -> u64 {
        let counts = BadCertificate::ALL.iter().zip(&self.refused_certificates);
        counts
            .filter(|(of, _)| **of == reason)
            .map(|(_, count)| count.fetch_add(1, Ordering::Relaxed) + 1)
            .sum()
    }

    /// All of it, and the store's figures, as Prometheus reads it.
    pub fn text(&self, figures: &Figures, listeners: usize) -> String {
        let mut page = Page(String::new());
        page.store(figures);
        page.head(
            "cupel_inventory_reports_total",
            "counter",
            "Reports by kind and by what became of them; the kind of a refused one is empty.",
        );
        if let Ok(reports) = self.reports.lock() {
            for ((kind, outcome), count) in reports.iter() {
                let _ = writeln!(
                    page.0,
                    "cupel_inventory_reports_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} {count}"
                );
            }
        }
        page.head(
            "cupel_inventory_report_duration_seconds",
            "histogram",
            "Time from the head of a report's request to its answer, commit included.",
        );
        self.report_seconds
            .write(&mut page.0, "cupel_inventory_report_duration_seconds");
        page.head(
            "cupel_inventory_http_answers_total",
            "counter",
            "Answers by operation and status.",
        );
        if let Ok(answers) = self.answers.lock() {
            for ((operation, status), count) in answers.iter() {
                let _ = writeln!(
                    page.0,
                    "cupel_inventory_http_answers_total{{operation=\"{operation}\",status=\"{status}\"}} {count}"
                );
            }
        }
        page.head(
            "cupel_inventory_refused_certificates_total",
            "counter",
            "Connections and requests that were refused because the client's certificate was not good.",
        );
        for (reason, count) in BadCertificate::ALL.iter().zip(&self.refused_certificates) {
            let _ = writeln!(
                page.0,
                "cupel_inventory_refused_certificates_total{{reason=\"{}\"}} {}",
                reason.word(),
                count.load(Ordering::Relaxed)
            );
        }
        page.one(
            "cupel_inventory_event_listeners",
            "Listeners to the stream of changes.",
            u64::try_from(listeners).unwrap_or(u64::MAX),
        );
        page.head(
            "cupel_inventory_build_info",
            "gauge",
            "1, with the version of the inventory.",
        );
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(
            page.0,
            "cupel_inventory_build_info{{version=\"{version}\"}} 1"
        );
        page.0
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn by<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, "gauge", help);
        for (value, count) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {count}");
        }
    }

    fn store(&mut self, figures: &Figures) {
        let mut verdicts = BTreeMap::from(
            ["healthy", "degraded", "unknown", "unhealthy"].map(|verdict| (verdict, 0)),
        );
        let mut states: BTreeMap<&str, u64> = BTreeMap::new();
        for (verdict, state, count) in &figures.nodes {
            let word = match verdict {
                cupel_model::Verdict::Healthy => "healthy",
                cupel_model::Verdict::Degraded => "degraded",
                cupel_model::Verdict::Unknown => "unknown",
                cupel_model::Verdict::Unhealthy => "unhealthy",
            };
            *verdicts.entry(word).or_default() += count;
            *states.entry(state).or_default() += count;
        }
        self.by(
            "cupel_inventory_nodes",
            "Nodes by verdict, the inventory's own findings counted in.",
            "verdict",
            verdicts.into_iter(),
        );
        self.by(
            "cupel_inventory_nodes_by_state",
            "Nodes by state.",
            "state",
            states.into_iter(),
        );
        self.one(
            "cupel_inventory_silent_nodes",
            "Nodes that are late although silence is not expected.",
            figures.silent,
        );
        let open = |severity: Severity| {
            let found = figures.findings.iter().find(|(of, _)| *of == severity);
            found.map_or(0, |(_, count)| *count)
        };
        self.by(
            "cupel_inventory_open_findings",
            "Findings that are not cleared, by severity.",
            "severity",
            [
                ("info", open(Severity::Info)),
                ("warning", open(Severity::Warning)),
                ("critical", open(Severity::Critical)),
            ]
            .into_iter(),
        );
        let [missing, present, mismatched] = figures.expected;
        self.by(
            "cupel_inventory_expected_nodes",
            "Entries of the expected list, by what became of them.",
            "state",
            [
                ("missing", missing),
                ("present", present),
                ("mismatched", mismatched),
            ]
            .into_iter(),
        );
        self.one(
            "cupel_inventory_unexpected_nodes",
            "Nodes that are not on the expected list; 0 without a list.",
            figures.unexpected,
        );
        self.identities(figures);
        self.one(
            "cupel_inventory_database_size_bytes",
            "Size of the database file.",
            figures.database_bytes,
        );
        self.one(
            "cupel_inventory_database_log_size_bytes",
            "Size of the database's write-ahead log.",
            figures.log_bytes,
        );
    }

    fn identities(&mut self, figures: &Figures) {
        let nodes = |state: IdentityState| {
            let found = figures.identities.iter().find(|(of, _)| *of == state);
            (state.word(), found.map_or(0, |(_, count)| *count))
        };
        self.by(
            "cupel_inventory_identities",
            "Nodes that were enrolled, by what their identity is worth.",
            "state",
            [
                IdentityState::Active,
                IdentityState::Expired,
                IdentityState::Revoked,
            ]
            .into_iter()
            .map(nodes),
        );
        self.head(
            "cupel_inventory_identity_earliest_expiry_timestamp_seconds",
            "gauge",
            "When the first of the active identities ends; nothing while there is none.",
        );
        if let Some(ends) = figures.identity_ends {
            let seconds = ends.microseconds().div_euclid(crate::clock::SECOND);
            let _ = writeln!(
                self.0,
                "cupel_inventory_identity_earliest_expiry_timestamp_seconds {seconds}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let histogram = Histogram::default();
        for millis in [1, 3, 30, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut text = String::new();
        histogram.write(&mut text, "x_seconds");
        assert!(
            text.contains("x_seconds_bucket{le=\"0.001\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("x_seconds_bucket{le=\"0.05\"} 3\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{le=\"+Inf\"} 4\n"), "{text}");
        assert!(text.contains("x_seconds_count 4\n"), "{text}");
    }

    #[test]
    fn each_metric_has_one_head() {
        let metrics = Metrics::default();
        metrics.report("heartbeat", "stored", Duration::from_millis(2));
        metrics.answered("listNodes", StatusCode::OK, Duration::ZERO);
        let text = metrics.text(&Figures::default(), 3);
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(text.contains("cupel_inventory_nodes{verdict=\"unhealthy\"} 0\n"));
    }
}
