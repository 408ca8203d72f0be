//! GPU stages through the real worker and the fake driver: eight GPUs at once, healthy and not.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use cupel_burnin::{
    BurnInResult, Detector, FailureClass, Floors, GpuSet, GpuUnderTest, Mismatch, Outcome, Plan,
    Resource, Run, StageKind, StageResult, Word, run,
};
use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::{CudaAct, CudaFault, CudaPlace, State};
use cupel_hardware::Root;
use cupel_hardware::gpu::{BurnOptions, Library, WorkerProgram};
use cupel_hardware::host_memory::Topology;
use tempfile::TempDir;

/// Size in which the worker takes the memory of a fake GPU of 24 MiB.
const PIECE: u64 = 256 << 10;

/// The directory of this build's programs and libraries.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let deps = own.parent().expect("deps");
    let profile = deps.parent().expect("profile directory");
    let newest = [profile, deps]
        .map(|directory| directory.join(name))
        .into_iter()
        .filter(|path| path.exists())
        .max_by_key(|path| {
            std::fs::metadata(path)
                .and_then(|about| about.modified())
                .ok()
        });
    newest.unwrap_or_else(|| {
        panic!(
            "{name} is not in {}: run `cargo build --workspace` first",
            profile.display()
        )
    })
}

struct Node {
    _directory: TempDir,
    gpus: GpuSet,
}

impl Node {
    fn new(count: u32, faults: Vec<CudaFault>) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
            std::fs::copy(
                built("libcupel_fake_driver.so"),
                directory.path().join(name),
            )
            .expect("copy");
        }
        let address = |index: u32| format!("0000:{:02x}:00.0", index + 1);
        let addresses: Vec<String> = (0..count).map(address).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut state = State::healthy(Model::H200, &addresses);
        state.cuda.memory_bytes = 24 << 20;
        state.cuda.multiprocessors = 4;
        state.cuda.faults = faults;
        // At its limit, as under load.
        for gpu in &mut state.gpus {
            gpu.power_mw = gpu.power_limit_mw;
        }
        state.write_beside(directory.path()).expect("state");
        let mut options = BurnOptions::new(WorkerProgram::File(built("cupel-gpu-worker")));
        options.cuda = Library::At(directory.path().join("libcuda.so.1"));
        options.nvml = Library::At(directory.path().join("libnvidia-ml.so.1"));
        options.still_limit = Duration::from_secs(8);
        let under_test = (0..count)
            .map(|index| GpuUnderTest {
                index,
                pci: address(index).parse().expect("address"),
                name: "NVIDIA H200".to_owned(),
                limit: None,
                unfit: None,
            })
            .collect();
        let topology = Topology::of(&Root::live()).expect("topology");
        let gpus = GpuSet::new(under_test, &topology, options);
        Self {
            _directory: directory,
            gpus,
        }
    }

    fn burn(&self, kinds: &[StageKind]) -> BurnInResult {
        let plan = kinds
            .iter()
            .fold(Plan::quick(Word(0x5eed)).only(kinds), |plan, kind| {
                plan.with_budget(*kind, Duration::from_millis(200))
            });
        let stages = self.gpus.stages(&plan, &Arc::new(Floors::default()));
        run(Run::new(plan, stages), &mut |_| {}, &AtomicBool::new(false))
    }
}

fn of_gpu(gpu: u32, kernel: &str, launch: Option<u64>, act: CudaAct) -> CudaFault {
    CudaFault {
        gpu: Some(gpu),
        kernel: kernel.to_owned(),
        launch,
        act,
    }
}

