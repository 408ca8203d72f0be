//! Processor throttling and critical temperatures.

use cupel_model::EventKind;
use cupel_model::RemedyAction::{self, RunDiagnostic};
use cupel_model::Severity::{Critical, Info, Warning};

use super::{Opened, event};

pub(super) fn decode(message: &str) -> Option<Opened> {
    let text = message.strip_prefix("mce: ").unwrap_or(message);
    let (code, severity, action) = if let Some(rest) = text.strip_prefix("CPU") {
        let (processor, rest) = rest.split_once(": ")?;
        if processor.is_empty() || !processor.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if rest.contains("temperature above threshold") {
            ("thermal.cpu-throttled", Warning, RunDiagnostic)
        } else if rest.contains("temperature/speed normal") {
            ("thermal.cpu-normal", Info, RemedyAction::None)
        } else {
            return None;
        }
    } else if text.starts_with("thermal ") && text.contains(": critical temperature reached")
        || text.starts_with("reboot: HARDWARE PROTECTION shutdown (Temperature too high)")
    {
        ("thermal.critical", Critical, RunDiagnostic)
    } else {
        return None;
    };
    Some(event(EventKind::Thermal, code, severity, action).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (message, code) in [
            (
                "mce: CPU12: Core temperature above threshold, cpu clock throttled (total events = 1)",
                Some("thermal.cpu-throttled"),
            ),
            (
                "CPU0: Package temperature above threshold, cpu clock throttled (total events = 1)",
                Some("thermal.cpu-throttled"),
            ),
            (
                "mce: CPU12: Core temperature/speed normal",
                Some("thermal.cpu-normal"),
            ),
            (
                "thermal thermal_zone0: acpitz: critical temperature reached, shutting down",
                Some("thermal.critical"),
            ),
            ("CPU: temperature above threshold", None),
            ("CPU0: Thermal monitoring enabled (TM1)", None),
        ] {
            let got = decode(message).map(|opened| opened.event.code);
            assert_eq!(got.as_deref(), code, "{message}");
        }
    }
}
