//! GPUs of the process: what is allocated on each, and how each fares.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pages that nobody may touch around an allocation, bytes.
const GUARD: usize = 4096;

/// An allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Address of the first byte.
    pub address: u64,
    /// What was asked for.
    pub bytes: u64,
    mapped: usize,
    map: usize,
}

/// A GPU.
#[derive(Debug, Default)]
pub struct Gpu {
    /// By order of being taken.
    pub allocations: Vec<Allocation>,
    /// Launches by kernel, to count.
    pub launches: BTreeMap<String, u64>,
    /// Nothing that it was asked for ends any more.
    pub hung: bool,
    /// Every call gives this.
    pub lost: Option<i32>,
    /// Its own clock, which events tell: what it was asked for takes a time of its own, not the
    /// processor's, so that healthy GPUs are equally fast however busy the machine is.
    pub nanoseconds: u64,
}

impl Gpu {
    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.allocations.iter().map(|one| one.bytes).sum()
    }

    /// Address of a word of 8 bytes in the allocations of this size, counted through.
    pub fn word(&self, bytes: u64, word: u64) -> Option<u64> {
        let each = bytes / 8;
        let number = usize::try_from(word.checked_div(each)?).ok()?;
        let mut of_size = self.allocations.iter().filter(|one| one.bytes == bytes);
        Some(of_size.nth(number)?.address + word % each * 8)
    }
}

/// All GPUs, by index.
static GPUS: Mutex<BTreeMap<u32, Gpu>> = Mutex::new(BTreeMap::new());

/// All GPUs.
pub fn all() -> MutexGuard<'static, BTreeMap<u32, Gpu>> {
    GPUS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes memory; none where the system has none.
pub fn take(bytes: u64) -> Option<Allocation> {
    let size = usize::try_from(bytes).ok()?.next_multiple_of(GUARD);
    let mapped = size.checked_add(2 * GUARD)?;
    // SAFETY: a new private mapping, at an address of the kernel's choice.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            mapped,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if map == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: within the mapping that was just made.
    let inner = unsafe { map.byte_add(GUARD) };
    // SAFETY: the pages of `size` bytes there belong to the mapping.
    if unsafe { libc::mprotect(inner, size, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
        return None;
    }
    // The end of the memory lies at the end of its pages, as far as sixteen bytes allow.
    let shift = size - usize::try_from(bytes).ok()?.next_multiple_of(16);
    let start = if shift % 512 == 0 { shift } else { 0 };
    Some(Allocation {
        address: (inner.expose_provenance() + start) as u64,
        bytes,
        mapped,
        map: map.expose_provenance(),
    })
}

/// Gives memory back.
pub fn give_back(allocation: Allocation) {
    let map = std::ptr::with_exposed_provenance_mut(allocation.map);
    // SAFETY: made by `take`, and taken out of the list of what is there.
    unsafe { libc::munmap(map, allocation.mapped) };
}

/// A word of 8 bytes.
///
/// # Safety
/// The address is of live memory.
pub unsafe fn read(address: u64) -> u64 {
    let at = std::ptr::with_exposed_provenance::<u64>(usize::try_from(address).unwrap_or(0));
    // SAFETY: as the caller promises.
    unsafe { at.read_unaligned() }
}

/// Writes a word of 8 bytes.
///
/// # Safety
/// The address is of live memory.
pub unsafe fn write(address: u64, word: u64) {
    let at = std::ptr::with_exposed_provenance_mut::<u64>(usize::try_from(address).unwrap_or(0));
    // SAFETY: as the caller promises.
    unsafe { at.write_unaligned(word) };
}

/// Four bytes.
///
/// # Safety
/// The address is of live memory.
pub unsafe fn read_half(address: u64) -> u32 {
    let at = std::ptr::with_exposed_provenance::<u32>(usize::try_from(address).unwrap_or(0));
    // SAFETY: as the caller promises.
    unsafe { at.read_unaligned() }
}

/// Writes four bytes.
///
/// # Safety
/// The address is of live memory.
pub unsafe fn write_half(address: u64, half: u32) {
    let at = std::ptr::with_exposed_provenance_mut::<u32>(usize::try_from(address).unwrap_or(0));
    // SAFETY: as the caller promises.
    unsafe { at.write_unaligned(half) };
}
