//! Form, size and colours of every page.

use std::collections::{BTreeMap, BTreeSet};

use cupel_inventory::pages::{self, assets};

use crate::html::parse;
use crate::{fixture, typical};

/// A page with its style sheet, script and icon, uncompressed.
const PAGE_BYTES: usize = 100_000;

#[test]
fn a_page_with_all_it_loads_stays_below_100_kilobytes() {
    let files: usize = assets().iter().map(|asset| asset.bytes.len()).sum();
    for (name, page) in typical() {
        let all = page.len() + files;
        assert!(
            all <= PAGE_BYTES,
            "{name}: {all} bytes, {} of them HTML",
            page.len()
        );
    }
}

#[test]
fn a_page_has_one_heading_one_main_part_a_title_and_a_language() {
    for (name, page) in typical() {
        let html = parse(page);
        assert_eq!(html.attribute("lang"), Some("en"), "{name}");
        for (tag, count) in [
            ("title", 1),
            ("h1", 1),
            ("main", 1),
            ("footer", 1),
            ("header", 1),
        ] {
            let found = html.named(tag).into_iter().filter(|e| {
                // A finding has a header of its own; the page's is the body's.
                tag != "header" || e.is("top")
            });
            assert_eq!(found.count(), count, "{name}: {tag}");
        }
        assert!(html.named("title")[0].text().len() > 8, "{name}");
        assert!(!html.named("h1")[0].text().is_empty(), "{name}");
    }
}

#[test]
fn the_content_security_policy_forbids_nothing_that_a_page_has() {
    let policy = pages::SECURITY_HEADERS[0].1;
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    for (name, page) in typical() {
        for element in parse(page).all() {
            assert_ne!(element.name, "style", "{name}");
            for (attribute, value) in &element.attributes {
                let fine = attribute != "style" && !attribute.starts_with("on");
                assert!(fine, "{name}: {attribute}={value} in {}", element.name);
                if matches!(attribute.as_str(), "href" | "src" | "action") {
                    let own = value.starts_with('#')
                        || (value.starts_with('/') && !value.starts_with("//"));
                    assert!(own, "{name}: {attribute}={value}");
                }
            }
            if element.name == "script" {
                assert!(element.children.is_empty(), "{name}: inline script");
                assert!(element.attribute("src").is_some(), "{name}");
            }
        }
    }
}

#[test]
fn ids_are_unique_and_what_is_named_by_them_is_there() {
    for (name, page) in typical() {
        let html = parse(page);
        let mut ids = BTreeSet::new();
        for element in html.all() {
            if let Some(id) = element.attribute("id") {
                assert!(ids.insert(id.to_owned()), "{name}: {id} twice");
            }
        }
        for element in html.all() {
            let named = ["for", "aria-labelledby", "aria-describedby"];
            for id in named
                .iter()
                .filter_map(|attribute| element.attribute(attribute))
            {
                assert!(ids.contains(id), "{name}: nothing is called {id}");
            }
            if let Some(id) = element
                .attribute("href")
                .and_then(|href| href.strip_prefix('#'))
            {
                assert!(ids.contains(id), "{name}: nothing is called {id}");
            }
        }
    }
}

#[test]
fn tables_and_fields_can_be_read_aloud() {
    for (name, page) in typical() {
        let html = parse(page);
        for head in html.named("th") {
            let scope = head.attribute("scope");
            assert!(
                matches!(scope, Some("col" | "row")),
                "{name}: {}",
                head.text()
            );
        }
        let labels = html.named("label");
        for field in html.all() {
            if !matches!(field.name.as_str(), "input" | "select")
                || field.attribute("type") == Some("hidden")
                || field.attribute("hidden").is_some()
            {
                continue;
            }
            let id = field.attribute("id");
            let labelled = labels.iter().any(|label| {
                let inside = label.all().iter().any(|e| std::ptr::eq(*e, field));
                inside || (id.is_some() && label.attribute("for") == id)
            });
            assert!(labelled, "{name}: {:?}", field.attributes);
        }
        for drawing in html.named("svg") {
            let hidden = drawing.attribute("aria-hidden") == Some("true");
            let told = drawing.attribute("aria-label").is_some();
            assert!(hidden || told, "{name}: a drawing without words");
        }
    }
}

#[test]
fn the_same_view_gives_the_same_bytes() {
    assert_eq!(pages::node(&fixture::sick()), pages::node(&fixture::sick()));
    assert_eq!(
        pages::fleet(&fixture::fleet(25)),
        pages::fleet(&fixture::fleet(25))
    );
}

/// Colours by name of one scheme: those of the first block, and of the dark one over them.
fn colours(dark: bool) -> BTreeMap<String, [f64; 3]> {
    let style = std::str::from_utf8(assets()[0].bytes).expect("text");
    let (light, rest) = style
        .split_once("@media screen and (prefers-color-scheme: dark)")
        .expect("dark");
    let blocks = if dark { vec![light, rest] } else { vec![light] };
    let mut colours = BTreeMap::new();
    for block in blocks {
        let block = block.split_once(":root {").expect("colours").1;
        for line in block.split_once('}').expect("an end").0.split(';') {
            let Some((name, value)) = line.trim().split_once(": #") else {
                continue;
            };
            let digits: Vec<u32> = value.chars().filter_map(|c| c.to_digit(16)).collect();
            let channel = |at: usize| match digits.len() {
                3 => f64::from(digits[at] * 17),
                _ => f64::from(digits[at * 2] * 16 + digits[at * 2 + 1]),
            };
            colours.insert(name.to_owned(), [channel(0), channel(1), channel(2)]);
        }
    }
    colours
}

/// Relative luminance, by WCAG 2.2.
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |channel: f64| {
        let c = channel / 255.0;
        if c <= 0.04045 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

#[test]
fn text_can_be_read_in_light_and_dark() {
    for dark in [false, true] {
        let colours = colours(dark);
        let contrast = |a: &str, b: &str| {
            let (a, b) = (luminance(colours[a]), luminance(colours[b]));
            (a.max(b) + 0.05) / (a.min(b) + 0.05)
        };
        let tones = ["good", "warn", "bad", "gone", "unk", "info", "quiet"];
        let mut pairs = vec![
            ("--ink".to_owned(), "--paper".to_owned()),
            ("--ink".to_owned(), "--shade".to_owned()),
            ("--soft".to_owned(), "--paper".to_owned()),
            ("--soft".to_owned(), "--shade".to_owned()),
            ("--link".to_owned(), "--paper".to_owned()),
            ("--link".to_owned(), "--shade".to_owned()),
        ];
        for tone in tones {
            pairs.push((format!("--{tone}"), "--paper".to_owned()));
            pairs.push((format!("--{tone}"), "--shade".to_owned()));
            pairs.push((format!("--{tone}"), format!("--{tone}-b")));
            pairs.push(("--ink".to_owned(), format!("--{tone}-b")));
            // Inside a box of a tone stand soft texts too.
            pairs.push(("--soft".to_owned(), format!("--{tone}-b")));
        }
        for (text, ground) in pairs {
            let contrast = contrast(&text, &ground);
            assert!(
                contrast >= 4.5,
                "{text} on {ground}, dark {dark}: {contrast:.2}"
            );
        }
        // Borders of fields and parts of drawings: 3 to 1.
        let contrast = contrast("--faint", "--paper");
        assert!(contrast >= 3.0, "--faint, dark {dark}: {contrast:.2}");
    }
}
