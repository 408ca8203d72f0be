//! A server that is played: a directory, and a systemd that starts what the links lead to.
//!
//! A program is a small ELF file whose last line says how it behaves.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use cupel_hardware::systemd::{Job, ServiceState};
use cupel_model::Timestamp;

use crate::contents::{self, SystemFiles};
use crate::disk::{Disk, Power};
use crate::error::InstallError;
use crate::exchange::Exchange;
use crate::facts::Facts;
use crate::journal::{Journal, Outcome, State};
use crate::layout::{CURRENT, JOURNAL, Layout, PROGRAM, PROVEN, SERVICE, UPGRADE};
use crate::plan::{self, InstallWish};
use crate::release::{Architecture, Release};
use crate::system::{Answer, System, SystemError};
use crate::version::Version;
use crate::{Applier, whole_program};

/// What a program does once it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    FailsItsTest,
    Crashes,
    Hangs,
    IsSilent,
    DiesLater,
}

impl Behaviour {
    const ALL: [(&str, Self); 6] = [
        ("good", Self::Good),
        ("fails-its-test", Self::FailsItsTest),
        ("crashes", Self::Crashes),
        ("hangs", Self::Hangs),
        ("is-silent", Self::IsSilent),
        ("dies-later", Self::DiesLater),
    ];
}

/// A program of this number and behaviour.
pub fn program(number: &str, behaviour: Behaviour, machine: u16) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16] = 2;
    bytes[20] = 1;
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes[32] = 64;
    bytes[52] = 64;
    bytes[54] = 56;
    bytes[56] = 1;
    bytes[64] = 1;
    let (word, _) = Behaviour::ALL
        .into_iter()
        .find(|(_, other)| *other == behaviour)
        .expect("behaviour");
    bytes.extend(format!("\n{number} {word}").bytes());
    let length = (bytes.len() as u64).to_le_bytes();
    bytes[64 + 32..64 + 40].copy_from_slice(&length);
    bytes
}

pub fn release(number: &str, behaviour: Behaviour) -> Release {
    let bytes = program(number, behaviour, 62);
    Release::of_running(bytes, Architecture::X86_64).expect("release")
}

fn read_program(path: &Path) -> Option<(String, Behaviour)> {
    let bytes = std::fs::read(path).ok()?;
    whole_program(&bytes, Architecture::X86_64).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (number, word) = text.lines().last()?.split_once(' ')?;
    let found = Behaviour::ALL.into_iter().find(|(name, _)| *name == word);
    Some((number.to_owned(), found?.1))
}

#[derive(Default)]
struct World {
    now: Duration,
    running: Option<(PathBuf, Behaviour)>,
    started: Duration,
    jobs: Vec<String>,
    busy: Vec<String>,
}

/// systemd and the service, played.
pub struct Played {
    layout: Layout,
    world: Mutex<World>,
}

impl Played {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().expect("world")
    }

    pub fn set_busy(&self, units: &[&str]) {
        self.world().busy = units.iter().map(|&unit| unit.to_owned()).collect();
    }

    /// Every process is gone, as after a power cut.
    pub fn lose_processes(&self) {
        self.world().running = None;
    }

    pub fn jobs(&self) -> Vec<String> {
        self.world().jobs.clone()
    }

    /// What the service's process runs, if it is well.
    pub fn healthy(&self) -> Option<PathBuf> {
        let world = self.world();
        world
            .running
            .clone()
            .filter(|(_, behaviour)| *behaviour == Behaviour::Good)
            .map(|(path, _)| path)
    }
}

impl System for Played {
    fn busy(&self) -> Result<Vec<String>, SystemError> {
        Ok(self.world().busy.clone())
    }

    fn reload(&self) -> Result<(), SystemError> {
        Ok(())
    }

    fn job(&self, job: Job, unit: &str) -> Result<(), SystemError> {
        let mut world = self.world();
        world.jobs.push(format!("{job:?} {unit}"));
        if unit == SERVICE {
            let program = self.layout.at(PROGRAM).canonicalize().ok();
            world.started = world.now;
            world.running = match job {
                Job::Stop => None,
                Job::Start | Job::Restart => program
                    .and_then(|path| read_program(&path).map(|(_, behaviour)| (path, behaviour))),
            };
        }
        Ok(())
    }

    fn reset_failed(&self, _: &str) -> Result<(), SystemError> {
        Ok(())
    }

    fn service(&self, unit: &str) -> Result<ServiceState, SystemError> {
        assert_eq!(unit, SERVICE);
        let world = self.world();
        let state = |active: &str, sub: &str, main_pid| ServiceState {
            active_state: active.to_owned(),
            sub_state: sub.to_owned(),
            result: "success".to_owned(),
            main_pid,
            restarts: 0,
        };
        let up = world.now.saturating_sub(world.started);
        Ok(
            match world.running.as_ref().map(|(_, behaviour)| behaviour) {
                None => state("inactive", "dead", 0),
                Some(Behaviour::Crashes) => ServiceState {
                    result: "exit-code".to_owned(),
                    ..state("activating", "auto-restart", 0)
                },
                Some(Behaviour::DiesLater) if up > Duration::from_secs(20) => ServiceState {
                    restarts: 1,
                    ..state("active", "running", 7)
                },
                Some(Behaviour::Hangs) => state("activating", "start", 7),
                Some(_) => state("active", "running", 7),
            },
        )
    }

