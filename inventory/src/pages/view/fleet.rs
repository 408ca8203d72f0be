//! The fleet and a rack: counts, queries, lists.

use cupel_model::Severity;
use serde::{Deserialize, Serialize};

use super::{Context, NodeLine, RackPlace, Standing};

/// How many nodes stand how. Each node is counted once in the first seven; `unexpected` and
/// `mismatched` count some of them again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Standing::Unhealthy`].
    pub unhealthy: u32,
    /// [`Standing::Silent`].
    pub silent: u32,
    /// [`Standing::Missing`].
    pub missing: u32,
    /// [`Standing::Unknown`].
    pub unknown: u32,
    /// [`Standing::Degraded`].
    pub degraded: u32,
    /// [`Standing::Quiet`].
    pub quiet: u32,
    /// [`Standing::Healthy`].
    pub healthy: u32,
    /// [`Expectation::Unexpected`].
    pub unexpected: u32,
    /// [`Expectation::Mismatched`].
    pub mismatched: u32,
}

impl Counts {
    /// How many stand like that.
    pub fn of(&self, standing: Standing) -> u32 {
        match standing {
            Standing::Unhealthy => self.unhealthy,
            Standing::Silent => self.silent,
            Standing::Missing => self.missing,
            Standing::Unknown => self.unknown,
            Standing::Degraded => self.degraded,
            Standing::Quiet => self.quiet,
            Standing::Healthy => self.healthy,
        }
    }

    /// The place to count one standing in.
    pub fn of_mut(&mut self, standing: Standing) -> &mut u32 {
        match standing {
            Standing::Unhealthy => &mut self.unhealthy,
            Standing::Silent => &mut self.silent,
            Standing::Missing => &mut self.missing,
            Standing::Unknown => &mut self.unknown,
            Standing::Degraded => &mut self.degraded,
            Standing::Quiet => &mut self.quiet,
            Standing::Healthy => &mut self.healthy,
        }
    }

    /// All nodes.
    pub fn total(&self) -> u32 {
        Standing::ALL.iter().map(|s| self.of(*s)).sum()
    }

    /// Nodes that someone must look at.
    pub fn sick(&self) -> u32 {
        let sick = Standing::ALL.iter().filter(|s| s.is_sick());
        sick.map(|s| self.of(*s)).sum()
    }

    /// The worst standing of any of them; `None` where there are none.
    pub fn worst(&self) -> Option<Standing> {
        Standing::ALL.into_iter().find(|s| self.of(*s) > 0)
    }

    /// Adds the nodes of another count.
    pub fn add(&mut self, other: &Self) {
        for standing in Standing::ALL {
            *self.of_mut(standing) += other.of(standing);
        }
        self.unexpected += other.unexpected;
        self.mismatched += other.mismatched;
    }
}

/// Which nodes a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// All, worst first.
    #[default]
    All,
    /// Those that someone must look at ([`Standing::is_sick`]) or that are not as expected.
    Sick,
    /// Only unhealthy ones.
    Unhealthy,
    /// Only silent ones.
    Silent,
    /// Only missing ones.
    Missing,
    /// Only unknown ones.
    Unknown,
    /// Only degraded ones.
    Degraded,
    /// Only those whose silence is expected.
    Quiet,
    /// Only healthy ones.
    Healthy,
    /// Only unexpected ones.
    Unexpected,
    /// Only mismatched ones.
    Mismatched,
}

/// The query of the fleet's page: `/?show=sick&region=…&q=…`. An empty text is as good as none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetQuery {
    /// Which nodes.
    pub show: Show,
    /// Of this region.
    pub region: Option<String>,
    /// Of this site.
    pub site: Option<String>,
    /// Of this row.
    pub row: Option<String>,
    /// Of this rack.
    pub rack: Option<String>,
    /// Of this platform.
    pub platform: Option<String>,
    /// With this lifecycle (`in-service`, …).
    pub lifecycle: Option<String>,
    /// With a finding of this code that is not cleared.
    pub code: Option<String>,
    /// Name, serial or id contains this.
    pub q: Option<String>,
    /// Cursor of the page, as `next` of the page before.
    pub after: Option<String>,
}

/// One rack in the heat grid.
#[derive(Clone, Debug)]
pub struct RackCounts {
    /// Which.
    pub place: RackPlace,
    /// Its nodes.
    pub counts: Counts,
}

/// How many nodes have a finding of one code.
#[derive(Clone, Debug)]
pub struct CodeCount {
    /// The code.
    pub code: String,
    /// Worst severity among them.
    pub severity: Severity,
    /// How many nodes.
    pub nodes: u32,
}

/// Nodes and their GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Nodes.
    pub nodes: u32,
    /// Their GPUs.
    pub gpus: u32,
}

/// The fleet: `/`.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What every page needs.
    pub context: Context,
    /// What was asked for.
    pub query: FleetQuery,
    /// Delivered, healthy, reserved, in use; `None` where it is not known.
    pub capacity: Option<FleetCapacity>,
    /// Every rack that the query's region, site and row allow (its other fields do not matter), in
    /// any order. The counts on top are added up from these; nodes without a rack are in a rack of
    /// which everything is `None`.
    pub racks: Vec<RackCounts>,
    /// Codes of findings that are not cleared, most nodes first, at most a dozen; within the same
    /// limits as `racks`.
    pub codes: Vec<CodeCount>,
    /// Regions to choose from.
    pub regions: Vec<String>,
    /// Sites to choose from.
    pub sites: Vec<String>,
    /// Platforms to choose from.
    pub platforms: Vec<String>,
    /// One page of the nodes that the whole query allows, worst first ([`Standing`]'s order, then
    /// severity of the worst finding, then name), at most 100.
    pub nodes: Vec<NodeLine>,
    /// How many nodes the whole query allows, over all pages.
    pub matching: u32,
    /// How many of them are on the pages before this one.
    pub before: u32,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// What the fleet has to give.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetCapacity {
    /// Handed over to production.
    pub delivered: Capacity,
    /// Of these, healthy.
    pub healthy: Capacity,
    /// Of these, reserved for an account.
    pub reserved: Capacity,
    /// Of these, with work on them.
    pub in_use: Capacity,
}

/// One rack: `/racks/{region}/{site}/{row}/{rack}`.
#[derive(Clone, Debug)]
pub struct Rack {
    /// What every page needs.
    pub context: Context,
    /// Which.
    pub place: RackPlace,
    /// How many units it has; `None`: drawn with 48, or more if a node stands higher.
    pub units: Option<u32>,
    /// Its nodes, in any order, missing ones too.
    pub nodes: Vec<NodeLine>,
    /// The rack before it in its row.
    pub previous: Option<RackPlace>,
    /// The rack after it in its row.
    pub next: Option<RackPlace>,
}
