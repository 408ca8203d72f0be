//! One node: how it stands and what to do first, then what it is made of, then what it went through.

mod bringup;
mod events;
mod facts;
mod findings;
mod history;
mod parts;
mod plot;

use maud::{Markup, html};

use super::href;
use super::nodes::{name, tags};
use super::rack::crumbs;
use super::shell::{Live, Page};
use super::text::{cut, time, told};
use super::topology::topology;
use super::view::{Node, Standing};
use super::words::{self, badge, standing, tone};

/// How it stands, since when, and what that means.
fn banner(node: &Node) -> Markup {
    let now = node.context.now;
    let stands = node.line.standing;
    html! {
        div.banner.(tone(stands)) {
            p.word { (badge(stands)) }
            p {
                @if let Some(since) = node.standing_since { "since " (time(now, since)) ". " }
                (words::meaning(stands))
                @if let (Standing::Silent, Some(verdict)) = (stands, node.verdict) {
                    " Its last verdict was " b { (standing(Standing::reporting(verdict))) } "."
                }
                @if let Some(why) = &node.stopped { " It said that it stops: " (told(&cut(why, 120))) "." }
            }
        }
    }
}

fn contents(node: &Node) -> Markup {
    html! {
        nav.toc aria-label="On this page" {
            @if node.snapshot.is_some() { a href="#topology" { "Topology" } }
            a href="#parts" { "Parts" }
            a href="#history" { "History" }
            a href="#events" { "Kernel log" }
            a href="#bringup" { "Bring-up" }
            a href="#raw" { "Raw data" }
        }
    }
}

fn raw(node: &Node) -> Markup {
    let id = &node.line.id;
    html! {
        section #raw aria-labelledby="raw-title" {
            h2 #raw-title { "Raw data" }
            ul.raw {
                @if node.snapshot.is_some() {
                    li { a.go href=(href::api(id, "/snapshot")) { "Snapshot as JSON" } }
                }
                li { a.go href=(href::api(id, "")) { "This node's record as JSON" } }
                li { a.go href=(href::api(id, "/history")) { "Its history as JSON" } }
            }
            @if let Some(snapshot) = &node.snapshot {
                @if !snapshot.problems.is_empty() {
                    details {
                        summary { "What could not be read on the node (" (snapshot.problems.len()) ")" }
                        ul { @for problem in snapshot.problems.iter().take(30) {
                            li { span.code { (told(&cut(&problem.source, 60))) } ": " (told(&cut(&problem.why, 200))) }
                        } }
                    }
                }
            }
        }
    }
}

/// The page.
pub fn node(node: &Node) -> String {
    let heading = cut(name(&node.line), 80).into_owned();
    let main = html! {
        (crumbs(&node.line.place.rack, true))
        div.title {
            h1 { (told(&heading)) }
            p { (tags(&node.line)) }
            (contents(node))
        }
        div.node {
            div.first {
                section #todo aria-labelledby="todo-title" {
                    h2 #todo-title.vh { "How it stands, and what to do" }
                    (banner(node))
                    (findings::findings(node))
                }
                @if let Some(snapshot) = &node.snapshot {
                    section #topology aria-labelledby="topology-title" {
                        h2 #topology-title { "Topology" }
                        (topology(snapshot, &node.findings, &node.context))
                    }
                }
            }
            aside.facts aria-label="What and where it is" { (facts::facts(node)) }
        }
        (parts::parts(node))
        (history::history(node))
        (events::events(node))
        (bringup::bringup(node))
        (raw(node))
        p.vh data-say { (heading) " is " (standing(node.line.standing)) ", " (findings::in_words(node)) }
    };
    Page {
        context: &node.context,
        title: format!("{heading}: {}", standing(node.line.standing)),
        live: Live::Node(&node.line.id),
        q: None,
        main,
    }
    .render()
}
