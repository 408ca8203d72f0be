//! Every fault in every function that the worker calls.
//!
//! The list of functions is the worker's own: it announces each call.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::Act;
use cupel_hardware::gpu::{GpuCollection, WorkerProgram};
use cupel_model::Reading;
use cupel_model::snapshot::WorkerState;
use cupel_model::worker::{Ask, FromWorker, Group, Request, read_frame, write_frame};

use crate::bench::{Bench, DEADLINE, SLACK, eight, faulty};

/// The GPU that is made ill.
const ILL: u32 = 3;

/// Calls that concern no GPU: a fault in one is a fault of the whole driver.
fn is_system(call: &str) -> bool {
    call == "dlopen"
        || call == "nvmlInit_v2"
        || call == "nvmlShutdown"
        || call == "nvmlDeviceGetCount_v2"
        || call.starts_with("nvmlSystem")
}

/// Speaks with a worker directly and notes every call that it announces, from opening to closing.
pub fn announced(bench: &Bench, between: impl IntoIterator<Item = Ask>) -> BTreeSet<String> {
    let WorkerProgram::File(program) = &bench.options.worker else {
        panic!("a file");
    };
    let (mut socket, theirs) = UnixStream::pair().expect("socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    #[expect(clippy::disallowed_methods, reason = "a test that plays the client")]
    let mut child = Command::new(program)
        .stdin(OwnedFd::from(theirs))
        .stderr(Stdio::inherit())
        .spawn()
        .expect("worker");
    let mut asks = vec![Ask::Open {
        library: bench.library().to_string_lossy().into_owned(),
        skip: Vec::new(),
    }];
    asks.extend(between);
    asks.push(Ask::Close);
    let mut calls = BTreeSet::new();
    let hello: Option<FromWorker> = read_frame(&mut socket).expect("hello");
    assert!(matches!(hello, Some(FromWorker::Hello(_))));
    for (id, ask) in (1..).zip(asks) {
        write_frame(&mut socket, &Request { id, ask }).expect("request");
        loop {
            match read_frame::<FromWorker>(&mut socket)
                .expect("frame")
                .expect("message")
            {
                FromWorker::Calling { call, .. } => {
                    calls.insert(call);
                }
                FromWorker::Answer { .. } => break,
                FromWorker::Hello(_) => panic!("a second greeting"),
            }
        }
    }
    socket
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).expect("end");
    assert!(child.wait().expect("wait").success());
    calls
}

/// Every function that the worker calls, on any model, with and without the newer ones.
fn functions() -> BTreeSet<String> {
    let groups = || Group::ALL.map(|group| Ask::Read { gpu: 0, group });
    let mut calls = BTreeSet::new();
    for model in [Model::H200, Model::B200, Model::L40s] {
        calls.append(&mut announced(&Bench::new(&eight(model)), groups()));
    }
    let older = Bench::new(&eight(Model::H200))
        .without("nvmlDeviceGetMemoryInfo_v2")
        .without("nvmlDeviceGetGpuFabricInfoV");
    calls.append(&mut announced(&older, groups()));
    calls.remove("dlopen");
    assert!(calls.len() > 50, "{calls:?}");
    calls
}

/// Runs `check` for each of many, several at once. The tests take turns, so that what is measured
/// is one fault among a few, not hundreds of processes on two cores.
pub fn each<T: Send>(cases: Vec<T>, check: impl Fn(T) + Sync) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cases = Mutex::new(cases);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let case = cases.lock().expect("cases").pop();
                    match case {
                        Some(case) => check(case),
                        None => break,
                    }
                }
            });
        }
    });
}

/// A bench for a fault in one function, reachable: where there is a newer function that is called
/// first, that one is taken out.
fn bench_for(call: &str, act: Act) -> Bench {
    if is_system(call) {
        return faulty(Model::H200, call, None, act);
    }
    reachable(faulty(Model::H200, call, Some(ILL), act), call)
}

fn reachable(bench: Bench, call: &str) -> Bench {
    match call {
        "nvmlDeviceGetMemoryInfo" => bench.without("nvmlDeviceGetMemoryInfo_v2"),
        "nvmlDeviceGetGpuFabricInfo" => bench.without("nvmlDeviceGetGpuFabricInfoV"),
        _ => bench,
    }
}

/// The other seven are as they are without a fault.
fn others_are_well(collection: &GpuCollection, what: &str) {
    assert_eq!(collection.gpus.len(), 8, "{what}");
    for gpu in &collection.gpus {
        if gpu.index.get() == Some(ILL) {
            continue;
        }
        let json = serde_json::to_string(gpu).expect("json");
        assert!(!json.contains("\"failed\""), "{what}: {json}");
        assert!(gpu.hung.is_none(), "{what}");
        assert!(gpu.identity.serial.value().is_some(), "{what}");
    }
}

