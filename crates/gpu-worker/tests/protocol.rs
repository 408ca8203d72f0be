//! The worker's end of the protocol: how it begins, how it ends, and what it makes of nonsense.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::{Act, State};
use cupel_model::worker::{
    Ask, FromWorker, Group, Hello, PROTOCOL, Request, read_frame, write_frame,
};

fn command() -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test that plays the agent")]
    Command::new(env!("CARGO_BIN_EXE_cupel-gpu-worker"))
}

/// A worker that has greeted.
fn worker() -> (Child, UnixStream) {
    let (mut socket, theirs) = UnixStream::pair().expect("socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    let child = command()
        .stdin(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .expect("worker");
    assert_eq!(
        read_frame(&mut socket).expect("greeting"),
        Some(FromWorker::Hello(Hello {
            protocol: PROTOCOL,
            build: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    );
    (child, socket)
}

fn ended(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = child.wait_with_output().expect("wait");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn it_ends_in_good_order_when_its_socket_does() {
    let (child, socket) = worker();
    drop(socket);
    assert_eq!(ended(child), (Some(0), String::new()));
}

#[test]
fn nonsense_ends_it_with_a_message() {
    for nonsense in [
        &b"\xff\xff\xff\xff"[..],
        b"\x02\0\0\0{}",
        b"\x09\0\0\0not json!",
        b"\x10\0\0\0half",
    ] {
        let (child, mut socket) = worker();
        socket.write_all(nonsense).expect("write");
        socket.shutdown(Shutdown::Write).expect("shutdown");
        let (status, said) = ended(child);
        assert_eq!(status, Some(2), "{nonsense:?}: {said}");
        assert!(
            said.starts_with("cupel-gpu-worker: cannot read a request: "),
            "{nonsense:?}: {said}"
        );
    }
}

#[test]
fn without_a_socket_it_says_what_it_wants() {
    let output = command().stdin(Stdio::null()).output().expect("worker");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the agent's socket"), "{said}");
}

#[test]
fn reading_before_opening_is_refused() {
    let (child, mut socket) = worker();
    let ask = Ask::Read {
        gpu: 0,
        group: Group::Memory,
    };
    write_frame(&mut socket, &Request { id: 9, ask }).expect("request");
    let Some(FromWorker::Answer { id: 9, result }) = read_frame(&mut socket).expect("answer")
    else {
        panic!("no answer");
    };
    assert!(result.expect_err("refused").what.contains("not open"));
    drop(socket);
    assert_eq!(ended(child).0, Some(0));
}

#[test]
fn a_worker_that_hangs_in_the_driver_ends_when_the_agent_is_gone() {
    let directory = tempfile::tempdir().expect("directory");
    let library = directory.path().join("libnvidia-ml.so.1");
    std::fs::copy(fake_driver(), &library).expect("copy");
    State::healthy(Model::L40s, &["0000:01:00.0"])
        .with_fault("nvmlInit_v2", None, Act::Hang)
        .write_beside(directory.path())
        .expect("state");
    let (mut child, mut socket) = worker();
    let ask = Ask::Open {
        library: library.to_string_lossy().into_owned(),
        skip: Vec::new(),
    };
    write_frame(&mut socket, &Request { id: 1, ask }).expect("request");
    for expected in ["dlopen", "nvmlInit_v2"] {
        let Some(FromWorker::Calling { call, .. }) = read_frame(&mut socket).expect("frame") else {
            panic!("no call");
        };
        assert_eq!(call, expected);
    }
    drop(socket);
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("wait").is_none() {
        if Instant::now() > until {
            child.kill().expect("kill");
            child.wait().expect("wait");
            panic!("it outlived the agent");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).expect("stderr");
    }
    assert_eq!(said, "");
}

/// The library is built for this test, beside its dependencies.
fn fake_driver() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.parent().expect("deps").join("libcupel_fake_driver.so")
}
