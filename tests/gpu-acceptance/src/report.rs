//! The Markdown report.

use std::fmt::Write as _;

use serde_json::Value;

use crate::compare::{Outcome, Row};

/// One step of the acceptance.
pub struct Step {
    /// What was tried.
    pub name: &'static str,
    /// What came of it: passed, failed and why, or not run and why.
    pub result: StepResult,
}

/// What came of a step.
pub enum StepResult {
    /// As it should be; with what was seen.
    Passed(String),
    /// Not as it should be.
    Failed(String),
    /// It does not apply to this machine.
    NotRun(String),
}

impl StepResult {
    /// For the terminal.
    pub fn line(&self) -> String {
        match self {
            Self::Passed(seen) => format!("passed, {seen}"),
            Self::Failed(why) => format!("FAILED, {why}"),
            Self::NotRun(why) => format!("not run, {why}"),
        }
    }
}

/// The steps as a table.
pub fn steps(steps: &[Step]) -> String {
    let mut text = "| Step | Result | Seen |\n|---|---|---|\n".to_owned();
    for step in steps {
        let (result, seen) = match &step.result {
            StepResult::Passed(seen) => ("passed", seen),
            StepResult::Failed(why) => ("**failed**", why),
            StepResult::NotRun(why) => ("not run", why),
        };
        line(&mut text, &[step.name, result, seen]);
    }
    text
}

/// The stages of a burn-in and what each measured.
pub fn stages(burn_in: &Value) -> String {
    let mut text =
        "| Stage | Outcome | Seconds | Planted, found | Covered | Measured |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for stage in burn_in["stages"].as_array().into_iter().flatten() {
        let said = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let measured: Vec<_> = stage["measured"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| {
                let value = one["value"].as_f64().unwrap_or(f64::NAN);
                format!("{} {value:.1} {}", said(&one["name"]), said(&one["unit"]))
            })
            .collect();
        let proof = &stage["proof"];
        let cells = [
            said(&stage["what"]),
            said(&stage["outcome"]),
            format!(
                "{:.1}",
                stage["elapsed_seconds"].as_f64().unwrap_or(f64::NAN)
            ),
            format!("{}, {}", proof["planted"], proof["found"]),
            said(&stage["coverage"]["percent"]),
            measured.join(", "),
        ];
        line(&mut text, &cells.each_ref().map(String::as_str));
    }
    text
}

/// The comparison: a summary, then what differs, then the rest.
pub fn comparison(rows: &[Row]) -> String {
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let mut text = format!(
        "{} values agree, {} differ, {} only Cupel has, {} nvidia-smi does not tell\n",
        count(Outcome::Match),
        count(Outcome::Mismatch),
        count(Outcome::CupelOnly),
        count(Outcome::NotTold)
    );
    for (title, outcome) in [
        ("Differ", Outcome::Mismatch),
        ("Only Cupel has a value", Outcome::CupelOnly),
        ("Agree", Outcome::Match),
        ("Not told by nvidia-smi -q -x", Outcome::NotTold),
    ] {
        let mut of_it = rows.iter().filter(|row| row.outcome == outcome).peekable();
        if of_it.peek().is_none() {
            continue;
        }
        text.push_str(&format!(
            "\n### {title}\n\n| Part | Value | Cupel | nvidia-smi |\n|---|---|---|---|\n"
        ));
        for row in of_it {
            line(&mut text, &[&row.part, &row.value, &row.cupel, &row.smi]);
        }
    }
    text
}

fn line(text: &mut String, cells: &[&str]) {
    for cell in cells {
        let cell: String = cell.chars().take(300).collect();
        let cell = cell.replace('|', "\\|").replace('\n', " ");
        // Writing to a String cannot fail.
        let _ = write!(text, "| {cell} ");
    }
    text.push_str("|\n");
}
