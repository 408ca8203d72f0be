//! What processors say about themselves while they are loaded: heat, power, clock, throttling.
//!
//! # Invariants
//! - Power is energy over the time between two looks; the first look has none.
//! - A counter that ran over between two looks gives its difference all the same.

use std::time::Instant;

use cupel_model::Reading;
use cupel_model::units::{Celsius, Watts};

use crate::hwmon::{self, Monitor};
use crate::root::Root;

/// Drivers of hwmon whose sensors are the processors' own.
const DRIVERS: [&str; 4] = ["coretemp", "k10temp", "zenpower", "cpu_thermal"];

const POWERCAP: &str = "/sys/class/powercap";

/// Most clocks that are read at a look: reading one may wake its processor.
const MOST_CLOCKS: usize = 64;

/// One look.
#[derive(Clone, Debug)]
pub struct ProcessorReadings {
    /// Hottest sensor of all processors.
    pub hottest: Reading<Celsius>,
    /// Of all packages, since the look before. Source: `energy_uj` of powercap.
    pub power: Reading<Watts>,
    /// Mean of the current clocks, in MHz. Source: `scaling_cur_freq`.
    pub megahertz: Reading<f64>,
    /// How often cores were throttled by heat since boot, all together. Source:
    /// `thermal_throttle/core_throttle_count`.
    pub throttled: Reading<u64>,
}

/// A package that counts its energy.
#[derive(Debug)]
struct Package {
    directory: String,
    /// Where the counter starts again, in µJ.
    range: u64,
    last: Option<u64>,
}

/// Looks at processors again and again.
#[derive(Debug)]
pub struct ProcessorSensors {
    root: Root,
    cpus: Vec<u32>,
    monitors: Vec<Monitor>,
    packages: Vec<Package>,
    last: Instant,
}

impl ProcessorSensors {
    /// The sensors of these processors.
    pub fn new(root: &Root, cpus: &[u32]) -> Self {
        let own = |monitor: &Monitor| {
            DRIVERS.iter().any(|driver| {
                monitor
                    .name
                    .strip_prefix(driver)
                    .is_some_and(|rest| rest.starts_with('/'))
            })
        };
        let monitors = hwmon::monitors(root).unwrap_or_default();
        Self {
            root: root.clone(),
            cpus: cpus.to_vec(),
            monitors: monitors.into_iter().filter(own).collect(),
            packages: packages(root),
            last: Instant::now(),
        }
    }

    /// Looks.
    pub fn look(&mut self) -> ProcessorReadings {
        ProcessorReadings {
            hottest: self.hottest(),
            power: self.power(),
            megahertz: self.megahertz(),
            throttled: self.throttled(),
        }
    }

    fn hottest(&self) -> Reading<Celsius> {
        let mut hottest: Option<Celsius> = None;
        for monitor in &self.monitors {
            for sensor in hwmon::read(&self.root, monitor).unwrap_or_default() {
                if let Some(celsius) = sensor.temperature_celsius.get()
                    && hottest.is_none_or(|old| celsius > old)
                {
                    hottest = Some(celsius);
                }
            }
        }
        hottest.map_or_else(
            || Reading::unsupported("no sensor of a processor in hwmon"),
            Reading::Value,
        )
    }

    fn power(&mut self) -> Reading<Watts> {
        let elapsed = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        if self.packages.is_empty() {
            return Reading::unsupported("no package counts its energy in powercap");
        }
        let mut microjoules = Some(0);
        for package in &mut self.packages {
            let path = format!("{}/energy_uj", package.directory);
            let now = match self.root.parsed(&path, "a count of µJ", |t| t.parse().ok()) {
                Ok(now) => now,
                Err(error) => return error.into_reading(),
            };
            microjoules = microjoules.zip(package.last).map(|(sum, last)| {
                let rise = if now >= last {
                    now - last
                } else {
                    (package.range - last.min(package.range)).saturating_add(now)
                };
                sum + rise
            });
            package.last = Some(now);
        }
        match microjoules {
            Some(sum) if elapsed > 0.0 => reading_of(sum as f64 / 1e6 / elapsed),
            Some(_) | None => Reading::absent("power needs two looks"),
        }
    }

