//! What a code means: a check's own documentation, or an XID by NVIDIA's catalogue.
//!
//! # What is absent
//! No layout: the texts are Markdown without headings, wrapped as in their source.

use crate::doc;
use crate::registry::{self, Check};

/// What is known about a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code, as Cupel writes it: `gpu.off-bus`, `xid.79`, `sxid.20034`.
    pub code: String,
    /// In a sentence.
    pub title: String,
    /// What it checks, or what happened.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What to do, mildest step first.
    pub remedy: String,
    /// Where it comes from.
    pub sources: Vec<String>,
    /// Set for an XID.
    pub xid: Option<XidExplanation>,
}

/// What NVIDIA publishes about an XID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XidExplanation {
    /// The number.
    pub code: u32,
    /// NVIDIA's mnemonic; none where the cell is blank or the code is not listed.
    pub mnemonic: Option<String>,
    /// Immediate action, in NVIDIA's words.
    pub immediate: Option<String>,
    /// Investigatory action, in NVIDIA's words.
    pub investigatory: Option<String>,
    /// What Cupel makes of it.
    pub rule: String,
}

/// What `code` means: a check's code, `79`, `xid.79` or `sxid.20034`; `None` when nothing is known
/// by that name.
pub fn explain(code: &str) -> Option<Explanation> {
    registry::find(code).map(check)
}

/// The parts of a check's documentation, in its own words.
fn check(check: &Check) -> Explanation {
    let text = doc::text(check.doc);
    let part = |heading: &str| section(&text, heading).unwrap_or_default();
    Explanation {
        code: check.code.to_owned(),
        title: text
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', " "),
        what: part("What it checks"),
        why: part("Why it matters"),
        remedy: part("Remedy"),
        sources: items(&part("Sources")),
        xid: None,
    }
}

/// The text under a heading.
fn section(text: &str, heading: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("# {heading}\n"))?;
    let end = rest.find("\n# ").unwrap_or(rest.len());
    rest.get(..end).map(|body| body.trim().to_owned())
}

/// The items of a list, each on one line.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("- "), items.last_mut()) {
            (Some(item), _) => items.push(item.to_owned()),
            (None, Some(last)) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            (None, None) => items.push(line.to_owned()),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::CHECKS;

    #[test]
    fn every_check_is_explained_in_full() {
        for check in CHECKS {
            let known = explain(check.code).expect(check.code);
            assert_eq!(known.code, check.code);
            assert!(
                known.title.ends_with('.'),
                "{}: {}",
                check.code,
                known.title
            );
            assert!(known.title.len() <= 100, "{}: long title", check.code);
            for (name, text) in [("what", &known.what), ("why", &known.why)] {
                assert!(text.len() > 40, "{}: {name} says too little", check.code);
            }
            assert!(
                known.remedy.starts_with("1. "),
                "{}: {}",
                check.code,
                known.remedy
            );
            assert!(!known.sources.is_empty(), "{}: no sources", check.code);
        }
    }

    #[test]
    fn an_unknown_code_has_no_explanation() {
        assert_eq!(explain("gpu.of-bus"), None);
    }
}
