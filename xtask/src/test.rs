//! `cargo xtask test`: everything that must pass, and a last line that is true.
//!
//! # Invariants
//! - The last line counts steps and tests: a test that says `skipped: why` counts as skipped, not
//!   as passed, and so does a step whose tool is not installed.
//! - A test program that ends without a result has failed with all its tests.
//! - Every step runs, also after one has failed.

use std::time::Instant;

use clap::ValueEnum;
use cupel_machines::scenarios::Outcome;

use crate::process;
use crate::workspace::Workspace;
use crate::{docs, e2e, kernels, schemas, tidy};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Options {
    /// Only these steps; all without
    steps: Vec<Step>,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// cargo fmt --check
    Format,
    /// cargo clippy, warnings are errors
    Lints,
    /// The promises of docs/architecture.md
    Tidy,
    /// docs/schemas and docs/checks are what the code says
    Generated,
    /// The GPU images are what their sources give
    Kernels,
    /// Everything compiles
    Build,
    /// All tests, with the fuzz seeds
    Tests,
    /// The short set of booted machines
    Machines,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Why things were skipped or failed, one line each.
    notes: Vec<String>,
}

impl Tally {
    fn one(passed: bool, what: &str) -> Self {
        if passed {
            return Self {
                passed: 1,
                ..Self::default()
            };
        }
        Self {
            failed: 1,
            notes: vec![format!("failed: {what}")],
            ..Self::default()
        }
    }

    fn not_run(what: &str) -> Self {
        Self {
            skipped: 1,
            notes: vec![format!("skipped: {what}")],
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.notes.extend(other.notes);
    }
}

/// Runs the steps.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    let mut total = Tally::default();
    let wanted = |step: &Step| options.steps.is_empty() || options.steps.contains(step);
    for step in Step::value_variants().iter().filter(|step| wanted(step)) {
        let name = step
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned());
        println!("== {name}");
        let began = Instant::now();
        let tally = match take(workspace, *step) {
            Ok(tally) => tally,
            Err(error) => Tally::one(false, &format!("{name}: {error:#}")),
        };
        for note in &tally.notes {
            println!("{note}");
        }
        println!("== {name}: {:.0} s", began.elapsed().as_secs_f64());
        total.add(tally);
    }
    println!();
    for note in &total.notes {
        println!("{note}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    Ok(u8::from(total.failed > 0 || total.passed == 0))
}

fn take(workspace: &Workspace, step: Step) -> anyhow::Result<Tally> {
    match step {
        Step::Format => component(workspace, "fmt", "rustfmt", &["fmt", "--all", "--check"]),
        Step::Lints => component(
            workspace,
            "clippy",
            "clippy",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--keep-going",
                "--",
                "-D",
                "warnings",
            ],
        ),
        Step::Tidy => Ok(Tally::one(tidy::run(workspace)? == 0, "tidy")),
        Step::Generated => {
            let mut tally = Tally::one(schemas::run(workspace, true)? == 0, "docs/schemas");
            tally.add(Tally::one(docs::run(workspace, true)? == 0, "docs/checks"));
            Ok(tally)
        }
        Step::Kernels => Ok(match kernels::build(workspace, true)? {
            kernels::Outcome::Fine => Tally::one(true, "kernels"),
            kernels::Outcome::OutOfDate => Tally::one(false, "cargo xtask kernels --check"),
            kernels::Outcome::Skipped(why) => Tally::not_run(&why),
        }),
        Step::Build => {
            let built = workspace.cargo(&["build", "--workspace", "--locked"], &[])?;
            Ok(Tally::one(built, "cargo build --workspace"))
        }
        Step::Tests => tests(workspace),
        Step::Machines => machines(workspace),
    }
}

/// A step that needs a component of the toolchain.
fn component(
    workspace: &Workspace,
    tool: &str,
    name: &str,
    args: &[&str],
) -> anyhow::Result<Tally> {
    let there = process::output(
        &process::cargo(),
        &[tool, "--version"],
        &[],
        &workspace.root,
    )?;
    if !there.status.success() {
        return Ok(Tally::not_run(&format!(
            "cargo {tool}: {name} is not installed (`rustup component add {name}`)"
        )));
    }
    Ok(Tally::one(
        workspace.cargo(args, &[])?,
        &format!("cargo {}", args.join(" ")),
    ))
}

fn tests(workspace: &Workspace) -> anyhow::Result<Tally> {
    let mut reader = Reader::default();
    let status = process::lines(
        &process::cargo(),
        &[
            "test",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--",
            "--show-output",
        ],
        // A test run leaves the tree as it was.
        &[("INSTA_UPDATE", "no")],
        &workspace.root,
        &mut |line| {
            if reader.line(line) {
                println!("{line}");
            }
        },
    )?;
    Ok(reader.end(status.success()))
}

