//! The task that writes reports: as many as wait, in one transaction.
//!
//! # Invariants
//! - A report is answered after the commit that holds it, never before.
//! - A report that cannot be applied harms no other one: the batch is then done again one by one.

use std::sync::Weak;

use tokio::sync::{mpsc, oneshot};

use super::{Sqlite, apply};
use crate::ingest::{Incoming, IncomingBody};
use crate::store::{Error, Ingested};

/// Most reports that wait; beyond, the store is busy.
pub const WAITING: usize = 1024;

/// Most reports in one transaction.
const BATCH: usize = 256;

/// Most bytes of snapshots that wait, which is what large reports weigh.
const HEAVY: usize = 512;

/// A report that waits for its commit.
#[derive(Debug)]
pub struct Job {
    /// What to write.
    pub report: Box<Incoming>,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Ingested, Error>>,
}

/// Writes what comes until nobody can send any more.
pub async fn run(sqlite: Weak<Sqlite>, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(BATCH);
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        let Some(sqlite) = sqlite.upgrade() else {
            return;
        };
        sqlite.write_batch(&mut batch).await;
        batch.clear();
    }
}

impl Sqlite {
    /// Writes a report and waits for its commit.
    pub async fn ingest(&self, report: Box<Incoming>) -> Result<Ingested, Error> {
        let (answer, result) = oneshot::channel();
        let heavy = matches!(report.body, IncomingBody::Full(_));
        // Full reports are large: they may not fill the whole queue.
        if heavy && self.queue.capacity() < WAITING - HEAVY {
            return Err(Error::Busy);
        }
        self.queue
            .try_send(Job { report, answer })
            .map_err(|_| Error::Busy)?;
        result.await.map_err(|_| Error::Busy)?
    }

    async fn write_batch(&self, batch: &mut Vec<Job>) {
        let now = self.clock.microseconds();
        let reports: Vec<&Incoming> = batch.iter().map(|job| &*job.report).collect();
        let results = match self.write_together(&reports, now).await {
            Ok(results) => results,
            Err(error) if error.is_general() => {
                tracing::warn!(reports = reports.len(), "cannot store reports: {error}");
                reports.iter().map(|_| Err(error.clone())).collect()
            }
            Err(_) => {
                let mut results = Vec::with_capacity(reports.len());
                for report in &reports {
                    let one = self.write_together(std::slice::from_ref(report), now).await;
                    results.push(one.and_then(|mut all| all.pop().unwrap_or(Err(Error::Busy))));
                }
                results
            }
        };
        drop(reports);
        for (job, result) in batch.drain(..).zip(results) {
            // Who went away will send it again.
            let _ = job.answer.send(result);
        }
        if let Err(error) = self.tell().await {
            tracing::warn!("cannot tell what changed: {error}");
        }
    }

    async fn write_together(
        &self,
        reports: &[&Incoming],
        now: i64,
    ) -> Result<Vec<Result<Ingested, Error>>, Error> {
        let retention = self.retention();
        let mut transaction = self.begin().await?;
        let mut results = Vec::with_capacity(reports.len());
        for report in reports {
            match apply::apply(&mut transaction, report, now, &retention).await {
                // Found before anything is written.
                Err(Error::OtherContent) => results.push(Err(Error::OtherContent)),
                other => results.push(Ok(other?)),
            }
        }
        transaction.commit().await?;
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::ingest::parse;
    use crate::store::Options;

    fn report(sequence: u32, why: &str) -> Box<Incoming> {
        let json = format!(
            r#"{{"schema_version":1,"cupel_version":"0","node":"node-0001","boot":"boot-0001",
            "sequence":{sequence},"made_at":"2026-01-01T00:00:00Z","uptime_seconds":1,
            "next_within_seconds":60,"wanted":{{"etag":null,"refused":null}},
            "dropped":{{"heartbeats":0,"fulls":0,"changes":0}},
            "body":{{"kind":"stopping","why":"{why}"}}}}"#
        );
        Box::new(parse(json.as_bytes()).expect("report"))
    }

    async fn pragma(sqlite: &Sqlite, sql: &'static str) -> i64 {
        use sqlx::Row as _;
        let mut writer = sqlite.writer.lock().await;
        let row = sqlx::query(sql)
            .fetch_one(&mut *writer)
            .await
            .expect("pragma");
        row.try_get(0).expect("number")
    }

    async fn open(data: &std::path::Path) -> Arc<Sqlite> {
        let options = Options {
            data: data.to_path_buf(),
            clock: Clock::system(),
            migrate: true,
        };
        Sqlite::open(&options).await.expect("open").0
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_nothing_that_was_acknowledged_is_lost() {
        let data = tempfile::tempdir().expect("directory");
        let sqlite = open(data.path()).await;
        // SQLite's own limit gives the same result code as a disk without room.
        pragma(&sqlite, "PRAGMA max_page_count = 1").await;
        let why = "x".repeat(4000);
        let mut taken = Vec::new();
        let full = loop {
            let sequence = u32::try_from(taken.len()).expect("few") + 1;
            match sqlite.ingest(report(sequence, &why)).await {
                Ok(stored) => taken.push((sequence, stored.duplicate)),
                Err(error) => break error,
            }
            assert!(taken.len() < 10_000, "it never fills");
        };
        assert!(matches!(full, Error::Full), "{full:?}");
        let again = sqlite.ingest(report(9999, &why)).await;
        assert!(matches!(again, Err(Error::Full)), "{again:?}");
        pragma(&sqlite, "PRAGMA max_page_count = 100000").await;
        for (sequence, duplicate) in taken {
            assert!(!duplicate);
            let again = sqlite.ingest(report(sequence, &why)).await.expect("there");
            assert!(again.duplicate, "{sequence}");
        }
        let later = sqlite.ingest(report(9999, &why)).await.expect("room again");
        assert!(!later.duplicate);
    }

    #[tokio::test]
    async fn one_bad_report_in_a_batch_harms_no_other() {
        let data = tempfile::tempdir().expect("directory");
        let sqlite = open(data.path()).await;
        sqlite.ingest(report(1, "a")).await.expect("first");
        let all = [
            report(2, "a"),
            report(1, "another content"),
            report(3, "a"),
            report(1, "a"),
        ];
        let mut jobs = Vec::new();
        let mut answers = Vec::new();
        for report in all {
            let (answer, result) = oneshot::channel();
            jobs.push(Job { report, answer });
            answers.push(result);
        }
        sqlite.write_batch(&mut jobs).await;
        let mut results = Vec::new();
        for answer in answers {
            let result = answer.await.expect("answered");
            results.push(result.map(|stored| stored.duplicate));
        }
        assert!(matches!(results[0], Ok(false)), "{results:?}");
        assert!(
            matches!(results[1], Err(Error::OtherContent)),
            "{results:?}"
        );
        assert!(matches!(results[2], Ok(false)), "{results:?}");
        assert!(matches!(results[3], Ok(true)), "{results:?}");
    }
}
