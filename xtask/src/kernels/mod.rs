//! `cargo xtask kernels`: the GPU images that the worker carries, built from
//! crates/gpu-worker/kernels and compared bit for bit.
//!
//! # Invariants
//! - The compiler is a pinned wheel, fetched by pip into the build directory; no toolkit, no GPU and
//!   no C++ compiler is needed, and the images do not depend on the machine.
//! - `--check` changes nothing. What it can tell without the compiler (sources and images are those
//!   of the manifest) it always tells; whether they belong together needs the compiler, and where
//!   that cannot be fetched it says so.

mod elf;
mod manifest;
mod sass;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::dist::seal::sha256;
use crate::process;
use crate::workspace::Workspace;
use manifest::{Compiler, Image, Kernel, Manifest};

/// Options of `cargo xtask kernels`.
#[derive(clap::Args)]
pub struct Options {
    /// Change nothing; fail when an image is not what its sources give
    #[arg(long)]
    check: bool,
    /// Disassemble the images into this directory, and count what is in them
    #[arg(long, value_name = "DIR")]
    sass: Option<PathBuf>,
}

/// What came of it.
pub enum Outcome {
    /// Everything is as it should be, or was written.
    Fine,
    /// Something is out of date.
    OutOfDate,
    /// The compiler cannot be had here, and what can be told without it is fine.
    Skipped(String),
}

/// Where sources and images are, below the checkout.
const SOURCES: &str = "crates/gpu-worker/kernels";
const IMAGES: &str = "crates/gpu-worker/kernels/built";
const MANIFEST: &str = "manifest.json";
const SCRIPT: &str = "xtask/src/kernels/nvrtc.py";

/// Most that the images may have together, bytes.
const LARGEST: u64 = 2 << 20;

/// The PyPI package of the compiler.
const PACKAGE: &str = "nvidia-cuda-nvrtc-cu12";
/// Loads on drivers of CUDA 12.0 (525) and later.
const OLD: &str = "12.0.76";
/// Knows Blackwell, and fp8 matrix instructions of a warp.
const NEW: &str = "12.8.93";

/// An image: architecture, compiler, definitions.
const TARGETS: [(&str, &str, &[&str]); 7] = [
    ("sm_80", OLD, &[]),
    ("sm_86", OLD, &[]),
    ("sm_89", NEW, &["CUPEL_FP8_MMA"]),
    ("sm_90a", OLD, &[]),
    // Its warps have no fp8 instruction: it would be taken apart into bf16 ones.
    ("sm_100a", NEW, &[]),
    ("sm_120a", NEW, &["CUPEL_FP8_MMA"]),
    // For GPUs that have no image of their own: the driver compiles it. The first target of the
    // first CUDA 12, so that no driver of CUDA 12 is too old for it.
    ("compute_80", OLD, &[]),
];

#[derive(Serialize)]
struct Request<'a> {
    library: &'a Path,
    sources: &'a BTreeMap<String, String>,
    jobs: Vec<Job<'a>>,
    to: &'a Path,
}

#[derive(Serialize)]
struct Job<'a> {
    file: String,
    architecture: &'a str,
    defines: &'a [&'a str],
}

#[derive(Deserialize)]
struct Told {
    kernels: BTreeMap<String, Kernel>,
    warnings: Vec<String>,
}

/// Builds or checks the images.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    let outcome = build(workspace, options.check)?;
    if let Some(to) = &options.sass {
        sass::disassemble(workspace, &workspace.root.join(IMAGES), to)?;
    }
    Ok(match outcome {
        Outcome::Fine => 0,
        Outcome::OutOfDate => 1,
        Outcome::Skipped(why) => {
            println!("skipped: {why}");
            0
        }
    })
}

