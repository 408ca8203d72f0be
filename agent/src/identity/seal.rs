//! Keys sealed to the machine's TPM, by `systemd-creds`.
//!
//! # Invariants
//! - A key travels over a pipe: it is on no command line, and in no file but its own.
//! - It is bound to the TPM and to no measurement of firmware: an update must not lock a node out.
//! - What was sealed is opened again before it is relied on.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use cupel_hardware::Root;
use cupel_hardware::command::{self, CommandError, Given, Limits};
use cupel_model::enrolment::KeyProtection;
use cupel_reporting::{Key, KeyFile};

/// The program that seals.
const SYSTEMD_CREDS: &str = "/usr/bin/systemd-creds";

/// What the key is called inside: one that was sealed under another name is not opened.
const NAME: &str = "--name=cupel.key";

/// How long it may take: a TPM needs a second or two.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(30),
    output_bytes: 64 << 10,
};

/// Registers of the TPM that a key is bound to, in the order in which they are tried: none; then the
/// one that is for applications and that no firmware writes, since systemd 252 and older seal to none
/// and then do not open that ("TPM2 PCR bank invalid or not supported").
const REGISTERS: [&str; 2] = ["--tpm2-pcrs=", "--tpm2-pcrs=23"];

/// Bit of `has-tpm2`'s exit status: the firmware has no support, which sealing does not need.
const NO_FIRMWARE: i32 = 1;

/// Where a key is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Seal {
    /// Sealed to the TPM where there is one, else in a file
    #[default]
    Auto,
    /// Sealed to the TPM
    Tpm,
    /// In a file that root alone reads
    None,
}

/// Why a key is not sealed or not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It does not run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It failed.
    #[error("{program}: {said}")]
    Said {
        /// Which program.
        program: String,
        /// Its last words.
        said: String,
    },
    /// The system gives no pipe.
    #[error("cannot hand over the key")]
    Pipe(#[from] std::io::Error),
    /// What is in the file, or came out, is no key.
    #[error("{0}")]
    Key(String),
}

/// The program that seals, beneath a root.
pub struct Sealer<'a> {
    root: &'a Root,
    program: PathBuf,
}

impl<'a> Sealer<'a> {
    /// The system's own.
    pub fn of(root: &'a Root) -> Self {
        Self {
            root,
            program: SYSTEMD_CREDS.into(),
        }
    }

    /// Why nothing can be sealed here; `None` where it can.
    pub fn objection(&self) -> Option<String> {
        let output = match command::run(self.root, &self.program, &["has-tpm2"], LIMITS) {
            Ok(output) => output,
            Err(error) => return Some(error.to_string()),
        };
        if output.status & !NO_FIRMWARE == 0 {
            return None;
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let missing: Vec<&str> = said
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('-'))
            .collect();
        Some(if missing.is_empty() {
            "no usable TPM".to_owned()
        } else {
            format!("no usable TPM (missing: {})", missing.join(", "))
        })
    }

    /// Seals a key so that it can be opened again. `keep` writes a file down and says where it is.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(
        &self,
        key: &Key,
        mut keep: impl FnMut(&KeyFile) -> Result<PathBuf, SealError>,
    ) -> Result<(), SealError> {
        let mut last = None;
        for registers in REGISTERS {
            let path = keep(&self.sealed(key, registers)?)?;
            match self.open(&path) {
                Ok(opened) if opened == *key => return Ok(()),
                Ok(_) => last = Some(SealError::Key("it comes back as something else".to_owned())),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| SealError::Key("nothing was tried".to_owned())))
    }

    fn sealed(&self, key: &Key, registers: &str) -> Result<KeyFile, SealError> {
        let (reader, mut writer) = std::io::pipe()?;
        // It fits into the pipe: nobody waits.
        writer.write_all(key.pem().as_bytes())?;
        drop(writer);
        let given = Given {
            input: Some(File::from(OwnedFd::from(reader))),
            inherited: &[],
        };
        let arguments = ["encrypt", NAME, "--with-key=tpm2", registers, "-", "-"];
        let output = command::run_with(self.root, &self.program, &arguments, LIMITS, given)?;
        Ok(KeyFile {
            protection: KeyProtection::Tpm,
            bytes: self.succeeded(output)?,
        })
    }

    /// Opens the sealed key in a file.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, path: &Path) -> Result<Key, SealError> {
        let path = path.to_string_lossy();
        let arguments = ["decrypt", NAME, &path, "-"];
        let output = command::run(self.root, &self.program, &arguments, LIMITS)?;
        let bytes = self.succeeded(output)?;
        Key::from_pem(&bytes).map_err(|error| SealError::Key(error.to_string()))
    }

    fn succeeded(&self, output: command::Output) -> Result<Vec<u8>, SealError> {
        if output.status == 0 && !output.truncated && !output.stdout.is_empty() {
            return Ok(output.stdout);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rfind(|line| !line.trim().is_empty());
        Err(SealError::Said {
            program: self.program.display().to_string(),
            said: last.map_or_else(
                || format!("it failed ({}) without a word", output.status),
                |line| line.trim().to_owned(),
            ),
        })
    }
}

