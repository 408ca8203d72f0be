//! The fault matrix: what is planted is found at its word and bit, what is clean stays clean, and
//! less than asked is never a pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cupel_burnin::{
    BurnInResult, CpuFault, CpuMismatch, Detector, FaultPlan, Host, Kernel, MemoryFault,
    MemoryFaultKind, MemoryMismatch, Mismatch, Outcome, Pattern, Persistence, Phase, Plan,
    Progress, Run, StageKind, Word, run,
};
use cupel_hardware::Root;
use cupel_hardware::host_memory::{Available, MemoryNode, MemorySource, Topology};
use cupel_hardware::processor::{LastLevelCache, allowed};
use cupel_model::Reading;
use cupel_model::units::Bytes;
use proptest::prelude::*;

const SEED: u64 = 0x5eed;

/// This machine's processors and a little memory behind a tiny cache.
fn machine(free: u64) -> Topology {
    let cpus = allowed().expect("affinity");
    let cpus = cpus[..cpus.len().min(4)].to_vec();
    Topology {
        nodes: vec![MemoryNode {
            number: 0,
            cpus: cpus.clone(),
            available: Bytes(free),
        }],
        cpus,
        cache: Reading::Value(LastLevelCache {
            bytes: Bytes(1024),
            count: 1,
        }),
        available: Available {
            bytes: Bytes(free),
            total: Bytes(free),
            limited_by: None,
        },
        source: MemorySource::Fixed(Bytes(free)),
    }
}

