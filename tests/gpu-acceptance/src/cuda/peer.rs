//! PyTorch on the same GPU: `peer.py` is carried along, and its answer is one line of JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::program;

/// Where the peer's script is, and how it is run.
pub struct Peer {
    script: PathBuf,
    python: PathBuf,
    out: PathBuf,
}

impl Peer {
    /// The script of the kit, and the first Python on the path.
    pub fn new(kit: &Path, out: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            script: kit.join("peer.py"),
            python: program::python()?,
            out: out.to_owned(),
        })
    }

    /// One measurement.
    pub fn measure(
        &self,
        what: &str,
        name: &str,
        seed: u64,
        size: u32,
        seconds: f64,
    ) -> anyhow::Result<Value> {
        let script = self.script.display().to_string();
        let (seed, size, time) = (seed.to_string(), size.to_string(), seconds.to_string());
        let args = [&script, what, &seed, &size, &time];
        let limit = Duration::from_secs_f64(seconds * 3.0 + 90.0);
        let ended = program::run(&self.python, &args, &self.out, name, limit)?;
        if ended.code != Some(0) {
            let said = std::fs::read_to_string(self.out.join(format!("{name}.err")));
            let said = said.unwrap_or_default();
            bail!(
                "exit {:?}: {}",
                ended.code,
                said.lines().last().unwrap_or("nothing was said")
            );
        }
        let line = ended.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).context("its answer")
    }
}