fn machines(workspace: &Workspace) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for (name, outcome) in e2e::short(workspace)? {
        tally.add(match outcome {
            Outcome::Passed(_) => Tally::one(true, name),
            Outcome::Failed(why) => Tally::one(false, &format!("machines: {name}: {why}")),
            Outcome::Skipped(why) => Tally::not_run(&format!("machines: {name}: {why}")),
        });
    }
    Ok(tally)
}

/// Reads what the test programs print, line by line.
#[derive(Default)]
struct Reader {
    tally: Tally,
    /// Tests of the program that runs now, while it has no result.
    open: Option<u64>,
    /// Whether the lines are what passing tests printed.
    in_successes: bool,
    /// The test whose output this is.
    test: String,
    /// Tests of this program that passed by saying that they were skipped.
    said_skipped: Vec<String>,
}

impl Reader {
    /// Takes one line; says whether a person wants to see it.
    fn line(&mut self, line: &str) -> bool {
        if let Some(count) = line.strip_prefix("running ").and_then(first_number) {
            self.close();
            self.open = Some(count);
            return count > 0;
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.result(result);
            self.in_successes = false;
            return !result.contains(" 0 passed; 0 failed; 0 ignored");
        }
        if let Some((name, why)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... ignored"))
        {
            let why = why.trim_start_matches([',', ' ']);
            self.tally.notes.push(format!("skipped: {name}: {why}"));
        }
        match line {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            name.clone_into(&mut self.test);
        } else if self.in_successes
            && let Some(why) = line.strip_prefix("skipped: ")
            && !self.said_skipped.contains(&self.test)
        {
            self.said_skipped.push(self.test.clone());
            self.tally
                .notes
                .push(format!("skipped: {}: {why}", self.test));
        }
        let passed = line.starts_with("test ") && line.ends_with(" ... ok");
        !self.in_successes && !passed && !line.is_empty()
    }

    /// `ok. 3 passed; 1 failed; 2 ignored; …`
    fn result(&mut self, result: &str) {
        let count = |word: &str| {
            result
                .split("; ")
                .find_map(|part| part.trim_end().strip_suffix(word))
                .and_then(|part| part.trim().rsplit(' ').next()?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let skipped = self.said_skipped.len() as u64;
        self.said_skipped.clear();
        self.open = None;
        self.tally.passed += count("passed").saturating_sub(skipped);
        self.tally.failed += count("failed");
        self.tally.skipped += count("ignored") + skipped;
    }

    /// The program before this line has ended; without a result all its tests have failed.
    fn close(&mut self) {
        if let Some(tests) = self.open.take().filter(|tests| *tests > 0) {
            self.tally.failed += tests;
            self.tally.notes.push(format!(
                "failed: a test program ended without a result, {tests} tests"
            ));
        }
        self.said_skipped.clear();
        self.in_successes = false;
    }

    fn end(mut self, success: bool) -> Tally {
        self.close();
        if !success && self.tally.failed == 0 {
            self.tally.add(Tally::one(false, "cargo test (see above)"));
        } else if self.tally.failed > 0 {
            self.tally
                .notes
                .push("failed: tests (see above)".to_owned());
        }
        self.tally
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, success: bool) -> (u64, u64, u64) {
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(line);
        }
        let tally = reader.end(success);
        (tally.passed, tally.failed, tally.skipped)
    }

    const FINE: &str = "\nrunning 3 tests\ntest a ... ok\ntest b ... ok\ntest c ... ignored, needs a GPU\n\n\
        successes:\n\n---- a stdout ----\nskipped: no corpus\nskipped: really\n\n\nsuccesses:\n    a\n    b\n\n\
        test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn a_test_that_says_skipped_has_not_passed() {
        assert_eq!(read(FINE, true), (1, 0, 2));
    }

    #[test]
    fn failures_count_and_a_program_without_a_result_fails_whole() {
        let failed = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\n\
            skipped: said on the way to failing\n\nfailures:\n    b\n\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(read(failed, false), (1, 1, 0));
        let died = format!("{FINE}running 5 tests\ntest x ... ok\n{FINE}");
        assert_eq!(read(&died, false), (2, 5, 4));
        assert_eq!(read("running 5 tests\ntest x ... ok\n", false), (0, 5, 0));
    }

    #[test]
    fn what_does_not_compile_is_a_failure() {
        assert_eq!(read("", false), (0, 1, 0));
        assert_eq!(read("running 0 tests\n", true), (0, 0, 0));
    }

    #[test]
    fn people_see_failures_and_results_and_not_what_went_well() {
        let mut reader = Reader::default();
        assert!(!reader.line("test a ... ok"));
        assert!(reader.line("test b ... FAILED"));
        reader.line("successes:");
        assert!(!reader.line("chatter"));
        reader.line("failures:");
        assert!(reader.line("assertion failed"));
    }
}
