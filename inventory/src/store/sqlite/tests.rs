//! What is kept and what is forgotten, counted in the tables themselves.

use std::sync::Arc;
use std::time::Duration;

use cupel_model::units::{Celsius, Seconds, Watts};
use cupel_model::wire::{Body, Dropped, GpuVitals, Report, WantedState};
use cupel_model::{CheckReport, Coverage, SCHEMA_VERSION, Verdict};

use super::Sqlite;
use super::row::Columns as _;
use crate::clock::{Clock, time};
use crate::ingest::parse;
use crate::store::{Options, Retention};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

struct Kept {
    sqlite: Arc<Sqlite>,
    clock: Clock,
    sequence: u64,
    boot: String,
    _data: tempfile::TempDir,
}

impl Kept {
    async fn new() -> Self {
        let data = tempfile::tempdir().expect("directory");
        // Midnight, so that days are easy to count.
        let clock = Clock::set_to("2026-03-01T00:00:00Z".parse().expect("time"));
        let options = Options {
            data: data.path().to_path_buf(),
            clock: clock.clone(),
            migrate: true,
        };
        let (sqlite, _) = Sqlite::open(&options).await.expect("open");
        Self {
            sqlite,
            clock,
            sequence: 0,
            boot: "11111111-0000-4000-8000-000000000001".to_owned(),
            _data: data,
        }
    }

    async fn tell(&mut self, body: Body) {
        self.sequence += 1;
        let report = Report {
            schema_version: SCHEMA_VERSION,
            cupel_version: "0".to_owned(),
            node: "4c4c4544-0000-0000-0000-000000000001".to_owned(),
            boot: self.boot.clone(),
            sequence: self.sequence,
            made_at: self.clock.now(),
            uptime_seconds: Seconds::new(60.0).expect("finite"),
            next_within_seconds: Seconds::new(60.0).expect("finite"),
            wanted: WantedState::default(),
            dropped: Dropped::default(),
            body,
        };
        let json = serde_json::to_vec(&report).expect("json");
        let report = parse(&json).expect("report");
        self.sqlite.ingest(Box::new(report)).await.expect("stored");
    }

    async fn full(&mut self) {
        let snapshot = cupel_health::testing::good();
        let check = CheckReport {
            schema_version: SCHEMA_VERSION,
            node: snapshot.node.clone(),
            platform: None,
            verdict: Verdict::Healthy,
            findings: Vec::new(),
            events: Vec::new(),
            coverage: Coverage::default(),
        };
        self.tell(Body::Full {
            hash: "h".to_owned(),
            snapshot: Box::new(snapshot),
            check: Box::new(check),
            findings: Vec::new(),
        })
        .await;
    }

    async fn beat(&mut self) {
        let vitals = GpuVitals {
            index: 0,
            temperature_celsius: Some(Celsius::new(31.25).expect("finite")),
            power_watts: Some(Watts::new(76.0).expect("finite")),
        };
        self.tell(Body::Heartbeat {
            hash: "h".to_owned(),
            verdict: Verdict::Healthy,
            gpus: vec![vitals],
        })
        .await;
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let mut writer = self.sqlite.writer.lock().await;
        let row = sqlx::query(sql).fetch_one(&mut *writer).await;
        row.expect("row").int("n").expect("number")
    }
}

#[tokio::test]
async fn the_newest_snapshots_are_kept_and_one_a_day() {
    let mut kept = Kept::new().await;
    kept.sqlite.retain(Retention {
        snapshots: 3,
        daily_snapshots: 2,
        ..Retention::default()
    });
    for _ in 0..4 * 8 {
        kept.full().await;
        kept.clock.advance(3 * HOUR);
    }
    // Four days of eight: the newest three, and the first of the day before and of this one.
    let sql = "SELECT count(*) AS n FROM snapshots";
    assert_eq!(kept.count(sql).await, 5);
    let oldest = kept
        .count("SELECT min(received_at) AS n FROM snapshots")
        .await;
    assert_eq!(time(oldest).to_string(), "2026-03-03T00:00:00.000000Z");
    // A node that says no more keeps its newest ones.
    kept.clock.advance(100 * DAY);
    let pruned = kept.sqlite.prune().await.expect("pruned");
    assert_eq!((pruned.snapshots, kept.count(sql).await), (2, 3));
}

