//! A disk that is full, or read-only: it goes on, says so, and writes everything down later.

use anyhow::{Result, ensure};
use cupel_fleet::NodeOptions;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::node::{SOON, Server, beside_others, wait_until};
use super::small_disk::{self, SmallDisk};

/// A node whose state is on a small disk; `None` where such a disk cannot be had.
#[expect(clippy::print_stdout, reason = "a test says why it is skipped")]
fn on_a_small_disk() -> Result<Option<(Server, SmallDisk)>> {
    if let Some(why) = small_disk::not_here() {
        println!("skipped: {why}");
        return Ok(None);
    }
    let server = Server::new(NodeOptions::default())?;
    let disk = SmallDisk::mounted(&server.node.rack.root().join("var/lib/cupel"), 8)?;
    Ok(Some((server, disk)))
}

/// So many different events.
fn events(server: &Server, numbers: std::ops::Range<u32>) -> Result<()> {
    let mut log = server.kernel_log()?;
    for number in numbers {
        let padding = "x".repeat(900);
        log.write(&format!(
            "NVRM: Xid (PCI:0000:1b:00): 13, number {number} {padding}"
        ))?;
    }
    log.flush()
}

/// Waits until it knows so many events, each of them once.
fn knows(server: &Server, count: usize) -> Result<()> {
    let mut events = Vec::new();
    wait_until("all events", SOON, || {
        events = server.events()?;
        Ok(events.len() >= count)
    })?;
    ensure!(events.len() == count, "{} events", events.len());
    ensure!(
        events.iter().all(|(_, _, repeats)| *repeats == 1),
        "one is doubled"
    );
    Ok(())
}

fn saved(server: &Server, wanted: bool) -> Result<serde_json::Value> {
    server
        .node
        .wait_for(if wanted { "saved" } else { "in memory" }, SOON, |status| {
            status["storage"]["saved"] == wanted
        })
}

#[test]
fn a_full_disk_stops_nothing_and_nothing_is_lost() -> Result<()> {
    let _guard = beside_others();
    let Some((mut server, disk)) = on_a_small_disk()? else {
        return Ok(());
    };
    server.node.start()?;
    server.judged()?;
    events(&server, 0..3)?;
    knows(&server, 3)?;
    saved(&server, true)?;
    disk.fill()?;
    events(&server, 3..1500)?;
    knows(&server, 1500)?;
    let status = saved(&server, false)?;
    let why = status["storage"]["why"].as_str().unwrap_or_default();
    ensure!(why.contains("full") || why.contains("space"), "{why}");
    let (_, said) = server.node.cupel(&["status"])?;
    ensure!(said.contains("memory"), "{said}");
    // It judges as ever.
    server.apply_scenario("gpu-row-remap-pending")?;
    let first = server.finding("gpu.row-remap-pending")?;

    disk.free()?;
    saved(&server, true)?;
    server.node.kill()?;
    server.node.start()?;
    server.judged()?;
    knows(&server, 1500)?;
    let again = server.finding("gpu.row-remap-pending")?;
    ensure!(again["finding"]["since"] == first["finding"]["since"]);
    Ok(())
}

#[test]
fn a_read_only_disk_stops_nothing() -> Result<()> {
    let _guard = beside_others();
    let Some((mut server, _disk)) = on_a_small_disk()? else {
        return Ok(());
    };
    let at = server.node.rack.root().join("var/lib/cupel");
    let none: Option<&str> = None;
    mount(
        none,
        &at,
        none,
        MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        none,
    )?;
    server.node.start()?;
    server.judged()?;
    saved(&server, false)?;
    events(&server, 0..2)?;
    knows(&server, 2)?;
    mount(none, &at, none, MsFlags::MS_REMOUNT, none)?;
    saved(&server, true)?;

    // While it runs: what is opened anew is on a read-only mount of the same disk.
    mount(Some(&at), &at, none, MsFlags::MS_BIND, none)?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(none, &at, none, read_only, none)?;
    events(&server, 2..4)?;
    knows(&server, 4)?;
    umount2(&at, MntFlags::MNT_DETACH)?;
    saved(&server, true)?;
    server.node.kill()?;
    server.node.start()?;
    server.judged()?;
    knows(&server, 4)
}

#[test]
fn a_state_directory_that_cannot_be_made_stops_nothing() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::new(NodeOptions::default())?;
    let lib = server.node.rack.root().join("var/lib");
    std::fs::create_dir_all(&lib)?;
    // A file in its place: as on a root file system that cannot be written.
    std::fs::write(lib.join("cupel"), "in the way")?;
    server.node.start()?;
    server.judged()?;
    saved(&server, false)?;
    std::fs::remove_file(lib.join("cupel"))?;
    saved(&server, true)?;
    ensure!(lib.join("cupel").is_dir());
    Ok(())
}
