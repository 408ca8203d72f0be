//! How what ships is compiled: which tools, which targets, which flags.
//!
//! # Invariants
//! - Two builds of one commit are the same, wherever the checkout, the build directory and cargo's
//!   registry are: no path of this machine gets into a program.
//! - A program is static (musl through zig; without zig this machine's libc, for this machine's
//!   architecture alone). The worker is not, because a driver library is loaded into it: with zig it
//!   asks for glibc 2.17, else for this machine's.
//! - What is missing is named, with how to get it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::process;
use crate::workspace::Workspace;

/// What a server may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Architecture {
    /// Intel and AMD
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm
    #[value(name = "aarch64")]
    Aarch64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// As `uname -m`, cargo and rpm call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Debian calls it.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// That of this machine.
    pub fn here() -> anyhow::Result<Self> {
        let name = std::env::consts::ARCH;
        Self::ALL
            .into_iter()
            .find(|one| one.name() == name)
            .with_context(|| format!("Cupel is not built for {name}"))
    }

    /// Target of the static programs.
    pub fn musl(self) -> String {
        format!("{}-unknown-linux-musl", self.name())
    }

    /// Target of the worker.
    pub fn gnu(self) -> String {
        format!("{}-unknown-linux-gnu", self.name())
    }

    /// Bytes that the kernel's pages may have there; segments that are loaded keep to multiples.
    pub const fn largest_page(self) -> u64 {
        match self {
            Self::X86_64 => 4 << 10,
            Self::Aarch64 => 64 << 10,
        }
    }
}

/// What was compiled.
pub struct Built {
    /// Where the programs are.
    pub directory: PathBuf,
    /// The target they are for.
    pub target: String,
}

/// Compilers and linkers that are here, and the flags that they get.
pub struct Toolchain<'a> {
    workspace: &'a Workspace,
    /// Where cargo builds.
    directory: PathBuf,
    /// Why there is no zig; none where there is.
    no_zig: Option<String>,
    /// Targets whose standard library is installed.
    installed: Vec<String>,
    /// Paths of this machine, and what stands for each in a program. The last that fits is used.
    paths: Vec<(String, String)>,
    /// Seconds since 1970 of the commit.
    date: String,
}

impl<'a> Toolchain<'a> {
    /// Looks what is here.
    pub fn find(workspace: &'a Workspace) -> anyhow::Result<Self> {
        let directory = workspace.target.join("dist-build");
        let mut installed = Vec::new();
        for target in Architecture::ALL
            .iter()
            .flat_map(|architecture| [architecture.musl(), architecture.gnu()])
        {
            let path = rustc(
                workspace,
                &["--print", "target-libdir", "--target", &target],
            )?;
            if Path::new(&path).is_dir() {
                installed.push(target);
            }
        }
        Ok(Self {
            no_zig: no_zig(workspace)?,
            installed,
            paths: paths(workspace, &directory)?,
            date: workspace
                .git(&["log", "-1", "--format=%ct"])?
                .trim()
                .to_owned(),
            workspace,
            directory,
        })
    }

    /// What a release for this architecture needs and is not here, each with how to get it.
    pub fn missing(&self, architecture: Architecture) -> Vec<String> {
        let mut missing: Vec<String> = self.no_zig.iter().cloned().collect();
        for target in [architecture.musl(), architecture.gnu()] {
            if !self.installed.contains(&target) {
                missing.push(format!(
                    "Rust's standard library for {target}: `rustup target add {target}`"
                ));
            }
        }
        missing
    }

    /// Whether anything can be built for this architecture.
    pub fn can_build(&self, architecture: Architecture) -> anyhow::Result<bool> {
        let all = self.missing(architecture).is_empty();
        Ok(all || Architecture::here()? == architecture)
    }

