//! What this very process and its children cost.
//!
//! # Invariants
//! - It is always asked of the running kernel: a root that stands for another machine has nothing
//!   to do with it.
//! - What cannot be read is left out.

mod heap;
mod program;

use std::fs;

use cupel_model::units::Seconds;
use nix::unistd::{SysconfVar, sysconf};

pub use heap::Heap;
pub use program::let_go_of_program;

/// What one process costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Name, as the kernel has it: at most 15 characters.
    pub name: String,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// User and system time since it began.
    pub cpu_seconds: Seconds,
}

/// This process, then the children that its threads have, in no order.
pub fn usage() -> Vec<Usage> {
    let mut found: Vec<Usage> = one("self").into_iter().collect();
    let tasks = fs::read_dir("/proc/self/task");
    for task in tasks.into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(one));
    }
    found
}

fn one(process: &str) -> Option<Usage> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    parse(
        &text,
        number(SysconfVar::CLK_TCK)?,
        number(SysconfVar::PAGE_SIZE)?,
    )
}

fn number(which: SysconfVar) -> Option<u64> {
    u64::try_from(sysconf(which).ok()??).ok().filter(|n| *n > 0)
}

/// `PID (NAME) STATE …` of `/proc/PID/stat`: fields 14, 15 (ticks) and 24 (pages).
fn parse(text: &str, ticks: u64, page: u64) -> Option<Usage> {
    // The name may hold blanks and parentheses: it ends at the last one.
    let (before, rest) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let spent = field(11)?.checked_add(field(12)?)?;
    let whole = u32::try_from(spent / ticks).ok()?;
    let part = u32::try_from(spent % ticks).ok()?;
    let per_second = u32::try_from(ticks).ok()?;
    Some(Usage {
        name: name.to_owned(),
        resident_bytes: field(21)?.checked_mul(page)?,
        cpu_seconds: Seconds::new(f64::from(whole) + f64::from(part) / f64::from(per_second))
            .ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 77 1000 25 18446744073709551615 1";
        let usage = parse(text, 100, 4096).expect("usage");
        assert_eq!(usage.name, "a) b");
        assert_eq!(usage.resident_bytes, 25 * 4096);
        assert_eq!(usage.cpu_seconds.get(), 2.0);
        assert_eq!(parse("7 (a", 100, 4096), None);
        assert_eq!(parse("7 (a) S 1", 100, 4096), None);
    }

    #[test]
    fn this_process_is_there() {
        let usage = usage();
        assert!(usage[0].resident_bytes > 100_000, "{usage:?}");
    }
}
