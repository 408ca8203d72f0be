//! What goes into the store and comes out of it.
//!
//! # Invariants
//! - The store understands none of these texts; whoever gave them checks them when they come back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cupel_model::wire::Report;

/// What belongs together and is kept in one transaction. `None` and empty leave what is kept as it
/// is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Memory of the findings, as JSON.
    pub tracker: Option<String>,
    /// Folded events of this boot that are new or other than before.
    pub events: Vec<EventRow>,
    /// Keys of folded events that are kept no longer.
    pub events_gone: Vec<String>,
    /// How far the kernel log was read.
    pub kernel_cursor: Option<KernelCursor>,
    /// How far the journals of earlier boots were read, in the reader's own words.
    pub journal_cursor: Option<String>,
    /// What the inventory wants, as it came.
    pub wanted: Option<WantedDocument>,
    /// Whatever else is to be kept, by name; small.
    pub notes: BTreeMap<String, String>,
    /// Reports to send, in order. `sequence` and `dropped` are filled in by the outbox.
    pub reports: Vec<Report>,
}

/// One folded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// What it is folded by: the same key replaces the row.
    pub key: String,
    /// The event.
    pub json: String,
}

/// A place in a kernel log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCursor {
    /// Boot id of the log.
    pub boot: String,
    /// Sequence number of the last record that was read.
    pub sequence: u64,
}

/// What the inventory wants of this node, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedDocument {
    /// Its ETag.
    pub etag: String,
    /// The JSON, byte for byte.
    pub json: String,
}

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Memory of the findings.
    pub tracker: Option<String>,
    /// Folded events of this boot, sorted by key.
    pub events: Vec<EventRow>,
    /// How far the kernel log was read, perhaps that of an earlier boot.
    pub kernel_cursor: Option<KernelCursor>,
    /// How far the journals of earlier boots were read.
    pub journal_cursor: Option<String>,
    /// What the inventory wants.
    pub wanted: Option<WantedDocument>,
    /// Whatever else was kept.
    pub notes: BTreeMap<String, String>,
    /// The file that was found damaged and put away, when there was one; then the rest is empty.
    pub set_aside: Option<SetAside>,
}

/// A damaged file that was put away under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}
