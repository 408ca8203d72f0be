//! Lines of JSON over a Unix socket: how QEMU and the agent inside the guest are spoken to.
//!
//! # Invariants
//! - Each wait has an end, and its own error.
//! - A line that is no JSON is dropped: a machine that was cut off leaves halves of answers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How often a wait looks at the clock.
const GLANCE: Duration = Duration::from_millis(20);

/// One conversation.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    pending: Vec<u8>,
    /// What it is called in errors.
    name: &'static str,
}

impl Wire {
    /// Connects as soon as somebody listens.
    ///
    /// # Errors
    /// Nobody does within `limit`.
    pub fn connect(path: &Path, name: &'static str, limit: Duration) -> Result<Self> {
        let until = Instant::now() + limit;
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(GLANCE))?;
                    return Ok(Self {
                        stream,
                        pending: Vec::new(),
                        name,
                    });
                }
                Err(error) if Instant::now() > until => {
                    return Err(error).with_context(|| format!("{name} does not listen"));
                }
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
    }

    /// Says something.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn send(&mut self, value: &Value) -> Result<()> {
        self.stream
            .write_all(format!("{value}\n").as_bytes())
            .with_context(|| format!("{} is gone", self.name))
    }

    /// The next thing that is said; `None` when there is nothing by then.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn next(&mut self, until: Instant) -> Result<Option<Value>> {
        loop {
            while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                if let Some(value) = parse(&line) {
                    return Ok(Some(value));
                }
            }
            if Instant::now() > until {
                return Ok(None);
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("{} has ended", self.name),
                Ok(count) => self.pending.extend_from_slice(&bytes[..count]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error).with_context(|| format!("{} is gone", self.name)),
            }
        }
    }
}

/// A line's value. The guest's agent marks the begin of an answer by a byte 0xFF, after whatever
/// was in the channel.
fn parse(line: &[u8]) -> Option<Value> {
    let begin = line
        .iter()
        .rposition(|byte| *byte == 0xff)
        .map_or(0, |mark| mark + 1);
    serde_json::from_slice(&line[begin..]).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use serde_json::json;

    use super::*;

    #[test]
    fn halves_of_answers_are_dropped() {
        assert_eq!(parse(b"{\"return\": 1}\n"), Some(json!({"return": 1})));
        assert_eq!(
            parse(b"{\"retu\xff{\"return\": 2}\n"),
            Some(json!({"return": 2}))
        );
        assert_eq!(parse(b"urn\": 1}\n"), None);
        assert_eq!(parse(b"\n"), None);
    }

    #[test]
    fn an_answer_may_come_in_pieces_and_a_wait_ends() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("listen");
        let mut wire = Wire::connect(&path, "nobody", Duration::from_secs(5)).expect("connect");
        let (mut other, _) = listener.accept().expect("accept");
        let soon = || Instant::now() + Duration::from_millis(50);
        assert_eq!(wire.next(soon()).expect("nothing"), None);
        other.write_all(b"{\"a\":").expect("write");
        assert_eq!(wire.next(soon()).expect("half"), None);
        other.write_all(b" 1}\n{\"b\": 2}\n").expect("write");
        assert_eq!(wire.next(soon()).expect("first"), Some(json!({"a": 1})));
        assert_eq!(wire.next(soon()).expect("second"), Some(json!({"b": 2})));
        drop(other);
        let error = wire.next(soon()).expect_err("ended");
        assert!(error.to_string().contains("nobody has ended"), "{error}");
    }
}
