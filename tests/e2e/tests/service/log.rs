//! The kernel log: found at once, told once, over kills and while the service is away.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cupel_fleet::NodeOptions;

use super::node::{Server, beside_others, has};

/// Cadences of minutes: what is found comes from the log.
fn slow() -> NodeOptions {
    NodeOptions {
        every: Some(60.0),
        ..NodeOptions::default()
    }
}

#[test]
fn a_line_of_the_log_is_a_finding_at_once() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(slow())?;
    server.xid(
        4,
        95,
        "pid=1, name=train, Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No",
    )?;
    let began = Instant::now();
    server.finding("gpu.xid")?;
    println!("kernel line to finding: {:?}", began.elapsed());
    // Far below the next reading, on any machine.
    ensure!(began.elapsed() < Duration::from_secs(20));
    server.wait_for_events(&[("xid.95", 1)])
}

#[test]
fn nothing_is_doubled_or_lost_over_kills_and_ends() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(slow())?;
    for gpu in 0..3 {
        server.xid(gpu, 31, "MMU Fault")?;
    }
    server.xid(0, 48, "DBE")?;
    server.wait_for_events(&[("xid.31", 1), ("xid.31", 1), ("xid.31", 1), ("xid.48", 1)])?;
    let first = server.finding("gpu.xid")?;
    for round in 0..4_u32 {
        if round % 2 == 0 {
            server.node.kill()?;
        } else {
            server.node.stop()?;
        }
        // While nobody listens.
        server.xid(7, 31, "MMU Fault")?;
        server.node.start()?;
        server.judged()?;
        let again = u64::from(round) + 1;
        server.wait_for_events(&[
            ("xid.31", 1),
            ("xid.31", 1),
            ("xid.31", 1),
            ("xid.31", again),
            ("xid.48", 1),
        ])?;
        let now = server.finding("gpu.xid")?;
        ensure!(
            now["finding"]["since"] == first["finding"]["since"],
            "round {round}"
        );
        ensure!(now["id"] == first["id"]);
    }
    // Written down at once, or not yet when it is killed: it is the same.
    server.xid(1, 31, "MMU Fault")?;
    server.node.kill()?;
    server.node.start()?;
    server.judged()?;
    server.wait_for_events(&[
        ("xid.31", 1),
        ("xid.31", 2),
        ("xid.31", 1),
        ("xid.31", 4),
        ("xid.48", 1),
    ])
}

#[test]
fn a_log_that_begins_anew_is_read_from_its_beginning() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(slow())?;
    server.xid(0, 48, "DBE")?;
    server.wait_for_events(&[("xid.48", 1)])?;
    // Only a simulated log does this: shorter, with other numbers.
    let path = server.node.rack.root().join("dev/kmsg");
    let record = |code: u32, number: u32| {
        format!("4,{number},1000,-;NVRM: Xid (PCI:0000:1b:00): {code}, x\n")
    };
    fs::write(&path, record(13, 1))?;
    server.wait_for_events(&[("xid.13", 1), ("xid.48", 1)])?;
    // The cursor is one of the new log: what comes while nobody listens is not passed over.
    server.node.kill()?;
    fs::write(&path, record(13, 1) + &record(31, 2))?;
    server.node.start()?;
    server.judged()?;
    server.wait_for_events(&[("xid.13", 1), ("xid.31", 1), ("xid.48", 1)])?;

    // It began anew while nobody listened.
    server.node.stop()?;
    fs::write(&path, record(62, 0))?;
    server.node.start()?;
    server.judged()?;
    server.wait_for_events(&[("xid.13", 1), ("xid.31", 1), ("xid.48", 1), ("xid.62", 1)])
}

#[test]
fn without_a_log_the_driver_is_listened_to_and_it_is_told() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::new(NodeOptions::default())?;
    let path = server.node.rack.root().join("dev/kmsg");
    let log = fs::read(&path)?;
    fs::remove_file(&path)?;
    server.node.start()?;
    let status = server.judged()?;
    ensure!(status["log"]["why"].is_string(), "{}", status["log"]);
    ensure!(
        has(&status, "kernel-log.unreadable") || status["verdict"] != "healthy",
        "{status:#}"
    );
    fs::write(&path, log)?;
    Ok(())
}
