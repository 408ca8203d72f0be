//! `NVRM: Xid (PCI:dddd:bb:dd[.f][ GPU-I:nn[ GPU-CI:nn]]): code[, pid=…][, name=…][, text]`.
//!
//! Severity and action come from the catalogue's table, and for these from the text as well:
//! 154 (the driver's advice), 74 (register words), 144 to 150 (NVLink5 words).

use cupel_model::event::{CatalogueActions, Nvlink5};
use cupel_model::{Event, EventKind, RemedyAction, Severity};

use super::{Opened, address, event};
use crate::catalogue::nvlink4::{self, Cause};
use crate::catalogue::recovery::RecoveryAction;
use crate::catalogue::{self, nvlink5};
use crate::version::DriverVersion;

pub(super) fn decode(message: &str, driver: Option<DriverVersion>) -> Option<Opened> {
    let rest = message.strip_prefix("NVRM: Xid (")?;
    let (device, rest) = rest.split_once("): ").or_else(|| rest.split_once("):"))?;
    let (code, text) = code(rest)?;
    let mut event = judged(code);
    (event.pci, event.mig) = place(device);
    let body = attribution(&mut event, text);
    match code {
        74 => nvlink(&mut event, body),
        144..=150 => {
            event.nvlink5 = nvlink5::decode(code, body, driver);
            let (severity, action) = match &event.nvlink5 {
                Some(decoded) => judge_nvlink5(decoded, body),
                None => by_line(body),
            };
            (event.severity, event.action) = (severity, action);
        }
        154 => {
            if let Some(action) = RecoveryAction::from_message(body) {
                (event.severity, event.action) = (action.severity(), action.remedy());
            }
        }
        _ => {}
    }
    Some(event.into())
}

/// Splits `(device)` into address and MIG instance.
pub(super) fn place(device: &str) -> (Option<cupel_model::PciAddress>, Option<String>) {
    let (token, mig) = match device.split_once(' ') {
        Some((token, mig)) => (token, Some(mig.trim())),
        None => (device, None),
    };
    let mig = mig.filter(|text| text.starts_with("GPU-I:"));
    (address(token), mig.map(str::to_owned))
}

/// The code and what follows it; none if what stands there is no number of its own.
pub(super) fn code(rest: &str) -> Option<(u32, &str)> {
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, text) = rest.split_at(end);
    // Six digits are more than any code has; longer ones are no code.
    if digits.len() > 6 || !text.is_empty() && !text.starts_with([',', ' ']) {
        return None;
    }
    Some((digits.parse().ok()?, text))
}

/// An event with what the catalogue says of a code.
fn judged(code: u32) -> Event {
    let entry = catalogue::xid(code);
    let severity = entry.map_or(Severity::Warning, |e| e.severity);
    let action = entry.map_or(RemedyAction::ContactVendor, |e| e.action);
    let mut event = event(EventKind::Xid, &format!("xid.{code}"), severity, action);
    event.xid = Some(code);
    event.mnemonic = entry.and_then(|e| e.mnemonic).map(str::to_owned);
    event.nvidia = entry.map(|e| CatalogueActions {
        immediate: e.immediate.map(str::to_owned),
        investigatory: e.investigatory.map(str::to_owned),
    });
    event
}

/// Takes `pid=` and `name=` from the start of the text; returns what is left.
fn attribution<'a>(event: &mut Event, text: &'a str) -> &'a str {
    let mut text = text.trim_start_matches([',', ' ']);
    if let Some(rest) = text.strip_prefix("pid=") {
        let (pid, after) = rest.split_once(", ").unwrap_or((rest, ""));
        event.pid = pid.trim_end_matches(',').parse().ok();
        text = after;
    }
    if let Some(rest) = text.strip_prefix("name=") {
        let (name, after) = rest.split_once(", ").unwrap_or((rest, ""));
        let name = name.trim_end_matches(',');
        event.process = (!name.is_empty() && name != "<unknown>").then(|| name.to_owned());
        text = after;
    }
    text
}

fn nvlink(event: &mut Event, body: &str) {
    let Some(error) = nvlink4::decode(body) else {
        return;
    };
    let harmless = |cause: &Cause| matches!(cause, Cause::Ignorable | Cause::CorrectedThreshold);
    if !error.causes.is_empty() && error.causes.iter().all(harmless) {
        (event.severity, event.action) = (Severity::Info, RemedyAction::None);
    } else if error.causes.contains(&Cause::SympatheticFabricReset) {
        event.action = RemedyAction::ResetFabric;
    }
}

/// Severity and action by the catalogue's rule; by the line's own word where no rule matched.
fn judge_nvlink5(decoded: &Nvlink5, body: &str) -> (Severity, RemedyAction) {
    let Some(immediate) = decoded.immediate.as_deref() else {
        return by_line(body);
    };
    let investigatory = decoded.investigatory.as_deref().unwrap_or_default();
    match immediate {
        "RESET_GPU" => (Severity::Critical, RemedyAction::ResetGpu),
        "XID_154_EVAL" => (Severity::Warning, RemedyAction::RestartApp),
        "IGNORE" => match investigatory {
            "IGNORE" => (Severity::Info, RemedyAction::None),
            "CONTACT_SUPPORT" => (Severity::Warning, RemedyAction::ContactVendor),
            _ if investigatory.contains("CABLES") => (Severity::Warning, RemedyAction::CheckCable),
            _ => (Severity::Warning, RemedyAction::RunDiagnostic),
        },
        _ => (Severity::Warning, RemedyAction::RunDiagnostic),
    }
}

