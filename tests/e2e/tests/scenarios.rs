//! Every scenario: `cupel check` finds exactly what is wrong, with the right part, and nothing
//! where nothing is; a capture says the same elsewhere.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use cupel_e2e::{Server, cupel_elsewhere, scenarios, sort, warnings};
use cupel_model::{CheckReport, Verdict};
use cupel_rack::Scenario;

/// Collects what is wrong with any scenario, so that one run tells all.
fn for_each(wanted: impl Fn(&Scenario) -> bool, test: impl Fn(&Scenario) -> Result<()>) {
    let mut wrong = String::new();
    let mut count = 0;
    for (name, scenario) in scenarios().expect("scenarios") {
        if !wanted(&scenario) || !chosen(&name) {
            continue;
        }
        count += 1;
        if let Err(error) = test(&scenario) {
            writeln!(wrong, "--- {name}: {error:#}").expect("string");
        }
    }
    assert!(count > 0 || std::env::var_os("CUPEL_SCENARIO").is_some());
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// `CUPEL_SCENARIO` narrows a run to names that contain it.
fn chosen(name: &str) -> bool {
    std::env::var("CUPEL_SCENARIO").map_or(true, |part| name.contains(&part))
}

fn as_expected(scenario: &Scenario, report: &CheckReport, code: i32) -> Result<()> {
    let mut expected = scenario.expected.clone();
    sort(&mut expected);
    let found = warnings(report);
    let unknown = &report.coverage.unknown;
    ensure!(
        found == expected,
        "found {found:#?}\nwanted {expected:#?}\nunknown {unknown:?}"
    );
    ensure!(
        report.verdict == scenario.verdict,
        "verdict {:?}, wanted {:?}; unknown {unknown:?}",
        report.verdict,
        scenario.verdict
    );
    ensure!(
        report.platform.as_deref() == Some(&scenario.platform),
        "platform {:?}",
        report.platform
    );
    let wanted = i32::from(report.exit_code(false));
    ensure!(code == wanted, "exit code {code}, wanted {wanted}");
    Ok(())
}

#[test]
fn every_fault_is_found_and_nothing_else() {
    for_each(
        |scenario| scenario.verdict != Verdict::Healthy,
        |scenario| {
            let ran = Server::of(scenario)?.cupel(&["check", "--output", "json"])?;
            as_expected(scenario, &ran.report()?, ran.code())
        },
    );
}

/// `CUPEL_REPEATS` says how often; a healthy server that has a finding once in a while has one.
#[test]
fn healthy_scenarios_have_no_finding() {
    let repeats = std::env::var("CUPEL_REPEATS").ok();
    let repeats: u32 = repeats.and_then(|text| text.parse().ok()).unwrap_or(20);
    for_each(
        |scenario| scenario.verdict == Verdict::Healthy,
        |scenario| {
            let server = Server::of(scenario)?;
            for _ in 0..repeats {
                let ran = server.cupel(&["check", "--output", "json"])?;
                as_expected(scenario, &ran.report()?, ran.code())?;
            }
            Ok(())
        },
    );
}

#[test]
fn a_capture_says_the_same_elsewhere() {
    for_each(
        |_| true,
        |scenario| {
            let server = Server::of(scenario)?;
            let file = server.directory().join("capture.json.zst");
            let file = file.to_string_lossy().into_owned();
            let captured = server.cupel(&["capture", &file])?;
            ensure!(captured.code() == 0, "capture: {}", captured.stderr);
            let ran = cupel_elsewhere(&["check", "--from", &file, "--output", "json"])?;
            as_expected(scenario, &ran.report()?, ran.code())?;
            let again = server.cupel(&["check", "--from", &file, "--output", "json"])?;
            ensure!(
                again.stdout == ran.stdout,
                "the answer depends on the place"
            );
            Ok(())
        },
    );
}
