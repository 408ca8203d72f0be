//! Findings over time: restarts, flaps, people, configuration.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cupel_fleet::NodeOptions;
use cupel_rack::Fault;

use super::node::{SOON, Server, beside_others, find, has, wait_until};

fn quick() -> NodeOptions {
    NodeOptions {
        every: Some(0.3),
        ..NodeOptions::default()
    }
}

/// An error of the GPU's memory that could not be contained; each number is another one.
fn uncontained(server: &mut Server, number: u32) -> Result<()> {
    let text =
        format!("pid={number}, name=x, Uncontained: LTC TAG (0x{number},0x0). RST: Yes, D-RST: No");
    server.xid(4, 95, &text)
}

#[test]
fn since_outlives_the_service() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(quick())?;
    server.apply_scenario("gpu-row-remap-failed")?;
    let first = server.finding("gpu.row-remap-failed")?;
    for killed in [true, false, true] {
        if killed {
            // What was published was given to the disk a moment before.
            std::thread::sleep(Duration::from_millis(500));
            server.node.kill()?;
        } else {
            server.node.stop()?;
        }
        server.node.start()?;
        server.judged()?;
        let now = server.finding("gpu.row-remap-failed")?;
        ensure!(
            now["finding"]["since"] == first["finding"]["since"],
            "{now}"
        );
        ensure!(
            (&now["id"], &now["flaps"]) == (&first["id"], &first["flaps"]),
            "{now}"
        );
    }
    Ok(())
}

#[test]
fn a_link_that_flaps_is_counted_over_restarts() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(quick())?;
    for flap in 0..3_u64 {
        server.node.apply(&Fault::RdmaPortDown {
            device: "mlx5_1".to_owned(),
        })?;
        let tracked = server.node.wait_for("it is down", SOON, |status| {
            find(status, "rdma.port-down").is_some_and(|tracked| tracked["observed"] == true)
        })?;
        let tracked = find(&tracked, "rdma.port-down").context("down")?;
        ensure!(tracked["flaps"] == flap, "{tracked}");
        server.node.rack.repair()?;
        server.node.wait_for("it is up", SOON, |status| {
            find(status, "rdma.port-down").is_some_and(|tracked| tracked["observed"] == false)
        })?;
        if flap == 1 {
            server.node.stop()?;
            server.node.start()?;
            server.judged()?;
        }
    }
    let waiting = server.finding("rdma.port-down")?;
    ensure!(waiting["waits_for"].is_string(), "{waiting}");
    Ok(())
}

/// The hold is 30 s: the one test here that waits for it.
#[test]
fn what_is_no_longer_observed_is_cleared_by_its_rule() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(quick())?;
    server.node.apply(&Fault::Unit {
        name: "nvidia-fabricmanager.service".to_owned(),
        active: "failed".to_owned(),
        sub: "failed".to_owned(),
    })?;
    server.finding("fabric.not-ready")?;
    server.node.rack.repair()?;
    let began = Instant::now();
    server
        .node
        .wait_for("it is cleared", Duration::from_secs(90), |status| {
            !has(status, "fabric.not-ready")
        })?;
    println!("cleared after {:?}", began.elapsed());
    ensure!(
        began.elapsed() > Duration::from_secs(25),
        "the hold was not kept"
    );
    ensure!(server.status()?["verdict"] == "healthy");
    Ok(())
}

#[test]
fn a_person_clears_a_finding_and_says_why() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(quick())?;
    uncontained(&mut server, 1)?;
    let tracked = server.finding("gpu.xid")?;
    let id = tracked["id"].as_str().context("id")?;
    let (code, said) = server
        .node
        .cupel(&["clear", id, "--because", "reset by hand"])?;
    ensure!(code == 0 && said.contains(id), "{code} {said}");
    wait_until("it is gone", SOON, || {
        Ok(!has(&server.status()?, "gpu.xid"))
    })?;
    // The log still tells of it, and after a start too: it stays cleared.
    server.node.stop()?;
    server.node.start()?;
    server.judged()?;
    ensure!(!has(&server.status()?, "gpu.xid"), "it came back by itself");
    // Another one is another.
    uncontained(&mut server, 2)?;
    let again = server.finding("gpu.xid")?;
    ensure!(again["finding"]["since"] != tracked["finding"]["since"]);
    let (code, _) = server
        .node
        .cupel(&["clear", "no.such/thing", "--because", "x"])?;
    ensure!(code == 2, "{code}");
    Ok(())
}

