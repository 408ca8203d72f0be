//! The IPMI specification's words: units (table 43-15), sensor types and their states (tables 42-2
//! and 42-3).

/// A unit; `None` for "unspecified" and codes that the specification does not have.
pub(super) fn unit(code: u8) -> Option<&'static str> {
    const UNITS: [&str; 93] = [
        "",
        "degrees C",
        "degrees F",
        "kelvins",
        "volts",
        "amps",
        "watts",
        "joules",
        "coulombs",
        "VA",
        "nits",
        "lumen",
        "lux",
        "candela",
        "kPa",
        "PSI",
        "newton",
        "CFM",
        "RPM",
        "Hz",
        "microsecond",
        "millisecond",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "mil",
        "inches",
        "feet",
        "cubic inches",
        "cubic feet",
        "mm",
        "cm",
        "m",
        "cubic cm",
        "cubic m",
        "liters",
        "fluid ounce",
        "radians",
        "steradians",
        "revolutions",
        "cycles",
        "gravities",
        "ounce",
        "pound",
        "ft-lb",
        "oz-in",
        "gauss",
        "gilberts",
        "henry",
        "millihenry",
        "farad",
        "microfarad",
        "ohms",
        "siemens",
        "mole",
        "becquerel",
        "PPM",
        "",
        "decibels",
        "dbA",
        "dbC",
        "gray",
        "sievert",
        "color temp degrees K",
        "bit",
        "kilobit",
        "megabit",
        "gigabit",
        "byte",
        "kilobyte",
        "megabyte",
        "gigabyte",
        "word",
        "dword",
        "qword",
        "line",
        "hit",
        "miss",
        "retry",
        "reset",
        "overrun",
        "underrun",
        "collision",
        "packets",
        "messages",
        "characters",
        "error",
        "correctable error",
        "uncorrectable error",
        "fatal error",
        "grams",
    ];
    UNITS
        .get(usize::from(code))
        .copied()
        .filter(|name| !name.is_empty())
}

/// A sensor type, in the form `power-supply`; unknown codes are `type-0x..`.
pub(super) fn sensor_type(code: u8) -> String {
    const TYPES: [&str; 45] = [
        "",
        "temperature",
        "voltage",
        "current",
        "fan",
        "physical-security",
        "platform-security",
        "processor",
        "power-supply",
        "power-unit",
        "cooling-device",
        "other-units",
        "memory",
        "drive-slot",
        "post-memory-resize",
        "system-firmware-progress",
        "event-logging-disabled",
        "watchdog-1",
        "system-event",
        "critical-interrupt",
        "button",
        "module-board",
        "microcontroller",
        "add-in-card",
        "chassis",
        "chip-set",
        "other-fru",
        "cable-interconnect",
        "terminator",
        "system-boot-initiated",
        "boot-error",
        "base-os-boot",
        "os-stop-shutdown",
        "slot-connector",
        "system-acpi-power-state",
        "watchdog-2",
        "platform-alert",
        "entity-presence",
        "monitor-asic",
        "lan",
        "management-subsystem-health",
        "battery",
        "session-audit",
        "version-change",
        "fru-state",
    ];
    TYPES
        .get(usize::from(code))
        .filter(|name| !name.is_empty())
        .map_or_else(|| format!("type-{code:#04x}"), |name| (*name).to_owned())
}

/// What bit `offset` of a sensor's states means, by its event/reading type and sensor type.
pub(super) fn state(reading_type: u8, sensor_type: u8, offset: u8) -> String {
    const SENSOR_SPECIFIC: u8 = 0x6f;
    let words: &[&str] = match reading_type {
        THRESHOLD_TYPE => &THRESHOLD,
        SENSOR_SPECIFIC => specific(sensor_type),
        generic => generic_states(generic),
    };
    words
        .get(usize::from(offset))
        .filter(|word| !word.is_empty())
        .map_or_else(
            || format!("state {offset} of type {reading_type:#04x}"),
            |w| (*w).to_owned(),
        )
}

/// What an event of a sensor means. Of a threshold it says which one was crossed, and then in which
/// direction, which changes nothing about what is asserted.
pub(super) fn event(reading_type: u8, sensor_type: u8, offset: u8) -> String {
    let offset = if reading_type == THRESHOLD_TYPE {
        offset / 2
    } else {
        offset
    };
    state(reading_type, sensor_type, offset)
}

/// Type of sensors with thresholds.
const THRESHOLD_TYPE: u8 = 0x01;

/// Crossed thresholds. In the order of a reading's bits; an event has two for each.
const THRESHOLD: [&str; 6] = [
    "at or below lower non-critical threshold",
    "at or below lower critical threshold",
    "at or below lower non-recoverable threshold",
    "at or above upper non-critical threshold",
    "at or above upper critical threshold",
    "at or above upper non-recoverable threshold",
];

/// States of the generic types (table 42-2).
fn generic_states(reading_type: u8) -> &'static [&'static str] {
    match reading_type {
        0x02 => &["idle", "active", "busy"],
        0x03 => &["state deasserted", "state asserted"],
        0x04 => &[
            "predictive failure deasserted",
            "predictive failure asserted",
        ],
        0x05 => &["limit not exceeded", "limit exceeded"],
        0x06 => &["performance met", "performance lags"],
        0x07 => &[
            "OK",
            "non-critical from OK",
            "critical from less severe",
            "non-recoverable from less severe",
            "non-critical from more severe",
            "critical from non-recoverable",
            "non-recoverable",
            "monitor",
            "informational",
        ],
        0x08 => &["device absent", "device present"],
        0x09 => &["device disabled", "device enabled"],
        0x0a => &[
            "running",
            "in test",
            "power off",
            "on line",
            "off line",
            "off duty",
            "degraded",
            "power save",
            "install error",
        ],
        0x0b => &[
            "fully redundant",
            "redundancy lost",
            "redundancy degraded",
            "non-redundant: sufficient from redundant",
            "non-redundant: sufficient from insufficient",
            "non-redundant: insufficient resources",
            "redundancy degraded from fully redundant",
            "redundancy degraded from non-redundant",
        ],
        0x0c => &[
            "D0 power state",
            "D1 power state",
            "D2 power state",
            "D3 power state",
        ],
        _ => &[],
    }
}

