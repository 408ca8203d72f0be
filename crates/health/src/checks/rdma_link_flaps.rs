//! The link of an RDMA port goes down again and again, or went down and stays so.
//!
//! # What it checks
//! How often each port's link went down, by its own counter since boot and by the kernel log: three
//! times a day or more is a finding. A port that nothing says should be up, and that was up earlier
//! in this boot, is one while it is down; a port that should be up is left to `rdma.port-down`.
//!
//! # Why it matters
//! Each time the link trains anew, the jobs of all nodes that use it wait or end. One time is a
//! switch that rebooted; three are a cable, an optic or a port that is failing.
//!
//! # Remedy
//! 1. Compare with the other ports of the same switch: if all went down together, it was the switch.
//! 2. Check the cable and both of its ends; clean the optic.
//! 3. Exchange cable or transceiver with a good one; replace what the fault follows.
//!
//! # Sources
//! - InfiniBand Architecture Specification, `LinkDownedCounter`; mlx5's `Link down`.
//! - NVSentinel calls any increment fatal; a switch that reboots raises it on a whole leaf. Three a
//!   day is what operators use; it is unverified.

use cupel_model::{Event, EventKind, Evidence, Mode, PciAddress, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::rates::{a_day, named, rounded, times, told};
use crate::rdma_groups::{Port, ports, tell_unread};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "rdma.link-flaps";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::seconds(30, "a link that went down may train again"),
    basis: Basis::State,
    doc: module_doc!("rdma_link_flaps.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// So often a day. No published number.
const OFTEN: f64 = 3.0;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    tell_unread(context, &mut outcome);
    for port in &ports(context) {
        judge(context, port, &mut outcome);
    }
    outcome.not_here("no RDMA port");
    outcome
}

fn judge(context: &Context<'_>, port: &Port<'_>, outcome: &mut Outcome) {
    let short = port.short();
    let events = port
        .device
        .pci
        .get()
        .map_or_else(Vec::new, |pci| downs(context, pci));
    let counter = named(&port.port.counters, "link_downed");
    let counted = counter
        .and_then(|reading| outcome.need(&short, "link_downed", reading, false))
        .copied();
    let Some(state) = outcome.need(&short, "port state", &port.port.state, true) else {
        return;
    };
    // By the counter since boot; by the log between the first and the last.
    let uptime = &context.snapshot.node.uptime_seconds;
    let by_counter = counted.filter(|count| count.value > 0).and_then(|count| {
        let uptime = outcome.need("node", "uptime", uptime, true)?;
        Some(a_day(count.value, uptime.get()))
    });
    let by_log = recent(context, &events);
    let often = [by_counter, by_log]
        .into_iter()
        .flatten()
        .fold(0.0, f64::max);
    let was_up = counted.is_some_and(|count| count.value > 0) || !events.is_empty();
    let stays_down = was_up && !port.is_linked() && port.group.is_none();
    if often < OFTEN && !stays_down {
        return;
    }
    let name = port.name();
    let text = if often < OFTEN {
        format!("{name} was up earlier in this boot and is {state}")
    } else {
        format!(
            "The link of {name} went down {} times a day",
            rounded(often)
        )
    };
    outcome.uses(events.iter().map(|(at, _)| *at));
    let mut draft = Draft::warning(CODE, port.component(), text);
    if often >= OFTEN {
        draft = draft.evidence(
            Evidence::value("link_downs_a_day", rounded(often))
                .unit("1/d")
                .limit(OFTEN, "unverified"),
        );
    }
    if let Some(count) = counted {
        draft = draft.evidence(Evidence::value("link_downed", count.value));
    }
    draft = draft.evidence(Evidence::value("state", state.as_str()));
    if !events.is_empty() {
        draft = draft.evidence(Evidence::value("kernel_log_link_downs", times(&events)));
    }
    outcome.find(
        draft
            .human(
                RemedyAction::CheckCable,
                format!(
                    "If not all ports of the switch went down together, check the cable of {name} \
                     and both of its ends"
                ),
            )
            .human(
                RemedyAction::CleanOptic,
                format!("Clean the optic of {name}, then exchange cable or transceiver"),
            )
            .human(
                RemedyAction::ReplacePart,
                "Replace what the fault follows: cable, transceiver, adapter or switch port",
            ),
    );
}

/// What the kernel said of links of this function that went down.
fn downs<'a>(context: &Context<'a>, pci: PciAddress) -> Vec<(usize, &'a Event)> {
    told(context, |event| {
        event.kind == EventKind::Mlx5 && event.code == "mlx5.link-down" && event.pci == Some(pci)
    })
}

