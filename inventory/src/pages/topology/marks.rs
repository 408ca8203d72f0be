//! How a drawn part is marked: well, idle, sick with a code, or not readable.
//!
//! # Invariants
//! - A part that could not be read is never drawn as well.

use cupel_model::wire::Tracked;
use cupel_model::{ComponentKind, Finding, PciAddress, Severity};

use crate::pages::text::cut;

/// State of a drawn part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Read, and nothing is wrong.
    Well,
    /// Not in use: a port without a link that nobody expects to have one.
    Idle,
    /// A finding of warning or above names it.
    Sick(Severity, String),
    /// It could not be read, or is gone, and no finding says so.
    Unread(String),
}

impl Mark {
    /// CSS class.
    pub(super) fn tone(&self) -> &'static str {
        match self {
            Self::Well => "good",
            Self::Idle => "quiet",
            Self::Sick(Severity::Critical, _) => "bad",
            Self::Sick(Severity::Warning | Severity::Info, _) => "warn",
            Self::Unread(_) => "unk",
        }
    }

    /// Symbol, and the word behind it where the part has none of its own.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Well => "✓".to_owned(),
            Self::Idle => "·".to_owned(),
            Self::Sick(Severity::Critical, code) => format!("✕ {}", cut(code, 24)),
            Self::Sick(Severity::Warning | Severity::Info, code) => {
                format!("! {}", cut(code, 24))
            }
            Self::Unread(_) => "? unreadable".to_owned(),
        }
    }

    /// Whether it is sick.
    pub(super) fn is_sick(&self) -> bool {
        matches!(self, Self::Sick(_, _))
    }
}

/// The findings of a node that can mark a part.
pub(super) struct Marks<'a> {
    findings: Vec<&'a Finding>,
}

impl<'a> Marks<'a> {
    pub(super) fn of(findings: &'a [Tracked]) -> Self {
        let mut findings: Vec<_> = findings
            .iter()
            .map(|tracked| &tracked.finding)
            .filter(|finding| finding.severity >= Severity::Warning)
            .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self { findings }
    }

    fn worst(&self, fits: impl Fn(&Finding) -> bool) -> Option<Mark> {
        let found = self.findings.iter().find(|finding| fits(finding))?;
        Some(Mark::Sick(found.severity, found.code.clone()))
    }

    /// What names a device by its PCI address or serial.
    pub(super) fn device(
        &self,
        kinds: &[ComponentKind],
        pci: Option<PciAddress>,
        serial: Option<&str>,
    ) -> Option<Mark> {
        self.worst(|finding| {
            let component = &finding.component;
            let same_serial = serial.is_some() && component.serial.as_deref() == serial;
            let same_pci = matches!((component.pci, pci), (Some(a), Some(b)) if a == b);
            kinds.contains(&component.kind)
                && (same_pci || (same_serial && component.pci.is_none()))
        })
    }

    /// What names one port of an adapter.
    pub(super) fn port(&self, pci: Option<PciAddress>, port: u32) -> Option<Mark> {
        self.worst(|finding| {
            let component = &finding.component;
            let kinds = [
                ComponentKind::Rdma,
                ComponentKind::Nic,
                ComponentKind::Optic,
                ComponentKind::Pcie,
            ];
            let same = matches!((component.pci, pci), (Some(a), Some(b)) if a == b);
            let port_fits = component.kind == ComponentKind::Pcie
                || component.index.is_none_or(|index| index == port);
            kinds.contains(&component.kind) && same && port_fits
        })
    }

    /// Whether a finding names this NVLink of the GPU.
    pub(super) fn nvlink(&self, pci: Option<PciAddress>, link: u32) -> bool {
        self.findings.iter().any(|finding| {
            let component = &finding.component;
            component.kind == ComponentKind::Nvlink
                && component.index == Some(link)
                && component.pci.is_some()
                && component.pci == pci
        })
    }
}
