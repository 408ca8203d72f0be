//! Pages: one self-contained HTML file, to be mailed, printed, or opened at a crash cart.
//!
//! # Invariants
//! - No script, no outside resource; styles are inline.
//! - Every state is a word before it is a colour, so that the page reads in black and white.
//! - All text is escaped by the template; text from the machine is [`printable`] as well.
//!
//! [`printable`]: crate::output::printable

mod bringup;
mod burn_in;
mod parts;

pub use bringup::bringup_page;
pub use burn_in::burn_in_page;

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// A whole page around its body.
fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
    .into_string()
}
