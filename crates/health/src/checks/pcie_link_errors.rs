//! A PCIe link repeats what it sends, faster than a good link does.
//!
//! # What it checks
//! Between two samples, for each GPU, NVSwitch, RDMA adapter and NVMe drive: the replays that the
//! GPU's driver counts, and the corrected errors of the link itself (`RxErr`, `BadTLP`, `BadDLLP`,
//! `Rollover`, `Timeout`) that AER counts at both of its ends. What a good link may have depends on
//! its lanes and its generation. Where the kernel does not own AER nothing is visible there.
//!
//! # Why it matters
//! Replays cost bandwidth and are the first sign of a loose card, a dirty contact or a weak retimer;
//! the next one is a narrower link, or a device that falls off the bus.
//!
//! # Remedy
//! 1. Take the part out, clean and inspect its contacts, put it back; check risers and cables.
//! 2. Bring the firmware of board and retimers to the baseline.
//! 3. Replace the part, or the riser that the fault stays with.
//!
//! # Sources
//! - DCGM's limits for PCIe replays, a minute and lane: 0.15, 0.3, 0.48, 0.96, 1.92 and 3.84 for
//!   generations 1 to 6. That they hold for AER's counters too is unverified.
//! - NVML, `nvmlDeviceGetPcieReplayCounter`; Linux, `aer_dev_correctable`.
//! - That ten errors between two samples are a rate is unverified.

