//! One rack: its elevation, drawn by unit, and its nodes with what is wrong.
//!
//! # Invariants
//! - Every node of the rack is on the page: one whose unit is not known, not possible or taken by
//!   another is listed below the drawing with the reason.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::heat::{bar, in_words};
use super::href;
use super::nodes::{Columns, name, table, tags};
use super::shell::{Live, Page};
use super::text::{count, cut, told};
use super::view::{Counts, Expectation, FleetQuery, NodeLine, Rack, RackPlace, Standing};
use super::words::{badge, tone};

/// Units of a rack when nobody says how many it has.
const USUAL_UNITS: u32 = 48;
/// Most units that are drawn.
const MOST_UNITS: u32 = 64;

/// What fills some units, from the highest down.
enum Filled<'a> {
    Node(&'a NodeLine),
    Empty,
    /// Empty, unless the node below, whose height nobody said, reaches into it.
    Unsaid(&'a NodeLine),
}

/// Units in a row that one thing fills.
struct Span<'a> {
    top: u32,
    height: u32,
    filled: Filled<'a>,
}

/// A rack as it is drawn.
struct Elevation<'a> {
    spans: Vec<Span<'a>>,
    /// Nodes that cannot be drawn, and why.
    apart: Vec<(&'a NodeLine, String)>,
}

impl<'a> Elevation<'a> {
    fn of(rack: &'a Rack) -> Self {
        let highest = rack
            .nodes
            .iter()
            .filter_map(|node| top_unit(node).map(|(_, top)| top));
        let highest = highest.filter(|top| *top <= MOST_UNITS).max().unwrap_or(0);
        let units = rack
            .units
            .unwrap_or(USUAL_UNITS.max(highest))
            .clamp(1, MOST_UNITS);
        let mut by_top: BTreeMap<u32, (u32, &NodeLine)> = BTreeMap::new();
        let mut taken = vec![None; usize::try_from(units).unwrap_or(0) + 1];
        let mut apart = Vec::new();
        for node in &rack.nodes {
            let Some((bottom, top)) = top_unit(node) else {
                apart.push((node, "its unit is not known".to_owned()));
                continue;
            };
            if bottom == 0 || top > units {
                apart.push((node, format!("the rack has no unit {}", top.max(bottom))));
                continue;
            }
            let places = usize::try_from(bottom).unwrap_or(0)..=usize::try_from(top).unwrap_or(0);
            let Some(places) = taken.get_mut(places) else {
                continue;
            };
            if let Some(other) = places.iter().flatten().next() {
                apart.push((node, format!("its units are taken by {other}")));
                continue;
            }
            places.fill(Some(cut(name(node), 40).into_owned()));
            by_top.insert(top, (bottom, node));
        }
        let mut spans = Vec::new();
        let mut at = units;
        while at > 0 {
            match by_top.get(&at) {
                Some((bottom, node)) => {
                    spans.push(Span {
                        top: at,
                        height: at - bottom + 1,
                        filled: Filled::Node(node),
                    });
                    at = bottom - 1;
                }
                None => {
                    let next = by_top.range(..at).next_back();
                    let below = next.map_or(0, |(top, _)| *top);
                    let filled = match next {
                        Some((_, (_, node))) if node.place.height_units.is_none() => {
                            Filled::Unsaid(node)
                        }
                        Some(_) | None => Filled::Empty,
                    };
                    spans.push(Span {
                        top: at,
                        height: at - below,
                        filled,
                    });
                    at = below;
                }
            }
        }
        Self { spans, apart }
    }
}

/// Lowest and highest unit of a node.
fn top_unit(node: &NodeLine) -> Option<(u32, u32)> {
    let bottom = node.place.unit?;
    let height = node.place.height_units.unwrap_or(1).max(1);
    Some((bottom, bottom.checked_add(height - 1)?))
}

