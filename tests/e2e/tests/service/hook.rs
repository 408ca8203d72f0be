//! The hook: what a scheduler is told, also when the service is broken.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cupel_fleet::NodeOptions;

use super::node::{SOON, Server, beside_others, wait_until};

/// How long a word holds here.
const VALID: Duration = Duration::from_secs(3);

fn options() -> NodeOptions {
    NodeOptions {
        hook_valid: Some(VALID.as_secs_f64()),
        ..NodeOptions::default()
    }
}

/// Exit code and standard output of the hook.
fn hook(server: &Server, strict: bool) -> Result<(i32, String)> {
    let args: &[&str] = if strict {
        &["hook", "--strict"]
    } else {
        &["hook"]
    };
    server.node.cupel(args)
}

/// The service says nothing that can be believed: work is given, and only `--strict` refuses.
fn fails_open(server: &Server, why: &str) -> Result<()> {
    let (code, said) = hook(server, false)?;
    ensure!((code, said.as_str()) == (0, ""), "{why}: {code} {said}");
    let (code, said) = hook(server, true)?;
    ensure!(
        code == 1 && said.starts_with("cupel: no word: "),
        "{why}: {code} {said}"
    );
    Ok(())
}

/// A node whose gate is closed.
fn closed() -> Result<Server> {
    let mut server = Server::running(options())?;
    server.apply_scenario("gpu-off-bus")?;
    server.node.wait_for("it is confirmed", SOON, |status| {
        status["allocation"]["allowed"] == false
    })?;
    let (code, said) = hook(&server, false)?;
    ensure!(
        code == 1 && said.starts_with("cupel: gpu.off-bus ("),
        "{code} {said}"
    );
    ensure!(said.lines().count() == 1, "{said}");
    Ok(server)
}

#[test]
fn a_service_that_was_never_started_forbids_nothing() -> Result<()> {
    let _guard = beside_others();
    fails_open(&Server::new(options())?, "never started")
}

#[test]
fn a_well_node_gets_work_and_the_answer_is_quick() -> Result<()> {
    let _guard = beside_others();
    let server = Server::running(options())?;
    let mut took = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let (code, said) = hook(&server, true)?;
        took.push(began.elapsed());
        ensure!((code, said.as_str()) == (0, ""), "{code} {said}");
    }
    took.sort();
    println!("cupel hook: median {:?}, slowest {:?}", took[10], took[19]);
    ensure!(took[10] < Duration::from_secs(1), "{took:?}");
    Ok(())
}

#[test]
fn a_killed_service_forbids_until_its_word_expires() -> Result<()> {
    let _guard = beside_others();
    let mut server = closed()?;
    server.node.kill()?;
    let began = Instant::now();
    let (code, _) = hook(&server, false)?;
    ensure!(
        code == 1 || began.elapsed() > VALID,
        "the last word was forgotten at once"
    );
    wait_until(
        "the word expires",
        SOON,
        || Ok(hook(&server, false)?.0 == 0),
    )?;
    fails_open(&server, "killed")?;
    server.node.start()?;
    wait_until("it is closed again", SOON, || {
        Ok(hook(&server, false)?.0 == 1)
    })
}

#[test]
fn a_frozen_service_forbids_until_its_word_expires() -> Result<()> {
    let _guard = beside_others();
    let mut server = closed()?;
    server.service()?.freeze()?;
    wait_until(
        "the word expires",
        SOON,
        || Ok(hook(&server, false)?.0 == 0),
    )?;
    fails_open(&server, "frozen")?;
    server.service()?.thaw()?;
    wait_until("it is closed again", SOON, || {
        Ok(hook(&server, false)?.0 == 1)
    })
}

#[test]
fn a_service_that_was_ended_takes_its_word_with_it() -> Result<()> {
    let _guard = beside_others();
    let mut server = closed()?;
    server.node.stop()?;
    fails_open(&server, "ended")
}

#[test]
fn a_damaged_word_and_one_of_another_boot_are_none() -> Result<()> {
    let _guard = beside_others();
    let mut server = closed()?;
    let gate = server.node.rack.root().join("run/cupel/gate.json");
    let word = fs::read_to_string(&gate)?;
    server.service()?.freeze()?;
    let damages = [
        String::new(),
        "{".to_owned(),
        word[..word.len() / 2].to_owned(),
        word.replace("\"allowed\":false", "\"allowed\":\"no\""),
        "[".repeat(100_000),
    ];
    for damaged in damages {
        fs::write(&gate, &damaged)?;
        fails_open(&server, &damaged.chars().take(40).collect::<String>())?;
    }
    server.service()?.thaw()?;
    wait_until("it is renewed", SOON, || Ok(hook(&server, false)?.0 == 1))?;

    server.service()?.freeze()?;
    let boot = server
        .node
        .rack
        .root()
        .join("proc/sys/kernel/random/boot_id");
    fs::write(&boot, "00000000-0000-4000-8000-00000000dead\n")?;
    fails_open(&server, "another boot")
}
