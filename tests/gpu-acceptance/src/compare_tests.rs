//! Tests of the comparison: a made-up GPU told by both sides, and one thing changed at a time.

use std::path::PathBuf;

use serde_json::json;

use super::*;

/// Made up; only the element names are nvidia-smi's.
const XML: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>570.10</driver_version>
  <cuda_version>12.8</cuda_version>
  <attached_gpus>1</attached_gpus>
  <gpu id="00000000:9B:00.0">
    <product_name>NVIDIA H200</product_name>
    <product_architecture>Hopper</product_architecture>
    <persistence_mode>Enabled</persistence_mode>
    <serial>1650000000001</serial>
    <uuid>GPU-00000000-0000-0000-0000-000000000001</uuid>
    <board_id>0x9b00</board_id>
    <gpu_module_id>3</gpu_module_id>
    <performance_state>P0</performance_state>
    <fan_speed>N/A</fan_speed>
    <pci><pci_gpu_link_info><link_widths><current_link_width>16x</current_link_width></link_widths></pci_gpu_link_info></pci>
    <clocks_event_reasons>
      <clocks_event_reason_gpu_idle>Active</clocks_event_reason_gpu_idle>
      <clocks_event_reason_applications_clocks_setting>Not Active</clocks_event_reason_applications_clocks_setting>
    </clocks_event_reasons>
    <fb_memory_usage><total>143771 MiB</total></fb_memory_usage>
    <ecc_errors><volatile>
      <sram_uncorrectable_parity>1</sram_uncorrectable_parity>
      <sram_uncorrectable_secded>2</sram_uncorrectable_secded>
    </volatile></ecc_errors>
    <remapped_rows>
      <remapped_row_pending>No</remapped_row_pending>
      <row_remapper_histogram><row_remapper_histogram_max>96 bank(s)</row_remapper_histogram_max></row_remapper_histogram>
    </remapped_rows>
    <temperature><gpu_temp>41 C</gpu_temp></temperature>
    <gpu_power_readings><average_power_draw>100.00 W</average_power_draw><instant_power_draw>300.00 W</instant_power_draw></gpu_power_readings>
    <gpu_recovery_action>None</gpu_recovery_action>
    <processes></processes>
  </gpu>
</nvidia_smi_log>"#;

fn snapshot() -> Value {
    json!({
        "driver": { "kernel_version": "570.10", "library_version": "570.10", "cuda_version": "12.8" },
        "gpus": [{
            "pci": "0000:9b:00.0",
            "in_driver": true,
            "name": "NVIDIA H200",
            "architecture": "hopper",
            "persistence_mode": true,
            "serial": "1650000000001",
            "uuid": "GPU-00000000-0000-0000-0000-000000000001",
            "board_id": 0x9b00,
            "module_id": 3,
            "memory": { "total_bytes": 143_771_u64 * 1_048_576 + 700_000 },
            "ecc": { "volatile": { "sram_uncorrected": 3 } },
            "remapped_rows": { "pending": false, "banks_max": 96 },
            "thermal": {
                "temperature_celsius": 43.0,
                "power_watts": 250.0,
                "fan_percent": { "state": "unsupported", "why": "no fan" },
            },
            "clocks": { "performance_state": 0, "throttle_reasons": ["gpu-idle"] },
            "pcie": { "current_width": 16 },
            "processes": { "compute": [], "recovery_action": "none" },
            "nvlink": { "state": "unsupported", "why": "none" },
        }],
    })
}

fn outcomes(snapshot: &Value) -> Vec<(String, Outcome)> {
    let smi = Smi::parse(XML).expect("parse");
    compare(snapshot, &smi, &smi)
        .into_iter()
        .map(|row| (row.value, row.outcome))
        .collect()
}

fn mismatches(snapshot: &Value) -> Vec<String> {
    outcomes(snapshot)
        .into_iter()
        .filter(|(_, outcome)| *outcome == Outcome::Mismatch)
        .map(|(value, _)| value)
        .collect()
}

#[test]
fn two_accounts_of_one_gpu_agree() {
    let all = outcomes(&snapshot());
    assert_eq!(mismatches(&snapshot()), Vec::<String>::new());
    let matched = all
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Match)
        .count();
    assert_eq!(matched, 22, "{all:?}");
    assert!(all.contains(&("/nvlink".to_owned(), Outcome::NotTold)));
    assert!(all.contains(&("/thermal/fan_percent".to_owned(), Outcome::Match)));
}

