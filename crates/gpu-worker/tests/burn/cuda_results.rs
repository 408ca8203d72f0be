//! Every result of the driver, at the calls where it can come, ends the job with its name and what
//! it means.

use cupel_fake_driver::state::{Act, CudaAct};
use cupel_model::worker_burnin::{BurnEnd, BurnErrorKind, BurnWork, Element, Operands};

use crate::worker::{Worker, healthy, memory, product, run};

/// Results with what they mean: one of each meaning, and the ones that operators meet.
const RESULTS: [(u32, &str, BurnErrorKind); 14] = [
    (1, "CUDA_ERROR_INVALID_VALUE", BurnErrorKind::Other),
    (3, "CUDA_ERROR_NOT_INITIALIZED", BurnErrorKind::NoDriver),
    (46, "CUDA_ERROR_DEVICE_UNAVAILABLE", BurnErrorKind::Lost),
    (100, "CUDA_ERROR_NO_DEVICE", BurnErrorKind::NoGpu),
    (101, "CUDA_ERROR_INVALID_DEVICE", BurnErrorKind::NoGpu),
    (209, "CUDA_ERROR_NO_BINARY_FOR_GPU", BurnErrorKind::Image),
    (
        214,
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        BurnErrorKind::UncorrectableEcc,
    ),
    (
        220,
        "CUDA_ERROR_NVLINK_UNCORRECTABLE",
        BurnErrorKind::NvlinkError,
    ),
    (
        222,
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        BurnErrorKind::Image,
    ),
    (700, "CUDA_ERROR_ILLEGAL_ADDRESS", BurnErrorKind::Lost),
    (719, "CUDA_ERROR_LAUNCH_FAILED", BurnErrorKind::Lost),
    (
        802,
        "CUDA_ERROR_SYSTEM_NOT_READY",
        BurnErrorKind::FabricNotReady,
    ),
    (
        803,
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        BurnErrorKind::NoDriver,
    ),
    (4711, "CUDA result 4711", BurnErrorKind::Other),
];

/// Calls of a memory job, from its beginning to its end.
const CALLS: [&str; 16] = [
    "cuInit",
    "cuDeviceGetByPCIBusId",
    "cuDeviceGetAttribute",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuCtxCreate_v2",
    "cuCtxSetCurrent",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuLaunchKernel",
    "cuEventQuery",
    "cuMemcpyDtoH_v2",
    "cuMemcpyHtoD_v2",
];

#[test]
fn every_call_tells_what_it_was_told() {
    for call in CALLS {
        let state = healthy(1).with_fault(call, None, Act::Return(214));
        let outcome = run(&state, memory());
        let BurnEnd::Failed(error) = &outcome.end else {
            panic!("{call}: {outcome:?}");
        };
        assert_eq!((error.call.as_str(), error.code), (call, Some(214)));
        assert_eq!(error.kind, BurnErrorKind::UncorrectableEcc, "{call}");
        assert!(!outcome.proof_complete, "{call}");
    }
}

#[test]
fn every_result_has_its_name_and_its_meaning() {
    for call in ["cuInit", "cuCtxCreate_v2", "cuLaunchKernelEx"] {
        for (code, name, kind) in RESULTS {
            let state = healthy(1).with_fault(call, None, Act::Return(code));
            let outcome = run(&state, product(Element::Bf16, Operands::Exact));
            let BurnEnd::Failed(error) = &outcome.end else {
                panic!("{call} {code}: {outcome:?}");
            };
            assert!(
                error.what.starts_with(name),
                "{call} {code}: {}",
                error.what
            );
            assert_eq!(error.kind, kind, "{call} {code}");
        }
    }
}

