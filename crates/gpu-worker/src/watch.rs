//! Events of the driver, for a while.
//!
//! # Invariants
//! - The handle in an event is compared with those that were registered, and never followed.
//! - Equal events are folded, and both their kinds and their number are bounded: a driver that
//!   delivers without end keeps neither the worker nor its memory.
//! - Watching that ended early is told: no events is never said of a time that was not watched.
//!
//! # What is absent
//! The MIG instance of an event. The driver gives no time; an event's is when it arrived.

use std::time::{Duration, Instant};

use cupel_model::snapshot::{GpuEvent, Problem};
use cupel_model::worker::Watched;
use cupel_model::{PciAddress, Reading, Timestamp};
use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t, nvmlEventTypeXidCriticalError,
};

use crate::calls::{Announcer, Gpu, Refusal, Told, get, invoke};
use crate::codes;

/// Most different events that are kept.
const KINDS_MAX: usize = 1024;

/// Most events that are taken from the driver.
const EVENTS_MAX: u32 = 65_536;

/// Pause after a wait that ended before its time.
const PAUSE: Duration = Duration::from_millis(100);

/// The bits of an event's type, from bit 0.
const KINDS: [Option<&str>; 16] = [
    Some("single-bit-ecc"),
    Some("double-bit-ecc"),
    Some("pstate"),
    Some("xid"),
    Some("clock"),
    None,
    None,
    Some("power-source"),
    Some("mig-config"),
    Some("single-bit-ecc-storm"),
    Some("dram-retirement"),
    Some("dram-retirement-failure"),
    Some("non-fatal-poison"),
    Some("fatal-poison"),
    Some("gpu-unavailable"),
    Some("gpu-recovery-action"),
];

/// A GPU to watch.
pub struct Watchable<'n> {
    /// NVML index.
    pub index: u32,
    /// The library's handle.
    pub device: nvmlDevice_t,
    /// Where it is.
    pub pci: &'n Reading<PciAddress>,
    /// The way to ask about it.
    pub gpu: Gpu<'n>,
}

