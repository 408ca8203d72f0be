//! The other end of the socket: what `cupel status` and its kin use.

use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cupel_hardware::Root;
use serde::de::DeserializeOwned;

use super::protocol::{Ask, Reply};
use crate::exit::Refused;
use crate::state;

/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the service listens.
pub fn path(root: &Root) -> PathBuf {
    state::run_directory(root).join("cupel.sock")
}

/// A question that was asked.
pub struct Asked {
    lines: BufReader<UnixStream>,
}

impl Asked {
    /// The next line of the answer; `None` at its end.
    ///
    /// # Errors
    /// The connection broke.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let count = self.lines.read_line(&mut line)?;
        Ok((count > 0).then_some(line))
    }

    /// Waits for ever from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn patient(&mut self) -> io::Result<()> {
        self.lines.get_ref().set_read_timeout(None)
    }
}

/// Asks the service at `path`.
///
/// # Errors
/// No service answers there.
pub fn ask(path: &Path, ask: &Ask) -> anyhow::Result<Asked> {
    let mut stream = UnixStream::connect(path).with_context(|| {
        format!(
            "no service answers at {} (start it: cupel run)",
            path.display()
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    stream.write_all(&line).context("cannot ask the service")?;
    Ok(Asked {
        lines: BufReader::new(stream),
    })
}

/// Asks for one document.
///
/// # Errors
/// No service, a refusal, or an answer that is none.
pub fn document<T: DeserializeOwned>(path: &Path, question: &Ask) -> anyhow::Result<T> {
    let line = one_line(path, question)?;
    if let Ok(reply) = serde_json::from_slice::<Reply>(line.as_bytes()) {
        told(reply)?;
    }
    serde_json::from_slice(line.as_bytes()).context("the service gave an answer of another version")
}

/// Asks for something to be done, and gives what came of it.
///
/// # Errors
/// No service, or a refusal.
pub fn done(path: &Path, question: &Ask) -> anyhow::Result<String> {
    let line = one_line(path, question)?;
    let reply =
        serde_json::from_slice(line.as_bytes()).context("the service gave no answer to that")?;
    told(reply)
}

fn one_line(path: &Path, question: &Ask) -> anyhow::Result<String> {
    ask(path, question)?
        .line()
        .context("the service did not answer")?
        .context("the service closed the connection without an answer")
}

fn told(reply: Reply) -> anyhow::Result<String> {
    match reply {
        Reply::Done(text) => Ok(text),
        Reply::Refused(why) => Err(Refused(why).into()),
        Reply::Error(why) => bail!(why),
    }
}
