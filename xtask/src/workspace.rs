//! Where the checkout is, where builds go, and how to build.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::process;

/// The checkout.
pub struct Workspace {
    /// Its top directory.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
}

impl Workspace {
    /// The workspace around the current directory.
    pub fn find() -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("cargo metadata: is this the checkout of Cupel?")?;
        Ok(Self {
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
        })
    }

    /// All packages with their dependencies; `platform` leaves out what other systems need.
    pub fn metadata(&self, platform: Option<&str>) -> anyhow::Result<Metadata> {
        let mut command = MetadataCommand::new();
        command.current_dir(&self.root);
        let mut options = vec!["--locked".to_owned()];
        if let Some(platform) = platform {
            options.extend(["--filter-platform".to_owned(), platform.to_owned()]);
        }
        command.other_options(options);
        command.exec().context("cargo metadata --locked")
    }

    /// Directory of development builds.
    pub fn debug(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Runs cargo on this terminal.
    pub fn cargo(&self, args: &[&str], env: process::Env<'_>) -> anyhow::Result<bool> {
        Ok(process::status(&process::cargo(), args, env, &self.root)?.success())
    }

    /// Builds packages in the development profile.
    pub fn build(&self, packages: &[&str]) -> anyhow::Result<()> {
        let mut args = vec!["build", "--locked"];
        for package in packages {
            args.extend(["--package", package]);
        }
        if !self.cargo(&args, &[])? {
            bail!("cargo {} failed; its messages are above", args.join(" "));
        }
        Ok(())
    }

    /// The files of the project: what git tracks, and what it would if asked.
    pub fn files(&self) -> anyhow::Result<Vec<String>> {
        let listed = self.git(&[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])?;
        let mut files: Vec<String> = listed
            .split('\0')
            .filter(|name| !name.is_empty() && self.root.join(name).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// What git says.
    pub fn git(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = process::output(Path::new("git"), args, &[], &self.root)?;
        if !output.status.success() {
            bail!(
                "git {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Brings a directory of generated files to what it should hold, or says what differs.
    ///
    /// `owns` says which existing files are generated, so that stale ones go.
    pub fn generated(
        &self,
        directory: &str,
        wanted: &[(String, String)],
        owns: impl Fn(&str) -> bool,
        check: bool,
        again: &str,
    ) -> anyhow::Result<u8> {
        let at = self.root.join(directory);
        let mut differs = Vec::new();
        for (name, text) in wanted {
            let path = at.join(name);
            if fs::read_to_string(&path).ok().as_deref() != Some(text) {
                differs.push(format!("{directory}/{name}"));
                if !check {
                    fs::create_dir_all(&at).with_context(|| format!("create {}", at.display()))?;
                    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
                }
            }
        }
        for entry in at.read_dir().into_iter().flatten() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if owns(&name) && !wanted.iter().any(|(wanted, _)| *wanted == name) {
                differs.push(format!("{directory}/{name} (stale)"));
                if !check {
                    fs::remove_file(at.join(&name))
                        .with_context(|| format!("remove {directory}/{name}"))?;
                }
            }
        }
        if differs.is_empty() {
            println!("{directory}: {} files up to date", wanted.len());
            return Ok(0);
        }
        for name in &differs {
            println!("{} {name}", if check { "out of date:" } else { "wrote" });
        }
        if check {
            println!("run `{again}` and commit the result");
            return Ok(1);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_checked_written_and_cleaned() {
        let root = tempfile::tempdir().expect("directory");
        let workspace = Workspace {
            root: root.path().to_owned(),
            target: root.path().join("target"),
        };
        let wanted = [("a.md".to_owned(), "new\n".to_owned())];
        let run = |check| {
            workspace
                .generated(
                    "docs/x",
                    &wanted,
                    |name| name.ends_with(".md"),
                    check,
                    "again",
                )
                .expect("generate")
        };
        let at = |name: &str| root.path().join("docs/x").join(name);
        assert_eq!(run(true), 1, "nothing is there yet");
        assert!(!at("a.md").exists(), "checking writes nothing");
        assert_eq!(run(false), 0);
        assert_eq!(run(true), 0);
        fs::write(at("a.md"), "old\n").expect("write");
        fs::write(at("stale.md"), "old\n").expect("write");
        fs::write(at("kept.txt"), "by hand\n").expect("write");
        assert_eq!(run(true), 1);
        assert_eq!(run(false), 0);
        assert_eq!(fs::read_to_string(at("a.md")).expect("read"), "new\n");
        assert!(!at("stale.md").exists() && at("kept.txt").exists());
    }
}
