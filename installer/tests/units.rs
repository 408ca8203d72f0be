//! systemd's own judgement of the units: nothing to complain about, and little exposure.
//!
//! Left out, and said so, where systemd-analyze is not installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_hardware::Root;
use cupel_hardware::command::{Limits, Output, run};

const ANALYZE: &str = "/usr/bin/systemd-analyze";

/// Most exposure, in tenths, that `systemd-analyze security` may give.
const MOST: &str = "40";

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(units()).expect("units");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.ends_with(".service"))
        .collect();
    names.sort();
    names
}

/// Runs a program; `None`, and said so, where it is not installed.
#[expect(clippy::print_stdout, reason = "what is left out is said aloud")]
fn tool(program: &str, arguments: &[&str]) -> Option<Output> {
    if !Path::new(program).exists() {
        println!("LEFT OUT: {program} is not installed, so the units are not judged");
        return None;
    }
    let limits = Limits {
        time: Duration::from_secs(60),
        ..Limits::default()
    };
    Some(run(&Root::live(), Path::new(program), arguments, limits).expect("runs"))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let system = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&system).expect("directory");
    // What the units name: targets of this system, and programs.
    let theirs = Path::new("/usr/lib/systemd/system");
    for entry in fs::read_dir(theirs).into_iter().flatten().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), system.join(entry.file_name())).expect("copy");
        }
    }
    for program in [
        "usr/bin/cupel",
        "usr/bin/cupel-inventory",
        "usr/lib/cupel/proven/cupel",
        "bin/sh",
        "bin/rm",
    ] {
        let path = root.join(program);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(&path, "#!/bin/sh\n").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let names = names();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in &names {
        fs::copy(units().join(name), system.join(name)).expect("copy");
    }
    let at = format!("--root={}", root.display());
    let paths: Vec<String> = names
        .iter()
        .map(|name| system.join(name).display().to_string())
        .collect();
    let mut arguments = vec![at.as_str(), "verify", "--man=no"];
    arguments.extend(paths.iter().map(String::as_str));
    let Some(output) = tool(ANALYZE, &arguments) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<_> = said.lines().filter(|line| line.contains("cupel")).collect();
    assert_eq!((output.status, about_ours), (0, Vec::new()), "{said}");
}

#[test]
fn the_units_are_closed_but_for_what_they_must_reach() {
    for name in names() {
        let path = units().join(&name).display().to_string();
        let threshold = format!("--threshold={MOST}");
        let arguments = ["security", "--offline=yes", &threshold, &path];
        let Some(output) = tool(ANALYZE, &arguments) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let score = said.trim().lines().last().unwrap_or_default();
        println!("{score}");
        assert_eq!(output.status, 0, "{name}: {score}");
    }
}

#[test]
fn the_catalogue_is_one() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let at = root.join("usr/lib/systemd/catalog");
    fs::create_dir_all(&at).expect("directory");
    fs::create_dir_all(root.join("var/lib/systemd/catalog")).expect("directory");
    fs::copy(units().join("cupel.catalog"), at.join("cupel.catalog")).expect("copy");
    let root = format!("--root={}", root.display());
    let Some(made) = tool("/usr/bin/journalctl", &[&root, "--update-catalog"]) else {
        return;
    };
    let said = String::from_utf8_lossy(&made.stderr);
    assert_eq!((made.status, said.trim()), (0, ""));
    let listed = tool("/usr/bin/journalctl", &[&root, "--list-catalog"]).expect("installed");
    let listed = String::from_utf8_lossy(&listed.stdout);
    let text = fs::read_to_string(units().join("cupel.catalog")).expect("catalogue");
    let entries = text.lines().filter(|line| line.starts_with("-- ")).count();
    assert_eq!(listed.lines().count(), entries, "{listed}");
    assert!(entries > 40, "{entries}");
}

#[test]
fn each_setting_that_is_left_open_is_explained_where_it_is() {
    let unit = fs::read_to_string(units().join("cupel.service")).expect("unit");
    for open in [
        "User=",
        "PrivateDevices=",
        "DevicePolicy=",
        "ProtectKernelLogs=",
        "ProtectClock=",
        "ProtectProc=",
        "PrivateNetwork=",
        "IPAddressDeny=",
        "PrivateUsers=",
        "MemoryDenyWriteExecute=",
    ] {
        let mut lines = unit.lines().filter(|line| line.contains(open));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("{open} is not explained"));
        assert!(line.starts_with('#'), "{line}");
    }
}