fn ill(collection: &GpuCollection) -> &cupel_model::snapshot::Gpu {
    let at = usize::try_from(ILL).expect("index");
    &collection.gpus[at]
}

#[test]
fn a_hang_in_any_function_costs_one_gpu_and_one_deadline() {
    each(functions().into_iter().collect(), |call| {
        let (collection, took) = bench_for(&call, Act::Hang).read();
        assert!(took < DEADLINE + SLACK, "{call}: {took:?}");
        if call == "nvmlShutdown" {
            others_are_well(&collection, &call);
            return;
        }
        if is_system(&call) {
            let WorkerState::Failed {
                hung: Some(hung), ..
            } = &collection.driver.worker
            else {
                panic!("{call}: {:?}", collection.driver.worker);
            };
            // The wrapper asks for the driver's version while it initialises.
            let named = hung.call == call
                || (call == "nvmlSystemGetDriverVersion" && hung.call == "nvmlInit_v2");
            assert!(named && !hung.wedged, "{call}: {hung:?}");
            assert_eq!(collection.gpus.len(), 8);
            return;
        }
        others_are_well(&collection, &call);
        let hung = ill(&collection).hung.as_ref().expect(&call);
        assert_eq!(hung.call, call);
        assert!(!hung.wedged, "{call}");
        assert_eq!(
            collection.driver.worker,
            WorkerState::Answered { replaced: 1 },
            "{call}"
        );
    });
}

#[test]
fn a_crash_in_any_function_is_named_and_costs_one_gpu() {
    let mut cases = Vec::new();
    for call in functions() {
        for (act, how) in [
            (Act::Crash, "signal 11"),
            (Act::Abort, "signal 6"),
            (Act::Exit(3), "status 3"),
        ] {
            cases.push((call.clone(), act, how));
        }
    }
    each(cases, |(call, act, how)| {
        let what = format!("{call} {act:?}");
        let (collection, took) = bench_for(&call, act).read();
        assert!(took < DEADLINE + SLACK, "{what}: {took:?}");
        if call == "nvmlShutdown" {
            others_are_well(&collection, &what);
            return;
        }
        if is_system(&call) {
            let WorkerState::Failed { why, hung: None } = &collection.driver.worker else {
                panic!("{what}: {:?}", collection.driver.worker);
            };
            assert!(why.contains(how), "{what}: {why}");
            return;
        }
        others_are_well(&collection, &what);
        let json = serde_json::to_string(ill(&collection)).expect("json");
        assert!(json.contains(how) && json.contains(&call), "{what}: {json}");
        assert!(ill(&collection).hung.is_none(), "{what}");
        let problems = &collection.problems;
        assert!(
            problems.iter().any(|problem| problem.why.contains(&call)),
            "{what}"
        );
    });
}

#[test]
fn garbage_from_any_function_is_refused_or_bounded() {
    let mut cases = Vec::new();
    for call in functions() {
        for seed in 0..3 {
            cases.push((call.clone(), seed));
        }
    }
    each(cases, |(call, seed)| {
        let what = format!("{call} garbage {seed}");
        let (collection, took) = bench_for(&call, Act::Garbage(seed)).read();
        assert!(took < DEADLINE + SLACK, "{what}: {took:?}");
        if !is_system(&call) {
            others_are_well(&collection, &what);
        }
        let json = serde_json::to_string(&collection.gpus).expect("json");
        assert!(!json.contains('\u{fffd}'), "{what}");
        let gpu = ill(&collection);
        assert!(
            gpu.identity.name.value().is_none_or(|name| name.is_ascii()),
            "{what}"
        );
        if let Some(temperature) = gpu.thermal.temperature_celsius.get() {
            assert!(temperature.get() < 200.0, "{what}");
        }
    });
}

/// The code of each GPU but the last, which stays well.
fn shares(codes: &[u32]) -> Vec<Vec<u32>> {
    codes.chunks(7).map(<[u32]>::to_vec).collect()
}

