//! Processors that should run are offline.
//!
//! # What it checks
//! That as many logical processors are online as the machine has: those that the kernel calls
//! possible, or those that SMBIOS counts in populated sockets, whichever is fewer. Where the kernel
//! command line keeps some back on purpose (`nosmt`, `maxcpus=`, `nr_cpus=`) it is skipped.
//!
//! # Why it matters
//! A processor that firmware or the kernel has taken out is often one that reported errors, and
//! with it go its share of memory bandwidth and the GPUs' nearest cores.
//!
//! # Remedy
//! 1. See in the kernel log and the management controller's event log why it went offline.
//! 2. Reboot the node: firmware tests every core.
//! 3. Replace the processor if it stays away.
//!
//! # Sources
//! - NVIDIA Health Validation (2026): online processors other than possible ones are critical.
//! - Linux, Documentation/admin-guide/cputopology.rst: `online`, `possible`.

use cupel_model::{Component, ComponentKind, Evidence, Mode, RemedyAction};

use crate::context::Context;
use crate::doc::module_doc;
use crate::draft::Draft;
use crate::outcome::Outcome;
use crate::registry::{Basis, Check, Window};
#[cfg(test)]
use crate::testing::{Case, Expect};

const CODE: &str = "cpu.offline";

/// The check.
pub const CHECK: Check = Check {
    code: CODE,
    mode: Mode::Enforce,
    window: Window::none("the kernel keeps the list; a core that is offline stays so"),
    basis: Basis::State,
    doc: module_doc!("cpu_offline.rs"),
    evaluate,
    #[cfg(test)]
    cases: CASES,
};

fn evaluate(context: &Context<'_>) -> Outcome {
    let cpus = &context.snapshot.cpus;
    let line = context.snapshot.kernel.command_line.value();
    let kept_back = line
        .into_iter()
        .flat_map(|line| line.split_whitespace())
        .find(|word| {
            *word == "nosmt"
                || word.starts_with("nosmt=")
                || word.starts_with("maxcpus=")
                || word.starts_with("nr_cpus=")
        });
    if let Some(word) = kept_back {
        return Outcome::skipped(format!("the kernel command line says {word}"));
    }
    let mut outcome = Outcome::default();
    let online = outcome
        .need("processors", "online", &cpus.online_count, true)
        .copied();
    let possible = outcome
        .need("processors", "possible", &cpus.possible_count, true)
        .copied();
    let (Some(online), Some(possible)) = (online, possible) else {
        return outcome;
    };
    // Firmware often leaves room for processors that are not there: SMBIOS knows how many are.
    let threads: Option<u32> = cpus
        .sockets
        .iter()
        .filter(|socket| socket.populated.get() != Some(false))
        .map(|socket| socket.threads.get())
        .try_fold(0_u32, |sum, threads| Some(sum.saturating_add(threads?)));
    let (limit, source) = match threads {
        Some(threads) if threads > 0 && threads < possible => (threads, "SMBIOS type 4"),
        Some(_) | None => (possible, "/sys/devices/system/cpu/possible"),
    };
    if online >= limit {
        return outcome;
    }
    let away = limit - online;
    let list = cpus.online.value().cloned().unwrap_or_default();
    outcome.find(
        Draft::critical(
            CODE,
            Component::of(ComponentKind::Cpu),
            format!("{away} of {limit} logical processors are offline (online: {list})"),
        )
        .evidence(Evidence::value("online_count", online).limit(limit, source))
        .human(
            RemedyAction::RunDiagnostic,
            "Look in the kernel log and the management controller's event log for why processors \
             went offline",
        )
        .opt_in(
            RemedyAction::RebootNode,
            "Reboot the node, so that firmware tests every core",
        )
        .human(
            RemedyAction::ReplacePart,
            "Replace the processor whose cores stay offline",
        ),
    );
    outcome
}

#[cfg(test)]
const CASES: &[Case] = &[
    Case {
        name: "all online",
        expect: Expect::Pass,
        change: |_| {},
    },
    Case {
        name: "firmware leaves room for more sockets",
        expect: Expect::Pass,
        change: |node| node.snapshot.cpus.possible_count = 512.into(),
    },
    Case {
        name: "two offline",
        expect: Expect::Fail,
        change: |node| node.snapshot.cpus.online_count = 222.into(),
    },
    Case {
        name: "unreadable",
        expect: Expect::Unknown,
        change: |node| node.snapshot.cpus.online_count = cupel_model::Reading::failed("EIO"),
    },
    Case {
        name: "kept back on purpose",
        expect: Expect::Skip,
        change: |node| {
            node.snapshot.cpus.online_count = 112.into();
            node.snapshot.kernel.command_line = "ro nosmt".to_owned().into();
        },
    },
];
