//! What one check came to: findings, parts it could not judge, or why it does not apply.
//!
//! # Invariants
//! - Exactly one of ran, skipped, unknown: unknown when any part that applies could not be judged,
//!   ran when any part was judged, else skipped.

use std::collections::BTreeSet;

use cupel_model::{Finding, Reading};

/// What one check came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    findings: Vec<Finding>,
    unknown: Vec<(String, Vec<String>)>,
    not_here: Option<String>,
    judged: bool,
    events: BTreeSet<usize>,
}

/// Where the check stands in the coverage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It came to a judgement.
    Ran,
    /// It does not apply here.
    Skipped(String),
    /// It applies and could not be determined, for all or some of its parts.
    Unknown(String),
}

impl Outcome {
    /// A check that does not apply to this node.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self {
            not_here: Some(why.into()),
            ..Self::default()
        }
    }

    /// A check that applies to `part`, or may, and could not be determined.
    pub fn undetermined(part: &str, why: impl Into<String>) -> Self {
        let mut outcome = Self::default();
        outcome.unknown(part, why);
        outcome
    }

    /// A part was judged.
    pub fn judged(&mut self) {
        self.judged = true;
    }

    /// The check does not apply to a part.
    pub fn not_here(&mut self, why: impl Into<String>) {
        self.not_here.get_or_insert_with(|| why.into());
    }

    /// The check applies to `part` and could not be determined.
    pub fn unknown(&mut self, part: &str, why: impl Into<String>) {
        let why = why.into();
        match self.unknown.iter_mut().find(|(known, _)| *known == why) {
            Some((_, parts)) => parts.push(part.to_owned()),
            None => self.unknown.push((why, vec![part.to_owned()])),
        }
    }

    /// A condition that someone must act on.
    pub fn find(&mut self, finding: impl Into<Finding>) {
        self.judged = true;
        self.findings.push(finding.into());
    }

    /// The events of the snapshot that became a finding, by their place in its kernel log.
    pub fn uses(&mut self, events: impl IntoIterator<Item = usize>) {
        self.events.extend(events);
    }

    /// The value of `reading`, which counts as judged; without one the part is unknown if reading
    /// it failed or a value was `expected`, else the check does not apply to it.
    pub fn need<'r, T>(
        &mut self,
        part: &str,
        what: &str,
        reading: &'r Reading<T>,
        expected: bool,
    ) -> Option<&'r T> {
        match reading {
            Reading::Value(value) => {
                self.judged = true;
                Some(value)
            }
            Reading::Failed(why) => {
                self.unknown(part, format!("{what}: {why}"));
                None
            }
            Reading::Absent(why) | Reading::Unsupported(why) => {
                if expected {
                    self.unknown(part, format!("{what}: {why}"));
                } else {
                    self.not_here(format!("{what}: {why}"));
                }
                None
            }
        }
    }

    /// Where the check stands.
    pub fn standing(&self) -> Standing {
        if !self.unknown.is_empty() {
            let reasons: Vec<String> = self
                .unknown
                .iter()
                .map(|(why, parts)| format!("{}: {why}", parts.join(", ")))
                .collect();
            Standing::Unknown(reasons.join("; "))
        } else if self.judged {
            Standing::Ran
        } else {
            let why = self.not_here.as_deref();
            Standing::Skipped(why.unwrap_or("no such part here").to_owned())
        }
    }

    /// The findings, and the events they were made of.
    pub fn into_parts(self) -> (Vec<Finding>, BTreeSet<usize>) {
        (self.findings, self.events)
    }

    /// The findings so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}
