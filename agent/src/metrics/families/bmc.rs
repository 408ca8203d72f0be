//! The management controller: its sensors by unit, its event log.

use cupel_model::snapshot::BmcSensor;

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{Parts, said};
use crate::metrics::text::Sink;

/// Units of the IPMI specification that have a family of their own, in the order of the families.
const CELSIUS: &str = "degrees C";
const RPM: &str = "RPM";
const VOLTS: &str = "volts";
const AMPERES: &str = "amps";
const WATTS: &str = "watts";

const OWN: [&str; 5] = [CELSIUS, RPM, VOLTS, AMPERES, WATTS];

pub(super) const GROUP: Group = Group {
    title: "Management controller",
    source: "bmc",
    families: &[
        Family::info(
            "cupel_bmc_info",
            &["firmware", "ipmi"],
            "Always 1: the management controller, asked in-band. Where it could not be asked there is no sample.",
            |at, out| {
                let Some(snapshot) = at.snapshot else { return };
                if let Some(bmc) = out.value(&snapshot.bmc) {
                    let ipmi = said(&bmc.ipmi_version);
                    out.one("", &[("firmware", said(&bmc.firmware)), ("ipmi", ipmi)]);
                }
            },
        ),
        Family::gauge(
            "cupel_bmc_temperature_celsius",
            Unit::Celsius,
            &["sensor"],
            "Temperature that a sensor of the management controller gives, in degrees Celsius.",
            |at, out| in_unit(at, out, CELSIUS),
        ),
        Family::gauge(
            "cupel_bmc_fan_speed_rpm",
            Unit::RevolutionsPerMinute,
            &["sensor"],
            "Speed of a fan, in revolutions per minute.",
            |at, out| in_unit(at, out, RPM),
        ),
        Family::gauge(
            "cupel_bmc_voltage_volts",
            Unit::Volts,
            &["sensor"],
            "Voltage, in volts.",
            |at, out| in_unit(at, out, VOLTS),
        ),
        Family::gauge(
            "cupel_bmc_current_amperes",
            Unit::Amperes,
            &["sensor"],
            "Current, in amperes.",
            |at, out| in_unit(at, out, AMPERES),
        ),
        Family::gauge(
            "cupel_bmc_power_watts",
            Unit::Watts,
            &["sensor"],
            "Power, in watts.",
            |at, out| in_unit(at, out, WATTS),
        ),
        Family::gauge(
            "cupel_bmc_sensor_value",
            Unit::None,
            &["sensor", "unit"],
            "Value of any other sensor, in the unit that its label unit names.",
            |at, out| {
                for sensor in sensors(at) {
                    let unit = sensor.unit.as_deref().unwrap_or_default();
                    if !OWN.contains(&unit) && analogue(sensor) {
                        let labels = [("sensor", &*sensor.name), ("unit", unit)];
                        out.reading("", &labels, &sensor.value);
                    }
                }
            },
        ),
        Family::info(
            "cupel_bmc_sensor_state",
            &["sensor", "kind", "state"],
            "Always 1: a state that a sensor of the management controller asserts or a threshold that it has crossed, in the words of the IPMI specification.",
            |at, out| {
                for sensor in sensors(at) {
                    for state in &sensor.states {
                        let kind = ("kind", &*sensor.kind);
                        out.one("", &[("sensor", &sensor.name), kind, ("state", state)]);
                    }
                }
            },
        ),
        Family::gauge(
            "cupel_bmc_event_log_records",
            Unit::None,
            &[],
            "Records in the event log of the management controller.",
            |at, out| {
                if let Some(bmc) = at.bmc()
                    && let Some(records) = out.value(&bmc.sel)
                {
                    out.put("", &[], records.len());
                }
            },
        ),
        Family::gauge(
            "cupel_bmc_event_log_overflowed",
            Unit::None,
            &[],
            "1 if the event log of the management controller has lost records, 0 if not.",
            |at, out| {
                if let Some(bmc) = at.bmc() {
                    out.reading("", &[], &bmc.sel_overflow);
                }
            },
        ),
    ],
};

fn sensors<'a>(at: &Parts<'a>) -> &'a [BmcSensor] {
    let sensors = at.bmc().and_then(|bmc| bmc.sensors.value());
    sensors.map_or(&[], Vec::as_slice)
}

/// Whether the sensor measures something: one that only has states gives no value.
fn analogue(sensor: &BmcSensor) -> bool {
    sensor.value.value().is_some() || sensor.value.is_failed()
}

fn in_unit(at: &Parts<'_>, out: &mut Sink, unit: &str) {
    for sensor in sensors(at) {
        if sensor.unit.as_deref() == Some(unit) {
            out.reading("", &[("sensor", &sensor.name)], &sensor.value);
        }
    }
}
