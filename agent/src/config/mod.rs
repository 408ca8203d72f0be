//! Configuration: fragments (one a file) → inputs (merged, each value with its origin) → settings.
//!
//! Files are `/usr/lib/cupel/*.toml`, then `/run/cupel/*.toml`, then `/etc/cupel/*.toml` under the
//! root, in order of their names within each directory. A value replaces the same key's value of
//! an earlier file: `/etc` wins over `/run`, which wins over `/usr/lib`. Environment variables win
//! over all.
//!
//! # Invariants
//! - An unknown key is refused, and so is a value out of its range, even where a later file
//!   replaces it. The error names file, line, column and key.
//! - Every setting knows where its value comes from.

mod fragment;
mod inputs;
mod listen;
mod settings;

pub use fragment::{ConfigError, Fragment, parse};
pub use inputs::{Inputs, Origin, Setting};
pub use listen::Listen;
pub use settings::{InventorySettings, Row, ServiceSettings, Settings, usual_cadences};

use anyhow::Context as _;
use cupel_hardware::{ReadError, Root};

/// Directories of configuration, later ones win.
pub const DIRECTORIES: [&str; 3] = ["/usr/lib/cupel", "/run/cupel", "/etc/cupel"];

/// Environment variable with the path of the driver library; it wins over every file.
pub const NVML_VARIABLE: &str = "CUPEL_NVML";

/// Environment variable with the inventory's address; it wins over every file.
pub const INVENTORY_VARIABLE: &str = "CUPEL_INVENTORY";

/// Environment variable with the path of the token for it; it wins over every file.
pub const TOKEN_VARIABLE: &str = "CUPEL_INVENTORY_TOKEN_FILE";

/// Where the token for the inventory is, unless told otherwise; beneath the root.
pub const TOKEN_FILE: &str = "/etc/cupel/inventory.token";

/// Most bytes of one file.
const FILE_CAP: usize = 1 << 20;

/// Reads all configuration under the root.
///
/// # Errors
/// A file that cannot be read, is no TOML, has an unknown key or a value out of its range.
pub fn load(root: &Root) -> anyhow::Result<Settings> {
    let mut inputs = Inputs::default();
    for directory in DIRECTORIES {
        for path in files(root, directory)? {
            let file = on_disk(root, &path);
            let bytes = root
                .read(&path, FILE_CAP)
                .with_context(|| format!("cannot read configuration {file}"))?;
            inputs.merge(&path, parse(&bytes, &file)?);
        }
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(library) = variable(NVML_VARIABLE) {
        inputs.nvml_library = Some(Setting {
            value: library.into(),
            origin: Origin::Environment(NVML_VARIABLE),
        });
    }
    if let Some(url) = variable(INVENTORY_VARIABLE) {
        let url = url.to_string_lossy().into_owned();
        cupel_reporting::check_url(&url)
            .with_context(|| format!("cannot use the variable {INVENTORY_VARIABLE}"))?;
        inputs.inventory_url = Some(Setting {
            value: url,
            origin: Origin::Environment(INVENTORY_VARIABLE),
        });
    }
    if let Some(file) = variable(TOKEN_VARIABLE) {
        inputs.inventory_token_file = Some(Setting {
            value: file.into(),
            origin: Origin::Environment(TOKEN_VARIABLE),
        });
    }
    Ok(Settings::from(inputs))
}

/// The path with the root before it: what an error names must be found where it says.
pub fn on_disk(root: &Root, path: &str) -> String {
    let below = path.trim_start_matches('/');
    root.path().join(below).display().to_string()
}

/// The `.toml` files of one directory in order of their names; none where it is missing.
///
/// # Errors
/// The directory is there and cannot be listed.
pub fn files(root: &Root, directory: &str) -> anyhow::Result<Vec<String>> {
    let names = match root.names(directory) {
        Ok(names) => names,
        Err(ReadError::Missing { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error).context("cannot list configuration"),
    };
    Ok(names
        .into_iter()
        .filter(|name| name.ends_with(".toml") && !name.starts_with('.'))
        .map(|name| format!("{directory}/{name}"))
        .collect())
}
