//! The journal's catalogue: what `journalctl -x` shows below a finding, from the same text as
//! `cupel explain`.
//!
//! # Invariants
//! - A message's id is made from the finding's code, so that it is the same in every version.

use cupel_health::explain;
use cupel_health::registry::CHECKS;
use sha2::{Digest as _, Sha256};

/// Before the code, so that no other program's hash of that word is the same.
const SALT: &str = "cupel finding ";

/// Code of the record of an upgrade that was kept.
pub const ACCEPTED: &str = "upgrade.accepted";

/// Code of the record of an upgrade that did not begin.
pub const NOT_BEGUN: &str = "upgrade.not-begun";

/// Code of the record of an upgrade that was taken back.
pub const REVERTED: &str = "upgrade.reverted";

/// What the catalogue says of upgrades: code, subject, text.
const UPGRADES: [(&str, &str, &str); 3] = [
    (
        ACCEPTED,
        "A new version of Cupel runs",
        "It was watched for its probation and found well. 'cupel rollback' goes back to\n\
         @VERSION_FROM@.",
    ),
    (
        NOT_BEGUN,
        "An upgrade of Cupel did not begin",
        "@VERSION_FROM@ runs on. When what is named above is over, run 'cupel upgrade' again.",
    ),
    (
        REVERTED,
        "A new version of Cupel was put back",
        "@VERSION_TO@ did not become healthy, or took the machine down with it.\n\
         @VERSION_FROM@ runs. See 'journalctl -u cupel.service' for what the new version said,\n\
         and do not push it to other nodes.",
    ),
];

/// The `MESSAGE_ID` of findings with this code: 32 hexadecimal digits, in the form of a UUID of
/// version 4, as systemd wants its ids.
pub fn message_id(code: &str) -> String {
    let mut digest = Sha256::digest(format!("{SALT}{code}"));
    digest[6] = digest[6] & 0x0f | 0x40;
    digest[8] = digest[8] & 0x3f | 0x80;
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The file `cupel.catalog`.
pub fn text() -> String {
    let mut text = String::from(
        "# What journalctl -x shows below a finding of Cupel. Generated from the checks by\n\
         # 'cargo xtask docs': do not edit.\n",
    );
    for known in CHECKS.iter().filter_map(|check| explain(check.code)) {
        text.push_str(&format!(
            "\n-- {}\nSubject: {}: {}\nDefined-By: Cupel\n\n\
             What was found: @MESSAGE@\nAt: @COMPONENT@, PCI @PCI@, serial @SERIAL@\n\n\
             {}\n\n{}\n\nWhat to do:\n{}\n\n'cupel explain {}' says more.\n",
            message_id(&known.code),
            known.code,
            known.title.trim_end_matches('.'),
            paragraphs(&known.what),
            paragraphs(&known.why),
            paragraphs(&known.remedy),
            known.code,
        ));
    }
    for (code, subject, what) in UPGRADES {
        text.push_str(&format!(
            "\n-- {}\nSubject: {code}: {subject}\nDefined-By: Cupel\n\n@MESSAGE@\n\n{what}\n",
            message_id(code),
        ));
    }
    text
}

/// The text without what would end an entry: a line that begins with `-- ` or `#`.
fn paragraphs(text: &str) -> String {
    let lines = text.trim().lines().map(|line| {
        let line = line.trim_end();
        if line.starts_with("-- ") || line.starts_with('#') {
            format!(" {line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_stable_and_differ() {
        assert_eq!(
            message_id("gpu.off-bus"),
            "e5c759c3e3ed4fa59997990077f8a3ea"
        );
        let ids: BTreeSet<_> = CHECKS.iter().map(|check| message_id(check.code)).collect();
        assert_eq!(ids.len(), CHECKS.len());
        for id in &ids {
            assert_eq!(&id[12..13], "4", "{id}");
            assert!("89ab".contains(&id[16..17]), "{id}");
        }
    }

    #[test]
    fn every_code_has_its_entry() {
        let text = text();
        for check in CHECKS {
            assert!(text.contains(&format!(
                "-- {}\nSubject: {}: ",
                message_id(check.code),
                check.code
            )));
        }
    }
}
