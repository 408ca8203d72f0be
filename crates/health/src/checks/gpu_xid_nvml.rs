//! XIDs that NVML reported between two samples, for where the kernel log does not have them: in a
//! container, or once its buffer has lost them.
//!
//! # Invariants
//! - An XID of a GPU that the kernel log has is the kernel log's alone: nothing counts twice.
//!
//! # What is absent
//! What only the log's text tells: the process, the recovery that XID 154 asks for, the unit of an
//! NVLink error.

use cupel_kernel_log::catalogue;
use cupel_model::event::CatalogueActions;
use cupel_model::snapshot::{GpuEvent, Snapshot};
use cupel_model::{Event, EventKind, LogSource, RemedyAction, Severity};

/// What NVML reported and the kernel log does not have, as the events that the log would have given.
pub fn not_in_log(snapshot: &Snapshot) -> Vec<Event> {
    let events = snapshot.gpu_events.value().into_iter().flatten();
    events
        .filter_map(|event| Some((event, event.xid?)))
        .filter(|(event, code)| !has(snapshot, event, *code))
        .map(|(event, code)| as_logged(event, code))
        .collect()
}

/// Whether the kernel wrote of this XID of this GPU, or of one that it did not name.
fn has(snapshot: &Snapshot, event: &GpuEvent, code: u32) -> bool {
    snapshot.kernel_log.iter().any(|logged| {
        let same = match (logged.pci, event.pci.get()) {
            (Some(logged), Some(own)) => own.same_device(logged),
            (None, _) | (_, None) => true,
        };
        logged.xid == Some(code) && logged.source != LogSource::User && same
    })
}

fn as_logged(event: &GpuEvent, code: u32) -> Event {
    let entry = catalogue::xid(code);
    let text = |cell: Option<&'static str>| cell.map(str::to_owned);
    let pci = event.pci.get();
    let place = pci.map_or_else(|| format!("GPU {}", event.index), |pci| pci.to_string());
    Event {
        time: Some(event.time),
        source: LogSource::Kernel,
        kind: EventKind::Xid,
        pci,
        mig: None,
        xid: Some(code),
        sxid: None,
        mnemonic: entry.and_then(|entry| text(entry.mnemonic)),
        nvidia: entry.map(|entry| CatalogueActions {
            immediate: text(entry.immediate),
            investigatory: text(entry.investigatory),
        }),
        nvlink5: None,
        code: format!("xid.{code}"),
        action: RemedyAction::None,
        severity: Severity::Info,
        pid: None,
        process: None,
        repeats: event.repeats,
        first: Some(event.time),
        last: Some(event.time),
        raw: format!("XID {code} of {place}"),
    }
}
