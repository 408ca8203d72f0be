//! GPUs that are lost and come back while the driver library stays open.

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::Act;
use cupel_hardware::gpu::{Client, GpuCollection, collect};
use cupel_model::Reading;
use cupel_model::snapshot::WorkerState;

use crate::bench::{Bench, eight, eight_functions, kernel, now};

fn read(client: &mut Client) -> GpuCollection {
    client.collect(&kernel(), &eight_functions(), now())
}

fn fresh(bench: &Bench) -> GpuCollection {
    collect(&bench.options, &kernel(), &eight_functions(), now())
}

#[test]
fn a_gpu_that_is_lost_under_an_open_library_is_seen_as_a_new_process_sees_it() {
    let mut state = eight(Model::L40s);
    let bench = Bench::new(&state);
    let mut client = Client::new(bench.options.clone());
    let well = read(&mut client);
    state.gpus[3].handle = 15;
    bench.put(&state);
    let lost = read(&mut client);
    assert_eq!(lost.gpus, fresh(&bench).gpus);
    assert_eq!(lost.gpus[3].in_driver, Reading::Value(false));
    assert_eq!(lost.driver.worker, WorkerState::Answered { replaced: 0 });
    assert_eq!(read(&mut client).gpus, lost.gpus, "and stays so");
    drop(client);
    // As it would be after a reset by somebody else.
    let mut client = Client::new(bench.options.clone());
    assert_eq!(read(&mut client).gpus[3].in_driver, Reading::Value(false));
    state.gpus[3].handle = 0;
    bench.put(&state);
    client.release();
    assert_eq!(read(&mut client).gpus, well.gpus);
}

#[test]
fn a_second_worker_that_cannot_open_the_driver_takes_nothing_over() {
    let mut state = eight(Model::L40s);
    let bench = Bench::new(&state);
    let mut client = Client::new(bench.options.clone());
    let well = read(&mut client);
    state.gpus[3].handle = 15;
    for act in [Act::Return(999), Act::Crash] {
        bench.put(&state.clone().with_fault("nvmlInit_v2", None, act));
        let told = read(&mut client);
        assert_eq!(told.driver.worker, WorkerState::Answered { replaced: 0 });
        for index in [0, 1, 2, 4, 5, 6, 7] {
            assert_eq!(told.gpus[index], well.gpus[index]);
        }
        assert!(told.gpus[3].memory.total_bytes.is_failed());
        client.expire();
    }
}
