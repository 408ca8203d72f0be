//! What is around every page: head, top bar, search, footer, the list of keys.
//!
//! # Invariants
//! - One `h1`, one `main`, a title, a language; nothing inline that the content security policy
//!   forbids.
//! - Without script a page still shows everything; it is then loaded again every 30 s.

use maud::{DOCTYPE, Markup, html};

use super::assets::assets;
use super::text::{clock, cut, encoded, line, told};
use super::view::{Context, RackPlace};

/// What of the inventory's events concerns a page: then the script fetches it again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Live<'a> {
    /// Any change of any node.
    Fleet,
    /// Changes of the nodes of a rack.
    Rack(&'a RackPlace),
    /// Changes and reports of a node.
    Node(&'a str),
    /// Any change, seldom.
    Any,
    /// None.
    Never,
}

/// A page before it has a frame.
pub(super) struct Page<'a> {
    pub context: &'a Context,
    /// What the window is called, without the program's name.
    pub title: String,
    pub live: Live<'a>,
    /// What the search field holds.
    pub q: Option<&'a str>,
    pub main: Markup,
}

/// Keys and what they do.
const KEYS: [(&str, &str); 7] = [
    ("/", "search"),
    ("j", "next row"),
    ("k", "row before"),
    ("Enter", "open the row"),
    ("g f", "to the fleet"),
    ("?", "this list"),
    ("Esc", "close, leave the search field"),
];

impl Page<'_> {
    /// The whole document.
    pub(super) fn render(&self) -> String {
        let [style, script, icon] = assets();
        let context = self.context;
        let live = !matches!(self.live, Live::Never);
        let now = clock(context.now).replace(' ', "T");
        let (kind, node, place) = match self.live {
            Live::Fleet => ("fleet", None, None),
            Live::Rack(place) => ("rack", None, Some(place)),
            Live::Node(node) => ("node", Some(node), None),
            Live::Any => ("any", None, None),
            Live::Never => ("never", None, None),
        };
        // Encoded as in an address, so that any text comes through as it is.
        let part = |pick: fn(&RackPlace) -> &Option<String>| {
            place.and_then(|place| pick(place).as_deref()).map(encoded)
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (cut(&self.title, 120)) " · Cupel" }
                    link rel="icon" href=(icon.href()) type="image/svg+xml";
                    link rel="stylesheet" href=(style.href());
                    script src=(script.href()) defer {}
                    @if live { noscript { meta http-equiv="refresh" content="30"; } }
                }
                body data-live=(kind) data-now={ (now) "Z" } data-node=[node.map(encoded)]
                    data-region=[part(|p| &p.region)] data-site=[part(|p| &p.site)]
                    data-row=[part(|p| &p.row)] data-rack=[part(|p| &p.rack)] {
                    a.skip href="#main" { "Skip to the content" }
                    (self.top(live))
                    main #main tabindex="-1" { (self.main) }
                    footer {
                        "Cupel inventory " (told(&context.version)) ". All times are UTC; made at "
                        (clock(context.now)) "."
                        button #keys type="button" hidden { "Keys" }
                    }
                    div #say.vh role="status" aria-live="polite" {}
                    (help())
                }
            }
        }
        .into_string()
    }

    fn top(&self, live: bool) -> Markup {
        let signed_in = self.context.signed_in.as_deref();
        html! {
            header.top {
                a.brand href="/" aria-label="Cupel inventory: fleet" { (mark()) "Cupel" }
                @if let Some(name) = signed_in {
                    nav aria-label="Pages" {
                        a href="/" aria-current=[matches!(self.live, Live::Fleet).then_some("page")] {
                            "Fleet"
                        }
                    }
                    form.find role="search" action="/search" method="get" {
                        label.vh for="q" { "Search nodes, serials and codes" }
                        input #q name="q" type="search" maxlength="200" autocomplete="off"
                            placeholder="Node, serial or code" value=[self.q.map(line)];
                        button type="submit" { "Search" }
                    }
                    @if live {
                        p #live hidden { b {} " " span {} }
                        noscript { p.live { "Loads again every 30 s" } }
                    }
                    form.out action="/logout" method="post" {
                        button type="submit" title={ "Signed in as " (cut(name, 60)) } {
                            "Sign out"
                        }
                    }
                }
            }
        }
    }
}

/// A cup from the side, with its bead: the program's mark.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" {
            path d="M2 6h16l-3 11H5z" {}
            circle cx="10" cy="8.5" r="2.6" {}
        }
    }
}

fn help() -> Markup {
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            dl.keys { @for (key, what) in KEYS { dt { kbd { (key) } } dd { (what) } } }
            form method="dialog" { button type="submit" { "Close" } }
        }
    }
}
