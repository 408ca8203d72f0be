//! What the engine lets others see: the latest state, replaced as a whole.

use std::sync::Arc;

use cupel_model::wire::Tracked;
use cupel_model::{CheckReport, Event, Snapshot};

use crate::metrics::{Own, View};
use crate::status::Status;

/// The latest state of the service.
#[derive(Clone, Debug)]
pub struct Published {
    /// The machine; `None` until it was read.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Its judgement, with the findings that wait for their clear rule.
    pub report: Option<Arc<CheckReport>>,
    /// Every finding that is not cleared, worst first.
    pub findings: Arc<[Tracked]>,
    /// What the service says of itself.
    pub own: Own,
    /// The document that `cupel status` shows.
    pub status: Status,
}

impl Published {
    /// What metrics are made from. `own` is this one's, perhaps with what was read just now.
    pub fn view<'a>(&'a self, own: &'a Own) -> View<'a> {
        View {
            snapshot: self.snapshot.as_deref(),
            report: self.report.as_deref(),
            tracked: &self.findings,
            own,
        }
    }

    /// The document that `cupel status` shows.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Events of the kernel log of this boot.
    pub fn events(&self) -> &[Event] {
        self.snapshot
            .as_ref()
            .map_or(&[], |snapshot| &snapshot.kernel_log)
    }
}
