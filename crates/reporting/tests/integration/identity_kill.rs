//! A process that enrols anew again and again is killed at any moment: there is the old identity or
//! the new one, whole, and the next run goes on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cupel_model::enrolment::{Enrolment, HardwareIdentity, KeyProtection};
use cupel_reporting::{IdentityDirectory, IdentityDocument, Key, KeyFile, NodeIdentity};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rcgen::{CertificateParams, KeyPair};

use crate::support::{NODE, at};

/// Set in the process that is killed; a directory.
const CHILD: &str = "CUPEL_TEST_ENROLS_IN";
const ROUNDS: u64 = 40;

/// Long enough for a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(60);

fn enrol_anew(directory: &IdentityDirectory) {
    let lock = directory.lock(LIMIT).expect("lock");
    let key = Key::generate().expect("key");
    let file = KeyFile {
        protection: KeyProtection::File,
        bytes: key.pem().as_bytes().to_vec(),
    };
    let name = directory.keep(&lock, &file).expect("keep");
    let pair = KeyPair::from_pem(key.pem()).expect("pair");
    let params = CertificateParams::new(Vec::new()).expect("params");
    let certificate = params.self_signed(&pair).expect("certificate").pem();
    let answer = Enrolment {
        schema_version: 1,
        node: NODE.to_owned(),
        authority: certificate.clone(),
        certificate,
        not_before: at(0),
        not_after: at(2),
        renew_after: at(1),
    };
    let hardware = HardwareIdentity::default();
    let document = IdentityDocument::new(
        answer,
        "https://inventory.example",
        hardware,
        KeyProtection::File,
        &name,
    );
    directory.commit(&lock, &document).expect("commit");
}

/// The identity that there is, which fits its key.
fn whole(directory: &IdentityDirectory) -> Option<IdentityDocument> {
    let document = directory.document().expect("no half of one")?;
    let file = directory.key(&document).expect("its key");
    let key = Key::from_pem(&file.bytes).expect("a whole key");
    assert!(NodeIdentity::new(&document, key).fits());
    if let Some((name, file)) = directory.pending().expect("pending") {
        assert_ne!(name, document.key);
        Key::from_pem(&file.bytes).expect("a whole key");
    }
    Some(document)
}

/// Not a test by itself: what the killed process does.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let directory = IdentityDirectory::in_state(Path::new(&directory));
    loop {
        enrol_anew(&directory);
    }
}

#[test]
fn killed_at_any_moment_there_is_one_whole_identity() {
    let state = tempfile::tempdir().expect("directory");
    let directory = IdentityDirectory::in_state(state.path());
    let mut random = StdRng::seed_from_u64(466);
    let (mut last, mut others) = (None, 0);
    for _ in 0..ROUNDS {
        #[expect(
            clippy::disallowed_methods,
            reason = "the test kills a process; it is this test program itself"
        )]
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "identity_kill::child", "--test-threads=1"])
            .env(CHILD, state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("child");
        // At work: what there is has become another one.
        let until = Instant::now() + LIMIT;
        while directory.document().expect("whole, also meanwhile") == last {
            assert!(Instant::now() < until, "the child does nothing");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(random.random_range(0..8000)));
        child.kill().expect("kill");
        child.wait().expect("wait");
        let now = whole(&directory);
        assert!(now.is_some(), "the identity is gone");
        others += u32::from(now != last);
        last = now;
    }
    assert!(others > 0);
    enrol_anew(&directory);
    assert_ne!(whole(&directory), last);
    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .expect("list")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
}
