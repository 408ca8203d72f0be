//! The power is cut before every single side effect; then the server boots.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::played::{Behaviour, Server, release};
use crate::disk::{Disk, Power};
use crate::error::InstallError;
use crate::journal::{Ended, State};
use crate::layout::{ENABLED, PROGRAM, SERVICE};
use crate::system::System as _;
use crate::{Applier, plan};
use cupel_hardware::systemd::Job;

/// Power for so many side effects.
fn power_for(effects: usize) -> Power {
    let left = Arc::new(AtomicUsize::new(effects));
    Arc::new(move |_| {
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    })
}

/// What a boot does: the recovery, then the service, then the unit that carries out upgrades.
fn boot(server: &Server, disk: &Disk) -> Result<(), InstallError> {
    server.system.lose_processes();
    server.recover(disk)?;
    server.assert_works("after the recovery");
    server.system.job(Job::Start, SERVICE).expect("job");
    server.step(disk)?;
    Ok(())
}

fn is_cut<T>(result: &Result<T, InstallError>) -> bool {
    matches!(result, Err(InstallError::PowerCut(_)))
}

/// Cuts the power at each side effect of an upgrade to such a version; gives how many there are.
fn upgrade_cut_everywhere(behaviour: Behaviour) -> usize {
    for effects in 0.. {
        let server = Server::installed();
        let old = server.assert_settled("installed");
        let disk = server.disk_with(power_for(effects));
        let ended = server.upgrade(&disk, &release("2.0.0", behaviour));
        let cut = is_cut(&ended);
        if !cut {
            ended.expect("an upgrade that is not cut comes to its end");
        }
        disk.lose_unsynced();
        let when = format!("{behaviour:?}, power for {effects} side effects");
        server.assert_works(&when);
        boot(&server, &server.disk()).expect("boots");
        let now = server.assert_settled(&when);
        if behaviour != Behaviour::Good {
            assert_eq!(now, old, "{when}");
        }
        let (versions, unfinished) = crate::contents::present(&server.disk());
        assert!(versions.len() <= 2, "{when}: {versions:?}");
        assert!(unfinished.is_empty(), "{when}: {unfinished:?}");
        if !cut {
            return effects;
        }
    }
    unreachable!("counted to the end")
}

#[test]
fn every_boot_after_a_cut_upgrade_comes_up_with_a_version_that_works() {
    for behaviour in [
        Behaviour::Good,
        Behaviour::Crashes,
        Behaviour::Hangs,
        Behaviour::IsSilent,
        Behaviour::DiesLater,
    ] {
        let effects = upgrade_cut_everywhere(behaviour);
        assert!(effects > 60, "{behaviour:?}: only {effects} side effects");
    }
}

#[test]
fn a_second_cut_while_the_first_is_recovered_from_changes_nothing() {
    let whole = upgrade_cut_everywhere(Behaviour::Good);
    for first in (0..whole).step_by(3) {
        for second in 0.. {
            let server = Server::installed();
            let disk = server.disk_with(power_for(first));
            assert!(is_cut(
                &server.upgrade(&disk, &release("2.0.0", Behaviour::Good))
            ));
            disk.lose_unsynced();
            let disk = server.disk_with(power_for(second));
            server.system.lose_processes();
            let again = server.recover(&disk).and_then(|_| {
                server.system.job(Job::Start, SERVICE).expect("job");
                server.step(&disk)
            });
            let cut = is_cut(&again);
            disk.lose_unsynced();
            let when = format!("power for {first}, then for {second} side effects");
            server.assert_works(&when);
            boot(&server, &server.disk()).expect("boots");
            server.assert_settled(&when);
            if !cut {
                break;
            }
        }
    }
}

#[test]
fn a_version_that_takes_the_machine_down_is_not_tried_for_ever() {
    let server = Server::installed();
    let old = server.assert_settled("installed");
    let plan = plan::upgrade(&server.facts(), 1, 60).expect("plan");
    let (disk, journal) = (server.disk(), server.journal().expect("journal"));
    let two = release("2.0.0", Behaviour::Good);
    Applier::new(&disk, &server.system, &mut |_| {}, journal, Some(&two))
        .upgrade(&plan)
        .expect("prepared");
    for effects in 0.. {
        assert!(is_cut(&server.step(&server.disk_with(power_for(effects)))));
        let state = server.journal().expect("journal").state;
        if matches!(state, State::Probation { .. }) {
            break;
        }
    }
    let mut boots = 0;
    while !server.journal().expect("journal").is_settled() {
        boots += 1;
        assert!(boots < 5, "it goes on for ever");
        server.system.lose_processes();
        server.recover(&server.disk()).expect("recovers");
        // The machine goes down as soon as the new version is started.
    }
    let journal = server.journal().expect("journal");
    let last = journal.last.expect("outcome");
    assert_eq!(last.result, Ended::Reverted);
    assert!(last.why.expect("why").contains("cut short"));
    assert_eq!(server.assert_works("given up"), old);
}

#[test]
fn an_installation_that_was_cut_is_finished_by_doing_it_again() {
    for effects in 0.. {
        let server = Server::bare();
        let disk = server.disk_with(power_for(effects));
        let cut = is_cut(&server.install(&disk, &release("1.0.0", Behaviour::Good)));
        disk.lose_unsynced();
        server.system.lose_processes();
        let when = format!("power for {effects} side effects");
        if server.layout.at(PROGRAM).exists() {
            server.assert_works(&when);
        }
        let enabled = server.layout.at(ENABLED[0].0);
        if std::fs::symlink_metadata(enabled).is_ok() {
            boot(&server, &server.disk()).expect("boots");
            server.assert_settled(&when);
        } else {
            let again = server.install(&server.disk(), &release("1.0.0", Behaviour::Good));
            again.unwrap_or_else(|error| panic!("{when}: {error}"));
            server.assert_settled(&when);
        }
        if !cut {
            break;
        }
    }
}
