//! What narrows the fleet's list: a form that works without script, and what is chosen now.

use maud::{Markup, html};

use super::href::{self, show_word};
use super::text::{cut, line};
use super::view::{Fleet, FleetQuery, Show};
use super::words::{self, LIFECYCLES};

/// Longest list of choices.
const CHOICES: usize = 60;

/// What can be shown, with the words of the choice.
const SHOWS: [(Show, &str); 11] = [
    (Show::All, "all states"),
    (Show::Sick, "sick"),
    (Show::Unhealthy, "unhealthy"),
    (Show::Silent, "silent"),
    (Show::Missing, "missing"),
    (Show::Unknown, "unknown"),
    (Show::Degraded, "degraded"),
    (Show::Quiet, "quiet"),
    (Show::Healthy, "healthy"),
    (Show::Unexpected, "unexpected"),
    (Show::Mismatched, "mismatched"),
];

fn set(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// Whether the query narrows anything.
pub(super) fn any(query: &FleetQuery) -> bool {
    let all = FleetQuery {
        after: query.after.clone(),
        ..FleetQuery::default()
    };
    href::fleet(query) != href::fleet(&all)
}

/// A choice of texts. The chosen one is always in it.
fn choice(name: &str, label: &str, every: &str, of: &[String], chosen: Option<&str>) -> Markup {
    let listed = |text: &str| of.iter().take(CHOICES).any(|one| one == text);
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" { (every) }
                @if let Some(chosen) = chosen.filter(|text| !listed(text)) {
                    option value=(line(chosen)) selected { (cut(chosen, 40)) }
                }
                @for one in of.iter().take(CHOICES) {
                    option value=(line(one)) selected[chosen == Some(one)] { (cut(one, 40)) }
                }
            }
        }
    }
}

/// What is chosen beside the form's fields, each with a way to drop it.
fn chosen(query: &FleetQuery) -> Markup {
    let without = |change: fn(&mut FleetQuery)| {
        let mut query = FleetQuery {
            after: None,
            ..query.clone()
        };
        change(&mut query);
        href::fleet(&query)
    };
    let tag = |name: &str, text: Option<&str>, href: String| {
        html! {
            @if let Some(text) = text {
                a.c href=(href) {
                    (name) " " b { (cut(text, 40)) } " ✕" span.vh { " drop this filter" }
                }
            }
        }
    };
    html! {
        (tag("row", set(&query.row), without(|q| { q.row = None; q.rack = None; })))
        (tag("rack", set(&query.rack), without(|q| q.rack = None)))
        (tag("code", set(&query.code), without(|q| q.code = None)))
        @if any(query) { a.c href="/" { "Show everything" } }
    }
}

/// The form and what is chosen.
pub(super) fn filters(fleet: &Fleet) -> Markup {
    let query = &fleet.query;
    html! {
        form.filters action="/" method="get" aria-label="Filter the list" {
            label {
                span { "Name, serial or id" }
                input name="q" type="search" maxlength="200" autocomplete="off" value=[set(&query.q).map(line)];
            }
            label {
                span { "State" }
                select name="show" {
                    @for (show, name) in SHOWS {
                        option value=(show_word(show)) selected[query.show == show] { (name) }
                    }
                }
            }
            (choice("region", "Region", "every region", &fleet.regions, set(&query.region)))
            (choice("site", "Site", "every site", &fleet.sites, set(&query.site)))
            (choice("platform", "Platform", "every platform", &fleet.platforms, set(&query.platform)))
            label {
                span { "Lifecycle" }
                select name="lifecycle" {
                    option value="" { "every lifecycle" }
                    @for (value, word) in LIFECYCLES {
                        option value=(word) selected[query.lifecycle.as_deref() == Some(word)] {
                            (words::lifecycle(value))
                        }
                    }
                }
            }
            @for (name, value) in [("row", &query.row), ("rack", &query.rack), ("code", &query.code)] {
                @if let Some(value) = set(value) { input type="hidden" name=(name) value=(line(value)); }
            }
            button type="submit" { "Filter" }
            p.chosen { (chosen(query)) }
        }
    }
}
