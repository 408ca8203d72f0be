//! Temperatures of hwmon: `/sys/class/hwmon`.
//!
//! # Invariants
//! - A sensor's name does not depend on the number of its hwmon device, which changes from boot to
//!   boot: devices of one driver are numbered by their place in the device tree.

use std::collections::BTreeMap;

use cupel_model::Reading;
use cupel_model::snapshot::Sensor;
use cupel_model::units::Celsius;

use crate::error::ReadError;
use crate::root::Root;
use crate::sysfs::Attributes;

const CLASS: &str = "/sys/class/hwmon";

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
        let directory = format!("{CLASS}/{entry}");
        let kind = root
            .value(&format!("{directory}/name"))
            .unwrap_or_else(|_| "hwmon".to_owned());
        let place = root
            .resolve(&format!("{directory}/device"))
            .or_else(|_| root.resolve(&directory))
            .unwrap_or_else(|_| directory.clone());
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
    let at = Attributes::new(root, monitor.directory.as_str());
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
            let celsius = |file: &str| {
                at.parsed(
                    &format!("temp{number}_{file}"),
                    "a temperature in m°C",
                    temperature,
                )
            };
            Sensor {
                name: format!("{} {label}", monitor.name),
                temperature_celsius: celsius("input"),
                critical_celsius: celsius("crit"),
            }
        })
        .collect())
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
