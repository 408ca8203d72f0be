//! What the commands write, against the committed schemas, by a validator that Cupel did not write.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use cupel_e2e::{Server, scenarios};
use jsonschema::Validator;
use serde_json::Value;

fn validator(name: &str) -> Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    let path = folder.join(format!("{name}.schema.json"));
    let text = std::fs::read_to_string(&path).expect("committed schema");
    let schema: Value = serde_json::from_str(&text).expect("schema is JSON");
    jsonschema::validator_for(&schema).expect("schema is a schema")
}

fn valid(validator: &Validator, text: &str) -> Result<Value> {
    let json: Value = serde_json::from_str(text).context("no JSON")?;
    let errors: Vec<String> = validator
        .iter_errors(&json)
        .take(5)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(json)
}

#[test]
fn whatever_is_wrong_with_a_server_its_json_fits_the_schemas() {
    let (snapshot, report) = (validator("snapshot"), validator("check-report"));
    let mut wrong = Vec::new();
    for (name, scenario) in scenarios().expect("scenarios") {
        let test = || -> Result<()> {
            let server = Server::of(&scenario)?;
            let inspected = server.cupel(&["inspect", "--output", "json"])?;
            valid(&snapshot, &inspected.stdout).context("inspect")?;
            let checked = server.cupel(&["check", "--output", "json"])?;
            valid(&report, &checked.stdout).context("check")?;
            Ok(())
        };
        if let Err(error) = test() {
            wrong.push(format!("--- {name}: {error:#}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn decoded_events_fit_their_schema() {
    let event = validator("event");
    let scenarios = scenarios().expect("scenarios");
    let mut lines = 0;
    for name in ["gpu-off-bus", "healthy-crashed-job", "xid-149-nvlink5"] {
        let scenario = scenarios.iter().find(|(known, _)| known == name);
        let (_, scenario) = scenario.expect("scenario");
        let server = Server::of(scenario).expect("server");
        let log = server.rack.root().join("dev/kmsg");
        let ran = server
            .cupel(&["decode", "--output", "jsonl", &log.to_string_lossy()])
            .expect("decode");
        assert_eq!(ran.code(), 0, "{}", ran.stderr);
        for line in ran.stdout.lines() {
            valid(&event, line).expect(line);
            lines += 1;
        }
    }
    assert!(lines >= 7, "only {lines} events");
}

#[test]
fn the_schemas_refuse_what_is_wrong() {
    let server = Server::healthy("pcie-l40s").expect("server");
    let ran = server.cupel(&["check", "--output", "json"]).expect("check");
    let report = validator("check-report");
    let good = valid(&report, &ran.stdout).expect("valid");
    for (pointer, bad) in [
        ("/verdict", Value::from("fine")),
        ("/schema_version", Value::from("1")),
        ("/findings", Value::Null),
        ("/node/serial", Value::Null),
        ("/coverage/ran/0", Value::from(7)),
    ] {
        let mut json = good.clone();
        *json.pointer_mut(pointer).expect(pointer) = bad;
        assert!(!report.is_valid(&json), "{pointer}");
    }
    let ran = server
        .cupel(&["inspect", "--output", "json"])
        .expect("inspect");
    let snapshot = validator("snapshot");
    let good = valid(&snapshot, &ran.stdout).expect("valid");
    for (pointer, bad) in [
        ("/taken_at", Value::from("yesterday")),
        ("/gpus/0/pci", Value::from("00:1")),
        ("/gpus/0/memory/total_bytes", Value::from("46068 MiB")),
        ("/rdma/0/ports/0/counters/0/value", Value::from(-1)),
        ("/kernel_log_records", Value::Null),
    ] {
        let mut json = good.clone();
        *json.pointer_mut(pointer).expect(pointer) = bad;
        assert!(!snapshot.is_valid(&json), "{pointer}");
    }
}