/// How often a day, if the last was within a day; folded events have a first and a last time.
fn recent(context: &Context<'_>, events: &[(usize, &Event)]) -> Option<f64> {
    let first = events
        .iter()
        .filter_map(|(_, e)| e.first.or(e.time))
        .min()?;
    let last = events.iter().filter_map(|(_, e)| e.last.or(e.time)).max()?;
    let ago = context.snapshot.taken_at.seconds_since(last);
    (ago <= DAY).then(|| a_day(times(events), last.seconds_since(first)))
}

#[cfg(test)]
fn counted(node: &mut crate::testing::Node, port: usize, downs: u64) {
    node.snapshot.rdma[port].ports[0].counters = vec![cupel_model::snapshot::NamedCounter {
        name: "link_downed".into(),
        value: cupel_model::Counter::with_width(downs, 8).into(),
    }];
}

#[cfg(test)]
fn log(node: &mut crate::testing::Node, repeats: u64, source: cupel_model::LogSource) {
    let mut event = crate::testing::xid(0, 0, "", None);
    event.kind = EventKind::Mlx5;
    event.xid = None;
    event.code = "mlx5.link-down".to_owned();
    event.source = source;
    event.pci = node.snapshot.rdma[1].pci.get();
    event.repeats = repeats;
    node.log(event);
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "no port ever went down",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "a switch rebooted",
        expect: Expect::Pass,
        change: |node| (0..4).for_each(|port| counted(node, port, 1)),
    },
    Case {
        name: "three times in a day",
        expect: Expect::Fail,
        change: |node| counted(node, 1, 3),
    },
    Case {
        name: "three times in ten days",
        expect: Expect::Pass,
        change: |node| {
            counted(node, 1, 3);
            node.snapshot.node.uptime_seconds = cupel_model::units::Seconds::new(864_000.0)
                .expect("finite")
                .into();
        },
    },
    Case {
        name: "so often that the counter is full",
        expect: Expect::Fail,
        change: |node| counted(node, 1, 255),
    },
    Case {
        name: "three times by the log",
        expect: Expect::Fail,
        change: |node| log(node, 3, cupel_model::LogSource::Kernel),
    },
    Case {
        name: "what a program wrote into the log",
        expect: Expect::Pass,
        change: |node| log(node, 30, cupel_model::LogSource::User),
    },
    Case {
        name: "went down once and stays so, and nobody counts on it",
        expect: Expect::Fail,
        change: |node| {
            node.platform = None;
            counted(node, 1, 1);
            node.snapshot.rdma[1].ports[0].state = "DOWN".to_owned().into();
        },
    },
    Case {
        name: "went down once and stays so, though it should be up",
        expect: Expect::Pass,
        change: |node| {
            counted(node, 1, 1);
            node.snapshot.rdma[1].ports[0].state = "DOWN".to_owned().into();
        },
    },
    Case {
        name: "never up, and nobody counts on it",
        expect: Expect::Pass,
        change: |node| {
            node.platform = None;
            node.snapshot.rdma[1].ports[0].state = "DOWN".to_owned().into();
        },
    },
    Case {
        name: "the counter cannot be read",
        expect: Expect::Unknown,
        change: |node| {
            counted(node, 1, 0);
            node.snapshot.rdma[1].ports[0].counters[0].value = cupel_model::Reading::failed("EIO");
        },
    },
    Case {
        name: "no adapter",
        expect: Expect::Skip,
        change: |node| node.snapshot.rdma.clear(),
    },
];
