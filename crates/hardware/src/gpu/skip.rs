//! What is left alone after it hung or crashed the driver, and for how long.

use std::time::{Duration, Instant};

use cupel_model::snapshot::{GpuIdentity, HungCall};
use cupel_model::worker::Group;
use cupel_model::{PciAddress, Reading, Timestamp};

use super::reaper::Death;
use super::survey::Listed;

/// A GPU that is left alone for a while.
#[derive(Clone, Debug)]
pub struct Skip {
    failures: u32,
    /// The collection that it failed in.
    pub since: Instant,
    until: Instant,
    pub why: String,
    hung: Option<Hang>,
    /// Who it is, as far as that was read before: what does not change is not forgotten.
    pub address: Reading<PciAddress>,
    pub identity: Option<GpuIdentity>,
}

impl Skip {
    /// After one failure more.
    pub fn after(
        earlier: Option<Self>,
        now: Instant,
        pause: fn(u32) -> Duration,
        why: String,
        hung: Option<Hang>,
    ) -> Self {
        let failures = earlier
            .as_ref()
            .map_or(1, |skip| skip.failures.saturating_add(1));
        let (address, identity) = match earlier {
            Some(skip) => (skip.address, skip.identity),
            None => (Reading::default(), None),
        };
        Self {
            failures,
            since: now,
            until: now + pause(failures),
            why,
            hung,
            address,
            identity,
        }
    }

    /// Whether it is left alone in the collection that began at `now`: at least in the one that it
    /// failed in.
    pub fn is_active(&self, now: Instant) -> bool {
        self.since == now || self.until > now
    }

    pub fn hung(&self) -> Option<HungCall> {
        self.hung.as_ref().map(Hang::told)
    }

    /// Says of a GPU that it is left alone, and why.
    pub fn tell(&self, listed: &mut Listed) {
        listed.give_up(&Group::ALL, &self.why, self.hung());
        listed.gpu.in_driver = Reading::failed(&self.why);
        if let Some(identity) = &self.identity {
            listed.gpu.identity = identity.clone();
        }
        if listed.gpu.pci.value().is_none() {
            listed.gpu.pci = self.address.clone();
        }
    }
}

/// A hang, and whether the worker in it has died since.
#[derive(Clone, Debug)]
pub struct Hang {
    pub call: String,
    pub since: Timestamp,
    pub death: Option<Death>,
}

impl Hang {
    pub fn told(&self) -> HungCall {
        HungCall {
            call: self.call.clone(),
            since: self.since,
            wedged: self.death.as_ref().is_some_and(Death::is_wedged),
        }
    }
}

/// Whether two lists can be of the same GPUs: as many, and no index with two addresses.
pub fn same_list(one: &[Reading<PciAddress>], other: &[Reading<PciAddress>]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|pair| match pair {
            (Reading::Value(one), Reading::Value(other)) => one == other,
            _ => true,
        })
}
