//! Racks of nodes that are played: a real shell runs what is sent, beneath a directory a node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use proptest::prelude::*;

use super::*;
use crate::release::Architecture;
use crate::tests::program_of_this_machine;
use crate::version::Hash;

/// Plays ssh: the node is a directory, its Cupel is `stub`.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != "--" ]; do shift; done
node=BASE/${2#*@}
echo "$3" >> "$node/scripts"
if [ -e "$node/dead" ]; then echo "connect: timed out" >&2; exit 255; fi
if [ -e "$node/flaky" ]; then rm "$node/flaky"; exit 255; fi
script=$(printf '%s' "$3" | sed \
    -e "s|/usr/bin/cupel status|BASE/stub $node status|g" \
    -e "s|/usr/bin/cupel enrol|BASE/stub $node enrol|g" \
    -e "s|/usr/bin/cupel upgrade|BASE/stub $node upgrade|g" \
    -e "s|\([^ ]*\)/cupel install|BASE/stub $node install \1/cupel|" \
    -e "s|/usr/bin/cupel|$node/cupel|g" \
    -e "s|/var/lib/cupel|$node|g" \
    -e "s|id -u|echo 0|")
HOME=$node exec /bin/sh -c "$script"
"#;

const STUB: &str = r#"#!/bin/sh
node=$1; what=$2; shift 2
case $what in
status) test -e "$node/cupel" -a ! -e "$node/silent" && exit 1; exit 2 ;;
install)
    if [ -e "$node/refuses" ]; then echo "a plan" >&2; echo "error: refused: a package owns it" >&2; exit 4; fi
    cp "$1" "$node/cupel"; echo "$@" > "$node/asked"
    while [ $# -gt 0 ]; do
        case $1 in --token-file) cp "$2" "$node/token"; stat -c %a "$2" > "$node/mode" ;; esac
        shift
    done ;;
enrol)
    if [ "$*" != "--yes -" ]; then exit 2; fi
    if [ -e "$node/identity" ] && ! grep -q revoked "$node/identity"; then exit; fi
    if [ -e "$node/breaks" ]; then exit 255; fi
    if [ -e "$node/foreign" ]; then echo "error: refused: it is expected in rack 9" >&2; exit 4; fi
    cat > "$node/identity" ;;
upgrade) shift; test -s "$1.minisig" && cp "$1" "$node/cupel" ;;
esac
"#;

struct Site {
    directory: tempfile::TempDir,
    load: Load,
}

