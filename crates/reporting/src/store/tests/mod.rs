//! Tests of the store that play faults on its connection.

mod faults;
mod order;
mod priorities;
#[path = "../../../tests/integration/support.rs"]
mod support;

use std::path::Path;

use super::{Change, Limits, Opened, Outbox, StartsAt};

/// Opens an outbox of a boot; sequences begin at 1.
fn open(directory: &Path, boot: &str, limits: Limits) -> Opened {
    let starts = StartsAt {
        boot: boot.to_owned(),
        sequence: 1,
    };
    Outbox::open(directory, starts, limits, support::at(0)).expect("outbox")
}

/// A change that is one report.
fn of(report: cupel_model::wire::Report) -> Change {
    Change {
        reports: vec![report],
        ..Change::default()
    }
}

impl Outbox {
    /// Plays a disk that takes nothing, or takes again.
    fn play_unwritable(&self, is_unwritable: bool) {
        let store = self.store.as_ref().expect("an open file");
        store
            .connection()
            .pragma_update(None, "query_only", is_unwritable)
            .expect("query_only");
    }

    /// Plays a disk that has room for `pages` more.
    fn play_full(&self, pages: i64) {
        let connection = self.store.as_ref().expect("an open file").connection();
        let now: i64 = connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .expect("pages");
        connection
            .query_row(
                &format!("PRAGMA max_page_count = {}", now + pages),
                [],
                |_| Ok(()),
            )
            .expect("max_page_count");
    }
}
