//! A storm of the kernel log: few events with exact counts, in bounded memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cupel_fleet::NodeOptions;

use super::node::{Server, alone, holds, is_soak};

/// Lines.
const LINES: u64 = 800_000;

/// Different events among them.
const DISTINCT: u64 = 29;

/// Most resident memory of the agent, KiB.
const MEMORY: u64 = 64 * 1024;

/// Longest that all of it may take.
const LIMIT: Duration = Duration::from_secs(300);

fn text(number: u64) -> String {
    // Six GPUs, five codes, less one.
    const BUSES: [&str; 6] = ["1b", "43", "52", "61", "9d", "c3"];
    const CODES: [&str; 5] = [
        "13, Graphics Exception: ESR 0x404600=0x80000002",
        "31, pid=71002, name=train, MMU Fault",
        "43, pid=71002, name=train, Ch 00000010",
        "45, pid=71002, name=train, Ch 00000010",
        "94, pid=71002, name=train, Contained: LTC TAG (0x2,0x0)",
    ];
    let event = usize::try_from(number % DISTINCT).unwrap_or(0);
    format!(
        "NVRM: Xid (PCI:0000:{}:00): {}",
        BUSES[event % 6],
        CODES[event / 6]
    )
}

#[test]
fn a_storm_keeps_its_events_with_exact_counts_in_bounded_memory() -> Result<()> {
    let _guard = alone();
    let lines = LINES;
    let mut server = Server::running(NodeOptions::default())?;
    let before = holds(server.pid()?)?;
    let mut log = server.kernel_log()?;
    let began = Instant::now();
    let mut most = 0;
    let mut slowest = Duration::ZERO;
    let mut killed = false;
    let mut seen = 0;
    for number in 0..lines {
        log.write(&text(number))?;
        if number % 5000 != 4999 {
            continue;
        }
        log.flush()?;
        let asked = Instant::now();
        let status = server.status()?;
        slowest = slowest.max(asked.elapsed());
        seen = status["log"]["records"].as_u64().unwrap_or(0).max(seen);
        if number > lines / 2 && !killed {
            // In the middle of it.
            killed = true;
            most = holds(server.pid()?)?.most_resident;
            server.node.kill()?;
            server.node.start()?;
            server.judged()?;
        }
    }
    log.flush()?;
    let wanted = |event: u64| lines / DISTINCT + u64::from(event < lines % DISTINCT);
    let mut want: Vec<u64> = (0..DISTINCT).map(wanted).collect();
    want.sort_unstable();
    let counts = loop {
        let events = server.events()?;
        let total: u64 = events.iter().map(|(_, _, repeats)| repeats).sum();
        if total >= lines || began.elapsed() > LIMIT {
            break events;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let took = began.elapsed();
    let mut got: Vec<u64> = counts.iter().map(|(_, _, repeats)| *repeats).collect();
    got.sort_unstable();
    ensure!(got == want, "{} events: {got:?}", got.len());
    let held = holds(server.pid()?)?;
    most = most.max(held.most_resident);
    println!(
        "{lines} lines, {DISTINCT} events, exact over a kill in the middle: {took:.1?}, \
         resident at most {} MiB (before it {} MiB), status within {slowest:?}",
        most / 1024,
        before.most_resident / 1024
    );
    ensure!(most < MEMORY, "{most} KiB");
    ensure!(slowest < Duration::from_secs(10), "status took {slowest:?}");
    ensure!(
        held.threads <= before.threads + 2 && held.zombies == 0,
        "{held:?}"
    );
    let took = server.node.stop()?;
    println!("it ended in {took:?}");
    Ok(())
}

/// Every line is another: the worst for memory.
#[test]
fn a_storm_of_different_lines_is_bounded_too() -> Result<()> {
    let _guard = alone();
    let lines: u64 = if is_soak() { 200_000 } else { 20_000 };
    let server = Server::running(NodeOptions::default())?;
    let mut log = server.kernel_log()?;
    let began = Instant::now();
    for number in 0..lines {
        log.write(&format!(
            "NVRM: Xid (PCI:0000:1b:00): 31, pid={number}, name=train, Ch {number:08x}, MMU Fault"
        ))?;
    }
    log.flush()?;
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let status = server.status()?;
        slowest = slowest.max(asked.elapsed());
        if status["log"]["records"]
            .as_u64()
            .is_some_and(|records| records >= lines)
        {
            break;
        }
        ensure!(began.elapsed() < LIMIT, "{status:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let total = loop {
        let total: u64 = server.events()?.iter().map(|(_, _, repeats)| repeats).sum();
        if total >= lines || began.elapsed() > LIMIT {
            break total;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    ensure!(total == lines, "{total} of {lines}");
    let held = holds(server.pid()?)?;
    println!(
        "{lines} different lines: {:.1?}, resident at most {} MiB, status within {slowest:?}",
        began.elapsed(),
        held.most_resident / 1024
    );
    ensure!(held.most_resident < 4 * MEMORY, "{held:?}");
    Ok(())
}
