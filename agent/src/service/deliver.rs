//! The reporter: the oldest report goes first, and is forgotten when an answer names it.
//!
//! # Invariants
//! - One report is on its way at a time, in the order in which they were made.
//! - Nothing is forgotten but by an answer that names it, or a refusal that is final.

use std::time::Duration;

use cupel_hardware::clock;
use cupel_model::Timestamp;
use cupel_reporting::{Backoff, Delivered, Delivery, Outcome, Spooled, WantedNews};
use tokio::sync::watch;

use super::input::{Input, Inputs};
use super::store::Store;

/// How long to wait for a word that a report may wait, before looking all the same.
const LOOK: Duration = Duration::from_secs(30);

/// News for the engine.
#[derive(Clone, Debug)]
pub enum News {
    /// A report was acknowledged.
    Delivered {
        /// When.
        at: Timestamp,
        /// A full report is asked for.
        send_full: bool,
        /// Other wishes than before.
        wanted: Option<Box<WantedNews>>,
    },
    /// It went wrong, and will be tried again.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// The inventory refused a report for good.
    Refused {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
}

/// Delivers until `stop` changes. While it stops, what waits is still sent as long as that goes
/// well; whoever stops it sets a limit.
pub async fn deliver(
    mut delivery: Delivery,
    store: Store,
    inputs: Inputs,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::default();
    loop {
        let Some(report) = store.next().await else {
            if *stop.borrow() {
                return;
            }
            tokio::select! {
                () = store.ready.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            continue;
        };
        let wait = match delivery.post(&report).await {
            Outcome::Delivered(delivered) => {
                backoff.reset();
                acknowledge(&store, &inputs, report, delivered).await;
                continue;
            }
            Outcome::Refused { why } => {
                tracing::warn!("the inventory refuses report {}: {why}", report.sequence);
                let at = clock::now();
                let told = why.clone();
                tell(&inputs, News::Refused { at, why: told }).await;
                store.refuse(report.boot, report.sequence, why).await;
                continue;
            }
            Outcome::Later { after, why } => {
                tracing::info!("report {} waits: {why}", report.sequence);
                let at = clock::now();
                tell(&inputs, News::Failed { at, why }).await;
                backoff.after(after)
            }
        };
        if *stop.borrow() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

async fn acknowledge(store: &Store, inputs: &Inputs, report: Spooled, delivered: Delivered) {
    for what in &delivered.not_understood {
        tracing::info!("the inventory's answer: {what}");
    }
    let news = News::Delivered {
        at: clock::now(),
        send_full: delivered.send_full,
        wanted: delivered.wanted.map(Box::new),
    };
    tell(inputs, news).await;
    store.acknowledge(report.boot, report.sequence).await;
}

/// The engine may be busy with a storm: its queue is waited for without holding this thread.
async fn tell(inputs: &Inputs, news: News) {
    for _ in 0..100 {
        if inputs.offer(Input::Delivery(news.clone())) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
