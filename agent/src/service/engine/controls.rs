//! What others ask of the engine: release the driver, clear a finding, load the configuration; and
//! news from the disk, the inventory and the journal.

use std::time::Duration;

use cupel_hardware::journal::EarlierBoots;
use cupel_model::Reading;
use cupel_model::wire::{UpgradeState, Wanted};
use cupel_reporting::{Change, WantedDocument, WantedNews};
use tokio::sync::oneshot;

use super::reports::of_boot;
use super::{Engine, Rules, Wish};
use crate::render::words::word;
use crate::service::deliver::News;
use crate::service::protocol::{Ask, Happened, Reply};

/// Longest time for which the driver is let go.
const LONGEST_RELEASE: f64 = 86_400.0;

/// Longest reason of a person.
const BECAUSE: usize = 500;

/// The wishes as they are kept.
pub fn document(wanted: &Wanted) -> Option<WantedDocument> {
    Some(WantedDocument {
        etag: wanted.etag.clone(),
        json: serde_json::to_string(wanted).ok()?,
    })
}

impl Engine {
    /// Answers a question that changes something.
    pub(super) fn asked(&mut self, ask: Ask, answer: oneshot::Sender<Reply>) -> Vec<Wish> {
        let (reply, wishes) = match ask {
            Ask::Release { seconds } => self.release(seconds),
            Ask::Resume {} => {
                self.released_until = None;
                (
                    Reply::Done("the GPU driver is taken up again".to_owned()),
                    vec![Wish::Release(None)],
                )
            }
            Ask::Clear { id, because } => (self.clear(&id, &because), Vec::new()),
            Ask::Reload {} => (
                Reply::Done("configuration and identity are loaded again".to_owned()),
                vec![Wish::Reload],
            ),
            Ask::Bringup { summary } => {
                self.reports.bringup(*summary);
                (
                    Reply::Done("the bring-up will be reported".to_owned()),
                    Vec::new(),
                )
            }
            Ask::Status {} | Ask::Snapshot {} | Ask::Events { .. } => (
                Reply::Error("this is answered by what was published".to_owned()),
                Vec::new(),
            ),
        };
        // Whoever asked went away: what was asked for is done all the same.
        let _ = answer.send(reply);
        wishes
    }

    fn release(&mut self, seconds: f64) -> (Reply, Vec<Wish>) {
        let time = Some(seconds)
            .filter(|seconds| (1.0..=LONGEST_RELEASE).contains(seconds))
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let Some(time) = time else {
            let why = format!("{seconds} s is not between 1 s and 24 h");
            return (Reply::Error(why), Vec::new());
        };
        let until = self.now().since_boot + time;
        self.released_until = Some(until);
        (
            Reply::Done(format!(
                "the GPU driver is let go for {} s; GPUs are not read meanwhile",
                time.as_secs()
            )),
            vec![Wish::Release(Some(until))],
        )
    }

    fn clear(&mut self, id: &str, because: &str) -> Reply {
        let because: String = because
            .chars()
            .filter(|c| !c.is_control())
            .take(BECAUSE)
            .collect();
        if because.trim().is_empty() {
            return Reply::Error("say why it is over".to_owned());
        }
        let now = self.now();
        let Some(change) = self.tracker.clear(id, &because, &now) else {
            return Reply::Error(format!(
                "there is no finding {id:?}; cupel status shows each with its id"
            ));
        };
        self.happened(Happened::Finding {
            change: Box::new(change.clone()),
        });
        self.forget(&change.tracked.finding);
        self.reports.changed(vec![change]);
        self.see_findings();
        self.soil();
        self.urgent = true;
        Reply::Done(format!("{id} is cleared"))
    }

    /// Goes by a newly loaded configuration, or says why it does not.
    pub fn reload(&mut self, loaded: anyhow::Result<Rules>) -> Vec<Wish> {
        self.has_news = true;
        match loaded {
            Ok(rules) => {
                tracing::info!("the configuration was loaded again");
                self.rules = rules;
                self.soil();
                self.urgent = true;
                vec![Wish::Cadences]
            }
            Err(error) => {
                let why = crate::exit::chain(&error);
                tracing::warn!(
                    "the configuration is refused, the old one holds: {}",
                    why.trim()
                );
                self.rules.refused = Some(format!("{error:#}"));
                Vec::new()
            }
        }
    }

    /// News from the inventory.
    pub(super) fn delivered(&mut self, news: News) -> Vec<Wish> {
        match news {
            News::Delivered {
                at,
                send_full,
                wanted,
            } => {
                self.delivery.delivered(at);
                if send_full {
                    self.reports.full_asked();
                }
                if let Some(wanted) = wanted {
                    return self.wished(*wanted);
                }
            }
            News::Failed { at, why } => self.delivery.failed(at, why),
            News::Refused { at, why } => self.delivery.refused(at, why),
        }
        Vec::new()
    }

    fn wished(&mut self, news: WantedNews) -> Vec<Wish> {
        let before = self.upgrade();
        match news {
            WantedNews::Understood { wanted, document } => {
                self.wanted_state.etag = Some(wanted.etag.clone());
                self.wanted_state.refused = None;
                self.wanted = Some(*wanted);
                self.commit(Change {
                    wanted: Some(document),
                    ..Change::default()
                });
            }
            WantedNews::Refused { why } => {
                tracing::warn!("wishes of the inventory are refused: {why}");
                self.wanted_state.refused = Some(why);
            }
        }
        let after = self.upgrade();
        if before == after {
            return Vec::new();
        }
        self.wanted_state.upgrade = None;
        vec![Wish::Upgrade(after)]
    }

    /// News of the version that is wished.
    pub(super) fn upgrading(&mut self, state: UpgradeState) {
        if self
            .upgrade()
            .is_none_or(|order| order.version() != state.version)
        {
            return;
        }
        tracing::info!(
            "wished version {}: {}{}",
            state.version,
            word(&state.outcome),
            state
                .why
                .as_deref()
                .map_or_else(String::new, |why| format!(", {why}"))
        );
        self.wanted_state.upgrade = Some(state);
        self.has_news = true;
        self.reports.soon();
    }

    /// What the journal has of earlier boots.
    pub(super) fn earlier_boots(&mut self, told: Reading<EarlierBoots>) {
        match told {
            Reading::Value(earlier) => {
                for problem in &earlier.problems {
                    tracing::info!("{}: {}", problem.source, problem.why);
                }
                let events = earlier
                    .boots
                    .into_iter()
                    .flat_map(|boot| of_boot(&boot.boot, boot.events).collect::<Vec<_>>())
                    .collect();
                self.reports.earlier(events, earlier.cursor);
            }
            Reading::Absent(why) | Reading::Unsupported(why) | Reading::Failed(why) => {
                tracing::info!("earlier boots are not told: {why}");
            }
        }
    }
}