    /// Builds the worker, then static programs of these packages, with the worker, compressed, inside
    /// `cupel`, where that is one of them. Gives the worker's file, too.
    pub fn build(
        &self,
        architecture: Architecture,
        packages: &[&str],
    ) -> anyhow::Result<(Built, PathBuf)> {
        let musl = self.missing(architecture).is_empty();
        let gnu = architecture.gnu();
        let linked = if musl {
            format!("{gnu}.2.17")
        } else {
            gnu.clone()
        };
        self.cargo(architecture, musl, &linked, &["cupel-gpu-worker"], None)?;
        let worker = self.directory.join(&gnu).join("dist/cupel-gpu-worker");
        let inside = worker.with_extension("zst");
        pack(&worker, &inside)?;

        let target = if musl { architecture.musl() } else { gnu };
        self.cargo(architecture, musl, &target, packages, Some(&inside))?;
        let directory = self.directory.join(&target).join("dist");
        Ok((Built { directory, target }, worker))
    }

    fn cargo(
        &self,
        architecture: Architecture,
        zig: bool,
        target: &str,
        packages: &[&str],
        inside: Option<&Path>,
    ) -> anyhow::Result<()> {
        let mut args = vec![
            if zig { "zigbuild" } else { "build" },
            "--profile",
            "dist",
            "--locked",
            "--target",
            target,
        ];
        for package in packages {
            args.extend(["--package", package]);
        }
        let worker = inside.map(|worker| worker.display().to_string());
        if worker.is_some() && packages.contains(&"cupel") {
            args.extend(["--features", "cupel/embedded-worker"]);
        }
        let mut flags: Vec<String> = self
            .paths
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={from}={to}"))
            .collect();
        flags.push(format!(
            "-Clink-arg=-Wl,-z,max-page-size={}",
            architecture.largest_page()
        ));
        if inside.is_some() && !zig {
            flags.push("-Ctarget-feature=+crt-static".to_owned());
        }
        // Arguments are separated by this character.
        let flags = flags.join("\u{1f}");
        let mut for_c: Vec<String> = self
            .paths
            .iter()
            .map(|(from, to)| format!("-ffile-prefix-map={from}={to}"))
            .collect();
        // No panic goes through C.
        for_c.push("-fno-asynchronous-unwind-tables".to_owned());
        let for_c = for_c.join(" ");
        let triple = if target.ends_with("musl") {
            architecture.musl()
        } else {
            architecture.gnu()
        };
        let name_for_c = format!("CFLAGS_{}", triple.replace('-', "_"));
        let directory = self.directory.display().to_string();
        let mut env = vec![
            ("CARGO_TARGET_DIR", directory.as_str()),
            ("CARGO_ENCODED_RUSTFLAGS", &flags),
            (&name_for_c, &for_c),
            ("SOURCE_DATE_EPOCH", &self.date),
        ];
        if let Some(worker) = &worker {
            env.push(("CUPEL_WORKER_FILE", worker));
        }
        if !self.workspace.cargo(&args, &env)? {
            bail!(
                "building {} for {target} failed; messages are above",
                packages.join(", ")
            );
        }
        Ok(())
    }
}

/// Compresses a program. What is the same stays untouched, so that nothing is built again for it.
fn pack(program: &Path, to: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let packed = zstd::encode_all(bytes.as_slice(), 19).context("compress the worker")?;
    if fs::read(to).ok().as_ref() != Some(&packed) {
        fs::write(to, packed).with_context(|| format!("write {}", to.display()))?;
    }
    Ok(())
}

