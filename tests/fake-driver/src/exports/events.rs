//! Event sets: what the answer book's list of events delivers, each event once to each set.

use std::collections::{BTreeMap, BTreeSet};
use std::os::raw::{c_uint, c_ulonglong};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlEventData_t, nvmlReturn_t};

use super::system::on_system;
use super::values;
use crate::book;
use crate::fault::{
    INVALID_ARGUMENT, NOT_SUPPORTED, Output, SUCCESS, TIMEOUT, handle, index, on_gpu, put,
};
use crate::state::Event;

/// How often the answer book is looked at while waiting.
const TURN: Duration = Duration::from_millis(5);

/// One set.
struct Set {
    made: Instant,
    /// Types by GPU.
    registered: BTreeMap<u32, u64>,
    /// Places in the answer book's list.
    delivered: BTreeSet<usize>,
}

impl Set {
    /// The next event that is due.
    fn next(&mut self, events: &[Event]) -> Option<Event> {
        let passed = self.made.elapsed();
        let (at, event) = events.iter().enumerate().find(|(at, event)| {
            let types = self.registered.get(&event.gpu).copied().unwrap_or(0);
            !self.delivered.contains(at)
                && types & event.event_type != 0
                && passed >= Duration::from_millis(event.delay_ms)
        })?;
        self.delivered.insert(at);
        Some(*event)
    }
}

/// The sets by handle; a handle is a number that is never followed.
static SETS: Mutex<BTreeMap<usize, Set>> = Mutex::new(BTreeMap::new());

fn sets() -> MutexGuard<'static, BTreeMap<usize, Set>> {
    SETS.lock().unwrap_or_else(PoisonError::into_inner)
}

values! {
    nvmlDeviceGetSupportedEventTypes() -> c_ulonglong = |gpu| gpu.event_types;
}

/// `nvmlEventSetCreate`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetCreate(to: *mut *mut ()) -> nvmlReturn_t {
    on_system("nvmlEventSetCreate", &[Output::one(to)], |_| {
        let mut sets = sets();
        let name = sets.keys().next_back().map_or(1, |last| last + 1);
        let set = Set {
            made: Instant::now(),
            registered: BTreeMap::new(),
            delivered: BTreeSet::new(),
        };
        sets.insert(name, set);
        // SAFETY: the caller of the C function gives a live output.
        unsafe { put(to, Some(std::ptr::without_provenance_mut(name))) }
    })
}

/// `nvmlDeviceRegisterEvents`.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(
    device: *const (),
    types: c_ulonglong,
    set: *const (),
) -> nvmlReturn_t {
    on_gpu("nvmlDeviceRegisterEvents", device, &[], |gpu| {
        if gpu.event_types.is_none_or(|offered| types & !offered != 0) {
            return NOT_SUPPORTED;
        }
        let mut sets = sets();
        match (sets.get_mut(&set.addr()), index(device)) {
            (Some(set), Some(index)) => {
                *set.registered.entry(index).or_default() |= types;
                SUCCESS
            }
            _ => INVALID_ARGUMENT,
        }
    })
}

/// `nvmlEventSetWait_v2`.
///
/// # Safety
/// As NVML's header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetWait_v2(
    set: *const (),
    to: *mut nvmlEventData_t,
    milliseconds: c_uint,
) -> nvmlReturn_t {
    on_system("nvmlEventSetWait_v2", &[Output::one(to)], |_| {
        let until = Instant::now() + Duration::from_millis(u64::from(milliseconds));
        loop {
            let events = book::current().map_or_else(Vec::new, |book| book.events.clone());
            let due = match sets().get_mut(&set.addr()) {
                Some(set) => set.next(&events),
                None => return INVALID_ARGUMENT,
            };
            if let Some(event) = due {
                let data = nvmlEventData_t {
                    device: handle(event.gpu).cast::<_>() as nvmlDevice_t,
                    eventType: event.event_type,
                    eventData: event.data,
                    gpuInstanceId: u32::MAX,
                    computeInstanceId: u32::MAX,
                };
                // SAFETY: the caller of the C function gives a live output.
                return unsafe { put(to, Some(data)) };
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return TIMEOUT;
            }
            sleep(left.min(TURN));
        }
    })
}

/// `nvmlEventSetFree`.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(set: *const ()) -> nvmlReturn_t {
    on_system("nvmlEventSetFree", &[], |_| {
        match sets().remove(&set.addr()) {
            Some(_) => SUCCESS,
            None => INVALID_ARGUMENT,
        }
    })
}
