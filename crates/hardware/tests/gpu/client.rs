//! The client over several collections, and what it makes of libraries that are none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::Act;
use cupel_hardware::gpu::{Client, GpuOptions, Library, WorkerProgram, collect};
use cupel_model::Reading;
use cupel_model::snapshot::WorkerState;

use crate::bench::{Bench, DEADLINE, SLACK, children, eight, eight_functions, faulty, kernel, now};

#[test]
fn a_gpu_that_hung_is_left_alone_and_still_told_of() {
    let bench = faulty(Model::H200, "nvmlDeviceGetPowerUsage", Some(5), Act::Hang);
    let mut client = Client::new(bench.options.clone());
    let first = client.collect(&kernel(), &eight_functions(), now());
    let begun = Instant::now();
    let second = client.collect(&kernel(), &eight_functions(), now());
    assert!(
        begun.elapsed() < DEADLINE,
        "asked again: {:?}",
        begun.elapsed()
    );
    assert_eq!(second.gpus[5].hung, first.gpus[5].hung);
    assert_eq!(second.gpus[5].identity, first.gpus[5].identity);
    assert_eq!(second.gpus[5].pci, first.gpus[5].pci);
    assert!(second.gpus[5].thermal.power_watts.is_failed());
    assert!(second.gpus[4].thermal.power_watts.value().is_some());
    assert_eq!(second.driver.worker, WorkerState::Answered { replaced: 0 });
}

#[test]
fn a_client_sees_what_changes_and_lets_go() {
    let mut state = eight(Model::H200);
    let bench = Bench::new(&state);
    let mut client = Client::new(bench.options.clone());
    let first = client.collect(&kernel(), &eight_functions(), now());
    assert_eq!(
        first.gpus[0].processes.recovery_action,
        Reading::Value("none".to_owned())
    );
    state.gpus[0].recovery_action = Some(2);
    bench.put(&state);
    let second = client.collect(&kernel(), &eight_functions(), now());
    assert_eq!(
        second.gpus[0].processes.recovery_action,
        Reading::Value("node-reboot".to_owned())
    );
    client.release();
    let third = client.collect(&kernel(), &eight_functions(), now());
    assert_eq!(third.gpus, second.gpus);
}

#[test]
fn a_gpu_is_asked_again_when_its_pause_is_over() {
    for call in ["nvmlDeviceGetUUID", "nvmlDeviceGetHandleByIndex_v2"] {
        let bench = faulty(Model::H200, call, Some(5), Act::Hang);
        let mut options = bench.options.clone();
        options.pause = |failures| Duration::from_secs(if failures == 1 { 0 } else { 3600 });
        let mut client = Client::new(options);
        let collect = |client: &mut Client| client.collect(&kernel(), &eight_functions(), now());
        assert!(collect(&mut client).gpus[5].hung.is_some(), "{call}");

        // Still ill: a second failure, and the longer pause.
        assert!(collect(&mut client).gpus[5].hung.is_some(), "{call}");
        bench.put(&eight(Model::H200));
        assert!(collect(&mut client).gpus[5].hung.is_some(), "{call}");

        // Well when its first pause is over.
        let mut client = Client::new(GpuOptions {
            pause: |_| Duration::ZERO,
            ..bench.options.clone()
        });
        bench.put(&eight(Model::H200).with_fault(call, Some(5), Act::Hang));
        assert!(collect(&mut client).gpus[5].hung.is_some(), "{call}");
        bench.put(&eight(Model::H200));
        let well = collect(&mut client);
        assert!(well.gpus[5].hung.is_none(), "{call}");
        assert!(well.gpus[5].identity.uuid.value().is_some(), "{call}");
    }
}

#[test]
fn a_driver_that_hung_while_it_initialised_is_left_alone_too() {
    let bench = faulty(Model::H200, "nvmlInit_v2", None, Act::Hang);
    let mut client = Client::new(bench.options.clone());
    let first = client.collect(&kernel(), &eight_functions(), now());
    let begun = Instant::now();
    let second = client.collect(&kernel(), &eight_functions(), now());
    assert!(
        begun.elapsed() < DEADLINE,
        "asked again: {:?}",
        begun.elapsed()
    );
    assert_eq!(second.driver, first.driver);
    assert!(
        second
            .gpus
            .iter()
            .all(|gpu| gpu.identity.serial.is_failed())
    );
}

