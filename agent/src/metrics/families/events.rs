//! What the kernel log and the driver told, as counters: a gauge of the last code would stick and
//! hide repeats.
//!
//! # Invariants
//! - The number of samples is bounded whatever is written into the log: what a program wrote is
//!   counted by kind alone, and beyond [`SERIES`] the rest is one sample a kind.

use std::collections::BTreeMap;

use cupel_model::{EventKind, LogSource, PciAddress};

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::Parts;
use crate::metrics::text::{Sink, labels};
use crate::render::words::word;

/// Most samples of kernel events.
const SERIES: usize = 1024;

/// Code of what stands for several codes.
const SEVERAL: &str = "several";

pub(super) const GROUP: Group = Group {
    title: "Events",
    source: "kernel-log",
    families: &[
        Family::counter(
            "cupel_kernel_events_total",
            Unit::None,
            &["kind", "code", "gpu", "pci", "source"],
            "Messages of the kernel log of this boot that mean something, by kind (xid, sxid, aer, …), code (xid.79, …) and device. source is kernel, unknown, or user for what a program wrote into the log.",
            kernel_events,
        ),
        Family::counter(
            "cupel_driver_events_total",
            Unit::None,
            &["kind", "xid", "gpu", "pci"],
            "Events that GPUs reported to the NVIDIA driver since the service began, by kind (xid, double-bit-ecc, …) and GPU.",
            |at, out| {
                for (pci, index, kind, xid, count) in at.view.own.driver_events.iter() {
                    let xid = xid.map(|xid| xid.to_string()).unwrap_or_default();
                    let place = match pci {
                        Some(_) => at.labels_at(pci),
                        None => labels(&[("gpu", &index.to_string())]),
                    };
                    out.put(&place, &[("kind", kind), ("xid", &xid)], count);
                }
            },
        ),
        Family::gauge(
            "cupel_kernel_log_readable",
            Unit::None,
            &[],
            "1 if the kernel log could be read, 0 if not: then events are missing.",
            |at, out| {
                if let Some(snapshot) = at.snapshot {
                    let readable = out.value(&snapshot.kernel_log_records).is_some();
                    out.put("", &[], readable);
                }
            },
        ),
    ],
};

type Key<'a> = (EventKind, LogSource, Option<PciAddress>, &'a str);

fn kernel_events(at: &Parts<'_>, out: &mut Sink) {
    let mut counts: BTreeMap<Key<'_>, u64> = BTreeMap::new();
    let mut count = |key, repeats| {
        let sum: &mut u64 = counts.entry(key).or_default();
        *sum = sum.saturating_add(repeats);
    };
    for event in at.snapshot.iter().flat_map(|snapshot| &snapshot.kernel_log) {
        let (pci, code) = match event.source {
            LogSource::Kernel | LogSource::Unknown => (event.pci, event.code.as_str()),
            LogSource::User => (None, SEVERAL),
        };
        count((event.kind, event.source, pci, code), event.repeats);
    }
    let mut rest: BTreeMap<Key<'_>, u64> = BTreeMap::new();
    for (number, ((kind, source, pci, code), count)) in counts.into_iter().enumerate() {
        if number < SERIES && code != SEVERAL {
            put(at, out, (kind, source, pci, code), count);
        } else {
            let sum = rest.entry((kind, source, None, SEVERAL)).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    for (key, count) in rest {
        put(at, out, key, count);
    }
}

fn put(at: &Parts<'_>, out: &mut Sink, (kind, source, pci, code): Key<'_>, count: u64) {
    let (kind, source) = (word(&kind), word(&source));
    let labels = [("kind", &*kind), ("code", code), ("source", &*source)];
    out.put(&at.labels_at(pci), &labels, count);
}
