//! The pages, as pure functions from the values in [`view`] to HTML.
//!
//! # Invariants
//! - No I/O, no clock, no state: the same view gives the same bytes.

pub mod view;

macro_rules! page {
    ($($(#[$doc:meta])* $name:ident: $view:ident,)*) => { $(
        $(#[$doc])*
        pub fn $name(view: &view::$view) -> String {
            format!("{}: {}", stringify!($name), view.context.now)
        }
    )* };
}

page! {
    /// `/`
    fleet: Fleet,
    /// `/racks/{region}/{site}/{row}/{rack}`
    rack: Rack,
    /// `/nodes/{id}`
    node: Node,
    /// `/parts/{serial}`
    part: Part,
    /// `/search`
    search: Search,
    /// `/login`
    login: Login,
    /// Whatever went wrong.
    problem: Problem,
}

/// A file that pages load.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its path on this server.
    pub path: &'static str,
    /// Its media type, as in the header.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// Strong, with its quotes, as in the header.
    pub etag: &'static str,
}

/// All of them.
pub fn assets() -> &'static [Asset] {
    &[]
}

/// Headers of every page and asset.
pub const SECURITY_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];
