//! Watching for events between two samples, and every fault in every function that it calls.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::{Act, Event, State};
use cupel_hardware::Root;
use cupel_hardware::collect::{CollectOptions, collect};
use cupel_hardware::gpu::{Client, Library};
use cupel_model::Reading;
use cupel_model::snapshot::{GpuEvent, WorkerState};
use cupel_model::worker::{Ask, Watched};

use crate::bench::{Bench, DEADLINE, SLACK, eight, eight_functions, kernel, now};
use crate::faults::{announced, each};

/// How long a test watches.
const TIME: Duration = Duration::from_millis(400);

/// What is asked for is whole milliseconds, and a little passes before that.
const ALMOST: Duration = Duration::from_millis(390);

/// The GPU that is made ill.
const ILL: u32 = 3;

/// Eight GPUs; the ill one and another report an XID each, the other one twice.
fn eventful() -> State {
    let mut state = eight(Model::H200);
    let xid = |gpu, code, delay_ms| Event {
        gpu,
        event_type: 8,
        data: code,
        delay_ms,
    };
    state.events = vec![xid(ILL, 95, 0), xid(5, 48, 0), xid(5, 48, 50)];
    state
}

/// Index, kind, code, how many.
fn told(events: &Reading<Vec<GpuEvent>>) -> Vec<(u32, &str, Option<u32>, u64)> {
    let events = events.value().expect("events");
    events
        .iter()
        .map(|event| (event.index, &*event.kind, event.xid, event.repeats))
        .collect()
}

const OF_ILL: (u32, &str, Option<u32>, u64) = (ILL, "xid", Some(95), 1);
const OF_OTHER: (u32, &str, Option<u32>, u64) = (5, "xid", Some(48), 2);

/// Collects, watches, collects again: what was watched, and how long watching took. The second
/// collection must be as if nothing had happened.
fn watch(bench: &Bench, what: &str) -> (Watched, Duration) {
    let mut client = Client::new(bench.options.clone());
    let first = client.collect(&kernel(), &eight_functions(), now());
    assert_eq!(first.driver.worker, WELL, "{what}");
    let begun = Instant::now();
    let watched = client.watch(TIME);
    let took = begun.elapsed();
    let second = client.collect(&kernel(), &eight_functions(), now());
    assert_eq!(second.driver.worker, WELL, "{what}");
    assert_eq!(second.gpus, first.gpus, "{what}");
    assert_eq!(second.problems, first.problems, "{what}");
    (watched, took)
}

const WELL: WorkerState = WorkerState::Answered { replaced: 0 };

/// Every function that watching calls beyond those of opening and closing.
fn functions() -> BTreeSet<String> {
    let bench = Bench::new(&eventful());
    let watch = Ask::Watch {
        milliseconds: 50,
        skip: Vec::new(),
    };
    let all = announced(&bench, [watch]);
    let others = announced(&bench, []);
    let calls: BTreeSet<String> = all.difference(&others).cloned().collect();
    let expected = [
        "nvmlDeviceGetSupportedEventTypes",
        "nvmlDeviceRegisterEvents",
        "nvmlEventSetCreate",
        "nvmlEventSetFree",
        "nvmlEventSetWait_v2",
    ];
    assert_eq!(calls, expected.map(str::to_owned).into());
    calls
}

/// A bench with a fault in one function: on the ill GPU alone where the function concerns one.
fn ill(call: &str, act: Act) -> Bench {
    let gpu = call.starts_with("nvmlDevice").then_some(ILL);
    Bench::new(&eventful().with_fault(call, gpu, act))
}

#[test]
fn events_are_told_with_their_gpu() {
    let bench = Bench::new(&eventful());
    let (watched, took) = watch(&bench, "well");
    assert!(took > ALMOST && took < TIME + SLACK, "{took:?}");
    assert_eq!(told(&watched.events), [OF_ILL, OF_OTHER]);
    assert_eq!(watched.problems, Vec::new());
    let first = &watched.events.value().expect("events")[0];
    let address = first.pci.get().map(|pci| pci.to_string());
    assert_eq!(address, Some(eventful().gpus[3].pci.clone()));
    assert!(first.time > now(), "{:?}", first.time);
}

#[test]
fn no_event_is_an_empty_list_and_an_event_after_the_end_is_none() {
    let mut state = eight(Model::L40s);
    state.events = vec![Event {
        gpu: 0,
        event_type: 8,
        data: 95,
        delay_ms: 60_000,
    }];
    let (watched, _) = watch(&Bench::new(&state), "quiet");
    assert_eq!(watched.events, Reading::Value(Vec::new()));
    assert_eq!(watched.problems, Vec::new());
}

#[test]
fn a_hang_or_a_crash_costs_events_and_no_reading() {
    let mut cases = Vec::new();
    for call in functions() {
        for act in [Act::Hang, Act::Crash, Act::Abort, Act::Exit(3)] {
            cases.push((call.clone(), act));
        }
    }
    each(cases, |(call, act)| {
        let what = format!("{call} {act:?}");
        let hangs = act == Act::Hang;
        let (watched, took) = watch(&ill(&call, act), &what);
        assert!(took < TIME + DEADLINE + SLACK, "{what}: {took:?}");
        let problems = &watched.problems;
        assert!(
            problems.iter().any(|problem| problem.why.contains(&call)),
            "{what}: {problems:?}"
        );
        if hangs || !call.starts_with("nvmlDevice") {
            let why = watched.events.why().expect(&what);
            assert!(
                watched.events.is_failed() && why.contains(&call),
                "{what}: {why}"
            );
        } else {
            // The rest of the time was watched without that GPU.
            assert_eq!(told(&watched.events), [OF_OTHER], "{what}");
        }
    });
}

