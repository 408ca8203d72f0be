//! SMBIOS: what the firmware says about the machine and its parts.
//!
//! # Invariants
//! - A text that is only a placeholder (`To Be Filled By O.E.M.`) is absent, never a serial.
//! - A system UUID is valid only if it can tell machines apart.
//! - Parsing is pure and never panics: firmware tables are foreign bytes.

mod parts;
mod table;
mod uuid;

pub use parts::{Processor, dimm_names, is_placeholder};
pub use table::{Smbios, SmbiosError, parse};
pub use uuid::{Uuid, valid as valid_uuid};

use crate::error::ReadError;
use crate::root::Root;

const ENTRY_POINT: &str = "/sys/firmware/dmi/tables/smbios_entry_point";
const TABLE: &str = "/sys/firmware/dmi/tables/DMI";

/// Most bytes of the table: the length field of a 64-bit entry point would allow 4 GiB.
const CAP: usize = 1 << 20;

/// Which file the table is, and when it was written: inode, seconds and nanoseconds.
pub type FileIdentity = (u64, i64, i64);

/// By what the table is known again beneath a root other than `/`; none on the machine itself, where
/// it stays what it is until the next boot.
pub fn file_identity(root: &Root) -> Option<FileIdentity> {
    if root.is_live() {
        return None;
    }
    let about = root.about(TABLE).ok()?;
    Some((about.st_ino, about.st_mtime, about.st_mtime_nsec))
}

/// Reads and parses the tables.
///
/// # Errors
/// The files are not there or not readable (without root), or are no SMBIOS.
pub fn read(root: &Root) -> Result<Smbios, ReadError> {
    let entry_point = root.read(ENTRY_POINT, CAP)?;
    let table = root.read(TABLE, CAP)?;
    parse(&entry_point, &table).map_err(|error| ReadError::Binary {
        path: match error {
            SmbiosError::EntryPoint => ENTRY_POINT.to_owned(),
            SmbiosError::NoStructure { .. } => TABLE.to_owned(),
        },
        detail: error.to_string(),
    })
}
