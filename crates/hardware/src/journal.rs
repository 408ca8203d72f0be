//! Kernel messages of earlier boots, from systemd's journal.
//!
//! # Invariants
//! - Nothing is told twice: reading goes on after the cursor of the last time, and leaves out what
//!   was followed in the kernel log itself while that boot lasted.
//! - At most [`BOOTS`] boots back, and a bounded part of each; what is left out is told.
//! - Whether an earlier boot is there is told by exit codes, never by the text of a message.
//!
//! # What is absent
//! This boot: that is [`crate::kmsg`]'s.

mod ask;
mod telling;

use std::path::Path;
use std::time::Duration;

use cupel_model::snapshot::Problem;
use cupel_model::{Event, Reading};

use crate::command::CommandError;
use crate::root::Root;
use ask::{LIMITS, LINES, Question};

/// Where `journalctl` may be.
const PROGRAMS: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];

/// Where journald keeps what survives a reboot.
const PERSISTENT: &str = "/var/log/journal";

/// Boots before this one that are asked for.
pub const BOOTS: u32 = 3;

/// How far an earlier boot was followed while it lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its boot id, as the kernel writes it.
    pub boot: String,
    /// The kernel's time of the last record whose events were told, as
    /// [`Batch::followed_to`](crate::kmsg::Batch::followed_to).
    pub to: Duration,
}

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

/// What the journal has of the last [`BOOTS`] boots before this one (`current`, the kernel's boot
/// id), after a cursor that was given before, and without what was followed while a boot lasted.
/// This blocks, for up to a minute.
///
/// Without `journalctl` it is unsupported; without a persistent journal, beneath a root other than
/// `/`, and where no earlier boot is in it, absent.
pub fn earlier_boots_since(
    root: &Root,
    current: &str,
    after: Option<&str>,
    followed: &[Followed],
) -> Reading<EarlierBoots> {
    if !root.is_live() {
        return Reading::absent("earlier boots are known on the machine itself only");
    }
    let Some(program) = PROGRAMS.iter().find(|program| root.exists(program)) else {
        return CommandError::Missing {
            program: PROGRAMS[0].to_owned(),
        }
        .into_reading();
    };
    if root.names(PERSISTENT).is_ok_and(|names| names.is_empty()) || !root.exists(PERSISTENT) {
        return Reading::absent(format!(
            "no persistent journal: {PERSISTENT} is empty or not there"
        ));
    }
    Question {
        root,
        program: Path::new(program),
        limits: LIMITS,
        lines: LINES,
    }
    .ask(current, after, followed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn beneath_a_root_no_command_runs() {
        let answer = earlier_boots_since(&Tree::new().root(), "x", None, &[]);
        assert!(matches!(answer, Reading::Absent(_)), "{answer:?}");
    }
}
