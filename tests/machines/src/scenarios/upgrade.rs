//! Upgrades: good ones stay, bad ones are refused before anything is written, or put back.

use std::fs;

use anyhow::{Result, ensure};

use super::Bench;
use super::installed::{EXCHANGE, Installed};
use crate::machine::Hardware;
use crate::release::{Release, Releases, Wrong};

/// How long new versions are watched here.
const PROBATION: &str = "5s";

/// The quick ones.
pub fn run(bench: &Bench) -> Result<String> {
    let mut node = Installed::new(bench, &Hardware::default())?;
    let first = node.first.version.clone();
    let second = bench.releases.good("second")?;
    forged(bench, &mut node, &second)?;

    let bad = bench.releases.bad(Wrong::FailsItsTest)?;
    let before = node.serving()?;
    let ran = node.upgrade(&bad, PROBATION)?;
    ensure!(ran.code != 0, "a version whose self-test fails was taken");
    ensure!(
        node.serving()? == before,
        "a failed self-test disturbed the service"
    );
    ensure!(node.versions()? == [first.clone()], "it is still on disk");
    node.settled_on(&first)?;

    let ran = node.upgrade(&second, PROBATION)?;
    let good = ran.took.as_secs_f64();
    ran.ok()?;
    node.settled_on(&second.version)?;

    let took = put_back(bench, &mut node, Wrong::Crashes, &second.version)?;

    node.machine
        .run_within("cupel rollback --yes", EXCHANGE)?
        .ok()?;
    node.settled_on(&first)?;
    Ok(format!(
        "good {good:.0} s, crash put back after {took:.0} s"
    ))
}

/// Those that take a while to be found out.
pub fn slow(bench: &Bench) -> Result<String> {
    let mut node = Installed::new(bench, &Hardware::default())?;
    let first = node.first.version.clone();
    let hung = put_back(bench, &mut node, Wrong::Hangs, &first)?;
    let mute = put_back(bench, &mut node, Wrong::Mute, &first)?;
    Ok(format!(
        "put back: hang after {hung:.0} s, mute after {mute:.0} s"
    ))
}

/// A bad version is put back by itself, and told; gives the seconds that it took.
fn put_back(bench: &Bench, node: &mut Installed, wrong: Wrong, to: &str) -> Result<f64> {
    let bad = bench.releases.bad(wrong)?;
    let ran = node.upgrade(&bad, PROBATION)?;
    let took = ran.took.as_secs_f64();
    let said = format!("{}{}", ran.stdout, ran.stderr);
    ran.ended(2)?;
    node.settled_on(to)?;
    let last = node.journal()?["last"].clone();
    ensure!(
        last["result"] == "reverted" && last["to"] == bad.version && last["why"].is_string(),
        "the journal says {last}, the command said {said}"
    );
    ensure!(
        !node.versions()?.contains(&bad.version),
        "it is still on disk"
    );
    Ok(took)
}

/// A changed file, and a file that somebody else signed: refused, and nothing is changed.
fn forged(bench: &Bench, node: &mut Installed, release: &Release) -> Result<()> {
    let state = "ls -lAR --time-style=full-iso /usr/lib/cupel /etc/cupel; \
                 md5sum /var/lib/cupel/install.json";
    let before = (node.serving()?, node.machine.run(state)?.ok()?);
    let changed = release.file.with_extension("changed");
    let mut bytes = fs::read(&release.file)?;
    bytes.push(b'!');
    fs::write(&changed, bytes)?;
    let others = Releases::of(&bench.cupel, &bench.impostor)?;
    let forgeries = [
        Release {
            file: changed,
            ..release.clone()
        },
        others.good("theirs")?,
    ];
    for forgery in &forgeries {
        node.upgrade(forgery, PROBATION)?.ended(4)?;
        let now = (node.serving()?, node.machine.run(state)?.ok()?);
        ensure!(now == before, "a refused file changed something: {now:?}");
    }
    Ok(())
}
