//! QEMU's own control channel (QMP).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::wire::Wire;

/// Longest that one command may take: they are instant, but the host may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The control channel of one QEMU.
#[derive(Debug)]
pub struct Qmp {
    wire: Wire,
}

impl Qmp {
    /// Connects and agrees on nothing special.
    pub fn connect(path: &Path) -> Result<Self> {
        let wire = Wire::connect(path, "QEMU", PATIENCE)?;
        let mut qmp = Self { wire };
        qmp.call("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// One command.
    pub fn call(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        self.wire
            .send(&json!({ "execute": command, "arguments": arguments }))?;
        let until = Instant::now() + PATIENCE;
        // The greeting and events come in between.
        while let Some(said) = self.wire.next(until)? {
            if let Some(error) = said.get("error") {
                bail!("QEMU: {command}: {error}");
            }
            if let Some(value) = said.get("return") {
                return Ok(value.clone());
            }
        }
        bail!("QEMU: {command}: no answer within {PATIENCE:?}")
    }

    /// One command of the human monitor, which answers nothing when it went well.
    pub fn human(&mut self, line: &str) -> Result<String> {
        let said = self.call("human-monitor-command", &json!({ "command-line": line }))?;
        let text = said.as_str().context("no text")?;
        Ok(text.trim().to_owned())
    }
}
