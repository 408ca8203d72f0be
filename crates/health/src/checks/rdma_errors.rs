//! An RDMA port counts link errors faster than a good link does.
//!
//! # What it checks
//! Between two samples, the error counters of each port that is up in both: symbol errors, link error
//! recoveries, local link integrity errors, excessive buffer overruns, and slow restarts of RoCE. A
//! counter that went backwards is a new baseline; one that stands at its maximum is unknown. A port
//! that went down meanwhile is left to `rdma.link-flaps`: links that train make errors.
//!
//! # Why it matters
//! A link with errors resends: collective operations of all nodes of a job wait for it. It often goes
//! down later.
//!
//! # Remedy
//! 1. Check the cable and both of its ends.
//! 2. Clean the optic, then exchange the cable or transceiver with a good one.
//! 3. Replace what the fault follows: cable, transceiver or adapter.
//!
//! # Sources
//! - InfiniBand Architecture Specification, volume 1, PortCounters; Linux, `counters/` and
//!   `hw_counters/` of a port.
//! - Limits: NVSentinel's documentation. Its rules for `link_downed` and `rnr_nak_retry_err` are
//!   left out: a switch that reboots and an application that is slow raise them.
//! - That ten errors between two samples are a rate is unverified.

use cupel_model::snapshot::{RdmaPort, Snapshot};
use cupel_model::{Counter, Evidence, Mode, Reading, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::rates::{Interval, Moved, moved, named, rounded};
use crate::rdma_groups::{Port, ports, tell_unread};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect, trouble};

const CODE: &str = "rdma.errors";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::seconds(
        180,
        "one burst is seen for as long as the samples lie apart, up to two minutes",
    ),
    basis: Basis::State,
    doc: module_doc!("rdma_errors.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// Counters and how many of them an hour a link may have.
const LIMITS: [(&str, f64); 5] = [
    ("excessive_buffer_overrun_errors", 0.0),
    ("link_error_recovery", 300.0),
    ("local_link_integrity_errors", 0.0),
    ("roce_slow_restart", 36_000.0),
    ("symbol_error", 120.0),
];

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    tell_unread(context, &mut outcome);
    let all = ports(context);
    if all.is_empty() {
        outcome.not_here("no RDMA port");
        return outcome;
    }
    let interval = match Interval::of(context) {
        Ok(interval) => interval,
        Err(skipped) => return skipped,
    };
    for port in &all {
        judge(&interval, port, &mut outcome);
    }
    outcome
}

/// The same port in an earlier sample: devices may be renamed, functions stay where they are.
pub fn earlier<'a>(before: &'a Snapshot, port: &Port<'_>) -> Option<&'a RdmaPort> {
    let mut devices = before.rdma.iter();
    let device = devices.find(|device| device.pci.get() == port.device.pci.get())?;
    let mut ports = device.ports.iter();
    ports.find(|before| before.number == port.port.number)
}

fn judge(interval: &Interval<'_>, port: &Port<'_>, outcome: &mut Outcome) {
    let short = port.short();
    let Some(state) = outcome.need(&short, "port state", &port.port.state, true) else {
        return;
    };
    let before = earlier(interval.before, port);
    let was = before.and_then(|before| before.state.value());
    let Some(before) = before.filter(|_| state == "ACTIVE" && was == Some(state)) else {
        return;
    };
    let count = |port: &RdmaPort, name| named(&port.counters, name).and_then(Reading::get);
    if count(port.port, "link_downed") != count(before, "link_downed") {
        return;
    }
    let mut bad: Vec<(&str, f64, f64)> = Vec::new();
    for (name, limit) in LIMITS {
        let Some(reading) = named(&port.port.counters, name) else {
            continue;
        };
        let earlier: Option<Counter> = count(before, name);
        let Some(now) = outcome.need(&short, name, reading, false) else {
            continue;
        };
        match moved(*now, earlier) {
            Moved::By(more) if interval.exceeds(more, limit / 3600.0) => {
                bad.push((name, interval.per_second(more) * 3600.0, limit));
            }
            Moved::By(_) | Moved::Anew => {}
            Moved::Saturated => outcome.unknown(
                &short,
                format!("{name} stands at its maximum and tells no rate until it is reset"),
            ),
        }
    }
    if bad.is_empty() {
        return;
    }
    let name = port.name();
    let names: Vec<&str> = bad.iter().map(|(name, _, _)| *name).collect();
    let text = format!(
        "{name} counts link errors faster than a good link: {}",
        names.join(", ")
    );
    let mut draft = Draft::warning(CODE, port.component(), text);
    for (counter, rate, limit) in bad {
        draft = draft.evidence(
            Evidence::value(&format!("{counter}_rate"), rounded(rate))
                .unit("1/h")
                .limit(limit, "NVSentinel"),
        );
    }
    outcome.find(
        draft
            .human(
                RemedyAction::CheckCable,
                format!("Check the cable of {name} and the switch port at its other end"),
            )
            .human(
                RemedyAction::CleanOptic,
                format!("Clean the optic of {name}, then exchange cable or transceiver"),
            )
            .human(
                RemedyAction::ReplacePart,
                "Replace what the fault follows: cable, transceiver or adapter",
            ),
    );
}