    fn program_of(&self, pid: u32) -> Option<PathBuf> {
        assert_eq!(pid, 7);
        self.world().running.clone().map(|(path, _)| path)
    }

    fn run(&self, program: &Path, arguments: &[&str], _: Duration) -> Result<String, SystemError> {
        let Ok(_) = program.strip_prefix(self.layout.root()) else {
            return Ok(String::new()); // systemd-sysusers and its kin
        };
        let played = |why: &str| SystemError::Played(why.to_owned());
        let (number, behaviour) = read_program(program).ok_or_else(|| played("no program"))?;
        match arguments {
            ["system-files"] => {
                let own = SystemFiles::own(&number);
                Ok(serde_json::to_string(&own).expect("JSON"))
            }
            ["self-test"] if behaviour == Behaviour::FailsItsTest => Err(played("it is broken")),
            ["self-test"] => Ok(String::new()),
            other => Err(played(&format!("what is {other:?}?"))),
        }
    }

    fn ask_service(&self) -> Result<Answer, String> {
        match &self.world().running {
            Some((_, Behaviour::Good | Behaviour::DiesLater)) => Ok(Answer {
                judged_at: Some(Timestamp::EPOCH),
            }),
            _ => Err("no answer".to_owned()),
        }
    }

    fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.world().now.as_secs()).expect("seconds");
        Timestamp::from_microseconds(seconds * 1_000_000).expect("time")
    }

    fn since_boot(&self) -> Duration {
        self.world().now
    }

    fn sleep(&self, time: Duration) {
        self.world().now += time;
    }
}

/// A server.
pub struct Server {
    _directory: tempfile::TempDir,
    pub layout: Layout,
    pub system: Played,
}

impl Server {
    pub fn bare() -> Self {
        // In memory where there is such a place: thousands of servers are made.
        let memory = tempfile::tempdir_in("/dev/shm");
        let directory = memory.or_else(|_| tempfile::tempdir()).expect("directory");
        // The links of the running program are compared with resolved paths.
        let root = directory.path().canonicalize().expect("root");
        let layout = Layout::beneath(root);
        Self {
            _directory: directory,
            system: Played {
                layout: layout.clone(),
                world: Mutex::default(),
            },
            layout,
        }
    }

    /// With a first version.
    pub fn installed() -> Self {
        let server = Self::bare();
        server
            .install(&server.disk(), &release("1.0.0", Behaviour::Good))
            .expect("installs");
        server
    }

    pub fn disk(&self) -> Disk {
        self.disk_with(std::sync::Arc::new(|_| true))
    }

    pub fn disk_with(&self, power: Power) -> Disk {
        Disk::with_power(self.layout.clone(), power)
    }

    pub fn facts(&self) -> Facts {
        Facts {
            is_root: true,
            ..Facts::gather(&self.disk(), &self.system)
        }
    }

    pub fn journal(&self) -> Option<Journal> {
        Journal::load(&self.layout.at(JOURNAL)).expect("journal")
    }

    pub fn install(&self, disk: &Disk, release: &Release) -> Result<Version, InstallError> {
        let plan = plan::install(&self.facts(), &InstallWish::default(), 1).expect("plan");
        let since = self.system.now();
        let journal = self
            .journal()
            .unwrap_or_else(|| Journal::new(State::Installing { to: None, since }));
        Applier::new(disk, &self.system, &mut |_| {}, journal, Some(release)).install(&plan)
    }

    /// An upgrade to its end, as the command and the unit do it.
    pub fn upgrade(&self, disk: &Disk, release: &Release) -> Result<Outcome, InstallError> {
        let plan = plan::upgrade(&self.facts(), 1, 60).expect("plan");
        let journal = self.journal().expect("journal");
        Applier::new(disk, &self.system, &mut |_| {}, journal, Some(release)).upgrade(&plan)?;
        assert!(self.system.jobs().contains(&format!("Start {UPGRADE}")));
        Ok(self.step(disk)?.expect("outcome"))
    }

    pub fn step(&self, disk: &Disk) -> Result<Option<Outcome>, InstallError> {
        Exchange::new(disk, &self.system, &mut |_| {}).step()
    }

    pub fn recover(&self, disk: &Disk) -> Result<Option<Outcome>, InstallError> {
        Exchange::new(disk, &self.system, &mut |_| {}).recover()
    }

    /// `/usr/bin/cupel` leads to a version that is whole.
    pub fn assert_works(&self, when: &str) -> Version {
        let version = self.layout.linked(CURRENT);
        let version = version.unwrap_or_else(|| panic!("{when}: no version"));
        contents::whole(&self.disk(), &version).unwrap_or_else(|error| panic!("{when}: {error}"));
        let program = self.layout.at(PROGRAM).canonicalize();
        let program = program.unwrap_or_else(|error| panic!("{when}: {PROGRAM}: {error}"));
        assert_eq!(program, self.layout.binary(&version), "{when}");
        version
    }

    /// Settled, both links lead to what runs, and it is well.
    pub fn assert_settled(&self, when: &str) -> Version {
        let version = self.assert_works(when);
        let journal = self.journal().expect("journal");
        let settled = State::Settled {
            version: version.clone(),
        };
        assert_eq!(journal.state, settled, "{when}");
        assert_eq!(self.layout.linked(PROVEN), Some(version.clone()), "{when}");
        let running = self.system.healthy();
        assert_eq!(running, Some(self.layout.binary(&version)), "{when}");
        version
    }
}
