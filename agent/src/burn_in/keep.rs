//! The evidence on disk: `burn-in.json` from the beginning, `burn-in.html` at the end.
//!
//! # Invariants
//! - Both are replaced whole. A result that could not be written is said and stops nothing: the
//!   verdict is on the terminal as well.
//! - Beside a run that goes on lies what the machine was before, so that its guardian can finish the
//!   result.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cupel_burnin::{BurnInResult, StageResult};
use cupel_model::Snapshot;

use crate::output::note;
use crate::render::html::burn_in_page;
use crate::state::replace;

/// The result.
pub const RESULT: &str = "burn-in.json";
/// The page.
pub const PAGE: &str = "burn-in.html";
/// The machine before, as long as the run goes on.
const BEFORE: &str = "burn-in-before.json";

/// Writes the evidence of a run.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    current: Option<BurnInResult>,
    failed: bool,
}

impl Keeper {
    /// In this directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let probe = directory.join(BEFORE);
        replace(&probe, b"{}")
            .with_context(|| format!("cannot write to {}", directory.display()))?;
        Ok(Self {
            directory: directory.to_owned(),
            current: None,
            failed: false,
        })
    }

    /// Where it writes.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Before the first stage.
    pub fn begin(&mut self, begun: BurnInResult, before: &Snapshot) {
        let before = serde_json::to_vec(before).unwrap_or_default();
        self.tell(replace(&self.directory.join(BEFORE), &before).map_err(Into::into));
        self.current = Some(begun);
        self.write();
    }

    /// After a stage.
    pub fn add(&mut self, stage: &StageResult) {
        if let Some(current) = &mut self.current {
            current.add(stage.clone());
        }
        self.write();
    }

    fn write(&mut self) {
        if let Some(current) = &self.current {
            let written = write_result(&self.directory, current);
            self.tell(written);
        }
    }

    /// Says a failure, once.
    fn tell(&mut self, written: anyhow::Result<()>) {
        if let Err(error) = written
            && !self.failed
        {
            self.failed = true;
            note(&format!("the result on disk is not up to date: {error:#}"));
        }
    }

    /// At the end: returns the files that were written.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(self, result: &BurnInResult) -> anyhow::Result<Vec<PathBuf>> {
        write_result(&self.directory, result)?;
        let page = self.directory.join(PAGE);
        replace(&page, burn_in_page(result).as_bytes())
            .with_context(|| format!("cannot write {}", page.display()))?;
        let _ = std::fs::remove_file(self.directory.join(BEFORE));
        Ok(vec![self.directory.join(RESULT), page])
    }
}

fn write_result(directory: &Path, result: &BurnInResult) -> anyhow::Result<()> {
    let path = directory.join(RESULT);
    let mut json = serde_json::to_vec(result).context("cannot write the result as JSON")?;
    json.push(b'\n');
    replace(&path, &json).with_context(|| format!("cannot write {}", path.display()))
}

/// A result from its file.
///
/// # Errors
/// It cannot be read or understood; the error names the file and what is wrong with it.
pub fn load(path: &Path) -> anyhow::Result<BurnInResult> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let result: BurnInResult = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = error.path().to_string();
        anyhow::anyhow!(
            "{name}: line {}: {place}: {} (want the JSON that 'cupel burn-in' writes)",
            error.inner().line().max(1),
            error.inner()
        )
    })?;
    json.end()
        .with_context(|| format!("{name}: something follows the result"))?;
    Ok(result)
}

/// What the machine was before the run that goes on in this directory.
pub fn before(directory: &Path) -> Option<Snapshot> {
    let bytes = std::fs::read(directory.join(BEFORE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Takes away what a run left that did not come to its end.
pub fn forget_before(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(BEFORE));
}
