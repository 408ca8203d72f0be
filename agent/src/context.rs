//! What every command is given: the root, the output, the settings, and where state is kept.

use std::path::PathBuf;

use anyhow::Context as _;
use cupel_hardware::Root;

use crate::cli::GlobalArgs;
use crate::config::{self, Origin, Setting, Settings};
use crate::identity;
use crate::output::{Format, Output};
use crate::render::table::Layout;
use crate::state;

/// What every command is given.
#[derive(Debug)]
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
            .unwrap_or_else(|| state::directory(&self.root))
    }

    /// The configuration under the root. Where it names no inventory, the one that gave the node its
    /// identity counts.
    ///
    /// # Errors
    /// A file is refused; see [`config::load`].
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = config::load(&self.root)?;
        let url = &mut settings.inventory.url;
        if url.value.is_none()
            && let Some(own) = identity::inventory(&self.state_dir())
        {
            *url = Setting {
                value: Some(own),
                origin: Origin::Identity,
            };
        }
        Ok(settings)
    }

    /// How text is laid out on standard output.
    pub fn layout(&self) -> Layout {
        Layout::of_terminal(self.out.colour())
    }
}
