//! SIGTERM ends it within two seconds, whatever it is doing, and nothing is left behind.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cupel_fleet::NodeOptions;

use super::node::{SOON, Server, alone, beside_others, processes, wait_until};
use super::small_disk::{self, SmallDisk};

/// It promises two seconds; this machine may be busy with other tests.
const PROMISED: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(3);

/// Ends the service, and looks whether its workers are gone.
#[expect(clippy::print_stdout, reason = "a figure for whoever reads the log")]
fn ends(server: &mut Server, while_what: &str) -> Result<()> {
    let workers = server.workers()?;
    let took = server.node.stop()?;
    println!("SIGTERM {while_what}: {took:?} (promised {PROMISED:?})");
    ensure!(took < PROMISED + BUSY, "{while_what}: {took:?}");
    wait_until("its workers end", SOON, || {
        let left = processes()?
            .into_iter()
            .filter(|process| workers.contains(&process.pid) && process.state != "Z");
        Ok(left.count() == 0)
    })?;
    let run = server.node.rack.root().join("run/cupel");
    ensure!(!run.join("cupel.sock").exists(), "its socket is left");
    ensure!(!run.join("gate.json").exists(), "its word is left");
    Ok(())
}

#[test]
fn at_rest() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(NodeOptions::default())?;
    ends(&mut server, "at rest")
}

#[test]
fn before_it_has_judged() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::new(NodeOptions::default())?;
    server.apply_scenario("driver-hung-init")?;
    server.node.start()?;
    wait_until("it listens", SOON, || Ok(server.status().is_ok()))?;
    ensure!(server.status()?["judged_at"].is_null());
    ends(&mut server, "before it has judged")
}

#[test]
fn while_the_driver_hangs() -> Result<()> {
    let _guard = beside_others();
    // Deadlines as usual: five seconds.
    let mut server = Server::running(NodeOptions::default())?;
    server.apply_scenario("driver-hung-gpu")?;
    server.node.wait_for("the driver hangs", SOON, |status| {
        let sources = status["sources"].as_array();
        let gpu = sources.and_then(|all| all.iter().find(|source| source["name"] == "gpu"));
        gpu.is_some_and(|gpu| gpu["age_seconds"].as_f64().is_some_and(|age| age > 2.0))
    })?;
    ends(&mut server, "while the driver hangs")
}

#[test]
fn while_the_inventory_does_not_answer() -> Result<()> {
    let _guard = beside_others();
    // Connections are taken by the kernel, and nobody ever reads.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", silent.local_addr()?);
    let mut server = Server::running(NodeOptions {
        inventory: Some(url),
        token: "token".to_owned(),
        ..NodeOptions::default()
    })?;
    server.node.wait_for("reports wait", SOON, |status| {
        status["inventory"]["waiting"]
            .as_u64()
            .is_some_and(|waiting| waiting > 2)
    })?;
    ends(&mut server, "while the inventory does not answer")?;
    // What was not delivered is not lost.
    server.node.start()?;
    server.judged()?;
    let waiting = server.status()?["inventory"]["waiting"].as_u64();
    ensure!(
        waiting.is_some_and(|waiting| waiting > 2),
        "{waiting:?} wait"
    );
    drop(silent);
    Ok(())
}

#[test]
fn in_a_storm() -> Result<()> {
    let _guard = alone();
    let mut server = Server::running(NodeOptions::default())?;
    let mut log = server.kernel_log()?;
    let over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| -> Result<u64> {
        let storm = scope.spawn(|| -> Result<u64> {
            let mut written = 0;
            while !over.load(Ordering::Relaxed) {
                for _ in 0..500 {
                    log.write("NVRM: Xid (PCI:0000:1b:00): 13, Graphics Exception")?;
                }
                written += 500;
                log.flush()?;
            }
            Ok(written)
        });
        let ended = server
            .node
            .wait_for("the storm is seen", SOON, |status| {
                status["log"]["records"]
                    .as_u64()
                    .is_some_and(|records| records > 5000)
            })
            .and_then(|_| ends(&mut server, "in a storm"));
        over.store(true, Ordering::Relaxed);
        let written = storm
            .join()
            .map_err(|_| anyhow::anyhow!("the storm fell"))?;
        ended?;
        written
    })?;
    server.node.start()?;
    server.judged()?;
    let began = Instant::now();
    server.wait_for_events(&[("xid.13", written)])?;
    println!(
        "{written} lines, none lost or doubled; caught up in {:?}",
        began.elapsed()
    );
    Ok(())
}

#[test]
fn with_a_full_disk() -> Result<()> {
    let _guard = beside_others();
    if let Some(why) = small_disk::not_here() {
        println!("skipped: {why}");
        return Ok(());
    }
    let mut server = Server::new(NodeOptions::default())?;
    let disk = SmallDisk::mounted(&server.node.rack.root().join("var/lib/cupel"), 8)?;
    server.node.start()?;
    server.judged()?;
    disk.fill()?;
    let mut log = server.kernel_log()?;
    for number in 0..1500 {
        let padding = "x".repeat(900);
        log.write(&format!(
            "NVRM: Xid (PCI:0000:1b:00): 13, number {number} {padding}"
        ))?;
    }
    log.flush()?;
    server.node.wait_for("it is in memory", SOON, |status| {
        status["storage"]["saved"] == false
    })?;
    ends(&mut server, "with a full disk")
}
