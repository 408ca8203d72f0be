//! Temperatures of hwmon: `/sys/class/hwmon`.
//!
//! # Invariants
//! - A sensor's name does not depend on the number of its hwmon device, which changes from boot to
//!   boot: devices of one driver are numbered by their place in the device tree.

use std::collections::BTreeMap;
use std::time::Duration;

use cupel_model::Reading;
use cupel_model::snapshot::Sensor;
use cupel_model::units::Celsius;

use crate::clock;
use crate::error::ReadError;
use crate::root::{Directory, Identity, Root};
use crate::sysfs::Attributes;

const CLASS: &str = "/sys/class/hwmon";

/// How long names and limits of sensors are believed.
const BELIEVED: Duration = Duration::from_secs(3600);

/// One hwmon device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// What its sensors' names begin with: driver and number among its own kind, `coretemp/0`.
    pub name: String,
    directory: String,
}

/// The hwmon devices, by name. No class directory is no device.
///
/// # Errors
/// As the system says.
pub fn monitors(root: &Root) -> Result<Vec<Monitor>, ReadError> {
    let entries = match root.names(CLASS) {
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        other => other?,
    };
    let mut kinds: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for entry in entries {
        let directory = Directory::new(root, format!("{CLASS}/{entry}"));
        let kind = directory
            .value("name")
            .unwrap_or_else(|_| "hwmon".to_owned());
        let device = directory.below("device");
        let place = device
            .resolve()
            .or_else(|_| directory.resolve())
            .unwrap_or_else(|_| directory.path().to_owned());
        let directory = directory.path().to_owned();
        kinds.entry(kind).or_default().push((place, directory));
    }
    let mut monitors = Vec::new();
    for (kind, mut places) in kinds {
        places.sort();
        for (index, (_, directory)) in places.into_iter().enumerate() {
            monitors.push(Monitor {
                name: format!("{kind}/{index}"),
                directory,
            });
        }
    }
    Ok(monitors)
}

/// The temperatures of one device, by number of the sensor.
///
/// # Errors
/// As the system says.
pub fn read(root: &Root, monitor: &Monitor) -> Result<Vec<Sensor>, ReadError> {
    Chip::default().read(root, monitor)
}

/// One device, read again and again: which sensors it has, what they are called and where they are
/// critical is kept, and read again when another device has its place and after a while.
#[derive(Debug, Default)]
pub struct Chip(Option<Known>);

#[derive(Debug)]
struct Known {
    identity: Option<Identity>,
    /// Until when it is believed, as time since boot.
    until: Duration,
    sensors: Vec<(u32, Sensor)>,
}

impl Chip {
    /// The temperatures, by number of the sensor.
    ///
    /// # Errors
    /// As the system says.
    pub fn read(&mut self, root: &Root, monitor: &Monitor) -> Result<Vec<Sensor>, ReadError> {
        let mut at = Attributes::new(root, monitor.directory.as_str());
        let now = clock::since_boot();
        if let Some(known) = &self.0
            && now < known.until
            && at.is_still(known.identity)
        {
            let again = |(number, sensor): &(u32, Sensor)| Sensor {
                name: sensor.name.clone(),
                temperature_celsius: celsius(&at, *number, "input"),
                critical_celsius: sensor.critical_celsius.clone(),
            };
            return Ok(known.sensors.iter().map(again).collect());
        }
        let sensors = sensors(&at, &monitor.name)?;
        let told = sensors.iter().map(|(_, sensor)| sensor.clone()).collect();
        self.0 = Some(Known {
            identity: at.directory().identity(),
            until: now.saturating_add(BELIEVED),
            sensors,
        });
        Ok(told)
    }
}

