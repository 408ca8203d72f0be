//! One part by its serial: what it is, where it was, what it had.

use maud::{Markup, html};

use super::href;
use super::shell::{Live, Page};
use super::text::{count, cut, maybe, maybe_time, short_time, told};
use super::view::{Part, PartFinding, PartStay, Place};
use super::words::{finding_line, kind, rack_name, units};

/// Most lines of a list.
const MOST: usize = 100;

/// A node's name as a link to its page.
pub(super) fn node_link(id: &str, hostname: Option<&str>) -> Markup {
    html! { a href=(href::node(id)) { (told(&cut(hostname.unwrap_or(id), 60))) } }
}

/// `eu / osl1 / a / r07 U17`
pub(super) fn where_it_stands(place: &Place) -> String {
    match units(place) {
        Some(units) => format!("{} {units}", rack_name(&place.rack)),
        None => rack_name(&place.rack),
    }
}

fn stay(part: &Part, stay: &PartStay) -> Markup {
    let now = part.context.now;
    html! {
        tr {
            th scope="row" { (node_link(&stay.node, stay.hostname.as_deref())) }
            td { (where_it_stands(&stay.place)) }
            td { (maybe(stay.slot.as_deref())) }
            td.when { (short_time(now, stay.from)) }
            td.when { @match stay.until { Some(at) => (short_time(now, at)), None => span.st.good { b { "✓" } " is there now" } } }
        }
    }
}

fn finding(part: &Part, one: &PartFinding) -> Markup {
    let now = part.context.now;
    html! {
        tr {
            td { (finding_line(&one.finding)) p { (told(&cut(&one.finding.summary, 300))) } }
            td { (node_link(&one.node, one.hostname.as_deref())) }
            td.when { @match one.finding.since { Some(at) => (short_time(now, at)), None => (maybe_time(now, None)) } }
            td.when { @match one.cleared { Some(at) => (short_time(now, at)), None => span.st.bad { b { "✕" } " not cleared" } } }
        }
    }
}

/// The page.
pub fn part(part: &Part) -> String {
    let serial = cut(&part.serial, 80).into_owned();
    let open = part
        .findings
        .iter()
        .filter(|one| one.cleared.is_none())
        .count();
    let main = html! {
        nav.crumbs aria-label="Where this is" { a href="/" { "Fleet" } " / parts" }
        div.title {
            h1 { (kind(part.kind)) " " span.code { (told(&serial)) } }
            p data-say {
                @match part.stays.first().filter(|stay| stay.until.is_none()) {
                    Some(stay) => {
                        "In " (node_link(&stay.node, stay.hostname.as_deref())) ", "
                        (maybe(stay.slot.as_deref())) ". "
                    }
                    None => "In no node now. ",
                }
                @if open > 0 {
                    span.st.bad { b { "✕" } " " (count(u64::try_from(open).unwrap_or(u64::MAX), "finding")) " not cleared" }
                } @else { span.st.good { b { "✓" } " no open finding" } }
            }
        }
        dl.facts.wide {
            div { dt { "Product" } dd { (maybe(part.name.as_deref())) } }
            div { dt { "Part number" } dd.code { (maybe(part.part_number.as_deref())) } }
            div { dt { "UUID or GUID" } dd.code { (maybe(part.uuid.as_deref())) } }
            div { dt { "Firmware" } dd.code { (maybe(part.firmware.as_deref())) } }
        }
        section aria-labelledby="findings-title" {
            h2 #findings-title { "What it had" }
            @if part.findings.is_empty() { p.soft { "No finding ever named it." } } @else {
                div.scroll { table {
                    thead { tr {
                        th scope="col" { "Finding" } th scope="col" { "In" }
                        th scope="col" { "Since (UTC)" } th scope="col" { "Cleared (UTC)" }
                    } }
                    tbody { @for one in part.findings.iter().take(MOST) { (finding(part, one)) } }
                } }
                @if part.findings.len() > MOST { p.soft { "And " (part.findings.len() - MOST) " older ones." } }
            }
        }
        section aria-labelledby="stays-title" {
            h2 #stays-title { "Where it was" }
            @if part.stays.is_empty() { p.nil { "No node ever told that it has it." } } @else {
                div.scroll { table {
                    thead { tr {
                        th scope="col" { "Node" } th scope="col" { "Place" } th scope="col" { "Slot" }
                        th scope="col" { "From (UTC)" } th scope="col" { "Until (UTC)" }
                    } }
                    tbody { @for one in part.stays.iter().take(MOST) { (stay(part, one)) } }
                } }
                @if part.stays.len() > MOST { p.soft { "And " (part.stays.len() - MOST) " older ones." } }
            }
        }
        p { a.go href={ "/v1/parts/" (super::text::encoded(&part.serial)) } { "This record as JSON" } }
    };
    Page {
        context: &part.context,
        title: format!("{} {serial}", kind(part.kind)),
        live: Live::Any,
        q: None,
        main,
    }
    .render()
}
