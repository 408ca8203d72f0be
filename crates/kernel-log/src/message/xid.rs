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
        Some((token, mig)) => (token, Some(mig)),
        None => (device, None),
    };
    // A compute instance behind it (`GPU-CI:00`) stays in the raw text.
    let mig = mig
        .and_then(|text| text.split_ascii_whitespace().next())
        .filter(|text| text.starts_with("GPU-I:"));
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
///
/// Values may stand in quotes. Drivers part the fields by commas, and then a name may have spaces;
/// some part them by spaces alone, and then it ends at the first.
fn attribution<'a>(event: &mut Event, text: &'a str) -> &'a str {
    let mut text = text.trim_start_matches([',', ' ']);
    let mut by_comma = true;
    if let Some(rest) = text.strip_prefix("pid=") {
        let (pid, after) = quoted(rest).unwrap_or_else(|| cut(rest, &[',', ' ']));
        event.pid = pid.parse().ok();
        by_comma = after.is_empty() || after.starts_with(',');
        text = after.trim_start_matches([',', ' ']);
    }
    if let Some(rest) = text.strip_prefix("name=") {
        let unquoted = || match rest.find(", ") {
            Some(end) if by_comma => rest.split_at(end),
            None if by_comma => (rest.trim_end_matches(','), ""),
            Some(_) | None => cut(rest, &[',', ' ']),
        };
        let (name, after) = quoted(rest).unwrap_or_else(unquoted);
        event.process = (!name.is_empty() && name != "<unknown>").then(|| name.to_owned());
        text = after.trim_start_matches([',', ' ']);
    }
    text
}

/// A value in quotes that a separator or the end follows, without them, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.get(1..)?;
    inner.match_indices(quote).find_map(|(end, _)| {
        let (value, after) = (inner.get(..end)?, inner.get(end + 1..)?);
        (after.is_empty() || after.starts_with([',', ' '])).then_some((value, after))
    })
}

/// What stands before the first of `ends`, and the rest.
fn cut<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
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
                Some("GPU-I:05"),
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
    fn pid_and_name_in_every_shape() {
        for (text, pid, process) in [
            ("pid=4242, name=my app, Ch 1", Some(4242), Some("my app")),
            (
                "pid='4242', name='my app', Ch 1",
                Some(4242),
                Some("my app"),
            ),
            ("pid='4242', name=my app", Some(4242), Some("my app")),
            ("pid=\"4242\", name=\"my app\"", Some(4242), Some("my app")),
            ("pid='4242', name='it's', Ch 1", Some(4242), Some("it's")),
            (
                "pid=29364 name=python Ch 00000001",
                Some(29364),
                Some("python"),
            ),
            ("pid=29364 name='my app' Ch 1", Some(29364), Some("my app")),
            ("pid=29364 name=python, Ch 1", Some(29364), Some("python")),
            ("pid='<unknown>', name='<unknown>', Ch 1", None, None),
            ("pid=<unknown>, name=\"<unknown>\"", None, None),
            ("pid=<unknown> name=<unknown> Ch 1", None, None),
            ("pid=4242, Ch 1", Some(4242), None),
            ("pid=4242", Some(4242), None),
            ("pid=, name=", None, None),
            ("pid='4242, name='x", None, Some("'x")),
            ("name=x, Ch 1", None, Some("x")),
        ] {
            let event = of(&format!("NVRM: Xid (PCI:0000:01:00): 43, {text}")).expect(text);
            assert_eq!(event.pid, pid, "{text}");
            assert_eq!(event.process.as_deref(), process, "{text}");
        }
        // What follows is read behind them, however they are parted.
        let down = "pid=7 name=x NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 \
                    0x00000000 0x00000000 0x00000000 0x00000000)";
        let event = of(&format!("NVRM: Xid (PCI:0000:01:00): 149, {down}")).expect("149");
        let unit = event.nvlink5.and_then(|decoded| decoded.unit);
        assert_eq!(unit.as_deref(), Some("NETIR_LINK_EVT/NETIR_LINK_DOWN"));
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
                "NETIR_BER_EVENT Nonfatal XC0 i0 Link 03 (0x00086226 0x00000001 0x00000000 0x00000000 0x00000000 0x00000000)"
            ),
            (Severity::Warning, RemedyAction::CheckCable)
        );
    }
}
