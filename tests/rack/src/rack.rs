//! A running scenario: its directory, its driver, and faults that come while it runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::driver;
use crate::fault::Fault;
use crate::machine::Machine;
use crate::scenario::Scenario;
use crate::tree::Tree;

/// A simulated server on disk.
pub struct Rack {
    platform: String,
    node: u32,
    machine: Machine,
    tree: Tree,
    root: PathBuf,
    driver: PathBuf,
    fake_library: PathBuf,
}

impl Rack {
    /// Builds the scenario's server in `directory` with all its faults. `fake_library` is
    /// `libcupel_fake_driver.so`.
    ///
    /// # Errors
    /// An unknown platform or device, or the file system's.
    pub fn build(scenario: &Scenario, directory: &Path, fake_library: &Path) -> Result<Self> {
        let mut rack = Self::healthy(scenario, directory, fake_library)?;
        rack.apply_all(&scenario.faults)?;
        Ok(rack)
    }

    /// Builds the scenario's server in good order; its faults are not applied.
    ///
    /// # Errors
    /// An unknown platform, or the file system's.
    pub fn healthy(scenario: &Scenario, directory: &Path, fake_library: &Path) -> Result<Self> {
        let mut rack = Self {
            platform: scenario.platform.clone(),
            node: scenario.node,
            machine: Machine::healthy(&scenario.platform, scenario.node)?,
            tree: Tree::default(),
            root: directory.join("root"),
            driver: directory.join("driver"),
            fake_library: fake_library.to_owned(),
        };
        std::fs::create_dir_all(&rack.root)?;
        rack.write()?;
        Ok(rack)
    }

    /// The server was booted so many seconds ago, and what it logs from now on happens now. Without
    /// this its clock stands still, so that the same scenario gives the same bytes.
    ///
    /// # Errors
    /// The file system's.
    pub fn live(&mut self, uptime_seconds: u32) -> Result<()> {
        let system = &mut self.machine.system;
        system.live = true;
        system.uptime_seconds = uptime_seconds.into();
        system.booted_at = jiff::Timestamp::now().as_second() - i64::from(uptime_seconds);
        self.write()
    }

    /// Lets a fault happen now.
    ///
    /// # Errors
    /// A device that the server does not have, or the file system's.
    pub fn apply(&mut self, fault: &Fault) -> Result<()> {
        self.apply_all(std::slice::from_ref(fault))
    }

    /// Lets faults happen in one go.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_all(&mut self, faults: &[Fault]) -> Result<()> {
        for fault in faults {
            fault.act(&mut self.machine)?;
        }
        self.write()
    }

    /// Every fault is over: the server is as it was in the beginning, in the same boot, and the
    /// kernel log keeps what it has.
    ///
    /// # Errors
    /// The file system's.
    pub fn repair(&mut self) -> Result<()> {
        if !self.machine.driver.missing.is_empty() {
            // Written anew, with all of its functions.
            std::fs::remove_file(self.library())?;
        }
        let healthy = Machine::healthy(&self.platform, self.node)?;
        self.machine = Machine {
            system: self.machine.system.clone(),
            log: std::mem::take(&mut self.machine.log),
            ..healthy
        };
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        // The driver before the kernel's files: a reader that is woken by the log finds the
        // driver as the log says.
        driver::write(&self.machine, &self.driver, &self.fake_library)?;
        let tree = Tree::of(&self.machine);
        tree.sync(&self.root, &self.tree)?;
        self.tree = tree;
        Ok(())
    }

    /// The directory that stands for `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of the driver library; there is none at it where the server has no driver.
    pub fn library(&self) -> PathBuf {
        self.driver.join("libnvidia-ml.so.1")
    }

    /// The environment in which a command sees this server.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        vec![
            ("CUPEL_ROOT".into(), self.root.clone().into()),
            ("CUPEL_NVML".into(), self.library().into()),
            ("CUPEL_CUDA".into(), self.driver.join("libcuda.so.1").into()),
        ]
    }
}
