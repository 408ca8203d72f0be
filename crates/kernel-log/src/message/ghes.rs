//! Firmware-first hardware errors: APEI GHES records (`{n}[Hardware Error]: …`) and what BERT kept
//! from the previous boot. On servers that hide AER and corrected memory errors from the kernel
//! these are the only witness.

use cupel_model::RemedyAction::{self, ReplacePart, RunDiagnostic};
use cupel_model::Severity::{self, Critical, Info, Warning};
use cupel_model::{Event, EventKind};

use super::{Accept, Opened, Thread, address, event};

const MARK: &str = "[Hardware Error]:";

/// A record that goes on as long as its mark comes.
#[derive(Debug)]
pub(crate) struct Report {
    /// `{1}`, or nothing for BERT.
    sequence: String,
    /// Whether this is the previous boot's.
    previous_boot: bool,
    /// Whether the record has said how bad it is.
    judged: bool,
}

impl Report {
    pub fn offer(&mut self, event: &mut Event, message: &str) -> Accept {
        match split(message) {
            Some((sequence, text)) if sequence == self.sequence && !announces(text) => {
                self.take(event, text);
                Accept::More
            }
            _ => Accept::No,
        }
    }

    /// An empty error table at boot is announced too.
    pub fn complete(&self) -> bool {
        !self.previous_boot || self.judged
    }

    fn take(&mut self, event: &mut Event, text: &str) {
        let text = text.trim_start();
        if let Some(word) = text.strip_prefix("event severity: ") {
            if !self.judged {
                let (name, severity, action) = by_word(word.trim());
                let place = if self.previous_boot {
                    "previous-boot-"
                } else {
                    ""
                };
                event.code = format!("ghes.{place}{name}");
                (event.severity, event.action) = (severity, action);
                self.judged = true;
            }
        } else if let Some(token) = text.strip_prefix("device_id: ") {
            event.pci = event.pci.or_else(|| address(token.trim()));
        } else if text.starts_with("section_type: memory error") && event.severity == Critical {
            event.action = ReplacePart;
        }
    }
}

fn by_word(word: &str) -> (&'static str, Severity, RemedyAction) {
    match word {
        "corrected" => ("corrected", Info, RemedyAction::None),
        "info" | "informational" => ("info", Info, RemedyAction::None),
        "recoverable" => ("recoverable", Warning, RunDiagnostic),
        "fatal" => ("fatal", Critical, RunDiagnostic),
        _ => ("unknown", Warning, RunDiagnostic),
    }
}

/// Splits `{n}[Hardware Error]: text` into `{n}` and text; the mark may be missing.
fn split(message: &str) -> Option<(&str, &str)> {
    let (sequence, text) = message.split_once(MARK)?;
    let numbered = sequence
        .strip_prefix('{')
        .and_then(|s| s.strip_suffix('}'))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    (numbered || sequence.is_empty()).then_some((sequence, text.trim_start_matches(' ')))
}

fn announces(text: &str) -> bool {
    text.starts_with("Hardware error from APEI")
}

pub(super) fn decode(message: &str) -> Option<Opened> {
    let previous_boot = message.starts_with("BERT: Error records from previous boot");
    let (sequence, text) = if previous_boot {
        ("", "")
    } else {
        split(message)?
    };
    // Without a number the same mark is AMD's machine-check decoder, unless CPER words follow.
    let cper = announces(text)
        || ["event severity: ", "Error ", "section_type: "]
            .iter()
            .any(|start| text.trim_start().starts_with(start));
    if sequence.is_empty() && !previous_boot && !cper {
        return None;
    }
    let code = if previous_boot {
        "ghes.previous-boot-unknown"
    } else {
        "ghes.unknown"
    };
    let mut event = event(EventKind::Ghes, code, Warning, RunDiagnostic);
    let mut report = Report {
        sequence: sequence.to_owned(),
        previous_boot,
        judged: false,
    };
    report.take(&mut event, text);
    let thread = Some(Thread::Ghes(report));
    Some(Opened { event, thread })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(lines: &[&str]) -> (Event, bool) {
        let Opened { mut event, thread } = decode(lines[0]).expect(lines[0]);
        let mut thread = thread.expect("goes on");
        for line in &lines[1..] {
            assert_eq!(thread.offer(&mut event, line), Accept::More, "{line}");
        }
        assert_eq!(thread.offer(&mut event, "usb 1-1: new"), Accept::No);
        (event, thread.complete())
    }

    #[test]
    fn a_record_with_its_device() {
        let (event, _) = joined(&[
            "{3}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 4",
            "{3}[Hardware Error]: It has been corrected by h/w and requires no further action",
            "{3}[Hardware Error]: event severity: corrected",
            "{3}[Hardware Error]:  Error 0, type: corrected",
            "{3}[Hardware Error]:   section_type: PCIe error",
            "{3}[Hardware Error]:   device_id: 0000:3b:00.0",
        ]);
        assert_eq!(event.code, "ghes.corrected");
        assert_eq!(event.pci.expect("device").to_string(), "0000:3b:00.0");
    }

    #[test]
    fn the_previous_boot() {
        let (event, complete) = joined(&[
            "BERT: Error records from previous boot:",
            "[Hardware Error]: event severity: fatal",
            "[Hardware Error]:  Error 0, type: fatal",
            "[Hardware Error]:   section_type: memory error",
        ]);
        assert!(complete);
        assert_eq!(event.code, "ghes.previous-boot-fatal");
        assert_eq!(event.action, ReplacePart);
        assert!(!joined(&["BERT: Error records from previous boot:"]).1);
    }

    #[test]
    fn others_marks_are_theirs() {
        for message in [
            "amdgpu 0000:9e:00.0: {1}[Hardware Error]: aca entry[00].STATUS=0x98000800003e0000",
            "[Hardware Error]: Corrected error, no action required.",
            "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 7: cc00008000010090",
            "{x}[Hardware Error]: event severity: fatal",
        ] {
            assert!(decode(message).is_none(), "{message}");
        }
    }
}