#[test]
fn letting_go_of_a_driver_that_hangs_takes_one_deadline() {
    let bench = faulty(Model::L40s, "nvmlShutdown", None, Act::Hang);
    let mut client = Client::new(bench.options.clone());
    client.collect(&kernel(), &eight_functions(), now());
    let begun = Instant::now();
    client.release();
    assert!(begun.elapsed() >= DEADLINE, "not asked");
    assert!(begun.elapsed() < DEADLINE + SLACK, "{:?}", begun.elapsed());
}

#[test]
fn the_carried_worker_runs_from_memory() {
    let bench = Bench::new(&eight(Model::H200));
    let WorkerProgram::File(program) = &bench.options.worker else {
        panic!("a file");
    };
    let bytes = fs::read(program).expect("worker");
    let packed = zstd::encode_all(bytes.as_slice(), 1).expect("compressed");
    let (plain, _) = bench.read();
    for carried in [bytes, packed] {
        let mut options = bench.options.clone();
        options.worker = WorkerProgram::Embedded(carried.leak());
        let carried = collect(&options, &kernel(), &eight_functions(), now());
        assert_eq!(carried.gpus, plain.gpus);
        assert_eq!(carried.driver, plain.driver);
    }
}

#[test]
fn relative_paths_are_those_of_this_process() {
    let bench = Bench::new(&eight(Model::L40s));
    let here = std::env::current_dir().expect("directory");
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = |path: &Path| up.join(path.strip_prefix("/").expect("absolute"));
    let WorkerProgram::File(program) = &bench.options.worker else {
        panic!("a file");
    };
    let mut options = bench.options.clone();
    options.worker = WorkerProgram::File(relative(program));
    options.library = Library::At(relative(&bench.library()));
    let collection = collect(&options, &kernel(), &eight_functions(), now());
    assert_eq!(
        collection.driver.worker,
        WorkerState::Answered { replaced: 0 }
    );
}

#[test]
fn a_library_that_is_none_is_told_in_words() {
    let bench = Bench::new(&eight(Model::H200));
    let read = |library| {
        let mut options = bench.options.clone();
        options.library = library;
        collect(&options, &kernel(), &eight_functions(), now())
    };
    let missing = read(Library::At("/no/such/libnvidia-ml.so.1".into()));
    let WorkerState::NotStarted { why } = &missing.driver.worker else {
        panic!("{:?}", missing.driver.worker);
    };
    assert!(why.contains("/no/such/libnvidia-ml.so.1"), "{why}");
    assert_eq!(missing.gpus.len(), 8);
    assert!(matches!(
        missing.gpus[0].identity.serial,
        Reading::Absent(_)
    ));

    let broken = bench.directory.path().join("broken.so");
    fs::write(&broken, b"not a library").expect("write");
    let broken = read(Library::At(broken));
    assert!(
        matches!(broken.driver.worker, WorkerState::Failed { hung: None, .. }),
        "{:?}",
        broken.driver.worker
    );

    let none = read(Library::None);
    assert!(matches!(none.driver.worker, WorkerState::NotStarted { .. }));
}

#[test]
fn a_driver_that_does_not_initialise_is_told_in_its_own_words() {
    for (code, words) in [
        (18, "Driver/library version mismatch"),
        (9, "Driver Not Loaded"),
    ] {
        let mut state = eight(Model::H200);
        state.init = code;
        let (collection, _) = Bench::new(&state).read();
        let WorkerState::Failed { why, hung: None } = &collection.driver.worker else {
            panic!("{:?}", collection.driver.worker);
        };
        assert!(why.contains(words), "{why}");
        assert!(collection.gpus[0].identity.serial.is_failed());
    }
}

