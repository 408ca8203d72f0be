//! The fleet: how many stand how, who is sick and of what, where.

use maud::{Markup, html};

use super::filters::{self, filters};
use super::heat::{bar, in_words, places};
use super::href;
use super::nodes::{Columns, table};
use super::shell::{Live, Page};
use super::text::{count, grouped, told};
use super::view::{Capacity, Counts, Fleet, FleetCapacity, FleetQuery, Show, Standing};
use super::words::{severity_symbol, severity_tone, standing, symbol, tone};

fn show_of(standing: Standing) -> Show {
    match standing {
        Standing::Unhealthy => Show::Unhealthy,
        Standing::Silent => Show::Silent,
        Standing::Missing => Show::Missing,
        Standing::Unknown => Show::Unknown,
        Standing::Degraded => Show::Degraded,
        Standing::Quiet => Show::Quiet,
        Standing::Healthy => Show::Healthy,
    }
}

/// One number of the tally, which narrows the list to what it counts.
fn number(query: &FleetQuery, show: Show, number: u32, tone: &str, name: Markup) -> Markup {
    let chosen = query.show == show;
    let wanted = FleetQuery {
        show: if chosen { Show::All } else { show },
        after: None,
        ..query.clone()
    };
    html! {
        li {
            a.(tone).zero[number == 0] href=(href::fleet(&wanted)) aria-current=[chosen.then_some("true")] {
                b { (grouped(number.into())) } span { (name) }
            }
        }
    }
}

fn tally(counts: &Counts, query: &FleetQuery) -> Markup {
    html! {
        section.tally aria-label="Nodes by state" {
            (bar(counts))
            ul {
                @for one in Standing::ALL {
                    (number(query, show_of(one), counts.of(one), tone(one), html! {
                        i { (symbol(one)) } " " (standing(one))
                    }))
                }
                (number(query, Show::Unexpected, counts.unexpected, "info", html! {
                    i { "+" } " unexpected"
                }))
                (number(query, Show::Mismatched, counts.mismatched, "info", html! {
                    i { "≠" } " mismatched"
                }))
            }
        }
    }
}

fn capacity(capacity: &FleetCapacity) -> Markup {
    let one = |name: &str, of: Capacity| {
        html! {
            div {
                dt { (name) }
                dd { (grouped(of.nodes.into())) " / " (grouped(of.gpus.into())) " GPUs" }
            }
        }
    };
    html! {
        dl.capacity {
            (one("Delivered", capacity.delivered))
            (one("Healthy", capacity.healthy))
            (one("Reserved", capacity.reserved))
            (one("In use", capacity.in_use))
        }
    }
}

fn codes(fleet: &Fleet) -> Markup {
    html! {
        @if !fleet.codes.is_empty() {
            nav.codes aria-label="Findings by code" {
                h2 { "What is wrong" }
                ul {
                    @for code in fleet.codes.iter().take(12) {
                        @let chosen = fleet.query.code.as_deref() == Some(&code.code);
                        @let wanted = FleetQuery {
                            code: (!chosen).then(|| code.code.clone()),
                            after: None,
                            ..fleet.query.clone()
                        };
                        li {
                            a.c.(severity_tone(code.severity)) href=(href::fleet(&wanted))
                                aria-current=[chosen.then_some("true")] {
                                (severity_symbol(code.severity)) " "
                                span.code { (told(&super::text::cut(&code.code, 40))) } " "
                                b { (grouped(code.nodes.into())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pager(fleet: &Fleet) -> Markup {
    let shown = u32::try_from(fleet.nodes.len()).unwrap_or(u32::MAX);
    let page = |after: Option<String>| {
        href::fleet(&FleetQuery {
            after,
            ..fleet.query.clone()
        })
    };
    html! {
        nav.pager aria-label="Pages of the list" {
            span {
                @if shown == 0 { "No nodes" } @else {
                    (grouped((fleet.before + 1).into())) "–" (grouped((fleet.before + shown).into()))
                    " of " (grouped(fleet.matching.into()))
                }
            }
            @if fleet.before > 0 { a href=(page(None)) { "First page" } }
            @if let Some(next) = &fleet.next { a rel="next" href=(page(Some(next.clone()))) { "Next page" } }
        }
    }
}

/// What the list shows, as its heading.
fn list_title(fleet: &Fleet, counts: &Counts) -> &'static str {
    match fleet.query.show {
        Show::All if counts.sick() > 0 => "Nodes, sick ones first",
        Show::All => "Nodes",
        Show::Sick => "Sick nodes",
        Show::Unhealthy => "Unhealthy nodes",
        Show::Silent => "Silent nodes",
        Show::Missing => "Missing nodes",
        Show::Unknown => "Nodes of unknown state",
        Show::Degraded => "Degraded nodes",
        Show::Quiet => "Quiet nodes",
        Show::Healthy => "Healthy nodes",
        Show::Unexpected => "Unexpected nodes",
        Show::Mismatched => "Mismatched nodes",
    }
}

/// The page.
pub fn fleet(fleet: &Fleet) -> String {
    let mut counts = Counts::default();
    for rack in &fleet.racks {
        counts.add(&rack.counts);
    }
    let total = counts.total();
    let title = match counts.sick() {
        0 => format!("Fleet: {}", count(total.into(), "node")),
        sick => format!("{} sick of {}", grouped(sick.into()), grouped(total.into())),
    };
    let main = html! {
        div.title {
            h1 { "Fleet" }
            p {
                (count(total.into(), "node")) " in "
                (count(u64::try_from(fleet.racks.len()).unwrap_or(u64::MAX), "rack"))
                span.vh { ": " span data-say { (in_words(&counts)) } }
            }
            @if let Some(known) = fleet.capacity.as_ref().filter(|known| known.delivered.nodes > 0) {
                (capacity(known))
            }
        }
        (tally(&counts, &fleet.query))
        (filters(fleet))
        div.fleet {
            section.list aria-labelledby="list-title" {
                div.listhead {
                    h2 #list-title { (list_title(fleet, &counts)) }
                    (pager(fleet))
                }
                @if fleet.nodes.is_empty() {
                    p.empty {
                        @if filters::any(&fleet.query) {
                            "No node is like that. " a href="/" { "Show all nodes" }
                        } @else if total == 0 {
                            "No node has reported yet. Start " code { "cupel run" }
                            " on one with this inventory's address and a token with the scope "
                            code { "report" } "."
                        } @else { "There is no node on this page. " a href="/" { "Show the first" } }
                    }
                } @else {
                    (table(&fleet.nodes, fleet.context.now, Columns::Fleet))
                    (pager(fleet))
                }
            }
            aside.side aria-label="By fault and by place" {
                (codes(fleet))
                h2 { "Where" }
                (places(&fleet.racks, &fleet.query))
            }
        }
    };
    Page {
        context: &fleet.context,
        title,
        live: Live::Fleet,
        q: None,
        main,
    }
    .render()
}
