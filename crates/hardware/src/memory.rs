//! Memory: how much the kernel has, the modules that SMBIOS lists, and EDAC's counters.

use cupel_model::Reading;
use cupel_model::snapshot::{Memory, Problem};
use cupel_model::units::Bytes;

use crate::edac;
use crate::error::{ReadError, reading};
use crate::root::Root;
use crate::smbios::{Smbios, dimm_names};

const MEMINFO: &str = "/proc/meminfo";

/// Memory, and what could not be read.
pub fn collect(root: &Root, smbios: &Result<Smbios, ReadError>) -> (Memory, Vec<Problem>) {
    let text = root.text(MEMINFO);
    let of = |name: &str| match &text {
        Ok(text) => reading(parse_meminfo(text, name)),
        Err(error) => error.clone().into_reading(),
    };
    let (edac, problems) = edac::collect(root);
    let mut memory = Memory {
        total_bytes: of("MemTotal"),
        available_bytes: of("MemAvailable"),
        edac,
        ..Memory::default()
    };
    match smbios {
        Ok(smbios) => {
            memory.dimms.clone_from(&smbios.dimms);
            dimm_names(&mut memory.dimms);
            memory.dimms.sort_by(|a, b| a.name.cmp(&b.name));
            memory.dimms_source = if smbios.complete {
                Reading::Value("SMBIOS type 17".to_owned())
            } else {
                Reading::failed("the SMBIOS table is cut short: modules may be missing")
            };
        }
        Err(error) => memory.dimms_source = error.clone().into_reading(),
    }
    (memory, problems)
}

/// One line of `/proc/meminfo`, `NAME: COUNT kB`.
///
/// # Errors
/// The line is not there or is something else.
pub fn parse_meminfo(text: &str, name: &str) -> Result<Bytes, ReadError> {
    let line = text.lines().enumerate().find_map(|(number, line)| {
        Some((
            number + 1,
            line.strip_prefix(name)?.strip_prefix(':')?.trim(),
        ))
    });
    let Some((number, value)) = line else {
        return Err(ReadError::malformed(
            MEMINFO,
            1,
            name,
            "a line of the table",
        ));
    };
    value
        .strip_suffix(" kB")
        .and_then(|count| count.parse::<u64>().ok()?.checked_mul(1024))
        .map(Bytes)
        .ok_or_else(|| ReadError::malformed(MEMINFO, number, value, "a number of kB"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn lines_of_meminfo() {
        let text =
            "MemTotal:       15666184 kB\nMemFree: x kB\nMemAvailable: 99999999999999999999 kB\n";
        assert_eq!(
            parse_meminfo(text, "MemTotal"),
            Ok(Bytes(15_666_184 * 1024))
        );
        let error = parse_meminfo(text, "MemFree").expect_err("garbage");
        assert_eq!(
            error.to_string(),
            "/proc/meminfo: line 2: \"x kB\" is not a number of kB"
        );
        assert!(parse_meminfo(text, "MemAvailable").is_err());
        assert!(parse_meminfo(text, "Mem").is_err());
    }

    #[test]
    fn unknown_is_never_zero() {
        let root = Tree::new().root();
        let missing = crate::smbios::read(&root);
        let (memory, problems) = collect(&root, &missing);
        assert!(matches!(memory.total_bytes, Reading::Absent(_)));
        assert!(matches!(memory.dimms_source, Reading::Absent(_)));
        assert_eq!(problems, []);
    }
}