#[test]
fn each_changed_value_is_found() {
    for (pointer, other) in [
        ("/name", json!("NVIDIA GH200")),
        ("/architecture", json!("ada")),
        ("/persistence_mode", json!(false)),
        ("/serial", json!("1650000000002")),
        ("/uuid", json!({ "state": "failed", "why": "hung" })),
        ("/board_id", json!(9)),
        ("/module_id", json!(4)),
        ("/memory/total_bytes", json!(1)),
        ("/ecc/volatile/sram_uncorrected", json!(2)),
        ("/remapped_rows/pending", json!(true)),
        ("/remapped_rows/banks_max", json!(95)),
        ("/thermal/temperature_celsius", json!(60.0)),
        ("/thermal/power_watts", json!(700.0)),
        ("/clocks/performance_state", json!(8)),
        ("/clocks/throttle_reasons", json!(["hw-slowdown"])),
        ("/pcie/current_width", json!(8)),
        ("/processes/recovery_action", json!("gpu-reset")),
        (
            "/processes/compute",
            json!({ "state": "failed", "why": "EIO" }),
        ),
    ] {
        let mut changed = snapshot();
        let place = changed
            .pointer_mut(&format!("/gpus/0{pointer}"))
            .expect(pointer);
        *place = other;
        assert_eq!(mismatches(&changed), [pointer]);
    }
}

#[test]
fn a_whole_group_without_a_value_differs_in_each_member_that_is_told() {
    let mut changed = snapshot();
    changed["gpus"][0]["remapped_rows"] = json!({ "state": "failed", "why": "hung" });
    assert_eq!(
        mismatches(&changed),
        ["/remapped_rows/pending", "/remapped_rows/banks_max"]
    );
}

#[test]
fn a_saturated_counter_says_at_least() {
    let mut changed = snapshot();
    changed["gpus"][0]["ecc"]["volatile"]["sram_uncorrected"] =
        json!({ "value": 3, "saturated": true });
    assert_eq!(mismatches(&changed), Vec::<String>::new());
}

#[test]
fn lost_and_extra_gpus_are_found_but_for_those_a_container_is_not_given() {
    let mut lost = snapshot();
    lost["gpus"] = json!([]);
    assert_eq!(mismatches(&lost), [""]);
    let mut extra = snapshot();
    let list = extra["gpus"].as_array_mut().expect("list");
    list.push(json!({ "pci": "0000:9c:00.0", "in_driver": true }));
    assert_eq!(mismatches(&extra), ["/in_driver"]);
    extra["gpus"][1]["in_driver"] = json!({ "state": "absent", "why": "not listed" });
    assert_eq!(mismatches(&extra), Vec::<String>::new());
}

#[test]
fn the_model_has_every_value_that_is_compared() {
    let gpu = serde_json::to_value(cupel_model::snapshot::Gpu {
        remapped_rows: cupel_model::snapshot::GpuRemappedRows::default().into(),
        retired_pages: cupel_model::snapshot::GpuRetiredPages::default().into(),
        fabric: cupel_model::snapshot::GpuFabric::default().into(),
        ..Default::default()
    })
    .expect("serialise");
    for field in FIELDS {
        assert!(
            gpu.pointer(field.cupel).is_some(),
            "{} is not in the model",
            field.cupel
        );
    }
}

#[test]
fn real_reports_are_read_by_their_names() {
    let Some(corpus) = std::env::var_os("CUPEL_CORPUS").map(PathBuf::from) else {
        println!("skipped: no corpus");
        return;
    };
    let mut seen = 0;
    for entry in corpus.join("nvidia-smi").read_dir().expect("corpus") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("read");
        let smi = Smi::parse(&text).expect("parse");
        assert!(matches!(smi.told("driver_version"), Told::Value(_)));
        for gpu in &smi.gpus {
            let missing: Vec<_> = FIELDS
                .iter()
                .filter(|field| field.smi.iter().all(|path| gpu.told(path) == Told::Missing))
                .map(|field| field.cupel)
                .collect();
            // What came or went with a version: thresholds, remapped rows as one N/A, MIG's.
            assert!(missing.len() <= 16, "{}: {missing:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 0, "no report in the corpus");
}
