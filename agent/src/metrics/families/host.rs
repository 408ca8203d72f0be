//! Memory of the host, file systems, and temperatures.

use cupel_model::Snapshot;
use cupel_model::snapshot::Filesystem;

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::{Parts, said};
use crate::metrics::text::labels;

pub(super) const GROUP: Group = Group {
    title: "Host memory, file systems, temperatures",
    source: "host",
    families: &[
        Family::gauge(
            "cupel_memory_size_bytes",
            Unit::Bytes,
            &[],
            "Memory of the host, in bytes (MemTotal).",
            |at, out| {
                if let Some(snapshot) = at.snapshot {
                    out.reading("", &[], &snapshot.memory.total_bytes);
                }
            },
        ),
        Family::gauge(
            "cupel_memory_available_bytes",
            Unit::Bytes,
            &[],
            "Memory of the host that new work can have, in bytes (MemAvailable).",
            |at, out| {
                if let Some(snapshot) = at.snapshot {
                    out.reading("", &[], &snapshot.memory.available_bytes);
                }
            },
        ),
        Family::gauge(
            "cupel_dimm_size_bytes",
            Unit::Bytes,
            &["dimm"],
            "Size of the module in a memory socket, in bytes. An empty socket has no sample.",
            |at, out| {
                for dimm in all(at, |snapshot| &snapshot.memory.dimms) {
                    out.reading("", &[("dimm", &dimm.name)], &dimm.size_bytes);
                }
            },
        ),
        Family::info(
            "cupel_dimm_info",
            &["dimm", "serial", "part_number", "manufacturer", "kind"],
            "Always 1: the module in a memory socket.",
            |at, out| {
                for dimm in all(at, |snapshot| &snapshot.memory.dimms) {
                    if dimm.size_bytes.value().is_some() {
                        out.one(
                            "",
                            &[
                                ("dimm", &dimm.name),
                                ("serial", said(&dimm.serial)),
                                ("part_number", said(&dimm.part_number)),
                                ("manufacturer", said(&dimm.manufacturer)),
                                ("kind", said(&dimm.kind)),
                            ],
                        );
                    }
                }
            },
        ),
        Family::counter(
            "cupel_memory_errors_total",
            Unit::None,
            &["place", "label", "error"],
            "Memory errors that EDAC counted since boot, by place (mc0/dimm3) and error (corrected, uncorrected). Without an EDAC driver, or where firmware keeps them to itself, there is no sample; it is not zero.",
            |at, out| {
                for counter in all(at, |snapshot| &snapshot.memory.edac) {
                    let label = said(&counter.label);
                    let place = labels(&[("place", &counter.name), ("label", label)]);
                    out.counter(&place, &[("error", "corrected")], &counter.corrected);
                    out.counter(&place, &[("error", "uncorrected")], &counter.uncorrected);
                }
            },
        ),
        Family::gauge(
            "cupel_filesystem_size_bytes",
            Unit::Bytes,
            &["mount", "device", "kind"],
            "Size of a file system that the node needs, in bytes.",
            |at, out| filesystems(at, |at, is| out.reading(at, &[], &is.total_bytes)),
        ),
        Family::gauge(
            "cupel_filesystem_free_bytes",
            Unit::Bytes,
            &["mount", "device", "kind"],
            "Space on a file system that is free for root, in bytes.",
            |at, out| filesystems(at, |at, is| out.reading(at, &[], &is.free_bytes)),
        ),
        Family::gauge(
            "cupel_filesystem_read_only",
            Unit::None,
            &["mount", "device", "kind"],
            "1 if the file system is mounted read-only, 0 if it can be written.",
            |at, out| filesystems(at, |at, is| out.put(at, &[], is.read_only)),
        ),
        Family::gauge(
            "cupel_sensor_temperature_celsius",
            Unit::Celsius,
            &["sensor"],
            "Temperature that a sensor of hwmon gives, in degrees Celsius.",
            |at, out| {
                for sensor in all(at, |snapshot| &snapshot.sensors) {
                    let labels = [("sensor", &*sensor.name)];
                    out.reading("", &labels, &sensor.temperature_celsius);
                }
            },
        ),
        Family::gauge(
            "cupel_sensor_critical_celsius",
            Unit::Celsius,
            &["sensor"],
            "Critical limit of a sensor of hwmon, in degrees Celsius.",
            |at, out| {
                for sensor in all(at, |snapshot| &snapshot.sensors) {
                    out.reading("", &[("sensor", &sensor.name)], &sensor.critical_celsius);
                }
            },
        ),
    ],
};

fn all<'a, T>(at: &Parts<'a>, of: fn(&Snapshot) -> &Vec<T>) -> &'a [T] {
    at.snapshot.map_or(&[], |snapshot| of(snapshot))
}

fn filesystems(at: &Parts<'_>, mut of: impl FnMut(&str, &Filesystem)) {
    for is in all(at, |snapshot| &snapshot.filesystems) {
        let labels = labels(&[
            ("mount", &is.name),
            ("device", &is.device),
            ("kind", &is.kind),
        ]);
        of(&labels, is);
    }
}