#[test]
fn every_return_code_of_every_function_is_told_and_never_a_value() {
    let codes: Vec<u32> = (1..=30).chain([999, 12_345]).collect();
    let mut cases = Vec::new();
    for call in functions() {
        for share in shares(&codes) {
            cases.push((call.clone(), share));
        }
    }
    each(cases, |(call, share)| {
        let what = format!("{call} returns {share:?}");
        if is_system(&call) {
            let state = eight(Model::L40s).with_fault(&call, None, Act::Return(share[0]));
            let (collection, took) = Bench::new(&state).read();
            assert!(took < DEADLINE + SLACK, "{what}: {took:?}");
            assert_eq!(collection.gpus.len(), 8, "{what}");
            return;
        }
        let mut state = eight(Model::H200);
        for (gpu, code) in (0_u32..).zip(&share) {
            state = state.with_fault(&call, Some(gpu), Act::Return(*code));
        }
        let (collection, took) = reachable(Bench::new(&state), &call).read();
        assert!(took < DEADLINE + SLACK, "{what}: {took:?}");
        assert_eq!(
            collection.driver.worker,
            WorkerState::Answered { replaced: 0 },
            "{what}"
        );
        assert_eq!(collection.gpus.len(), 8, "{what}");
        let well = serde_json::to_string(&collection.gpus[7]).expect("json");
        assert!(!well.contains("\"failed\""), "{what}: {well}");
        for (gpu, code) in collection.gpus.iter().zip(&share) {
            let json = serde_json::to_string(gpu).expect("json");
            assert!(
                json.contains(&call) || has_another_way(&call, *code),
                "{what}: {json}"
            );
            if call == "nvmlDeviceGetPowerUsage" {
                let power = &gpu.thermal.power_watts;
                let unsupported = matches!(power, Reading::Unsupported(_));
                assert_eq!(
                    unsupported,
                    [3, 13, 22, 25, 26].contains(code),
                    "{what}: {power:?}"
                );
                assert!(unsupported || power.is_failed(), "{what}: {power:?}");
                let why = power.why().expect("why");
                assert!(why.contains(&format!("code {code}")), "{what}: {why}");
            }
        }
    });
}

/// Whether a refusal with this code makes the worker take another way, or name another reason.
fn has_another_way(call: &str, code: u32) -> bool {
    match call {
        // This GPU retires no pages: one reason stands for all of that group.
        "nvmlDeviceGetMemoryInfo_v2" | "nvmlDeviceGetRetiredPagesPendingStatus" => {
            [3, 13, 22, 25, 26].contains(&code)
        }
        "nvmlDeviceGetGpuFabricInfoV" => [13, 25].contains(&code),
        // Asked for their count alone, pages do not need a buffer.
        "nvmlDeviceGetRetiredPages" => code == 7,
        _ => false,
    }
}

#[test]
fn any_function_but_initialising_and_counting_may_be_missing() {
    each(functions().into_iter().collect(), |call| {
        let bench = bench_for(&call, Act::Slow(0)).without(&call);
        let (collection, took) = bench.read();
        assert!(took < DEADLINE + SLACK, "{call}: {took:?}");
        match call.as_str() {
            "nvmlInit_v2" | "nvmlDeviceGetCount_v2" => {
                let WorkerState::Failed { why, hung: None } = &collection.driver.worker else {
                    panic!("{call}: {:?}", collection.driver.worker);
                };
                assert!(why.contains(&call), "{why}");
            }
            _ => {
                assert_eq!(
                    collection.driver.worker,
                    WorkerState::Answered { replaced: 0 },
                    "{call}"
                );
                assert_eq!(collection.gpus.len(), 8, "{call}");
            }
        }
    });
}

#[test]
fn short_buffers_and_slow_calls_are_no_harm() {
    let mut cases = Vec::new();
    for call in functions() {
        cases.push((call.clone(), Act::ShortBuffer));
        cases.push((call, Act::Slow(2)));
    }
    each(cases, |(call, act)| {
        let what = format!("{call} {act:?}");
        let (collection, took) = bench_for(&call, act.clone()).read();
        assert!(took < DEADLINE + SLACK, "{what}: {took:?}");
        if !is_system(&call) {
            others_are_well(&collection, &what);
        }
        if act == Act::Slow(2) {
            let json = serde_json::to_string(&collection.gpus).expect("json");
            assert!(!json.contains("\"failed\""), "{what}: {json}");
        }
    });
}

#[test]
fn a_lost_gpu_keeps_its_place_and_the_others_their_values() {
    let mut state = eight(Model::H200);
    state.gpus[3].handle = 15;
    let (collection, _) = Bench::new(&state).read();
    others_are_well(&collection, "lost");
    let gpu = ill(&collection);
    assert_eq!(gpu.in_driver, Reading::Value(false));
    assert_eq!(
        gpu.pci.get().map(|at| at.to_string()),
        Some(state.gpus[3].pci.clone())
    );
    assert!(
        gpu.thermal
            .power_watts
            .why()
            .expect("why")
            .contains("GPU is lost"),
        "{:?}",
        gpu.thermal.power_watts
    );

    // Gone from the list altogether.
    state.gpus.remove(3);
    let (collection, _) = Bench::new(&state).read();
    assert_eq!(collection.gpus.len(), 8);
    assert!(matches!(collection.gpus[3].index, Reading::Absent(_)));
    assert_eq!(collection.gpus[3].in_driver, Reading::Value(false));
}
