//! The command line itself: help, usage, exit codes, errors that name file, line and key, formats,
//! files in place of the machine, pipes that close, colour.

use std::path::Path;

use assert_cmd::Command;
use cupel_e2e::{Server, program};
use serde_json::Value;
use tempfile::TempDir;

/// `cupel` in a clean environment.
fn cupel() -> Command {
    let mut command = Command::new(program("cupel").expect("cargo build -p cupel"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .timeout(cupel_e2e::LIMIT);
    command
}

/// `cupel` on a machine that is an empty directory: nothing can be read, and that is no error.
fn on_nothing(root: &TempDir) -> Command {
    let mut command = cupel();
    command.arg("--root").arg(root.path());
    command
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("directory")
}

fn put(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
    std::fs::write(path, content).expect("write");
}

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

fn say(command: &mut Command) -> Said {
    let output = command.output().expect("runs");
    Said {
        code: output.status.code().expect("ended by itself"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A snapshot of a machine of which nothing could be read.
fn snapshot_of_nothing() -> String {
    let said = say(on_nothing(&directory()).args(["inspect", "--output", "json"]));
    assert_eq!(said.code, 0, "{}", said.stderr);
    said.stdout
}

/// The commands that the help lists, with the subcommands of those that have some.
fn commands() -> Vec<Vec<String>> {
    let listed = |args: &[String]| -> Vec<String> {
        let help = say(cupel().args(args).arg("--help")).stdout;
        let Some((_, rest)) = help.split_once("\nCommands:\n") else {
            return Vec::new();
        };
        rest.lines()
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect()
    };
    let mut all = vec![Vec::new()];
    for name in listed(&[]) {
        let one = vec![name];
        for inner in listed(&one) {
            all.push(vec![one[0].clone(), inner]);
        }
        all.push(one);
    }
    all
}

#[test]
fn every_help_fits_its_columns_and_tells_its_exit_codes() {
    let all = commands();
    assert!(all.len() > 12, "{all:?}");
    for args in all {
        let help = say(cupel().args(&args).arg("--help"));
        assert_eq!(help.code, 0, "{args:?}");
        for line in help.stdout.lines() {
            assert!(line.chars().count() <= 100, "{args:?}: {line}");
        }
        let group = help.stdout.contains("\nCommands:\n") && !args.is_empty();
        assert!(
            group || help.stdout.contains("Exit codes:"),
            "{args:?} tells no exit codes"
        );
    }
}

#[test]
fn the_first_help() {
    let help = say(cupel().arg("--help")).stdout;
    insta::assert_snapshot!(help);
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &["no-such-command"][..],
        &["check", "--no-such-option"],
        &["check", "--interval", "5 parsecs"],
        &["check", "--interval", "5s", "--from", "x.json"],
        &["check", "--output", "xml"],
        &["decode", "--driver", "latest"],
        &["explain", "no.such-code"],
        &["platform", "show", "no-such-platform"],
        &["check", "--root", "/no/such/directory"],
        &["check", "--from", "/no/such/file"],
        &["decode", "/no/such/file"],
        &[],
    ] {
        let said = say(cupel().args(args));
        assert_eq!(said.code, 2, "{args:?}: {}", said.stderr);
        assert_eq!(said.stdout, "", "{args:?}");
        assert!(!said.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_bad_snapshot_is_refused_with_file_line_and_key() {
    let folder = directory();
    let good = snapshot_of_nothing();
    let mut json: Value = serde_json::from_str(&good).expect("JSON");
    json["memory"]["total_bytes"] = "many".into();
    let wrong_type = serde_json::to_string_pretty(&json).expect("JSON");
    let line = 1 + wrong_type
        .lines()
        .position(|line| line.contains("\"many\""))
        .expect("there");
    json["schema_version"] = 99.into();
    let newer = json.to_string();
    let unzipped = [&[0x28, 0xb5, 0x2f, 0xfd][..], &[0xff; 40]].concat();
    for (name, content, told) in [
        (
            "type.json",
            wrong_type.into_bytes(),
            format!("type.json:{line}:"),
        ),
        (
            "key.json",
            b"{\n\"schema_version\": 1\n}".to_vec(),
            "key.json:3:".to_owned(),
        ),
        ("text.json", b"not JSON".to_vec(), "text.json:1:".to_owned()),
        (
            "cut.json",
            b"{\n".to_vec(),
            "cut.json:2:1: EOF while".to_owned(),
        ),
        ("empty.json", Vec::new(), "empty.json:1:".to_owned()),
        (
            "more.json",
            format!("{good}{{}}").into_bytes(),
            "more.json:".to_owned(),
        ),
        (
            "newer.json",
            newer.into_bytes(),
            "schema_version 99".to_owned(),
        ),
        ("zipped", unzipped, "cannot unpack".to_owned()),
        (
            "name.zst",
            good.clone().into_bytes(),
            "cannot unpack".to_owned(),
        ),
    ] {
        let path = folder.path().join(name);
        put(&path, content);
        for command in [&["check"][..], &["inspect"], &["firmware", "status"]] {
            let said = say(cupel().args(command).arg("--from").arg(&path));
            assert_eq!(said.code, 2, "{name}: {}", said.stderr);
            assert!(said.stderr.contains(&told), "{name}: {}", said.stderr);
            assert!(said.stderr.contains(name), "{name}: {}", said.stderr);
            assert_eq!(said.stdout, "", "{name}");
        }
    }
    let said = say(cupel()
        .args(["check", "--from"])
        .arg(folder.path().join("type.json")));
    assert!(
        said.stderr.contains("memory.total_bytes"),
        "{}",
        said.stderr
    );
}

#[test]
fn bad_configuration_is_refused_with_file_line_and_key() {
    for (content, told) in [
        (
            "\ntenanci = \"none\"\n",
            "/etc/cupel/10-site.toml:2:1: tenanci: unknown key",
        ),
        (
            "[nvml]\nlibrary = 3\n",
            "/etc/cupel/10-site.toml:2:11: nvml.library:",
        ),
        ("[checks]\n\"gpu.nope\" = \"observe\"\n", "\"gpu.nope\""),
        ("tenancy = [\n", "/etc/cupel/10-site.toml:"),
    ] {
        let root = directory();
        put(root.path().join("etc/cupel/10-site.toml"), content);
        for command in [&["config"][..], &["check"], &["inspect"], &["capture", "-"]] {
            let said = say(on_nothing(&root).args(command));
            assert_eq!(said.code, 2, "{content}: {}", said.stderr);
            assert!(said.stderr.contains(told), "{content}: {}", said.stderr);
            // The file that is named is the one that is there, root and all.
            let file = root.path().join("etc/cupel/10-site.toml");
            let file = file.display().to_string();
            assert!(said.stderr.contains(&file), "{content}: {}", said.stderr);
        }
    }
}

#[test]
fn later_directories_win_and_every_value_tells_its_origin() {
    let root = directory();
    let write = |path: &str, text: &str| put(root.path().join(path), text);
    write(
        "usr/lib/cupel/00.toml",
        "tenancy = \"vgpu\"\n[deadlines]\ngpu_call_seconds = 1\n",
    );
    write("run/cupel/00.toml", "[deadlines]\n\ngpu_call_seconds = 2\n");
    write("etc/cupel/10.toml", "tenancy = \"none\"\n");
    write("etc/cupel/20.toml", "tenancy = \"scheduler\"\n");
    write("etc/cupel/ignored.conf", "nonsense\n");
    let said = say(on_nothing(&root)
        .env("CUPEL_NVML", "/opt/nvml.so")
        .args(["config", "--output", "json"]));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let json: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let setting = |key: &str| {
        let rows = json["settings"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["key"] == key).expect(key);
        (
            row["value"].clone(),
            row["origin"].as_str().expect("origin").to_owned(),
        )
    };
    assert_eq!(
        setting("tenancy"),
        ("scheduler".into(), "/etc/cupel/20.toml:1".to_owned())
    );
    assert_eq!(
        setting("deadlines.gpu_call_seconds"),
        (2.0.into(), "/run/cupel/00.toml:3".to_owned())
    );
    assert_eq!(
        setting("nvml.library"),
        ("/opt/nvml.so".into(), "environment CUPEL_NVML".to_owned())
    );
    assert_eq!(setting("burn_in.memory_share").1, "default");
}

/// The same XID as five programs write it.
const LINES: [&str; 6] = [
    "4,1024,3600000000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
    "[ 3600.000000] NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
    "kern  :warn  : [Sat Jan 31 12:00:00 2026] NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
    "kern  :warn  : 2026-01-31T12:00:00,000000+00:00 NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
    "Jan 31 12:00:00 node1 kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
    "{\"MESSAGE\":\"NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.\",\"_TRANSPORT\":\"kernel\",\"__REALTIME_TIMESTAMP\":\"1769860800000000\",\"SYSLOG_IDENTIFIER\":\"kernel\"}",
];

#[test]
fn decode_reads_every_form_from_a_file_and_from_standard_input() {
    let folder = directory();
    for line in LINES {
        let log = format!("nothing of interest\n{line}\n");
        let path = folder.path().join("log");
        put(&path, &log);
        let from_file = say(cupel().args(["decode", "--output", "jsonl"]).arg(&path));
        let from_stdin = say(cupel()
            .args(["decode", "--output", "jsonl"])
            .write_stdin(log.clone()));
        let from_dash = say(cupel()
            .args(["decode", "-", "--output", "jsonl"])
            .write_stdin(log));
        assert_eq!(from_file.stdout, from_stdin.stdout);
        assert_eq!(from_file.stdout, from_dash.stdout);
        assert_eq!(from_file.code, 0);
        let events: Vec<Value> = from_file
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(events.len(), 1, "{line}");
        assert_eq!(events[0]["xid"], 79, "{line}");
        assert_eq!(events[0]["pci"], "0000:3b:00.0", "{line}");
        assert_eq!(events[0]["repeats"], 1);
        assert!(
            from_file
                .stderr
                .contains("2 lines: 1 events, 1 lines mean nothing"),
            "{}",
            from_file.stderr
        );
    }
}

#[test]
fn decode_folds_and_writes_one_document_or_text() {
    let log = format!("{}\n{}\n", LINES[1], LINES[1]);
    let folded = say(cupel()
        .args(["decode", "--fold", "--output", "json"])
        .write_stdin(log.clone()));
    let json: Value = serde_json::from_str(&folded.stdout).expect("one document");
    assert_eq!(json["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["events"][0]["repeats"], 2);
    let whole = say(cupel()
        .args(["decode", "--output", "json"])
        .write_stdin(log.clone()));
    let json: Value = serde_json::from_str(&whole.stdout).expect("one document");
    assert_eq!(json["events"].as_array().map(Vec::len), Some(2));
    let empty = say(cupel().args(["decode", "--output", "json"]).write_stdin(""));
    let json: Value = serde_json::from_str(&empty.stdout).expect("one document");
    assert_eq!(json["events"], Value::Array(Vec::new()));
    let text = say(cupel().arg("decode").write_stdin(log));
    assert!(
        text.stdout.contains("CRITICAL  xid.79  0000:3b:00.0"),
        "{}",
        text.stdout
    );
}

#[test]
fn nothing_in_a_log_steers_the_terminal() {
    let line = "[ 1.0] NVRM: Xid (PCI:0000:3b:00): 13, pid=1, name=\x1b]0;owned\x07\x1b[2J, oops\n";
    let said = say(cupel().arg("decode").write_stdin(line));
    assert!(said.stdout.contains("xid.13"), "{}", said.stdout);
    assert!(!said.stdout.contains(['\x1b', '\x07']));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = directory();
    let log = folder.path().join("log");
    put(&log, format!("{}\n", LINES[1]).repeat(200_000));
    let script = format!(
        "{} decode {} --output jsonl | head -n 1 | wc -l; echo ${{PIPESTATUS[0]}}",
        program("cupel").expect("built").display(),
        log.display()
    );
    let said = say(Command::new("bash").args(["-c", &script]));
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines, ["1", "0"]);
    assert!(!said.stderr.contains("error"), "{}", said.stderr);
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}

#[test]
fn colour_only_on_a_terminal_and_never_against_no_color() {
    let plain = say(cupel().args(["explain", "gpu.off-bus"]));
    assert!(!plain.stdout.contains('\x1b'));
    let on_terminal = |no_color: bool| {
        let mut command = Command::new("script");
        let path = program("cupel").expect("built");
        command
            .args([
                "-qec",
                &format!("{} explain gpu.off-bus", path.display()),
                "/dev/null",
            ])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm-256color");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        say(&mut command).stdout
    };
    if nix::pty::openpty(None, None).is_err() {
        println!("skipped: no pseudo-terminal can be opened here");
        return;
    }
    assert!(on_terminal(false).contains("\x1b[1m"));
    assert!(!on_terminal(true).contains('\x1b'));
}

#[test]
fn a_machine_of_which_nothing_is_known_is_never_healthy() {
    let root = directory();
    let said = say(on_nothing(&root).args(["check", "--output", "json"]));
    let json: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(json["verdict"], "unknown", "{}", said.stdout);
    assert_eq!(said.code, 3, "{}", said.stderr);
}

#[test]
fn captures_answer_as_the_machine_does_and_read_only_state_is_no_error() {
    let server = Server::healthy("dgx-h100").expect("server");
    let folder = directory();
    let packed = folder.path().join("node.json.zst");
    let plain = folder.path().join("node.json");
    let state = folder.path().join("not-a-directory");
    put(&state, "");
    for file in [&packed, &plain] {
        let name = file.display().to_string();
        let ran = server
            .cupel(&[
                "capture",
                &name,
                "--state-dir",
                &state.display().to_string(),
            ])
            .expect("runs");
        assert_eq!(ran.code(), 0, "{}", ran.stderr);
        assert_eq!(ran.stdout.trim_end(), name);
        assert_eq!(ran.stderr, "");
        let again = server.cupel(&["capture", &name]).expect("runs");
        assert_eq!(again.code(), 2, "a file that is there is not replaced");
    }
    assert_eq!(
        std::fs::read(&packed).expect("packed")[..4],
        [0x28, 0xb5, 0x2f, 0xfd]
    );
    for file in [&packed, &plain] {
        let said = say(cupel()
            .args(["check", "--output", "json", "--from"])
            .arg(file));
        let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!(report["verdict"], "healthy", "{}", said.stdout);
        assert_eq!(said.code, 0);
        let inspected = say(cupel()
            .args(["inspect", "--output", "json", "--from"])
            .arg(file));
        let unpacked = say(cupel().args(["capture", "-", "--from"]).arg(file));
        let one: Value = serde_json::from_str(&inspected.stdout).expect("JSON");
        let other: Value = serde_json::from_str(&unpacked.stdout).expect("JSON");
        assert_eq!(one, other, "a capture is a snapshot");
    }
    let piped = say(cupel()
        .args(["check", "--from", "-"])
        .write_stdin(std::fs::read(&packed).expect("packed")));
    assert_eq!(piped.code, 0, "{}", piped.stderr);
}

/// Every text of a JSON value, with its key.
fn texts<'a>(value: &'a Value, key: &'a str, all: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::String(text) => all.push((key, text)),
        Value::Array(list) => list.iter().for_each(|inner| texts(inner, key, all)),
        Value::Object(map) => map.iter().for_each(|(key, inner)| texts(inner, key, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn a_scrubbed_capture_names_no_part_and_finds_the_same() {
    let (_, scenario) = cupel_e2e::scenarios()
        .expect("scenarios")
        .into_iter()
        .find(|(name, _)| name == "gpu-missing")
        .expect("scenario");
    let server = Server::of(&scenario).expect("server");
    let folder = directory();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let capture = |name: &str, more: &[&str]| {
        let ran = server
            .cupel(&[&["capture", &file(name)], more].concat())
            .expect("runs");
        assert_eq!(ran.code(), 0, "{}", ran.stderr);
        let text = std::fs::read_to_string(file(name)).expect("capture");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let open = capture("open.json", &[]);
    let hidden = capture("hidden.json", &["--scrub"]);
    let other = capture("other.json", &["--scrub"]);
    let hidden_text = hidden.to_string().to_lowercase();
    let mut names = Vec::new();
    texts(&open, "", &mut names);
    names.retain(|(key, text)| {
        let identity = [
            "serial",
            "uuid",
            "mac",
            "node_guid",
            "system_guid",
            "hostname",
        ];
        identity.contains(key)
            && text.len() >= 6
            && text.chars().any(|c| c.is_ascii_digit() && c != '0')
    });
    assert!(names.len() > 30, "a server has many names: {}", names.len());
    for (key, name) in names {
        assert!(
            !hidden_text.contains(&name.to_lowercase()),
            "{key} {name} is told"
        );
    }
    assert_ne!(hidden["node"]["serial"], other["node"]["serial"]);
    let findings = |name: &str| -> Vec<Value> {
        let said = say(cupel().args(["check", "--output", "json", "--from", &file(name)]));
        let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
        let findings = report["findings"].as_array().expect("findings").clone();
        findings
            .into_iter()
            .map(|found| {
                let place = &found["component"];
                serde_json::json!([
                    found["code"],
                    found["severity"],
                    place["kind"],
                    place["index"],
                    place["pci"],
                    place["slot"],
                    place["serial"].is_string()
                ])
            })
            .collect()
    };
    let wanted = findings("open.json");
    assert!(!wanted.is_empty());
    assert_eq!(findings("hidden.json"), wanted);
}

#[test]
fn a_platform_of_a_good_node_fits_that_node() {
    let server = Server::healthy("dgx-h100").expect("server");
    let folder = directory();
    let file = folder.path().join("my-h100.toml").display().to_string();
    let derived = server
        .cupel(&["platform", "derive", "--write", &file])
        .expect("runs");
    assert_eq!(derived.code(), 0, "{}", derived.stderr);
    let ran = server
        .cupel(&["check", "--output", "json", "--platform", &file])
        .expect("runs");
    let report = ran.report().expect("report");
    assert_eq!(report.platform.as_deref(), Some("my-h100"));
    assert_eq!(ran.code(), 0, "{}", ran.stdout);
    // Laid down on the server it is the one that the server is recognised as.
    put(
        server.rack.root().join("etc/cupel/platforms/my-h100.toml"),
        std::fs::read(&file).expect("file"),
    );
    let ran = server.cupel(&["check", "--output", "json"]).expect("runs");
    assert_eq!(
        ran.report().expect("report").platform.as_deref(),
        Some("my-h100")
    );
    put(
        server.rack.root().join("etc/cupel/platforms/bad.toml"),
        "schema = \"x\"\n",
    );
    let ran = server.cupel(&["check"]).expect("runs");
    assert_eq!(ran.code(), 2);
    assert!(ran.stderr.contains("bad.toml"), "{}", ran.stderr);
}

#[test]
fn two_samples_are_as_far_apart_as_was_asked() {
    let server = Server::healthy("dgx-h100").expect("server");
    let ran = server
        .cupel(&["inspect", "--output", "json", "--interval", "300ms"])
        .expect("runs");
    let json: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let elapsed = json["previous"]["elapsed_seconds"]
        .as_f64()
        .expect("seconds");
    assert!((0.3..60.0).contains(&elapsed), "{elapsed}");
    assert!(json["previous"]["snapshot"]["previous"].is_null());
}

#[test]
fn explanations_and_completions_are_there() {
    for code in ["gpu.off-bus", "79", "xid.79"] {
        let said = say(cupel().args(["explain", code]));
        assert_eq!(said.code, 0, "{code}: {}", said.stderr);
        assert!(
            said.stdout.contains("What to do"),
            "{code}: {}",
            said.stdout
        );
    }
    let said = say(cupel().args(["explain", "gpu.of-bus"]));
    assert!(said.stderr.contains("gpu.off-bus"), "{}", said.stderr);
    for shell in ["bash", "zsh", "fish"] {
        let said = say(cupel().args(["completions", shell]));
        assert!(said.stdout.contains("firmware"), "{shell}");
    }
}
