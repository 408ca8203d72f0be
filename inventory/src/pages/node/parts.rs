//! The parts of a node: slot, serial, firmware.

use std::collections::BTreeMap;

use cupel_model::ComponentKind;
use cupel_model::wire::Tracked;
use maud::{Markup, html};

use crate::pages::href;
use crate::pages::text::{cut, date, elided, maybe, told};
use crate::pages::view::{Node, NodePart};
use crate::pages::words::{kind, kinds, severity_symbol, severity_tone};

/// Longest list of one kind that is open from the beginning.
const OPEN: usize = 16;
/// Most parts of one kind on the page.
const MOST: usize = 64;

/// Names with numbers in the order of a person.
fn natural(text: &Option<String>) -> (String, u64) {
    let text = text.as_deref().unwrap_or("\u{10ffff}");
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.to_owned(), text[stem.len()..].parse().unwrap_or(0))
}

/// The worst finding that names a part.
fn finding<'a>(part: &NodePart, findings: &'a [Tracked]) -> Option<&'a Tracked> {
    let fits = findings.iter().filter(|tracked| {
        let component = &tracked.finding.component;
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        same(&component.serial, &part.serial)
            || (component.kind == part.kind
                && component.serial.is_none()
                && same(&component.slot, &part.slot))
    });
    fits.max_by_key(|tracked| (tracked.observed, tracked.finding.severity))
}

fn state(part: &NodePart, findings: &[Tracked]) -> Markup {
    html! {
        @match finding(part, findings) {
            Some(tracked) => {
                span.st.(severity_tone(tracked.finding.severity)) {
                    b { (severity_symbol(tracked.finding.severity)) } " "
                    span.code { (told(&cut(&tracked.finding.code, 40))) }
                }
            }
            None if part.present => span.st.good { b { "✓" } },
            None => span.st.gone { b { "○" } " not seen now" },
        }
    }
}

fn list(parts: &[&NodePart], node: &Node) -> Markup {
    html! {
        div.scroll { table.parts {
            thead { tr {
                th scope="col" { "Slot" } th scope="col" { "State" } th scope="col" { "Serial" }
                th scope="col" { "Product" } th scope="col" { "Firmware" } th scope="col" { "Here since (UTC)" }
            } }
            tbody { @for part in parts.iter().take(MOST) { tr {
                th scope="row" { (maybe(part.slot.as_deref().map(|slot| cut(slot, 60)).as_deref())) }
                td { (state(part, &node.findings)) }
                td.code { @match &part.serial {
                    Some(serial) => a href=(href::part(serial)) { (elided(serial, 32)) },
                    None => (maybe(None)),
                } }
                td {
                    (maybe(part.name.as_deref().map(|name| cut(name, 60)).as_deref()))
                    @if let Some(number) = &part.part_number { span.soft { " " (elided(number, 40)) } }
                }
                td.code { (maybe(part.firmware.as_deref().map(|text| cut(text, 40)).as_deref())) }
                td { @match part.since { Some(at) => (date(at)), None => (maybe(None)) } }
            } } }
        } }
        @if parts.len() > MOST { p.soft { "And " (parts.len() - MOST) " more." } }
    }
}

/// All parts, by kind.
pub(super) fn parts(node: &Node) -> Markup {
    let mut by_kind: BTreeMap<ComponentKind, Vec<&NodePart>> = BTreeMap::new();
    for part in &node.parts {
        by_kind.entry(part.kind).or_default().push(part);
    }
    for list in by_kind.values_mut() {
        list.sort_by_cached_key(|part| (natural(&part.slot), part.serial.clone()));
    }
    html! {
        section #parts aria-labelledby="parts-title" {
            h2 #parts-title { "Parts" }
            @if node.parts.is_empty() { p.nil { "No part is known of this node." } }
            @for (of, parts) in &by_kind {
                @let sick = parts.iter().filter(|part| !part.present || finding(part, &node.findings).is_some()).count();
                details.kind open[parts.len() <= OPEN || sick > 0] {
                    summary {
                        (parts.len()) " " (if parts.len() == 1 { kind(*of) } else { kinds(*of) })
                        @if sick > 0 { " " span.st.bad { b { "✕" } " " (sick) " marked" } }
                    }
                    (list(parts, node))
                }
            }
        }
    }
}
