//! `cargo xtask try-release`: the programs of target/dist where they were not built. In roots of
//! Debian 11, 12 and 13, in an empty root, and as aarch64 under qemu.
//!
//! # Invariants
//! - What a program says of a file is the same everywhere, byte for byte; of the machine it is in,
//!   it says something everywhere.
//! - Nothing stays mounted: each command has mounts of its own.
//! - What cannot be tried here is said, with the reason; it is not passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::build::{Architecture, copy};
use crate::process;
use crate::workspace::Workspace;

/// Options of `cargo xtask try-release`.
#[derive(clap::Args)]
pub struct Options {
    /// Debian's releases whose roots are made and tried
    #[arg(long, value_delimiter = ',', default_values = ["bullseye", "bookworm", "trixie"])]
    suites: Vec<String>,
    /// Where Debian's packages are; without it, where this machine's apt gets its own
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Where the programs and what they are asked about are, from a root.
const INSIDE: &str = "cupel-try";

/// What is asked; a `@` begins the name of a file.
struct Question {
    program: &'static str,
    args: Vec<String>,
    /// Whether the answer is of a file, and not of the machine.
    same: bool,
}

/// What was answered.
#[derive(PartialEq, Eq)]
struct Answer {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

/// A place where programs run.
enum Place {
    /// Here, as they are.
    Here,
    /// A directory that becomes `/`; with /proc or without.
    Root { at: PathBuf, proc: bool },
    /// Here, by an emulator.
    Emulated { by: PathBuf },
}

/// Asks the same everywhere.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<u8> {
    let scratch = workspace.target.join("dist-build/try");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    }
    fs::create_dir_all(&scratch)?;
    let files = files(workspace)?;
    let questions = questions(&files);
    let here = Architecture::here()?;
    let reference = gather(workspace, &scratch.join("here"), here, &files)?;
    let wanted = ask(workspace, &Place::Here, &reference, &questions)?;
    println!(
        "{} questions of {} files; the measure is {} here",
        questions.len(),
        files.len(),
        here.name()
    );

    let (mut tried, mut skipped, mut failed) = (0, 0, 0);
    let mut take = |name: &str, made: anyhow::Result<(Place, PathBuf)>| -> anyhow::Result<()> {
        let began = Instant::now();
        let (place, at) = match made {
            Ok(made) => made,
            Err(why) => {
                println!("skipped: {name}: {why:#}");
                skipped += 1;
                return Ok(());
            }
        };
        let answers = ask(workspace, &place, &at, &questions)?;
        let wrong = compare(&questions, &wanted, &answers);
        for line in &wrong {
            println!("failed: {name}: {line}");
        }
        if wrong.is_empty() {
            println!("passed: {name}, {:.0} s", began.elapsed().as_secs_f64());
            tried += 1;
        } else {
            failed += 1;
        }
        Ok(())
    };
    for suite in &options.suites {
        let from = options.mirror.clone().map_or_else(|| mirror(workspace), Ok);
        let made = from
            .and_then(|mirror| debian(workspace, suite, &mirror))
            .and_then(|root| {
                let at = gather(workspace, &root.join(INSIDE), here, &files)?;
                Ok((
                    Place::Root {
                        at: root,
                        proc: true,
                    },
                    at,
                ))
            });
        take(suite, made)?;
    }
    let empty = scratch.join("empty");
    let made = root_only().and_then(|()| {
        let at = gather(workspace, &empty.join(INSIDE), here, &files)?;
        Ok((
            Place::Root {
                at: empty,
                proc: false,
            },
            at,
        ))
    });
    take("an empty root", made)?;
    for other in Architecture::ALL.into_iter().filter(|one| *one != here) {
        let made = emulator(other).and_then(|by| {
            let at = gather(workspace, &scratch.join(other.name()), other, &files)?;
            Ok((Place::Emulated { by }, at))
        });
        take(&format!("{} under qemu", other.name()), made)?;
    }
    println!("{tried} passed, {failed} failed, {skipped} skipped");
    Ok(u8::from(failed > 0 || tried == 0))
}