#[tokio::test]
async fn one_sample_is_kept_in_five_minutes_and_for_a_while() {
    let mut kept = Kept::new().await;
    for _ in 0..20 {
        kept.beat().await;
        kept.clock.advance(60);
    }
    let sql = "SELECT count(*) AS n FROM samples";
    assert_eq!(kept.count(sql).await, 4);
    let node = "4c4c4544-0000-0000-0000-000000000001";
    let samples = kept
        .sqlite
        .samples(node, 0, i64::MAX)
        .await
        .expect("samples");
    assert_eq!(
        samples[0].gpus[0].temperature_celsius.map(Celsius::get),
        Some(31.3)
    );
    kept.clock.advance(15 * DAY);
    kept.beat().await;
    assert_eq!(kept.sqlite.prune().await.expect("pruned").samples, 4);
    assert_eq!(kept.count(sql).await, 1);
}

#[tokio::test]
async fn names_of_heartbeats_are_forgotten_before_others() {
    let mut kept = Kept::new().await;
    kept.full().await;
    kept.beat().await;
    kept.clock.advance(25 * HOUR);
    kept.beat().await;
    assert_eq!(kept.sqlite.prune().await.expect("pruned").reports, 1);
    let floors = "SELECT floor_heartbeats * 100 + floor_others AS n FROM boots";
    assert_eq!(kept.count(floors).await, 2 * 100 - 1);
    kept.clock.advance(90 * DAY);
    assert_eq!(kept.sqlite.prune().await.expect("pruned").reports, 2);
    assert_eq!(kept.count(floors).await, 3 * 100 + 1);
    assert_eq!(kept.count("SELECT count(*) AS n FROM nodes").await, 1);
}

#[tokio::test]
async fn very_many_boots_are_forgotten_but_for_when_they_were() {
    let mut kept = Kept::new().await;
    for number in 0..205 {
        kept.boot = format!("11111111-0000-4000-8000-{number:012}");
        kept.beat().await;
        kept.clock.advance(600);
    }
    kept.sqlite.prune().await.expect("pruned");
    let boots = kept.count("SELECT count(*) AS n FROM boots").await;
    assert_eq!(boots, 201, "two hundred and the one that runs");
    let before = kept.count("SELECT forgotten_before AS n FROM nodes").await;
    assert!(before > 0);
    let began = time(before).to_string();
    assert!(began.starts_with("2026-03-01T00:29"), "{began}");
}

#[tokio::test]
async fn history_ends_after_its_time_and_what_is_open_stays() {
    let mut kept = Kept::new().await;
    kept.sqlite.retain(Retention {
        history: Duration::from_secs(600),
        changes: Duration::from_secs(600),
        ..Retention::default()
    });
    kept.full().await;
    // Silent: a finding that stays open.
    kept.clock.advance(HOUR);
    let now = kept.clock.microseconds();
    assert_eq!(kept.sqlite.sweep(now, 0).await.expect("swept").raised, 1);
    kept.clock.advance(HOUR);
    let pruned = kept.sqlite.prune().await.expect("pruned");
    assert!(pruned.history > 0 && pruned.changes > 0, "{pruned:?}");
    assert_eq!(kept.count("SELECT count(*) AS n FROM changes").await, 0);
    assert_eq!(kept.count("SELECT count(*) AS n FROM findings").await, 1);
    let told = "SELECT count(*) AS n FROM history WHERE kind = 'finding'";
    assert_eq!(kept.count(told).await, 1, "how an open finding came about");
    kept.beat().await;
    kept.clock.advance(HOUR);
    kept.sqlite.prune().await.expect("pruned");
    assert_eq!(kept.count("SELECT count(*) AS n FROM findings").await, 0);
    let (first, last) = kept.sqlite.changes_kept().await.expect("kept");
    assert_eq!(first, 0);
    assert!(last > 0, "numbers are not given twice");
}