/// Builds the images; with `check` only compares.
pub fn build(workspace: &Workspace, check: bool) -> anyhow::Result<Outcome> {
    let sources = sources(&workspace.root.join(SOURCES))?;
    let images = workspace.root.join(IMAGES);
    if check {
        let wrong = against_manifest(&sources, &images)?;
        if !wrong.is_empty() {
            for line in &wrong {
                println!("out of date: {line}");
            }
            println!("run `cargo xtask kernels` and commit the result");
            return Ok(Outcome::OutOfDate);
        }
    }
    let scratch = tempfile::tempdir().context("make a directory for the images")?;
    let mut manifest = Manifest {
        sources: sources
            .iter()
            .map(|(name, text)| (name.clone(), sha256(text.as_bytes())))
            .collect(),
        ..Manifest::default()
    };
    for version in [OLD, NEW] {
        let library = match compiler(workspace, version) {
            Ok(library) => library,
            Err(error) if check => {
                return Ok(Outcome::Skipped(format!(
                    "rebuilding the kernels: {error:#}; sources and images are those of the manifest"
                )));
            }
            Err(error) => return Err(error),
        };
        manifest.compilers.push(Compiler {
            package: PACKAGE.to_owned(),
            version: version.to_owned(),
            library_sha256: sha256(&read(&library)?),
        });
        compile(
            workspace,
            &sources,
            &library,
            version,
            scratch.path(),
            &mut manifest,
        )?;
    }
    manifest.images.sort_by(|a, b| a.file.cmp(&b.file));
    let total: u64 = manifest.images.iter().map(|image| image.bytes).sum();
    if total > LARGEST {
        bail!("the images have {total} bytes, more than {LARGEST}");
    }
    let mut text = serde_json::to_string_pretty(&manifest)?;
    text.push('\n');
    fs::write(scratch.path().join(MANIFEST), text)?;
    compare(&manifest, scratch.path(), &images, check, total)
}

/// The sources by name.
fn sources(directory: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in directory
        .read_dir()
        .with_context(|| format!("list {}", directory.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".cu") || name.ends_with(".cuh") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            found.insert(name.into_owned(), text);
        }
    }
    Ok(found)
}

/// What can be told without a compiler.
fn against_manifest(
    sources: &BTreeMap<String, String>,
    images: &Path,
) -> anyhow::Result<Vec<String>> {
    let path = images.join(MANIFEST);
    let Ok(text) = fs::read(&path) else {
        return Ok(vec![format!("there is no {}", path.display())]);
    };
    let manifest: Manifest =
        serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
    let mut wrong = Vec::new();
    let now: BTreeMap<String, String> = sources
        .iter()
        .map(|(name, text)| (name.clone(), sha256(text.as_bytes())))
        .collect();
    if now != manifest.sources {
        wrong.push("the sources are not those that the images were built from".to_owned());
    }
    for image in &manifest.images {
        match fs::read(images.join(&image.file)) {
            Ok(bytes) if sha256(&bytes) == image.sha256 => {}
            Ok(_) | Err(_) => wrong.push(format!("{}: not the image of the manifest", image.file)),
        }
    }
    Ok(wrong)
}

/// The compiler's library, fetched where it is not there yet.
fn compiler(workspace: &Workspace, version: &str) -> anyhow::Result<PathBuf> {
    let at = fetch(workspace, PACKAGE, version)?;
    let library = at.join("nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
    if !library.is_file() {
        bail!("{PACKAGE} {version} has no {}", library.display());
    }
    Ok(library)
}

/// A package from PyPI, unpacked below the build directory.
fn fetch(workspace: &Workspace, package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let at = workspace
        .target
        .join("kernels")
        .join(format!("{package}-{version}"));
    let done = at.join(".complete");
    if done.is_file() {
        return Ok(at);
    }
    let wanted = format!("{package}=={version}");
    println!("fetching {wanted}");
    let to = at.display().to_string();
    let args = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
        "--only-binary=:all:",
        "--upgrade",
        "--target",
        &to,
        &wanted,
    ];
    let answer = process::output(Path::new("python3"), &args, &[], &workspace.root)
        .context("python3 with pip is needed")?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr);
        bail!(
            "pip cannot install {wanted}: {}",
            said.lines().last().unwrap_or("no reason given")
        );
    }
    fs::write(&done, "").with_context(|| format!("write {}", done.display()))?;
    Ok(at)
}

