//! `cupel self-test`: a version proves itself beside the one that runs, before it is switched to.
//! `cupel system-files`: it names the files of the system that belong to it.
//!
//! # Invariants
//! - It disturbs nothing: it reads the machine once, works on a copy of what the service remembers,
//!   and its socket is in a directory of its own.

use std::fs::{self, DirBuilder};
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cupel_hardware::clock;
use cupel_hardware::collect::collect;
use cupel_installer::SystemFiles;
use cupel_reporting::{Limits, Outbox, StartsAt};

use crate::context::Context;
use crate::exit::Exit;
use crate::output::Format;
use crate::{gather, platforms, state};

/// How often a copy of what the service remembers is made: it writes meanwhile.
const COPIES: u32 = 5;

/// Options of `cupel self-test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 it works here, 2 it does not")]
pub struct Args {}

/// Options of `cupel system-files`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 written")]
pub struct FilesArgs {}

/// Writes the files of the system that belong to this version.
pub fn system_files(context: &mut Context) -> anyhow::Result<Exit> {
    let own = SystemFiles::own(env!("CARGO_PKG_VERSION"));
    context.out.json(&own, Format::Jsonl)?;
    Ok(Exit::Fine)
}

/// Tests itself.
pub fn run(context: &mut Context) -> anyhow::Result<Exit> {
    let settings = context.settings().context("the configuration is refused")?;
    let modes = settings.modes()?;
    let private = Private::make()?;
    remembered(&context.state_dir(), &private.0)?;
    socket(&private.0).context("it cannot serve a socket")?;
    let mut snapshot = collect(&gather::options(context, &settings));
    let node = snapshot.node.id.value().cloned();
    snapshot.remembered = state::remembered(&context.state_dir(), node.as_deref());
    let platform = platforms::choose(&context.root, &settings, None, &snapshot)?;
    let report = cupel_health::evaluate(&snapshot, platform.as_ref(), &modes);
    context.out.line(&format!(
        "it works here: {} checks ran, {} findings",
        report.coverage.ran.len(),
        report.findings.len()
    ))?;
    Ok(Exit::Fine)
}

/// A directory that is removed at the end.
struct Private(PathBuf);

impl Private {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("cupel-self-test-{}", std::process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Opens a copy of what the service remembers.
fn remembered(state_directory: &Path, private: &Path) -> anyhow::Result<()> {
    let mut last = String::new();
    for number in 0..COPIES {
        let copy = private.join(format!("state-{number}"));
        fs::create_dir_all(copy.join("service"))?;
        for name in ["store.sqlite3", "store.sqlite3-journal"] {
            let from = state_directory.join("service").join(name);
            match fs::copy(&from, copy.join("service").join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot copy {}", from.display()));
                }
                Ok(_) | Err(_) => {}
            }
        }
        let starts = StartsAt {
            boot: "self-test".to_owned(),
            sequence: 1,
        };
        let opened = Outbox::open(&copy, starts, Limits::default(), clock::now())?;
        match opened.remembered.set_aside {
            None => return Ok(()),
            // The service may have written while it was copied.
            Some(damaged) => last = damaged.why,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("it cannot read what the service remembers: {last}")
}

fn socket(private: &Path) -> anyhow::Result<()> {
    let path = private.join("cupel.sock");
    let listener = UnixListener::bind(&path)?;
    let mut client = UnixStream::connect(&path)?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (served, _) = listener.accept()?;
    drop(served);
    let mut nothing = Vec::new();
    client.read_to_end(&mut nothing)?;
    Ok(())
}
