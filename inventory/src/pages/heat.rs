//! The fleet by place: sites, rows and racks, worst first, in a bounded number of bytes.
//!
//! # Invariants
//! - However many racks there are, what is drawn is bounded: sick racks come as cells with their
//!   names, well ones of a large fleet as one strip a row that leads to all of them.
//! - A cell tells its state by symbol and name before colour.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::href;
use super::text::{cut, grouped};
use super::view::{Counts, FleetQuery, RackCounts, RackPlace, Standing};
use super::words::{standing, symbol, tone};

/// Up to so many racks each has a cell.
const ALL_RACKS: usize = 60;
/// Rows that are drawn with their racks.
const ROWS: usize = 16;
/// Cells of sick racks in a row.
const CELLS_IN_A_ROW: usize = 8;
/// Cells of sick racks on the page.
const CELLS: usize = 70;
/// Well rows that are named.
const WELL_ROWS: usize = 30;
/// Sites that are listed.
const SITES: usize = 12;

/// Places below one place.
struct Group<'a> {
    place: RackPlace,
    counts: Counts,
    racks: Vec<&'a RackCounts>,
}

/// Worst standing first, then most sick nodes, then by name.
fn by_badness<T>(list: &mut [T], counts: impl Fn(&T) -> Counts, place: impl Fn(&T) -> RackPlace) {
    list.sort_by_cached_key(|item| {
        let counts = counts(item);
        let worst = counts.worst().map_or(Standing::ALL.len(), |worst| {
            Standing::ALL.iter().position(|s| *s == worst).unwrap_or(0)
        });
        (
            worst,
            std::cmp::Reverse(counts.sick()),
            natural(&place(item)),
        )
    });
}

/// A place in the order of a person: `r9` before `r10`.
fn natural(place: &RackPlace) -> Vec<(String, u64)> {
    [&place.region, &place.site, &place.row, &place.rack]
        .map(|part| {
            let text = part.as_deref().unwrap_or_default();
            let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
            (stem.to_owned(), text[stem.len()..].parse().unwrap_or(0))
        })
        .into()
}

fn groups(racks: &[RackCounts], above: impl Fn(&RackPlace) -> RackPlace) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<RackPlace, Group<'_>> = BTreeMap::new();
    for rack in racks {
        let place = above(&rack.place);
        let group = groups.entry(place.clone()).or_insert_with(|| Group {
            place,
            counts: Counts::default(),
            racks: Vec::new(),
        });
        group.counts.add(&rack.counts);
        group.racks.push(rack);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    by_badness(
        &mut groups,
        |group| group.counts,
        |group| group.place.clone(),
    );
    groups
}

fn row_of(place: &RackPlace) -> RackPlace {
    RackPlace {
        rack: None,
        ..place.clone()
    }
}

fn site_of(place: &RackPlace) -> RackPlace {
    RackPlace {
        row: None,
        ..row_of(place)
    }
}

/// The fleet's page narrowed to a place. Nodes without any place are in a rack without a name.
fn narrowed(place: &RackPlace) -> String {
    if *place == RackPlace::default() {
        return href::rack(place);
    }
    href::fleet(&FleetQuery {
        region: place.region.clone(),
        site: place.site.clone(),
        row: place.row.clone(),
        ..FleetQuery::default()
    })
}

/// A bar whose parts are the standings, worst first.
pub(super) fn bar(counts: &Counts) -> Markup {
    let total = f64::from(counts.total().max(1));
    let mut from = 0.0;
    let mut parts = Vec::new();
    for standing in Standing::ALL {
        let nodes = counts.of(standing);
        if nodes > 0 {
            // A single sick node of ten thousand must still be seen.
            let width = (f64::from(nodes) * 100.0 / total).max(0.7);
            parts.push((tone(standing), from, width.min(100.0 - from)));
            from += width;
        }
    }
    html! {
        svg.bar viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
            @for (tone, from, width) in parts {
                rect.(tone) x=(format!("{from:.1}")) width=(format!("{width:.1}")) height="1" {}
            }
        }
    }
}

/// `2 unhealthy, 1 silent, 157 healthy`
pub(super) fn in_words(counts: &Counts) -> String {
    let words: Vec<_> = Standing::ALL
        .into_iter()
        .filter(|s| counts.of(*s) > 0)
        .map(|s| format!("{} {}", grouped(counts.of(s).into()), standing(s)))
        .collect();
    match words.is_empty() {
        true => "no nodes".to_owned(),
        false => words.join(", "),
    }
}

/// `2 unhealthy, 1 silent of 160`
fn sick_in_words(counts: &Counts) -> String {
    let total = counts.total();
    let mut sick = *counts;
    (sick.healthy, sick.quiet) = (0, 0);
    match sick.total() {
        0 => format!("{} well", grouped(total.into())),
        _ => format!("{} of {}", in_words(&sick), grouped(total.into())),
    }
}

/// One rack: symbol of its worst node, name, and how many are sick.
fn cell(rack: &RackCounts) -> Markup {
    let worst = rack.counts.worst().unwrap_or(Standing::Quiet);
    let name = rack.place.rack.as_deref().unwrap_or("no rack");
    let sick = rack.counts.sick();
    html! {
        a.c.(tone(worst)) href=(href::rack(&rack.place)) {
            (symbol(worst)) " " (cut(name, 12)) @if sick > 1 { " " b { (sick) } }
        }
    }
}