fn stage<'r>(result: &'r BurnInResult, name: &str) -> &'r StageResult {
    result
        .stages
        .iter()
        .find(|stage| stage.name.to_string() == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

const ALL: [StageKind; 6] = [
    StageKind::GpuHostLinks,
    StageKind::GpuMemory,
    StageKind::GpuCompute,
    StageKind::GpuPower,
    StageKind::GpuLinks,
    StageKind::GpuAllReduce,
];

#[test]
fn healthy_gpus_pass_every_stage_with_proven_detectors() {
    let result = Node::new(3, Vec::new()).burn(&ALL);
    for stage in &result.stages {
        assert_eq!(
            stage.outcome,
            Outcome::Pass,
            "{}: {:?}",
            stage.name,
            stage.reasons
        );
        assert_eq!(stage.proof.detector, Detector::Proven, "{}", stage.name);
    }
    // Three stages a GPU, and three over all.
    assert_eq!(result.stages.len(), 3 * 3 + 3);
    let links = stage(&result, "gpu-links");
    assert_eq!(links.matrices[0].cells.len(), 3);
    assert!(links.matrices[0].cells[0][1].is_some() && links.matrices[0].cells[0][0].is_none());
    let host = stage(&result, "gpu-host-links");
    assert_eq!(host.matrices.len(), 3);
    let memory = stage(&result, "gpu-memory/gpu1");
    assert!(memory.measured.iter().any(|one| one.name == "copy rate"));
}

#[test]
fn a_gpu_that_hangs_or_computes_wrong_or_forgets_fails_alone() {
    let cell = CudaPlace::Memory {
        bytes: PIECE,
        word: 70_000,
    };
    let stuck = CudaAct::Stuck {
        place: cell,
        bit: 7,
        high: true,
    };
    let wrong = CudaAct::Flip {
        place: CudaPlace::Output { word: 5 },
        bit: 20,
    };
    let node = Node::new(
        8,
        vec![
            of_gpu(2, "memory_verify", Some(1), CudaAct::Hang),
            of_gpu(4, "", None, stuck),
            of_gpu(6, "gemm_hopper_bf16", None, wrong),
            of_gpu(7, "memory_turn", Some(5), CudaAct::Lost { code: 719 }),
        ],
    );
    let began = Instant::now();
    let result = node.burn(&[StageKind::GpuMemory, StageKind::GpuCompute]);
    for index in [0, 1, 3, 5] {
        for kind in ["gpu-memory", "gpu-compute"] {
            let one = stage(&result, &format!("{kind}/gpu{index}"));
            assert_eq!(
                one.outcome,
                Outcome::Pass,
                "{}: {:?}",
                one.name,
                one.reasons
            );
        }
    }
    for index in [2, 7] {
        let lost = stage(&result, &format!("gpu-memory/gpu{index}"));
        assert_eq!(lost.class, Some(FailureClass::Lost), "{:?}", lost.reasons);
        assert_eq!(lost.lost, [Resource::Gpu { index }]);
        // What was lost is left alone.
        let next = stage(&result, &format!("gpu-compute/gpu{index}"));
        assert_eq!(next.outcome, Outcome::Incomplete);
    }
    let memory = stage(&result, "gpu-memory/gpu4");
    assert_eq!(memory.class, Some(FailureClass::DataMismatch));
    let [Mismatch::Gpu(found)] = &memory.mismatches[..] else {
        panic!("{:?}", memory.mismatches);
    };
    assert_eq!(
        (found.gpu, found.word, &found.bits[..]),
        (4, Some(70_000), &[7][..])
    );
    let compute = stage(&result, "gpu-compute/gpu6");
    assert_eq!(compute.class, Some(FailureClass::DataMismatch));
    assert!(compute.mismatches.iter().any(|one| {
        matches!(one, Mismatch::Gpu(found) if found.gpu == 6 && found.row == Some(0) && found.column == Some(5))
    }));
    // By the oracle, and by the vote of the others; nobody else is blamed for it.
    let outvoted = compute.mismatches.iter().any(|one| {
        matches!(one, Mismatch::Gpu(found) if found.gpu == 6 && found.doing.contains("differs from that of most"))
    });
    assert!(outvoted, "{:?}", compute.mismatches);
    assert!(
        began.elapsed() < Duration::from_secs(90),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_stop_ends_every_stage_and_leaves_it_incomplete() {
    let node = Node::new(2, Vec::new());
    let plan = Plan::quick(Word(1))
        .only(&[StageKind::GpuCompute])
        .with_budget(StageKind::GpuCompute, Duration::from_secs(3600));
    let stages = node.gpus.stages(&plan, &Arc::new(Floors::default()));
    let cancel = AtomicBool::new(false);
    let began = Instant::now();
    let result = run(
        Run::new(plan, stages),
        &mut |_| {
            if began.elapsed() > Duration::from_secs(2) {
                cancel.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        },
        &cancel,
    );
    assert!(result.cancelled);
    for one in &result.stages {
        assert_eq!(one.outcome, Outcome::Incomplete, "{:?}", one.reasons);
    }
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
}
