//! Steering by measured power, and what was measured. Pure.

use super::report::Report;
use super::sensor::Reading;

/// Steps of the control: units of 512 bytes that each of three warps of every block reads in 16
/// steps of a tile.
pub const STEPS: [u32; 10] = [0, 2, 4, 6, 8, 12, 16, 24, 32, 48];

/// The control begins here.
const FIRST: usize = 4;

/// Share of the limit at which nothing more is tried.
const REACHED: f64 = 0.97;

/// Less than this share is no difference.
const NOISE: f64 = 0.003;

/// Goes up or down a step, and on the way that draws more.
pub struct Control {
    step: usize,
    upwards: bool,
    before: Option<f64>,
}

impl Control {
    /// At the first step.
    pub fn new() -> Self {
        Self {
            step: FIRST,
            upwards: true,
            before: None,
        }
    }

    /// How much memory is read beside.
    pub fn rate(&self) -> u32 {
        STEPS.get(self.step).copied().unwrap_or(0)
    }

    /// After a trial: its mean power, the limit, and whether the limit held it down.
    pub fn next(&mut self, watts: Option<f64>, limit: Option<f64>, capped: bool) {
        let (Some(watts), Some(limit)) = (watts, limit) else {
            return;
        };
        if capped || watts >= REACHED * limit {
            return;
        }
        if let Some(before) = self.before
            && watts < before * (1.0 - NOISE)
        {
            self.upwards = !self.upwards;
        }
        self.before = Some(watts);
        let last = STEPS.len() - 1;
        self.step = match (self.upwards, self.step) {
            (true, step) if step == last => {
                self.upwards = false;
                last - 1
            }
            (true, step) => step + 1,
            (false, 0) => {
                self.upwards = true;
                1
            }
            (false, step) => step - 1,
        };
    }
}

/// Adds up what was read of the sensor.
#[derive(Default)]
pub struct Meter {
    watts: f64,
    count: u32,
    capped: u32,
    trial_watts: f64,
    trial_count: u32,
    trial_capped: u32,
    highest: f64,
    limit: Option<f64>,
    last: u64,
    energy: Option<(f64, f64, f64)>,
}

impl Meter {
    /// A reading, at a second of the job.
    pub fn take(&mut self, reading: Reading, second: f64) {
        if reading.count == self.last {
            return;
        }
        self.last = reading.count;
        self.limit = reading.limit_watts.or(self.limit);
        if let Some(watts) = reading.watts {
            self.trial_watts += watts;
            self.trial_count += 1;
            self.trial_capped += u32::from(reading.capped);
            self.highest = self.highest.max(watts);
        }
        if let Some(joules) = reading.joules {
            let (from, at, _) = self.energy.unwrap_or((second, joules, joules));
            self.energy = Some((from, at, joules));
        }
    }

    /// Ends a trial: its mean power, the limit, whether it was held down most of the time. `counts`:
    /// it belongs into the mean of the job.
    pub fn trial(&mut self, counts: bool) -> (Option<f64>, Option<f64>, bool) {
        let count = std::mem::take(&mut self.trial_count);
        let watts = std::mem::take(&mut self.trial_watts);
        let capped = std::mem::take(&mut self.trial_capped);
        if counts {
            self.watts += watts;
            self.count += count;
            self.capped += capped;
        }
        let mean = (count > 0).then(|| watts / f64::from(count));
        (mean, self.limit, count > 0 && capped * 2 > count)
    }

    /// What was measured of the whole job.
    pub fn report(&self, gpu: u32, seconds: f64, report: &mut Report) {
        let mean = (self.count > 0).then(|| self.watts / f64::from(self.count));
        if let Some(mean) = mean {
            report.measure(gpu, "mean power", mean, "W");
            report.measure(gpu, "highest power", self.highest, "W");
            let capped = f64::from(self.capped) / f64::from(self.count) * 100.0;
            report.measure(gpu, "time at the power limit", capped, "%");
        }
        if let (Some(mean), Some(limit)) = (mean, self.limit) {
            report.measure(gpu, "power limit", limit, "W");
            report.measure(gpu, "power of the limit", mean / limit * 100.0, "%");
        }
        if let Some((from, first, last)) = self.energy {
            let time = seconds - from;
            // The counter ticks seldom; over a short time it says nothing.
            if time >= 10.0 {
                report.measure(gpu, "mean power by energy", (last - first) / time, "W");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_climbs_to_what_draws_most_and_stays_near_it() {
        // Power as a function of the step, highest at step 7.
        let power = [
            500.0, 520.0, 540.0, 560.0, 580.0, 600.0, 620.0, 640.0, 630.0, 600.0,
        ];
        let mut control = Control::new();
        let mut steps = Vec::new();
        for _ in 0..20 {
            steps.push(control.step);
            control.next(Some(power[control.step]), Some(700.0), false);
        }
        assert!(
            steps[8..].iter().all(|step| (6..=9).contains(step)),
            "{steps:?}"
        );
    }

    #[test]
    fn at_the_limit_nothing_is_changed() {
        let mut control = Control::new();
        control.next(Some(690.0), Some(700.0), false);
        control.next(Some(600.0), Some(700.0), true);
        control.next(None, Some(700.0), false);
        assert_eq!(control.step, FIRST);
    }

    #[test]
    fn a_reading_counts_once() {
        let mut meter = Meter::default();
        let reading = Reading {
            count: 1,
            watts: Some(600.0),
            limit_watts: Some(700.0),
            capped: true,
            joules: Some(5.0),
        };
        meter.take(reading, 0.0);
        meter.take(reading, 1.0);
        assert_eq!(meter.trial(true), (Some(600.0), Some(700.0), true));
        assert_eq!(meter.trial(true), (None, Some(700.0), false));
        assert_eq!(meter.count, 1);
    }
}
