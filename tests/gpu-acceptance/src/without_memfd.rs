//! A kernel that forbids memfd, played by a seccomp filter: the fault acts where the call is made,
//! so the program under test needs no switch for it.

use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::program;

/// Becomes the command under the filter; returns only when that failed.
pub fn become_command(command: &[String]) -> anyhow::Error {
    match filter() {
        Ok(()) => {}
        Err(error) => return error,
    }
    let Some((program, args)) = command.split_first() else {
        return anyhow::anyhow!("no command");
    };
    let error = program::command(program.as_ref()).args(args).exec();
    anyhow::Error::new(error).context(format!("could not start {program}"))
}

fn filter() -> anyhow::Result<()> {
    let errno = u32::try_from(libc::EPERM).context("EPERM")?;
    let filter = SeccompFilter::new(
        [(libc::SYS_memfd_create, Vec::new())].into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH
            .try_into()
            .context("this processor")?,
    )
    .context("a filter against memfd_create")?;
    let program: BpfProgram = filter.try_into().context("compile the filter")?;
    seccompiler::apply_filter(&program).context("install the filter")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::errno::Errno;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    #[test]
    fn memfd_create_fails_behind_the_filter_and_only_there() {
        let tried = thread::spawn(|| {
            filter().expect("filter");
            memfd_create("behind", MFdFlags::empty()).err()
        });
        assert_eq!(tried.join().expect("thread"), Some(Errno::EPERM));
        assert!(memfd_create("beside", MFdFlags::empty()).is_ok());
    }
}