    fn megahertz(&self) -> Reading<f64> {
        let mut sum = 0.0;
        let mut count = 0.0;
        let step = self.cpus.len().div_ceil(MOST_CLOCKS).max(1);
        for cpu in self.cpus.iter().step_by(step) {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq");
            let read = self
                .root
                .parsed(&path, "a clock in kHz", |text| text.parse::<f64>().ok());
            match read {
                Ok(khz) => {
                    sum += khz / 1000.0;
                    count += 1.0;
                }
                Err(error) if error.is_missing() => {}
                Err(error) => return error.into_reading(),
            }
        }
        if count > 0.0 {
            Reading::Value(sum / count)
        } else {
            Reading::unsupported("the kernel does not scale clocks here")
        }
    }

    fn throttled(&self) -> Reading<u64> {
        let mut sum = None;
        for cpu in &self.cpus {
            let path =
                format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count");
            match self
                .root
                .parsed(&path, "a count", |text| text.parse::<u64>().ok())
            {
                Ok(count) => sum = Some(count.saturating_add(sum.unwrap_or(0))),
                Err(error) if error.is_missing() => {}
                Err(error) => return error.into_reading(),
            }
        }
        sum.map_or_else(
            || Reading::unsupported("these processors do not count throttling"),
            Reading::Value,
        )
    }
}

fn reading_of(watts: f64) -> Reading<Watts> {
    Watts::new(watts).map_or_else(|error| Reading::failed(error.to_string()), Reading::Value)
}

/// Zones of powercap that are whole packages.
fn packages(root: &Root) -> Vec<Package> {
    let mut found = Vec::new();
    for name in root.names(POWERCAP).unwrap_or_default() {
        let directory = format!("{POWERCAP}/{name}");
        let whole = root
            .value(&format!("{directory}/name"))
            .is_ok_and(|name| name.starts_with("package-"));
        // The same package is listed again for registers in memory.
        if !whole || name.starts_with("intel-rapl-mmio") {
            continue;
        }
        let range = root.parsed(
            &format!("{directory}/max_energy_range_uj"),
            "a count",
            |t| t.parse().ok(),
        );
        if let Ok(range) = range {
            found.push(Package {
                directory,
                range,
                last: None,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn heat_power_clock_and_throttling_of_a_machine_that_has_them() {
        let tree = Tree::new();
        for (file, text) in [
            ("/sys/class/hwmon/hwmon0/name", "coretemp"),
            ("/sys/class/hwmon/hwmon0/temp1_input", "61000"),
            ("/sys/class/hwmon/hwmon0/temp2_input", "73500"),
            ("/sys/class/hwmon/hwmon1/name", "nvme"),
            ("/sys/class/hwmon/hwmon1/temp1_input", "90000"),
            ("/sys/class/powercap/intel-rapl:0/name", "package-0"),
            ("/sys/class/powercap/intel-rapl:0/energy_uj", "1000"),
            (
                "/sys/class/powercap/intel-rapl:0/max_energy_range_uj",
                "262143328850",
            ),
            ("/sys/class/powercap/intel-rapl:0:0/name", "core"),
            (
                "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
                "3000000",
            ),
            (
                "/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq",
                "2000000",
            ),
            (
                "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
                "3",
            ),
            (
                "/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count",
                "4",
            ),
        ] {
            tree.file(file, text);
        }
        let mut sensors = ProcessorSensors::new(&tree.root(), &[0, 1]);
        let first = sensors.look();
        assert_eq!(first.hottest.get().map(Celsius::get), Some(73.5));
        assert_eq!(first.megahertz, Reading::Value(2500.0));
        assert_eq!(first.throttled, Reading::Value(7));
        assert!(first.power.value().is_none());
        // Backwards: the counter ran over.
        tree.file("/sys/class/powercap/intel-rapl:0/energy_uj", "500");
        let power = sensors.look().power;
        assert!(
            power.get().is_some_and(|watts| watts.get() > 0.0),
            "{power:?}"
        );
    }

    #[test]
    fn a_machine_without_sensors_says_so() {
        let look = ProcessorSensors::new(&Tree::new().root(), &[0]).look();
        assert!(matches!(look.hottest, Reading::Unsupported(_)));
        assert!(matches!(look.power, Reading::Unsupported(_)));
        assert!(matches!(look.megahertz, Reading::Unsupported(_)));
        assert!(matches!(look.throttled, Reading::Unsupported(_)));
    }
}
