//! A shell on a node, over the system's ssh.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_hardware::Root;
use cupel_hardware::command::{CommandError, Given, Limits, run_with};

use super::rack::Node;

/// What ssh ends with when the connection, and not what ran on the node, failed.
const SSH_FAILED: i32 = 255;

/// Seconds until a node that does not answer is given up.
const CONNECT: &str = "ConnectTimeout=15";

/// Why something did not work on a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The connection: it may work the next time.
    #[error("no connection: {0}")]
    Connection(String),
    /// The command ran and failed.
    #[error("ended with {status}: {said}")]
    Failed {
        /// Its exit status.
        status: i32,
        /// What it said.
        said: String,
    },
    /// A file on this side cannot be read.
    #[error("cannot read {path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        why: String,
    },
    /// ssh itself cannot be run.
    #[error("{0}")]
    NoSsh(String),
}

/// What a command on a node said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

/// Runs scripts on nodes.
pub trait Remote: Sync {
    /// Runs a script by the node's shell, with a file as its standard input.
    ///
    /// # Errors
    /// [`RemoteError`].
    fn run(
        &self,
        node: &Node,
        script: &str,
        input: Option<&Path>,
        limit: Duration,
    ) -> Result<Said, RemoteError>;
}

/// The system's ssh.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// Its absolute path.
    pub program: PathBuf,
    /// User on the nodes.
    pub user: String,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Remote for Ssh {
    fn run(
        &self,
        node: &Node,
        script: &str,
        input: Option<&Path>,
        limit: Duration,
    ) -> Result<Said, RemoteError> {
        let port = node.port.map(|port| port.to_string());
        let to = format!("{}@{}", self.user, node.address());
        // It never asks: a hundred nodes that ask for a password are no help.
        let mut arguments = vec!["-T", "-o", "BatchMode=yes", "-o", CONNECT];
        if let Some(port) = &port {
            arguments.extend(["-p", port]);
        }
        arguments.extend(self.arguments.iter().map(String::as_str));
        arguments.extend(["--", &to, script]);
        let input = input
            .map(|path| {
                File::open(path).map_err(|error| RemoteError::File {
                    path: path.display().to_string(),
                    why: error.to_string(),
                })
            })
            .transpose()?;
        let limits = Limits {
            time: limit,
            ..Limits::default()
        };
        let given = Given {
            input,
            // Where keys, agents and known hosts are found.
            inherited: &["HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "KRB5CCNAME"],
        };
        let output =
            run_with(&Root::live(), &self.program, &arguments, limits, given).map_err(|error| {
                match error {
                    CommandError::TimedOut { .. } | CommandError::System { .. } => {
                        RemoteError::Connection(error.to_string())
                    }
                    CommandError::NotLive { .. }
                    | CommandError::NotAbsolute { .. }
                    | CommandError::Missing { .. } => RemoteError::NoSsh(error.to_string()),
                }
            })?;
        let said = Said {
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        match output.status {
            0 => Ok(said),
            SSH_FAILED => Err(RemoteError::Connection(last_line(&said.errors))),
            status => Err(RemoteError::Failed {
                status,
                said: said.errors.trim().replace('\n', "; "),
            }),
        }
    }
}

fn last_line(text: &str) -> String {
    let line = text.trim().lines().last();
    line.unwrap_or("ssh ended without a word").to_owned()
}
