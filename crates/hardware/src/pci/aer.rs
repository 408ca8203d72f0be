//! AER counters of one PCI function: `aer_dev_correctable`, `aer_dev_fatal`, `aer_dev_nonfatal`.

use cupel_model::snapshot::NamedCounter;
use cupel_model::{Counter, Reading};
use smol_str::format_smolstr;

use crate::error::ReadError;
use crate::sysfs::Attributes;

/// The kernel's files and what their counters are called here.
const FILES: [(&str, &str); 3] = [
    ("aer_dev_correctable", "correctable"),
    ("aer_dev_fatal", "fatal"),
    ("aer_dev_nonfatal", "nonfatal"),
];

/// The counters of a function, sorted by name.
pub(super) fn read(at: &Attributes) -> Reading<Vec<NamedCounter>> {
    let mut counters = Vec::new();
    let mut missing = 0;
    for (file, group) in FILES {
        let directory = at.directory();
        match directory.text(file, |text| parse(&at.path(file), group, text)) {
            Ok(read) => counters.extend(read),
            Err(error) if error.is_missing() => missing += 1,
            Err(error) => return error.into_reading(),
        }
    }
    if missing == FILES.len() {
        return Reading::absent("not visible to the kernel (firmware first, or no AER)");
    }
    counters.sort_by(|a: &NamedCounter, b| a.name.cmp(&b.name));
    Reading::Value(counters)
}

/// Lines of `NAME COUNT`, as `group/NAME`. `path` only names the file in an error.
///
/// # Errors
/// A line that is something else.
pub fn parse(path: &str, group: &str, text: &str) -> Result<Vec<NamedCounter>, ReadError> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let mut words = line.split_ascii_whitespace();
            let counter = match (words.next(), words.next(), words.next()) {
                (Some(name), Some(count), None) => count
                    .parse()
                    .ok()
                    .map(|count| (name, Counter::exact(count))),
                (_, _, _) => None,
            };
            let (name, counter) = counter.ok_or_else(|| {
                ReadError::malformed(path, number + 1, line, "a name and a count")
            })?;
            Ok(NamedCounter {
                name: format_smolstr!("{group}/{name}"),
                value: Reading::Value(counter),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts() {
        let counters = parse("f", "correctable", "RxErr 3\nBadTLP 0\nTOTAL_ERR_COR 3\n");
        let counters = counters.expect("well formed");
        let told: Vec<_> = counters
            .iter()
            .map(|c| (c.name.as_str(), c.value.get().map(|v| v.value)))
            .collect();
        assert_eq!(
            told,
            [
                ("correctable/RxErr", Some(3)),
                ("correctable/BadTLP", Some(0)),
                ("correctable/TOTAL_ERR_COR", Some(3)),
            ]
        );
    }

    #[test]
    fn garbage_names_file_line_and_value() {
        let error = parse("aer_dev_fatal", "fatal", "DLP 0\nSDES many\n").expect_err("garbage");
        assert_eq!(
            error.to_string(),
            "aer_dev_fatal: line 2: \"SDES many\" is not a name and a count"
        );
    }
}
