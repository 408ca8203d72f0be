//! XID 144 to 150: NVLink5 errors, decoded by NVIDIA's rules and the driver's version.
//!
//! The first word (`intrInfo`) has two layouts: V1 below R575, V2 from R575. Each rule is a bit
//! pattern of that word for each layout, and an error status (the second word) or any.
//!
//! # Invariants
//! - Unit, actions and severity are the catalogue's cells verbatim, even where the line differs.
//! - Where several rules match alike, the one whose unit the line names is taken, else the first.
//! - With the driver unknown: the layout by which a rule matches, if that is only one; if they
//!   disagree, or none matches, the layout is ambiguous and both readings are listed.
//! - A message that was cut before the end of its six words is not decoded: the driver writes
//!   each with eight digits. Only the bracket behind them may be missing.

use std::sync::LazyLock;

use cupel_model::event::{Nvlink5, Nvlink5Candidate, Nvlink5Layout};

use crate::version::DriverVersion;

const RULES_TSV: &str = include_str!("../../data/nvlink5.tsv");

/// The first driver branch with layout V2.
const V2_SINCE_BRANCH: u32 = 575;

/// A pattern of bits: `value` where `mask` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    mask: u32,
    value: u32,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        let mut pattern = Self { mask: 0, value: 0 };
        for bit in text.bytes() {
            pattern.mask <<= 1;
            pattern.value <<= 1;
            match bit {
                b'-' => {}
                b'0' => pattern.mask |= 1,
                b'1' => {
                    pattern.mask |= 1;
                    pattern.value |= 1;
                }
                _ => return None,
            }
        }
        Some(pattern)
    }

    /// Whether `word` fits.
    pub fn matches(self, word: u32) -> bool {
        word & self.mask == self.value
    }
}

/// One row of NVIDIA's decode table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The XID it belongs to.
    pub xid: u32,
    /// The catalogue's sub-code.
    pub unit: &'static str,
    /// Pattern of `intrInfo` below R575.
    pub v1: Pattern,
    /// Pattern of `intrInfo` from R575.
    pub v2: Pattern,
    /// Error statuses it is for; empty matches any.
    pub statuses: Vec<u32>,
    /// Immediate action.
    pub immediate: &'static str,
    /// The patterns (V1, V2) under which `action2` takes the place of `immediate`.
    pub promoted: Option<(Pattern, Pattern)>,
    /// Immediate action when promoted.
    pub action2: &'static str,
    /// Investigatory action.
    pub investigatory: &'static str,
    /// The catalogue's word.
    pub severity: &'static str,
    /// `HW`, `SW`, `FW` or a mixture.
    pub side: &'static str,
}

static RULES: LazyLock<Vec<Rule>> =
    LazyLock::new(|| super::rows(RULES_TSV).filter_map(rule).collect());

/// All rules, in the catalogue's order.
pub fn rules() -> &'static [Rule] {
    &RULES
}

fn number(word: &str) -> Option<u32> {
    let digits = word.strip_prefix("0x")?;
    (digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

fn rule(row: Vec<&'static str>) -> Option<Rule> {
    let [
        xid,
        unit,
        v1,
        v2,
        status,
        immediate,
        v1_promoted,
        v2_promoted,
        action2,
        investigatory,
        severity,
        side,
    ] = *row.as_slice()
    else {
        return None;
    };
    let statuses = if status.is_empty() {
        Vec::new()
    } else {
        status.split('/').map(number).collect::<Option<Vec<_>>>()?
    };
    Some(Rule {
        xid: xid.parse().ok()?,
        unit,
        v1: Pattern::parse(v1)?,
        v2: Pattern::parse(v2)?,
        statuses,
        immediate,
        promoted: Pattern::parse(v1_promoted).zip(Pattern::parse(v2_promoted)),
        action2,
        investigatory,
        severity,
        side,
    })
}

/// What the line itself says.
struct Line<'a> {
    unit: &'a str,
    link: Option<i32>,
    intr_info: u32,
    error_status: u32,
}

/// Reads `<unit> Fatal|Nonfatal XC<n> i<n> Link <n> (<word> <word> …`; none if it was cut.
fn line(message: &str) -> Option<Line<'_>> {
    let (before, words) = message.rsplit_once('(')?;
    let words = words.split(')').next()?.split_ascii_whitespace();
    let words: Vec<u32> = words.map(number).collect::<Option<_>>()?;
    let [intr_info, error_status, _, _, _, _, ..] = *words.as_slice() else {
        return None;
    };
    let mut tokens = before.split_ascii_whitespace();
    let unit = tokens.next().unwrap_or_default();
    let link = tokens
        .skip_while(|token| *token != "Link")
        .nth(1)
        .and_then(|number| number.parse().ok());
    Some(Line {
        unit,
        link,
        intr_info,
        error_status,
    })
}