/// All results that cuda.h names, success and "not ready" apart.
const ALL: [u32; 97] = [
    1, 2, 3, 4, 5, 6, 7, 8, 34, 36, 46, 100, 101, 102, 200, 201, 202, 205, 206, 207, 208, 209, 210,
    211, 212, 213, 214, 215, 216, 217, 218, 219, 220, 221, 222, 223, 224, 225, 226, 300, 301, 302,
    303, 304, 400, 401, 402, 500, 700, 701, 702, 703, 704, 705, 708, 709, 710, 711, 712, 713, 714,
    715, 716, 717, 718, 719, 720, 721, 800, 801, 802, 803, 804, 805, 806, 807, 808, 809, 810, 811,
    812, 900, 901, 902, 903, 904, 905, 906, 907, 908, 909, 910, 911, 912, 913, 915, 999,
];

#[test]
fn every_result_has_a_name() {
    let mut worker = Worker::new(&healthy(1));
    for code in ALL {
        worker.now(&healthy(1).with_fault("cuCtxCreate_v2", None, Act::Return(code)));
        worker.start(BurnWork::Describe);
        let BurnEnd::Failed(error) = worker.outcome().end else {
            panic!("{code}: no failure");
        };
        assert_eq!(error.code, i32::try_from(code).ok());
        assert!(
            error.what.starts_with("CUDA_ERROR_"),
            "{code}: {}",
            error.what
        );
    }
}

#[test]
fn memory_that_runs_out_is_short_coverage_and_without_any_a_failure() {
    let mut state = healthy(1);
    state.cuda.scarce_after = Some(12 << 20);
    let outcome = run(&state, memory());
    assert_eq!(outcome.end, BurnEnd::Done);
    assert!(
        outcome.covered * 2 < outcome.asked + (1 << 20),
        "{outcome:?}"
    );
    state.cuda.scarce_after = Some(300 << 10);
    let outcome = run(&state, memory());
    let BurnEnd::Failed(error) = outcome.end else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.kind, BurnErrorKind::OutOfMemory);
}

#[test]
fn a_gpu_that_is_lost_in_the_middle_ends_the_job_and_the_worker_still_answers() {
    let lost = CudaAct::Lost { code: 719 };
    let state = healthy(1).with_cuda_fault("memory_turn", Some(20), lost);
    let mut worker = Worker::new(&state);
    worker.start(memory());
    let outcome = worker.outcome();
    let BurnEnd::Failed(error) = &outcome.end else {
        panic!("{outcome:?}");
    };
    assert_eq!((error.kind, error.gpu), (BurnErrorKind::Lost, Some(0)));
    assert!(outcome.planted > 0 && !outcome.proof_complete);
    assert_eq!(worker.progress().calling, None);
}

#[test]
fn a_call_that_hangs_is_named_while_it_does_and_polls_are_answered() {
    let state = healthy(1).with_fault("cuMemAlloc_v2", None, Act::Hang);
    let mut worker = Worker::new(&state);
    worker.start(memory());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let progress = worker.progress();
        if progress.calling.as_deref() == Some("cuMemAlloc_v2") && progress.still_ms > 50 {
            break;
        }
        assert!(std::time::Instant::now() < until, "{progress:?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let one = worker.progress().beat;
    assert_eq!(worker.progress().beat, one, "nothing moves");
}

#[test]
fn a_kernel_that_never_ends_is_a_beat_that_stands_still() {
    let state = healthy(1).with_cuda_fault("memory_verify", Some(3), CudaAct::Hang);
    let mut worker = Worker::new(&state);
    worker.start(memory());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let progress = worker.progress();
        if progress.still_ms > 300 {
            assert!(progress.phase.contains("verify"), "{progress:?}");
            break;
        }
        assert!(std::time::Instant::now() < until, "{progress:?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_library_that_is_not_there_or_lacks_a_function_is_told() {
    let mut worker = Worker::new(&healthy(1).with_fault("cuInit", None, Act::Return(999)));
    worker.start(BurnWork::Describe);
    assert!(matches!(worker.outcome().end, BurnEnd::Failed(_)));
    let mut state = healthy(1);
    state.gpus.clear();
    worker.now(&state);
    worker.start(BurnWork::Describe);
    let BurnEnd::Failed(error) = worker.outcome().end else {
        panic!("no failure");
    };
    assert_eq!(error.kind, BurnErrorKind::NoGpu);
}