/// The key of a file at `path`.
///
/// # Errors
/// [`SealError`].
pub fn opened(root: &Root, path: &Path, file: &KeyFile) -> Result<Key, SealError> {
    match file.protection {
        KeyProtection::Tpm => Sealer::of(root).open(path),
        KeyProtection::File => {
            let key = Key::from_pem(&file.bytes);
            key.map_err(|error| SealError::Key(format!("{}: {error}", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that seals by writing backwards, and what it was called with. It opens what was
    /// sealed to the registers that `opens` says.
    fn program(directory: &Path, has_tpm: &str, opens: &str) -> PathBuf {
        let path = directory.join("systemd-creds");
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {0}/called\ncase $1 in\n\
             has-tpm2) {has_tpm} ;;\n\
             encrypt) echo \"$4\" > {0}/bound; tac ;;\n\
             decrypt) if ! grep -q -e '{opens}' {0}/bound; then\n\
             echo 'TPM2 PCR bank invalid or not supported' >&2; exit 1; fi\n\
             tac \"$3\" ;;\nesac\n",
            directory.display()
        );
        std::fs::write(&path, script).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        path
    }

    fn sealed(sealer: &Sealer<'_>, key: &Key, path: &Path) -> Result<(), SealError> {
        sealer.seal(key, |file| {
            assert_eq!(file.protection, KeyProtection::Tpm);
            assert_ne!(file.bytes, key.pem().as_bytes());
            std::fs::write(path, &file.bytes)?;
            Ok(path.to_owned())
        })
    }

    #[test]
    fn what_is_sealed_is_opened_and_bound_to_no_measurement() {
        let directory = tempfile::tempdir().expect("directory");
        let (root, path) = (Root::live(), directory.path().join("key-1.cred"));
        let key = Key::generate().expect("key");
        for (opens, tried) in [
            ("=$", &["--tpm2-pcrs="][..]),
            ("=23$", &["--tpm2-pcrs=", "--tpm2-pcrs=23"]),
            ("never", &["--tpm2-pcrs=", "--tpm2-pcrs=23"]),
        ] {
            let sealer = Sealer {
                root: &root,
                program: program(directory.path(), "exit 1", opens),
            };
            assert_eq!(sealer.objection(), None);
            let done = sealed(&sealer, &key, &path);
            assert_eq!(done.is_ok(), opens != "never", "{done:?}");
            if done.is_ok() {
                assert_eq!(sealer.open(&path).expect("opened"), key);
            }
            let called = std::fs::read_to_string(directory.path().join("called")).expect("called");
            let opening = format!("decrypt --name=cupel.key {} -\n", path.display());
            let mut want = "has-tpm2\n".to_owned();
            for registers in tried {
                want += &format!("encrypt --name=cupel.key --with-key=tpm2 {registers} - -\n");
                want += &opening;
            }
            want += if done.is_ok() { &opening } else { "" };
            assert_eq!(called, want);
            std::fs::remove_file(directory.path().join("called")).expect("remove");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let directory = tempfile::tempdir().expect("directory");
        let root = Root::live();
        let sealer = Sealer {
            root: &root,
            program: program(
                directory.path(),
                "echo partial; echo -driver; echo +system; exit 2",
                "x",
            ),
        };
        assert_eq!(
            sealer.objection().as_deref(),
            Some("no usable TPM (missing: driver)")
        );
        let path = directory.path().join("key-1.cred");
        std::fs::write(directory.path().join("bound"), "y").expect("write");
        std::fs::write(&path, "no key\n").expect("write");
        let told = sealer.open(&path).expect_err("refused").to_string();
        assert!(
            told.ends_with("systemd-creds: TPM2 PCR bank invalid or not supported"),
            "{told}"
        );
        std::fs::write(directory.path().join("bound"), "x").expect("write");
        let told = sealer.open(&path).expect_err("no key").to_string();
        assert_eq!(told, "it is no private key in PEM form");
    }

    #[test]
    fn beneath_another_root_nothing_is_sealed() {
        let directory = tempfile::tempdir().expect("directory");
        let root = Root::at(directory.path()).expect("root");
        let why = Sealer::of(&root).objection().expect("objection");
        assert!(why.contains("no command is run"), "{why}");
    }
}
