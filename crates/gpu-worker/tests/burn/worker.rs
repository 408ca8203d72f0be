//! A worker with a fake driver of its own.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::State;
use cupel_model::worker::{Answer, Ask, FromWorker, Request, WorkerError, read_frame, write_frame};
use cupel_model::worker_burnin::{
    BurnAnswer, BurnAsk, BurnJob, BurnOutcome, BurnProgress, BurnWork, Element, Operands,
};
use tempfile::TempDir;

/// Memory of a fake GPU, and the size in which the worker takes it.
pub const MEMORY: u64 = 24 << 20;
pub const PIECE: u64 = 256 << 10;

/// A book of healthy H100s.
pub fn healthy(count: usize) -> State {
    let addresses: Vec<String> = (0..count)
        .map(|at| format!("0000:{:02x}:00.0", at + 1))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut state = State::healthy(Model::H100, &addresses);
    state.cuda.memory_bytes = MEMORY;
    state.cuda.cache_bytes = 1 << 20;
    state
}

/// A worker that has greeted.
pub struct Worker {
    child: Child,
    socket: UnixStream,
    directory: TempDir,
    libraries: PathBuf,
    next: u64,
    gpus: usize,
}

impl Worker {
    pub fn new(state: &State) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
            std::fs::copy(fake_driver(), directory.path().join(name)).expect("copy");
        }
        state.write_beside(directory.path()).expect("state");
        let libraries = directory.path().to_owned();
        Self::of(state, directory, libraries, None)
    }

    /// A worker that is given the libraries of another directory; inside `root`, where there is one,
    /// and then it is the worker that lies there.
    pub fn with_libraries(state: &State, libraries: &Path, root: Option<&Path>) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        Self::of(state, directory, libraries.to_owned(), root)
    }

    fn of(state: &State, directory: TempDir, libraries: PathBuf, root: Option<&Path>) -> Self {
        let (mut socket, theirs) = UnixStream::pair().expect("socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("timeout");
        #[expect(clippy::disallowed_methods, reason = "this test plays the agent")]
        let mut command = match root {
            None => Command::new(env!("CARGO_BIN_EXE_cupel-gpu-worker")),
            Some(_) => Command::new("unshare"),
        };
        if let Some(root) = root {
            // The library looks at /proc.
            command
                .args(["--mount", "--mount-proc", "--root"])
                .arg(root)
                .arg("/cupel-gpu-worker");
        }
        let child = command
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("worker");
        let hello: Option<FromWorker> = read_frame(&mut socket).expect("greeting");
        assert!(matches!(hello, Some(FromWorker::Hello(_))), "{hello:?}");
        Self {
            child,
            socket,
            directory,
            libraries,
            next: 1,
            gpus: state.gpus.len(),
        }
    }

    /// One request and its answer.
    pub fn ask(&mut self, ask: BurnAsk) -> BurnAnswer {
        match self.answer(Ask::Burn(ask)) {
            Ok(Answer::Burn(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Opens NVML; what it says.
    pub fn open_nvml(&mut self) -> Result<Answer, WorkerError> {
        self.answer(Ask::Open {
            library: self
                .libraries
                .join("libnvidia-ml.so.1")
                .display()
                .to_string(),
            skip: Vec::new(),
        })
    }

    fn answer(&mut self, ask: Ask) -> Result<Answer, WorkerError> {
        let id = self.next;
        self.next += 1;
        write_frame(&mut self.socket, &Request { id, ask }).expect("request");
        loop {
            match read_frame(&mut self.socket).expect("answer") {
                Some(FromWorker::Answer { result, .. }) => return result.map(|answer| *answer),
                Some(FromWorker::Calling { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn start(&mut self, work: BurnWork) {
        let path = |name: &str| self.libraries.join(name).display().to_string();
        let job = BurnJob {
            cuda: path("libcuda.so.1"),
            nvml: Some(path("libnvidia-ml.so.1")),
            gpus: (0..self.gpus)
                .map(|at| {
                    format!("0000:{:02x}:00.0", at + 1)
                        .parse()
                        .expect("address")
                })
                .collect(),
            seed: 0x5eed,
            cpus: Vec::new(),
            work,
        };
        assert_eq!(self.ask(BurnAsk::Start(Box::new(job))), BurnAnswer::Started);
    }

    pub fn progress(&mut self) -> BurnProgress {
        let answer = self.ask(BurnAsk::Poll);
        let BurnAnswer::Progress(progress) = answer else {
            panic!("{answer:?}");
        };
        progress
    }

    /// Polls until the job is over.
    pub fn outcome(&mut self) -> BurnOutcome {
        let until = Instant::now() + Duration::from_secs(100);
        loop {
            let progress = self.progress();
            if let Some(outcome) = progress.outcome {
                return *outcome;
            }
            assert!(Instant::now() < until, "no end: {progress:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Changes the book while the worker runs.
    pub fn now(&self, state: &State) {
        state.write_beside(self.directory.path()).expect("state");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes of one job. Products get the memory that lets them have their size.
pub fn run(state: &State, work: BurnWork) -> BurnOutcome {
    let mut state = state.clone();
    if matches!(work, BurnWork::Product { .. }) {
        state.cuda.memory_bytes = 96 << 20;
    }
    let mut worker = Worker::new(&state);
    worker.start(work);
    worker.outcome()
}

pub fn memory() -> BurnWork {
    BurnWork::Memory {
        share: 0.98,
        passes: 1,
        seconds: 0.0,
    }
}

pub fn product(element: Element, operands: Operands) -> BurnWork {
    BurnWork::Product {
        element,
        operands,
        size: 256,
        seconds: 0.0,
    }
}

/// The library is built for this test, beside its dependencies.
fn fake_driver() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.parent().expect("deps").join("libcupel_fake_driver.so")
}
