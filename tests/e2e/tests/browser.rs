//! The inventory's pages in a real browser: no error on the console, a person's way to what must be
//! done, and a fault that appears on an open page.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cupel_fleet::{Browser, Inventory, Node, NodeOptions, Scheme, chromium};
use cupel_rack::{Scenario, scratch};

/// Directory that pictures are kept in, where one is wanted.
const PICTURES: &str = "CUPEL_PICTURES";

fn scenario(name: &str) -> Result<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    Scenario::load(&folder.join(format!("{name}.toml")))
}

/// A node in good order that is in the inventory, and its id there.
fn seen_node(directory: &Path, inventory: &Inventory, name: &str) -> Result<(Node, String)> {
    let options = NodeOptions {
        inventory: Some(inventory.url.clone()),
        token: inventory.token("browser", "report", None)?,
        ..NodeOptions::default()
    };
    let mut node = Node::new(&scenario(name)?, directory, &options)?;
    node.start()?;
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let nodes = inventory.api().json("/v1/nodes")?;
        let first = &nodes["items"][0];
        if !first["verdict"].is_null()
            && let Some(id) = first["id"].as_str()
        {
            return Ok((node, id.to_owned()));
        }
        ensure!(Instant::now() < until, "the node is not in the inventory");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn pages_are_without_errors_and_a_fault_appears_on_an_open_one() -> Result<()> {
    if chromium().is_none() {
        println!("skipped: no Chromium (apt-get install chromium)");
        return Ok(());
    }
    let directory = scratch()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let (mut node, id) = seen_node(&directory.path().join("node"), &inventory, "gpu-off-bus")?;
    let mut browser = Browser::start(directory.path())?;
    browser.go(&inventory.link()?)?;
    browser.errors()?;

    let page = format!("{}/nodes/{id}", inventory.url);
    browser.go(&page)?;
    let loads = browser.loads();
    ensure!(
        browser.evaluate("document.body.innerText.includes('gpu.off-bus')")? == false,
        "it is well yet"
    );
    browser.wait_for(
        "document.body.innerText.toLowerCase().includes('live')",
        Duration::from_secs(20),
    )?;
    node.rack.apply_all(&scenario("gpu-off-bus")?.faults)?;
    let after = browser.wait_for(
        "document.body.innerText.includes('gpu.off-bus')",
        Duration::from_secs(60),
    )?;
    println!(
        "a fault was on the open page after {:.2} s",
        after.as_secs_f64()
    );
    ensure!(browser.loads() == loads, "without a reload");

    every_page_in_every_look(&mut browser, &inventory, &id)?;
    two_clicks(&mut browser, &inventory)
}

/// Fleet, rack, node, part, search and sign-in, wide and narrow, light and dark.
fn every_page_in_every_look(browser: &mut Browser, inventory: &Inventory, id: &str) -> Result<()> {
    let record = inventory.api().json(&format!("/v1/nodes/{id}"))?;
    let serial = record["serial"].as_str().unwrap_or("none").to_owned();
    let pages = [
        ("fleet", "/".to_owned()),
        ("rack", "/racks/-/-/-/-".to_owned()),
        ("node", format!("/nodes/{id}")),
        ("part", "/parts/1652923017172".to_owned()),
        ("search", format!("/search?q={serial}")),
        ("login", "/login".to_owned()),
    ];
    let pictures = std::env::var_os(PICTURES);
    for (width, scheme) in [
        (1280, Scheme::Light),
        (1280, Scheme::Dark),
        (800, Scheme::Light),
        (800, Scheme::Dark),
    ] {
        browser.look(width, 900, scheme)?;
        for (name, path) in &pages {
            browser.go(&format!("{}{path}", inventory.url))?;
            let what = format!("{name} at {width}, {}", scheme.word());
            let errors = browser.errors()?;
            ensure!(errors.is_empty(), "{what}: {errors:#?}");
            let headings = browser.evaluate("document.querySelectorAll('h1').length")?;
            ensure!(headings == 1, "{what}: {headings} first headings");
            let overflow = browser.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth",
            )?;
            ensure!(
                overflow == 0,
                "{what}: {overflow} pixels wider than the window"
            );
            let picture = browser.picture()?;
            ensure!(picture.len() > 5_000, "{what}: an empty picture");
            if let Some(folder) = &pictures {
                let file = format!("{name}-{width}-{}.png", scheme.word());
                std::fs::write(Path::new(folder).join(file), picture)?;
            }
        }
    }
    Ok(())
}

/// Fleet, sick node, what to do: two clicks at most, and above the fold.
fn two_clicks(browser: &mut Browser, inventory: &Inventory) -> Result<()> {
    browser.look(1280, 900, Scheme::Light)?;
    browser.go(&inventory.url)?;
    let loads = browser.loads();
    browser.evaluate("document.querySelector('main a[href^=\"/nodes/\"]').click()")?;
    let until = Instant::now() + Duration::from_secs(20);
    while browser.loads() == loads {
        ensure!(Instant::now() < until, "the first click leads nowhere");
        browser.evaluate("1")?;
    }
    let place = browser.evaluate(
        "(() => { const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); \
         while (walk.nextNode()) { if (walk.currentNode.textContent.includes('Reboot the node')) \
         return walk.currentNode.parentElement.getBoundingClientRect().bottom; } return null; })()",
    )?;
    let bottom = place.as_f64().context("what to do is not on the page")?;
    ensure!(bottom < 900.0, "what to do stands {bottom} pixels down");
    Ok(())
}