fn node_box(node: &NodeLine, height: u32) -> Markup {
    html! {
        a.box.(tone(node.standing)).dash[node.standing == Standing::Missing] href=(href::node(&node.id)) {
            span.boxname { (cut(name(node), 28)) }
            " " (badge(node.standing))
            (tags(node))
            @if height > 2 {
                @if let Some(found) = &node.worst {
                    " " span.boxmore { (cut(&found.code, 40)) ", " (super::words::part(&found.component)) }
                }
                " " span.boxmore {
                    (node.platform.as_deref().map_or("platform not known".into(), |p| cut(p, 40)))
                }
            }
        }
    }
}

fn elevation(elevation: &Elevation<'_>) -> Markup {
    html! {
        table.elevation {
            caption.vh { "Elevation, highest unit first" }
            thead.vh { tr { th scope="col" { "Unit" } th scope="col" { "What fills it" } } }
            tbody {
                @for span in &elevation.spans {
                    @for down in 0..span.height {
                        tr.one[span.height == 1 && matches!(span.filled, Filled::Node(_))] {
                            th scope="row" { (span.top - down) }
                            @if down == 0 {
                                @match &span.filled {
                                    Filled::Node(node) => td rowspan=(span.height) { (node_box(node, span.height)) },
                                    Filled::Empty => td.free rowspan=(span.height) {
                                        @if span.height > 1 { "empty, " (count(span.height.into(), "unit")) } @else { "empty" }
                                    },
                                    Filled::Unsaid(node) => td.free rowspan=(span.height) {
                                        "empty or " (told(&cut(name(node), 24))) ": its height is not known"
                                    },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The way from the fleet to a rack; to the rack itself too where the page is of what is in it.
pub(super) fn crumbs(place: &RackPlace, to_rack: bool) -> Markup {
    let up_to = |levels: usize| {
        let keep =
            |level: usize, part: &Option<String>| (level < levels).then(|| part.clone()).flatten();
        FleetQuery {
            region: keep(0, &place.region),
            site: keep(1, &place.site),
            row: keep(2, &place.row),
            ..FleetQuery::default()
        }
    };
    html! {
        nav.crumbs aria-label="Where this is" {
            a href="/" { "Fleet" }
            @for (level, part) in [&place.region, &place.site, &place.row].into_iter().enumerate() {
                @if let Some(text) = part {
                    " / " a href=(href::fleet(&up_to(level + 1))) { (cut(text, 40)) }
                }
            }
            @if to_rack {
                @if let Some(rack) = &place.rack {
                    " / " a href=(href::rack(place)) { (cut(rack, 40)) }
                }
            }
        }
    }
}

/// Counts of a list of nodes.
fn counts(nodes: &[NodeLine]) -> Counts {
    let mut counts = Counts::default();
    for node in nodes {
        *counts.of_mut(node.standing) += 1;
        match node.expectation {
            Expectation::Unexpected => counts.unexpected += 1,
            Expectation::Mismatched(_) => counts.mismatched += 1,
            Expectation::NoList | Expectation::AsExpected => {}
        }
    }
    counts
}

/// The page.
pub fn rack(rack: &Rack) -> String {
    let own = rack
        .place
        .rack
        .as_deref()
        .map(|text| cut(text, 60).into_owned());
    let heading = own.map_or_else(|| "No rack set".to_owned(), |own| format!("Rack {own}"));
    let drawn = Elevation::of(rack);
    let counts = counts(&rack.nodes);
    let mut nodes = rack.nodes.clone();
    nodes.sort_by(|a, b| {
        a.standing
            .cmp(&b.standing)
            .then_with(|| b.place.unit.cmp(&a.place.unit))
            .then_with(|| a.id.cmp(&b.id))
    });
    let neighbour = |place: &Option<RackPlace>, rel: &str, arrow: &str| {
        html! {
            @if let Some(place) = place {
                a.c rel=(rel) href=(href::rack(place)) {
                    (arrow) " " (place.rack.as_deref().map_or("no rack".into(), |text| cut(text, 24)))
                }
            }
        }
    };
    let main = html! {
        (crumbs(&rack.place, false))
        div.title {
            h1 { (heading) }
            p data-say { (in_words(&counts)) }
            p.around {
                (neighbour(&rack.previous, "prev", "←"))
                (neighbour(&rack.next, "next", "→"))
            }
        }
        (bar(&counts))
        @if rack.nodes.is_empty() {
            p.empty { "No node is known in this rack, and none is expected in it." }
        } @else {
            div.rack {
                section aria-label="Elevation" {
                    (elevation(&drawn))
                    @if !drawn.apart.is_empty() {
                        h2 { "Not drawn" }
                        ul.apart { @for (node, why) in &drawn.apart {
                            li { (node_box(node, 1)) p.soft { "Not drawn: " (why) "." } }
                        } }
                    }
                }
                section aria-labelledby="list-title" {
                    h2 #list-title { "Nodes, sick ones first" }
                    (table(&nodes, rack.context.now, Columns::Rack))
                }
            }
        }
    };
    Page {
        context: &rack.context,
        title: format!("{heading}: {}", in_words(&counts)),
        live: Live::Rack(&rack.place),
        q: None,
        main,
    }
    .render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::view::{Context, Place};
    use cupel_model::wire::Lifecycle;

    fn node(id: &str, unit: Option<u32>, height: Option<u32>) -> NodeLine {
        NodeLine {
            id: id.to_owned(),
            hostname: None,
            serial: None,
            place: Place {
                unit,
                height_units: height,
                ..Place::default()
            },
            standing: Standing::Healthy,
            expectation: Expectation::NoList,
            lifecycle: Lifecycle::InService,
            in_use: None,
            platform: None,
            worst: None,
            more_findings: 0,
            last_report: None,
        }
    }

    fn drawn(nodes: Vec<NodeLine>, units: Option<u32>) -> (Vec<(u32, u32, bool)>, Vec<String>) {
        let rack = Rack {
            context: Context {
                now: cupel_model::Timestamp::EPOCH,
                version: String::new(),
                signed_in: None,
            },
            place: RackPlace::default(),
            units,
            nodes,
            previous: None,
            next: None,
        };
        let drawn = Elevation::of(&rack);
        let spans = drawn.spans.iter();
        let spans = spans.map(|s| (s.top, s.height, matches!(s.filled, Filled::Node(_))));
        let apart = drawn
            .apart
            .iter()
            .map(|(node, why)| format!("{}: {why}", node.id));
        (spans.collect(), apart.collect())
    }

    #[test]
    fn units_are_filled_from_the_top() {
        let (spans, apart) = drawn(
            vec![node("a", Some(1), Some(4)), node("b", Some(7), None)],
            Some(10),
        );
        assert_eq!(
            spans,
            [(10, 3, false), (7, 1, true), (6, 2, false), (4, 4, true)]
        );
        assert!(apart.is_empty());
    }

    #[test]
    fn what_cannot_be_drawn_is_listed_with_the_reason() {
        let (spans, apart) = drawn(
            vec![
                node("a", Some(1), Some(8)),
                node("b", Some(8), Some(8)),
                node("c", None, None),
                node("d", Some(0), None),
                node("e", Some(u32::MAX), Some(8)),
                node("f", Some(900), None),
            ],
            Some(16),
        );
        assert_eq!(spans, [(16, 8, false), (8, 8, true)]);
        assert_eq!(
            apart,
            [
                "b: its units are taken by a",
                "c: its unit is not known",
                "d: the rack has no unit 0",
                "e: its unit is not known",
                "f: the rack has no unit 900",
            ]
        );
    }

    #[test]
    fn a_rack_is_as_high_as_its_highest_node() {
        let (spans, _) = drawn(vec![node("a", Some(50), Some(2))], None);
        assert_eq!(spans, [(51, 2, true), (49, 49, false)]);
    }
}
