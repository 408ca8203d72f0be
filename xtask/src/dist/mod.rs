//! `cargo xtask dist`: everything that a release is, in target/dist.
//!
//! # Invariants
//! - A release is of a commit: an edited checkout is refused, or said to be none (`--edits`), and
//!   then never signed.
//! - target/dist is replaced as a whole, by what was built, checked and summed.
//! - What could not be built is named, with what is missing and how to get it.
//!
//! # What is absent
//! Nothing is uploaded, and no key is made but by `cargo xtask release-key`.

pub mod build;
mod elf;
pub mod elsewhere;
mod notices;
mod package;
mod sbom;
pub mod seal;
mod texts;
mod twice;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::workspace::Workspace;
use build::{Architecture, Toolchain, copy};
use package::{Kind, Package, Papers, Release, deb, rpm};
use seal::{SUMS, Signer};
use texts::Texts;

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 made; 1 too large, differs, or not complete; 2 it failed")]
pub struct Options {
    /// For these machines alone
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Architecture::ALL)]
    arch: Vec<Architecture>,
    /// Build the checkout as it is, edits and all; the result is no release
    #[arg(long, conflicts_with_all = ["sign_with", "twice"])]
    edits: bool,
    /// Fail where something is missing for a complete release
    #[arg(long)]
    complete: bool,
    /// Build the commit again elsewhere, and say which file differs
    #[arg(long)]
    twice: bool,
    /// Secret key of `cargo xtask release-key`
    #[arg(long, value_name = "KEY")]
    sign_with: Option<PathBuf>,
    /// File whose first line is the password of the key; without, it is asked for
    #[arg(long, value_name = "FILE", requires = "sign_with")]
    password_file: Option<PathBuf>,
    /// Who answers for the packages: `Name <mail address>` [default: the commit's author]
    #[arg(long, value_name = "NAME")]
    maintainer: Option<String>,
}

/// Programs that ship, and packages whose programs are inside each.
const PROGRAMS: [(&str, &[&str]); 2] = [("cupel", &["cupel-gpu-worker"]), ("cupel-inventory", &[])];

/// Most that `cupel` for x86-64 may have, bytes.
const LARGEST: u64 = 15 << 20;

/// What is built, in words of git.
struct Commit {
    /// In hexadecimal.
    hash: String,
    /// Seconds since 1970.
    date: u32,
    author: String,
}