/// Whether the line's word names the rule's unit; cells such as `A/B` give both layouts' names.
fn names(rule: &Rule, unit: &str) -> bool {
    rule.unit == unit || rule.unit.split('/').any(|name| name == unit)
}

/// The rule that matches by one layout, and whether it is promoted.
fn find(xid: u32, line: &Line<'_>, layout: Nvlink5Layout) -> Option<(&'static Rule, bool)> {
    let pattern = |v1: Pattern, v2: Pattern| match layout {
        Nvlink5Layout::V1 => v1,
        Nvlink5Layout::V2 | Nvlink5Layout::Ambiguous => v2,
    };
    let matching = |rule: &&'static Rule| -> Option<bool> {
        let status = rule.statuses.is_empty() || rule.statuses.contains(&line.error_status);
        if rule.xid != xid || !status {
            return None;
        }
        let promoted = rule
            .promoted
            .is_some_and(|(v1, v2)| pattern(v1, v2).matches(line.intr_info));
        (promoted || pattern(rule.v1, rule.v2).matches(line.intr_info)).then_some(promoted)
    };
    let mut first = None;
    for rule in rules() {
        if let Some(promoted) = matching(&rule) {
            if names(rule, line.unit) {
                return Some((rule, promoted));
            }
            first = first.or(Some((rule, promoted)));
        }
    }
    first
}

fn candidate(xid: u32, line: &Line<'_>, layout: Nvlink5Layout) -> Nvlink5Candidate {
    let found = find(xid, line, layout);
    let immediate = found.map(|(rule, promoted)| {
        if promoted {
            rule.action2
        } else {
            rule.immediate
        }
    });
    Nvlink5Candidate {
        layout,
        unit: found.map(|(rule, _)| rule.unit.to_owned()),
        severity: found.map(|(rule, _)| rule.severity.to_owned()),
        immediate: immediate.map(str::to_owned),
        investigatory: found.map(|(rule, _)| rule.investigatory.to_owned()),
    }
}

/// The one sub-code that the line's own word names, for lines that no rule matches.
fn unit_by_name(xid: u32, unit: &str) -> Option<String> {
    let mut named = rules()
        .iter()
        .filter(|rule| rule.xid == xid && names(rule, unit))
        .map(|rule| rule.unit);
    let first = named.next()?;
    named.all(|other| other == first).then(|| first.to_owned())
}

/// Decodes the text after `<xid>,` (and after pid and name) of an XID 144 to 150.
pub fn decode(xid: u32, message: &str, driver: Option<DriverVersion>) -> Option<Nvlink5> {
    if !(144..=150).contains(&xid) {
        return None;
    }
    let line = line(message)?;
    let v1 = || candidate(xid, &line, Nvlink5Layout::V1);
    let v2 = || candidate(xid, &line, Nvlink5Layout::V2);
    let (chosen, candidates) = match driver {
        Some(version) if version.branch < V2_SINCE_BRANCH => (v1(), Vec::new()),
        Some(_) => (v2(), Vec::new()),
        None => match (v1(), v2()) {
            (v1, v2) if v1.unit.is_some() && v2.unit.is_none() => (v1, Vec::new()),
            (v1, v2) if v1.unit.is_none() && v2.unit.is_some() => (v2, Vec::new()),
            (v1, v2) if v2.unit.is_some() && same(&v1, &v2) => (v2, Vec::new()),
            (v1, v2) => (agreed(&v1, &v2), vec![v1, v2]),
        },
    };
    Some(Nvlink5 {
        unit: chosen.unit.or_else(|| unit_by_name(xid, line.unit)),
        layout: chosen.layout,
        link: line.link,
        severity: chosen.severity,
        immediate: chosen.immediate,
        investigatory: chosen.investigatory,
        candidates,
    })
}

fn same(a: &Nvlink5Candidate, b: &Nvlink5Candidate) -> bool {
    a.unit == b.unit
        && a.severity == b.severity
        && a.immediate == b.immediate
        && a.investigatory == b.investigatory
}

