//! What and where a node is, beside its findings.

use cupel_model::enrolment::KeyProtection;
use cupel_model::snapshot::{Snapshot, Tenancy};
use maud::{Markup, html};

use crate::pages::href;
use crate::pages::text::{count, cut, elided, maybe, maybe_time, reading, span, time, told};
use crate::pages::view::{Expectation, Node, Upgrade, Worth};
use crate::pages::words::{self, lifecycle, rack_name, units};

fn tenancy(tenancy: Tenancy) -> &'static str {
    match tenancy {
        Tenancy::None => "nobody (bring-up)",
        Tenancy::Scheduler => "a scheduler",
        Tenancy::VmPassthrough => "virtual machines (passthrough)",
        Tenancy::Vgpu => "virtual machines (vGPU)",
        Tenancy::BareMetal => "a tenant with root",
    }
}

fn place(node: &Node) -> Markup {
    let place = &node.line.place;
    html! {
        @if place.rack.rack.is_some() {
            a.go href=(href::rack(&place.rack)) { (rack_name(&place.rack)) }
        } @else { (rack_name(&place.rack)) }
        ", " (units(place).unwrap_or_else(|| "unit not known".to_owned()))
    }
}

fn on_the_list(expectation: &Expectation) -> &'static str {
    match expectation {
        Expectation::NoList => "there is no list",
        Expectation::AsExpected => "yes, as the list says",
        Expectation::Unexpected => "no: unexpected",
        Expectation::Mismatched(_) => "yes, but other than the list says",
    }
}

fn machine(snapshot: &Snapshot) -> Markup {
    let node = &snapshot.node;
    html! {
        dt { "Product" } dd { (reading(&node.manufacturer)) " " (reading(&node.product)) }
        dt { "GPUs" } dd { (gpus(snapshot)) }
        dt { "Driver" } dd { (reading(&snapshot.driver.kernel_version)) }
        dt { "Kernel" } dd { (reading(&snapshot.kernel.release)) }
        dt { "Up for" } dd {
            @match node.uptime_seconds.get() {
                Some(uptime) => { (span(uptime.get())) " at the snapshot" }
                None => (reading(&node.uptime_seconds)),
            }
        }
        dt { "Used by" } dd { (tenancy(snapshot.tenancy)) }
    }
}

/// `8 × NVIDIA H100 80GB HBM3`
fn gpus(snapshot: &Snapshot) -> Markup {
    let mut names: Vec<(Option<&str>, u64)> = Vec::new();
    for gpu in &snapshot.gpus {
        let name = gpu.identity.name.value().map(String::as_str);
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => names.push((name, 1)),
        }
    }
    html! {
        @if names.is_empty() { "none on the PCI bus" }
        @for (at, (name, number)) in names.iter().take(4).enumerate() {
            @if at > 0 { ", " }
            (number) " × "
            @match name { Some(name) => (told(&cut(name, 60))), None => span.nil { "name unreadable" } }
        }
    }
}

/// What an operator said, and what nobody said, in one line.
fn record(node: &Node) -> Markup {
    let record = &node.record;
    let texts = [
        ("account", &record.account),
        ("project", &record.project),
        ("instance", &record.instance),
        ("NVLink domain", &record.nvlink_domain),
        ("baseline", &record.baseline),
    ];
    let unset: Vec<_> = texts
        .iter()
        .map(|(name, text)| (*name, text.is_none()))
        .chain([
            ("in use", record.in_use.is_none()),
            ("switches above", record.switch_path.is_none()),
            ("handed over", record.handed_over.is_none()),
        ])
        .filter_map(|(name, unset)| unset.then_some(name))
        .collect();
    html! {
        @if let Some(in_use) = record.in_use { dt { "In use" } dd { @if in_use { "yes" } @else { "no" } } }
        @for (name, text) in texts { @if let Some(text) = text { dt { (name) } dd { (elided(text, 60)) } } }
        @if let Some(path) = &record.switch_path {
            dt { "Switches above" }
            dd { @for (at, switch) in path.iter().take(8).enumerate() {
                @if at > 0 { " → " } (elided(switch, 40))
            } }
        }
        @if let Some(at) = record.handed_over { dt { "Handed over" } dd { (time(node.context.now, at)) } }
        @if !unset.is_empty() { dt { "Not set" } dd.soft { (unset.join(", ")) } }
    }
}

fn dropped(node: &Node) -> Markup {
    let dropped = &node.dropped;
    html! {
        @if dropped.heartbeats + dropped.fulls + dropped.changes > 0 {
            dt { "Dropped on the node" }
            dd {
                (count(dropped.changes, "change")) ", " (count(dropped.fulls, "full report")) ", "
                (count(dropped.heartbeats, "heartbeat"))
            }
        }
    }
}

/// By which certificate it reports, and until when that is good.
fn identity(node: &Node) -> Markup {
    let now = node.context.now;
    let Some(identity) = &node.record.identity else {
        return html! { "none: it reports with a token" };
    };
    let key = match identity.key {
        KeyProtection::Tpm => "key sealed to its TPM",
        KeyProtection::File => "key in a file",
    };
    html! {
        @match identity.worth {
            Worth::Good => { "certificate until " (time(now, identity.until)) }
            Worth::Expired => { "expired " (time(now, identity.until)) }
            Worth::Superseded => "superseded",
            Worth::Revoked => "revoked",
        }
        ", " (key)
    }
}

/// Which version is wished, and what came of it.
fn upgrade(upgrade: &Upgrade) -> Markup {
    let came = upgrade.outcome.map_or("not told yet", words::upgrade);
    html! {
        dt { "Upgrade wished" }
        dd {
            (elided(&upgrade.version, 60)) " - " (came)
            @if let Some(why) = &upgrade.why { ": " (elided(why, 240)) }
        }
    }
}

/// All of it.
pub(super) fn facts(node: &Node) -> Markup {
    let now = node.context.now;
    let line = &node.line;
    html! {
        dl {
            dt { "Place" } dd { (place(node)) }
            dt { "Serial" } dd.code { (maybe(line.serial.as_deref())) }
            dt { "Platform" } dd { (maybe(line.platform.as_deref())) }
            dt { "Lifecycle" } dd { (lifecycle(line.lifecycle)) }
            dt { "Last report" } dd { (maybe_time(now, line.last_report)) }
            @if let Some(by) = node.next_report_by { dt { "Next is due" } dd { (time(now, by)) } }
            @if let Some(snapshot) = &node.snapshot { (machine(snapshot)) }
            (record(node))
            dt { "On the list" } dd { (on_the_list(&line.expectation)) }
            dt { "Identity" } dd { (identity(node)) }
            @if let Some(wished) = &node.upgrade { (upgrade(wished)) }
            @if let Some(why) = &node.wishes_refused { dt { "Refused wishes" } dd { (elided(why, 120)) } }
            (dropped(node))
            dt { "First report" } dd { (maybe_time(now, node.first_report)) }
            dt { "Cupel" } dd { (maybe(node.cupel_version.as_deref())) }
            dt { "Node id" } dd.code { (elided(&line.id, 60)) }
        }
    }
}
