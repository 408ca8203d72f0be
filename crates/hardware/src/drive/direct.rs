//! Reads of a whole block device, or of a file that stands for one, past the page cache.
//!
//! # Invariants
//! - Offsets, lengths and buffers are multiples of [`UNIT`], which every block size divides.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::error::ReadError;

/// What offsets, lengths and buffers are multiples of, in bytes.
pub const UNIT: usize = 4096;

/// A buffer that begins at a multiple of [`UNIT`].
#[derive(Debug)]
pub struct Aligned {
    bytes: Vec<u8>,
    begin: usize,
    length: usize,
}

impl Aligned {
    /// A buffer of `units` times [`UNIT`] bytes, all zero.
    pub fn new(units: usize) -> Self {
        let length = units * UNIT;
        let bytes = vec![0; length + UNIT];
        let begin = bytes.as_ptr().align_offset(UNIT).min(UNIT);
        Self {
            bytes,
            begin,
            length,
        }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.begin..self.begin + self.length]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..self.begin + self.length]
    }
}

/// A drive that is open. Reading it needs no more than that.
#[derive(Debug)]
pub struct Drive {
    file: File,
    path: PathBuf,
    bytes: u64,
    /// Whether reads go past the page cache.
    direct: bool,
}

impl Drive {
    /// Opens a block device, or a file that stands for one, for reading.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        Self::open_with(path.as_ref(), false)
    }

    /// The same for reading and writing; of a block device nobody else has it then, not even the
    /// kernel: where it is mounted, or part of something, that fails.
    pub(super) fn open_exclusive(path: &Path) -> Result<Self, ReadError> {
        Self::open_with(path, true)
    }

    fn open_with(path: &Path, exclusive: bool) -> Result<Self, ReadError> {
        let told = path.display().to_string();
        let open = |flags: OFlag| {
            std::fs::OpenOptions::new()
                .read(true)
                .write(exclusive)
                .custom_flags((flags | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits())
                .open(path)
        };
        let flags = if exclusive {
            OFlag::O_EXCL
        } else {
            OFlag::empty()
        };
        let opened = match open(flags | OFlag::O_DIRECT) {
            Ok(file) => Ok((file, true)),
            // A file system without direct access; block devices always have it.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                open(flags).map(|file| (file, false))
            }
            Err(error) => Err(error),
        };
        let (mut file, direct) = opened.map_err(|error| ReadError::from_io(&told, &error))?;
        let kind = file
            .metadata()
            .map_err(|error| ReadError::from_io(&told, &error))?
            .file_type();
        if !kind.is_block_device() && !kind.is_file() {
            return Err(ReadError::NotRegular { path: told });
        }
        let bytes = file
            .seek(SeekFrom::End(0))
            .map_err(|error| ReadError::from_io(&told, &error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes,
            direct,
        })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether reads go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for what only the kernel can tell of it.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// As the system says; also when the drive ends before the buffer does.
    pub fn read(&self, buffer: &mut Aligned, offset: u64) -> Result<(), ReadError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| self.error(&error))
    }

    /// Writes `buffer` at `offset`.
    pub(super) fn write(&self, buffer: &Aligned, offset: u64) -> Result<(), ReadError> {
        self.file
            .write_all_at(buffer, offset)
            .map_err(|error| self.error(&error))
    }

    /// Waits until what was written is on the drive.
    pub(super) fn flush(&self) -> Result<(), ReadError> {
        self.file.sync_data().map_err(|error| self.error(&error))
    }

    fn error(&self, error: &std::io::Error) -> ReadError {
        ReadError::from_io(&self.path.display().to_string(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_file_is_read_in_units() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let content: Vec<u8> = (0..4_u8).flat_map(|unit| [unit; UNIT]).collect();
        std::fs::write(file.path(), &content).expect("write");
        let drive = Drive::open(file.path()).expect("open");
        assert_eq!(drive.bytes(), 4 * UNIT as u64);
        let mut buffer = Aligned::new(2);
        assert_eq!(buffer.as_ptr().align_offset(UNIT), 0);
        drive.read(&mut buffer, UNIT as u64).expect("read");
        assert_eq!((buffer[0], buffer[UNIT]), (1, 2));
        assert!(drive.read(&mut buffer, 3 * UNIT as u64).is_err());
    }

    #[test]
    fn what_is_no_drive_is_refused() {
        assert!(matches!(
            Drive::open("/dev/null"),
            Err(ReadError::NotRegular { .. })
        ));
        assert!(Drive::open("/nonexistent/drive").is_err());
    }
}
