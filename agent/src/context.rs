//! What every command is given: the root, the output, and where state is kept.

use std::path::PathBuf;

use anyhow::Context as _;
use cupel_hardware::root::Root;

use crate::cli::GlobalArgs;
use crate::output::{Format, Output};

/// What every command is given.
pub struct Context {
    /// The machine, or the directory that stands for one.
    pub root: Root,
    /// How results are written.
    pub format: Format,
    /// Standard output.
    pub out: Output,
    /// How much is logged: 0 warnings, 1 notes, 2 details.
    pub verbosity: u8,
    state_dir: Option<PathBuf>,
}

impl Context {
    /// From the options that every command has.
    ///
    /// # Errors
    /// The root cannot be opened.
    pub fn new(global: &GlobalArgs) -> anyhow::Result<Self> {
        let root = match &global.root {
            None => Root::live(),
            Some(path) => Root::at(path).context("cannot use the directory of --root")?,
        };
        Ok(Self {
            root,
            format: global.output,
            out: Output::stdout(),
            verbosity: global.verbose,
            state_dir: global.state_dir.clone(),
        })
    }

    /// Where Cupel keeps what outlives a run: `--state-dir`, else `ROOT/var/lib/cupel`.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir
            .clone()
            .unwrap_or_else(|| self.root.path().join("var/lib/cupel"))
    }
}
