//! What came of one stage, and the rules that hold for every stage.

use cupel_model::units::{Bytes, Seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measured::{CounterChange, CounterMeaning, Coverage, Matrix, Measured, Series};
use super::mismatch::Mismatch;
use super::outcome::{Detector, FailureClass, Outcome, Proof};
use crate::plan::{percent, seconds};
use crate::resource::Resource;
use crate::stage_kind::{StageKind, StageName};

/// What came of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageResult {
    /// Which kind.
    pub stage: StageKind,
    /// Its name, unique in the run.
    pub name: StageName,
    /// What it did to what.
    #[serde(default)]
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What kind of failure; null when it did not fail.
    #[serde(default)]
    pub class: Option<FailureClass>,
    /// Why it is not a pass; empty for a pass.
    pub reasons: Vec<String>,
    /// The planted faults.
    pub proof: Proof,
    /// How much was tested.
    pub coverage: Coverage,
    /// What was measured.
    pub measured: Vec<Measured>,
    /// How many differences nobody planted.
    pub mismatch_count: u64,
    /// The first of them.
    pub mismatches: Vec<Mismatch>,
    /// Values over time.
    #[serde(default)]
    pub series: Vec<Series>,
    /// Values by pair.
    #[serde(default)]
    pub matrices: Vec<Matrix>,
    /// Counters of its parts before and after.
    #[serde(default)]
    pub counters: Vec<CounterChange>,
    /// What must not be used again in this run: it hung, was lost, or stopped at its limit.
    #[serde(default)]
    pub lost: Vec<Resource>,
    /// What a reader should know: what was left out, what could not be told.
    pub notes: Vec<String>,
    /// Which stages ran at the same time.
    #[serde(default)]
    pub beside: Vec<StageName>,
    /// When it began, in seconds since the run began.
    #[serde(default = "zero")]
    pub began_seconds: Seconds,
    /// How long it took.
    pub elapsed_seconds: Seconds,
    /// Whether the verdict needs it.
    #[serde(default = "yes")]
    pub required: bool,
}

fn zero() -> Seconds {
    seconds(std::time::Duration::ZERO)
}

fn yes() -> bool {
    true
}

impl StageResult {
    /// A result to fill in: nothing is covered, nothing is proven.
    pub fn new(name: StageName) -> Self {
        Self {
            stage: name.kind,
            name,
            what: String::new(),
            outcome: Outcome::Incomplete,
            class: None,
            reasons: Vec::new(),
            proof: Proof::of(0, 0, false),
            coverage: Coverage {
                unit: String::new(),
                asked: 0,
                covered: 0,
                percent: percent(0.0, 0.0),
            },
            measured: Vec::new(),
            mismatch_count: 0,
            mismatches: Vec::new(),
            series: Vec::new(),
            matrices: Vec::new(),
            counters: Vec::new(),
            lost: Vec::new(),
            notes: Vec::new(),
            beside: Vec::new(),
            began_seconds: zero(),
            elapsed_seconds: zero(),
            required: true,
        }
    }

    /// There is no such part here.
    pub fn skipped(name: StageName, why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Skipped,
            reasons: vec![why.into()],
            proof: Proof::none(),
            ..Self::new(name)
        }
    }

    /// The part is there and cannot be tested here.
    pub fn unsupported(name: StageName, why: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Unsupported,
            reasons: vec![why.into()],
            proof: Proof::none(),
            ..Self::new(name)
        }
    }

    /// It did not come to an end of its own.
    pub fn incomplete(name: StageName, why: impl Into<String>) -> Self {
        Self {
            reasons: vec![why.into()],
            ..Self::new(name)
        }
    }

    /// The same with its outcome and class, by the rules that hold for every stage. Reasons that
    /// are there already make it incomplete at least; a class that is there already makes it fail.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let mut worst = self.class;
        let mut fail = |class: FailureClass| worst = worst.max(Some(class));
        let coverage = &self.coverage;
        if coverage.covered < coverage.asked {
            self.reasons.push(format!(
                "{} of {} were tested ({})",
                match coverage.unit.as_str() {
                    "bytes" => Bytes(coverage.covered).human(),
                    _ => coverage.covered.to_string(),
                },
                amount(coverage.asked, &coverage.unit),
                coverage.percent
            ));
        }
        for measured in &self.measured {
            if measured.holds() != Some(false) {
                continue;
            }
            let missed = missed(measured);
            if measured.floor.is_verified() {
                fail(FailureClass::BelowFloor);
                self.reasons.push(missed);
            } else {
                self.notes.push(missed);
            }
        }
        for matrix in &self.matrices {
            let below = below(matrix);
            if below.is_empty() {
                continue;
            }
            if matrix.floor.is_verified() {
                fail(FailureClass::BelowFloor);
                self.reasons.extend(below);
            } else {
                self.notes.extend(below);
            }
        }
        for counter in &self.counters {
            let Some((said, uncorrected)) = risen(counter) else {
                continue;
            };
            if uncorrected {
                fail(FailureClass::ErrorsCounted);
                self.reasons.insert(0, said);
            } else {
                self.notes.push(said);
            }
        }
        let Proof {
            detector,
            planted,
            found,
        } = self.proof;
        match detector {
            Detector::Proven | Detector::None => {}
            Detector::NotProven => self.reasons.push(
                "the detector was not proven: the run ended before planted faults were looked for"
                    .to_owned(),
            ),
            Detector::Broken => {
                fail(FailureClass::DetectorBroken);
                self.reasons.insert(
                    0,
                    format!(
                        "detector broken: it missed {} of {planted} planted faults",
                        planted.saturating_sub(found)
                    ),
                );
            }
        }
        if self.mismatch_count > 0 {
            fail(if ecc_is_silent(&self.counters) {
                FailureClass::SilentDataMismatch
            } else {
                FailureClass::DataMismatch
            });
            let words = match self.mismatch_count {
                1 => "1 word was wrong".to_owned(),
                many => format!("{many} words were wrong"),
            };
            let silent = if ecc_is_silent(&self.counters) {
                ", and error correction noticed nothing"
            } else {
                ""
            };
            self.reasons.insert(0, format!("{words}{silent}"));
        }
        self.class = worst;
        self.outcome = if worst.is_some() {
            Outcome::Fail
        } else if self.reasons.is_empty() {
            Outcome::Pass
        } else {
            Outcome::Incomplete
        };
        self
    }
}

