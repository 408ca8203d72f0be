//! Each source at its own cadence: one that hangs delays no other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cupel_fleet::NodeOptions;
use serde_json::Value;

use super::node::{SOON, Server, beside_others, find, has, is_soak, observed, wait_until};

/// Deadlines of a second, readings every half.
fn hasty() -> NodeOptions {
    NodeOptions {
        every: Some(0.5),
        more: "[deadlines]\ngpu_call_seconds = 1.0\ngpu_initialisation_seconds = 1.0\n".to_owned(),
        ..NodeOptions::default()
    }
}

/// Age of what each source gave, in seconds.
fn ages(status: &Value) -> Result<Vec<(String, f64)>> {
    let sources = status["sources"].as_array().context("sources")?;
    sources
        .iter()
        .map(|source| {
            let name = source["name"].as_str().context("name")?.to_owned();
            let age = source["age_seconds"].as_f64();
            Ok((name, age.unwrap_or(f64::INFINITY)))
        })
        .collect()
}

/// Watches for a while that no source but `but` grows old, and gives the oldest age seen.
fn none_grows_old(server: &Server, but: &[&str], time: Duration) -> Result<f64> {
    let until = Instant::now() + time;
    let mut oldest = 0.0_f64;
    while Instant::now() < until {
        let status = server.status()?;
        for (name, age) in ages(&status)? {
            // The controller's own details have a cadence of minutes.
            if but.contains(&name.as_str()) || name == "bmc-details" {
                continue;
            }
            // Ten cadences: this machine may be busy.
            ensure!(age < 5.0, "{name} is {age:.1} s old");
            oldest = oldest.max(age);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(oldest)
}

#[test]
fn a_gpu_that_hangs_the_driver_delays_nothing_else() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(hasty())?;
    let before = cupel_hardware::clock::now();
    server.apply_scenario("driver-hung-gpu")?;
    let began = Instant::now();
    let tracked = server.finding("gpu.driver-hung")?;
    println!("hang to finding: {:?} (deadline 1 s)", began.elapsed());
    let finding = &tracked["finding"];
    ensure!(finding["component"]["index"] == 2, "{finding}");
    let text = finding.to_string();
    ensure!(
        text.contains("nvmlDeviceGetMemoryInfo"),
        "it names the call: {text}"
    );
    let since: cupel_model::Timestamp = finding["since"].as_str().context("since")?.parse()?;
    ensure!(
        since >= before && since <= cupel_hardware::clock::now(),
        "since {since}"
    );

    let oldest = none_grows_old(&server, &[], Duration::from_secs(5))?;
    println!("oldest reading beside the hung GPU: {oldest:.2} s");
    let status = server.status()?;
    ensure!(
        observed(&status) == ["gpu.driver-hung"],
        "{:?}",
        observed(&status)
    );
    // Since when stays, and the others are read.
    let now = find(&status, "gpu.driver-hung").context("still there")?;
    ensure!(now["finding"]["since"] == finding["since"]);
    let snapshot = server.node.ask(&serde_json::json!({"ask": "snapshot"}))?;
    let gpus = snapshot["gpus"].as_array().context("gpus")?;
    let read = gpus
        .iter()
        .filter(|gpu| gpu["thermal"]["temperature_celsius"].is_number())
        .count();
    ensure!(read == 7, "{read} GPUs are read");
    ensure!(
        server.workers()?.len() == 1,
        "one worker for the other seven"
    );
    Ok(())
}

#[test]
fn a_driver_that_hangs_while_it_starts_leaves_gpus_unknown_and_all_else_known() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::new(hasty())?;
    server.apply_scenario("driver-hung-init")?;
    server.node.start()?;
    server.judged()?;
    let tracked = server.finding("gpu.driver-hung")?;
    ensure!(
        tracked["finding"]["component"]["kind"] == "service",
        "{tracked}"
    );
    let text = tracked["finding"].to_string();
    ensure!(text.contains("nvmlInit"), "it names the call: {text}");
    none_grows_old(&server, &[], Duration::from_secs(3))?;
    let status = server.status()?;
    let unknown = status["coverage"]["unknown"]
        .as_array()
        .context("unknown")?;
    let unknown: Vec<&str> = unknown
        .iter()
        .filter_map(|one| one["check"].as_str())
        .collect();
    ensure!(unknown.contains(&"gpu.ecc-uncorrectable"), "{unknown:?}");
    ensure!(
        unknown.iter().all(
            |check| ["gpu.", "nvlink.", "fabric.", "driver.", "pcie.speed"]
                .iter()
                .any(|of_gpus| check.starts_with(of_gpus))
        ),
        "what has nothing to do with GPUs is known: {unknown:?}"
    );
    // The rest is watched as ever.
    server.node.apply(&cupel_rack::Fault::RdmaPortDown {
        device: "mlx5_0".to_owned(),
    })?;
    server.finding("rdma.port-down")?;
    let took = server.node.stop()?;
    println!("it ended in {took:?}");
    Ok(())
}

#[test]
fn a_worker_that_crashes_is_replaced_and_counted() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(hasty())?;
    server.node.apply(&cupel_rack::Fault::DriverCall {
        call: "nvmlDeviceGetPowerUsage".to_owned(),
        gpu: Some(5),
        act: cupel_fake_driver::state::Act::Crash,
    })?;
    wait_until("a worker was replaced", SOON, || {
        let snapshot = server.node.ask(&serde_json::json!({"ask": "snapshot"}))?;
        let gpus = snapshot["gpus"].as_array().context("gpus")?;
        let without = gpus
            .iter()
            .filter(|gpu| !gpu["thermal"]["power_watts"].is_number())
            .count();
        Ok(without == 1)
    })?;
    none_grows_old(&server, &[], Duration::from_secs(2))?;
    let held = super::node::holds(server.pid()?)?;
    ensure!(held.zombies == 0, "{held:?}");
    Ok(())
}

/// After a hang a GPU is left alone for a minute: too long for each run.
#[test]
fn a_driver_that_recovers_is_found_well_again() -> Result<()> {
    let _guard = beside_others();
    if !is_soak() {
        return Ok(());
    }
    let mut server = Server::running(hasty())?;
    server.apply_scenario("driver-hung-gpu")?;
    server.finding("gpu.driver-hung")?;
    server.node.rack.repair()?;
    let began = Instant::now();
    let status = server
        .node
        .wait_for("not observed", Duration::from_secs(120), |status| {
            find(status, "gpu.driver-hung").is_none_or(|tracked| tracked["observed"] == false)
        })?;
    println!("asked again after {:?}", began.elapsed());
    if let Some(waiting) = find(&status, "gpu.driver-hung") {
        println!("it waits for: {}", waiting["waits_for"]);
    }
    let snapshot = server.node.ask(&serde_json::json!({"ask": "snapshot"}))?;
    let gpus = snapshot["gpus"].as_array().context("gpus")?;
    ensure!(gpus.iter().all(|gpu| gpu["hung"].is_null()));
    ensure!(!has(&status, "gpu.off-bus"));
    Ok(())
}
