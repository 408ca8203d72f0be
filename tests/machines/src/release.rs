//! Releases to upgrade to: the built `cupel` under other hashes, and impostors; signed with a key
//! that is made for the test.
//!
//! # Invariants
//! - A good release is the built program with a line after its end, which no loader reads: another
//!   hash, another version, the same program.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use minisign::KeyPair;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::host;

/// How an impostor goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It crashes soon after its start.
    Crashes,
    /// It never says that it is ready.
    Hangs,
    /// It says that it is ready, and nobody can reach its socket.
    Mute,
    /// Its self-test fails.
    FailsItsTest,
}

impl Wrong {
    fn word(self) -> &'static str {
        match self {
            Self::Crashes => "crashes",
            Self::Hangs => "hangs",
            Self::Mute => "mute",
            Self::FailsItsTest => "fails-its-test",
        }
    }
}

/// A signed file.
#[derive(Clone, Debug)]
pub struct Release {
    /// The program.
    pub file: PathBuf,
    /// Its signature.
    pub signature: PathBuf,
    /// The name of its version once it is installed.
    pub version: String,
}

/// Makes releases.
pub struct Releases {
    directory: TempDir,
    /// The built program, without what only a debugger reads.
    program: Vec<u8>,
    impostor: Vec<u8>,
    number: String,
    system_files: Value,
    keys: KeyPair,
}

impl Releases {
    /// Of this `cupel`, and of the impostor.
    ///
    /// # Errors
    /// They cannot be read or run here.
    pub fn of(cupel: &Path, impostor: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("cupel-releases-")
            .tempdir()?;
        let program = stripped(cupel, directory.path())?;
        let said = host::said(cupel, &["system-files"], Duration::from_secs(60))?;
        let line = said.lines().find(|line| line.starts_with('{'));
        let system_files: Value =
            serde_json::from_str(line.unwrap_or_default()).context("system-files gives no JSON")?;
        let number = system_files["version"]
            .as_str()
            .context("system-files names no version")?
            .to_owned();
        Ok(Self {
            impostor: stripped(impostor, directory.path())?,
            keys: KeyPair::generate_unencrypted_keypair()?,
            directory,
            program,
            number,
            system_files,
        })
    }

    /// The public key's file, as an operator has it.
    ///
    /// # Errors
    /// The file system's.
    pub fn key(&self) -> Result<PathBuf> {
        let path = self.directory.path().join("test.pub");
        fs::write(&path, self.keys.pk.to_box()?.to_string())?;
        Ok(path)
    }

    /// The program itself; the name tells it from others.
    ///
    /// # Errors
    /// The file system's.
    pub fn good(&self, name: &str) -> Result<Release> {
        let mut bytes = self.program.clone();
        bytes.extend(format!("\nrelease {name}").into_bytes());
        self.write(name, &bytes, &self.number)
    }

    /// An impostor.
    ///
    /// # Errors
    /// The file system's.
    pub fn bad(&self, wrong: Wrong) -> Result<Release> {
        let part = json!({ "goes_wrong": wrong.word(), "system_files": self.system_files });
        let mut bytes = self.impostor.clone();
        bytes.extend(format!("\n{part}").into_bytes());
        self.write(wrong.word(), &bytes, &self.number)
    }

    /// A signed version whose number is lower than any; nobody lets it serve.
    ///
    /// # Errors
    /// The file system's.
    pub fn older(&self) -> Result<Release> {
        let number = "0.0.1";
        let mut files = self.system_files.clone();
        files["version"] = number.into();
        let part = json!({ "goes_wrong": Wrong::Hangs.word(), "system_files": files });
        let mut bytes = self.impostor.clone();
        bytes.extend(format!("\n{part}").into_bytes());
        self.write("older", &bytes, number)
    }

    fn write(&self, name: &str, bytes: &[u8], number: &str) -> Result<Release> {
        let file = self.directory.path().join(format!("cupel-{name}"));
        let signature = self.directory.path().join(format!("cupel-{name}.minisig"));
        fs::write(&file, bytes)?;
        let signed = minisign::sign(None, &self.keys.sk, Cursor::new(bytes), None, None)?;
        fs::write(&signature, signed.to_string())?;
        let hash: String = Sha256::digest(bytes)
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Release {
            file,
            signature,
            version: format!("{number}-{hash}"),
        })
    }
}

/// A program without its debug information, which is most of a development build.
fn stripped(program: &Path, directory: &Path) -> Result<Vec<u8>> {
    let to = directory.join("stripped");
    let log = directory.join("strip.log");
    let args = [
        "-o".to_owned(),
        to.display().to_string(),
        program.display().to_string(),
    ];
    // Where there is no strip, the whole program serves as well, only slower.
    let from = match host::run("strip", &args, &log, Duration::from_secs(60)) {
        Ok(()) => &to,
        Err(_) => program,
    };
    fs::read(from).with_context(|| format!("read {}", program.display()))
}
