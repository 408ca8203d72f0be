//! A drive that nothing uses, and that is ours as long as it is open.
//!
//! # Invariants
//! - [`Unused::take`] opens first and looks afterwards: what is seen holds until it is closed.
//! - What was written is told apart from anybody's data by a mark in the first unit, so that a drive
//!   on which a burn-in was cut short is not refused for ever.

use std::os::fd::AsRawFd;

use crate::error::ReadError;
use crate::root::Root;

use super::direct::{Aligned, Drive, UNIT};
use super::kernel::users;
use super::signs::{ReadAt, Sign, signs_in};

/// A drive is not written; the signs that forbid it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{drive} is not written: {}", list(.signs))]
pub struct Refusal {
    /// Which.
    pub drive: String,
    /// Why, all of it.
    pub signs: Vec<Sign>,
}

fn list(signs: &[Sign]) -> String {
    let said: Vec<_> = signs.iter().map(ToString::to_string).collect();
    said.join("; ")
}

/// What a write test leaves in the first unit while it runs.
const MARK: &[u8; 32] = b"cupel burn-in: nobody's data 01\n";

/// A drive that may be written.
#[derive(Debug)]
pub struct Unused {
    drive: Drive,
}

impl Unused {
    /// Takes the block device, if there is no sign of use.
    ///
    /// # Errors
    /// [`Refusal`] with every sign.
    pub fn take(root: &Root, block: &str) -> Result<Self, Refusal> {
        let refuse = |signs: Vec<Sign>| Refusal {
            drive: block.to_owned(),
            signs,
        };
        if !root.is_live() {
            return Err(refuse(vec![Sign::Unfit(
                "nothing is written under a root other than /".to_owned(),
            )]));
        }
        let told = users(root, block);
        if !told.is_empty() {
            return Err(refuse(told));
        }
        let path = format!("/dev/{block}");
        let drive = Drive::open_exclusive(path.as_ref()).map_err(|error| {
            refuse(vec![Sign::InUse(format!(
                "the kernel does not give it to us alone: {error}"
            ))])
        })?;
        // The name may have gone over to another drive since.
        if let Err(error) = is_still(root, block, &drive) {
            return Err(refuse(vec![Sign::Unfit(error)]));
        }
        let mut signs = users(root, block);
        signs.extend(Self::content(&drive));
        if signs.is_empty() {
            Ok(Self { drive })
        } else {
            Err(refuse(signs))
        }
    }

    /// Takes a file that stands for a drive, for tests.
    ///
    /// # Errors
    /// [`Refusal`] with every sign in its content.
    pub fn take_file(path: &std::path::Path) -> Result<Self, Refusal> {
        let refuse = |signs: Vec<Sign>| Refusal {
            drive: path.display().to_string(),
            signs,
        };
        let drive = Drive::open_exclusive(path)
            .map_err(|error| refuse(vec![Sign::Unreadable(error.to_string())]))?;
        let signs = Self::content(&drive);
        if signs.is_empty() {
            Ok(Self { drive })
        } else {
            Err(refuse(signs))
        }
    }

    /// Signs in the content, but for our own.
    fn content(drive: &Drive) -> Vec<Sign> {
        let signs = signs_in(&Plain(drive));
        let unnamed = signs.iter().all(|sign| matches!(sign, Sign::NotBlank(_)));
        let ours = || {
            let mut first = Aligned::new(1);
            drive.read(&mut first, 0).is_ok() && first.starts_with(MARK)
        };
        if unnamed && !signs.is_empty() && ours() {
            return Vec::new();
        }
        signs
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.drive.bytes()
    }

    /// Reads.
    ///
    /// # Errors
    /// As the system says.
    pub fn read(&self, buffer: &mut Aligned, offset: u64) -> Result<(), ReadError> {
        self.drive.read(buffer, offset)
    }

