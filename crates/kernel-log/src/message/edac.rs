//! Memory controller errors: `EDAC MC0: 1 CE memory read error on DIMM_A1 (…)`.

use cupel_model::{EventKind, RemedyAction, Severity};

use super::{Opened, event};

pub(super) fn decode(message: &str) -> Option<Opened> {
    let rest = message.strip_prefix("EDAC MC")?;
    let (controller, rest) = rest.split_once(": ")?;
    if controller.is_empty() || !controller.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut words = rest.split_ascii_whitespace();
    let first = words.next()?;
    let word = if first.bytes().all(|b| b.is_ascii_digit()) {
        words.next()?
    } else {
        first
    };
    let (code, severity, action) = match word {
        "CE" => ("edac.corrected", Severity::Info, RemedyAction::None),
        "UE" => (
            "edac.uncorrected",
            Severity::Critical,
            RemedyAction::ReplacePart,
        ),
        _ => return None,
    };
    Some(event(EventKind::Edac, code, severity, action).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrected_uncorrected_and_neither() {
        for (message, code) in [
            (
                "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0)",
                Some("edac.corrected"),
            ),
            (
                "EDAC MC12: 3 UE on DIMM_B2 (channel:0)",
                Some("edac.uncorrected"),
            ),
            (
                "EDAC MC0: UE page 0x0, offset 0x0",
                Some("edac.uncorrected"),
            ),
            ("EDAC MC0: Giving out device to module skx_edac", None),
            ("EDAC MC: Ver: 3.0.0", None),
            ("EDAC MCx: 1 CE", None),
        ] {
            let got = decode(message).map(|opened| opened.event.code);
            assert_eq!(got.as_deref(), code, "{message}");
        }
    }
}