/// Watches these GPUs for `time`.
pub fn watch(
    library: &NvmlLib,
    gpus: &[Watchable<'_>],
    time: Duration,
    announcer: &Announcer<'_>,
) -> Watched {
    let until = Instant::now() + time;
    let created = invoke(
        announcer,
        None,
        "nvmlEventSetCreate",
        &library.nvmlEventSetCreate,
        |function| {
            let mut set: nvmlEventSet_t = std::ptr::null_mut();
            // SAFETY: the signature is the bindings'; `set` is live.
            (unsafe { function(&raw mut set) }, set)
        },
    );
    match created {
        Ok(set) => {
            let watched = in_set(library, set, gpus, until, announcer);
            // A set that stays behind ends with the process; there is nothing to tell.
            let _ = invoke(
                announcer,
                None,
                "nvmlEventSetFree",
                &library.nvmlEventSetFree,
                // SAFETY: the signature is the bindings'; the set is the library's own, used no more.
                |function| (unsafe { function(set) }, ()),
            );
            watched
        }
        Err(refusal) => Watched {
            events: refusal.reading(),
            problems: Vec::new(),
        },
    }
}

fn in_set(
    library: &NvmlLib,
    set: nvmlEventSet_t,
    gpus: &[Watchable<'_>],
    until: Instant,
    announcer: &Announcer<'_>,
) -> Watched {
    let mut registered = Vec::new();
    let mut refused = Vec::new();
    for gpu in gpus {
        match register(&gpu.gpu, set) {
            Ok(()) => registered.push(gpu),
            Err(refusal) => refused.push((gpu.index, refusal)),
        }
    }
    let mut problems: Vec<Problem> = refused
        .iter()
        .map(|(index, refusal)| {
            let (call, what) = (refusal.call, &refusal.what);
            problem(format!("GPU {index}: events not watched: {call}: {what}"))
        })
        .collect();
    if registered.is_empty() {
        // Where none offers events, one reason stands for all.
        if refused.iter().all(|(_, refusal)| refusal.unsupported) {
            problems.clear();
        }
        let events = match refused.into_iter().next() {
            Some((_, refusal)) => refusal.reading(),
            None => Reading::failed("no GPU has a handle to watch"),
        };
        return Watched { events, problems };
    }
    let mut seen = Seen::default();
    let ended = wait_until(library, set, &registered, until, announcer, &mut seen);
    let events = match ended {
        Err(refusal) if seen.events.is_empty() => refusal.reading(),
        Err(refusal) => {
            let (call, what) = (refusal.call, refusal.what);
            problems.push(problem(format!(
                "events were not watched to the end: {call}: {what}"
            )));
            Reading::Value(seen.events)
        }
        Ok(()) => Reading::Value(seen.events),
    };
    Watched { events, problems }
}

fn problem(why: String) -> Problem {
    Problem {
        source: "gpu-worker".to_owned(),
        why,
    }
}

/// Registers for all events that the GPU offers.
fn register(gpu: &Gpu<'_>, set: nvmlEventSet_t) -> Told<()> {
    let types = get!(gpu, nvmlDeviceGetSupportedEventTypes() -> 0)?;
    let call = "nvmlDeviceRegisterEvents";
    let symbol = &gpu.library().nvmlDeviceRegisterEvents;
    gpu.raw(call, symbol, |function, device| {
        // SAFETY: the signature is the bindings'; handle and set are the library's own.
        (unsafe { function(device, types, set) }, ())
    })
}

fn wait_until(
    library: &NvmlLib,
    set: nvmlEventSet_t,
    registered: &[&Watchable<'_>],
    until: Instant,
    announcer: &Announcer<'_>,
    seen: &mut Seen,
) -> Told<()> {
    let call = "nvmlEventSetWait_v2";
    for _ in 0..EVENTS_MAX {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let milliseconds = u32::try_from(left.as_millis().max(1)).unwrap_or(u32::MAX);
        let symbol = &library.nvmlEventSetWait_v2;
        let told = invoke(announcer, None, call, symbol, |function| {
            let mut data = nvmlEventData_t {
                device: std::ptr::null_mut(),
                eventType: 0,
                eventData: 0,
                gpuInstanceId: 0,
                computeInstanceId: 0,
            };
            // SAFETY: the signature is the bindings'; the set is the library's own, `data` is live.
            let code = unsafe { function(set, &raw mut data, milliseconds) };
            (code, data)
        });
        match told {
            Ok(data) => {
                let of = registered.iter().find(|gpu| gpu.device == data.device);
                let gpu = of.ok_or_else(|| {
                    Refusal::impossible(call, "an event of a GPU that was not registered")
                })?;
                seen.note(gpu.index, gpu.pci, data.eventType, data.eventData, now());
            }
            Err(refusal) if refusal.code == Some(codes::TIMEOUT) => {
                let early = until.saturating_duration_since(Instant::now());
                std::thread::sleep(early.min(PAUSE));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Err(Refusal::impossible(
        call,
        format!("more than {EVENTS_MAX} events; the rest was not read"),
    ))
}

/// The events so far, folded.
#[derive(Default)]
struct Seen {
    events: Vec<GpuEvent>,
}

impl Seen {
    /// One event for each bit of its type; one of no type says nothing.
    fn note(
        &mut self,
        index: u32,
        pci: &Reading<PciAddress>,
        types: u64,
        data: u64,
        time: Timestamp,
    ) {
        for bit in (0_usize..64).filter(|bit| types >> bit & 1 == 1) {
            let kind = KINDS
                .get(bit)
                .copied()
                .flatten()
                .map_or_else(|| format!("bit-{bit}"), str::to_owned);
            let is_xid = 1_u64 << bit == u64::from(nvmlEventTypeXidCriticalError);
            let xid = u32::try_from(data).ok().filter(|_| is_xid);
            let same = self
                .events
                .iter_mut()
                .find(|event| event.index == index && event.kind == kind && event.xid == xid);
            if let Some(event) = same {
                event.repeats = event.repeats.saturating_add(1);
            } else if self.events.len() < KINDS_MAX {
                self.events.push(GpuEvent {
                    index,
                    pci: pci.clone(),
                    kind,
                    xid,
                    time,
                    repeats: 1,
                });
            }
        }
    }
}

/// The time now, by the wall clock.
fn now() -> Timestamp {
    use std::time::SystemTime;
    #[expect(
        clippy::disallowed_methods,
        reason = "the worker is part of collection: an event has no time but that of its arrival"
    )]
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let microseconds = i64::try_from(since_epoch.as_micros()).unwrap_or_default();
    Timestamp::from_microseconds(microseconds).unwrap_or(Timestamp::EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_are_folded_and_every_bit_has_a_name() {
        let pci = Reading::absent("");
        let mut seen = Seen::default();
        let at = now();
        seen.note(2, &pci, 8, 95, at);
        seen.note(2, &pci, 8, 95, at);
        seen.note(3, &pci, 8, 95, at);
        seen.note(2, &pci, 1 << 40 | 1, 95, at);
        seen.note(2, &pci, 0, 95, at);
        let told: Vec<_> = seen
            .events
            .iter()
            .map(|event| (event.index, &*event.kind, event.xid, event.repeats))
            .collect();
        assert_eq!(
            told,
            [
                (2, "xid", Some(95), 2),
                (3, "xid", Some(95), 1),
                (2, "single-bit-ecc", None, 1),
                (2, "bit-40", None, 1),
            ]
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut seen = Seen::default();
        for code in 0..5000 {
            seen.note(0, &Reading::absent(""), 8, code, now());
        }
        assert_eq!(seen.events.len(), KINDS_MAX);
    }
}
