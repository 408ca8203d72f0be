//! The pages: their form, their size, what they do with hostile text and with what is not known.

#[path = "pages_fixture/mod.rs"]
mod fixture;
#[path = "pages/form.rs"]
mod form;
#[path = "pages/hostile.rs"]
mod hostile;
#[path = "pages/html.rs"]
mod html;
#[path = "pages/words.rs"]
mod words;

use std::sync::LazyLock;

use cupel_inventory::pages;
use cupel_inventory::pages::view::LoginError;

/// Every page by name, with data as it usually is.
fn typical() -> &'static [(&'static str, String)] {
    static PAGES: LazyLock<Vec<(&str, String)>> = LazyLock::new(all);
    &PAGES
}

fn all() -> Vec<(&'static str, String)> {
    vec![
        ("fleet", pages::fleet(&fixture::fleet(25))),
        ("fleet of a bad day", pages::fleet(&fixture::fleet(1_500))),
        ("rack", pages::rack(&fixture::rack())),
        ("sick node", pages::node(&fixture::sick())),
        (
            "node with a link down",
            pages::node(&fixture::node("nvlink-inactive")),
        ),
        ("well node", pages::node(&fixture::well())),
        (
            "node without NVLink",
            pages::node(&fixture::node("healthy-pcie-l40s")),
        ),
        ("missing node", pages::node(&fixture::missing())),
        ("silent node", pages::node(&fixture::silent())),
        ("part", pages::part(&fixture::part())),
        ("search", pages::search(&fixture::search())),
        (
            "login",
            pages::login(&fixture::login(Some(LoginError::Refused))),
        ),
        ("problem", pages::problem(&fixture::problem(404, None))),
    ]
}
