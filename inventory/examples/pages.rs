//! Writes the pages with synthetic data into a directory, to be looked at:
//! `cargo run -p cupel-inventory --example pages -- DIRECTORY`
//!
//! Serve the directory with any web server; pages name their files from its root.

#[path = "../tests/pages_fixture/mod.rs"]
mod fixture;

use std::path::Path;

use anyhow::Context as _;
use cupel_inventory::pages;
use cupel_inventory::pages::view::*;

fn write(directory: &Path, name: &str, text: &[u8]) -> anyhow::Result<()> {
    let path = directory.join(name.trim_start_matches('/'));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// One site of the fleet, as the page of a person who chose it.
fn one_row() -> Fleet {
    let mut fleet = fixture::fleet(90);
    let place = fixture::place(0, 0, 0);
    fleet
        .racks
        .retain(|rack| rack.place.row == place.row && rack.place.site == place.site);
    fleet.query = FleetQuery {
        region: place.region,
        site: place.site,
        row: place.row,
        code: fixture::some("gpu.off-bus"),
        ..FleetQuery::default()
    };
    fleet.nodes.truncate(6);
    fleet.matching = 6;
    fleet.next = None;
    fleet
}

fn empty() -> Fleet {
    Fleet {
        capacity: None,
        racks: Vec::new(),
        codes: Vec::new(),
        nodes: Vec::new(),
        matching: 0,
        next: None,
        ..fixture::fleet(0)
    }
}

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).context("give a directory")?;
    let directory = Path::new(&directory);
    for asset in pages::assets() {
        write(directory, asset.path, asset.bytes)?;
    }
    let files = [
        ("fleet", pages::fleet(&fixture::fleet(25))),
        ("fleet-bad", pages::fleet(&fixture::fleet(1_500))),
        ("fleet-row", pages::fleet(&one_row())),
        ("fleet-empty", pages::fleet(&empty())),
        ("rack", pages::rack(&fixture::rack())),
        ("node-sick", pages::node(&fixture::sick())),
        (
            "node-nvlink",
            pages::node(&fixture::node("nvlink-inactive")),
        ),
        ("node-well", pages::node(&fixture::well())),
        (
            "node-l40s",
            pages::node(&fixture::node("healthy-pcie-l40s")),
        ),
        ("node-missing", pages::node(&fixture::missing())),
        ("node-silent", pages::node(&fixture::silent())),
        ("part", pages::part(&fixture::part())),
        ("search", pages::search(&fixture::search())),
        (
            "login",
            pages::login(&fixture::login(Some(LoginError::Refused))),
        ),
        ("problem", pages::problem(&fixture::problem(404, None))),
    ];
    for (name, text) in files {
        write(directory, &format!("{name}.html"), text.as_bytes())?;
    }
    Ok(())
}