use cupel_model::snapshot::{PciDevice, Snapshot};
use cupel_model::units::GigatransfersPerSecond;
use cupel_model::{Evidence, Mode, Reading, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::links::{Linked, gpus_unseen, linked};
use crate::outcome::Outcome;
use crate::rates::{Interval, Moved, moved, named, rounded};
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "pcie.link-errors";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Observe,
    window: Window::seconds(
        180,
        "one burst is seen for as long as the samples lie apart, up to two minutes",
    ),
    basis: Basis::State,
    doc: module_doc!("pcie_link_errors.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

/// GT/s up to which a generation goes, and its replays a minute and lane (DCGM).
const LIMITS: [(f64, f64); 6] = [
    (2.5, 0.15),
    (5.0, 0.3),
    (8.0, 0.48),
    (16.0, 0.96),
    (32.0, 1.92),
    (64.0, 3.84),
];

/// Corrected errors of the link itself, as AER names them.
const OF_THE_LINK: [&str; 5] = ["RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout"];

fn evaluate(context: &Context<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let all = linked(context);
    if all.is_empty() {
        gpus_unseen(context, &mut outcome);
        outcome.not_here("no PCIe device to judge");
        return outcome;
    }
    let interval = match Interval::of(context) {
        Ok(interval) => interval,
        Err(skipped) => return skipped,
    };
    for link in all.iter().filter(|link| !link.has_no_link()) {
        judge(&interval, link, &mut outcome);
    }
    gpus_unseen(context, &mut outcome);
    outcome.not_here("no link whose errors are counted");
    outcome
}

fn judge(interval: &Interval<'_>, link: &Linked<'_, '_>, outcome: &mut Outcome) {
    let counts = counts(interval, link, outcome);
    let Some(most) = counts.iter().map(|(_, count)| *count).max() else {
        outcome.not_here("neither the driver nor AER counts errors of the link");
        return;
    };
    outcome.judged();
    if most == 0 {
        return;
    }
    let lanes = link.device.map(|device| &device.current_width);
    let speed = link.device.map(|device| &device.current_speed_gts);
    let (Some(lanes), Some(speed)) = (lanes, speed) else {
        outcome.unknown(&link.short, "its PCIe link is not listed");
        return;
    };
    let lanes = outcome.need(&link.short, "link width", lanes, true);
    let speed = outcome.need(&link.short, "link speed", speed, true);
    let (Some(lanes), Some(speed)) = (lanes, speed) else {
        return;
    };
    // The link may have been faster in the sample before: the higher limit holds.
    let limit = a_minute(*speed).max(before(interval.before, link).map_or(0.0, a_minute))
        * f64::from(*lanes);
    if !interval.exceeds(most, limit / 60.0) {
        return;
    }
    let text = format!(
        "The PCIe link of {} repeats transfers faster than a good link",
        link.name
    );
    let mut draft = Draft::warning(CODE, link.component.clone(), text);
    for (name, count) in counts {
        draft = draft.evidence(
            Evidence::value(name, rounded(interval.per_second(count) * 60.0))
                .unit("1/min")
                .limit(rounded(limit), format!("DCGM, {speed} on {lanes} lanes")),
        );
    }
    outcome.find(
        draft
            .human(
                RemedyAction::Reseat,
                format!(
                    "Take out {}, clean and inspect its contacts, and put it back; check risers and \
                     cables",
                    link.name
                ),
            )
            .human(
                RemedyAction::UpdateFirmware,
                "Bring the firmware of board and retimers to this node's baseline",
            )
            .human(RemedyAction::ReplacePart, format!("Replace {}", link.name)),
    );
}

/// What each witness counted between the samples.
fn counts(
    interval: &Interval<'_>,
    link: &Linked<'_, '_>,
    outcome: &mut Outcome,
) -> Vec<(&'static str, u64)> {
    let mut counts = Vec::new();
    if let Some(part) = link
        .gpu
        .filter(|part| part.gpu.in_driver.get() == Some(true))
    {
        let mut gpus = interval.before.gpus.iter();
        let before =
            gpus.find(|gpu| gpu.pci.get().is_some() && gpu.pci.get() == part.gpu.pci.get());
        let reading = &part.gpu.pcie.replay_count;
        if let Some(now) = outcome.need(&link.short, "replays", reading, false)
            && let Moved::By(count) =
                moved(*now, before.and_then(|gpu| gpu.pcie.replay_count.get()))
        {
            counts.push(("replay_rate", count));
        }
    }
    let ends = [
        ("aer_rate", link.device),
        ("aer_rate_of_the_port_above", link.upstream),
    ];
    for (name, end) in ends {
        if let Some(end) = end
            && let Some(count) = by_aer(interval, end, &link.short, outcome)
        {
            counts.push((name, count));
        }
    }
    counts
}

/// Corrected errors of the link that AER counted at one end.
fn by_aer(
    interval: &Interval<'_>,
    end: &PciDevice,
    short: &str,
    outcome: &mut Outcome,
) -> Option<u64> {
    let now = outcome.need(short, "AER", &end.aer, false)?;
    let mut functions = interval.before.pci.iter();
    let before = functions.find(|function| function.address == end.address)?;
    let before = before.aer.value()?;
    let mut sum = 0_u64;
    for name in OF_THE_LINK {
        let name = format!("correctable/{name}");
        let count = |counters| named(counters, &name).and_then(Reading::get);
        if let Some(now) = count(now)
            && let Moved::By(more) = moved(now, count(before))
        {
            sum = sum.saturating_add(more);
        }
    }
    Some(sum)
}

/// Speed of the same link in an earlier sample.
fn before(snapshot: &Snapshot, link: &Linked<'_, '_>) -> Option<GigatransfersPerSecond> {
    let address = link.device?.address;
    let mut functions = snapshot.pci.iter();
    functions
        .find(|function| function.address == address)?
        .current_speed_gts
        .get()
}

/// Replays a minute and lane that a good link of this speed may have.
fn a_minute(speed: GigatransfersPerSecond) -> f64 {
    let known = LIMITS.iter().find(|(most, _)| speed.get() <= *most + 0.1);
    known.or(LIMITS.last()).map_or(0.0, |(_, limit)| *limit)
}

#[cfg(test)]
fn replays(node: &mut crate::testing::Node, before: u64, now: u64) {
    node.gpu(2).pcie.replay_count = cupel_model::Counter::exact(before).into();
    node.sample();
    node.gpu(2).pcie.replay_count = cupel_model::Counter::exact(now).into();
}

#[cfg(test)]
fn aer(node: &mut crate::testing::Node, name: &str, now: u64) {
    let set = |node: &mut crate::testing::Node, count| {
        let mut functions = node.snapshot.pci.iter_mut();
        let function = functions.find(|f| f.address == crate::testing::gpu_pci(2));
        function.expect("the GPU").aer = vec![cupel_model::snapshot::NamedCounter {
            name: format!("correctable/{name}").into(),
            value: cupel_model::Counter::exact(count).into(),
        }]
        .into();
    };
    set(node, 100);
    node.sample();
    set(node, 100 + now);
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "one sample",
        expect: Expect::Skip,
        change: |_| {},
    },
    Case {
        name: "no replay",
        expect: Expect::Pass,
        change: |node| replays(node, 900, 900),
    },
    // 16 lanes at 32 GT/s may have 30.7 a minute, 5.1 in ten seconds: ten is more than a handful.
    Case {
        name: "nine replays in ten seconds",
        expect: Expect::Pass,
        change: |node| replays(node, 0, 9),
    },
    Case {
        name: "ten replays in ten seconds",
        expect: Expect::Fail,
        change: |node| replays(node, 0, 10),
    },
    Case {
        name: "the driver was loaded anew",
        expect: Expect::Pass,
        change: |node| replays(node, 900, 100),
    },
    Case {
        name: "bad packets by AER",
        expect: Expect::Fail,
        change: |node| aer(node, "BadTLP", 400),
    },
    Case {
        name: "errors that are not the link's",
        expect: Expect::Pass,
        change: |node| aer(node, "NonFatalErr", 400),
    },
    Case {
        name: "AER cannot be read",
        expect: Expect::Unknown,
        change: |node| {
            node.sample();
            node.snapshot.pci[0].aer = Reading::failed("EIO");
        },
    },
    Case {
        name: "firmware hides AER",
        expect: Expect::Pass,
        change: |node| {
            for function in &mut node.snapshot.pci {
                function.aer = Reading::absent("not visible to the kernel");
            }
            node.sample();
        },
    },
    Case {
        name: "no device",
        expect: Expect::Skip,
        change: crate::testing::empty_bus,
    },
];
