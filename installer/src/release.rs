//! A release's file: who signed it, and whether it is a program for this machine.
//!
//! # Invariants
//! - Nothing of a file is believed, written or run before a trusted key's signature over all of it
//!   was verified.
//! - Parsing is pure and never panics.

use std::path::PathBuf;

use minisign_verify::{PublicKey, Signature};
use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

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

/// A program for this machine that a trusted key signed, or the one that runs already. There is no
/// other way to have one.
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

/// Whether this is a whole ELF program for such a machine.
///
/// # Errors
/// [`ReleaseError::NotAProgram`], [`ReleaseError::WrongArchitecture`].
pub fn program(bytes: &[u8], wanted: Architecture) -> Result<(), ReleaseError> {
    let header = FileHeader64::<Endianness>::parse(bytes)
        .map_err(|_| ReleaseError::NotAProgram("no 64-bit ELF header"))?;
    let endian = match header.endian() {
        Ok(Endianness::Little) => Endianness::Little,
        Ok(Endianness::Big) | Err(_) => {
            return Err(ReleaseError::NotAProgram("not little-endian"));
        }
    };
    if ![ET_EXEC, ET_DYN].contains(&header.e_type(endian)) {
        return Err(ReleaseError::NotAProgram("not executable"));
    }
    let is = match header.e_machine(endian) {
        EM_X86_64 => Architecture::X86_64.name(),
        EM_AARCH64 => Architecture::Aarch64.name(),
        _ => "other processors",
    };
    if is != wanted.name() {
        let wanted = wanted.name();
        return Err(ReleaseError::WrongArchitecture { is, wanted });
    }
    let cut = || ReleaseError::NotAProgram("it is cut short");
    let mut loaded = false;
    for segment in header.program_headers(endian, bytes).map_err(|_| cut())? {
        segment.data(endian, bytes).map_err(|()| cut())?;
        loaded |= segment.p_type(endian) == PT_LOAD;
    }
    if !loaded {
        return Err(ReleaseError::NotAProgram("nothing in it is loaded"));
    }
    // The table of sections comes last in a file: where it is whole, the file is.
    header.section_headers(endian, bytes).map_err(|_| cut())?;
    Ok(())
}