    /// Writes.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&self, buffer: &Aligned, offset: u64) -> Result<(), ReadError> {
        self.drive.write(buffer, offset)
    }

    /// Waits until what was written is on the drive.
    ///
    /// # Errors
    /// As the system says.
    pub fn flush(&self) -> Result<(), ReadError> {
        self.drive.flush()
    }

    /// Marks the drive as being under test: written before anything else, taken away by
    /// [`Self::unmark`] once everything is blank again.
    ///
    /// # Errors
    /// As the system says.
    pub fn mark(&self) -> Result<(), ReadError> {
        let mut first = Aligned::new(1);
        first[..MARK.len()].copy_from_slice(MARK);
        self.write(&first, 0)?;
        self.flush()
    }

    /// Takes the mark away.
    ///
    /// # Errors
    /// As the system says.
    pub fn unmark(&self) -> Result<(), ReadError> {
        self.write(&Aligned::new(1), 0)?;
        self.flush()
    }

    /// Where a test may write: behind the mark.
    pub fn first() -> u64 {
        UNIT as u64
    }
}

/// Whether the open file is the device that the kernel calls `block`.
fn is_still(root: &Root, block: &str, drive: &Drive) -> Result<(), String> {
    let name = format!("/sys/class/block/{block}/dev");
    let told = root.value(&name).map_err(|error| error.to_string())?;
    let fd = drive.file().as_raw_fd();
    let stat = nix::sys::stat::fstat(drive.file()).map_err(|errno| errno.desc().to_owned())?;
    let own = format!(
        "{}:{}",
        nix::sys::stat::major(stat.st_rdev),
        nix::sys::stat::minor(stat.st_rdev)
    );
    if own == told {
        Ok(())
    } else {
        Err(format!(
            "what was opened (file {fd}) is {own}, and {block} is {told}"
        ))
    }
}

/// An open drive as something to be looked at.
struct Plain<'a>(&'a Drive);

impl ReadAt for Plain<'_> {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn look(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        let mut buffer = Aligned::new(length.div_ceil(UNIT));
        let left = usize::try_from(self.0.bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        // The last unit of a file that is no multiple of one is read as far as it goes.
        if left < buffer.len() {
            buffer = Aligned::new(left / UNIT);
        }
        self.0
            .read(&mut buffer, offset)
            .map_err(|error| error.to_string())?;
        let mut bytes = buffer.to_vec();
        bytes.resize(length, 0);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(put: &[(u64, &[u8])]) -> tempfile::NamedTempFile {
        use std::os::unix::fs::FileExt;
        let file = tempfile::NamedTempFile::new().expect("file");
        file.as_file().set_len(64 << 20).expect("size");
        for (at, bytes) in put {
            file.as_file().write_all_at(bytes, *at).expect("write");
        }
        file
    }

    #[test]
    fn a_blank_file_is_taken_written_and_read_back() {
        let file = image(&[]);
        let unused = Unused::take_file(file.path()).expect("blank");
        unused.mark().expect("mark");
        let mut buffer = Aligned::new(2);
        buffer[5000] = 9;
        unused.write(&buffer, Unused::first()).expect("write");
        unused.flush().expect("flush");
        let mut back = Aligned::new(2);
        unused.read(&mut back, Unused::first()).expect("read");
        assert_eq!(back[5000], 9);
        drop(unused);
        // Cut short: our own mark is there, and the drive is taken again.
        let unused = Unused::take_file(file.path()).expect("ours");
        unused
            .write(&Aligned::new(2), Unused::first())
            .expect("write");
        unused.unmark().expect("unmark");
        drop(unused);
        Unused::take_file(file.path()).expect("blank again");
    }

    #[test]
    fn our_mark_excuses_no_name_and_no_other_data() {
        let file = image(&[(0, MARK), (1080, &[0x53, 0xef])]);
        let refusal = Unused::take_file(file.path()).expect_err("a file system");
        assert!(refusal.to_string().contains("ext2"), "{refusal}");
        let file = image(&[(0, b"other"), (9000, b"x")]);
        let refusal = Unused::take_file(file.path()).expect_err("data");
        assert!(refusal.to_string().contains("not blank"), "{refusal}");
    }

    #[test]
    fn nothing_is_written_beneath_another_root() {
        let directory = tempfile::tempdir().expect("directory");
        let root = Root::at(directory.path()).expect("root");
        let refusal = Unused::take(&root, "nvme0n1").expect_err("another root");
        assert!(refusal.to_string().contains("root other than /"));
    }
}
