//! One node: look, copy, install or upgrade, confirm, enrol.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::rack::{Node, Rack};
use super::remote::{Remote, RemoteError, Said};
use crate::release::Architecture;
use crate::version::Hash;

/// How long looking may take.
const LOOKING: Duration = Duration::from_secs(60);

/// How long a file may travel: 40 MiB over a bad link.
const COPYING: Duration = Duration::from_secs(900);

/// How long an installation or a watched upgrade may take.
const WORKING: Duration = Duration::from_secs(900);

/// What a node is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is looked at.
    Look,
    /// Files travel.
    Copy,
    /// It is installed.
    Install,
    /// It is upgraded, and watched.
    Upgrade,
    /// The service is asked.
    Confirm,
    /// It gets an identity.
    Enrol,
}

/// How a node ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It had it already.
    Already,
    /// Installed.
    Installed,
    /// Upgraded.
    Upgraded,
}

/// How a node did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The connection, or something on the node.
    #[error("{what}: {source}")]
    Remote {
        /// What was being done.
        what: &'static str,
        /// Why not.
        source: RemoteError,
    },
    /// Cupel on the node refused: nothing was changed there.
    #[error("refused: {0}")]
    Refused(String),
    /// The node is not what the program is for.
    #[error("{0}")]
    Unfit(String),
}

impl Failed {
    /// Whether another attempt may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Remote { source, .. } => match source {
                RemoteError::Connection(_) => true,
                RemoteError::Failed { .. } | RemoteError::File { .. } | RemoteError::NoSsh(_) => {
                    false
                }
            },
            Self::Refused(_) | Self::Unfit(_) => false,
        }
    }
}

/// What all nodes get.
#[derive(Clone, Debug)]
pub struct Load {
    /// The rack, with its files found.
    pub rack: Rack,
    /// Hash of the program.
    pub hash: Hash,
    /// What it is built for.
    pub architecture: Architecture,
}

/// What looking says of a node.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    machine: String,
    is_root: bool,
    /// Hash of the installed program; `None` where there is none, or where its installation was cut
    /// short.
    installed: Option<String>,
    /// Whether the service answers.
    answers: bool,
}

/// Does one attempt.
pub struct Attempt<'a> {
    /// What all nodes get.
    pub load: &'a Load,
    /// The node.
    pub node: &'a Node,
    /// Its shell.
    pub remote: &'a dyn Remote,
    /// Told of each stage.
    pub stage: &'a mut dyn FnMut(Stage),
    /// Told of every word, for the node's log.
    pub log: &'a mut dyn FnMut(&str),
}

