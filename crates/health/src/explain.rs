//! What a code means: a check's own documentation, or an XID by NVIDIA's catalogue.
//!
//! # What is absent
//! No layout: the texts are Markdown without headings, wrapped as in their source.

use cupel_kernel_log::catalogue;

use crate::checks::gpu_xid_rules;
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
    let code = code.trim().to_ascii_lowercase();
    if let Some(known) = registry::find(&code) {
        return Some(check(known));
    }
    // Longer numbers are no codes, and a sign is none either.
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<u32>().ok()).flatten()
    };
    if let Some(sxid) = code.strip_prefix("sxid.") {
        return number(sxid).map(self::sxid);
    }
    number(code.strip_prefix("xid.").unwrap_or(&code)).map(xid)
}

/// An XID, by NVIDIA's catalogue and Cupel's rule. A code that the catalogue does not list is
/// explained as just that.
fn xid(code: u32) -> Explanation {
    let entry = catalogue::xid(code);
    let published = entry.map(|entry| entry.immediate);
    let rule = gpu_xid_rules::in_words(code, published);
    let action = |cell: Option<&str>| {
        entry
            .map_or("not in the catalogue", |_| cell.unwrap_or("none published"))
            .to_owned()
    };
    let (immediate, investigatory) = (
        entry.and_then(|entry| entry.immediate),
        entry.and_then(|entry| entry.investigatory),
    );
    Explanation {
        code: format!("xid.{code}"),
        title: entry.and_then(|entry| entry.mnemonic).map_or_else(
            || format!("XID {code} of the NVIDIA driver."),
            |mnemonic| format!("XID {code} of the NVIDIA driver: {mnemonic}."),
        ),
        what: entry.map_or_else(
            || "NVIDIA's catalogue does not list this code.".to_owned(),
            |entry| entry.meaning.to_owned(),
        ),
        why: gpu_xid_rules::importance(code, published).to_owned(),
        remedy: format!(
            "1. NVIDIA's immediate action: {}.\n2. NVIDIA's investigatory action: {}.",
            action(immediate),
            action(investigatory)
        ),
        sources: vec![format!(
            "NVIDIA, Xid catalogue, edition of {}. It has no column for H200, L40S or B300: the \
             family's stands for them.",
            catalogue::EDITION
        )],
        xid: Some(XidExplanation {
            code,
            mnemonic: entry.and_then(|entry| entry.mnemonic).map(str::to_owned),
            immediate: immediate.map(str::to_owned),
            investigatory: investigatory.map(str::to_owned),
            rule,
        }),
    }
}

/// An error of an NVSwitch. NVIDIA publishes no actions for these codes.
fn sxid(code: u32) -> Explanation {
    Explanation {
        code: format!("sxid.{code}"),
        title: format!("SXid {code}, an error of an NVSwitch."),
        what: "The NVSwitch driver reported this error of a switch or of one of its links. The \
               line itself says whether it is fatal."
            .to_owned(),
        why: "After a fatal one the switch, and with it every GPU on the fabric, needs a reset; a \
              non-fatal one may be the consequence of an error of a GPU."
            .to_owned(),
        remedy: "1. Look for an XID of a GPU at the same time: it may be the cause.\n\
                 2. Fatal: end all work, then reset all GPUs with their fabric, or reboot the node.\n\
                 3. If it returns, open a case with the vendor."
            .to_owned(),
        sources: vec![
            "NVIDIA fabric manager user guide, NVSwitch errors. No action is published for a \
             single SXid."
                .to_owned(),
        ],
        xid: None,
    }
}

/// The parts of a check's documentation, in its own words.
fn check(check: &Check) -> Explanation {
    let text = doc::of(check);
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
    fn an_xid_is_explained_by_its_number_in_every_form() {
        let known = explain("79").expect("79");
        assert_eq!(explain("xid.79"), Some(known.clone()));
        assert_eq!(explain("XID.79"), Some(known.clone()));
        assert_eq!(known.code, "xid.79");
        let xid = known.xid.expect("an XID");
        assert_eq!(
            xid.mnemonic.as_deref(),
            Some("ROBUST_CHANNEL_GPU_HAS_FALLEN_OFF_THE_BUS")
        );
        assert_eq!(xid.immediate.as_deref(), Some("RESTART_BM"));
        assert!(xid.rule.contains("gpu.off-bus"));
        assert_eq!(explain("xid.-1"), None);
        assert_eq!(explain("99999999999999"), None);
        assert_eq!(explain("sxid.20034").expect("an SXid").code, "sxid.20034");
    }

    #[test]
    fn a_code_without_a_published_action_says_so() {
        let blank = explain("167").expect("167");
        assert!(blank.remedy.contains("none published"), "{}", blank.remedy);
        let unlisted = explain("4711").expect("4711");
        assert!(unlisted.what.contains("does not list"), "{}", unlisted.what);
        assert!(unlisted.remedy.contains("not in the catalogue"));
    }

    #[test]
    fn an_unknown_code_has_no_explanation() {
        assert_eq!(explain("gpu.of-bus"), None);
    }
}
