//! PCIe Advanced Error Reporting, Downstream Port Containment, and what recovery made of them.
//!
//! A report comes in lines: the root port's announcement, then of the device itself the layer and
//! severity, the status registers, the bits by name, the header of the packet.

use cupel_model::RemedyAction::{self, RebootNode, RunDiagnostic};
use cupel_model::Severity::{self, Critical, Info, Warning};
use cupel_model::{Event, EventKind, PciAddress};

use super::{Accept, Opened, Thread, address, device, event};

/// Code, severity and action.
type Judged = (&'static str, Severity, RemedyAction);

/// A report of one device that may go on.
#[derive(Debug)]
pub(crate) struct Report {
    /// Whose lines continue it; none where the announcement names no device.
    device: Option<PciAddress>,
    /// Whether the line with layer and severity has come.
    detailed: bool,
}

impl Report {
    pub fn offer(&mut self, event: &mut Event, message: &str) -> Accept {
        let Some((pci, rest)) = device(message) else {
            return Accept::No;
        };
        if self.device.is_some_and(|mine| mine != pci) {
            return Accept::No;
        }
        let text = rest.strip_prefix("AER:").unwrap_or(rest).trim_start();
        if let Some((code, severity, action)) = bus_error(text) {
            if self.detailed {
                return Accept::No;
            }
            self.detailed = true;
            self.device = Some(pci);
            if event.code != "pcie.dpc" {
                (event.code, event.severity, event.action) = (code.to_owned(), severity, action);
            }
            event.pci = event.pci.or(Some(pci));
            return Accept::More;
        }
        if self.device.is_none() {
            return Accept::No;
        }
        let detail = [
            "device [",
            "[",
            "TLP Header",
            "Error of this Agent",
            "aer_layer=",
            "aer_agent=",
        ]
        .iter()
        .any(|start| text.starts_with(start));
        if text.starts_with("aer_uncor_severity") {
            (event.code, event.severity, event.action) =
                ("pcie.aer-nonfatal".to_owned(), Warning, RunDiagnostic);
            return Accept::More;
        }
        let contained = event.code == "pcie.dpc" && rest.starts_with("DPC: ") && !announces(rest);
        if detail || contained {
            Accept::More
        } else {
            Accept::No
        }
    }
}

fn announces(rest: &str) -> bool {
    rest.starts_with("DPC: containment event")
}

/// Code, severity and action of the kernel's word for a severity.
fn by_word(text: &str) -> Option<Judged> {
    if text.starts_with("Correct") {
        Some(("pcie.aer-corrected", Info, RemedyAction::None))
    } else if text.starts_with("Uncorrect") && text.contains("(Non-Fatal)") {
        Some(("pcie.aer-nonfatal", Warning, RunDiagnostic))
    } else if text.starts_with("Uncorrect") && text.contains("(Fatal)") {
        Some(("pcie.aer-fatal", Critical, RebootNode))
    } else {
        None
    }
}

fn bus_error(text: &str) -> Option<Judged> {
    let severity = text.strip_prefix("PCIe Bus Error: severity=")?;
    by_word(severity.split(", ").next()?)
}

/// "[Multiple ]Corrected error [message ]received[: | from ]dddd:bb:dd.f": what, and where.
fn announcement(text: &str) -> Option<(Judged, Option<PciAddress>)> {
    let text = text.strip_prefix("Multiple ").unwrap_or(text);
    let (word, place) = text
        .split_once(" error received: ")
        .or_else(|| text.split_once(" error message received from "))?;
    let judged = by_word(word)?;
    Some((judged, address(place.split_ascii_whitespace().next()?)))
}

fn opened(pci: Option<PciAddress>, (code, severity, action): Judged, detailed: bool) -> Opened {
    let mut event = event(EventKind::Aer, code, severity, action);
    event.pci = pci;
    let thread = Some(Thread::Aer(Report {
        device: pci,
        detailed,
    }));
    Opened { event, thread }
}

pub(super) fn decode(message: &str) -> Option<Opened> {
    let (pci, rest) = device(message)?;
    let said = rest.strip_prefix("AER:").map(str::trim_start);
    if let Some(judged) = bus_error(said.unwrap_or(rest)) {
        return Some(opened(Some(pci), judged, true));
    }
    if let Some(text) = said {
        if let Some((judged, place)) = announcement(text) {
            return Some(opened(place, judged, false));
        }
        if text.starts_with("aer_status: ") {
            return Some(opened(
                Some(pci),
                ("pcie.aer-corrected", Info, RemedyAction::None),
                true,
            ));
        }
    }
    if announces(rest) {
        return Some(opened(Some(pci), ("pcie.dpc", Critical, RebootNode), false));
    }
    let text = said?;
    let (code, severity, action) = if text.starts_with("device recovery successful") {
        ("pcie.aer-recovered", Info, RemedyAction::None)
    } else if text.starts_with("device recovery failed") || text.contains("device reset failed") {
        ("pcie.aer-recovery-failed", Critical, RebootNode)
    } else {
        return None;
    };
    let mut event = event(EventKind::Aer, code, severity, action);
    event.pci = Some(pci);
    Some(event.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(lines: &[&str]) -> (Event, Vec<Accept>) {
        let Opened { mut event, thread } = decode(lines[0]).expect(lines[0]);
        let mut thread = thread.expect("goes on");
        let answers = lines[1..]
            .iter()
            .map(|line| thread.offer(&mut event, line))
            .collect();
        (event, answers)
    }

    #[test]
    fn a_report_is_one_event_of_its_device() {
        let (event, answers) = joined(&[
            "pcieport 0000:00:1c.0: AER: Multiple Uncorrected (Non-Fatal) error received: 0000:04:00.0",
            "nvme 0000:05:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
            "nvme 0000:04:00.0: AER: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Requester ID)",
            "nvme 0000:04:00.0: AER:   device [144d:a808] error status/mask=00004000/00000000",
            "nvme 0000:04:00.0: AER:    [14] CmpltTO                (First)",
            "nvme 0000:04:00.0: AER:   TLP Header: 04000001 0000000f 02070000 00000000",
            "nvme 0000:04:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
        ]);
        use Accept::{More, No};
        assert_eq!(answers, [No, More, More, More, More, No]);
        assert_eq!(event.code, "pcie.aer-nonfatal");
        assert_eq!(event.pci.expect("device").to_string(), "0000:04:00.0");
    }

    #[test]
    fn old_and_new_spellings() {
        for (message, code, pci) in [
            (
                "pcieport 0000:00:1c.0: AER: Correctable error message received from 0000:07:00.0",
                "pcie.aer-corrected",
                Some("0000:07:00.0"),
            ),
            (
                "pcieport 0000:00:1c.0: AER: Corrected error received: id=00e0",
                "pcie.aer-corrected",
                None,
            ),
            (
                "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer, id=00e0(Transmitter ID)",
                "pcie.aer-corrected",
                Some("0000:00:1c.0"),
            ),
            (
                "pcieport 0000:c0:01.1: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Requester ID)",
                "pcie.aer-fatal",
                Some("0000:c0:01.1"),
            ),
            (
                "pcieport 0000:00:1b.0: DPC: containment event, status:0x1f01 source:0x0000",
                "pcie.dpc",
                Some("0000:00:1b.0"),
            ),
            (
                "pcieport 0000:00:1b.0: AER: device recovery failed",
                "pcie.aer-recovery-failed",
                Some("0000:00:1b.0"),
            ),
            (
                "pcieport 0000:00:1b.0: AER: device recovery successful",
                "pcie.aer-recovered",
                Some("0000:00:1b.0"),
            ),
        ] {
            let event = decode(message).expect(message).event;
            assert_eq!(event.code, code, "{message}");
            assert_eq!(
                event.pci.map(|p| p.to_string()).as_deref(),
                pci,
                "{message}"
            );
        }
        assert!(decode("pcieport 0000:00:1b.0: AER: enabled with IRQ 24").is_none());
    }

    #[test]
    fn containment_stays_containment() {
        let (event, answers) = joined(&[
            "pcieport 0000:00:1b.0: DPC: containment event, status:0x1f01 source:0x0000",
            "pcieport 0000:00:1b.0: DPC: unmasked uncorrectable error detected",
            "pcieport 0000:00:1b.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Receiver ID)",
            "pcieport 0000:00:1b.0:   device [8086:06ac] error status/mask=00200000/00010000",
            "pcieport 0000:00:1b.0: DPC: containment event, status:0x1f01 source:0x0000",
        ]);
        assert_eq!(answers[..3], [Accept::More; 3]);
        assert_eq!(answers[3], Accept::No);
        assert_eq!(event.code, "pcie.dpc");
    }
}