/// Snapshots and logs that are asked about: those of the fuzz seeds, and the logs of CUPEL_CORPUS.
fn files(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let seeds = workspace.root.join("fuzz/seeds");
    let mut files = vec![
        seeds.join("snapshot/one-gpu.json"),
        seeds.join("snapshot/one-gpu.json.zst"),
    ];
    let mut logs = vec![seeds.join("kernel_log")];
    match std::env::var_os("CUPEL_CORPUS") {
        Some(corpus) => logs.push(Path::new(&corpus).join("logs")),
        None => println!("no CUPEL_CORPUS: the logs are the fuzz seeds alone"),
    }
    for directory in logs {
        let mut found: Vec<PathBuf> = directory
            .read_dir()
            .with_context(|| format!("list {}", directory.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?;
        found.retain(|path| path.is_file());
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn questions(files: &[PathBuf]) -> Vec<Question> {
    let question = |program, args: &[&str], same| Question {
        program,
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        same,
    };
    let mut all = vec![
        question("cupel", &["--version"], true),
        question("cupel", &["inspect", "--output", "json"], false),
        question("cupel", &["check", "--output", "json"], false),
        question("cupel-inventory", &["--version"], true),
        question(
            "cupel-inventory",
            &[
                "--data",
                "@inventory",
                "token",
                "create",
                "try",
                "--scope",
                "report",
            ],
            false,
        ),
    ];
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = format!("@{name}");
        if name.starts_with("one-gpu.json") {
            for command in ["inspect", "check"] {
                all.push(question("cupel", &[command, "--from", &file], true));
                let json = [command, "--from", &file, "--output", "json"];
                all.push(question("cupel", &json, true));
            }
        } else {
            all.push(question(
                "cupel",
                &["decode", &file, "--output", "jsonl"],
                true,
            ));
        }
    }
    all
}

/// Puts programs and files into a directory, and gives it back.
fn gather(
    workspace: &Workspace,
    to: &Path,
    architecture: Architecture,
    files: &[PathBuf],
) -> anyhow::Result<PathBuf> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for program in ["cupel", "cupel-inventory"] {
        let name = format!("{program}-{}", architecture.name());
        let from = workspace.target.join("dist").join(&name);
        if !from.is_file() {
            bail!("there is no {}: cargo xtask dist", from.display());
        }
        copy(&from, &to.join(program))?;
    }
    for file in files {
        copy(file, &to.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(to.to_owned())
}

/// Asks everything in one place. `at` is where [`gather`] put it, seen from here.
fn ask(
    workspace: &Workspace,
    place: &Place,
    at: &Path,
    questions: &[Question],
) -> anyhow::Result<Vec<Answer>> {
    let inside = PathBuf::from("/").join(INSIDE);
    let seen = match place {
        Place::Here | Place::Emulated { .. } => at,
        Place::Root { .. } => &inside,
    };
    let mut answers = Vec::new();
    for question in questions {
        let args = question.args.iter().map(|arg| match arg.strip_prefix('@') {
            Some(file) => seen.join(file).display().to_string(),
            None => arg.clone(),
        });
        let program = seen.join(question.program).display().to_string();
        let mut command: Vec<String> = match place {
            Place::Here => vec![program],
            Place::Emulated { by } => vec![by.display().to_string(), program],
            Place::Root { at, proc } => {
                let root = at.display().to_string();
                let mount = if *proc {
                    "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\""
                } else {
                    "exec chroot \"$0\" \"$@\""
                };
                let words = ["unshare", "--mount", "sh", "-c", mount, &root, &program];
                words.map(str::to_owned).to_vec()
            }
        };
        command.extend(args);
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let (first, rest) = words.split_first().context("an empty command")?;
        let output = process::output(Path::new(first), rest, &[], &workspace.root)?;
        // Names of files are in answers: as they are seen from inside.
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stdout = stdout.replace(&*seen.to_string_lossy(), "");
        answers.push(Answer {
            code: output.status.code(),
            stdout: stdout.into_bytes(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(answers)
}

/// What is not as it should be, a line each.
fn compare(questions: &[Question], wanted: &[Answer], answers: &[Answer]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (question, (wanted, answer)) in questions.iter().zip(wanted.iter().zip(answers)) {
        let said = || {
            let last = answer
                .stderr
                .lines()
                .last()
                .unwrap_or("nothing on standard error");
            format!("{} {}: {last}", question.program, question.args.join(" "))
        };
        if question.same && answer.code != wanted.code {
            wrong.push(format!(
                "code {:?}, not {:?}: {}",
                answer.code,
                wanted.code,
                said()
            ));
        } else if question.same && answer.stdout != wanted.stdout {
            wrong.push(format!("another answer: {}", said()));
        } else if !question.same
            && (answer.stdout.is_empty() || !matches!(answer.code, Some(0 | 1 | 3)))
        {
            wrong.push(format!("code {:?}: {}", answer.code, said()));
        }
    }
    wrong
}

fn root_only() -> anyhow::Result<()> {
    let about = fs::read_to_string("/proc/self/status")?;
    let effective = about.lines().find_map(|line| line.strip_prefix("Uid:"));
    let root = effective.and_then(|line| line.split_whitespace().nth(1)) == Some("0");
    if !root {
        bail!("changing the root takes root");
    }
    Ok(())
}

/// Where this machine's apt gets its packages.
pub fn mirror(workspace: &Workspace) -> anyhow::Result<String> {
    let args = [
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ];
    let told = process::output(Path::new("apt-get"), &args, &[], &workspace.root)?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    text.lines()
        .find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
        .context("apt has no mirror of Debian here; name one with --mirror")
}

/// The root of a release of Debian, made where there is none yet.
pub fn debian(workspace: &Workspace, suite: &str, mirror: &str) -> anyhow::Result<PathBuf> {
    root_only()?;
    let roots = workspace.target.join("dist-build/roots");
    let root = roots.join(suite);
    if root.join("usr/bin/apt").exists() {
        return Ok(root);
    }
    fs::create_dir_all(&roots)?;
    let to = root.display().to_string();
    let args = ["--variant=minbase", suite, &to, mirror];
    let made = process::output(Path::new("debootstrap"), &args, &[], &workspace.root)
        .context("`apt install debootstrap`")?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        bail!(
            "debootstrap: {}",
            said.lines().last().unwrap_or("no reason given")
        );
    }
    Ok(root)
}

/// The emulator of a foreign machine's programs.
fn emulator(architecture: Architecture) -> anyhow::Result<PathBuf> {
    let names = ["-static", ""].map(|end| format!("qemu-{}{end}", architecture.name()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)))
        .find(|file| file.is_file())
        .with_context(|| format!("no {}: `apt install qemu-user-static`", names[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_answer_another_code_and_silence_are_failures() {
        let question = |same| Question {
            program: "cupel",
            args: Vec::new(),
            same,
        };
        let answer = |code, stdout: &str| Answer {
            code: Some(code),
            stdout: stdout.as_bytes().to_vec(),
            stderr: String::new(),
        };
        let wrong = |same, there| compare(&[question(same)], &[answer(1, "a")], &[there]).len();
        assert_eq!(wrong(true, answer(1, "a")), 0);
        assert_eq!(wrong(true, answer(0, "a")), 1);
        assert_eq!(wrong(true, answer(1, "b")), 1);
        assert_eq!(wrong(false, answer(3, "of another machine")), 0);
        assert_eq!(wrong(false, answer(2, "of another machine")), 1);
        assert_eq!(wrong(false, answer(0, "")), 1);
    }
}