fn sensors(at: &Attributes, monitor: &str) -> Result<Vec<(u32, Sensor)>, ReadError> {
    let mut numbers: Vec<u32> = at
        .directory()
        .names()?
        .iter()
        .filter_map(|name| {
            name.strip_prefix("temp")?
                .strip_suffix("_input")?
                .parse()
                .ok()
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers
        .into_iter()
        .map(|number| {
            let label = match at.value(&format!("temp{number}_label")) {
                Reading::Value(label) => label,
                Reading::Absent(_) | Reading::Unsupported(_) | Reading::Failed(_) => {
                    format!("temp{number}")
                }
            };
            let sensor = Sensor {
                name: format!("{monitor} {label}"),
                temperature_celsius: celsius(at, number, "input"),
                critical_celsius: celsius(at, number, "crit"),
            };
            (number, sensor)
        })
        .collect())
}

fn celsius(at: &Attributes, number: u32, file: &str) -> Reading<Celsius> {
    let file = format!("temp{number}_{file}");
    at.parsed(&file, "a temperature in m°C", temperature)
}

/// Thousandths of a degree; what no sensor can mean is refused.
fn temperature(text: &str) -> Option<Celsius> {
    let thousandths: i32 = text.parse().ok()?;
    let celsius = f64::from(thousandths) / 1000.0;
    (-273.15..1000.0)
        .contains(&celsius)
        .then(|| Celsius::new(celsius).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn again_is_as_new() {
        let tree = Tree::new();
        let place = format!("{CLASS}/hwmon0");
        for (file, value) in [
            ("name", "nvme\n"),
            ("temp1_label", "Composite\n"),
            ("temp1_input", "40000\n"),
            ("temp1_crit", "84850\n"),
        ] {
            tree.file(&format!("{place}/{file}"), value);
        }
        let root = tree.root();
        let monitor = monitors(&root).expect("class").remove(0);
        let mut chip = Chip::default();
        assert_eq!(chip.read(&root, &monitor), read(&root, &monitor));
        tree.file(&format!("{place}/temp1_input"), "41000\n");
        let again = chip.read(&root, &monitor).expect("chip");
        assert_eq!(Ok(&again), read(&root, &monitor).as_ref());
        assert_eq!(
            again[0].temperature_celsius.get().map(f64::from),
            Some(41.0)
        );
        tree.replace(&format!("{place}/temp2_input"), "50000\n");
        assert_eq!(chip.read(&root, &monitor).expect("chip").len(), 2);
        tree.remove_directory(&place);
        assert!(chip.read(&root, &monitor).is_err());
    }

    #[test]
    fn names_do_not_depend_on_hwmon_numbers() {
        let tree = Tree::new();
        for (hwmon, package) in [("hwmon4", "0"), ("hwmon1", "1")] {
            let device = format!("/sys/devices/platform/coretemp.{package}");
            let place = format!("{device}/hwmon/{hwmon}");
            tree.file(&format!("{place}/name"), "coretemp\n");
            tree.file(
                &format!("{place}/temp1_label"),
                format!("Package id {package}\n"),
            );
            tree.file(&format!("{place}/temp1_input"), format!("4{package}500\n"));
            tree.file(&format!("{place}/temp1_crit"), "100000\n");
            tree.file(&format!("{place}/temp2_input"), "broken\n");
            tree.link(
                &format!("{place}/device"),
                &format!("../../../coretemp.{package}"),
            );
            let target = format!("../../devices/platform/coretemp.{package}/hwmon/{hwmon}");
            tree.link(&format!("{CLASS}/{hwmon}"), &target);
        }
        let root = tree.root();
        let monitors = monitors(&root).expect("class");
        let sensors: Vec<Sensor> = monitors
            .iter()
            .flat_map(|m| read(&root, m).expect("device"))
            .collect();
        let told: Vec<_> = sensors
            .iter()
            .map(|s| (s.name.as_str(), s.temperature_celsius.get().map(f64::from)))
            .collect();
        assert_eq!(
            told,
            [
                ("coretemp/0 Package id 0", Some(40.5)),
                ("coretemp/0 temp2", None),
                ("coretemp/1 Package id 1", Some(41.5)),
                ("coretemp/1 temp2", None),
            ]
        );
        assert!(sensors[1].temperature_celsius.is_failed());
        assert!(matches!(sensors[1].critical_celsius, Reading::Absent(_)));
        assert_eq!(
            sensors[0].critical_celsius.get().map(f64::from),
            Some(100.0)
        );
    }
}