/// Makes a release.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    let commit = commit(workspace)?;
    let edited = edited(workspace)?;
    if !edited.is_empty() && !options.edits {
        bail!(
            "{} files are not as in the commit ({}): commit them, or build what is no release \
             with --edits",
            edited.len(),
            edited[0]
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    let about = format!("version:{version}\tcommit:{}", commit.hash);
    let signer = match &options.sign_with {
        Some(key) => Some(Signer::open(key, options.password_file.as_deref(), &about)?),
        None => None,
    };
    let toolchain = Toolchain::find(workspace)?;
    let next = workspace.target.join("dist-build/next");
    if next.exists() {
        fs::remove_dir_all(&next).with_context(|| format!("remove {}", next.display()))?;
    }
    fs::create_dir_all(&next).with_context(|| format!("create {}", next.display()))?;

    let texts = Texts::write(&day(commit.date)?)?;
    let release = Release {
        workspace,
        version,
        maintainer: options.maintainer.as_deref().unwrap_or(&commit.author),
        date: commit.date,
    };
    let (mut complete, mut wrong) = (true, Vec::new());
    for &architecture in &options.arch {
        let missing = toolchain.missing(architecture);
        for what in &missing {
            println!("{}: missing {what}", architecture.name());
        }
        complete &= missing.is_empty();
        if !toolchain.can_build(architecture)? {
            println!("{}: not built", architecture.name());
            continue;
        }
        wrong.extend(programs(
            &release,
            &toolchain,
            architecture,
            &commit,
            &texts,
            &next,
        )?);
    }
    manual(&texts, commit.date, &next)?;
    let to = seal_and_publish(workspace, &next, signer.as_ref())?;

    if !edited.is_empty() {
        println!(
            "no release: {} files are not as in the commit",
            edited.len()
        );
    }
    if signer.is_none() {
        println!("nothing is signed: no --sign-with");
    }
    if !complete {
        println!("not complete: what is missing is named above");
    }
    for what in &wrong {
        println!("wrong: {what}");
    }
    if options.twice && !twice::same(workspace, &commit.hash, &options.arch, &to, &release)? {
        return Ok(1);
    }
    Ok(u8::from(!wrong.is_empty() || options.complete && !complete))
}

fn commit(workspace: &Workspace) -> anyhow::Result<Commit> {
    let told = workspace.git(&["log", "-1", "--format=%H%n%ct%n%an <%ae>"])?;
    let mut lines = told.lines();
    let mut line = || lines.next().context("git log says too little");
    Ok(Commit {
        hash: line()?.to_owned(),
        date: line()?.parse().context("date of the commit")?,
        author: line()?.to_owned(),
    })
}

/// Files that are not as in the commit.
fn edited(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let told = workspace.git(&["status", "--porcelain"])?;
    Ok(told
        .lines()
        .filter_map(|line| line.get(3..))
        .map(str::to_owned)
        .collect())
}

fn day(date: u32) -> anyhow::Result<String> {
    let date = jiff::Timestamp::from_second(i64::from(date))?;
    Ok(date.strftime("%Y-%m-%d").to_string())
}

/// Programs, bills of materials and packages for one kind of machine. Gives promises that they
/// break.
fn programs(
    release: &Release<'_>,
    toolchain: &Toolchain<'_>,
    architecture: Architecture,
    commit: &Commit,
    texts: &Texts,
    next: &Path,
) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let lock = fs::read_to_string(release.workspace.root.join("Cargo.lock"))?;
    for (name, carries) in PROGRAMS {
        // Each by itself: built together, each would carry what the other wants of their libraries.
        let (built, _) = toolchain.build(architecture, &[name])?;
        let metadata = release.workspace.metadata(Some(&built.target))?;
        let file = format!("{name}-{}", architecture.name());
        let path = next.join(&file);
        copy(&built.directory.join(name), &path)?;
        let bytes = fs::read(&path)?;
        elf::check(&bytes, architecture).with_context(|| file.clone())?;
        let size = bytes.len() as u64;
        if name == "cupel" && architecture == Architecture::X86_64 && size > LARGEST {
            wrong.push(format!("{file} has {size} bytes, more than {LARGEST}"));
        }
        let inside = [&[name], carries].concat();
        let present = sbom::present(release.workspace, &inside, &built.target)?;
        let subject = sbom::Subject {
            program: name,
            carries,
            target: &built.target,
            present: &present,
            bytes: &bytes,
            commit: &commit.hash,
            date: commit.date,
        };
        let bill = sbom::write(&subject, &metadata, &lock)?;
        put(next, &format!("{file}.cdx.json"), &bill)?;
        let linked = sbom::linked(&subject, &metadata)?;
        let notices = notices::write(release.workspace, name, &linked)?;
        put(next, &format!("{file}.licences.txt"), &notices)?;
        for kind in [Kind::Deb, Kind::Rpm] {
            let package = Package::new(
                release,
                kind,
                architecture,
                name,
                bytes.clone(),
                texts,
                &Papers {
                    bill: &bill,
                    notices: &notices,
                },
            )?;
            let (file, bytes) = match kind {
                Kind::Deb => (deb::file_name(&package), deb::write(&package)?),
                Kind::Rpm => (rpm::file_name(&package), rpm::write(&package)?),
            };
            put(next, &file, &bytes)?;
        }
    }
    Ok(wrong)
}

/// Manual pages and completions, for who installs without a package.
fn manual(texts: &Texts, date: u32, next: &Path) -> anyhow::Result<()> {
    let files = texts.files();
    let files: Vec<(String, u32, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.clone(), 0o644, bytes.as_slice()))
        .collect();
    let archive = package::gzip(&deb::tar(&files, date)?)?;
    put(next, "cupel-manual.tar.gz", &archive)
}

/// Sums, signatures, then the directory takes its name. Says what there is.
fn seal_and_publish(
    workspace: &Workspace,
    next: &Path,
    signer: Option<&Signer>,
) -> anyhow::Result<PathBuf> {
    let names = seal::artefacts(next)?;
    put(next, SUMS, seal::sums(next, &names)?.as_bytes())?;
    if let Some(signer) = signer {
        for name in names.iter().map(String::as_str).chain([SUMS]) {
            signer.sign(next, name)?;
        }
    }
    let to = workspace.target.join("dist");
    if to.exists() {
        fs::remove_dir_all(&to).with_context(|| format!("remove {}", to.display()))?;
    }
    fs::rename(next, &to).with_context(|| format!("rename to {}", to.display()))?;
    for name in &names {
        let size = fs::metadata(to.join(name))?.len();
        println!("{size:>9} {}", to.join(name).display());
    }
    Ok(to)
}

fn put(directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = directory.join(name);
    fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))
}
