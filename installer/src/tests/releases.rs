//! Files that are refused, and journals that are none.

use std::io::Cursor;

use minisign::KeyPair;
use proptest::prelude::*;

use super::played::{Behaviour, program};
use crate::journal;
use crate::release::{Architecture, Key, Release, ReleaseError, program as check};
use crate::version::Version;

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("keys")
}

fn key(pair: &KeyPair, name: &str) -> Key {
    Key {
        path: name.into(),
        text: pair.pk.to_box().expect("box").to_string(),
    }
}

fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &pair.sk, Cursor::new(bytes), None, None)
        .expect("signature")
        .into_string()
}

fn verify(bytes: &[u8], signature: &str, keys: &[Key]) -> Result<Release, ReleaseError> {
    let keys_directory = "/etc/cupel/release-keys";
    let architecture = Architecture::X86_64;
    Release::verify(
        bytes.to_vec(),
        signature,
        keys,
        keys_directory,
        architecture,
    )
}

#[test]
fn only_what_a_trusted_key_signed_is_taken() {
    let (ours, theirs) = (pair(), pair());
    let bytes = program("2.0.0", Behaviour::Good, 62);
    let signature = sign(&ours, &bytes);
    let keys = [key(&theirs, "old.pub"), key(&ours, "new.pub")];
    let release = verify(&bytes, &signature, &keys).expect("any of the keys will do");
    assert_eq!(release.signed_by(), "new.pub");

    let foreign = verify(&bytes, &signature, &keys[..1]);
    let tried = ReleaseError::NotTrusted("old.pub".to_owned());
    assert_eq!(foreign.expect_err("foreign key"), tried);
    assert!(matches!(
        verify(&bytes, &signature, &[]),
        Err(ReleaseError::NoKeys(_))
    ));

    for at in [0, 70, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let refused = verify(&changed, &signature, &keys);
        assert!(matches!(refused, Err(ReleaseError::NotTrusted(_))), "{at}");
    }
    let cut = verify(&bytes[..bytes.len() - 1], &signature, &keys);
    assert!(matches!(cut, Err(ReleaseError::NotTrusted(_))));
    for nonsense in [
        "",
        "untrusted comment: x\n",
        &signature[..signature.len() / 2],
    ] {
        let refused = verify(&bytes, nonsense, &keys);
        assert!(
            matches!(refused, Err(ReleaseError::BadSignature(_))),
            "{nonsense:?}"
        );
    }
    let broken = Key {
        path: "broken.pub".into(),
        text: "no key".to_owned(),
    };
    let refused = verify(&bytes, &signature, &[broken]).expect_err("no key");
    assert!(matches!(refused, ReleaseError::BadKey { .. }), "{refused}");
}

#[test]
fn a_signed_file_must_be_a_whole_program_for_this_machine() {
    let ours = pair();
    let keys = [key(&ours, "ours.pub")];
    let refused = |bytes: &[u8]| {
        let signature = sign(&ours, bytes);
        verify(bytes, &signature, &keys).expect_err("refused")
    };
    let arm = program("2.0.0", Behaviour::Good, 183);
    assert_eq!(
        refused(&arm).to_string(),
        "built for aarch64, this machine is x86_64"
    );
    check(&arm, Architecture::Aarch64).expect("on the other machine it is fine");
    let whole = program("2.0.0", Behaviour::Good, 62);
    assert!(matches!(
        refused(&whole[..100]),
        ReleaseError::NotAProgram(_)
    ));
    assert!(matches!(
        refused(b"#!/bin/sh\n"),
        ReleaseError::NotAProgram(_)
    ));
    assert!(matches!(refused(b""), ReleaseError::NotAProgram(_)));
    let own = std::fs::read("/proc/self/exe").expect("this program");
    let architecture = Architecture::of_this_program().expect("architecture");
    check(&own, architecture).expect("a real program is one");
    let cut = check(&own[..own.len() - 1], architecture);
    assert_eq!(cut, Err(ReleaseError::NotAProgram("it is cut short")));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_programs_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0..120_usize,
    ) {
        let _ = check(&bytes, Architecture::X86_64);
        let mut program = program("1.0.0", Behaviour::Good, 62);
        for (place, byte) in program.iter_mut().skip(at).zip(&bytes) {
            *place = *byte;
        }
        let _ = check(&program, Architecture::X86_64);
    }

    #[test]
    fn a_journal_is_read_back_or_refused(text in "\\PC*", number in "[0-9][a-zA-Z0-9.+~_-]{0,40}") {
        let _ = journal::parse(text.as_bytes());
        let version: Version = number.parse().expect("version");
        let state = journal::State::Settled { version };
        let journal = journal::Journal::new(state);
        let json = serde_json::to_vec(&journal).expect("JSON");
        prop_assert_eq!(journal::parse(&json), Ok(journal));
    }

    #[test]
    fn a_version_never_leads_elsewhere(text in "\\PC{0,30}") {
        if let Ok(version) = text.parse::<Version>() {
            let path = version.link_target();
            prop_assert_eq!(path.components().count(), 2);
        }
    }
}
