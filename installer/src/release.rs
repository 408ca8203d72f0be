//! A release's file: who signed it, and whether it is a program for this machine.
//!
//! # Invariants
//! - Nothing of a file is believed, written or run before a trusted key's signature over all of it
//!   was verified.
//! - Parsing is pure and never panics.

use std::path::PathBuf;

use minisign_verify::{PublicKey, Signature};

use crate::version::Hash;

/// Largest release, in bytes.
pub const LARGEST: u64 = 512 << 20;

/// Why a file is no release for this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// No trusted key at all.
    #[error("no release key is trusted here: put the public key that signs your releases into {0}")]
    NoKeys(String),
    /// A key's file is none.
    #[error("{} is no minisign public key: {why}", path.display())]
    BadKey {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The signature's file is none.
    #[error("the signature cannot be read: {0}")]
    BadSignature(String),
    /// No trusted key made it over these bytes.
    #[error("no trusted key signed this file (tried {0})")]
    NotTrusted(String),
    /// No program.
    #[error("not a program for Linux: {0}")]
    NotAProgram(&'static str),
    /// For other processors.
    #[error("built for {is}, this machine is {wanted}")]
    WrongArchitecture {
        /// What it is for.
        is: &'static str,
        /// What is wanted.
        wanted: &'static str,
    },
}

/// A trusted key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A file that a trusted key signed and that is a program for this machine. There is no other way
/// to have one.
#[derive(Clone)]
pub struct Release {
    bytes: Vec<u8>,
    hash: Hash,
    signed_by: String,
}

impl std::fmt::Debug for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Release")
            .field("bytes", &self.bytes.len())
            .field("hash", &self.hash)
            .field("signed_by", &self.signed_by)
            .finish()
    }
}

impl Release {
    /// Verifies a file.
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub fn verify(
        bytes: Vec<u8>,
        signature: &str,
        keys: &[Key],
        keys_directory: &str,
        architecture: Architecture,
    ) -> Result<Self, ReleaseError> {
        if keys.is_empty() {
            return Err(ReleaseError::NoKeys(keys_directory.to_owned()));
        }
        let signature = Signature::decode(signature.trim())
            .map_err(|error| ReleaseError::BadSignature(error.to_string()))?;
        let mut signed_by = None;
        for key in keys {
            let public =
                PublicKey::decode(key.text.trim()).map_err(|error| ReleaseError::BadKey {
                    path: key.path.clone(),
                    why: error.to_string(),
                })?;
            if public.verify(&bytes, &signature, false).is_ok() {
                signed_by = Some(name(key));
                break;
            }
        }
        let Some(signed_by) = signed_by else {
            let tried: Vec<_> = keys.iter().map(name).collect();
            return Err(ReleaseError::NotTrusted(tried.join(", ")));
        };
        program(&bytes, architecture)?;
        Ok(Self {
            hash: Hash::of(&bytes),
            bytes,
            signed_by,
        })
    }

    /// The program that runs now: whoever started it trusted it already.
    ///
    /// # Errors
    /// It is none for this machine, which cannot be.
    pub fn of_running(bytes: Vec<u8>, architecture: Architecture) -> Result<Self, ReleaseError> {
        program(&bytes, architecture)?;
        Ok(Self {
            hash: Hash::of(&bytes),
            bytes,
            signed_by: "the program that runs".to_owned(),
        })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its hash.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Name of the key that signed it.
    pub fn signed_by(&self) -> &str {
        &self.signed_by
    }
}

fn name(key: &Key) -> String {
    key.path.file_name().map_or_else(
        || key.path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Processors that releases are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit Intel and AMD.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Architecture {
    /// What this program was built for; `None` where no release is.
    pub fn of_this_program() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// As `uname -m` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// Number of x86-64 in `e_machine` (ELF-64 Object File Format, processor supplements).
const EM_X86_64: u64 = 62;

/// Number of AArch64.
const EM_AARCH64: u64 = 183;

/// Size of an ELF-64 header, in bytes.
const HEADER: usize = 64;

/// Size of a program header.
const PROGRAM_HEADER: u64 = 56;

/// A part of the file that is loaded.
const PT_LOAD: u64 = 1;

/// Whether this is a whole ELF program for such a machine.
///
/// # Errors
/// [`ReleaseError::NotAProgram`], [`ReleaseError::WrongArchitecture`].
pub fn program(bytes: &[u8], wanted: Architecture) -> Result<(), ReleaseError> {
    let length = bytes.len() as u64;
    if bytes.len() < HEADER || !bytes.starts_with(b"\x7fELF") {
        return Err(ReleaseError::NotAProgram("no ELF header"));
    }
    if bytes[4] != 2 || bytes[5] != 1 {
        return Err(ReleaseError::NotAProgram("not 64-bit little-endian"));
    }
    let number = |at: u64, size: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = bytes.get(at..at.checked_add(size)?)?;
        let shifted = field.iter().rev();
        Some(shifted.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let cut = || ReleaseError::NotAProgram("it is cut short");
    if !matches!(number(16, 2), Some(2 | 3)) {
        return Err(ReleaseError::NotAProgram("not executable"));
    }
    let is = match number(18, 2) {
        Some(EM_X86_64) => Architecture::X86_64.name(),
        Some(EM_AARCH64) => Architecture::Aarch64.name(),
        Some(_) | None => "other processors",
    };
    if is != wanted.name() {
        let wanted = wanted.name();
        return Err(ReleaseError::WrongArchitecture { is, wanted });
    }
    let table = number(32, 8).ok_or_else(cut)?;
    let count = number(56, 2).ok_or_else(cut)?;
    let mut loaded = false;
    for index in 0..count {
        let at = table.checked_add(index * PROGRAM_HEADER).ok_or_else(cut)?;
        let field = |offset: u64, size: usize| {
            at.checked_add(offset)
                .and_then(|at| number(at, size))
                .ok_or_else(cut)
        };
        let end = field(8, 8)?.checked_add(field(32, 8)?).ok_or_else(cut)?;
        if end > length {
            return Err(cut());
        }
        loaded |= field(0, 4)? == PT_LOAD;
    }
    if !loaded {
        return Err(ReleaseError::NotAProgram("nothing in it is loaded"));
    }
    // The table of sections comes last in a file: where it is whole, the file is.
    let sections = number(40, 8).ok_or_else(cut)?;
    let sections_size = number(58, 2).ok_or_else(cut)? * number(60, 2).ok_or_else(cut)?;
    if sections
        .checked_add(sections_size)
        .is_none_or(|end| end > length)
    {
        return Err(cut());
    }
    Ok(())
}