/// Paths that would get into programs: in messages of a panic, in assertions of C.
fn paths(workspace: &Workspace, directory: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
        .context("neither CARGO_HOME nor a home directory is known")?;
    let mut paths = vec![
        (home.clone(), "/cargo".to_owned()),
        (workspace.root.clone(), "/cupel".to_owned()),
        (directory.to_owned(), "/build".to_owned()),
    ];
    // The name of a registry's directory depends on how this machine reaches it.
    let sources = home.join("registry/src");
    for entry in sources.read_dir().into_iter().flatten() {
        paths.push((entry?.path(), "/cargo/registry".to_owned()));
    }
    let sysroot = rustc(workspace, &["--print", "sysroot"])?;
    let version = rustc(workspace, &["--version", "--verbose"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .context("rustc does not say of which commit it is")?;
    paths.push((
        Path::new(&sysroot).join("lib/rustlib/src/rust"),
        format!("/rustc/{commit}"),
    ));
    paths
        .into_iter()
        .map(|(from, to)| {
            let from = from.display().to_string();
            if from.contains(char::is_whitespace) {
                bail!("{from:?} has a space: flags for C are split there; build elsewhere");
            }
            Ok((from, to))
        })
        .collect()
}

fn rustc(workspace: &Workspace, args: &[&str]) -> anyhow::Result<String> {
    let answer = process::output(Path::new("rustc"), args, &[], &workspace.root)?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

/// Why programs cannot be linked by zig, which brings a C compiler for every target.
fn no_zig(workspace: &Workspace) -> anyhow::Result<Option<String>> {
    let answers = |program: &str, args: &[&str]| {
        process::output(Path::new(program), args, &[], &workspace.root)
            .is_ok_and(|answer| answer.status.success())
    };
    let mut lacks = Vec::new();
    if !answers("cargo", &["zigbuild", "--help"]) {
        lacks.push("cargo-zigbuild");
    }
    if !answers("python3", &["-m", "ziglang", "version"]) && !answers("zig", &["version"]) {
        lacks.push("ziglang");
    }
    Ok((!lacks.is_empty()).then(|| {
        let names = lacks.join(" ");
        format!("{}: `python3 -m pip install {names}`", lacks.join(" and "))
    }))
}

/// Puts a file somewhere under its own name there.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    // The old file may be running: a new one takes its name.
    if to.exists() {
        fs::remove_file(to).with_context(|| format!("remove {}", to.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_how_to_get_it() {
        let workspace = Workspace::find().expect("workspace");
        let toolchain = |no_zig: Option<&str>, installed: &[String]| Toolchain {
            workspace: &workspace,
            directory: PathBuf::new(),
            no_zig: no_zig.map(str::to_owned),
            installed: installed.to_vec(),
            paths: Vec::new(),
            date: String::new(),
        };
        let (here, other) = match Architecture::here().expect("architecture") {
            Architecture::X86_64 => (Architecture::X86_64, Architecture::Aarch64),
            Architecture::Aarch64 => (Architecture::Aarch64, Architecture::X86_64),
        };
        let all = [here.musl(), here.gnu(), other.musl(), other.gnu()];
        let complete = toolchain(None, &all);
        assert!(complete.missing(other).is_empty());
        assert!(complete.can_build(other).expect("told"));

        let poor = toolchain(Some("ziglang: `python3 -m pip install ziglang`"), &all[..2]);
        let missing = poor.missing(other);
        assert_eq!(missing.len(), 3, "{missing:?}");
        assert!(missing[1].contains(&format!("`rustup target add {}`", other.musl())));
        assert!(!poor.can_build(other).expect("told"));
        assert!(
            poor.can_build(here).expect("told"),
            "with this machine's libc"
        );
    }

    #[test]
    fn the_same_worker_is_packed_once() {
        let at = tempfile::tempdir().expect("directory");
        let (program, packed) = (at.path().join("worker"), at.path().join("worker.zst"));
        fs::write(&program, "a program").expect("write");
        pack(&program, &packed).expect("packed");
        let first = fs::read(&packed).expect("read");
        assert_eq!(
            zstd::decode_all(first.as_slice()).expect("unpacked"),
            b"a program"
        );
        let before = fs::metadata(&packed)
            .and_then(|about| about.modified())
            .expect("time");
        pack(&program, &packed).expect("again");
        let after = fs::metadata(&packed)
            .and_then(|about| about.modified())
            .expect("time");
        assert_eq!(before, after);
    }
}
