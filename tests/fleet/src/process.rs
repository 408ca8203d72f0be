//! Processes that end with their handle.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The directory that cargo builds programs into: that of the running program.
///
/// # Errors
/// The running program's own path is unknown.
pub fn built() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let mut directory = own.parent().unwrap_or(Path::new("/")).to_owned();
    for below in ["deps", "examples"] {
        if directory.file_name() == Some(OsStr::new(below)) {
            directory.pop();
        }
    }
    Ok(directory)
}

/// A hundredth of a second, in which Linux tells times to programs on x86-64 and arm64.
const TICK: Duration = Duration::from_millis(10);

/// A program or library that cargo built.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = built()?.join(name);
    if !path.is_file() {
        bail!("{} is not there: cargo build --workspace", path.display());
    }
    Ok(path)
}

/// A running process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    /// Where its standard error goes.
    pub log: PathBuf,
}

impl Running {
    /// Starts a program with nothing but this environment, in the directory of its log. Both its
    /// outputs are appended to files: `LOG` (standard error) and `LOG.out`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(
        program: &Path,
        args: &[impl AsRef<OsStr>],
        environment: &[(OsString, OsString)],
        log: &Path,
    ) -> Result<Self> {
        let append = |path: &Path| -> Result<File> {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot write {}", path.display()))
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "tests and the demo start the programs that they show; nothing of it ships"
        )]
        let mut command = Command::new(program);
        let child = command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(log.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(append(&log.with_extension("out"))?)
            .stderr(append(log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            child,
            name: name.into_owned(),
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that it has taken so far, its own and the kernel's for it, to a hundredth of
    /// a second: `utime` and `stime` of /proc/PID/stat.
    ///
    /// # Errors
    /// It is gone.
    pub fn processor_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = ticks(&stat).with_context(|| format!("no times in {path}"))?;
        Ok(TICK * ticks)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// SIGHUP.
    ///
    /// # Errors
    /// It is gone.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::SIGHUP)
    }

    /// SIGSTOP: it hangs from now on.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// SIGTERM, and how it ended and after how long.
    ///
    /// # Errors
    /// It did not end within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        self.signal(Signal::SIGTERM)?;
        while began.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, began.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{} did not end within {limit:?}", self.name)
    }

    /// SIGKILL, and waits for it to be gone.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The system's.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its exit code once it has ended; 128 and the signal when one ended it.
    ///
    /// # Errors
    /// It still runs.
    pub fn code(&mut self) -> Result<i32> {
        let status = self.child.try_wait()?.context("it still runs")?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        Ok(status.code().unwrap_or(128 + signal))
    }

    /// What it wrote to standard error so far.
    pub fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it wrote to standard output so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log.with_extension("out")).unwrap_or_default()
    }
}

/// `utime` and `stime` of a process. Its name, which comes before, may have anything in it.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already: then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194304 900 0 3 0 250 31 7 8 20 0 9 0 100 1 2";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("12 (a) S 1"), None);
    }
}