/// Sets a counter of the second port, before and now.
#[cfg(test)]
fn counted(node: &mut crate::testing::Node, name: &str, before: Counter, now: Counter) {
    let set = |snapshot: &mut Snapshot, value: Counter| {
        let counters = &mut snapshot.rdma[1].ports[0].counters;
        counters.push(cupel_model::snapshot::NamedCounter {
            name: name.into(),
            value: value.into(),
        });
    };
    if node.snapshot.previous.is_none() {
        node.sample();
    }
    set(&mut node.snapshot, now);
    if let Some(previous) = &mut node.snapshot.previous {
        set(&mut previous.snapshot, before);
    }
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "one sample",
        expect: Expect::Skip,
        change: |_| {},
    },
    Case {
        name: "no error between the samples",
        expect: Expect::Pass,
        change: |node| {
            counted(
                node,
                "symbol_error",
                Counter::exact(9000),
                Counter::exact(9000),
            )
        },
    },
    Case {
        name: "a few symbol errors",
        expect: Expect::Pass,
        change: |node| counted(node, "symbol_error", Counter::exact(0), Counter::exact(9)),
    },
    Case {
        name: "many symbol errors",
        expect: Expect::Fail,
        change: |node| counted(node, "symbol_error", Counter::exact(0), Counter::exact(10)),
    },
    Case {
        name: "one link integrity error",
        expect: Expect::Fail,
        change: |node| {
            let name = "local_link_integrity_errors";
            counted(node, name, Counter::exact(1), Counter::exact(2));
        },
    },
    Case {
        name: "a counter that was reset",
        expect: Expect::Pass,
        change: |node| {
            counted(
                node,
                "symbol_error",
                Counter::exact(60_000),
                Counter::exact(200),
            )
        },
    },
    Case {
        name: "a counter at its maximum",
        expect: Expect::Unknown,
        change: |node| {
            let full = Counter::with_width(65_535, 16);
            counted(node, "symbol_error", Counter::exact(60_000), full);
        },
    },
    Case {
        name: "a slow application, and acknowledgements that were repeated",
        expect: Expect::Pass,
        change: |node| {
            counted(
                node,
                "rnr_nak_retry_err",
                Counter::exact(0),
                Counter::exact(900),
            )
        },
    },
    Case {
        name: "a link that trained meanwhile",
        expect: Expect::Pass,
        change: |node| {
            counted(node, "symbol_error", Counter::exact(0), Counter::exact(900));
            counted(node, "link_downed", Counter::exact(0), Counter::exact(1));
        },
    },
    Case {
        name: "a port that was down before",
        expect: Expect::Pass,
        change: |node| {
            counted(node, "symbol_error", Counter::exact(0), Counter::exact(900));
            if let Some(previous) = &mut node.snapshot.previous {
                previous.snapshot.rdma[1].ports[0].state = "DOWN".to_owned().into();
            }
        },
    },
    Case {
        name: "no adapter can be read",
        expect: Expect::Unknown,
        change: |node| {
            node.snapshot.rdma.clear();
            trouble(node, "rdma", "/sys/class/infiniband: Permission denied");
        },
    },
];
