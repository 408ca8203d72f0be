//! The options that make a burn-in's plan, of `cupel burn-in` and `cupel bringup`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use cupel_burnin::{
    Plan, PlanError, PlanKind, StageKind, Word, parse_duration, parse_gpus, parse_share,
    parse_stages,
};
use cupel_model::units::{Percent, Watts};
use signal_hook::consts::TERM_SIGNALS;

use crate::config::{Origin, Settings};

/// Stages as one value of the command line.
#[derive(Clone, Debug)]
struct Stages(Vec<StageKind>);

fn stages(text: &str) -> Result<Stages, PlanError> {
    parse_stages(text).map(Stages)
}

/// GPUs as one value of the command line.
#[derive(Clone, Debug)]
struct Gpus(Vec<u32>);

fn gpus(text: &str) -> Result<Gpus, PlanError> {
    parse_gpus(text).map(Gpus)
}

/// Watts, above zero.
fn watts(text: &str) -> Result<Watts, String> {
    text.trim_end_matches(['W', 'w'])
        .trim()
        .parse::<f64>()
        .ok()
        .and_then(|watts| Watts::new(watts).ok())
        .filter(|watts| watts.get() > 0.0)
        .ok_or_else(|| format!("{text:?} is not a power above zero (want for example 5600)"))
}

/// What to load, how much, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// The plan: quick (2 min), standard (15 min), extended (2 h), soak (12 h)
    #[arg(long, value_name = "PLAN", default_value = "quick", value_parser = str::parse::<PlanKind>)]
    plan: PlanKind,
    /// Only these stages or groups: host, gpu, cpu, memory, gpu-memory, … (comma-separated)
    #[arg(long, value_name = "STAGES", value_parser = stages)]
    only: Option<Stages>,
    /// How long it may take in all, shared out over its stages (such as 30s, 10m, 2h)
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Only these GPUs, by index (such as 0,3 or 0-3) [default: all]
    #[arg(long, value_name = "GPUS", value_parser = gpus)]
    gpu: Option<Gpus>,
    /// Share of the free memory to test, 1% to 95% [default: burn_in.memory_share; 90% above quick]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    memory_share: Option<Percent>,
    /// WRITE the unused drive with this serial, and leave it blank (may be repeated)
    #[arg(long, value_name = "SERIAL")]
    write_drive: Vec<String>,
    /// What all GPUs together may draw in power pulses, in watts [default: no limit]
    #[arg(long, value_name = "WATTS", value_parser = watts)]
    power_budget: Option<Watts>,
    /// Power pulses of all GPUs in step: the hardest load for the site's supply
    #[arg(long)]
    in_step: bool,
    /// Agree to the plan beforehand
    #[arg(short = 'y', long)]
    pub yes: bool,
}

impl PlanArgs {
    /// The plan that the options and the settings make.
    ///
    /// # Errors
    /// The configured share of memory is out of range.
    pub fn plan(&self, settings: &Settings) -> anyhow::Result<Plan> {
        let mut plan = Plan::new(self.plan, Word(seed()));
        let setting = &settings.burn_in_memory_share;
        let configured = self.plan == PlanKind::Quick || setting.origin != Origin::Default;
        if let Some(share) = self.memory_share {
            plan = plan.memory_share(share);
        } else if configured {
            let share = parse_share(&(setting.value * 100.0).to_string()).with_context(|| {
                format!("cannot use burn_in.memory_share set in {}", setting.origin)
            })?;
            plan = plan.memory_share(share);
        }
        plan = plan.writing(self.write_drive.clone());
        if let Some(Stages(stages)) = &self.only {
            plan = plan.only(stages);
        }
        if let Some(time) = self.time {
            plan = plan.lasting(time);
        }
        plan.gpus = self.gpu.as_ref().map(|Gpus(gpus)| gpus.clone());
        plan.in_step = self.in_step;
        plan.power_budget_watts = self.power_budget;
        Ok(plan)
    }
}

/// A seed that no two runs share, from the clock: patterns need variety, not secrecy.
fn seed() -> u64 {
    let nanoseconds = jiff::Timestamp::now().as_nanosecond();
    let [a, b, c, d, e, f, g, h, ..] = nanoseconds.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A flag that is set when the operator wants to stop; a second signal ends the program.
///
/// # Errors
/// The system does not let signals be caught.
pub fn cancellation() -> anyhow::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 130, Arc::clone(&cancel))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&cancel)))
            .context("cannot catch signals")?;
    }
    // A terminal that went away ends it as the operator would.
    let hang_up = signal_hook::consts::SIGHUP;
    signal_hook::flag::register(hang_up, Arc::clone(&cancel)).context("cannot catch signals")?;
    Ok(cancel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_the_command_line() {
        assert_eq!(watts("5600").map(Watts::get), Ok(5600.0));
        assert_eq!(watts("700 W").map(Watts::get), Ok(700.0));
        for bad in ["", "0", "-5", "NaN", "much"] {
            assert!(watts(bad).is_err(), "{bad:?}");
        }
    }
}
