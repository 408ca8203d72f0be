//! The Markdown report.

use std::fmt::Write as _;

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
