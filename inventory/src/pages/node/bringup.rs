//! What came of a node's newest bring-up.

use maud::{Markup, html};

use crate::pages::text::{count, cut, span, time, told};
use crate::pages::view::{Node, Standing};
use crate::pages::words::badge;

/// Most steps and reasons on the page.
const MOST: usize = 30;

/// Verdict, reasons, steps.
pub(super) fn bringup(node: &Node) -> Markup {
    let now = node.context.now;
    html! {
        section #bringup aria-labelledby="bringup-title" {
            h2 #bringup-title { "Bring-up" }
            @match &node.bringup {
                None => p.soft { "No bring-up of this node was told. On the node: " code { "cupel bringup" } "." },
                Some(summary) => {
                    p {
                        (badge(Standing::reporting(summary.verdict)))
                        " ended " (time(now, summary.finished_at)) ", took "
                        (span(summary.finished_at.seconds_since(summary.started_at).max(0.0))) "."
                    }
                    @if !summary.reasons.is_empty() {
                        ul { @for reason in summary.reasons.iter().take(MOST) { li { (told(&cut(reason, 300))) } } }
                    }
                    details open[summary.steps.len() <= 8] {
                        summary { (count(u64::try_from(summary.steps.len()).unwrap_or(u64::MAX), "step")) }
                        div.scroll { table {
                            thead { tr {
                                th scope="col" { "Step" } th.num scope="col" { "Took" } th scope="col" { "Result" }
                            } }
                            tbody { @for step in summary.steps.iter().take(MOST) { tr {
                                th scope="row" { (told(&cut(&step.name, 60))) }
                                td.num { @match step.elapsed_seconds {
                                    Some(seconds) => (span(seconds.get())),
                                    None => span.nil { "interrupted" },
                                } }
                                td { (told(&cut(&step.detail, 300))) }
                            } } }
                        } }
                    }
                }
            }
        }
    }
}
