//! What is proven on booted machines, one file a subject.
//!
//! # Invariants
//! - A scenario makes its own machines and leaves nothing behind.
//! - Machines are driven as an administrator would: by the documented commands.

mod burn_in;
mod day_one;
mod disk;
mod enrol;
mod faults;
mod install;
mod installed;
mod power;
mod rack;
mod reports;
mod seen;
mod upgrade;
mod watchdog;
mod wish;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::image::{Image, Prepared, prepare};
use crate::machine::{Hardware, Machine};
use crate::release::Releases;

/// What came of a scenario.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It holds; with what was measured.
    Passed(String),
    /// It does not, and why.
    Failed(String),
    /// It could not be tried here, and why.
    Skipped(String),
}

/// A scenario cannot be tried on this host, and why.
#[derive(Debug)]
struct NotHere(String);

impl std::fmt::Display for NotHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotHere {}

/// A scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it proves, in a line.
    pub about: &'static str,
    /// Whether it is part of every test run.
    pub short: bool,
    run: fn(&Bench) -> Result<String>,
}

/// All of them, in the order in which they make sense.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "seen",
        about: "inspect and check see the server's strings, drive, controller and adapter",
        short: true,
        run: seen::run,
    },
    Scenario {
        name: "install",
        about: "from nothing to a service that comes up by itself, and back to nothing",
        short: true,
        run: install::run,
    },
    Scenario {
        name: "watchdog",
        about: "a service that is stuck is started again",
        short: true,
        run: watchdog::run,
    },
    Scenario {
        name: "upgrade",
        about: "a good version stays, a bad one is refused or put back, and rollback goes back",
        short: true,
        run: upgrade::run,
    },
    Scenario {
        name: "power-cut",
        about: "the power goes while a new version is on probation",
        short: true,
        run: power::one,
    },
    Scenario {
        name: "slow-failures",
        about: "versions that hang, or cannot be reached over their socket, are put back",
        short: false,
        run: upgrade::slow,
    },
    Scenario {
        name: "power-cuts",
        about: "the power goes at 20 random moments of upgrades",
        short: false,
        run: power::many,
    },
    Scenario {
        name: "network-cut",
        about: "ten minutes without network, with faults and a clock set back: all arrives, once",
        short: false,
        run: reports::run,
    },
    Scenario {
        name: "disk-full",
        about: "the node's disk is full, then freed: a finding made meanwhile is kept",
        short: false,
        run: disk::run,
    },
    Scenario {
        name: "burn-in",
        about: "a burn-in outlives the service's restart, and an upgrade is refused meanwhile",
        short: false,
        run: burn_in::run,
    },
    Scenario {
        name: "faults",
        about: "a lost drive, a device's error, a machine check, a port down: told, and cleared",
        short: false,
        run: faults::run,
    },
    Scenario {
        name: "enrol",
        about: "an identity sealed to a TPM: renewed, worth nothing without it, noticed on two",
        short: false,
        run: enrol::run,
    },
    Scenario {
        name: "day-one",
        about: "one node, from nothing to its page: install, enrol, bring-up, service",
        short: false,
        run: day_one::run,
    },
    Scenario {
        name: "rack",
        about: "a rack of three on one network, by push over ssh, each with an identity",
        short: false,
        run: rack::run,
    },
    Scenario {
        name: "wish",
        about: "versions that the inventory wishes: taken, waited for, refused, put back, and told",
        short: false,
        run: wish::run,
    },
];

/// What scenarios work with.
pub struct Bench {
    image: Image,
    cupel: PathBuf,
    impostor: PathBuf,
    releases: Releases,
}

impl Bench {
    /// The image and the built programs. The image is built where there is none, which takes
    /// minutes. `CUPEL_MACHINES_BINARY` names another `cupel` than the one just built, such as a
    /// release.
    ///
    /// # Errors
    /// The programs were not built, or the image's recipe does not work.
    pub fn new() -> Result<Prepared<Self>> {
        let cupel = match std::env::var_os("CUPEL_MACHINES_BINARY") {
            Some(path) => PathBuf::from(path),
            None => cupel_fleet::program("cupel")?,
        };
        let image = match prepare()? {
            Prepared::Ready(image) => image,
            Prepared::Skipped(why) => return Ok(Prepared::Skipped(why)),
        };
        let impostor = cupel_fleet::program("cupel-machines-impostor")?;
        let releases = Releases::of(&cupel, &impostor)?;
        Ok(Prepared::Ready(Self {
            image,
            cupel,
            impostor,
            releases,
        }))
    }

    /// A new machine.
    fn machine(&self, hardware: &Hardware) -> Result<Machine> {
        Machine::new(&self.image, hardware)
    }
}

impl Scenario {
    /// Tries it.
    pub fn run(&self, bench: &Bench) -> (Outcome, Duration) {
        let began = Instant::now();
        let outcome = match (self.run)(bench) {
            Ok(figures) => Outcome::Passed(figures),
            Err(error) => match error.downcast::<NotHere>() {
                Ok(NotHere(why)) => Outcome::Skipped(why),
                Err(error) => Outcome::Failed(format!("{error:#}")),
            },
        };
        (outcome, began.elapsed())
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<&'static Self> {
        ALL.iter()
            .find(|scenario| scenario.name == name)
            .with_context(|| {
                let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
                format!("no scenario {name:?}: want one of {}", names.join(", "))
            })
    }
}
