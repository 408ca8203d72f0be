//! A GPU driven to its power limit, steadily or in a square wave, within what the site allows.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use cupel_model::worker_burnin::{BurnWork, Element, Pulse};

use super::job::{Jobs, name_of, spec_of, value};
use super::set::{Context, GpuUnderTest};
use crate::plan::{Plan, percent};
use crate::result::StageResult;
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::StageKind;

/// Rows, columns and depth of the products.
const SIZE: u32 = 8192;
/// Per cent of the limit that count as reached.
const REACHED_PERCENT: f64 = 95.0;
/// Per cent of the time at the limit that count as reached, whatever the power was.
const CAPPED_PERCENT: f64 = 50.0;
/// A wave that power supplies feel: half a second of load, half a second without.
const PULSE: Pulse = Pulse {
    on_ms: 500,
    off_ms: 500,
    stagger_ms: 1000,
    ramp: 8,
};

/// How many GPUs may draw their limit at once.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Slots {
    /// As many as the site's budget allows.
    pub(super) fn new(plan: &Plan, gpus: &[&GpuUnderTest]) -> Self {
        let highest = gpus
            .iter()
            .filter_map(|gpu| gpu.limit)
            .map(cupel_model::units::Watts::get)
            .fold(0.0, f64::max);
        let most = plan
            .power_budget_watts
            .filter(|_| highest > 0.0)
            .map_or(gpus.len(), |budget| whole(budget.get() / highest));
        Self {
            most,
            taken: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// Waits for a slot; none when the stage is to stop, or there never is one.
    fn take(self: &Arc<Self>, watch: &Watch) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= self.most {
            if self.most == 0 || watch.stopped().is_some() {
                return None;
            }
            watch.advance(percent(0.0, 1.0), "waits: the site's power budget is taken");
            taken = self
                .freed
                .wait_timeout(taken, Duration::from_millis(200))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *taken += 1;
        Some(Slot(Arc::clone(self)))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small quotient of positive numbers, and `as` saturates"
)]
fn whole(quotient: f64) -> usize {
    quotient as usize
}

struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let slots = &self.0;
        *slots.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        slots.freed.notify_all();
    }
}

/// The stage of one GPU.
#[derive(Debug)]
pub(super) struct PowerStage {
    pub(super) context: Context,
    pub(super) gpu: GpuUnderTest,
    pub(super) slots: Arc<Slots>,
}

impl PowerStage {
    fn pulse(&self) -> Option<Pulse> {
        (self.context.kind == StageKind::GpuPulse).then_some(Pulse {
            stagger_ms: if self.context.plan.in_step {
                0
            } else {
                PULSE.stagger_ms
            },
            ..PULSE
        })
    }
}

impl Stage for PowerStage {
    fn spec(&self) -> StageSpec {
        let what = match self.pulse() {
            Some(_) => "load that comes and goes twice in two seconds, ramped",
            None => "matrix products and memory at once, steered to the power limit",
        };
        let mut spec = spec_of(&self.context, &self.gpu, what.to_owned());
        if self.context.plan.power_budget_watts.is_some() {
            // It may wait for all the others.
            spec.at_most *= 16;
        }
        spec
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let name = name_of(&self.context, &self.gpu);
        if let Some(why) = &self.gpu.unfit {
            return StageResult::unsupported(name, why);
        }
        if self.slots.most == 0 {
            let why = "the site's power budget is below the limit of one GPU";
            return StageResult::unsupported(name, why);
        }
        let mut jobs = Jobs::new(&self.context, watch, name);
        let seconds = self.context.plan.budget(self.context.kind).as_secs_f64();
        let work = BurnWork::Power {
            element: Element::Bf16,
            size: SIZE,
            seconds,
            pulse: self.pulse(),
        };
        let gpus = std::slice::from_ref(&self.gpu);
        let Some(_slot) = self.slots.take(watch) else {
            jobs.result
                .reasons
                .push("it was stopped while it waited for the site's power budget".to_owned());
            return jobs.judged("runs");
        };
        if let Some(outcome) = jobs.run(gpus, &[], work, "power", seconds) {
            for (name, unit) in [
                ("mean power", "W"),
                ("highest power", "W"),
                ("power limit", "W"),
                ("power of the limit", "%"),
                ("time at the power limit", "%"),
                ("mean power by energy", "W"),
                ("compute rate", "TFLOP/s"),
            ] {
                if let Some(value) = value(&outcome, name) {
                    jobs.tell(&self.gpu, name, value, unit);
                }
            }
            if self.context.kind == StageKind::GpuPower && !jobs.over {
                let share = value(&outcome, "power of the limit");
                let capped = value(&outcome, "time at the power limit");
                if let Some(why) = short(share, capped) {
                    jobs.result.reasons.push(why);
                }
            }
        }
        jobs.judged("runs")
    }
}

/// Why the limit was not reached.
fn short(share: Option<f64>, capped: Option<f64>) -> Option<String> {
    if capped.is_some_and(|capped| capped >= CAPPED_PERCENT) {
        return None;
    }
    match share {
        Some(share) if share >= REACHED_PERCENT => None,
        Some(share) => Some(format!(
            "the GPU drew {share:.1} % of its power limit; {REACHED_PERCENT} % were wanted"
        )),
        None => Some("power could not be measured".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_below_the_limit_is_a_reason_unless_the_limit_was_what_held_it() {
        assert_eq!(short(Some(96.0), Some(0.0)), None);
        assert_eq!(short(Some(90.0), Some(80.0)), None);
        assert!(short(Some(90.0), Some(10.0)).is_some());
        assert!(short(None, None).is_some());
    }

    #[test]
    fn as_many_gpus_draw_power_at_once_as_the_site_allows() {
        let gpu = GpuUnderTest {
            index: 0,
            pci: "0000:01:00.0".parse().expect("address"),
            name: "GPU".to_owned(),
            limit: cupel_model::units::Watts::new(700.0).ok(),
            unfit: None,
        };
        let mut plan = Plan::quick(crate::Word(1));
        let most = |plan: &Plan| Slots::new(plan, &[&gpu, &gpu, &gpu]).most;
        assert_eq!(most(&plan), 3);
        for (watts, slots) in [(1500.0, 2), (700.0, 1), (699.0, 0)] {
            plan.power_budget_watts = cupel_model::units::Watts::new(watts).ok();
            assert_eq!(most(&plan), slots, "{watts}");
        }
        let slots = Arc::new(Slots::new(&plan, &[&gpu]));
        assert!(slots.take(&Watch::deaf()).is_none(), "never");
    }
}