fn by_line(body: &str) -> (Severity, RemedyAction) {
    if body.split_ascii_whitespace().any(|word| word == "Fatal") {
        (Severity::Critical, RemedyAction::ResetGpu)
    } else {
        (Severity::Warning, RemedyAction::RunDiagnostic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Option<Event> {
        decode(message, None).map(|opened| opened.event)
    }

    #[test]
    fn all_shapes() {
        for (message, xid, pci, mig, pid, process) in [
            (
                "NVRM: Xid (PCI:0000:9b:00): 79, pid=1234, name=x, GPU has fallen off the bus.",
                79,
                "0000:9b:00.0",
                None,
                Some(1234),
                Some("x"),
            ),
            (
                "NVRM: Xid (PCI:00000000:9B:00.1): 79, GPU has fallen off the bus.",
                79,
                "0000:9b:00.1",
                None,
                None,
                None,
            ),
            (
                "NVRM: Xid (0000:03:00): 14, Channel 00000001",
                14,
                "0000:03:00.0",
                None,
                None,
                None,
            ),
            (
                "NVRM: Xid (PCI:0000:01:00): 13, pid='<unknown>', name=<unknown>, Graphics",
                13,
                "0000:01:00.0",
                None,
                None,
                None,
            ),
            (
                "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE",
                94,
                "0000:01:00.0",
                Some("GPU-I:05"),
                Some(7194),
                None,
            ),
            (
                "NVRM: Xid (PCI:0000:01:00 GPU-I:05 GPU-CI:01): 13, pid=1, name=a b",
                13,
                "0000:01:00.0",
                Some("GPU-I:05 GPU-CI:01"),
                Some(1),
                Some("a b"),
            ),
            (
                "NVRM: Xid (PCI:0000:3f:00): 46",
                46,
                "0000:3f:00.0",
                None,
                None,
                None,
            ),
            (
                "NVRM: Xid (PCI:0000:01:00): 154 (",
                154,
                "0000:01:00.0",
                None,
                None,
                None,
            ),
        ] {
            let event = of(message).expect(message);
            assert_eq!(event.xid, Some(xid), "{message}");
            assert_eq!(
                event.pci.map(|p| p.to_string()).as_deref(),
                Some(pci),
                "{message}"
            );
            assert_eq!(event.mig.as_deref(), mig, "{message}");
            assert_eq!(event.pid, pid, "{message}");
            assert_eq!(event.process.as_deref(), process, "{message}");
            assert_eq!(event.code, format!("xid.{xid}"));
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for message in [
            "NVRM: Xid errors are documented at",
            "NVRM: Xid (PCI:0000:9b:00)",
            "NVRM: Xid (PCI:0000:9b:00): ",
            "NVRM: Xid (PCI:0000:9b:00): seventy-nine",
            "NVRM: Xid (PCI:0000:9b:00): 79abc",
            "NVRM: Xid (PCI:0000:9b:00): 79999999",
            "found NVRM: Xid (PCI:0000:9b:00): 79, in the log",
            "Xid (PCI:0000:9b:00): 79",
        ] {
            assert!(of(message).is_none(), "{message}");
        }
        let odd = of("NVRM: Xid (PCI:zz): 79, x").expect("an XID without a place");
        assert_eq!((odd.xid, odd.pci), (Some(79), None));
    }

    #[test]
    fn unknown_codes_ask_for_a_person() {
        let event = of("NVRM: Xid (PCI:0000:66:00): 999, pid=1234, name=test").expect("999");
        assert_eq!((event.mnemonic, event.nvidia), (None, None));
        assert_eq!(event.severity, Severity::Warning);
        assert_eq!(event.action, RemedyAction::ContactVendor);
        let blank = of("NVRM: Xid (PCI:0000:66:00): 171, x").expect("171");
        assert_eq!(blank.nvidia.expect("in the catalogue").immediate, None);
        assert_eq!(blank.severity, Severity::Critical);
    }

    #[test]
    fn texts_that_change_the_judgement() {
        let judged = |code: u32, text: &str| {
            let event = of(&format!("NVRM: Xid (PCI:0000:01:00): {code}, {text}")).expect(text);
            (event.severity, event.action)
        };
        assert_eq!(
            judged(
                154,
                "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"
            ),
            (Severity::Critical, RemedyAction::RebootNode)
        );
        assert_eq!(
            judged(
                154,
                "GPU recovery action changed from 0x0 (None) to 0x9 (Pray)"
            ),
            (Severity::Warning, RemedyAction::ContactVendor)
        );
        assert_eq!(
            judged(
                74,
                "NVLink: fatal error detected on link 1(0x0, 0x0, 0x0, 0x0, 0x100000, 0x0, 0x0)"
            ),
            (Severity::Info, RemedyAction::None)
        );
        assert_eq!(
            judged(
                74,
                "NVLink: fatal error detected on link 1(0x100, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)"
            ),
            (Severity::Critical, RemedyAction::ResetGpu)
        );
        assert_eq!(
            judged(145, "RLW_REMAP Nonfatal XC1 i0 Link 10"),
            (Severity::Warning, RemedyAction::RunDiagnostic)
        );
        assert_eq!(
            judged(
                149,
                "NETIR_BER_EVENT Nonfatal XC0 i0 Link 03 (0x00086226 0x00000001 0x0)"
            ),
            (Severity::Warning, RemedyAction::CheckCable)
        );
    }
}