fn compile(
    workspace: &Workspace,
    sources: &BTreeMap<String, String>,
    library: &Path,
    version: &str,
    to: &Path,
    manifest: &mut Manifest,
) -> anyhow::Result<()> {
    let targets = || TARGETS.iter().filter(|(_, by, _)| *by == version);
    let request = Request {
        library,
        sources,
        jobs: targets()
            .map(|(architecture, _, defines)| Job {
                file: file_name(architecture),
                architecture,
                defines,
            })
            .collect(),
        to,
    };
    let path = to.join("request.json");
    fs::write(&path, serde_json::to_vec(&request)?)?;
    let script = workspace.root.join(SCRIPT).display().to_string();
    let path = path.display().to_string();
    let answer = process::output(
        Path::new("python3"),
        &[&script, &path],
        &[],
        &workspace.root,
    )?;
    if !answer.status.success() {
        bail!(
            "compiling the kernels: {}",
            String::from_utf8_lossy(&answer.stderr)
        );
    }
    let mut told: BTreeMap<String, Told> =
        serde_json::from_slice(&answer.stdout).context("what the compiler said")?;
    for (architecture, _, defines) in targets() {
        let file = file_name(architecture);
        let bytes = read(&to.join(&file))?;
        let told = told
            .remove(&file)
            .with_context(|| format!("nothing was said of {file}"))?;
        for line in &told.warnings {
            println!("{file}: {line}");
        }
        let spills = told
            .kernels
            .iter()
            .find(|(_, kernel)| kernel.spill_bytes > 0);
        if let Some((kernel, _)) = spills {
            bail!("{file}: {kernel} spills registers");
        }
        manifest.images.push(Image {
            architecture: (*architecture).to_owned(),
            compiler: version.to_owned(),
            defines: defines.iter().map(|&define| define.to_owned()).collect(),
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
            elf_abi_version: elf::abi_version(&bytes),
            ptx_version: elf::ptx_version(&bytes),
            kernels: told.kernels,
            file,
        });
    }
    Ok(())
}

fn file_name(architecture: &str) -> String {
    let ending = if architecture.starts_with("compute_") {
        "ptx"
    } else {
        "cubin"
    };
    format!("{architecture}.{ending}")
}

/// Holds what was built against what is committed, or puts it there.
fn compare(
    manifest: &Manifest,
    built: &Path,
    images: &Path,
    check: bool,
    total: u64,
) -> anyhow::Result<Outcome> {
    let files = manifest.images.iter().map(|image| image.file.as_str());
    let mut differs = Vec::new();
    for file in files.chain([MANIFEST]) {
        let new = read(&built.join(file))?;
        if fs::read(images.join(file)).ok().as_deref() != Some(&new) {
            differs.push(file);
            if !check {
                fs::create_dir_all(images)?;
                fs::write(images.join(file), new)
                    .with_context(|| format!("write {IMAGES}/{file}"))?;
            }
        }
    }
    if differs.is_empty() {
        println!(
            "{IMAGES}: {} images, {total} bytes, rebuilt bit for bit",
            manifest.images.len()
        );
        return Ok(Outcome::Fine);
    }
    for file in differs {
        println!(
            "{} {IMAGES}/{file}",
            if check { "out of date:" } else { "wrote" }
        );
    }
    if check {
        println!("run `cargo xtask kernels` and commit the result");
        return Ok(Outcome::OutOfDate);
    }
    Ok(Outcome::Fine)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_sources_and_images_are_seen_without_a_compiler() {
        let images = tempfile::tempdir().expect("directory");
        let sources = BTreeMap::from([("all.cu".to_owned(), "kernel".to_owned())]);
        let wrong = |sources| {
            against_manifest(sources, images.path())
                .expect("compared")
                .len()
        };
        assert_eq!(wrong(&sources), 1, "there is no manifest");
        let manifest = Manifest {
            sources: BTreeMap::from([("all.cu".to_owned(), sha256(b"kernel"))]),
            images: vec![Image {
                file: "sm_1.cubin".to_owned(),
                sha256: sha256(b"image"),
                ..Image::default()
            }],
            ..Manifest::default()
        };
        let write = |name: &str, bytes: &[u8]| {
            fs::write(images.path().join(name), bytes).expect("write");
        };
        write(MANIFEST, &serde_json::to_vec(&manifest).expect("json"));
        assert_eq!(wrong(&sources), 1, "there is no image");
        write("sm_1.cubin", b"image");
        assert_eq!(wrong(&sources), 0);
        write("sm_1.cubin", b"imagf");
        assert_eq!(wrong(&sources), 1);
        let other = BTreeMap::from([("all.cu".to_owned(), "kernels".to_owned())]);
        assert_eq!(wrong(&other), 2);
    }
}
