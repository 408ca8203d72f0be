//! The agent inside the guest (Debian's qemu-guest-agent), over a serial port of its own: commands
//! run whatever state the network is in.
//!
//! # Invariants
//! - A command has a limit; one that passes it is left to the guest and is an error here.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::wire::Wire;

/// How long an answer of the agent is waited for: an emulated processor that has everything to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a command that runs is asked after.
const GLANCE: Duration = Duration::from_millis(50);

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The command.
    pub command: String,
    /// Its exit code; 128 and the signal when one ended it.
    pub code: i64,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took, as the host saw it.
    pub took: Duration,
}

impl Ran {
    /// Standard output of a command that must have ended with 0.
    ///
    /// # Errors
    /// It did not; the error holds what it said.
    pub fn ok(self) -> Result<String> {
        self.ended(0)
    }

    /// Standard output of a command that must have ended with this code.
    ///
    /// # Errors
    /// It did not; the error holds what it said.
    pub fn ended(self, code: i64) -> Result<String> {
        ensure!(
            self.code == code,
            "`{}` ended with {}, not {code}\nstdout: {}\nstderr: {}",
            self.command,
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        );
        Ok(self.stdout)
    }
}

/// A command that was started and not yet waited for.
#[derive(Debug)]
pub struct Started {
    command: String,
    pid: i64,
    at: Instant,
}

/// The agent of one guest.
#[derive(Debug)]
pub struct Guest {
    wire: Wire,
    syncs: u64,
    /// How long an answer is waited for.
    pub patience: Duration,
}

impl Guest {
    /// Connects to the port; the guest may not be there yet.
    pub fn connect(path: &Path) -> Result<Self> {
        let wire = Wire::connect(path, "the guest's port", PATIENCE)?;
        Ok(Self {
            wire,
            syncs: 0,
            patience: PATIENCE,
        })
    }

    /// Waits until the agent runs.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            self.syncs += 1;
            let id = self.syncs;
            self.wire
                .send(&json!({ "execute": "guest-sync-delimited", "arguments": { "id": id } }))?;
            let soon = until.min(Instant::now() + Duration::from_secs(2));
            while let Some(said) = self.wire.next(soon)? {
                if said["return"] == id {
                    return Ok(());
                }
            }
        }
        bail!("no agent answers in the guest within {limit:?}")
    }

    fn call(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        self.wire
            .send(&json!({ "execute": command, "arguments": arguments }))?;
        let Some(said) = self.wire.next(Instant::now() + self.patience)? else {
            bail!(
                "the guest's agent does not answer {command} within {:?}",
                self.patience
            );
        };
        if let Some(error) = said.get("error") {
            bail!("the guest's agent: {command}: {error}");
        }
        Ok(said["return"].clone())
    }

    /// Starts a shell command.
    pub fn start(&mut self, command: &str) -> Result<Started> {
        let arguments = json!({
            "path": "/bin/sh",
            "arg": ["-c", command],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C"],
            "capture-output": true,
        });
        let pid = self.call("guest-exec", &arguments)?["pid"]
            .as_i64()
            .context("the guest's agent tells no pid")?;
        Ok(Started {
            command: command.to_owned(),
            pid,
            at: Instant::now(),
        })
    }

    /// What a started command did, if it has ended.
    pub fn ended(&mut self, started: &Started) -> Result<Option<Ran>> {
        let status = self.call("guest-exec-status", &json!({ "pid": started.pid }))?;
        if status["exited"] != true {
            return Ok(None);
        }
        let text = |key: &str| -> Result<String> {
            let bytes = STANDARD.decode(status[key].as_str().unwrap_or_default())?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let code = status["exitcode"]
            .as_i64()
            .or_else(|| Some(128 + status["signal"].as_i64()?));
        Ok(Some(Ran {
            command: started.command.clone(),
            code: code.context("the guest's agent tells no exit code")?,
            stdout: text("out-data")?,
            stderr: text("err-data")?,
            took: started.at.elapsed(),
        }))
    }

    /// Runs a shell command to its end.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Ran> {
        let started = self.start(command)?;
        while started.at.elapsed() < limit {
            if let Some(ran) = self.ended(&started)? {
                return Ok(ran);
            }
            std::thread::sleep(GLANCE);
        }
        bail!("`{command}` did not end in the guest within {limit:?}")
    }
}