impl Attempt<'_> {
    /// Brings the node to where it should be.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn run(mut self) -> Result<Done, Failed> {
        (self.stage)(Stage::Look);
        let seen = self.look()?;
        if seen.machine != self.load.architecture.name() {
            return Err(Failed::Unfit(format!(
                "its processors are {}, the program is for {}",
                seen.machine,
                self.load.architecture.name()
            )));
        }
        if !seen.is_root && !self.load.rack.sudo {
            return Err(Failed::Unfit(
                "the user is not root: name root, or say sudo = true".to_owned(),
            ));
        }
        let done = self.bring(&seen)?;
        if let Some(join) = self.load.rack.join.clone() {
            self.enrol(&join)?;
        }
        Ok(done)
    }

    /// Brings the program to the node.
    fn bring(&mut self, seen: &Seen) -> Result<Done, Failed> {
        let is_same = seen.installed.as_deref() == Some(self.load.hash.as_str());
        if is_same && seen.answers {
            return Ok(Done::Already);
        }
        if is_same {
            // It was installed, and the service does not answer: that is for a person.
            (self.stage)(Stage::Confirm);
            self.confirm()?;
            return Ok(Done::Already);
        }
        (self.stage)(Stage::Copy);
        let is_installed = seen.installed.is_some();
        let done = self.beside(|attempt, directory| attempt.work(directory, is_installed))?;
        (self.stage)(Stage::Confirm);
        self.confirm()?;
        Ok(done)
    }

    /// Does something with a directory on the node, which is removed afterwards.
    fn beside<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &str) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let directory = self.make_directory()?;
        let done = work(self, &directory);
        let tidy = format!("rm -rf {directory}");
        if let Err(error) = self.ask("cannot tidy up", &tidy, None, LOOKING) {
            (self.log)(&format!("{directory} is left on the node: {error}"));
        }
        done
    }

    /// Lets a node get an identity. Whether it has one that the inventory takes, Cupel on the node
    /// asks the inventory. The join file is on no disk there: a connection that breaks leaves nothing.
    fn enrol(&mut self, join: &Path) -> Result<(), Failed> {
        (self.stage)(Stage::Enrol);
        let sudo = self.sudo();
        let script = format!("{sudo}/usr/bin/cupel enrol --yes -");
        self.ask("cannot enrol", &script, Some(join), WORKING)?;
        Ok(())
    }

    fn sudo(&self) -> &'static str {
        if self.load.rack.sudo { "sudo -n " } else { "" }
    }

    fn ask(
        &mut self,
        what: &'static str,
        script: &str,
        input: Option<&Path>,
        limit: Duration,
    ) -> Result<String, Failed> {
        (self.log)(&format!("$ {script}"));
        let said = self.remote.run(self.node, script, input, limit);
        match said {
            Ok(Said { output, errors }) => {
                for line in output.lines().chain(errors.lines()) {
                    (self.log)(line);
                }
                Ok(output)
            }
            Err(source) => {
                (self.log)(&source.to_string());
                if let RemoteError::Failed { status: 4, said } = source {
                    // It said so itself, perhaps below a plan.
                    let why = said.rsplit("refused: ").next().unwrap_or(&said);
                    return Err(Failed::Refused(why.to_owned()));
                }
                Err(Failed::Remote { what, source })
            }
        }
    }

    fn look(&mut self) -> Result<Seen, Failed> {
        let script = "uname -m; id -u; \
            if test -x /usr/bin/cupel; then sha256sum < /usr/bin/cupel; else echo none; fi; \
            s=0; /usr/bin/cupel status --short > /dev/null 2>&1 || s=$?; \
            case $s in 0|1|3) echo answers;; *) echo silent;; esac; \
            sed -n 's/^  \"state\": \"\\([a-z]*\\)\".*/\\1/p' /var/lib/cupel/install.json 2> /dev/null; \
            true";
        let said = self.ask("cannot look at it", script, None, LOOKING)?;
        seen(&said).ok_or_else(|| Failed::Unfit("it gives no sensible answer".to_owned()))
    }

    /// A directory for the user alone, that programs may be started from.
    fn make_directory(&mut self) -> Result<String, Failed> {
        let script = "umask 077; mktemp -d \"$HOME/.cupel-push.XXXXXXXX\"";
        let said = self.ask("cannot make a directory", script, None, LOOKING)?;
        let path = said.trim();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if path.starts_with('/') && path.contains("/.cupel-push.") && path.chars().all(allowed) {
            Ok(path.to_owned())
        } else {
            Err(Failed::Unfit(format!("{path:?} is no directory")))
        }
    }

    fn copy(&mut self, directory: &str, name: &str, from: &Path) -> Result<(), Failed> {
        let script = format!("umask 077; cat > {directory}/{name}");
        self.ask("cannot copy", &script, Some(from), COPYING)?;
        Ok(())
    }

    fn work(&mut self, directory: &str, is_installed: bool) -> Result<Done, Failed> {
        let rack = &self.load.rack;
        let (program, signature) = (rack.program.clone(), rack.signature.clone());
        let (token, keys) = (rack.token_file.clone(), rack.release_keys.clone());
        let sudo = self.sudo();
        let (inventory, with_bringup) = (rack.inventory.clone(), rack.with_bringup);
        self.copy(directory, "cupel", &program)?;
        let check = format!("chmod 700 {directory}/cupel; sha256sum < {directory}/cupel");
        let said = self.ask("cannot check what was copied", &check, None, LOOKING)?;
        if said.split_whitespace().next() != Some(self.load.hash.as_str()) {
            return Err(Failed::Remote {
                what: "the copy is not what was sent",
                source: RemoteError::Connection("other bytes arrived".to_owned()),
            });
        }
        if is_installed {
            let signature: PathBuf = signature.unwrap_or_default();
            self.copy(directory, "cupel.minisig", &signature)?;
            (self.stage)(Stage::Upgrade);
            let script = format!("{sudo}/usr/bin/cupel upgrade --yes {directory}/cupel");
            self.ask("cannot upgrade", &script, None, WORKING)?;
            return Ok(Done::Upgraded);
        }
        let mut script = format!("{sudo}{directory}/cupel install --yes");
        if let Some(url) = &inventory {
            script.push_str(&format!(" --inventory {}", quoted(url)));
        }
        if let Some(token) = &token {
            self.copy(directory, "token", token)?;
            script.push_str(&format!(" --token-file {directory}/token"));
        }
        for key in &keys {
            let name = key.file_stem().unwrap_or_default().to_string_lossy();
            self.copy(directory, &format!("{name}.pub"), key)?;
            script.push_str(&format!(" --release-key {directory}/{name}.pub"));
        }
        if with_bringup {
            script.push_str(" --with-bringup");
        }
        (self.stage)(Stage::Install);
        self.ask("cannot install", &script, None, WORKING)?;
        Ok(Done::Installed)
    }

    fn confirm(&mut self) -> Result<(), Failed> {
        // Its verdict is the node's own matter; that it has one is asked here.
        let script = "s=0; /usr/bin/cupel status --short || s=$?; \
            case $s in 0|1|3) ;; *) exit 2;; esac";
        self.ask("the service does not answer", script, None, LOOKING)?;
        Ok(())
    }
}

/// For a shell, as one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn seen(said: &str) -> Option<Seen> {
    let mut lines = said.lines().map(str::trim);
    let machine = lines.next()?.to_owned();
    let is_root = lines.next()? == "0";
    let hash = lines.next()?.split_whitespace().next()?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash && hash != "none" {
        return None;
    }
    let answers = lines.next()? == "answers";
    let is_cut_short = lines.next() == Some("installing");
    Some(Seen {
        machine,
        is_root,
        installed: (is_hash && !is_cut_short).then(|| hash.to_owned()),
        answers,
    })
}
