//! The commands that install, as far as a directory that stands for a machine goes: what is
//! refused, what a version proves and brings along, and a push to a node that is played.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Result, ensure};
use cupel_e2e::{Ran, Server, cupel_elsewhere};
use serde_json::Value;

fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Refused, for this reason, and nothing is there afterwards.
fn refused(root: &Path, arguments: &[&str], why: &str) -> Result<()> {
    let at = root.display().to_string();
    let mut all = arguments.to_vec();
    all.extend(["--root", &at]);
    let ran = cupel_elsewhere(&all)?;
    ensure!(ran.code() == 4, "{arguments:?}: {}", said(&ran));
    ensure!(said(&ran).contains(why), "{arguments:?}: {}", said(&ran));
    for path in ["usr", "etc", "var"] {
        ensure!(!root.join(path).exists(), "{arguments:?} made {path}");
    }
    Ok(())
}

#[test]
fn what_is_refused_changes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let no_systemd = "systemd cannot be asked";
    refused(root, &["install", "--yes"], no_systemd)?;
    refused(root, &["install", "--dry-run"], no_systemd)?;
    refused(root, &["rollback", "--yes"], "nothing is installed here")?;
    refused(root, &["uninstall", "--yes"], "nothing is installed here")?;
    let elsewhere = tempfile::tempdir()?;
    let file = elsewhere.path().join("release");
    fs::write(&file, "no program")?;
    fs::write(elsewhere.path().join("release.minisig"), "no signature")?;
    let file = file.display().to_string();
    refused(
        root,
        &["upgrade", "--yes", &file],
        "no release key is trusted here",
    )?;
    let http = cupel_elsewhere(&["upgrade", "--yes", "http://192.0.2.1/cupel"])?;
    ensure!(
        http.code() == 2 && said(&http).contains("not encrypted"),
        "{}",
        said(&http)
    );
    Ok(())
}

#[test]
fn nothing_under_way_is_nothing_to_do() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().display().to_string();
    for what in ["--step", "--recover"] {
        let ran = cupel_elsewhere(&["upgrade", what, "--root", &root])?;
        ensure!(ran.code() == 0, "{what}: {}", said(&ran));
        ensure!(said(&ran).is_empty(), "{what}: {}", said(&ran));
    }
    Ok(())
}

#[test]
fn a_version_tests_itself_and_names_its_files() -> Result<()> {
    let rack = Server::healthy("dgx-h100")?;
    let ran = rack.cupel(&["self-test"])?;
    ensure!(ran.code() == 0, "{}", said(&ran));
    ensure!(ran.stdout.starts_with("it works here: "), "{}", ran.stdout);

    let ran = rack.cupel(&["system-files"])?;
    let files: Value = serde_json::from_str(&ran.stdout)?;
    let unit = files["files"]["systemd/cupel.service"].as_str();
    ensure!(
        unit.is_some_and(|unit| unit.contains("WatchdogSec=")),
        "{files}"
    );

    let etc = rack.rack.root().join("etc/cupel");
    fs::create_dir_all(&etc)?;
    fs::write(etc.join("node.toml"), "banana = 1\n")?;
    let ran = rack.cupel(&["self-test"])?;
    ensure!(
        ran.code() == 2 && ran.stderr.contains("banana"),
        "{}",
        said(&ran)
    );
    Ok(())
}

#[test]
fn a_push_tells_of_each_node_and_ends_with_a_summary() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name).display().to_string();
    // ssh to nobody: each node refuses the connection.
    fs::write(
        at("ssh"),
        "#!/bin/sh\necho 'connection refused' >&2\nexit 255\n",
    )?;
    fs::set_permissions(at("ssh"), fs::Permissions::from_mode(0o755))?;
    fs::copy(cupel_e2e::program("cupel")?, at("cupel"))?;
    let rack = "program = 'cupel'\nretries = 0\n[[node]]\nname = 'n1'\n[[node]]\nname = 'n2'\n";
    fs::write(at("rack.toml"), rack)?;
    let logs = at("logs");
    let arguments = [
        "push",
        &at("rack.toml"),
        "--ssh",
        &at("ssh"),
        "--logs",
        &logs,
    ];
    let ran = cupel_elsewhere(&arguments)?;
    ensure!(ran.code() == 2, "{}", said(&ran));
    ensure!(
        ran.stdout.contains("0 of 2 nodes have it"),
        "{}",
        ran.stdout
    );
    ensure!(ran.stderr.contains("n1: looks"), "{}", ran.stderr);
    ensure!(Path::new(&logs).join("n2.log").is_file(), "no log");
    let mut json = arguments.to_vec();
    json.extend(["--output", "json"]);
    let ran = cupel_elsewhere(&json)?;
    let all: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(all["nodes"][1]["result"] == "failed", "{all}");
    Ok(())
}
