//! Real lines and logs that this project did not write, found through `CUPEL_CORPUS`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cupel_kernel_log::catalogue::{self, nvlink5};
use cupel_kernel_log::{Options, decode_all, fold};
use cupel_model::{Event, EventKind};

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("CUPEL_CORPUS").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: no corpus");
    }
    path
}

fn table(path: PathBuf) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(&path).expect("table of the corpus");
    text.lines()
        .skip(1)
        .map(|line| {
            line.split('\t')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

fn some(cell: &str) -> Option<&str> {
    (!cell.is_empty()).then_some(cell)
}

/// What is wrong with the decode of one row, if anything; the rules are those of the contract.
fn wrong(row: &[String]) -> Vec<String> {
    let [
        kind,
        code,
        bdf,
        mnemonic,
        immediate,
        investigatory,
        nvlink5,
        _,
        line,
    ] = row
    else {
        return vec![format!("{} columns", row.len())];
    };
    let driver = match nvlink5.get(..2) {
        Some("V1") => Some("570.00.00"),
        Some("V2") => Some("580.00.00"),
        _ => None,
    };
    let options = Options {
        driver: driver.map(|version| version.parse().expect("driver")),
        ..Options::default()
    };
    let (events, _) = decode_all(format!("{line}\n").as_bytes(), options);
    let mut wrong = Vec::new();
    if kind == "other" {
        if events.iter().any(|e| e.xid.is_some() || e.sxid.is_some()) {
            wrong.push("an XID was invented".to_owned());
        }
        return wrong;
    }
    let Some(event) = events.first() else {
        return vec!["no event".to_owned()];
    };
    let mut same = |what: &str, got: Option<String>, want: Option<&str>| {
        if got.as_deref() != want {
            wrong.push(format!("{what} {got:?}, want {want:?}"));
        }
    };
    same("events", Some(events.len().to_string()), Some("1"));
    if !bdf.is_empty() {
        let start = bdf.to_lowercase();
        let start = start.split('.').next().unwrap_or_default();
        let pci = event.pci.map(|p| p.to_string()).unwrap_or_default();
        same(
            "pci",
            pci.get(..start.len()).map(str::to_owned),
            Some(start),
        );
    }
    match kind.as_str() {
        "fallen" => {
            same("xid", event.xid.map(|x| x.to_string()), None);
            same("kind", Some(format!("{:?}", event.kind)), Some("OffBus"));
        }
        "sxid" => same("sxid", event.sxid.map(|x| x.to_string()), Some(code)),
        _ => {
            same("xid", event.xid.map(|x| x.to_string()), Some(code));
            same("mnemonic", event.mnemonic.clone(), some(mnemonic));
            let nvidia = event.nvidia.clone();
            same(
                "immediate",
                nvidia.clone().and_then(|n| n.immediate),
                some(immediate),
            );
            same(
                "investigatory",
                nvidia.and_then(|n| n.investigatory),
                some(investigatory),
            );
            if driver.is_some() {
                let decoded = event.nvlink5.clone();
                let cells = decoded.map(|n| [n.unit, n.immediate, n.investigatory, n.severity]);
                let want: Vec<Option<&str>> = nvlink5.split(':').skip(1).map(Some).collect();
                let got = cells.unwrap_or_default();
                for (got, want) in got.into_iter().zip(want) {
                    same("nvlink5", got, want);
                }
            }
        }
    }
    wrong
}

#[test]
fn every_xid_and_sxid_line_is_decoded_as_expected() {
    let Some(corpus) = corpus() else { return };
    let rows = table(corpus.join("kmsg/xid_sxid_lines.tsv"));
    assert!(rows.len() > 50, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .map(|row| (wrong(row), row))
        .filter(|(wrong, _)| !wrong.is_empty())
        .map(|(wrong, row)| format!("{}: {}", wrong.join("; "), row.join(" | ")))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_catalogue_is_the_corpus_edition_cell_by_cell() {
    let Some(corpus) = corpus() else { return };
    let rows = table(corpus.join("xid/Xids.tsv"));
    assert_eq!(rows.len(), catalogue::xids().len());
    for row in rows {
        let entry = catalogue::xid(row[1].parse().expect("code")).expect("entry");
        assert_eq!(entry.mnemonic, some(&row[2]), "{}", row[1]);
        let applies = entry.applies;
        for (mine, cell) in [applies.a100, applies.h100, applies.b100, applies.gb200]
            .iter()
            .zip(&row[4..8])
        {
            assert_eq!(*mine, cell == "YES", "{}", row[1]);
        }
        assert_eq!(entry.immediate, some(&row[8]), "{}", row[1]);
        assert_eq!(entry.investigatory, some(&row[9]), "{}", row[1]);
        assert_eq!(entry.xid154_linkage, some(&row[10]), "{}", row[1]);
        assert_ne!(
            entry.meaning, row[3],
            "{}: the meaning must be our own",
            row[1]
        );
    }
}

/// Renders each rule as a line of both layouts and decodes it again.
#[test]
fn every_nvlink5_rule_of_the_corpus_is_found_by_its_own_line() {
    let Some(corpus) = corpus() else { return };
    let rows = table(corpus.join("xid/Xid_144_150_Decode.tsv"));
    assert_eq!(rows.len(), nvlink5::rules().len());
    for row in rows {
        for (pattern, layout, driver) in [(&row[2], 0, "570.0"), (&row[3], 1, "580.0")] {
            let word = pattern.replace('-', "0");
            let word = u32::from_str_radix(&word, 2).expect("pattern");
            let status = some(&row[4]).map_or("0x00000000", |s| &s[..10]);
            // Both layouts' names stand in the cell; a name without a stroke is for both.
            let names: Vec<&str> = row[1].split('/').collect();
            let name = names.get(layout).or(names.first()).expect("name");
            let line = format!(
                "NVRM: Xid (PCI:0000:9b:00): {}, {name} Fatal XC0 i0 Link 03 (0x{word:08x} {status} 0x00000000 0x00000000 0x00000000 0x00000000)\n",
                row[0]
            );
            let options = Options {
                driver: Some(driver.parse().expect("driver")),
                ..Options::default()
            };
            let (events, _) = decode_all(line.as_bytes(), options);
            let decoded = events[0].nvlink5.clone().expect("decoded");
            assert_eq!(decoded.immediate.as_deref(), some(&row[5]), "{line}");
            assert_eq!(decoded.investigatory.as_deref(), some(&row[9]), "{line}");
            assert_eq!(decoded.severity.as_deref(), some(&row[10]), "{line}");
            assert_eq!(decoded.link, Some(3));
            // In V1 the two pipes of a unit share one name.
            if !(driver == "570.0" && row[1].ends_with("_PIPE1")) && row[1] != "MSE Degraded" {
                assert_eq!(decoded.unit.as_deref(), some(&row[1]), "{line}");
            }
        }
    }
}

fn log(name: &str) -> Option<Vec<Event>> {
    let path = corpus()?.join("logs").join(name);
    let bytes = std::fs::read(path).expect("log of the corpus");
    Some(decode_all(&bytes, Options::default()).0)
}

fn codes(events: &[Event]) -> BTreeMap<&str, usize> {
    let mut codes = BTreeMap::new();
    for event in events {
        *codes.entry(event.code.as_str()).or_default() += 1;
    }
    codes
}

#[test]
fn a_burst_of_xid_13_and_out_of_memory() {
    let Some(events) = log("memory.dmesg.decode.iso.log") else {
        return;
    };
    let want = BTreeMap::from([
        ("oom.cgroup-kill", 2),
        ("oom.kill", 4),
        ("oom.reaped", 1),
        ("xid.13", 16),
        ("xid.43", 1),
    ]);
    assert_eq!(codes(&events), want);
    let first = events.first().expect("one");
    assert_eq!(
        first.time.expect("time").to_string(),
        "2025-01-21T04:41:44.283302Z"
    );
    assert!(
        events
            .iter()
            .all(|e| e.source == cupel_model::LogSource::Kernel)
    );
    assert!(fold(events).iter().all(|e| e.repeats == 1));
}

#[test]
fn logs_without_faults_have_no_faults() {
    for name in [
        "kmsg.1.log",
        "0flap_syslog",
        "1dev_6flap_syslog",
        "fabricmanager.log",
        "good_nvlink_status.txt",
        "bad_nvlink_status.txt",
        "orig_nvsmi8_output.txt",
        "bad_nvsmi8_output.txt",
        "nvidia-smi.nvlink.status.a100",
    ] {
        let Some(events) = log(name) else { return };
        assert!(events.is_empty(), "{name}: {events:?}");
    }
}

#[test]
fn nothing_of_the_corpus_that_is_no_log_is_an_xid() {
    let Some(corpus) = corpus() else { return };
    for folder in ["nvidia-smi", "mock-nvml", "infiniband", "firmware"] {
        for file in std::fs::read_dir(corpus.join(folder)).expect("folder") {
            let path = file.expect("file").path();
            let bytes = std::fs::read(&path).expect("file of the corpus");
            let (events, _) = decode_all(&bytes, Options::default());
            let invented = events
                .iter()
                .find(|e| matches!(e.kind, EventKind::Xid | EventKind::Sxid | EventKind::OffBus));
            assert!(invented.is_none(), "{}: {invented:?}", path.display());
        }
    }
}
