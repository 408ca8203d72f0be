//! Upgrades to good and bad versions, rollbacks, and removals.

use super::played::{Behaviour, Server, release};
use crate::error::InstallError;
use crate::journal::{Ended, Journal, State};
use crate::layout::{CURRENT, JOURNAL, LIBRARY, LINKS, PROGRAM, STATE};
use crate::plan;
use crate::system::System as _;
use crate::{Applier, contents};

#[test]
fn a_good_version_is_watched_kept_and_left_again() {
    let server = Server::installed();
    let old = server.assert_settled("installed");
    let began = server.system.since_boot();
    let outcome = server
        .upgrade(&server.disk(), &release("2.0.0", Behaviour::Good))
        .expect("upgrade");
    assert_eq!(outcome.result, Ended::Accepted, "{outcome:?}");
    let watched = server.system.since_boot() - began;
    assert!(watched.as_secs() >= 60, "watched for {watched:?}");
    let new = server.assert_settled("upgraded");
    assert_eq!(new.number(), "2.0.0");
    assert_eq!(
        server.journal().expect("journal").previous,
        Some(old.clone())
    );

    let (plan, to) = plan::rollback(&server.facts(), 60).expect("plan");
    assert_eq!(to, old);
    let (disk, journal) = (server.disk(), server.journal().expect("journal"));
    Applier::new(&disk, &server.system, &mut |_| {}, journal, None)
        .rollback(&plan, &to)
        .expect("rollback");
    let outcome = server.step(&disk).expect("step").expect("outcome");
    assert_eq!(outcome.result, Ended::Accepted);
    assert_eq!(server.assert_settled("rolled back"), old);
    assert_eq!(server.journal().expect("journal").previous, Some(new));
}

#[test]
fn a_bad_version_is_put_back_by_itself_and_told() {
    for (behaviour, word) in [
        (Behaviour::Crashes, "ended by itself (exit-code)"),
        (Behaviour::Hangs, "not healthy 120 s after its start"),
        (Behaviour::IsSilent, "does not answer"),
        (Behaviour::DiesLater, "ended by itself"),
    ] {
        let server = Server::installed();
        let old = server.assert_settled("installed");
        let outcome = server
            .upgrade(&server.disk(), &release("2.0.0", behaviour))
            .expect("ends");
        assert_eq!(outcome.result, Ended::Reverted, "{behaviour:?}");
        let why = outcome.why.expect("why");
        assert!(why.contains(word), "{behaviour:?}: {why}");
        assert_eq!(server.assert_settled("put back"), old);
        let (versions, _) = contents::present(&server.disk());
        assert_eq!(versions, [old], "{behaviour:?}: the bad one is gone");
    }
}

#[test]
fn a_version_that_fails_its_self_test_is_never_switched_to() {
    let server = Server::installed();
    let before = server.journal();
    let error = server
        .upgrade(&server.disk(), &release("2.0.0", Behaviour::FailsItsTest))
        .expect_err("refused");
    assert!(matches!(error, InstallError::SelfTest(_)), "{error}");
    server.assert_works("refused");
    let (versions, unfinished) = contents::present(&server.disk());
    assert_eq!((versions.len(), unfinished.len()), (1, 0));
    let (before, after) = (before.expect("journal"), server.journal().expect("journal"));
    assert_eq!(before, after);
}

#[test]
fn nothing_is_switched_under_a_burn_in_that_began_meanwhile() {
    let server = Server::installed();
    let plan = plan::upgrade(&server.facts(), 1, 60).expect("plan");
    let (disk, journal) = (server.disk(), server.journal().expect("journal"));
    let two = release("2.0.0", Behaviour::Good);
    Applier::new(&disk, &server.system, &mut |_| {}, journal, Some(&two))
        .upgrade(&plan)
        .expect("prepared");
    server.system.set_busy(&["cupel-burn-in-17.scope"]);
    let outcome = server.step(&disk).expect("step").expect("outcome");
    assert_eq!(outcome.result, Ended::NotBegun);
    assert_eq!(server.assert_settled("not begun").number(), "1.0.0");
}

#[test]
fn a_first_version_that_does_not_come_up_leaves_nothing() {
    let server = Server::bare();
    let error = server
        .install(&server.disk(), &release("1.0.0", Behaviour::Crashes))
        .expect_err("it crashes");
    assert!(matches!(error, InstallError::PutBack(_)), "{error}");
    for path in LINKS
        .iter()
        .map(|(path, _)| *path)
        .chain([LIBRARY, PROGRAM, JOURNAL])
    {
        let there = std::fs::symlink_metadata(server.layout.at(path));
        assert!(there.is_err(), "{path} is left");
    }
}

#[test]
fn a_removal_keeps_or_purges_what_is_remembered() {
    for purge in [false, true] {
        let server = Server::installed();
        std::fs::write(server.layout.at(STATE).join("parts.json"), "{}").expect("write");
        std::fs::write(server.layout.at("/etc/cupel/node.toml"), "").expect("write");
        let plan = plan::uninstall(&server.facts(), purge).expect("plan");
        let (disk, journal) = (server.disk(), server.journal().expect("journal"));
        Applier::new(&disk, &server.system, &mut |_| {}, journal, None)
            .uninstall(&plan, purge)
            .expect("removes");
        assert!(!server.layout.at(LIBRARY).exists());
        assert!(!server.layout.at(PROGRAM).exists());
        assert_eq!(server.layout.at(STATE).join("parts.json").exists(), !purge);
        assert_eq!(server.layout.at("/etc/cupel/node.toml").exists(), !purge);
        assert_eq!(server.journal(), None);
        server
            .install(&server.disk(), &release("1.0.0", Behaviour::Good))
            .expect("installs again");
        server.assert_settled("again");
    }
}

#[test]
fn a_damaged_journal_or_version_is_worked_around_at_boot() {
    let server = Server::installed();
    server
        .upgrade(&server.disk(), &release("2.0.0", Behaviour::Good))
        .expect("upgrade");
    let two = server.assert_settled("upgraded");
    std::fs::write(server.layout.at(JOURNAL), "{\"state\":").expect("write");
    server.recover(&server.disk()).expect("recovers");
    assert_eq!(server.assert_settled("journal made again"), two);

    std::fs::write(server.layout.binary(&two), "torn").expect("write");
    server.recover(&server.disk()).expect("recovers");
    let one = server.assert_works("the other version takes its place");
    assert_eq!(one.number(), "1.0.0");
    assert_eq!(server.layout.linked(CURRENT), Some(one.clone()));
    let settled = State::Settled { version: one };
    let journal: Journal = server.journal().expect("journal");
    assert_eq!(journal.state, settled);
}
