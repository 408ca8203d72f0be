//! Every target's body over its seeds and what fuzzing has kept, on the stable compiler.

use std::fs;
use std::path::{Path, PathBuf};

use cupel_fuzz_bodies::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The files of a directory; none when there is no directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = directory.read_dir().into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    files
}

#[test]
fn bodies_keep_their_promises_on_every_seed_and_every_part_of_one() {
    for (name, body) in TARGETS {
        let seeds = files(&fuzz().join("seeds").join(name));
        assert!(!seeds.is_empty(), "fuzz/seeds/{name} is empty");
        let kept = files(&fuzz().join("corpus-min").join(name));
        for path in seeds.iter().chain(&kept) {
            let data = fs::read(path).expect("read a seed");
            println!("{name}: {}", path.display());
            body(&data);
        }
        for path in &seeds {
            let data = fs::read(path).expect("read a seed");
            // Cut short, and with one byte changed, at up to 64 places each.
            let step = (data.len() / 64).max(1);
            for at in (0..data.len()).step_by(step) {
                body(&data[..at]);
                let mut changed = data.clone();
                changed[at] ^= 0xff;
                body(&changed);
            }
        }
        body(&[]);
    }
}

#[test]
fn every_target_has_a_wrapper_and_every_wrapper_a_body() {
    let mut wrappers: Vec<_> = files(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|path| {
            path.file_stem()
                .expect("name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    wrappers.sort();
    let bodies: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        wrappers, bodies,
        "TARGETS is sorted and has one entry a wrapper"
    );
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("fuzz/Cargo.toml");
    for name in bodies {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} in fuzz/Cargo.toml"
        );
    }
}
