//! The service itself, and its reports to the inventory.

use crate::metrics::family::{Family, Group, Unit};
use crate::metrics::parts::Parts;
use crate::metrics::text::{Sink, labels};
use crate::metrics::view::{ProcessUse, Reporting, SourceState};

pub(super) const GROUP: Group = Group {
    title: "The service",
    source: "service",
    families: &[
        Family::info(
            "cupel_build_info",
            &["version"],
            "Always 1: the version of cupel that runs.",
            |_, out| out.one("", &[("version", env!("CARGO_PKG_VERSION"))]),
        ),
        Family::gauge(
            "cupel_start_timestamp_seconds",
            Unit::Time,
            &[],
            "When the service began, in seconds since 1970-01-01 UTC.",
            |at, out| out.some("", at.view.own.started_at),
        ),
        Family::gauge(
            "cupel_process_resident_bytes",
            Unit::Bytes,
            &["process"],
            "Resident memory of the service (cupel) and of its GPU workers (cupel-gpu-worker), in bytes.",
            |at, out| processes(at, out, |out, at, is| out.some(at, is.resident_bytes)),
        ),
        Family::counter(
            "cupel_process_cpu_seconds_total",
            Unit::Seconds,
            &["process"],
            "User and system time of the service (cupel) and of its GPU workers (cupel-gpu-worker), in seconds.",
            |at, out| processes(at, out, |out, at, is| out.some(at, is.cpu_seconds)),
        ),
        Family::gauge(
            "cupel_source_up",
            Unit::None,
            &["source"],
            "1 if the last read of a source gave something, 0 if it gave nothing or was not read yet.",
            |at, out| sources(at, out, |out, at, is| out.put(at, &[], is.up)),
        ),
        Family::gauge(
            "cupel_source_age_seconds",
            Unit::Seconds,
            &["source"],
            "Age of what a source last gave, in seconds.",
            |at, out| sources(at, out, |out, at, is| out.some(at, is.age_seconds)),
        ),
        Family::gauge(
            "cupel_source_read_seconds",
            Unit::Seconds,
            &["source"],
            "How long the last read of a source took, in seconds.",
            |at, out| sources(at, out, |out, at, is| out.some(at, is.took_seconds)),
        ),
        Family::counter(
            "cupel_judgements_total",
            Unit::None,
            &[],
            "Snapshots that were judged since the service began.",
            |at, out| out.put("", &[], at.view.own.judgements),
        ),
        Family::counter(
            "cupel_kernel_log_records_total",
            Unit::None,
            &[],
            "Records of the kernel log that were read since the service began.",
            |at, out| out.put("", &[], at.view.own.kernel_log_records),
        ),
        Family::counter(
            "cupel_kernel_log_lost_records_total",
            Unit::None,
            &[],
            "Records of the kernel log that the kernel overwrote before they were read, since the service began.",
            |at, out| out.put("", &[], at.view.own.kernel_log_lost),
        ),
        Family::counter(
            "cupel_gpu_workers_replaced_total",
            Unit::None,
            &[],
            "GPU workers that had to be replaced because a driver call hung or the worker died, since the service began.",
            |at, out| out.put("", &[], at.view.own.gpu_workers_replaced),
        ),
        Family::gauge(
            "cupel_state_saved",
            Unit::None,
            &[],
            "1 if what the service remembers is on disk, 0 if it is in memory alone and will be lost at the next start.",
            |at, out| out.some("", at.view.own.state_saved),
        ),
        Family::gauge(
            "cupel_driver_released",
            Unit::None,
            &[],
            "1 while the service has let go of all driver handles (cupel release), 0 otherwise.",
            |at, out| out.put("", &[], at.view.own.released_until.is_some()),
        ),
        Family::gauge(
            "cupel_driver_released_until_timestamp_seconds",
            Unit::Time,
            &[],
            "When the service takes driver handles again, in seconds since 1970-01-01 UTC; only while it has let go of them.",
            |at, out| out.some("", at.view.own.released_until),
        ),
        Family::gauge(
            "cupel_configuration_loaded_timestamp_seconds",
            Unit::Time,
            &[],
            "When the configuration that holds was loaded, in seconds since 1970-01-01 UTC.",
            |at, out| out.some("", at.view.own.configuration_loaded_at),
        ),
        Family::gauge(
            "cupel_configuration_refused",
            Unit::None,
            &[],
            "1 if the newest configuration was refused and an older one holds, 0 if not.",
            |at, out| out.put("", &[], at.view.own.configuration_refused),
        ),
    ],
};

