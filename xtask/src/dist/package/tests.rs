//! What is in packages, read back from their bytes.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::*;

fn package(kind: Kind, name: &str) -> Package {
    let workspace = Workspace::find().expect("workspace");
    let release = Release {
        workspace: &workspace,
        version: "1.2.3",
        maintainer: "A Person <person@example.com>",
        date: 1_795_000_000,
    };
    let texts = Texts::write("2026-11-18").expect("texts");
    let program = b"\x7fELF".to_vec();
    Package::new(
        &release,
        kind,
        Architecture::Aarch64,
        name,
        program,
        &texts,
        &Papers {
            bill: b"{}",
            notices: b"texts",
        },
    )
    .expect("package")
}

/// Names and contents of a compressed tar archive.
fn unpacked(bytes: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut archive = ::tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("entry");
        assert_eq!(entry.header().mtime().expect("time"), 1_795_000_000);
        assert_eq!(entry.header().uid().expect("owner"), 0);
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mode = entry.header().mode().expect("mode");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        files.insert(name, (mode, bytes));
    }
    files
}

#[test]
fn a_deb_has_program_texts_scripts_and_sums() {
    let package = package(Kind::Deb, "cupel");
    assert_eq!(deb::file_name(&package), "cupel_1.2.3-1_arm64.deb");
    let bytes = deb::write(&package).expect("deb");
    assert_eq!(bytes, deb::write(&package).expect("again"));
    let mut members = BTreeMap::new();
    let mut archive = ar::Archive::new(bytes.as_slice());
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.expect("member");
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        members.insert(name, bytes);
    }
    assert_eq!(members["debian-binary"], b"2.0\n");
    let data = unpacked(&members["data.tar.gz"]);
    assert_eq!(data["./usr/bin/cupel"], (0o755, b"\x7fELF".to_vec()));
    for file in [
        "./usr/share/man/man1/cupel-check.1.gz",
        "./usr/share/bash-completion/completions/cupel",
        "./usr/share/zsh/vendor-completions/_cupel",
        "./usr/share/fish/vendor_completions.d/cupel.fish",
        "./usr/share/doc/cupel/changelog.gz",
        "./usr/share/doc/cupel/changelog.Debian.gz",
        "./usr/share/doc/cupel/copyright",
        "./usr/share/doc/cupel/cupel.cdx.json.gz",
        "./usr/share/doc/cupel/licences.txt.gz",
    ] {
        assert_eq!(data.get(file).map(|(mode, _)| *mode), Some(0o644), "{file}");
    }
    assert!(
        data.contains_key("./usr/share/doc/"),
        "directories are in it"
    );
    let about = unpacked(&members["control.tar.gz"]);
    let text = |name: &str| String::from_utf8_lossy(&about[name].1).into_owned();
    assert!(text("./control").contains("Version: 1.2.3-1\nArchitecture: arm64\n"));
    assert_eq!(text("./md5sums").lines().count(), package.files.len());
    for script in ["./preinst", "./postinst", "./prerm", "./postrm"] {
        assert_eq!(about[script].0, 0o755);
        assert!(!text(script).contains('@'), "{}", text(script));
    }
}

#[test]
fn an_rpm_has_the_same_files_where_red_hat_wants_them() {
    let package = package(Kind::Rpm, "cupel-inventory");
    assert_eq!(
        rpm::file_name(&package),
        "cupel-inventory-1.2.3-1.aarch64.rpm"
    );
    let bytes = rpm::write(&package).expect("rpm");
    assert_eq!(bytes, rpm::write(&package).expect("again"));
    let read = ::rpm::Package::parse(&mut bytes.as_slice()).expect("parse");
    read.verify_digests().expect("digests");
    assert_eq!(read.metadata.get_name().expect("name"), "cupel-inventory");
    assert_eq!(read.metadata.get_arch().expect("architecture"), "aarch64");
    assert_eq!(read.metadata.get_build_time().expect("time"), 1_795_000_000);
    let paths: Vec<String> = read
        .metadata
        .get_file_paths()
        .expect("paths")
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    for file in [
        "/usr/bin/cupel-inventory",
        "/usr/share/man/man1/cupel-inventory-serve.1.gz",
        "/usr/share/zsh/site-functions/_cupel-inventory",
        "/usr/share/licenses/cupel-inventory/LICENSE",
        "/usr/share/doc/cupel-inventory",
    ] {
        assert!(paths.iter().any(|path| path == file), "{file}: {paths:?}");
    }
}

#[test]
fn units_go_where_their_endings_say_and_to_the_package_they_are_of() {
    let at = tempfile::tempdir().expect("directory");
    let files = [
        "cupel.service",
        "cupel-bringup.service",
        "cupel-inventory.service",
        "cupel-upgrade.service",
        "cupel-wish.service",
        "cupel.catalog",
        "sysusers.d/cupel.conf",
        "tmpfiles.d/cupel-inventory.conf",
        "examples/slurmd-cupel.conf",
    ];
    for file in files {
        let path = at.path().join(file);
        std::fs::create_dir_all(path.parent().expect("directory")).expect("create");
        std::fs::write(path, file).expect("write");
    }
    let of = |name: &str| {
        let units = Units::read(at.path(), name).expect("units");
        let paths: Vec<String> = units.files.iter().map(|(path, _)| path.clone()).collect();
        (paths, units.started)
    };
    let (paths, started) = of("cupel");
    assert_eq!(
        paths,
        [
            "usr/lib/systemd/system/cupel-bringup.service",
            "usr/lib/systemd/catalog/cupel.catalog",
            "usr/lib/systemd/system/cupel.service",
            "usr/lib/sysusers.d/cupel.conf",
        ]
    );
    assert_eq!(started, ["cupel.service"]);
    let (paths, started) = of("cupel-inventory");
    assert_eq!(
        paths,
        [
            "usr/lib/systemd/system/cupel-inventory.service",
            "usr/lib/tmpfiles.d/cupel-inventory.conf",
        ]
    );
    assert!(started.is_empty(), "it is configured first");
    std::fs::write(at.path().join("cupel.odd"), "").expect("write");
    assert!(
        Units::read(at.path(), "cupel").is_err(),
        "nobody says where"
    );
}
