//! What one XID means for a GPU: an event of a job, or a condition that someone must act on.
//!
//! # Invariants
//! - NVIDIA's published action decides, except for the codes whose rules are written out here.
//! - A code without a published action is never taken for harmless.

use cupel_kernel_log::catalogue::recovery::RecoveryAction;
use cupel_model::event::Nvlink5Layout;
use cupel_model::{Event, RemedyAction, Severity};

/// What an XID is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It happened; nothing to do.
    Event,
    /// A job's own doing, until it repeats across jobs.
    Application,
    /// A condition of the GPU.
    Condition(Rule),
}

/// How a condition is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How bad it is.
    pub severity: Severity,
    /// The mildest step that helps.
    pub action: RemedyAction,
    /// What happened, in a few words.
    pub meaning: &'static str,
}

const fn critical(action: RemedyAction, meaning: &'static str) -> Class {
    Class::Condition(Rule {
        severity: Severity::Critical,
        action,
        meaning,
    })
}

const fn warning(action: RemedyAction, meaning: &'static str) -> Class {
    Class::Condition(Rule {
        severity: Severity::Warning,
        action,
        meaning,
    })
}

/// What this XID is by itself.
pub fn class(event: &Event) -> Class {
    let Some(code) = event.xid else {
        return Class::Event;
    };
    let published = event
        .nvidia
        .as_ref()
        .map(|nvidia| nvidia.immediate.as_deref());
    match code {
        // 45 is also what an interrupted job leaves; 63 waits for a convenient reset; 121 was
        // corrected; 79 is the check gpu.off-bus.
        45 | 63 | 79 | 121 => Class::Event,
        43 => Class::Application,
        48 => critical(RemedyAction::ResetGpu, "an uncorrectable memory error"),
        64 => critical(RemedyAction::ResetGpu, "a failed row remapping"),
        74 => warning(RemedyAction::ResetGpu, "an NVLink error"),
        94 => warning(
            RemedyAction::RestartApp,
            "a memory error contained to one application",
        ),
        95 => critical(RemedyAction::ResetGpu, "an uncontained memory error"),
        119 | 120 => critical(RemedyAction::ResetGpu, "a failure of its firmware (GSP)"),
        144..=150 => nvlink5(event),
        154 => recovery(&event.raw),
        _ => match published {
            Some(Some(action)) => by_action(action),
            Some(None) => warning(
                RemedyAction::ContactVendor,
                "an error for which NVIDIA has published no action",
            ),
            None => warning(
                RemedyAction::ContactVendor,
                "an error that NVIDIA's catalogue does not list",
            ),
        },
    }
}

/// NVIDIA's resolution bucket as a class.
fn by_action(action: &str) -> Class {
    match action {
        "IGNORE" => Class::Event,
        // Without an XID 154 beside it, an application's restart is what this one asks for.
        "RESTART_APP" | "XID_154_EVAL" => Class::Application,
        "RESET_GPU" => critical(RemedyAction::ResetGpu, "an error that only a reset clears"),
        "RESTART_BM" => critical(
            RemedyAction::RebootNode,
            "an error that only a reboot clears",
        ),
        "RESTART_VM" => warning(
            RemedyAction::RestartApp,
            "an error that needs its virtual machine restarted",
        ),
        "CHECK_MECHANICALS" => critical(RemedyAction::Reseat, "a power or seating fault"),
        "UPDATE_SWFW" => warning(
            RemedyAction::UpdateDriver,
            "an error of its software or firmware versions",
        ),
        _ => warning(
            RemedyAction::ContactVendor,
            "an error that NVIDIA's support should see",
        ),
    }
}

fn nvlink5(event: &Event) -> Class {
    const UNDECODED: Class = warning(
        RemedyAction::ContactVendor,
        "an NVLink error that could not be decoded",
    );
    let Some(decoded) = &event.nvlink5 else {
        return UNDECODED;
    };
    let named = |action: Option<&str>| match action.map(by_action) {
        Some(Class::Condition(rule)) => Class::Condition(Rule {
            meaning: "an NVLink error",
            ..rule
        }),
        Some(other) => other,
        None => UNDECODED,
    };
    if decoded.layout != Nvlink5Layout::Ambiguous {
        return named(decoded.immediate.as_deref());
    }
    let mut readings = decoded
        .candidates
        .iter()
        .map(|one| named(one.immediate.as_deref()));
    let Some(first) = readings.next() else {
        return UNDECODED;
    };
    if readings.all(|other| other == first) {
        first
    } else {
        warning(
            RemedyAction::UpdateDriver,
            "an NVLink error that reads differently by driver version",
        )
    }
}

/// XID 154 says in words which recovery the driver asks for now.
fn recovery(raw: &str) -> Class {
    let Some(action) = RecoveryAction::from_message(raw) else {
        return warning(
            RemedyAction::ContactVendor,
            "a recovery that this cupel does not know",
        );
    };
    let meaning = match action {
        RecoveryAction::None => return Class::Event,
        RecoveryAction::GpuReset => "that it must be reset",
        RecoveryAction::NodeReboot | RecoveryAction::SystemReboot => {
            "that the node must be rebooted"
        }
        RecoveryAction::DrainP2p => "that its peer traffic must be drained",
        RecoveryAction::DrainAndReset => "that it must be drained and reset",
        RecoveryAction::RecoverImexDomain => "that its IMEX domain must be recovered",
        RecoveryAction::BusReset => "that its PCI bus must be reset",
    };
    Class::Condition(Rule {
        severity: action.severity(),
        action: action.remedy(),
        meaning,
    })
}

