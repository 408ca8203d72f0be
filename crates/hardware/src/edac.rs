//! Memory error counters: `/sys/devices/system/edac/mc`.
//!
//! # Invariants
//! - No EDAC driver, or firmware-first handling, gives an empty list: not visible, not zero.

use cupel_model::Reading;
use cupel_model::snapshot::{EdacCounter, Problem};

use crate::error::ReadError;
use crate::root::Root;
use crate::sysfs::{Attributes, count};

const CONTROLLERS: &str = "/sys/devices/system/edac/mc";

/// Why a label is absent.
const NO_LABEL: &str = "the driver knows no label";

/// All counters, by name, and what could not be read.
pub fn collect(root: &Root) -> (Vec<EdacCounter>, Vec<Problem>) {
    let mut counters = Vec::new();
    let mut errors = Vec::new();
    match root.names(CONTROLLERS) {
        Ok(names) => {
            for name in names.iter().filter(|name| is_numbered(name, "mc")) {
                if let Err(error) = controller(root, name, &mut counters) {
                    errors.push(error);
                }
            }
        }
        Err(error) if error.is_missing() => {}
        Err(error) => errors.push(error),
    }
    counters.sort_by_key(|counter| natural(&counter.name));
    let problem = |error: &ReadError| Problem {
        source: "edac".to_owned(),
        why: error.to_string(),
    };
    (counters, errors.iter().map(problem).collect())
}

/// One memory controller: what no DIMM owns, then its DIMMs or ranks; rows where it has neither.
fn controller(root: &Root, name: &str, counters: &mut Vec<EdacCounter>) -> Result<(), ReadError> {
    let at = Attributes::new(root, format!("{CONTROLLERS}/{name}"));
    let entries = at.directory().names()?;
    counters.push(EdacCounter {
        name: name.to_owned(),
        label: Reading::absent("errors that no DIMM owns"),
        corrected: at.parsed("ce_noinfo_count", "a count", count),
        uncorrected: at.parsed("ue_noinfo_count", "a count", count),
    });
    let owned = |entry: &&String| is_numbered(entry, "dimm") || is_numbered(entry, "rank");
    let mut modules = 0;
    for entry in entries.iter().filter(owned) {
        let at = at.below(entry);
        modules += 1;
        counters.push(EdacCounter {
            name: format!("{name}/{entry}"),
            label: at.value_or_empty("dimm_label", NO_LABEL),
            corrected: at.parsed("dimm_ce_count", "a count", count),
            uncorrected: at.parsed("dimm_ue_count", "a count", count),
        });
    }
    if modules == 0 {
        for row in entries.iter().filter(|entry| is_numbered(entry, "csrow")) {
            rows(&at.below(row), &format!("{name}/{row}"), counters)?;
        }
    }
    Ok(())
}

/// One row of an older driver: corrected errors by channel, uncorrected ones by row.
fn rows(at: &Attributes, name: &str, counters: &mut Vec<EdacCounter>) -> Result<(), ReadError> {
    let channels: Vec<String> = at
        .directory()
        .names()?
        .iter()
        .filter_map(|file| file.strip_suffix("_ce_count").map(str::to_owned))
        .filter(|channel| is_numbered(channel, "ch"))
        .collect();
    counters.push(EdacCounter {
        name: name.to_owned(),
        label: Reading::absent("a row of several modules"),
        corrected: if channels.is_empty() {
            at.parsed("ce_count", "a count", count)
        } else {
            Reading::unsupported("counted by channel")
        },
        uncorrected: at.parsed("ue_count", "a count", count),
    });
    for channel in channels {
        counters.push(EdacCounter {
            name: format!("{name}/{channel}"),
            label: at.value_or_empty(&format!("{channel}_dimm_label"), NO_LABEL),
            corrected: at.parsed(&format!("{channel}_ce_count"), "a count", count),
            uncorrected: Reading::unsupported("counted by row"),
        });
    }
    Ok(())
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Sorts `dimm10` after `dimm9`: every number padded to six digits.
fn natural(name: &str) -> String {
    let mut sorted = String::new();
    let mut digits = String::new();
    for letter in name.chars().chain(std::iter::once('/')) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        if !digits.is_empty() {
            sorted.push_str(&format!("{digits:0>6}"));
            digits.clear();
        }
        sorted.push(letter);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn dimms_and_what_none_owns() {
        let tree = Tree::new();
        let mc = format!("{CONTROLLERS}/mc0");
        tree.file(&format!("{mc}/ce_noinfo_count"), "0");
        tree.file(&format!("{mc}/ue_noinfo_count"), "1");
        for (dimm, label, ce) in [("dimm10", "CPU0_K1", "4"), ("dimm2", "\n", "0")] {
            tree.file(&format!("{mc}/{dimm}/dimm_label"), label);
            tree.file(&format!("{mc}/{dimm}/dimm_ce_count"), ce);
            tree.file(&format!("{mc}/{dimm}/dimm_ue_count"), "0");
        }
        tree.directory(&format!("{CONTROLLERS}/power"));
        let (counters, problems) = collect(&tree.root());
        assert_eq!(problems, []);
        let names: Vec<_> = counters.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["mc0", "mc0/dimm2", "mc0/dimm10"]);
        assert_eq!(counters[0].uncorrected.get().map(|c| c.value), Some(1));
        assert_eq!(counters[2].corrected.get().map(|c| c.value), Some(4));
        assert!(matches!(counters[1].label, Reading::Absent(_)));
    }

    #[test]
    fn rows_of_an_older_driver() {
        let tree = Tree::new();
        let row = format!("{CONTROLLERS}/mc1/csrow0");
        tree.file(&format!("{row}/ue_count"), "2");
        tree.file(&format!("{row}/ce_count"), "9");
        tree.file(&format!("{row}/ch0_ce_count"), "9");
        let (counters, _) = collect(&tree.root());
        let names: Vec<_> = counters.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["mc1", "mc1/csrow0", "mc1/csrow0/ch0"]);
        assert_eq!(counters[1].uncorrected.get().map(|c| c.value), Some(2));
        assert!(matches!(counters[1].corrected, Reading::Unsupported(_)));
        assert_eq!(counters[2].corrected.get().map(|c| c.value), Some(9));
    }

    #[test]
    fn no_driver_is_no_counter() {
        assert_eq!(collect(&Tree::new().root()), (Vec::new(), Vec::new()));
    }
}
