//! What a browser gets instead of a page: not found, not allowed, broken.

use maud::html;

use super::shell::{Live, Page};
use super::text::told;
use super::view::Problem;

/// What a status means, and what to do.
fn meaning(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("The request is not understood", "Go back and try again."),
        401 => (
            "You are not signed in",
            "Sign in with a token that may read.",
        ),
        403 => (
            "Not allowed",
            "Your token may not do this. Sign in with another one.",
        ),
        404 => (
            "There is no such page",
            "The node, rack or part is not known here. Search for it.",
        ),
        405 => ("Not done that way", "This address takes another method."),
        413 => ("Too large", "The request is larger than is taken here."),
        429 => ("Too many requests", "Wait a minute and try again."),
        503 => (
            "Not available now",
            "The store is busy or being repaired. Try again in a minute.",
        ),
        500..=599 => (
            "Something is broken here",
            "The server's log says what. Try again in a minute.",
        ),
        _ => ("That did not work", "Go back and try again."),
    }
}

/// The page.
pub fn problem(problem: &Problem) -> String {
    let (title, advice) = meaning(problem.status);
    let main = html! {
        div.problem {
            p.status { (problem.status) }
            h1 { (title) }
            p { @match &problem.detail { Some(detail) => (told(detail)), None => (advice) } }
            p {
                a.go href="/" { "To the fleet" }
                @if matches!(problem.status, 401 | 403) { " " a.go href="/login" { "Sign in" } }
            }
        }
    };
    Page {
        context: &problem.context,
        title: format!("{}: {title}", problem.status),
        live: Live::Never,
        q: None,
        main,
    }
    .render()
}