#[test]
fn a_configuration_is_taken_at_sighup_or_refused_as_a_whole() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(quick())?;
    uncontained(&mut server, 1)?;
    let verdict =
        |wanted: &'static str| move |status: &serde_json::Value| status["verdict"] == wanted;
    server
        .node
        .wait_for("unhealthy", SOON, verdict("unhealthy"))?;
    server.reconfigure(|options| {
        options.more = "[checks]\n\"gpu.xid\" = \"observe\"\n".to_owned();
    })?;
    let status = server.node.wait_for("healthy", SOON, verdict("healthy"))?;
    ensure!(status["allocation"]["allowed"] == true);
    ensure!(has(&status, "gpu.xid"), "it is still told");
    let loaded = status["configuration"]["loaded_at"].clone();

    for bad in [
        "[checks]\n\"gpu.xid\" = \"enforce\"\nx",
        "[no_such]\n",
        "platform = \"no-such\"\n",
    ] {
        server.reconfigure(|options| options.more = bad.to_owned())?;
        let status = server.node.wait_for("it is refused", SOON, |status| {
            status["configuration"]["refused"].is_string()
        })?;
        ensure!(status["verdict"] == "healthy", "the old one holds");
        ensure!(status["configuration"]["loaded_at"] == loaded);
        let (_, said) = server.node.cupel(&["status"])?;
        ensure!(said.contains("refused"), "{said}");
    }
    server.reconfigure(|options| options.more = String::new())?;
    let status = server
        .node
        .wait_for("unhealthy", SOON, verdict("unhealthy"))?;
    ensure!(status["configuration"]["refused"].is_null());
    Ok(())
}

#[test]
fn how_the_machine_is_read_can_be_changed_at_sighup() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(NodeOptions {
        every: Some(60.0),
        ..NodeOptions::default()
    })?;
    let services = |server: &Server| -> Result<usize> {
        let snapshot = server.node.ask(&serde_json::json!({"ask": "snapshot"}))?;
        Ok(snapshot["services"].as_array().map_or(0, Vec::len))
    };
    ensure!(services(&server)? > 1);
    server.reconfigure(|options| {
        options.more = "units = [\"nvidia-persistenced.service\"]\n".to_owned();
    })?;
    wait_until("one unit is read", SOON, || Ok(services(&server)? == 1))?;
    // Shorter cadences hold at once, too.
    server.reconfigure(|options| options.every = Some(0.3))?;
    server.node.wait_for("all is young", SOON, |status| {
        let sources = status["sources"].as_array();
        sources.is_some_and(|all| {
            all.iter()
                .filter(|source| source["name"] != "bmc-details")
                .all(|source| source["age_seconds"].as_f64().is_some_and(|age| age < 3.0))
        })
    })?;
    Ok(())
}

#[test]
fn the_driver_is_let_go_and_taken_up_again() -> Result<()> {
    let _guard = beside_others();
    let mut server = Server::running(quick())?;
    server.apply_scenario("gpu-row-remap-pending")?;
    let before = server.finding("gpu.row-remap-pending")?;
    ensure!(server.workers()?.len() == 1);
    let (code, said) = server.node.cupel(&["release", "--for", "4s"])?;
    let began = Instant::now();
    ensure!(code == 0, "{said}");
    wait_until("the worker is gone", SOON, || {
        Ok(server.workers()?.is_empty())
    })?;
    println!("the driver was let go within {:?}", began.elapsed());
    // Faults of GPUs meanwhile are nobody's business: one that is being reset looks bad.
    server.node.apply(&Fault::GpuHandle { gpu: 1, code: 15 })?;
    server.node.wait_for("it is told", SOON, |status| {
        status["released_until"].is_string()
    })?;
    let mut looked = 0;
    while began.elapsed() < Duration::from_secs(3) {
        let status = server.status()?;
        let codes = super::node::observed(&status);
        ensure!(codes == ["gpu.row-remap-pending"], "{codes:?}");
        ensure!(
            server.workers()?.is_empty(),
            "it took the driver up too early"
        );
        looked += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(looked > 5);
    server.node.rack.repair()?;
    wait_until("it is taken up again", SOON, || {
        Ok(server.workers()?.len() == 1)
    })?;
    let status = server.node.wait_for("not released", SOON, |status| {
        status["released_until"].is_null()
    })?;
    let after = find(&status, "gpu.row-remap-pending").context("it waits for its rule")?;
    ensure!(after["finding"]["since"] == before["finding"]["since"]);

    // An end before its time.
    let (code, _) = server.node.cupel(&["release", "--for", "10m"])?;
    ensure!(code == 0);
    wait_until("the worker is gone", SOON, || {
        Ok(server.workers()?.is_empty())
    })?;
    let (code, _) = server.node.cupel(&["release", "--end"])?;
    ensure!(code == 0);
    wait_until("it is taken up again", SOON, || {
        Ok(server.workers()?.len() == 1)
    })
}

#[test]
fn only_root_controls_and_everybody_may_ask() -> Result<()> {
    let _guard = beside_others();
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can be two users");
        return Ok(());
    }
    let server = Server::running(quick())?;
    let open = |path: &std::path::Path| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
    };
    open(server.directory())?;
    const NOBODY: u32 = 65_534;
    let (code, said, told) = server.cupel_as(NOBODY, &["status", "--short"])?;
    ensure!(
        code == 0 && said.starts_with("healthy"),
        "{code} {said} {told}"
    );
    let asks: [&[&str]; 3] = [
        &["release", "--for", "5s"],
        &["release", "--end"],
        &["clear", "x/y", "--because", "z"],
    ];
    for ask in asks {
        let (code, said, told) = server.cupel_as(NOBODY, ask)?;
        ensure!(
            code == 4 && said.is_empty(),
            "{ask:?}: {code} {said} {told}"
        );
        ensure!(told.contains("only root"), "{told}");
    }
    ensure!(server.workers()?.len() == 1, "nothing was changed");
    ensure!(server.status()?["released_until"].is_null());
    Ok(())
}
