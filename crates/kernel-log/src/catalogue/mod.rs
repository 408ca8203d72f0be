//! NVIDIA's XID catalogue as data: codes, mnemonics, applicability and published actions, with
//! Cupel's own severity, first action and meaning beside them.
//!
//! # Invariants
//! - The published cells are verbatim (data/xid.tsv names the edition); a blank cell is `None`,
//!   which is "no published action", never "ignore".
//! - Meanings are Cupel's own words.
//! - A code that data-centre drivers do not raise is a warning for the vendor, never `none`.
//!
//! # What is absent
//! SXid codes: NVIDIA publishes no actions for them. No judgement over several events: that is
//! `health`'s.

pub mod nvlink4;
pub mod nvlink5;
pub mod recovery;

use std::sync::LazyLock;

use cupel_model::{RemedyAction, Severity};

/// Edition of the catalogue that the data holds.
pub const EDITION: &str = "2025-09-30";

const CODES: &str = include_str!("../../data/xid.tsv");
const MEANINGS: &str = include_str!("../../data/meaning.tsv");
const UNUSED: &str = "Not raised by data-centre drivers of this edition of the catalogue.";

/// For which GPUs a code is documented. The catalogue has no column for H200, L40S or B300: the
/// family's stands for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applicability {
    /// A100.
    pub a100: bool,
    /// H100.
    pub h100: bool,
    /// B100.
    pub b100: bool,
    /// GB200.
    pub gb200: bool,
}

/// One code of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XidEntry {
    /// The XID.
    pub code: u32,
    /// NVIDIA's mnemonic, verbatim.
    pub mnemonic: Option<&'static str>,
    /// For which GPUs it is documented.
    pub applies: Applicability,
    /// NVIDIA's immediate action, verbatim.
    pub immediate: Option<&'static str>,
    /// NVIDIA's investigatory action, verbatim.
    pub investigatory: Option<&'static str>,
    /// From which release an XID 154 follows it, verbatim.
    pub xid154_linkage: Option<&'static str>,
    /// How bad one such event is by itself, by Cupel.
    pub severity: Severity,
    /// What to do first, by Cupel.
    pub action: RemedyAction,
    /// What it means, in Cupel's words.
    pub meaning: &'static str,
}

static ENTRIES: LazyLock<Vec<XidEntry>> = LazyLock::new(|| {
    let mut entries: Vec<XidEntry> = rows(CODES).filter_map(entry).collect();
    for row in rows(MEANINGS) {
        if let [code, severity, action, meaning] = *row.as_slice()
            && let Some(entry) = entries.iter_mut().find(|e| e.code.to_string() == code)
            && let (Some(severity), Some(action)) = (word(severity), word(action))
        {
            entry.severity = severity;
            entry.action = action;
            entry.meaning = meaning;
        }
    }
    entries.sort_by_key(|e| e.code);
    entries
});

/// The catalogue's entry of an XID, or none if the code is not in it.
pub fn xid(code: u32) -> Option<&'static XidEntry> {
    ENTRIES
        .binary_search_by_key(&code, |e| e.code)
        .ok()
        .and_then(|i| ENTRIES.get(i))
}

/// All entries, sorted by code.
pub fn xids() -> &'static [XidEntry] {
    &ENTRIES
}

/// The data rows of one of our tables: no comments, no header, cells split at tabs.
fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.split('\t').collect())
}

/// A word of our own data as one of the model's enums.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

fn cell(text: &'static str) -> Option<&'static str> {
    (!text.is_empty()).then_some(text)
}

fn entry(row: Vec<&'static str>) -> Option<XidEntry> {
    let [
        code,
        mnemonic,
        a100,
        h100,
        b100,
        gb200,
        immediate,
        investigatory,
        linkage,
    ] = *row.as_slice()
    else {
        return None;
    };
    Some(XidEntry {
        code: code.parse().ok()?,
        mnemonic: cell(mnemonic),
        applies: Applicability {
            a100: a100 == "YES",
            h100: h100 == "YES",
            b100: b100 == "YES",
            gb200: gb200 == "YES",
        },
        immediate: cell(immediate),
        investigatory: cell(investigatory),
        xid154_linkage: cell(linkage),
        severity: Severity::Warning,
        action: RemedyAction::ContactVendor,
        meaning: UNUSED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_catalogue_is_there() {
        assert_eq!(xids().len(), 172);
        assert!(xids().iter().map(|e| e.code).eq(1..=172));
        let lost = xid(79).expect("79");
        assert_eq!(lost.immediate, Some("RESTART_BM"));
        assert_eq!(lost.action, RemedyAction::RebootNode);
        assert_eq!(xid(171).expect("171").immediate, None);
        assert_eq!(xid(999), None);
    }

    #[test]
    fn every_meaning_is_used_and_every_used_code_has_one() {
        let meanings = rows(MEANINGS).collect::<Vec<_>>();
        for row in &meanings {
            assert_eq!(row.len(), 4, "{row:?}");
            assert!(word::<Severity>(row[1]).is_some(), "{row:?}");
            assert!(word::<RemedyAction>(row[2]).is_some(), "{row:?}");
            let entry = xid(row[0].parse().expect("code")).expect("in the catalogue");
            assert_eq!(entry.meaning, row[3]);
        }
        for entry in xids() {
            let applies = entry.applies;
            if applies.a100 || applies.h100 || applies.b100 || applies.gb200 {
                assert_ne!(entry.meaning, UNUSED, "{}", entry.code);
            }
        }
    }

    #[test]
    fn a_blank_action_is_never_none() {
        for entry in xids().iter().filter(|e| e.immediate.is_none()) {
            if entry.action == RemedyAction::None {
                assert_eq!(entry.code, 162, "only the all-clear of power smoothing");
            }
        }
    }

    #[test]
    fn a_published_reset_is_never_harmless() {
        for entry in xids() {
            if entry.immediate == Some("RESET_GPU") {
                assert_ne!(entry.severity, Severity::Info, "{}", entry.code);
                assert_eq!(entry.action, RemedyAction::ResetGpu, "{}", entry.code);
            }
        }
    }
}