/// `3 processors`, `2.5 GiB`.
fn amount(count: u64, unit: &str) -> String {
    if unit == "bytes" {
        Bytes(count).human()
    } else {
        format!("{count} {unit}")
    }
}

fn limit(floor: &super::Floor) -> (&'static str, f64, &str) {
    match floor {
        super::Floor::Uncalibrated => ("", 0.0, ""),
        super::Floor::AtLeast { value, source } => ("at least", *value, source),
        super::Floor::AtMost { value, source } => ("at most", *value, source),
    }
}

fn missed(measured: &Measured) -> String {
    let (word, value, source) = limit(&measured.floor);
    let on = measured
        .on
        .as_ref()
        .map(|on| format!(" of {on}"))
        .unwrap_or_default();
    format!(
        "{}{on} is {:.4} {}, expected {word} {value} ({source})",
        measured.name, measured.value, measured.unit
    )
}

/// The pairs of a matrix that miss its floor.
fn below(matrix: &Matrix) -> Vec<String> {
    let (word, value, source) = limit(&matrix.floor);
    let mut said = Vec::new();
    for (row, cells) in matrix.rows.iter().zip(&matrix.cells) {
        for (column, cell) in matrix.columns.iter().zip(cells) {
            let Some(cell) = cell else { continue };
            let one = Measured::uncalibrated("", *cell, "").against(matrix.floor.clone());
            if one.holds() == Some(false) {
                said.push(format!(
                    "{}, {row} to {column}: {cell:.2} {}, expected {word} {value} ({source})",
                    matrix.name, matrix.unit
                ));
            }
        }
    }
    said
}

/// A counter of trouble that rose: the sentence, and whether it is a failure.
pub(super) fn risen(counter: &CounterChange) -> Option<(String, bool)> {
    let rise = counter.rise().filter(|rise| *rise > 0.0)?;
    let bad = match counter.meaning {
        CounterMeaning::EccUncorrected | CounterMeaning::Reported => true,
        CounterMeaning::EccCorrected
        | CounterMeaning::Remapped
        | CounterMeaning::LinkError
        | CounterMeaning::Throttled => false,
        CounterMeaning::Other => return None,
    };
    let mut where_ = String::new();
    if let Some(on) = &counter.on {
        where_ = format!(" of {on}");
    }
    if let Some(place) = &counter.place {
        where_ = format!("{where_} ({place})");
    }
    let unit = if counter.unit.is_empty() {
        String::new()
    } else {
        format!(" {}", counter.unit)
    };
    Some((
        format!("{}{where_} rose by {rise}{unit}", counter.name),
        bad,
    ))
}

/// Whether error correction was asked and noticed nothing.
fn ecc_is_silent(counters: &[CounterChange]) -> bool {
    let mut ecc = counters
        .iter()
        .filter(|counter| {
            matches!(
                counter.meaning,
                CounterMeaning::EccCorrected | CounterMeaning::EccUncorrected
            )
        })
        .peekable();
    ecc.peek().is_some() && ecc.all(|counter| counter.rise() == Some(0.0))
}