#[test]
fn what_one_gpu_refuses_the_others_tell() {
    let codes = [1, 2, 3, 4, 13, 15, 16, 999, 12_345];
    let mut cases = Vec::new();
    for call in functions() {
        cases.extend(codes.map(|code| (call.clone(), code)));
    }
    each(cases, |(call, code)| {
        let what = format!("{call} returns {code}");
        let (watched, took) = watch(&ill(&call, Act::Return(code)), &what);
        assert!(took < TIME + SLACK, "{what}: {took:?}");
        if call == "nvmlEventSetFree" {
            assert_eq!(told(&watched.events), [OF_ILL, OF_OTHER], "{what}");
        } else if call.starts_with("nvmlDevice") {
            assert_eq!(told(&watched.events), [OF_OTHER], "{what}");
            let [problem] = &watched.problems[..] else {
                panic!("{what}: {:?}", watched.problems);
            };
            for part in ["GPU 3", &call, &format!("code {code}")] {
                assert!(problem.why.contains(part), "{what}: {problem:?}");
            }
        } else {
            let why = watched.events.why().expect(&what);
            assert!(why.contains(&format!("code {code}")), "{what}: {why}");
            let unsupported = matches!(watched.events, Reading::Unsupported(_));
            assert_eq!(unsupported, [3, 13].contains(&code), "{what}: {why}");
        }
    });
}

#[test]
fn a_timeout_that_comes_early_does_not_end_the_watch() {
    let bench = ill("nvmlEventSetWait_v2", Act::Return(10));
    let (watched, took) = watch(&bench, "timeout");
    assert!(took > ALMOST && took < TIME + SLACK, "{took:?}");
    assert_eq!(watched.events, Reading::Value(Vec::new()));
}

#[test]
fn any_function_may_be_missing_or_write_nonsense() {
    let mut cases = Vec::new();
    for call in functions() {
        cases.push((call.clone(), None));
        cases.push((call.clone(), Some(Act::ShortBuffer)));
        cases.push((call.clone(), Some(Act::Slow(2))));
        cases.extend((0..3).map(|seed| (call.clone(), Some(Act::Garbage(seed)))));
    }
    each(cases, |(call, act)| {
        let what = format!("{call} {act:?}");
        let bench = match act.clone() {
            Some(act) => ill(&call, act),
            None => Bench::new(&eventful()).without(&call),
        };
        let (watched, took) = watch(&bench, &what);
        assert!(took < TIME + SLACK, "{what}: {took:?}");
        if act == Some(Act::Slow(2)) {
            assert_eq!(told(&watched.events), [OF_ILL, OF_OTHER], "{what}");
        } else if act.is_none() && call != "nvmlEventSetFree" {
            let Reading::Unsupported(why) = &watched.events else {
                panic!("{what}: {:?}", watched.events);
            };
            assert!(why.contains(&call), "{what}: {why}");
        } else if call == "nvmlEventSetWait_v2" {
            assert!(watched.events.is_failed(), "{what}: {watched:?}");
        }
    });
}

#[test]
fn two_samples_have_the_events_between_them() {
    let directory = tempfile::tempdir().expect("directory");
    for (act, expected) in [
        (None, Some(vec![OF_ILL, OF_OTHER])),
        (Some(Act::Hang), None),
        (Some(Act::Crash), None),
    ] {
        let mut state = eventful();
        if let Some(act) = act {
            state = state.with_fault("nvmlEventSetWait_v2", None, act);
        }
        let bench = Bench::new(&state);
        let Library::At(library) = &bench.options.library else {
            panic!("a file");
        };
        let options = CollectOptions {
            nvml_library: Some(library.clone()),
            worker: bench.options.worker.clone(),
            gpu_call_deadline: DEADLINE,
            interval: Some(Duration::from_secs(2)),
            ..CollectOptions::new(Root::at(directory.path()).expect("root"))
        };
        let snapshot = collect(&options);
        match expected {
            Some(expected) => assert_eq!(told(&snapshot.gpu_events), expected),
            None => {
                let why = snapshot.gpu_events.why().expect("why");
                assert!(why.contains("nvmlEventSetWait_v2"), "{why}");
                let told = |problem: &cupel_model::snapshot::Problem| problem.why.contains(why);
                assert!(snapshot.problems.iter().any(told), "{why}");
            }
        }
        assert_eq!(snapshot.driver.worker, WELL);
        assert_eq!(snapshot.gpus.len(), 8);
        let first = snapshot.previous.expect("two samples").snapshot;
        assert_eq!(first.gpus.len(), 8);
        assert_eq!(
            first.gpu_events,
            Reading::absent("no interval was asked for")
        );
    }
}
