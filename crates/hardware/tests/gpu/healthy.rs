//! What a driver in good order tells arrives unchanged.

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::{Fabric, Modes, Nvlink, Process, State};
use cupel_model::Reading;
use cupel_model::snapshot::{GpuProcess, NvlinkRemote, WorkerState};
use cupel_model::units::Bytes;

use crate::bench::{Bench, eight};

#[test]
fn every_value_of_eight_gpus_arrives() {
    for model in [Model::H100, Model::H200, Model::B200, Model::L40s] {
        let state = eight(model);
        let (collection, _) = Bench::new(&state).read();
        assert_eq!(collection.problems, []);
        assert_eq!(
            collection.driver.worker,
            WorkerState::Answered { replaced: 0 }
        );
        assert_eq!(
            collection.driver.library_version,
            Reading::Value("570.133.20".to_owned())
        );
        assert_eq!(
            collection.driver.cuda_version,
            Reading::Value("12.8".to_owned())
        );
        assert_eq!(collection.gpus.len(), 8);
        for (gpu, book) in collection.gpus.iter().zip(&state.gpus) {
            let json = serde_json::to_string(gpu).expect("json");
            assert!(!json.contains("\"failed\""), "{json}");
            assert_eq!(gpu.identity.serial.value(), book.serial.as_ref());
            assert_eq!(gpu.identity.uuid.value(), book.uuid.as_ref());
            assert_eq!(
                gpu.pci.get().map(|at| at.to_string()),
                Some(book.pci.clone())
            );
            let memory = book.memory.expect("memory");
            assert_eq!(gpu.memory.total_bytes, Reading::Value(Bytes(memory.total)));
            assert_eq!(gpu.on_bus, Reading::Value(true));
            assert_eq!(gpu.in_driver, Reading::Value(true));
            let links = gpu.nvlink.value().map_or(0, |nvlinks| nvlinks.links.len());
            assert_eq!(links, book.nvlinks.len());
        }
    }
}

#[test]
fn each_changed_value_arrives() {
    let mut state = eight(Model::H200);
    let book = &mut state.gpus[2];
    book.ecc_volatile = Some(cupel_fake_driver::state::EccCounts {
        sram_corrected: 1,
        sram_uncorrected: 2,
        dram_corrected: 3,
        dram_uncorrected: 4,
    });
    book.sram_threshold_exceeded = Some(1);
    let rows = book.remapped_rows.as_mut().expect("rows");
    (rows.uncorrectable, rows.pending, rows.failure) = (5, 1, 1);
    book.row_histogram.as_mut().expect("banks").low = 6;
    book.throttle_reasons = Some(0x48);
    book.violations.as_mut().expect("violations").board = 7;
    book.pcie.as_mut().expect("pcie").current_width = 8;
    book.mig_mode = Some(Modes {
        current: 0,
        pending: 1,
    });
    book.recovery_action = Some(4);
    book.processes = Some(vec![
        Process {
            pid: 20,
            memory: None,
        },
        Process {
            pid: 10,
            memory: Some(1 << 30),
        },
    ]);
    book.nvlinks[3].active = 0;
    book.nvlinks[4].counters.insert("replay".to_owned(), 9);
    let fabric: &mut Fabric = book.fabric.as_mut().expect("fabric");
    (fabric.state, fabric.status, fabric.health_mask) = (3, 23, 0x1a9);

    let (collection, _) = Bench::new(&state).read();
    let gpu = &collection.gpus[2];
    let count = |reading: &Reading<cupel_model::Counter>| reading.get().map(|count| count.value);
    assert_eq!(count(&gpu.ecc.volatile.sram_corrected), Some(1));
    assert_eq!(count(&gpu.ecc.volatile.sram_uncorrected), Some(2));
    assert_eq!(count(&gpu.ecc.volatile.dram_corrected), Some(3));
    assert_eq!(count(&gpu.ecc.volatile.dram_uncorrected), Some(4));
    assert_eq!(count(&gpu.ecc.volatile.total_uncorrected), Some(6));
    assert_eq!(count(&gpu.ecc.aggregate.dram_uncorrected), Some(0));
    assert_eq!(gpu.ecc.sram_threshold_exceeded, Reading::Value(true));
    let rows = gpu.remapped_rows.value().expect("rows");
    assert_eq!(rows.uncorrectable, Reading::Value(5));
    assert_eq!(rows.correctable, Reading::Value(0));
    assert_eq!(rows.pending, Reading::Value(true));
    assert_eq!(rows.failure, Reading::Value(true));
    assert_eq!(rows.banks_low, Reading::Value(6));
    assert_eq!(
        gpu.clocks.throttle_reasons.value().expect("reasons"),
        &["hw-slowdown", "hw-thermal-slowdown"]
    );
    assert_eq!(count(&gpu.clocks.board_violation_ns), Some(7));
    assert_eq!(gpu.pcie.current_width, Reading::Value(8));
    assert_eq!(gpu.identity.mig_mode, Reading::Value(false));
    assert_eq!(gpu.identity.mig_mode_pending, Reading::Value(true));
    assert_eq!(
        gpu.processes.recovery_action,
        Reading::Value("drain-and-reset".to_owned())
    );
    let compute = gpu.processes.compute.value().expect("processes");
    assert_eq!(
        compute[0],
        GpuProcess {
            pid: 10,
            memory_bytes: Reading::Value(Bytes(1 << 30)),
        }
    );
    assert!(matches!(compute[1].memory_bytes, Reading::Unsupported(_)));
    let links = &gpu.nvlink.value().expect("links").links;
    assert_eq!(links[3].active, Reading::Value(false));
    assert_eq!(links[2].active, Reading::Value(true));
    assert_eq!(links[2].remote, Reading::Value(NvlinkRemote::Switch));
    assert_eq!(links[2].speed_gbps.get().map(f64::from), Some(212.496));
    let replay = links[4].counters.iter().find(|c| c.name == "replay");
    assert_eq!(replay.and_then(|replay| count(&replay.value)), Some(9));
    assert!(links[4].counters.is_sorted_by_key(|counter| &counter.name));
    let fabric = gpu.fabric.value().expect("fabric");
    assert_eq!(fabric.state, Reading::Value("completed".to_owned()));
    assert_eq!(
        fabric.status,
        Reading::Value("insufficient-resources".to_owned())
    );
    assert_eq!(
        fabric.health_problems,
        Reading::Value(vec!["degraded-bandwidth".to_owned()])
    );
    assert_eq!(gpu.slot, Reading::Value("SXM 3".to_owned()));
}

