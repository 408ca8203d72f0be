//! The same commit, built again from another directory: is it the same?

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::build::Architecture;
use super::package::Release;
use super::seal;
use crate::process;
use crate::workspace::Workspace;

/// Builds a clone in a directory of its own, with a build directory of its own, and compares every
/// artefact. The clone is removed; where something differs, its artefacts stay.
pub fn same(
    workspace: &Workspace,
    commit: &str,
    architectures: &[Architecture],
    first: &Path,
    release: &Release<'_>,
) -> anyhow::Result<bool> {
    let scratch = workspace.target.join("dist-build");
    let second = tempfile::Builder::new()
        .prefix("second-")
        .tempdir_in(&scratch)
        .context("make a directory for the second build")?;
    let clone = second.path().join("another-checkout");
    let (from, to) = (
        workspace.root.display().to_string(),
        clone.display().to_string(),
    );
    workspace.git(&["clone", "--quiet", "--no-checkout", &from, &to])?;
    workspace.git(&["-C", &to, "checkout", "--quiet", "--detach", commit])?;

    let target = second.path().join("other-builds");
    let directory = target.display().to_string();
    let names: Vec<&str> = architectures.iter().map(|one| one.name()).collect();
    let names = names.join(",");
    let args = ["dist", "--arch", &names, "--maintainer", release.maintainer];
    println!("the second build, in {to}");
    // This program is of the same commit, and finds the checkout by the directory it runs in.
    let status = process::status(
        &std::env::current_exe().context("where this program is")?,
        &args,
        &[("CARGO_TARGET_DIR", &directory)],
        &clone,
    )?;
    if !status.success() {
        bail!("the second build failed: {status}");
    }
    let other = target.join("dist");
    let differs = differences(first, &other)?;
    if differs.is_empty() {
        println!(
            "{} artefacts, the same twice",
            seal::artefacts(first)?.len()
        );
        return Ok(true);
    }
    let kept = scratch.join("second");
    if kept.exists() {
        fs::remove_dir_all(&kept).with_context(|| format!("remove {}", kept.display()))?;
    }
    fs::rename(&other, &kept).with_context(|| format!("rename to {}", kept.display()))?;
    for name in &differs {
        println!("differs: {name}");
    }
    println!("compare {} and {}", first.display(), kept.display());
    Ok(false)
}

/// Artefacts that are not the same in both, or in one alone.
fn differences(first: &Path, second: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = seal::artefacts(first)?;
    names.extend(seal::artefacts(second)?);
    names.sort();
    names.dedup();
    let read = |directory: &Path, name: &str| fs::read(directory.join(name)).ok();
    names.retain(|name| read(first, name) != read(second, name));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_or_is_alone_is_named() {
        let first = tempfile::tempdir().expect("directory");
        let second = tempfile::tempdir().expect("directory");
        for (name, a, b) in [
            ("same", Some("1"), Some("1")),
            ("other", Some("1"), Some("2")),
            ("alone", None, Some("1")),
            ("same.minisig", Some("1"), Some("2")),
        ] {
            for (at, text) in [(&first, a), (&second, b)] {
                if let Some(text) = text {
                    fs::write(at.path().join(name), text).expect("write");
                }
            }
        }
        let differs = differences(first.path(), second.path()).expect("compared");
        assert_eq!(differs, ["alone", "other"]);
    }
}
