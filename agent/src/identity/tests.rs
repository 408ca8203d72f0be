//! What is made of an identity: on another node, for another inventory, damaged, over.

use std::fs;
use std::path::Path;

use cupel_model::enrolment::{Enrolment, KeyProtection};
use cupel_reporting::KeyFile;

use super::*;
use crate::cli::GlobalArgs;
use crate::context::Context;
use crate::output::Format;

pub const NODE: &str = "4c4c4544-0051-3010-8052-b4c04f4d5933";
pub const URL: &str = "https://inventory.example:8470";

fn time(text: &str) -> Timestamp {
    text.parse().expect("time")
}

/// A machine that is an id and a main board.
pub fn machine(directory: &Path, id: &str, board: &str) -> Root {
    let dmi = directory.join("sys/class/dmi/id");
    fs::create_dir_all(&dmi).expect("mkdir");
    fs::write(dmi.join("product_uuid"), id).expect("write");
    fs::write(dmi.join("board_serial"), board).expect("write");
    Root::at(directory).expect("root")
}

/// Gives the machine an identity, whose certificate is for `key`.
pub fn enrolled(root: &Root, state: &Path, key: &Key, kept: &KeyFile) -> IdentityDocument {
    let pair = rcgen::KeyPair::from_pem(key.pem()).expect("pair");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("params");
    let certificate = params.self_signed(&pair).expect("certificate").pem();
    let directory = IdentityDirectory::in_state(state);
    let lock = directory.lock(std::time::Duration::ZERO).expect("lock");
    let name = directory.keep(&lock, kept).expect("keep");
    let who = Who::is_here(root).expect("id");
    let answer = Enrolment {
        schema_version: 1,
        node: who.node,
        authority: certificate.clone(),
        certificate,
        not_before: time("2026-01-01T00:00:00Z"),
        not_after: time("2026-01-31T00:00:00Z"),
        renew_after: time("2026-01-21T00:00:00Z"),
    };
    let document = IdentityDocument::new(answer, URL, who.hardware, kept.protection, &name);
    directory.commit(&lock, &document).expect("commit");
    document
}

pub fn plain(key: &Key) -> KeyFile {
    KeyFile {
        protection: KeyProtection::File,
        bytes: key.pem().as_bytes().to_vec(),
    }
}

/// What is found beneath a root, and told of it.
fn told(root: &Root, state: &Path, url: &str, now: &str) -> (Found, Option<Identity>) {
    let who = Who::is_here(root);
    let found = open(root, state, who.as_ref());
    let status = found.status(who.as_ref().ok(), Some(url), time(now));
    (found, status)
}

fn state_of(status: &Option<Identity>) -> (IdentityState, &str) {
    let status = status.as_ref().expect("an identity");
    (status.state, status.why.as_deref().unwrap_or_default())
}

