//! `nvidia-nvswitchN: SXid (PCI:dddd:bb:dd.f): code, Fatal|Non-fatal|Severity n|Data {…}|text`.
//!
//! NVIDIA publishes no actions for these; "Fatal" stops the fabric until it is reset. The lines
//! with data words and severities stand for themselves.

use cupel_model::{EventKind, RemedyAction, Severity};

use super::{Opened, event, xid};

pub(super) fn decode(message: &str) -> Option<Opened> {
    let rest = message.strip_prefix("nvidia-nvswitch")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let rest = rest.get(digits..)?.strip_prefix(": SXid (")?;
    let (device, rest) = rest.split_once("): ")?;
    let (code, text) = xid::code(rest)?;
    let text = text.trim_start_matches([',', ' ']);
    let fatal = text
        .split([',', ' '])
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("Fatal"));
    let (severity, action) = if fatal {
        (Severity::Critical, RemedyAction::ResetFabric)
    } else {
        (Severity::Warning, RemedyAction::RunDiagnostic)
    };
    let mut event = event(EventKind::Sxid, &format!("sxid.{code}"), severity, action);
    event.sxid = Some(code);
    (event.pci, _) = xid::place(device);
    Some(event.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shapes() {
        for (message, sxid, severity) in [
            (
                "nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
                20034,
                Severity::Critical,
            ),
            (
                "nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 12028, Non-fatal, Link 32 egress",
                12028,
                Severity::Warning,
            ),
            (
                "nvidia-nvswitch0: SXid (PCI:0000:c5:00.0): 12033, Severity 1 Engine instance 00",
                12033,
                Severity::Warning,
            ),
            (
                "nvidia-nvswitch0: SXid (PCI:0000:c5:00.0): 20034, Data {0x50610002, 0x10100030}",
                20034,
                Severity::Warning,
            ),
            (
                "nvidia-nvswitch0: SXid (PCI:0000:c5:00.0): 10003, SOE HALT",
                10003,
                Severity::Warning,
            ),
        ] {
            let event = decode(message).expect(message).event;
            assert_eq!(event.sxid, Some(sxid));
            assert_eq!(event.severity, severity, "{message}");
            assert_eq!(event.pci.expect("address").to_string(), "0000:c5:00.0");
            assert_eq!((event.mnemonic, event.nvidia), (None, None));
        }
        for message in [
            "nvidia-nvswitch3: open (major=510)",
            "nvidia-nvswitch3: SXid (PCI:0000:c5:00.0)",
            "about nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Fatal",
            "nvidia-nvswitch: SXid",
        ] {
            assert!(decode(message).is_none(), "{message}");
        }
    }
}
