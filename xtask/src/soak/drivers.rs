//! NVIDIA's own driver libraries, of three releases of Debian, on a machine without a GPU.
//!
//! # Invariants
//! - The worker is the one that ships, linked for glibc 2.17, and runs inside the root of the release
//!   that the libraries are of.
//! - The libraries come from the component non-free of the mirror that this machine's apt uses; where
//!   it has none, the job says so and is not run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::Outcome;
use crate::dist::elsewhere;
use crate::process;
use crate::workspace::Workspace;

/// Releases; their libraries are 470, 535 and 550.
pub const SUITES: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// Inside a root.
const LIBRARIES: &str = "opt/driver";

/// Runs the test of real libraries with those of `suite`.
pub fn run(workspace: &Workspace, suite: &str) -> anyhow::Result<(Outcome, String)> {
    let root = match root(workspace, suite) {
        Ok(root) => root,
        Err(error) => return Ok((Outcome::NotRun, format!("{error:#}"))),
    };
    let version = match libraries(workspace, suite, &root) {
        Ok(version) => version,
        Err(error) => return Ok((Outcome::NotRun, format!("{error:#}"))),
    };
    let root = root.display().to_string();
    let args = [
        "test",
        "--locked",
        "--package",
        "cupel-gpu-worker",
        "--test",
        "burn",
        "--",
        "--nocapture",
        "real_driver",
    ];
    let directory = format!("/{LIBRARIES}");
    let env = [
        ("CUPEL_REAL_DRIVER", directory.as_str()),
        ("CUPEL_REAL_DRIVER_ROOT", root.as_str()),
    ];
    let output = process::output(&process::cargo(), &args, &env, &workspace.root)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("real driver: "))
        .collect();
    Ok(if output.status.success() && !said.is_empty() {
        (Outcome::Passed, format!("{version}: {}", said.join("; ")))
    } else {
        let why = text.lines().rfind(|line| line.contains("panicked"));
        (
            Outcome::Failed,
            format!("{version}: {}", why.unwrap_or("see its output")),
        )
    })
}

/// The root of the release, with the worker in it.
fn root(workspace: &Workspace, suite: &str) -> anyhow::Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let linked = format!("{target}.2.17");
    let args = [
        "zigbuild",
        "--release",
        "--locked",
        "--target",
        &linked,
        "--package",
        "cupel-gpu-worker",
    ];
    if !workspace.cargo(&args, &[])? {
        bail!("no worker for glibc 2.17: `pip install ziglang cargo-zigbuild`");
    }
    let root = elsewhere::debian(workspace, suite, &elsewhere::mirror(workspace)?)?;
    let worker = workspace
        .target
        .join(target)
        .join("release/cupel-gpu-worker");
    fs::copy(&worker, root.join("cupel-gpu-worker"))
        .with_context(|| format!("copy {}", worker.display()))?;
    Ok(root)
}

/// Unpacks the driver's libraries into the root; the driver's version.
fn libraries(workspace: &Workspace, suite: &str, root: &Path) -> anyhow::Result<String> {
    let apt = workspace.target.join("real-drivers").join(suite);
    for directory in ["lists/partial", "archives/partial", "packages"] {
        fs::create_dir_all(apt.join(directory))?;
    }
    let sources = apt.join("sources.list");
    fs::write(
        &sources,
        format!(
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {suite} non-free\n",
            elsewhere::mirror(workspace)?
        ),
    )?;
    let options = [
        format!("-oDir::Etc::SourceList={}", sources.display()),
        "-oDir::Etc::SourceParts=/dev/null".to_owned(),
        format!("-oDir::State::Lists={}", apt.join("lists").display()),
        format!("-oDir::Cache={}", apt.display()),
    ];
    let packages = apt.join("packages");
    for words in [
        &["update"][..],
        &["download", "libcuda1", "libnvidia-ml1"][..],
    ] {
        let args: Vec<&str> = options
            .iter()
            .map(String::as_str)
            .chain(words.iter().copied())
            .collect();
        let done = process::output(Path::new("apt-get"), &args, &[], &packages)?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            bail!(
                "apt-get {}: {}",
                words.join(" "),
                said.lines().next().unwrap_or("no reason given")
            );
        }
    }
    let to = root.join(LIBRARIES);
    fs::create_dir_all(&to)?;
    let mut version = None;
    for package in fs::read_dir(&packages)? {
        let package = package?.path().display().to_string();
        let unpacked = apt.join("unpacked").display().to_string();
        let done = process::output(
            Path::new("dpkg-deb"),
            &["-x", &package, &unpacked],
            &[],
            &packages,
        )?;
        if !done.status.success() {
            bail!("dpkg-deb -x {package} failed");
        }
    }
    let inside = apt.join("unpacked/usr/lib").join(format!(
        "{}-linux-gnu/nvidia/current",
        std::env::consts::ARCH
    ));
    for file in fs::read_dir(&inside).with_context(|| format!("list {}", inside.display()))? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        // Links lead to these.
        let library = ["libcuda.so.", "libnvidia-ml.so."]
            .into_iter()
            .find_map(|stem| Some((stem, name.strip_prefix(stem)?)));
        let Some((stem, number)) = library.filter(|(_, number)| number.contains('.')) else {
            continue;
        };
        fs::copy(file.path(), to.join(format!("{stem}1")))?;
        version = Some(number.to_owned());
    }
    version.with_context(|| format!("no driver library in {}", inside.display()))
}
