//! The program, and a server in a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is a process; tests may start one"
)]
fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cupel-inventory"));
    command
        .arg("--data")
        .arg(data)
        .env_remove("CUPEL_INVENTORY_LISTEN")
        .env_remove("CUPEL_LOG");
    command
}

pub fn run(data: &Path, arguments: &[&str]) -> Output {
    program(data).args(arguments).output().expect("started")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server in a process of its own; it dies with this value.
pub struct Serving {
    pub child: Child,
    pub origin: String,
    /// Everything that it writes to standard error is read, so that it never waits.
    pub drain: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let mut child = program(data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr"));
        let mut line = String::new();
        let origin = loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("line");
            assert!(read > 0, "it ended before it listened");
            if let Some(origin) = line.trim().strip_prefix("listening on ") {
                break origin.to_owned();
            }
        };
        let drain = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = lines.read_to_string(&mut rest);
        });
        Self {
            child,
            origin,
            drain: Some(drain),
        }
    }

    pub fn signal(&self, name: &str) {
        #[expect(
            clippy::disallowed_methods,
            reason = "std can only kill; `kill` sends what is asked for"
        )]
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(drain) = self.drain.take() {
            let _ = drain.join();
        }
    }
}