/// What two disagreeing readings have in common.
fn agreed(a: &Nvlink5Candidate, b: &Nvlink5Candidate) -> Nvlink5Candidate {
    let common = |x: &Option<String>, y: &Option<String>| x.clone().filter(|_| x == y);
    Nvlink5Candidate {
        layout: Nvlink5Layout::Ambiguous,
        unit: common(&a.unit, &b.unit),
        severity: common(&a.severity, &b.severity),
        immediate: common(&a.immediate, &b.immediate),
        investigatory: common(&a.investigatory, &b.investigatory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(text: &str) -> Option<DriverVersion> {
        Some(text.parse().expect("driver"))
    }

    const V1_DOWN: &str = "NETIR_LINK_EVT  Fatal   XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)";

    /// The four words that no rule looks at.
    const REST: &str = "0x00000000 0x00000000 0x00000000 0x00000000";

    #[test]
    fn all_rules_are_read() {
        assert_eq!(rules().len(), 95);
        let promoted = rules().iter().filter(|r| r.promoted.is_some());
        assert!(promoted.clone().all(|r| r.action2 == "RESET_GPU"));
        assert_eq!(promoted.count(), 3);
    }

    #[test]
    fn the_driver_selects_the_layout() {
        let old = decode(149, V1_DOWN, driver("570.00.00")).expect("decoded");
        assert_eq!(old.unit.as_deref(), Some("NETIR_LINK_EVT/NETIR_LINK_DOWN"));
        assert_eq!(old.investigatory.as_deref(), Some("INVESTIGATE_LINK_SI"));
        assert_eq!((old.layout, old.link), (Nvlink5Layout::V1, Some(8)));
        let new = decode(149, V1_DOWN, driver("575.00.00")).expect("decoded");
        assert_eq!((new.layout, new.immediate), (Nvlink5Layout::V2, None));
    }

    #[test]
    fn without_a_driver_only_a_single_match_decides() {
        let one = decode(149, V1_DOWN, None).expect("decoded");
        assert_eq!(one.layout, Nvlink5Layout::V1);
        assert!(one.candidates.is_empty());
        let none = V1_DOWN.replace("0x004505c6", "0x03f00000");
        let none = decode(149, &none, None).expect("decoded");
        assert_eq!(none.layout, Nvlink5Layout::Ambiguous);
        assert_eq!(none.candidates.len(), 2);
        assert_eq!(none.immediate, None);
    }

    #[test]
    fn a_promoted_error_takes_the_second_action() {
        let line =
            |info: &str| format!("RLW_RXPIPE Nonfatal XC0 i0 Link 13 ({info} 0x00000002 {REST})");
        let plain = decode(145, &line("0x000000c2"), driver("570.1")).expect("decoded");
        assert_eq!(plain.immediate.as_deref(), Some("IGNORE"));
        let promoted = decode(145, &line("0x000004c2"), driver("570.1")).expect("decoded");
        assert_eq!(promoted.immediate.as_deref(), Some("RESET_GPU"));
        let promoted = decode(145, &line("0x00000086"), driver("580.1")).expect("decoded");
        assert_eq!(promoted.immediate.as_deref(), Some("RESET_GPU"));
        assert_eq!(promoted.severity.as_deref(), Some("Non-fatal*"));
    }

    #[test]
    fn the_named_unit_wins_among_equal_matches() {
        let line = |unit: &str, info: &str| {
            format!("{unit} Fatal XC0 i0 Link -1 ({info} 0x00000004 {REST})")
        };
        for (xid, text, version, want) in [
            (
                146,
                line("TLW_RX_PIPE1", "0x0000000b"),
                "580.1",
                "TLW_RX/TLW_RX_PIPE1",
            ),
            (
                146,
                line("TLW_RX", "0x00000143"),
                "570.1",
                "TLW_RX/TLW_RX_PIPE0",
            ),
            (
                150,
                line("MSE_WATCHDOG", "0x00000000").replace("0x00000004", "0x00000000"),
                "580.1",
                "MSE_WATCHDOG",
            ),
        ] {
            let decoded = decode(xid, &text, driver(version)).expect("decoded");
            assert_eq!(decoded.unit.as_deref(), Some(want), "{text}");
            assert_eq!(decoded.link, Some(-1));
        }
    }

    #[test]
    fn a_truncated_line_is_not_decoded() {
        for text in [
            "RLW_REMAP Nonfatal XC1 i0 Link 10",
            "RLW_REMAP Nonfatal XC1 i0 Link 10 (",
            "RLW_REMAP Nonfatal XC1 i0 Link 10 (0x00000004",
            "RLW_REMAP Nonfatal XC1 i0 Link 10 (0x00000004 0x000000",
            "RLW_REMAP Nonfatal XC1 i0 Link 10 (0x0000004 0x00000040)",
        ] {
            assert_eq!(decode(145, text, None), None, "{text}");
        }
        let whole = V1_DOWN.trim_end_matches(')');
        assert_eq!(decode(149, whole, None), decode(149, V1_DOWN, None));
        assert!(decode(149, whole, None).is_some());
        // Wherever it is cut before that: in a word, behind `0x`, or between words.
        for end in 0..whole.len() {
            let cut = &whole[..end];
            assert_eq!(decode(149, cut, driver("570.1")), None, "{cut}");
        }
        let more = format!("{V1_DOWN} and more");
        assert!(decode(149, &more, None).is_some());
    }
}