impl Site {
    fn new(nodes: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let base = directory.path().display().to_string();
        for (name, text) in [("ssh", SSH), ("stub", STUB)] {
            let path = directory.path().join(name);
            fs::write(&path, text.replace("BASE", &base)).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        let program = program_of_this_machine();
        let mut text = String::from(
            "program = 'release'\ninventory = 'https://in.example'\ntoken_file = 'token'\n\
             release_keys = ['ours.pub']\nretries = 1\nat_once = 3\n",
        );
        for (name, content) in [
            ("release", &program[..]),
            ("release.minisig", b"signature"),
            ("token", b"s3cret"),
            ("ours.pub", b"key"),
        ] {
            fs::write(directory.path().join(name), content).expect("write");
        }
        for node in nodes {
            fs::create_dir(directory.path().join(node)).expect("node");
            text.push_str(&format!("[[node]]\nname = '{node}'\n"));
        }
        let rack = parse(&text).expect("rack").beside(directory.path());
        Self {
            load: Load {
                rack,
                hash: Hash::of(&program),
                architecture: Architecture::of_this_program().expect("architecture"),
            },
            directory,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("write");
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(0o755)).expect("mode");
    }

    fn push(&self) -> (Vec<Result<Done, Failed>>, Vec<News>) {
        let remote = Ssh {
            program: self.at("ssh"),
            user: "root".to_owned(),
            arguments: Vec::new(),
        };
        let (news, told) = channel();
        let results = push(&self.load, &remote, &self.at("logs"), &news).expect("logs");
        drop(news);
        (results, told.iter().collect())
    }

    fn scripts(&self, node: &str) -> String {
        fs::read_to_string(self.at(node).join("scripts")).unwrap_or_default()
    }
}

#[test]
fn each_node_gets_what_it_lacks_and_the_next_push_does_only_what_is_missing() {
    let site = Site::new(&["fresh", "old", "same", "dead", "flaky", "owned", "cut"]);
    site.put("old/cupel", "an older one");
    fs::copy(site.at("release"), site.at("same/cupel")).expect("copy");
    fs::copy(site.at("release"), site.at("cut/cupel")).expect("copy");
    for mark in ["same/cupel", "cut/cupel"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(site.at(mark), mode).expect("mode");
    }
    site.put("cut/install.json", "{\n  \"state\": \"installing\",\n");
    for mark in ["dead/dead", "flaky/flaky", "owned/refuses", "cut/silent"] {
        site.put(mark, "");
    }
    let (results, news) = site.push();
    assert_eq!(results[0], Ok(Done::Installed));
    assert_eq!(results[1], Ok(Done::Upgraded));
    assert_eq!(results[2], Ok(Done::Already));
    let dead = results[3].as_ref().expect_err("dead");
    assert_eq!(
        dead.to_string(),
        "cannot look at it: no connection: connect: timed out"
    );
    assert_eq!(results[4], Ok(Done::Installed));
    let refused = Failed::Refused("a package owns it".to_owned());
    assert_eq!(results[5], Err(refused));
    let silent = results[6]
        .as_ref()
        .expect_err("its service does not answer");
    assert!(silent.to_string().contains("does not answer"), "{silent}");
    let again = |index| {
        news.iter()
            .any(|n| matches!(n, News::Again(i, _) if *i == index))
    };
    assert!(again(3) && again(4) && !again(5));

    for node in ["fresh", "old", "flaky"] {
        let there = fs::read(site.at(node).join("cupel")).expect("program");
        assert_eq!(Hash::of(&there), site.load.hash, "{node}");
    }
    let asked = fs::read_to_string(site.at("fresh/asked")).expect("asked");
    assert!(asked.contains("--inventory https://in.example"), "{asked}");
    assert!(asked.contains("/ours.pub"), "{asked}");
    let token = fs::read_to_string(site.at("fresh/token")).expect("token");
    let mode = fs::read_to_string(site.at("fresh/mode")).expect("mode");
    assert_eq!((token.as_str(), mode.trim()), ("s3cret", "600"));
    let left = fs::read_dir(site.at("fresh")).expect("node");
    let left = left.flatten().filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with(".cupel-push")
    });
    assert_eq!(left.count(), 0, "nothing is left behind");
    for node in ["fresh", "old", "flaky"] {
        assert!(!site.scripts(node).contains("s3cret"), "{node}");
        let log = fs::read_to_string(site.at("logs").join(format!("{node}.log"))).expect("log");
        assert!(log.contains("uname -m") && !log.contains("s3cret"), "{log}");
    }

    for mark in ["dead/dead", "owned/refuses", "cut/silent"] {
        fs::remove_file(site.at(mark)).expect("remove");
    }
    fs::remove_file(site.at("cut/install.json")).expect("remove");
    let before = site.scripts("fresh").lines().count();
    let (results, _) = site.push();
    let already = [0, 1, 2, 4, 6].map(|index: usize| &results[index]);
    assert!(
        already.iter().all(|result| **result == Ok(Done::Already)),
        "{results:?}"
    );
    assert_eq!(results[3], Ok(Done::Installed));
    assert_eq!(results[5], Ok(Done::Installed));
    let scripts = site.scripts("fresh");
    let new: Vec<_> = scripts.lines().skip(before).collect();
    assert_eq!(new.len(), 1, "it is only looked at: {new:?}");
}

#[test]
fn a_node_with_other_processors_is_left_alone() {
    let mut site = Site::new(&["arm"]);
    site.load.architecture = match site.load.architecture {
        Architecture::X86_64 => Architecture::Aarch64,
        Architecture::Aarch64 => Architecture::X86_64,
    };
    let (results, _) = site.push();
    assert!(matches!(results[0], Err(Failed::Unfit(_))), "{results:?}");
    assert!(!site.scripts("arm").contains("mktemp"));
}

