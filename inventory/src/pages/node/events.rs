//! What the kernel log of a node told, folded.

use cupel_model::{Event, LogSource, Timestamp};
use maud::{Markup, html};

use crate::pages::href;
use crate::pages::text::{cut, elided, grouped, short_time, told};
use crate::pages::view::Node;
use crate::pages::words::{event_kind, severity, severity_symbol, severity_tone};

/// Most events on the page.
const MOST: usize = 30;

fn row(event: &Event, now: Timestamp) -> Markup {
    html! {
        tr {
            td.when { @match event.last.or(event.time) {
                Some(at) => (short_time(now, at)),
                None => span.nil { "the log has no time" },
            } }
            td.num { (grouped(event.repeats)) }
            td {
                span.st.(severity_tone(event.severity)) {
                    b { (severity_symbol(event.severity)) } " " (severity(event.severity))
                }
            }
            td {
                span.code { (told(&cut(&event.code, 60))) } p.soft { (event_kind(event.kind)) }
            }
            td.code {
                @match event.pci { Some(pci) => (pci), None => span.nil { "none named" } }
                @if let Some(mig) = &event.mig { " " (told(&cut(mig, 20))) }
            }
            td.rawline {
                (elided(&event.raw, 220))
                @if event.source == LogSource::User { " " span.tag { "written by a program" } }
            }
        }
    }
}

/// The events that are kept, else those of the newest snapshot; newest first.
fn known(node: &Node) -> Vec<&Event> {
    if node.events.is_empty() {
        let log = node
            .snapshot
            .iter()
            .flat_map(|snapshot| &snapshot.kernel_log);
        return log.rev().collect();
    }
    node.events.iter().map(|one| &one.event).collect()
}

/// The table.
pub(super) fn events(node: &Node) -> Markup {
    let now = node.context.now;
    let events = known(node);
    let shown = events.len().min(MOST);
    html! {
        section #events aria-labelledby="events-title" {
            h2 #events-title { "Kernel log" }
            @if events.is_empty() { p.soft { "The kernel log told nothing that means something." } } @else {
                div.scroll { table.events {
                    thead { tr {
                        th scope="col" { "Last (UTC)" } th.num scope="col" { "Times" }
                        th scope="col" { "Severity" } th scope="col" { "Code" }
                        th scope="col" { "Device" } th scope="col" { "Message" }
                    } }
                    tbody { @for event in events.iter().take(MOST) { (row(event, now)) } }
                } }
                @if node.events_kept > u64::try_from(shown).unwrap_or(u64::MAX) {
                    p.soft {
                        "The newest " (shown) " of " (grouped(node.events_kept)) ". "
                        a.go href=(href::api(&node.line.id, "/history")) { "All as JSON" }
                    }
                }
            }
        }
    }
}