pub(super) const REPORTING: Group = Group {
    title: "Reports to the inventory",
    source: "reporting",
    families: &[
        Family::gauge(
            "cupel_reporting_configured",
            Unit::None,
            &[],
            "1 if an inventory is configured, 0 if none is; then the other metrics of this group have no samples.",
            |at, out| out.put("", &[], at.view.own.reporting.is_some()),
        ),
        Family::gauge(
            "cupel_reports_waiting",
            Unit::None,
            &[],
            "Reports that wait to be delivered.",
            |at, out| reporting(at, |is| out.put("", &[], is.waiting)),
        ),
        Family::gauge(
            "cupel_reports_oldest_waiting_timestamp_seconds",
            Unit::Time,
            &[],
            "When the oldest report was made that waits, in seconds since 1970-01-01 UTC; none waits without a sample.",
            |at, out| reporting(at, |is| out.some("", is.oldest_waiting)),
        ),
        Family::gauge(
            "cupel_reports_spool_bytes",
            Unit::Bytes,
            &[],
            "Size of the reports that wait, in bytes on disk.",
            |at, out| reporting(at, |is| out.put("", &[], is.spool_bytes)),
        ),
        Family::counter(
            "cupel_reports_delivered_total",
            Unit::None,
            &[],
            "Reports that the inventory acknowledged since the service began.",
            |at, out| reporting(at, |is| out.put("", &[], is.delivered)),
        ),
        Family::counter(
            "cupel_reports_refused_total",
            Unit::None,
            &[],
            "Answers of the inventory that refused a report, since the service began.",
            |at, out| reporting(at, |is| out.put("", &[], is.refused)),
        ),
        Family::counter(
            "cupel_reports_failed_attempts_total",
            Unit::None,
            &[],
            "Attempts to deliver a report that got no usable answer, since the service began.",
            |at, out| reporting(at, |is| out.put("", &[], is.failed)),
        ),
        Family::counter(
            "cupel_reports_dropped_total",
            Unit::None,
            &["kind"],
            "Reports that were dropped for lack of space since the service began, by kind (heartbeat, full, changes).",
            |at, out| {
                reporting(at, |is| {
                    out.put("", &[("kind", "heartbeat")], is.dropped.heartbeats);
                    out.put("", &[("kind", "full")], is.dropped.fulls);
                    out.put("", &[("kind", "changes")], is.dropped.changes);
                });
            },
        ),
        Family::gauge(
            "cupel_reports_last_delivery_timestamp_seconds",
            Unit::Time,
            &[],
            "When the inventory last acknowledged a report, in seconds since 1970-01-01 UTC.",
            |at, out| reporting(at, |is| out.some("", is.last_delivery)),
        ),
    ],
};

fn reporting(at: &Parts<'_>, of: impl FnOnce(&Reporting)) {
    if let Some(is) = &at.view.own.reporting {
        of(is);
    }
}

fn sources(at: &Parts<'_>, out: &mut Sink, of: fn(&mut Sink, &str, &SourceState)) {
    for is in &at.view.own.sources {
        of(out, &labels(&[("source", &is.name)]), is);
    }
}

fn processes(at: &Parts<'_>, out: &mut Sink, of: fn(&mut Sink, &str, &ProcessUse)) {
    for is in &at.view.own.processes {
        of(out, &labels(&[("process", &is.name)]), is);
    }
}
