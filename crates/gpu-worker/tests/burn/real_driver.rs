//! A real driver library, on a machine without a GPU: it is loaded, and says so cleanly.
//!
//! `CUPEL_REAL_DRIVER` names a directory with libcuda.so.1 and libnvidia-ml.so.1, for example of
//! Debian's packages libcuda1 and libnvidia-ml1 (component non-free), unpacked. With
//! `CUPEL_REAL_DRIVER_ROOT` the directory is inside that root, and so is the worker:
//! `cargo xtask soak drivers` makes such roots.

use std::path::PathBuf;

use cupel_model::worker::Answer;
use cupel_model::worker_burnin::{BurnEnd, BurnErrorKind, BurnWork};

use crate::worker::{Worker, healthy};

#[test]
fn a_real_library_without_a_gpu_says_that_there_is_none() {
    let Some(directory) = std::env::var_os("CUPEL_REAL_DRIVER").map(PathBuf::from) else {
        println!("skipped: no real driver library; name its directory in CUPEL_REAL_DRIVER");
        return;
    };
    let root = std::env::var_os("CUPEL_REAL_DRIVER_ROOT").map(PathBuf::from);
    let mut worker = Worker::with_libraries(&healthy(1), &directory, root.as_deref());
    let nvml = match worker.open_nvml() {
        Err(error) => format!("{}: {}", error.call, error.what),
        Ok(Answer::Refused(told)) => format!("{}: {}", told.error.call, told.error.what),
        Ok(other) => panic!("{other:?}"),
    };
    assert!(nvml.starts_with("nvmlInit_v2: "), "{nvml}");
    worker.start(BurnWork::Describe);
    let outcome = worker.outcome();
    let BurnEnd::Failed(error) = outcome.end else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.call, "cuInit");
    // No device, or no kernel module to ask: as the library has it.
    assert!(
        matches!(
            error.kind,
            BurnErrorKind::NoGpu | BurnErrorKind::NoDriver | BurnErrorKind::Lost
        ),
        "{error:?}"
    );
    assert!(error.what.starts_with("CUDA_ERROR_"), "{error:?}");
    println!("real driver: {nvml}");
    println!("real driver: {}: {}", error.call, error.what);
    // And a second time, in the same process.
    worker.start(BurnWork::Describe);
    assert!(matches!(worker.outcome().end, BurnEnd::Failed(_)));
}
