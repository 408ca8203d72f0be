//! A library that lacks what lists GPUs or tells of links, or that refuses to start: unknown is
//! told as unknown, and what is known all the same is told too.

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::Act;
use cupel_model::Reading;
use cupel_model::snapshot::WorkerState;

use crate::bench::{Bench, eight, faulty};

const LISTING: [&str; 2] = ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetPciInfo_v3"];

#[test]
fn a_library_that_refuses_the_kernel_module_tells_its_version() {
    for code in [18, 9, 999] {
        let mut state = eight(Model::H200);
        state.init = code;
        state.nvml_version = "12.575.57.08".to_owned();
        let (collection, _) = Bench::new(&state).read();
        let driver = &collection.driver;
        let WorkerState::Failed { why, hung: None } = &driver.worker else {
            panic!("{code}: {:?}", driver.worker);
        };
        let named = why.contains("nvmlInit_v2") && why.contains(&format!("code {code}"));
        assert!(named, "{code}: {why}");
        assert_eq!(driver.nvml_version, Reading::Value(state.nvml_version));
        let path = driver.library_path.value().expect("path");
        assert!(path.ends_with("/libnvidia-ml.so.1"), "{path}");
        assert!(driver.library_version.is_failed(), "{code}");
        assert_eq!(collection.gpus.len(), 8);
        for gpu in &collection.gpus {
            assert!(gpu.in_driver.is_failed(), "{code}");
        }
    }
}

#[test]
fn a_hang_after_the_refusal_is_named() {
    let mut state = eight(Model::H200).with_fault("nvmlSystemGetNVMLVersion", None, Act::Hang);
    state.init = 18;
    let (collection, _) = Bench::new(&state).read();
    let WorkerState::Failed {
        hung: Some(hung), ..
    } = &collection.driver.worker
    else {
        panic!("{:?}", collection.driver.worker);
    };
    assert_eq!(hung.call, "nvmlSystemGetNVMLVersion");
}

#[test]
fn without_the_functions_that_list_them_gpus_are_not_told_as_missing() {
    for call in LISTING {
        let (collection, _) = Bench::new(&eight(Model::H200)).without(call).read();
        assert_eq!(collection.gpus.len(), 8, "{call}");
        for gpu in &collection.gpus {
            assert_eq!(gpu.on_bus, Reading::Value(true), "{call}");
            let Reading::Unsupported(why) = &gpu.in_driver else {
                panic!("{call}: {:?}", gpu.in_driver);
            };
            assert!(why.contains(call), "{why}");
        }
    }
}

#[test]
fn of_fewer_gpus_than_are_on_the_bus_none_is_told_as_missing_while_none_can_be_located() {
    for call in LISTING {
        let mut state = eight(Model::H200);
        state.gpus.remove(3);
        let (collection, _) = Bench::new(&state).without(call).read();
        for gpu in &collection.gpus {
            let unknown = matches!(gpu.in_driver, Reading::Unsupported(_));
            assert!(unknown, "{call}: {:?}", gpu.in_driver);
        }
    }
}

#[test]
fn a_refusal_of_one_gpu_is_its_own() {
    let bench = faulty(Model::H200, LISTING[0], Some(3), Act::Return(15));
    let (collection, _) = bench.read();
    let listed: Vec<Option<bool>> = collection
        .gpus
        .iter()
        .map(|gpu| gpu.in_driver.get())
        .collect();
    let mut expected = [Some(true); 8];
    expected[3] = Some(false);
    assert_eq!(listed, expected);
}

#[test]
fn without_their_states_nothing_is_told_of_links() {
    let call = "nvmlDeviceGetNvLinkState";
    let missing = Bench::new(&eight(Model::H200)).without(call);
    let (collection, _) = missing.read();
    for gpu in &collection.gpus {
        let Reading::Unsupported(why) = &gpu.nvlink else {
            panic!("{:?}", gpu.nvlink);
        };
        assert!(why.contains(call), "{why}");
    }
    // What the driver cannot tell now is not what it does not offer.
    let (collection, _) = faulty(Model::H200, call, Some(3), Act::Return(999)).read();
    let links = &collection.gpus[3].nvlink.value().expect("links").links;
    assert!(!links.is_empty() && links.iter().all(|link| link.active.is_failed()));
}
