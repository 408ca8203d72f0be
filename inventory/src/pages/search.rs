//! What a search found: nodes, parts, codes.

use maud::{Markup, html};

use super::href;
use super::nodes::{Columns, table};
use super::part::{node_link, where_it_stands};
use super::shell::{Live, Page};
use super::text::{count, cut, elided, line, maybe, told};
use super::view::{FleetQuery, PartLine, Search};
use super::words::{kind, severity_symbol, severity_tone};

fn part(part: &PartLine) -> Markup {
    html! {
        tr {
            th scope="row" { a.code href=(href::part(&part.serial)) { (elided(&part.serial, 40)) } }
            td { (kind(part.kind)) }
            td { (maybe(part.name.as_deref().map(|name| cut(name, 60)).as_deref())) }
            td {
                @match &part.last {
                    Some(stay) => {
                        (node_link(&stay.node, stay.hostname.as_deref())) ", " (maybe(stay.slot.as_deref()))
                        @if stay.until.is_some() { " " span.tag { "no longer" } }
                        p { (where_it_stands(&stay.place)) }
                    }
                    None => (maybe(None)),
                }
            }
        }
    }
}

fn codes(search: &Search) -> Markup {
    html! {
        @if !search.codes.is_empty() {
            section.codes aria-labelledby="codes-title" {
                h2 #codes-title { "Codes of findings" }
                ul { @for code in search.codes.iter().take(50) {
                    @let query = FleetQuery { code: Some(code.code.clone()), ..FleetQuery::default() };
                    li { a.c.(severity_tone(code.severity)) href=(href::fleet(&query)) {
                        (severity_symbol(code.severity)) " " span.code { (told(&cut(&code.code, 60))) } " "
                        b { (count(code.nodes.into(), "node")) }
                    } }
                } }
            }
        }
    }
}

/// The page.
pub fn search(search: &Search) -> String {
    let q = search.q.as_deref().filter(|q| !q.trim().is_empty());
    let found = search.nodes.len() + search.parts.len() + search.codes.len();
    let title = match q {
        Some(q) => format!("Search: {}", cut(q, 60)),
        None => "Search".to_owned(),
    };
    let main = html! {
        div.title {
            h1 { @match q { Some(q) => { "Search: " (told(&cut(q, 80))) }, None => "Search" } }
        }
        form.bigsearch action="/search" method="get" aria-label="Search" {
            label for="q2" { "Host name, node id, serial of a node or a part, code of a finding" }
            input #q2 name="q" type="search" maxlength="200" autocomplete="off" value=[q.map(line)];
            button type="submit" { "Search" }
        }
        @if q.is_some() && found == 0 {
            p.empty role="status" { "Nothing is called like that. A part of a name, serial or code is enough." }
        }
        (codes(search))
        @if !search.nodes.is_empty() {
            section aria-labelledby="nodes-title" {
                h2 #nodes-title { "Nodes" }
                (table(&search.nodes, search.context.now, Columns::Fleet))
                @if search.more_nodes {
                    @let query = FleetQuery { q: search.q.clone(), ..FleetQuery::default() };
                    p { a.go href=(href::fleet(&query)) { "All nodes that match" } }
                }
            }
        }
        @if !search.parts.is_empty() {
            section aria-labelledby="parts-title" {
                h2 #parts-title { "Parts" }
                div.scroll { table.found {
                    thead { tr {
                        th scope="col" { "Serial" } th scope="col" { "Kind" }
                        th scope="col" { "Product" } th scope="col" { "Where" }
                    } }
                    tbody { @for one in search.parts.iter().take(50) { (part(one)) } }
                } }
                @if search.more_parts { p.soft { "There are more: write more of the serial." } }
            }
        }
    };
    Page {
        context: &search.context,
        title,
        live: Live::Any,
        q,
        main,
    }
    .render()
}