fn run_with_faults(
    plan: &Plan,
    topology: &Topology,
    faults: &FaultPlan,
    progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> BurnInResult {
    let host = Host {
        faults: Arc::new(faults.clone()),
        ..Host::new(Root::live(), topology.clone())
    };
    run(Run::new(plan.clone(), host.stages(plan)), progress, cancel)
}

fn plan(stages: &[StageKind]) -> Plan {
    Plan::quick(Word(SEED))
        .only(stages)
        .lasting(Duration::from_millis(60))
}

fn once(free: u64, faults: &FaultPlan) -> BurnInResult {
    let mut plan = Plan::quick(Word(SEED)).only(&[StageKind::Memory]);
    plan.memory_repeats = false;
    run_with_faults(
        &plan,
        &machine(free),
        faults,
        &mut |_| {},
        &AtomicBool::new(false),
    )
}

fn cpu(faults: &FaultPlan) -> BurnInResult {
    run_with_faults(
        &plan(&[StageKind::Cpu]),
        &machine(1 << 20),
        faults,
        &mut |_| {},
        &AtomicBool::new(false),
    )
}

fn memory_mismatches(result: &BurnInResult) -> Vec<&MemoryMismatch> {
    let all = result.stages[0].mismatches.iter();
    all.map(|mismatch| match mismatch {
        Mismatch::Memory(mismatch) => mismatch,
        other @ (Mismatch::Cpu(_) | Mismatch::Gpu(_) | Mismatch::Drive(_)) => {
            panic!("not in memory: {other:?}")
        }
    })
    .collect()
}

fn cpu_mismatches(result: &BurnInResult) -> Vec<&CpuMismatch> {
    let all = result.stages[0].mismatches.iter();
    all.map(|mismatch| match mismatch {
        Mismatch::Cpu(mismatch) => mismatch,
        other @ (Mismatch::Memory(_) | Mismatch::Gpu(_) | Mismatch::Drive(_)) => {
            panic!("not in arithmetic: {other:?}")
        }
    })
    .collect()
}

#[test]
fn twenty_clean_runs_pass_and_prove_their_detectors() {
    for _ in 0..20 {
        for result in [
            once(4 << 20, &FaultPlan::default()),
            cpu(&FaultPlan::default()),
        ] {
            let stage = &result.stages[0];
            assert_eq!(result.verdict, Outcome::Pass, "{:?}", stage.reasons);
            assert_eq!(result.detector, Detector::Proven);
            assert!(stage.proof.planted > 0);
            assert_eq!(stage.proof.found, stage.proof.planted);
            assert_eq!(stage.coverage.covered, stage.coverage.asked);
        }
    }
}

#[test]
fn every_kind_of_memory_fault_is_found_at_its_word_and_bit() {
    let pattern = Pattern::new(SEED);
    let flip = |bit, phase| MemoryFaultKind::Flip { bit, phase };
    let cases = [
        (flip(0, Phase::Pattern), Persistence::Stored, None),
        (flip(63, Phase::Inverse), Persistence::Stored, None),
        (
            MemoryFaultKind::Misread {
                bit: 5,
                phase: Phase::Pattern,
            },
            Persistence::Transient,
            None,
        ),
        (
            MemoryFaultKind::Stuck { bit: 9, high: true },
            Persistence::Stuck,
            None,
        ),
        (
            MemoryFaultKind::Stuck {
                bit: 40,
                high: false,
            },
            Persistence::Stuck,
            None,
        ),
        (
            MemoryFaultKind::Replace {
                value: 0,
                phase: Phase::Pattern,
            },
            Persistence::Stored,
            None,
        ),
        (
            MemoryFaultKind::Alias {
                of: 17,
                phase: Phase::Inverse,
            },
            Persistence::Stored,
            Some(17),
        ),
    ];
    for (place, (kind, persistence, holds)) in (0_u64..).zip(cases) {
        let word = 1000 + 31_337 * place;
        let result = once(
            4 << 20,
            &FaultPlan {
                memory: vec![MemoryFault { word, kind }],
                ..FaultPlan::default()
            },
        );
        assert_eq!(result.verdict, Outcome::Fail, "{kind:?}");
        assert_eq!(result.detector, Detector::Proven, "{kind:?}");
        let seen = memory_mismatches(&result);
        assert_eq!(seen.len(), 1, "{kind:?}: {seen:?}");
        let seen = seen[0];
        assert_eq!((seen.word, seen.offset_bytes), (word, word * 8), "{kind:?}");
        assert_eq!(seen.expected.0, pattern.word(word) ^ seen.phase.mask());
        assert_eq!(seen.persistence, persistence, "{kind:?}");
        assert_eq!(seen.holds_word, holds, "{kind:?}");
        match kind {
            MemoryFaultKind::Flip { bit, phase } | MemoryFaultKind::Misread { bit, phase } => {
                assert_eq!(
                    (seen.bits.as_slice(), seen.phase),
                    ([bit].as_slice(), phase)
                );
            }
            MemoryFaultKind::Stuck { bit, .. } => assert_eq!(seen.bits, [bit]),
            MemoryFaultKind::Replace { value, .. } => assert_eq!(seen.got.0, value),
            MemoryFaultKind::Alias { of, phase } => {
                assert_eq!(seen.got.0, pattern.word(of) ^ phase.mask());
            }
        }
    }
}

#[test]
fn a_stuck_bit_is_found_in_every_pass() {
    let word = 12_345;
    let faults = FaultPlan {
        memory: vec![MemoryFault {
            word,
            kind: MemoryFaultKind::Stuck { bit: 3, high: true },
        }],
        ..FaultPlan::default()
    };
    let result = run_with_faults(
        &plan(&[StageKind::Memory]),
        &machine(1 << 20),
        &faults,
        &mut |_| {},
        &AtomicBool::new(false),
    );
    let seen = memory_mismatches(&result);
    assert!(seen.len() > 1, "{}", seen.len());
    assert!(
        seen.iter()
            .all(|seen| seen.word == word && seen.bits == [3])
    );
    assert!(seen.windows(2).all(|two| two[0].pass < two[1].pass));
}

#[test]
fn every_kernel_of_every_processor_gives_its_fault_away() {
    for fault in machine(1 << 20).cpus.into_iter().flat_map(|cpu| {
        Kernel::ALL.into_iter().flat_map(move |kernel| {
            [(0, 3, 31), (1, 7, 0)].map(|(round, word, bit)| CpuFault {
                cpu,
                kernel,
                round,
                word,
                bit,
            })
        })
    }) {
        let result = cpu(&FaultPlan {
            cpu: vec![fault],
            ..FaultPlan::default()
        });
        assert_eq!(result.verdict, Outcome::Fail, "{fault:?}");
        assert_eq!(result.detector, Detector::Proven, "{fault:?}");
        let seen = cpu_mismatches(&result);
        assert_eq!(seen.len(), 1, "{fault:?}: {seen:?}");
        let seen = seen[0];
        assert_eq!(
            (seen.cpu, seen.kernel, seen.round),
            (fault.cpu, fault.kernel, fault.round)
        );
        assert_eq!(
            (seen.word, seen.bits.as_slice()),
            (fault.word, [fault.bit].as_slice())
        );
        assert_ne!(seen.checked_by, Some(fault.cpu));
    }
}

#[test]
fn a_blind_detector_is_broken_and_the_run_fails() {
    let blind = FaultPlan {
        blind: true,
        ..FaultPlan::default()
    };
    for result in [once(1 << 20, &blind), cpu(&blind)] {
        let stage = &result.stages[0];
        assert_eq!(result.verdict, Outcome::Fail);
        assert_eq!(result.detector, Detector::Broken);
        assert!(
            stage.reasons[0].starts_with("detector broken"),
            "{:?}",
            stage.reasons
        );
        assert_eq!(stage.mismatch_count, 0);
    }
}

#[test]
fn less_than_asked_is_incomplete() {
    let scarce = once(
        64 << 20,
        &FaultPlan {
            scarce_after_bytes: Some(8 << 20),
            ..FaultPlan::default()
        },
    );
    assert_eq!(scarce.verdict, Outcome::Incomplete);
    assert!(scarce.stages[0].coverage.percent.get() < 100.0);
    assert!(
        scarce.stages[0]
            .reasons
            .iter()
            .any(|why| why.contains("scarce")),
        "{:?}",
        scarce.stages[0].reasons
    );
    let dies = FaultPlan {
        dies: Some(0),
        ..FaultPlan::default()
    };
    for result in [once(1 << 20, &dies), cpu(&dies)] {
        assert_eq!(result.verdict, Outcome::Incomplete, "{result:?}");
        assert!(
            result.stages[0]
                .reasons
                .iter()
                .any(|why| why.contains("died")),
            "{:?}",
            result.stages[0].reasons
        );
    }
    let short = Plan::quick(Word(SEED))
        .only(&[StageKind::Memory])
        .with_budget(StageKind::Memory, Duration::ZERO);
    let result = run_with_faults(
        &short,
        &machine(1 << 20),
        &FaultPlan::default(),
        &mut |_| {},
        &AtomicBool::new(false),
    );
    assert_eq!(result.verdict, Outcome::Incomplete, "{result:?}");
    assert_eq!(result.detector, Detector::NotProven);
}

#[test]
fn a_processor_that_may_not_be_used_is_not_covered() {
    let mut topology = machine(1 << 20);
    topology.cpus.push(1020);
    let result = run_with_faults(
        &plan(&[StageKind::Cpu]),
        &topology,
        &FaultPlan::default(),
        &mut |_| {},
        &AtomicBool::new(false),
    );
    assert_eq!(result.verdict, Outcome::Incomplete, "{result:?}");
    assert!(
        result.stages[0].reasons[0].contains("1020"),
        "{:?}",
        result.stages[0].reasons
    );
}

#[test]
fn a_lone_processor_verifies_itself_and_finds_its_fault() {
    let mut topology = machine(1 << 20);
    topology.cpus.truncate(1);
    let cpu = topology.cpus[0];
    let fault = CpuFault {
        cpu,
        kernel: Kernel::Fp32Mantissa,
        round: 1,
        word: 5,
        bit: 30,
    };
    for faults in [vec![], vec![fault]] {
        let result = run_with_faults(
            &plan(&[StageKind::Cpu]),
            &topology,
            &FaultPlan {
                cpu: faults.clone(),
                ..FaultPlan::default()
            },
            &mut |_| {},
            &AtomicBool::new(false),
        );
        assert_eq!(cpu_mismatches(&result).len(), faults.len());
        assert_eq!(
            result.verdict == Outcome::Pass,
            faults.is_empty(),
            "{result:?}"
        );
        assert_eq!(result.detector, Detector::Proven);
    }
}

#[test]
fn memory_behind_a_large_cache_is_not_called_tested() {
    let mut topology = machine(1 << 20);
    topology.cache = Reading::Value(LastLevelCache {
        bytes: Bytes(32 << 20),
        count: 1,
    });
    let plan = Plan::quick(Word(SEED)).only(&[StageKind::Memory]);
    let faults = FaultPlan {
        memory: vec![MemoryFault {
            word: 5,
            kind: MemoryFaultKind::Flip {
                bit: 1,
                phase: Phase::Pattern,
            },
        }],
        ..FaultPlan::default()
    };
    let cancel = AtomicBool::new(false);
    let clean = run_with_faults(
        &plan,
        &topology,
        &FaultPlan::default(),
        &mut |_| {},
        &cancel,
    );
    assert_eq!(clean.verdict, Outcome::Incomplete);
    let faulty = run_with_faults(&plan, &topology, &faults, &mut |_| {}, &cancel);
    assert_eq!(faulty.verdict, Outcome::Fail);
    assert_eq!(
        memory_mismatches(&faulty)[0].persistence,
        Persistence::NotTold
    );
}

#[test]
fn cancelling_ends_the_run_at_once_and_gives_memory_back() {
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .expect("tasks")
            .filter(|task| {
                let comm = task.as_ref().expect("task").path().join("comm");
                std::fs::read_to_string(comm).is_ok_and(|name| name.starts_with("burn-in-mem7"))
            })
            .count()
    };
    let cancel = AtomicBool::new(false);
    let plan = plan(&[StageKind::Cpu, StageKind::Memory])
        .with_budget(StageKind::Cpu, Duration::from_secs(3600));
    let began = std::time::Instant::now();
    let mut events = 0;
    let result = run_with_faults(
        &plan,
        &machine(1 << 20),
        &FaultPlan::default(),
        &mut |event| {
            events += 1;
            if matches!(event, Progress::Advanced { .. }) {
                cancel.store(true, Ordering::Relaxed);
            }
        },
        &cancel,
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(result.cancelled);
    assert_eq!(result.verdict, Outcome::Incomplete, "{result:?}");
    assert_eq!(result.notes, ["not run: memory"]);
    assert!(events >= 4);
    assert_eq!(threads(), 0);
}

#[test]
fn the_result_survives_json() {
    let flip = MemoryFaultKind::Flip {
        bit: 63,
        phase: Phase::Pattern,
    };
    let faults = FaultPlan {
        memory: vec![MemoryFault {
            word: 5,
            kind: flip,
        }],
        ..FaultPlan::default()
    };
    let result = once(1 << 20, &faults);
    let json = serde_json::to_string(&result).expect("json");
    let back: BurnInResult = serde_json::from_str(&json).expect("result");
    // Measured times and rates may lose their last bit in decimal; words must lose none.
    assert_eq!(back.plan, result.plan);
    assert_eq!(
        (back.verdict, back.detector),
        (Outcome::Fail, Detector::Proven)
    );
    let (back, result) = (&back.stages[0], &result.stages[0]);
    assert_eq!(back.mismatches, result.mismatches);
    assert_eq!(back.proof, result.proof);
    assert_eq!(back.coverage, result.coverage);
    assert_eq!(back.reasons, result.reasons);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn random_flips_in_random_sizes_are_found_exactly(
        pages in 2_u64..200,
        faults in proptest::collection::vec((any::<prop::sample::Index>(), 0_u32..64, any::<bool>()), 0..6),
    ) {
        // Half of the free memory is asked: one word in sixteen bytes of it.
        let free = pages * 4096 * 4;
        let words = usize::try_from(free / 16).expect("small");
        let mut memory: Vec<MemoryFault> = faults
            .into_iter()
            .map(|(at, bit, inverse)| MemoryFault {
                word: at.index(words / 2) as u64,
                kind: MemoryFaultKind::Flip {
                    bit,
                    phase: if inverse { Phase::Inverse } else { Phase::Pattern },
                },
            })
            .collect();
        memory.sort_by_key(|fault| fault.word);
        memory.dedup_by_key(|fault| fault.word);
        let result = once(free, &FaultPlan { memory: memory.clone(), ..FaultPlan::default() });
        let mut seen: Vec<_> = memory_mismatches(&result)
            .into_iter()
            .map(|seen| (seen.word, seen.bits.clone(), seen.phase))
            .collect();
        seen.sort();
        let want: Vec<_> = memory
            .iter()
            .map(|fault| match fault.kind {
                MemoryFaultKind::Flip { bit, phase } => (fault.word, vec![bit], phase),
                MemoryFaultKind::Replace { .. }
                | MemoryFaultKind::Alias { .. }
                | MemoryFaultKind::Stuck { .. }
                | MemoryFaultKind::Misread { .. } => unreachable!("only flips are planted"),
            })
            .collect();
        prop_assert_eq!(seen, want);
        prop_assert_eq!(result.detector, Detector::Proven);
        prop_assert_eq!(result.verdict == Outcome::Pass, memory.is_empty());
    }
}