fn row_title(place: &RackPlace, query: &FleetQuery) -> String {
    if *place == RackPlace::default() {
        return "no place set".to_owned();
    }
    let mut parts = Vec::new();
    let mut add = |part: &Option<String>, name: &str, chosen: bool| match part.as_deref() {
        _ if chosen => {}
        Some(text) => parts.push(cut(text, 24).into_owned()),
        None => parts.push(format!("no {name}")),
    };
    let chosen = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    // A site's name says the region; both are in the list of sites.
    let told = chosen(&query.region) || place.site.is_some();
    add(&place.region, "region", told);
    add(&place.site, "site", chosen(&query.site));
    add(&place.row, "row", false);
    parts.join(" / ")
}

/// One row with its racks. `left` is how many cells the page has left.
fn row(group: &mut Group<'_>, query: &FleetQuery, all: bool, left: &mut usize) -> Markup {
    let most = if all {
        group.racks.sort_by_cached_key(|rack| natural(&rack.place));
        ALL_RACKS
    } else {
        by_badness(
            &mut group.racks,
            |rack| rack.counts,
            |rack| rack.place.clone(),
        );
        CELLS_IN_A_ROW.min(*left)
    };
    let (cells, rest): (Vec<_>, Vec<_>) = group
        .racks
        .iter()
        .enumerate()
        .partition(|(at, rack)| *at < most && (all || rack.counts.sick() > 0));
    if !all {
        *left -= cells.len();
    }
    let sick_rest = rest
        .iter()
        .filter(|(_, rack)| rack.counts.sick() > 0)
        .count();
    let well = rest.len() - sick_rest;
    html! {
        li {
            div.rowhead {
                a href=(narrowed(&group.place)) { (row_title(&group.place, query)) }
                span { (sick_in_words(&group.counts)) }
            }
            div.cells {
                @for (_, rack) in &cells { (cell(rack)) }
                @if sick_rest > 0 {
                    a.c href=(narrowed(&group.place)) { "+ " (sick_rest) " more that are sick" }
                }
                @if well > 0 {
                    span.many.good {
                        (strip(well)) " ✓ " (well) " well"
                    }
                }
            }
        }
    }
}

/// One small square a rack, up to forty, in a handful of bytes.
fn strip(racks: usize) -> Markup {
    let drawn = racks.min(40);
    html! {
        svg width=(drawn * 6) height="10" aria-hidden="true" {
            path d=(format!("M0 5h{}", drawn * 6)) stroke-width="10" stroke-dasharray="4 2" {}
        }
    }
}

fn sites(groups: &[Group<'_>]) -> Markup {
    html! {
        table.sites {
            caption.vh { "Nodes by site, worst first" }
            thead { tr {
                th scope="col" { "Site" } th scope="col" { "Nodes" }
                th.num scope="col" { "Sick" }
            } }
            tbody {
                @for group in groups.iter().take(SITES) { tr {
                    th scope="row" {
                        a href=(narrowed(&group.place)) { (super::words::rack_name(&group.place)) }
                    }
                    td { (bar(&group.counts)) span.vh { (in_words(&group.counts)) } }
                    td.num {
                        b { (grouped(group.counts.sick().into())) } " of "
                        (grouped(group.counts.total().into()))
                    }
                } }
            }
        }
        @if groups.len() > SITES {
            p.soft { "The " (SITES) " worst of " (groups.len()) " sites." }
        }
    }
}

/// Sites, rows and racks.
pub(super) fn places(racks: &[RackCounts], query: &FleetQuery) -> Markup {
    let by_site = groups(racks, site_of);
    let mut by_row = groups(racks, row_of);
    let all = racks.len() <= ALL_RACKS;
    let sick_rows = by_row
        .iter()
        .filter(|group| group.counts.sick() > 0)
        .count();
    let drawn = if all { by_row.len() } else { sick_rows }.min(ROWS);
    let mut left = CELLS;
    let rows: Vec<_> = by_row
        .iter_mut()
        .take(drawn)
        .map(|group| row(group, query, all, &mut left))
        .collect();
    let rest = by_row.get(drawn..).unwrap_or_default();
    let (sick, well): (Vec<_>, Vec<_>) = rest.iter().partition(|group| group.counts.sick() > 0);
    html! {
        @if by_site.len() > 1 { (sites(&by_site)) }
        ol.rows { @for row in rows { (row) } }
        @if !sick.is_empty() {
            p.soft { "And " (sick.len()) " more rows with sick nodes: choose a site to see them." }
        }
        @if !well.is_empty() {
            details.wells {
                summary { (well.len()) " rows in which nothing is wrong" }
                p.cells {
                    @for group in well.iter().take(WELL_ROWS) {
                        a.c.good href=(narrowed(&group.place)) {
                            "✓ " (row_title(&group.place, query)) " " b { (group.counts.total()) }
                        }
                    }
                }
                @if well.len() > WELL_ROWS {
                    p.soft { "And " (well.len() - WELL_ROWS) " more: choose a site to see them." }
                }
            }
        }
        @if racks.is_empty() { p.nil { "No nodes here." } }
    }
}