#[test]
fn what_a_generation_lacks_is_unsupported_and_never_zero() {
    let (collection, _) = Bench::new(&eight(Model::L40s)).read();
    let gpu = &collection.gpus[0];
    assert!(matches!(gpu.nvlink, Reading::Unsupported(_)));
    assert!(matches!(gpu.fabric, Reading::Unsupported(_)));
    assert!(matches!(gpu.retired_pages, Reading::Unsupported(_)));
    assert!(matches!(gpu.thermal.fan_percent, Reading::Unsupported(_)));
    assert!(matches!(
        gpu.thermal.memory_temperature_celsius,
        Reading::Unsupported(_)
    ));

    // MIG: rows and counts of the whole GPU are not offered.
    let mut state = eight(Model::H200);
    for gpu in &mut state.gpus {
        gpu.mig_mode = Some(Modes {
            current: 1,
            pending: 1,
        });
        gpu.remapped_rows = None;
        gpu.row_histogram = None;
        gpu.ecc_volatile = None;
    }
    let (collection, _) = Bench::new(&state).read();
    let gpu = &collection.gpus[0];
    assert!(matches!(gpu.remapped_rows, Reading::Unsupported(_)));
    assert!(matches!(
        gpu.ecc.volatile.dram_uncorrected,
        Reading::Unsupported(_)
    ));
}

#[test]
fn nvlink_5_has_counters_of_its_own() {
    let mut state: State = eight(Model::B200);
    let link: &mut Nvlink = &mut state.gpus[0].nvlinks[0];
    link.counters.insert("symbol_errors".to_owned(), 12);
    link.counters.remove("xmit_discards");
    let (collection, _) = Bench::new(&state).read();
    let counters = &collection.gpus[0].nvlink.value().expect("links").links[0].counters;
    let of = |name: &str| {
        let found = counters.iter().find(|counter| counter.name == name);
        found.map(|counter| counter.value.clone()).expect(name)
    };
    assert_eq!(of("symbol_errors").get().map(|count| count.value), Some(12));
    assert!(matches!(of("xmit_discards"), Reading::Unsupported(_)));
    assert!(counters.iter().all(|counter| counter.name != "replay"));
    assert!(counters.is_sorted_by_key(|counter| &counter.name));
}