#[test]
fn it_is_used_where_and_while_it_is_good() {
    let directory = tempfile::tempdir().expect("directory");
    let (root, state) = (
        machine(directory.path(), NODE, "CN1"),
        directory.path().join("state"),
    );
    let (found, status) = told(&root, &state, URL, "2026-01-02T00:00:00Z");
    assert!(matches!(found, Found::None) && status.is_none());
    assert_eq!(inventory(&state), None);

    let key = Key::generate().expect("key");
    enrolled(&root, &state, &key, &plain(&key));
    assert_eq!(inventory(&state).as_deref(), Some(URL));
    let trusted = authority(&state, &format!("{URL}/releases/cupel-x86_64"));
    assert!(trusted.is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE")));
    assert_eq!(
        authority(&state, "https://releases.example/cupel-x86_64"),
        None
    );
    let (found, status) = told(&root, &state, URL, "2026-01-02T00:00:00Z");
    assert_eq!(state_of(&status), (IdentityState::Good, ""));
    assert!(found.usable_beside(Some(URL)).is_some());
    let shown = format!("{found:?} {status:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");

    // Another clock is perhaps wrong: it is shown all the same, and the inventory decides.
    let (found, status) = told(&root, &state, URL, "2026-02-02T00:00:00Z");
    assert_eq!(state_of(&status).0, IdentityState::Expired);
    assert!(found.usable_beside(Some(URL)).is_some());

    let elsewhere = "https://other.example";
    let (found, status) = told(&root, &state, elsewhere, "2026-01-02T00:00:00Z");
    let (is, why) = state_of(&status);
    assert_eq!(is, IdentityState::OtherInventory);
    assert!(why.contains("inventory.url is other.example"), "{why}");
    assert!(found.usable_beside(Some(elsewhere)).is_none());

    // Without a token an address is another name of the same inventory.
    let etc = directory.path().join("etc/cupel");
    fs::create_dir_all(&etc).expect("mkdir");
    let text = format!("[inventory]\nurl = {elsewhere:?}\n");
    fs::write(etc.join("inventory.toml"), text).expect("write");
    let settings = config::load(&root).expect("settings");
    assert_eq!(rival(&root, &settings), None);
    fs::write(etc.join("inventory.token"), "token").expect("write");
    assert_eq!(rival(&root, &settings), Some(elsewhere));
    assert!(found.usable_beside(None).is_some());
}

#[test]
fn another_board_is_told_and_another_node_does_not_use_it() {
    let directory = tempfile::tempdir().expect("directory");
    let (root, state) = (
        machine(directory.path(), NODE, "CN1"),
        directory.path().join("state"),
    );
    let key = Key::generate().expect("key");
    enrolled(&root, &state, &key, &plain(&key));
    let root = machine(directory.path(), NODE, "CN2");
    let (found, status) = told(&root, &state, URL, "2026-01-02T00:00:00Z");
    let (is, why) = state_of(&status);
    assert_eq!(is, IdentityState::Good);
    assert!(why.contains("the main board is another one"), "{why}");
    assert!(found.usable_beside(Some(URL)).is_some());

    let other = NODE.replace("4c4c", "5c5c");
    let root = machine(directory.path(), &other, "CN2");
    let (found, status) = told(&root, &state, URL, "2026-01-02T00:00:00Z");
    let (is, why) = state_of(&status);
    assert_eq!(is, IdentityState::OtherNode);
    assert!(why.contains(NODE) && why.contains(&other), "{why}");
    assert!(found.usable_beside(Some(URL)).is_none());
}

#[test]
fn what_is_damaged_or_sealed_elsewhere_costs_the_identity_alone() {
    let directory = tempfile::tempdir().expect("directory");
    let (root, state) = (
        machine(directory.path(), NODE, "CN1"),
        directory.path().join("state"),
    );
    let (key, other) = (Key::generate().expect("key"), Key::generate().expect("key"));
    let sealed = KeyFile {
        protection: KeyProtection::Tpm,
        bytes: b"sealed".to_vec(),
    };
    let broken = KeyFile {
        protection: KeyProtection::File,
        bytes: b"half a k".to_vec(),
    };
    for (kept, is, word) in [
        (plain(&other), IdentityState::Damaged, "for another key"),
        (broken, IdentityState::Damaged, "no private key"),
        (sealed, IdentityState::Sealed, "cleared"),
    ] {
        enrolled(&root, &state, &key, &kept);
        let (found, status) = told(&root, &state, URL, "2026-01-02T00:00:00Z");
        let (told, why) = state_of(&status);
        assert_eq!(told, is, "{why}");
        assert!(why.contains(word) && why.contains("enrol anew"), "{why}");
        assert!(found.usable_beside(Some(URL)).is_none());
        assert_eq!(status.expect("status").node.as_deref(), Some(NODE));
    }
    let path = state.join("identity/identity.json");
    fs::write(&path, "{").expect("write");
    let (_, status) = told(&root, &state, URL, "2026-01-02T00:00:00Z");
    let (told, why) = state_of(&status);
    assert_eq!(told, IdentityState::Damaged);
    assert!(why.contains("identity.json:1: EOF"), "{why}");
    assert_eq!(inventory(&state), None);
}

#[test]
fn a_key_that_cannot_be_opened_now_is_not_given_up() {
    let directory = tempfile::tempdir().expect("directory");
    machine(directory.path(), NODE, "CN1");
    let state = directory.path().join("state");
    let join = directory.path().join("rack7.join");
    let text = format!("inventory = {URL:?}\ntoken = \"cupel_join_1_secret\"\n");
    fs::write(&join, text).expect("write");
    let context = Context::new(&GlobalArgs {
        root: Some(directory.path().to_owned()),
        state_dir: Some(state.clone()),
        output: Format::Text,
        verbose: 0,
    })
    .expect("context");
    let kept = IdentityDirectory::in_state(&state);
    let lock = kept.lock(std::time::Duration::ZERO).expect("lock");
    // No command is run beneath another root: a TPM that does not answer.
    let sealed = KeyFile {
        protection: KeyProtection::Tpm,
        bytes: b"sealed".to_vec(),
    };
    kept.keep(&lock, &sealed).expect("keep");
    let Err(why) = enrol::plan(&context, &join, Seal::Auto, false) else {
        panic!("another key would be made");
    };
    assert!(format!("{why:#}").contains("--anew"), "{why:#}");
    for (seal, anew) in [(Seal::Auto, true), (Seal::None, false)] {
        let todo = enrol::plan(&context, &join, seal, anew).expect("plan");
        assert!(matches!(todo, enrol::Todo::Enrol(_)));
    }
    assert!(
        kept.pending().expect("keys").is_some(),
        "a plan changes nothing"
    );
}
