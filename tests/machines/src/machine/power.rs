//! A machine that is switched on, used, and cut off.
//!
//! # Invariants
//! - What happens to a machine stays in its own directory: the image is only read.
//! - QEMU ends with its handle, by its own pid, and with the thread that started it.
//! - A power cut is SIGKILL for QEMU: what the guest has not written, and what QEMU keeps of its
//!   disk's tables until the guest flushes, is lost.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use super::guest::{Guest, Ran, Started};
use super::hardware::{Files, Hardware, TPM_SOCKET, drive_file};
use super::qmp::Qmp;
use crate::host;
use crate::image::Image;

/// Longest from power on until the guest's agent answers. Seen: 20 s on two idle cores.
const BOOT: Duration = Duration::from_secs(240);

/// Longest that a command may take where its caller says nothing else.
const COMMAND: Duration = Duration::from_secs(120);

/// Longest until an emulated TPM can be spoken to.
const TPM: Duration = Duration::from_secs(30);

/// The program that plays a TPM.
pub const TPM_PROGRAM: &str = "swtpm";

/// A machine.
#[derive(Debug)]
pub struct Machine {
    image: Image,
    hardware: Hardware,
    directory: TempDir,
    power: Option<Power>,
    /// How long the last boot took, to the first answer of the guest.
    pub boot: Duration,
}

/// What there is while it is on.
#[derive(Debug)]
struct Power {
    qmp: Qmp,
    guest: Guest,
    _qemu: Ends,
    _tpm: Option<Ends>,
}

