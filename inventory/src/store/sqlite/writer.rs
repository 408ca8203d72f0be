//! The task that writes reports: as many as wait, in one transaction.
//!
//! # Invariants
//! - A report is answered after the commit that holds it, never before.
//! - A report that cannot be applied harms no other one: the batch is then done again one by one.

use std::sync::Weak;

use sqlx::Connection as _;
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
        self.tell();
        for (job, result) in batch.drain(..).zip(results) {
            // Who went away will send it again.
            let _ = job.answer.send(result);
        }
    }

    async fn write_together(
        &self,
        reports: &[&Incoming],
        now: i64,
    ) -> Result<Vec<Result<Ingested, Error>>, Error> {
        let retention = self.retention();
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
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
