//! The driver directory: a copy of the fake library as `libnvidia-ml.so.1`, and its answer book.
//!
//! # Invariants
//! - A missing symbol is missing from the library file itself, so that the loader says so.
//! - The answer book is replaced in one step.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cupel_fake_driver::state::State;

use crate::machine::Machine;

/// Name of the library in the driver directory.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// Name of the same library as a CUDA driver, beside it.
const CUDA_LIBRARY: &str = "libcuda.so.1";

/// Writes library and answer book into `directory`; `None` where the machine has no library.
pub(crate) fn write(machine: &Machine, directory: &Path, fake: &Path) -> Result<Option<PathBuf>> {
    fs::create_dir_all(directory)?;
    let library = directory.join(LIBRARY);
    let Some(version) = &machine.driver.library else {
        for library in [&library, &directory.join(CUDA_LIBRARY)] {
            if library.exists() {
                fs::remove_file(library)?;
            }
        }
        return Ok(None);
    };
    State {
        driver_version: version.clone(),
        nvml_version: format!("12.{version}"),
        cuda_version: machine.driver.cuda,
        init: machine.driver.init,
        gpus: machine.gpus.clone(),
        events: Vec::new(),
        faults: machine.driver.calls.clone(),
        cuda: machine.driver.cuda_side.clone(),
    }
    .write_beside(directory)?;
    if !library.exists() || !machine.driver.missing.is_empty() {
        let mut bytes = fs::read(fake)
            .with_context(|| format!("cannot read the fake driver {}", fake.display()))?;
        hide_symbols(&mut bytes, &machine.driver.missing)?;
        let new = directory.join(".library.new");
        for library in [&library, &directory.join(CUDA_LIBRARY)] {
            fs::write(&new, &bytes)?;
            fs::rename(&new, library)?;
        }
    }
    Ok(Some(library))
}

/// Renames exported functions in the bytes of a shared library, so that the loader no longer finds
/// them.
///
/// # Errors
/// A name that the library does not have.
pub fn hide_symbols(library: &mut [u8], names: &[String]) -> Result<()> {
    for name in names {
        // A string of a string table: zero, name, zero.
        let mut needle = vec![0];
        needle.extend(name.bytes());
        needle.push(0);
        let mut hidden = 0;
        let mut from = 0;
        while let Some(at) = find(&library[from..], &needle) {
            library[from + at + 1] = b'X';
            from += at + needle.len() - 1;
            hidden += 1;
        }
        if hidden == 0 {
            bail!("the fake driver has no function {name:?}");
        }
    }
    Ok(())
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_function_is_hidden() {
        let mut library = b"\0nvmlInit\0nvmlInit_v2\0nvmlShutdown\0".to_vec();
        hide_symbols(&mut library, &["nvmlInit".to_owned()]).expect("hide");
        assert_eq!(library, b"\0XvmlInit\0nvmlInit_v2\0nvmlShutdown\0");
        let error = hide_symbols(&mut library, &["nvmlNone".to_owned()]).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "the fake driver has no function \"nvmlNone\""
        );
    }
}
