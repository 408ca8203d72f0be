//! What the pages say: what to do first, states in words, and words for what is not known.

use cupel_inventory::pages::{self, view::*};
use cupel_model::Reading;
use cupel_model::snapshot::{Gpu, GpuThermal};
use cupel_model::wire::{GpuVitals, UpgradeOutcome};

use crate::html::{Element, parse};
use crate::{fixture, typical};

#[test]
fn from_the_fleet_to_what_to_do_is_one_click() {
    let mut fleet = fixture::fleet(25);
    let sick = fixture::sick();
    fleet.nodes[0] = NodeLine {
        worst: Some(FindingLine::from(&sick.findings[0])),
        ..sick.line.clone()
    };
    let page = parse(&pages::fleet(&fleet));
    let row = page.named("tbody")[0].named("tr")[0];
    let text = row.text();
    for part in [
        "✕ unhealthy",
        "gpu.off-bus",
        "GPU 3, SXM 6",
        "1 h 30 min ago",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let link = row.named("a")[0].attribute("href").expect("a link");
    assert_eq!(link, format!("/nodes/{}", sick.line.id));
    let node = parse(&pages::node(&sick));
    let main = node.named("main")[0];
    let steps = main.named("ol")[0];
    assert!(
        steps.text().starts_with("Reboot the node"),
        "{}",
        steps.text()
    );
    let at = |element: &Element| {
        main.all()
            .iter()
            .position(|e| std::ptr::eq(*e, element))
            .expect("in main")
    };
    for below in ["topology", "parts", "history", "events", "bringup"] {
        let below = node.by_id(below).expect(below);
        assert!(at(steps) < at(below));
    }
}

#[test]
fn the_steps_of_a_sick_node() {
    let node = parse(&pages::node(&fixture::sick()));
    let todo = node.by_id("todo").expect("what to do");
    let cards: Vec<_> = todo
        .named("article")
        .iter()
        .map(|card| card.text())
        .collect();
    insta::assert_snapshot!(cards.join("\n\n"));
}

#[test]
fn a_rack_in_words() {
    let page = parse(&pages::rack(&fixture::rack()));
    let mut lines: Vec<_> = page.named("tr").iter().map(|row| row.text()).collect();
    lines.retain(|line| line.parse::<u32>().is_err());
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_topology_in_words() {
    for name in ["nvlink-inactive", "healthy-hgx-b200", "healthy-pcie-l40s"] {
        let page = parse(&pages::node(&fixture::node(name)));
        let drawing = page.named("svg").into_iter().find(|svg| svg.is("topology"));
        let drawing = drawing.expect("a drawing");
        let texts: Vec<_> = drawing
            .named("text")
            .iter()
            .map(|text| text.text())
            .collect();
        insta::assert_snapshot!(
            format!("topology-{name}"),
            format!(
                "{}\n\n{}",
                drawing.attribute("aria-label").unwrap_or_default(),
                texts.join("\n")
            )
        );
    }
}

#[test]
fn no_cell_is_empty() {
    for (name, page) in typical() {
        for element in parse(page).all() {
            let told = matches!(
                element.name.as_str(),
                "td" | "dd" | "th" | "dt" | "li" | "option" | "a" | "button"
            );
            let drawn = !element.named("svg").is_empty();
            // The foot of a table of plots has room under the columns without an axis.
            let foot = element.name == "td"
                && element.attributes.is_empty()
                && element.children.is_empty();
            assert!(
                !told || drawn || foot || !element.text().is_empty(),
                "{name}: {element:?}"
            );
        }
    }
}

#[test]
fn every_state_in_a_list_is_a_symbol_and_a_word() {
    let mut seen = std::collections::BTreeSet::new();
    for (_, page) in typical() {
        for state in parse(page).all().into_iter().filter(|e| e.is("st")) {
            let text = state.text();
            let (symbol, word) = text.split_once(' ').unwrap_or((&text, ""));
            assert_eq!(symbol.chars().count(), 1, "{text}");
            // A lone ✓ in a table of parts stands under the heading "State".
            assert!(symbol == "✓" || !word.is_empty(), "{text}");
            seen.insert(symbol.to_owned());
        }
    }
    for symbol in ["✕", "—", "○", "?", "!", "·", "✓"] {
        assert!(seen.contains(symbol), "{symbol} was never shown");
    }
}

#[test]
fn what_could_not_be_read_is_a_word_and_never_zero() {
    let mut node = fixture::well();
    let snapshot = node.snapshot.as_mut().expect("a snapshot");
    let failed = || Reading::failed("EIO");
    for gpu in &mut snapshot.gpus {
        gpu.thermal = GpuThermal::default();
        gpu.nvlink = Reading::failed("GPU is lost");
        gpu.identity.name = failed();
        gpu.slot = failed();
    }
    snapshot.gpus.push(Gpu::default());
    for port in snapshot
        .rdma
        .iter_mut()
        .flat_map(|device| &mut device.ports)
    {
        port.state = failed();
        port.rate_gbps = Reading::absent("no rate");
    }
    snapshot.kernel.release = failed();
    snapshot.node.uptime_seconds = Reading::failed("EIO");
    node.line.serial = None;
    node.line.platform = None;
    node.vitals = vec![VitalsAt {
        at: fixture::ago(60),
        gpus: vec![GpuVitals {
            index: 0,
            temperature_celsius: None,
            power_watts: None,
        }],
    }];
    let page = parse(&pages::node(&node));
    let text = page.text();
    for wanted in [
        "name unreadable",
        "? NVLinks unreadable",
        "state unreadable",
        "temperature unreadable",
        "None of its NVLinks could be read.",
        "slot not known",
        "unreadable (EIO)",
        "Serial not known",
        "Platform not known",
        "not in the driver",
        "never read",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    for zero in [" 0 °C", " 0 W", " 0 Gb/s", " 0 of 0", "NaN", "inf"] {
        assert!(!text.contains(zero), "{zero} in {text}");
    }
}

#[test]
fn a_node_that_never_reported_says_what_to_do() {
    let page = parse(&pages::node(&fixture::missing()));
    let todo = page.by_id("todo").expect("what to do").text();
    assert!(
        todo.contains("It should be here and has never reported."),
        "{todo}"
    );
    assert!(todo.contains("find out whether it is there"), "{todo}");
    let silent = parse(&pages::node(&fixture::silent()));
    let todo = silent.by_id("todo").expect("what to do").text();
    assert!(todo.contains("Its last verdict was healthy."), "{todo}");
    assert!(todo.contains("find out why it is silent"), "{todo}");
}

#[test]
fn a_version_that_is_wished_is_told_with_what_came_of_it() {
    let shown = |upgrade: Option<Upgrade>| {
        let mut node = fixture::well();
        node.upgrade = upgrade;
        parse(&pages::node(&node)).text()
    };
    assert!(!shown(None).contains("Upgrade wished"));
    let mut upgrade = Upgrade {
        version: "0.2.0-3f9a1c02b7de".to_owned(),
        outcome: None,
        why: None,
    };
    let text = shown(Some(upgrade.clone()));
    assert!(
        text.contains("Upgrade wished 0.2.0-3f9a1c02b7de - not told yet"),
        "{text}"
    );
    upgrade.outcome = Some(UpgradeOutcome::Waits);
    upgrade.why = fixture::some(
        "fetching failed 3 times (cannot connect to releases.example: no route); \
         tried again in about 4 min",
    );
    let text = shown(Some(upgrade.clone()));
    assert!(
        text.contains(
            "Upgrade wished 0.2.0-3f9a1c02b7de - waits: fetching failed 3 times (cannot connect \
             to releases.example: no route); tried again in about 4 min"
        ),
        "{text}"
    );
    (upgrade.outcome, upgrade.why) = (Some(UpgradeOutcome::Done), None);
    let text = shown(Some(upgrade));
    assert!(text.contains("0.2.0-3f9a1c02b7de - done"), "{text}");
    assert!(!text.contains("- done:"), "{text}");
}

#[test]
fn a_filter_keeps_the_others_and_drops_the_cursor() {
    let mut fleet = fixture::fleet(25);
    fleet.query = FleetQuery {
        region: fixture::some("eu-north-1"),
        code: fixture::some("gpu.off-bus"),
        after: fixture::some("cursor"),
        ..FleetQuery::default()
    };
    fleet.before = 100;
    let page = parse(&pages::fleet(&fleet));
    let hrefs: Vec<_> = page
        .named("a")
        .iter()
        .filter_map(|a| a.attribute("href"))
        .collect();
    for wanted in [
        "/?show=unhealthy&region=eu-north-1&code=gpu.off-bus",
        "/?region=eu-north-1",
        "/?region=eu-north-1&code=gpu.off-bus&after=eyJhIjoxfQ",
        "/?region=eu-north-1&code=gpu.off-bus",
    ] {
        assert!(hrefs.contains(&wanted), "{wanted} is not in {hrefs:?}");
    }
    let pager = page
        .named("nav")
        .into_iter()
        .find(|nav| nav.is("pager"))
        .expect("a pager");
    assert!(
        pager.text().contains("101–200 of 12\u{202f}560"),
        "{}",
        pager.text()
    );
}

#[test]
fn an_empty_fleet_says_how_to_begin() {
    let fleet = Fleet {
        racks: Vec::new(),
        nodes: Vec::new(),
        codes: Vec::new(),
        matching: 0,
        next: None,
        ..fixture::fleet(0)
    };
    let text = parse(&pages::fleet(&fleet)).text();
    assert!(
        text.contains("No node has reported yet. Start cupel run"),
        "{text}"
    );
    let filtered = Fleet {
        query: FleetQuery {
            q: fixture::some("x"),
            ..FleetQuery::default()
        },
        ..fleet
    };
    let text = parse(&pages::fleet(&filtered)).text();
    assert!(
        text.contains("No node is like that. Show all nodes"),
        "{text}"
    );
}

#[test]
fn signing_in_says_why_it_did_not_work() {
    for error in [
        LoginError::Empty,
        LoginError::Refused,
        LoginError::Scope,
        LoginError::TooMany,
        LoginError::Expired,
    ] {
        let page = parse(&pages::login(&fixture::login(Some(error))));
        let alert = page
            .all()
            .into_iter()
            .find(|e| e.attribute("role") == Some("alert"));
        assert!(
            alert.expect("the reason").text().starts_with("✕ "),
            "{error:?}"
        );
    }
    let page = parse(&pages::login(&fixture::login(None)));
    assert!(
        page.all()
            .iter()
            .all(|e| e.attribute("role") != Some("alert"))
    );
    let token = page.by_id("token").expect("the field");
    assert_eq!(token.attribute("type"), Some("password"));
}

#[test]
fn problems_have_a_page_of_their_own() {
    for status in [400, 401, 403, 404, 413, 429, 500, 503, 418] {
        let text = parse(&pages::problem(&fixture::problem(status, None))).text();
        assert!(text.contains(&status.to_string()), "{text}");
    }
    let text = parse(&pages::problem(&fixture::problem(
        500,
        Some("the disk is full"),
    )))
    .text();
    assert!(text.contains("the disk is full"), "{text}");
}