#[test]
fn what_is_no_rack_is_refused_with_a_reason() {
    let head = "program = 'p'\n";
    for (text, word) in [
        ("program = 1", "line 1"),
        ("program = 'p'\nbanana = 1\n[[node]]\nname = 'a'", "banana"),
        (head, "no node"),
        (
            "program = 'p'\n[[node]]\nname = 'a'\n[[node]]\nname = 'a'",
            "twice",
        ),
        (
            "program = 'p'\n[[node]]\nname = '-oProxyCommand=x'",
            "no name",
        ),
        ("program = 'p'\n[[node]]\nname = '../a'", "no name"),
        (
            "program = 'p'\n[[node]]\nname = 'a'\naddress = '-l'",
            "no address",
        ),
        (
            "program = 'p'\n[[node]]\nname = 'a'\naddress = 'a;b'",
            "no address",
        ),
        (
            "program = 'p'\nuser = '-x'\n[[node]]\nname = 'a'",
            "no user",
        ),
        (
            "program = 'p'\nat_once = 0\n[[node]]\nname = 'a'",
            "at_once",
        ),
        (
            "program = 'p'\ntoken_file = 't'\n[[node]]\nname = 'a'",
            "inventory",
        ),
        (
            "program = 'p'\njoin = 'j'\ninventory = 'https://i'\n[[node]]\nname = 'a'",
            "no inventory",
        ),
        (
            "program = 'p'\nrelease_keys = ['a b.pub']\n[[node]]\nname = 'a'",
            "key",
        ),
    ] {
        let error = parse(text).expect_err(word);
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
    let rack = parse("program = 'p'\n[[node]]\nname = 'a'\naddress = 'fe80::1%eth0'\nport = 2222");
    let rack = rack.expect("rack").beside(Path::new("/site"));
    assert_eq!(rack.program, Path::new("/site/p"));
    assert_eq!(
        rack.signature.as_deref(),
        Some(Path::new("/site/p.minisig"))
    );
}

proptest! {
    #[test]
    fn whatever_the_text_a_rack_or_an_error(text in "\\PC{0,200}", name in "\\PC{0,12}") {
        let _ = parse(&text);
        let table = format!("program = 'p'\n[[node]]\nname = {name:?}\n");
        if let Ok(rack) = parse(&table) {
            let name = &rack.nodes[0].name;
            prop_assert!(!name.starts_with('-') && !name.contains(['/', ' ', '\'', ';', '$']));
        }
    }
}

#[test]
fn each_node_gets_an_identity_once() {
    let mut site = Site::new(&["fresh", "same", "known", "foreign", "revoked", "breaks"]);
    site.put("rack.join", "a secret");
    site.load.rack.join = Some(site.at("rack.join"));
    for node in ["same", "known", "foreign", "revoked", "breaks"] {
        let path = site.at(&format!("{node}/cupel"));
        fs::copy(site.at("release"), &path).expect("copy");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    site.put("known/identity", "its own");
    site.put("foreign/foreign", "");
    site.put("revoked/identity", "good here, and revoked there");
    site.put("breaks/breaks", "");
    let (results, news) = site.push();
    assert_eq!(results[0], Ok(Done::Installed));
    assert_eq!(results[1], Ok(Done::Already));
    assert_eq!(results[2], Ok(Done::Already));
    let refused = Failed::Refused("it is expected in rack 9".to_owned());
    assert_eq!(results[3], Err(refused));
    assert_eq!(results[4], Ok(Done::Already));
    assert!(results[5].as_ref().is_err_and(Failed::is_passing));
    assert!(news.contains(&News::At(0, Stage::Enrol)));
    for (node, identity) in [
        ("fresh", "a secret"),
        ("same", "a secret"),
        ("known", "its own"),
        ("revoked", "a secret"),
    ] {
        let is = fs::read_to_string(site.at(node).join("identity")).expect("identity");
        assert_eq!(is, identity, "{node}");
    }
    for node in ["fresh", "same", "known", "foreign", "revoked", "breaks"] {
        let left: Vec<_> = fs::read_dir(site.at(node))
            .expect("list")
            .filter_map(|entry| entry.expect("entry").file_name().into_string().ok())
            .filter(|name| name.starts_with(".cupel-push."))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "{node}");
        assert!(!site.scripts(node).contains("a secret"), "{node}");
        let logs = site.at("logs").join(format!("{node}.log"));
        let log = fs::read_to_string(logs).expect("log");
        assert!(!log.contains("a secret"), "{node}");
    }
    // Nothing of it was on a disk there.
    assert!(!site.scripts("breaks").contains("cat >"));
}
