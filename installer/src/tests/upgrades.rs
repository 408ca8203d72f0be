//! Upgrades to good and bad versions, rollbacks, and removals.

use super::played::{Behaviour, Server, release};
use crate::error::InstallError;
use crate::journal::{Ended, Journal, State};
use crate::layout::{CURRENT, JOURNAL, LIBRARY, LINKS, PROGRAM, STATE};
use crate::plan;
use crate::system::System as _;
use crate::wish::Wished;
use crate::{Applier, Terms, contents};
use cupel_model::wire::{UpgradeOutcome, UpgradeWish};

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
fn an_older_version_or_another_than_is_wanted_is_refused_and_leaves_nothing() {
    let server = Server::bare();
    server
        .install(&server.disk(), &release("2.0.0", Behaviour::Good))
        .expect("installs");
    let (disk, old) = (server.disk(), release("1.9.0", Behaviour::Good));
    let plan = plan::upgrade(&server.facts(), 1, 60).expect("plan");
    let attempt = |terms: Terms| {
        let journal = server.journal().expect("journal");
        Applier::new(&disk, &server.system, &mut |_| {}, journal, Some(&old))
            .under(terms)
            .upgrade(&plan)
    };
    let other = Terms {
        version: Some("1.9.1".to_owned()),
        downgrade: true,
    };
    for (terms, says) in [(Terms::default(), "older"), (other, "1.9.1 is wanted")] {
        let error = attempt(terms).expect_err("refused");
        assert!(matches!(error, InstallError::Unwanted(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(server.assert_settled("refused").number(), "2.0.0");
        let (versions, unfinished) = contents::present(&server.disk());
        assert_eq!((versions.len(), unfinished.len()), (1, 0));
    }
    let terms = Terms {
        version: Some("1.9.0".to_owned()),
        downgrade: true,
    };
    attempt(terms).expect("a downgrade that is asked for");
    server.step(&disk).expect("step");
    assert_eq!(server.assert_settled("downgraded").number(), "1.9.0");
}

#[test]
fn what_came_of_a_wish_is_in_the_journal() {
    for (behaviour, came) in [
        (Behaviour::Good, UpgradeOutcome::Done),
        (Behaviour::Crashes, UpgradeOutcome::Reverted),
    ] {
        let server = Server::installed();
        let (disk, two) = (server.disk(), release("2.0.0", behaviour));
        let plan = plan::upgrade(&server.facts(), 1, 60).expect("plan");
        let mut journal = server.journal().expect("journal");
        let wish = UpgradeWish {
            version: "2.0.0".to_owned(),
            url: "https://releases.example/cupel-x86_64".to_owned(),
            downgrade: false,
        };
        journal.wish = Some(Wished::begin(None, wish.clone()));
        Applier::new(&disk, &server.system, &mut |_| {}, journal, Some(&two))
            .for_the_wish()
            .upgrade(&plan)
            .expect("prepared");
        let known = |server: &Server| server.journal().expect("journal").wish.expect("the wish");
        assert_eq!(known(&server).came, None);
        server.step(&disk).expect("step");
        let own = known(&server);
        assert_eq!(own.wish, wish);
        let end = own.came.expect("an end");
        assert_eq!(end.outcome, came);
        assert_eq!(end.why.is_some(), came == UpgradeOutcome::Reverted);
    }
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