#[test]
fn a_program_that_is_no_worker_is_refused() {
    let bench = Bench::new(&eight(Model::H200));
    for (program, wanted) in [
        ("/bin/true", "ended with status 0"),
        // Echoes nothing and waits: no greeting.
        ("/bin/cat", "did not return within"),
        ("/no/such/worker", "cannot start"),
    ] {
        let mut options = bench.options.clone();
        options.worker = WorkerProgram::File(program.into());
        let begun = Instant::now();
        let collection = collect(&options, &kernel(), &eight_functions(), now());
        assert!(begun.elapsed() < DEADLINE + SLACK, "{program}");
        let WorkerState::Failed { why, .. } = &collection.driver.worker else {
            panic!("{program}: {:?}", collection.driver.worker);
        };
        assert!(why.contains(wanted), "{program}: {why}");
    }
}

/// The first start is killed, as by one who runs out of memory.
#[test]
fn a_worker_that_is_killed_before_its_first_call_is_started_once_more() {
    let bench = Bench::new(&eight(Model::H200));
    let WorkerProgram::File(worker) = &bench.options.worker else {
        panic!("a file");
    };
    let (mark, program) = ["begun", "worker"]
        .map(|name| bench.directory.path().join(name))
        .into();
    let text = format!(
        "#!/bin/sh\n[ -e '{mark}' ] && exec '{worker}' \"$@\"\n: > '{mark}'\nkill -9 $$\n",
        mark = mark.display(),
        worker = worker.display()
    );
    fs::write(&program, text).expect("script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("mode");
    let mut options = bench.options.clone();
    options.worker = WorkerProgram::File(program);
    let told = collect(&options, &kernel(), &eight_functions(), now());
    assert_eq!(told.driver.worker, WorkerState::Answered { replaced: 1 });
    assert!(
        told.gpus
            .iter()
            .all(|gpu| gpu.identity.serial.value().is_some())
    );
    assert!(
        told.problems
            .iter()
            .any(|problem| problem.why.contains("signal 9")),
        "{:?}",
        told.problems
    );
}

#[test]
fn two_gpus_that_hang_cost_two_deadlines() {
    let state = eight(Model::H200)
        .with_fault("nvmlDeviceGetName", Some(1), Act::Hang)
        .with_fault("nvmlDeviceGetHandleByIndex_v2", Some(6), Act::Hang);
    let bench = Bench::new(&state);
    let (collection, took) = bench.read();
    assert!(took < 2 * DEADLINE + SLACK, "{took:?}");
    let hung: Vec<_> = collection
        .gpus
        .iter()
        .map(|gpu| gpu.hung.as_ref().map(|hung| hung.call.as_str()))
        .collect();
    assert_eq!(hung[1], Some("nvmlDeviceGetName"));
    assert_eq!(hung[6], Some("nvmlDeviceGetHandleByIndex_v2"));
    assert_eq!(hung.iter().flatten().count(), 2);
    assert!(collection.gpus[7].identity.serial.value().is_some());
}

/// The only test that counts children runs in a process of its own: itself, started anew.
#[test]
fn no_child_is_left_behind() {
    const ALONE: &str = "CUPEL_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let own = std::env::current_exe().expect("own path");
        #[expect(
            clippy::disallowed_methods,
            reason = "a test that needs a process of its own"
        )]
        let output = std::process::Command::new(own)
            .args(["--exact", "client::no_child_is_left_behind", "--nocapture"])
            .env(ALONE, "1")
            .output()
            .expect("run");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    for act in [Act::Hang, Act::Crash, Act::Slow(0)] {
        faulty(Model::H200, "nvmlDeviceGetUUID", Some(2), act).read();
        assert_eq!(children(), []);
    }

    // One that is killed between two collections is replaced, and no GPU is blamed.
    let bench = Bench::new(&eight(Model::L40s));
    let mut client = Client::new(bench.options.clone());
    client.collect(&kernel(), &eight_functions(), now());
    let [(worker, _)] = children()[..] else {
        panic!("{:?}", children());
    };
    let worker = nix::unistd::Pid::from_raw(worker.try_into().expect("pid"));
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGKILL).expect("kill");
    while children().iter().any(|(_, state)| *state != 'Z') {
        std::thread::sleep(Duration::from_millis(1));
    }
    let again = client.collect(&kernel(), &eight_functions(), now());
    assert_eq!(again.driver.worker, WorkerState::Answered { replaced: 1 });
    let json = serde_json::to_string(&again.gpus).expect("json");
    assert!(!json.contains("\"failed\""), "{json}");
    drop(client);
    assert_eq!(children(), []);
}