/// States of sensor types that have their own (table 42-3).
fn specific(sensor_type: u8) -> &'static [&'static str] {
    match sensor_type {
        0x05 => &[
            "general chassis intrusion",
            "drive bay intrusion",
            "I/O card area intrusion",
            "processor area intrusion",
            "LAN leash lost",
            "unauthorized dock",
            "fan area intrusion",
        ],
        0x07 => &[
            "IERR",
            "thermal trip",
            "FRB1/BIST failure",
            "FRB2/hang in POST failure",
            "FRB3/processor startup failure",
            "configuration error",
            "SM BIOS uncorrectable CPU-complex error",
            "presence detected",
            "disabled",
            "terminator presence detected",
            "throttled",
            "uncorrectable machine check exception",
            "correctable machine check error",
        ],
        0x08 => &[
            "presence detected",
            "failure detected",
            "predictive failure",
            "power supply input lost (AC/DC)",
            "power supply input lost or out of range",
            "power supply input out of range, but present",
            "configuration error",
            "inactive (standby)",
        ],
        0x09 => &[
            "power off or down",
            "power cycle",
            "240 VA power down",
            "interlock power down",
            "AC lost",
            "soft power control failure",
            "power unit failure detected",
            "predictive failure",
        ],
        0x0c => &[
            "correctable ECC or other correctable memory error",
            "uncorrectable ECC or other uncorrectable memory error",
            "parity",
            "memory scrub failed",
            "memory device disabled",
            "correctable ECC error logging limit reached",
            "presence detected",
            "configuration error",
            "spare",
            "memory automatically throttled",
            "critical overtemperature",
        ],
        0x0d => &[
            "drive presence",
            "drive fault",
            "predictive failure",
            "hot spare",
            "consistency check in progress",
            "in critical array",
            "in failed array",
            "rebuild in progress",
            "rebuild aborted",
        ],
        0x0f => &[
            "system firmware error",
            "system firmware hang",
            "system firmware progress",
        ],
        0x10 => &[
            "correctable memory error logging disabled",
            "event type logging disabled",
            "log area cleared",
            "all event logging disabled",
            "log full",
            "log almost full",
            "correctable machine check error logging disabled",
        ],
        0x12 => &[
            "system reconfigured",
            "OEM system boot event",
            "undetermined system hardware failure",
            "entry added to auxiliary log",
            "PEF action",
            "timestamp clock synch",
        ],
        0x13 => &[
            "front panel NMI",
            "bus timeout",
            "I/O channel check NMI",
            "software NMI",
            "PCI PERR",
            "PCI SERR",
            "EISA fail safe timeout",
            "bus correctable error",
            "bus uncorrectable error",
            "fatal NMI",
            "bus fatal error",
            "bus degraded",
        ],
        0x14 => &[
            "power button",
            "sleep button",
            "reset button",
            "FRU latch open",
            "FRU service",
        ],
        0x1e => &[
            "no bootable media",
            "non-bootable diskette",
            "PXE server not found",
            "invalid boot sector",
            "timeout waiting for selection of boot source",
        ],
        0x20 => &[
            "critical stop during OS load",
            "run-time critical stop",
            "OS graceful stop",
            "OS graceful shutdown",
            "soft shutdown initiated by PEF",
            "agent not responding",
        ],
        0x21 => &[
            "fault status",
            "identify status",
            "slot device installed",
            "ready for device installation",
            "ready for device removal",
            "slot power off",
            "device removal request",
            "interlock",
            "slot disabled",
            "slot holds spare device",
        ],
        0x23 => &[
            "timer expired",
            "hard reset",
            "power down",
            "power cycle",
            "",
            "",
            "",
            "",
            "timer interrupt",
        ],
        0x25 => &["entity present", "entity absent", "entity disabled"],
        0x28 => &[
            "sensor access degraded or unavailable",
            "controller access degraded or unavailable",
            "management controller off-line",
            "management controller unavailable",
            "sensor failure",
            "FRU failure",
        ],
        0x29 => &["battery low", "battery failed", "battery presence detected"],
        0x2b => &[
            "hardware change detected",
            "firmware or software change detected",
            "hardware incompatibility detected",
            "firmware or software incompatibility detected",
            "invalid or unsupported hardware version",
            "invalid or unsupported firmware or software version",
            "hardware change successful",
            "firmware or software change successful",
        ],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_specification() {
        assert_eq!(unit(18), Some("RPM"));
        assert_eq!(unit(6), Some("watts"));
        assert_eq!(unit(92), Some("grams"));
        assert_eq!(unit(0), None);
        assert_eq!(unit(200), None);
        assert_eq!(sensor_type(4), "fan");
        assert_eq!(sensor_type(0x2c), "fru-state");
        assert_eq!(sensor_type(0xc0), "type-0xc0");
        assert_eq!(state(0x6f, 0x08, 1), "failure detected");
        assert_eq!(state(0x0b, 0x09, 1), "redundancy lost");
        assert_eq!(state(0x6f, 0xc0, 3), "state 3 of type 0x6f");
    }
}