/// The class of a code whose published action decides; `None` when none is published.
fn listed(code: u32, published: Option<Option<&str>>) -> Option<Class> {
    if code == 43 {
        return Some(Class::Application);
    }
    published.flatten().map(by_action)
}

/// Why a code matters for work on the node, in words, for `explain`.
pub fn importance(code: u32, published: Option<Option<&str>>) -> &'static str {
    const EVENT: &str = "By itself it asks for nothing; beside other errors it helps to tell when \
                         they began and what followed from what.";
    const APPLICATION: &str = "Most often the job's own fault: a fleet that drains nodes for it \
                               loses them for nothing.";
    const CRITICAL: &str = "Work on the GPU has failed or will fail, and its results may be wrong: \
                            the node should get no work until this is done.";
    const WARNING: &str = "The GPU may go on; someone should look before it fails a job.";
    match code {
        45 | 63 | 121 => EVENT,
        48 | 64 | 79 | 95 | 119 | 120 => CRITICAL,
        74 | 94 => WARNING,
        144..=150 | 154 => {
            "From nothing to do up to a reset or reboot: the rest of the line says which."
        }
        _ => match listed(code, published) {
            Some(Class::Event) => EVENT,
            Some(Class::Application) => APPLICATION,
            Some(Class::Condition(rule)) if rule.severity == Severity::Critical => CRITICAL,
            Some(Class::Condition(_)) | None => WARNING,
        },
    }
}

/// What Cupel makes of a code, in words, for `explain`. `published` is NVIDIA's immediate action;
/// `None` when the catalogue does not list the code.
pub fn in_words(code: u32, published: Option<Option<&str>>) -> String {
    let own = match code {
        45 => {
            "An interrupted job leaves it too: recorded, and raises nothing alone; after another \
               XID it is that one's consequence."
        }
        48 => "Critical: reset the GPU; with XID 63 or 64 beside it drain the node, then reset.",
        63 => {
            "Recorded: the row is replaced by the next reset, at a convenient time \
               (gpu.row-remap-pending)."
        }
        64 => "Critical: reset the GPU, then replace it.",
        74 => "Warning: reset the GPU with its fabric once idle, then run a diagnostic.",
        79 => {
            "Critical: the finding gpu.off-bus, with a ladder of reboot, power-cycle, reseat, \
               replace."
        }
        94 => "Warning: start the application that was hit again; reset the GPU when convenient.",
        95 => "Critical: reset the GPU.",
        119 | 120 => "Critical: reset the GPU; look at driver and GSP firmware if it returns.",
        121 => "Recorded: the error was corrected.",
        144..=150 => "Decoded by the driver's version: the sub-code's published action decides.",
        154 => "What its text says; the latest counts, and an unknown text needs a person.",
        _ => "",
    };
    if !own.is_empty() {
        return own.to_owned();
    }
    let Some(class) = listed(code, published) else {
        return "Warning: there is no published action, so a person must look.".to_owned();
    };
    match class {
        Class::Event => "Recorded; raises nothing by itself.".to_owned(),
        Class::Application => "An application's own error: recorded, until three processes ran \
                               into it on one GPU and not on half of all."
            .to_owned(),
        Class::Condition(rule) => {
            let severity = match rule.severity {
                Severity::Critical => "Critical",
                Severity::Warning => "Warning",
                Severity::Info => "Information",
            };
            format!("{severity}: {}.", rule.meaning)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::xid;

    fn action(class: Class) -> Option<(Severity, RemedyAction)> {
        match class {
            Class::Condition(rule) => Some((rule.severity, rule.action)),
            Class::Event | Class::Application => None,
        }
    }

    #[test]
    fn what_nvidia_publishes_decides() {
        assert_eq!(class(&xid(0, 92, "IGNORE", None)), Class::Event);
        assert_eq!(class(&xid(0, 13, "RESTART_APP", None)), Class::Application);
        assert_eq!(
            action(class(&xid(0, 109, "RESET_GPU", None))),
            Some((Severity::Critical, RemedyAction::ResetGpu))
        );
    }

    #[test]
    fn a_blank_or_missing_action_is_not_harmless() {
        let mut blank = xid(0, 167, "IGNORE", None);
        blank.nvidia.as_mut().expect("given").immediate = None;
        for event in [blank, xid(0, 999, "", None)] {
            assert_eq!(
                action(class(&event)),
                Some((Severity::Warning, RemedyAction::ContactVendor))
            );
        }
    }

    #[test]
    fn the_text_of_154_decides_and_an_unknown_text_needs_a_person() {
        for (text, wanted) in [
            (
                "changed from 0x0 (None) to 0x1 (GPU Reset Required)",
                Some(RemedyAction::ResetGpu),
            ),
            (
                "changed from 0x0 (None) to 0x2 (Node Reboot Required)",
                Some(RemedyAction::RebootNode),
            ),
            (
                "changed from 0x0 (None) to 0x4 (Drain and Reset)",
                Some(RemedyAction::Drain),
            ),
            ("changed from 0x1 (GPU Reset Required) to 0x0 (None)", None),
            (
                "changed from 0x0 (None) to 0x9 (Sing)",
                Some(RemedyAction::ContactVendor),
            ),
        ] {
            let mut event = xid(0, 154, "XID_154", None);
            event.raw = format!("NVRM: Xid (PCI:0000:19:00): 154, GPU recovery action {text}");
            assert_eq!(
                action(class(&event)).map(|(_, action)| action),
                wanted,
                "{text}"
            );
        }
    }
}
