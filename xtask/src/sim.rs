//! `cargo xtask sim SCENARIO -- CMD…`: any command inside a simulated server.
//!
//! # Invariants
//! - The command sees the server through `CUPEL_ROOT` and `CUPEL_NVML`, and finds the `cupel` that
//!   was just built first on its `PATH`.
//! - The server's directory is gone afterwards, unless it was to be kept.
//! - A scenario whose server was seen in good order before its faults is examined once without
//!   them, so that lost parts have a past.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cupel_rack::{Rack, Scenario, scratch};

use crate::process;

/// Runs the command in the scenario and gives its exit code. `keep` keeps the server's directory
/// and says where it is.
///
/// # Errors
/// An unknown scenario, a server that could not be built, or a command that could not be started.
pub fn run(scenario: &str, command: &[String], keep: bool) -> anyhow::Result<u8> {
    let Some((program, args)) = command.split_first() else {
        bail!("no command: cargo xtask sim SCENARIO -- COMMAND [ARGUMENT]…");
    };
    let scenario = Scenario::load(&find(scenario)?)?;
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let built = own.parent().unwrap_or(Path::new("."));
    let mut directory = scratch()?;
    directory.disable_cleanup(keep);
    let fake = built.join("libcupel_fake_driver.so");
    let mut rack = Rack::healthy(&scenario, directory.path(), &fake)?;
    let environment = environment(&rack, built)?;
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let here = std::env::current_dir()?;
    if scenario.seen_healthy {
        process::output(&built.join("cupel"), &["check"], &environment, &here)?;
    }
    rack.apply_all(&scenario.faults)?;
    if keep {
        eprintln!("server kept in {}", directory.path().display());
    }
    let program = if program == "cupel" {
        built.join("cupel")
    } else {
        PathBuf::from(program)
    };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let status = process::status(&program, &args, &environment, &here)?;
    // Ended by a signal: as a shell tells it.
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
    let code = status.code().unwrap_or(128 + signal);
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The scenario's file: the name itself where it is one, else that name under `tests/scenarios`.
fn find(scenario: &str) -> anyhow::Result<PathBuf> {
    let file = PathBuf::from(scenario);
    if file.is_file() {
        return Ok(file);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let named = folder.join(format!("{scenario}.toml"));
    if named.is_file() {
        return Ok(named);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).context("cannot list tests/scenarios")? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            names.extend(
                path.file_stem()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    bail!(
        "no scenario {scenario:?}: want a file or one of\n  {}",
        names.join("\n  ")
    )
}

fn environment(rack: &Rack, built: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut path = OsString::from(built);
    if let Some(more) = std::env::var_os("PATH") {
        path.push(":");
        path.push(more);
    }
    let mut variables = rack.environment();
    variables.push(("PATH".into(), path));
    variables
        .into_iter()
        .map(|(name, value)| {
            let text = |part: OsString| {
                part.into_string()
                    .map_err(|part| anyhow::anyhow!("{} is not UTF-8", part.display()))
            };
            Ok((text(name)?, text(value)?))
        })
        .collect()
}