/// A program that ends with this: an emulator.
#[derive(Debug)]
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // Gone already: then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// A new machine with an empty past, switched on.
    ///
    /// # Errors
    /// QEMU does not start, or the guest does not come up.
    pub fn new(image: &Image, hardware: &Hardware) -> Result<Self> {
        let mut machine = Self::off(image, hardware)?;
        machine.power_on()?;
        Ok(machine)
    }

    /// A new machine with an empty past, switched off.
    fn off(image: &Image, hardware: &Hardware) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("cupel-machine-")
            .tempdir()?;
        let log = directory.path().join("qemu.log");
        fs::create_dir(directory.path().join("host"))?;
        let args = [
            "create".to_owned(),
            "-q".to_owned(),
            "-f".to_owned(),
            "qcow2".to_owned(),
            "-b".to_owned(),
            image.root().display().to_string(),
            "-F".to_owned(),
            "raw".to_owned(),
            directory.path().join("disk.qcow2").display().to_string(),
        ];
        host::run("qemu-img", &args, &log, Duration::from_secs(60))?;
        for (index, drive) in hardware.drives.iter().enumerate() {
            let file = File::create(directory.path().join(drive_file(index)))?;
            file.set_len(u64::from(drive.size) << 20)?;
        }
        Ok(Self {
            image: image.clone(),
            hardware: hardware.clone(),
            directory,
            power: None,
            boot: Duration::ZERO,
        })
    }

    /// Another machine with a copy of this one's disk, switched on. This one is off.
    ///
    /// # Errors
    /// This one is on, the disk cannot be copied, or the other does not come up.
    pub fn copied(&self, hardware: &Hardware) -> Result<Self> {
        if self.power.is_some() {
            bail!("the machine is on: its disk is not copied");
        }
        let mut other = Self::off(&self.image, hardware)?;
        let disk = |machine: &Self| machine.directory.path().join("disk.qcow2");
        fs::copy(disk(self), disk(&other)).context("copy the disk")?;
        other.power_on()?;
        Ok(other)
    }

    /// Other hardware around the same disk, from the next start on.
    pub fn rebuilt(&mut self, change: impl FnOnce(&mut Hardware)) {
        change(&mut self.hardware);
    }

    /// Switches it on and waits for the guest.
    ///
    /// # Errors
    /// It is on, QEMU does not start, or the guest does not come up.
    pub fn power_on(&mut self) -> Result<()> {
        if self.power.is_some() {
            bail!("the machine is on");
        }
        let directory = self.directory.path();
        for socket in ["qmp", "agent", TPM_SOCKET] {
            let _ = fs::remove_file(directory.join(socket));
        }
        let accelerator = std::env::var("CUPEL_MACHINES_ACCELERATOR")
            .unwrap_or_else(|_| "tcg,thread=multi".to_owned());
        let files = Files {
            directory,
            share: &self.share(),
        };
        let options = self.hardware.options(&self.image, &files, &accelerator);
        let emulator = host::find("qemu-system-x86_64").context("no QEMU here")?;
        let began = Instant::now();
        let tpm = self.hardware.tpm.as_deref().map(|memory| self.tpm(memory));
        let tpm = tpm.transpose()?;
        let qemu = Ends(host::start(
            &emulator,
            &options,
            &directory.join("qemu.log"),
        )?);
        let qmp = Qmp::connect(&directory.join("qmp")).with_context(|| self.told())?;
        let guest = Guest::connect(&directory.join("agent"))?;
        self.power = Some(Power {
            qmp,
            guest,
            _qemu: qemu,
            _tpm: tpm,
        });
        let up = self.on()?.guest.wait(BOOT);
        up.with_context(|| self.told())?;
        self.boot = began.elapsed();
        Ok(())
    }

    /// Starts its TPM, and waits until it can be spoken to.
    fn tpm(&self, memory: &Path) -> Result<Ends> {
        let directory = self.directory.path();
        let program = host::find(TPM_PROGRAM).with_context(|| format!("no {TPM_PROGRAM} here"))?;
        fs::create_dir_all(memory)?;
        let socket = directory.join(TPM_SOCKET);
        let args = [
            "socket".to_owned(),
            "--tpm2".to_owned(),
            "--tpmstate".to_owned(),
            format!("dir={}", memory.display()),
            "--ctrl".to_owned(),
            format!("type=unixio,path={}", socket.display()),
        ];
        let log = directory.join("tpm.log");
        let tpm = Ends(host::start(&program, &args, &log)?);
        let until = Instant::now() + TPM;
        while !socket.exists() {
            if Instant::now() > until {
                bail!("the TPM does not start: {}", host::tail(&log, 5));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(tpm)
    }

    /// Cuts the power.
    ///
    /// # Errors
    /// It is off.
    pub fn power_cut(&mut self) -> Result<()> {
        let power = self.power.take().context("the machine is off")?;
        drop(power);
        Ok(())
    }

    /// Reboots in good order and waits for the guest.
    ///
    /// # Errors
    /// It does not go down, or does not come up.
    pub fn reboot(&mut self) -> Result<()> {
        let before = self.boot_id()?;
        let began = Instant::now();
        let guest = &mut self.on()?.guest;
        guest.start("systemctl reboot")?;
        // Until it is down it may answer, or be cut off in the middle.
        let usual = std::mem::replace(&mut guest.patience, Duration::from_secs(5));
        let mut now = before.clone();
        while now == before {
            let limit = BOOT.saturating_sub(began.elapsed());
            let up = self.on()?.guest.wait(limit);
            up.with_context(|| format!("no reboot within {BOOT:?}\n{}", self.told()))?;
            now = self.boot_id().unwrap_or(now);
        }
        self.on()?.guest.patience = usual;
        self.boot = began.elapsed();
        Ok(())
    }

    fn boot_id(&mut self) -> Result<String> {
        self.run("cat /proc/sys/kernel/random/boot_id")?.ok()
    }

    fn on(&mut self) -> Result<&mut Power> {
        self.power.as_mut().context("the machine is off")
    }

    /// Runs a shell command as root.
    ///
    /// # Errors
    /// The machine is off, or the command does not end in two minutes. A command that fails is no
    /// error here: see [`Ran::ok`].
    pub fn run(&mut self, command: &str) -> Result<Ran> {
        self.run_within(command, COMMAND)
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_within(&mut self, command: &str, limit: Duration) -> Result<Ran> {
        self.on()?.guest.run(command, limit)
    }

    /// Starts a shell command, for something to happen meanwhile.
    ///
    /// # Errors
    /// The machine is off.
    pub fn start(&mut self, command: &str) -> Result<Started> {
        self.on()?.guest.start(command)
    }

    /// What a started command did, if it has ended.
    ///
    /// # Errors
    /// The machine is off, or was since.
    pub fn ended(&mut self, started: &Started) -> Result<Option<Ran>> {
        self.on()?.guest.ended(started)
    }

    /// Runs a shell command again and again until it ends with 0, and gives its output.
    ///
    /// # Errors
    /// It does not within `limit`; the error holds what it said last.
    pub fn until(&mut self, what: &str, command: &str, limit: Duration) -> Result<String> {
        let began = Instant::now();
        loop {
            let ran = self.run(command)?;
            if ran.code == 0 {
                return Ok(ran.stdout);
            }
            if began.elapsed() > limit {
                ran.ok()
                    .with_context(|| format!("not within {limit:?}: {what}"))?;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The directory that the guest sees as /host; it cannot write there.
    pub fn share(&self) -> PathBuf {
        self.directory.path().join("host")
    }

    /// Puts a file of the host into the guest, flushed to its disk.
    ///
    /// # Errors
    /// The file system's of either side.
    pub fn put(&mut self, file: &Path, to: &str) -> Result<()> {
        let passing = self.share().join("passing");
        fs::copy(file, &passing).with_context(|| format!("copy {}", file.display()))?;
        // A machine may be at its first command before it has the directory.
        let copied = self.run(&format!(
            "systemctl start host.mount && cp /host/passing '{to}' && sync -f '{to}'"
        ))?;
        fs::remove_file(&passing)?;
        copied.ok()?;
        Ok(())
    }

    /// Pulls the network cable, or puts it back.
    ///
    /// # Errors
    /// QEMU's.
    pub fn network(&mut self, up: bool) -> Result<()> {
        let link = json!({ "name": "nic0", "up": up });
        self.on()?.qmp.call("set_link", &link)?;
        Ok(())
    }

    /// An error of the adapter `nic1` (AER), by QEMU's name of it: `COMP_TIME` is not fatal, `DLP`
    /// is. QEMU 7.2 signals none that are correctable.
    ///
    /// # Errors
    /// QEMU's.
    pub fn link_error(&mut self, name: &str) -> Result<()> {
        let said = self
            .on()?
            .qmp
            .human(&format!("pcie_aer_inject_error nic1 {name}"))?;
        if !said.starts_with("OK") && !said.is_empty() {
            bail!("QEMU injects no {name}: {said}");
        }
        Ok(())
    }

    /// Takes a device out of its slot, as a person would: the kernel is asked first.
    ///
    /// # Errors
    /// QEMU's.
    pub fn unplug(&mut self, id: &str) -> Result<()> {
        self.on()?.qmp.call("device_del", &json!({ "id": id }))?;
        Ok(())
    }

    /// What the machine itself has to say: QEMU's messages and the last of its console.
    pub fn told(&self) -> String {
        let directory = self.directory.path();
        format!(
            "QEMU: {}\nconsole: {}",
            host::tail(&directory.join("qemu.log"), 5),
            host::tail(&directory.join("console.log"), 40)
        )
    }
}
