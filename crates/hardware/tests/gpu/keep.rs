//! What the client believes for a while, and when it does not.

use std::time::Duration;

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::Act;
use cupel_hardware::gpu::{Client, GpuCollection, GpuOptions};
use cupel_model::Reading;

use crate::bench::{Bench, eight, eight_functions, kernel, now};

fn read(client: &mut Client) -> GpuCollection {
    client.collect(&kernel(), &eight_functions(), now())
}

fn name(told: &GpuCollection) -> &Reading<String> {
    &told.gpus[2].identity.name
}

#[test]
fn who_a_gpu_is_and_its_links_are_asked_for_once_in_a_while() {
    let mut state = eight(Model::H200);
    let bench = Bench::new(&state);
    let mut client = Client::new(bench.options.clone());
    let first = read(&mut client);
    state.gpus[2].name = Some("NVIDIA H300".to_owned());
    state.gpus[2].recovery_action = Some(2);
    bench.put(&state);
    let second = read(&mut client);
    assert_eq!(name(&second), name(&first), "believed");
    assert_eq!(
        second.gpus[2].processes.recovery_action,
        Reading::Value("node-reboot".to_owned()),
        "asked for"
    );
    client.expire();
    let third = read(&mut client);
    assert_eq!(name(&third), &Reading::Value("NVIDIA H300".to_owned()));
    // Another worker begins without any answers.
    state.gpus[2].name = Some("NVIDIA H400".to_owned());
    bench.put(&state);
    client.release();
    assert_eq!(
        name(&read(&mut client)),
        &Reading::Value("NVIDIA H400".to_owned())
    );
}

#[test]
fn who_wants_everything_each_time_gets_it() {
    let mut state = eight(Model::H200);
    let bench = Bench::new(&state);
    let mut client = Client::new(GpuOptions {
        keep: |_| Duration::ZERO,
        ..bench.options.clone()
    });
    read(&mut client);
    state.gpus[2].name = Some("NVIDIA H300".to_owned());
    bench.put(&state);
    assert_eq!(
        name(&read(&mut client)),
        &Reading::Value("NVIDIA H300".to_owned())
    );
}

#[test]
fn a_gpu_that_is_lost_has_lost_all_that_was_believed_of_it() {
    let state = eight(Model::H200);
    let bench = Bench::new(&state);
    let mut client = Client::new(bench.options.clone());
    assert!(read(&mut client).gpus[3].nvlink.value().is_some());
    // Every call on it, from now on.
    let mut lost = state.clone();
    for call in [
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetNvLinkState",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetRemappedRows",
    ] {
        lost = lost.with_fault(call, Some(3), Act::Return(15));
    }
    bench.put(&lost);
    let told = read(&mut client);
    assert!(told.gpus[3].nvlink.is_failed(), "{:?}", told.gpus[3].nvlink);
    assert!(told.gpus[4].nvlink.value().is_some());
}
