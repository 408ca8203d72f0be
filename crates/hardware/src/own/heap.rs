//! The heap of a program that runs for years.
//!
//! # Invariants
//! - There is one for all threads, whichever C library there is. The service has a dozen threads
//!   that wait most of the time and pass on what they read: a heap for each, as others give them,
//!   costs twice the memory and saves no time.
//! - What is large has pages of its own, which the kernel has back as soon as it is freed: a page of
//!   metrics every few seconds leaves no holes.
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its nature; both kinds are told apart by their layout alone"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

use dlmalloc::GlobalDlmalloc;
use nix::sys::mman::{MRemapFlags, MapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// What has pages of its own, in bytes.
const LARGE: usize = 64 * 1024;

/// The smallest page of any Linux: mappings begin at multiples of it.
const PAGE: usize = 4096;

/// One heap for what is small, pages for what is large.
pub struct Heap;

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// Pages for so many bytes, all zero; null where there are none.
fn map(size: usize) -> *mut u8 {
    let Some(size) = NonZeroUsize::new(size) else {
        return ptr::null_mut();
    };
    // SAFETY: the kernel chooses the place, so that it overlaps nothing.
    let mapped = unsafe {
        mmap_anonymous(
            None,
            size,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )
    };
    mapped.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
}

// SAFETY: a layout is large or it is not, and is given back as it was asked for: each pointer goes
// back to where it came from. Pages that were mapped are as long as was asked for, or longer.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { GlobalDlmalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { GlobalDlmalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if !is_large(layout) {
            // SAFETY: as the caller promises; what is not large came from there.
            unsafe { GlobalDlmalloc.dealloc(place, layout) };
        } else if let Some(place) = NonNull::new(place.cast::<c_void>()) {
            // SAFETY: what is large is a mapping of this size, and the caller uses it no more. A
            // mapping that cannot be undone stays: nothing else is to be done about it here.
            let _ = unsafe { munmap(place, layout.size()) };
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size fits the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(wanted)) {
            // SAFETY: as the caller promises; both sizes are of that heap.
            (false, false) => unsafe { GlobalDlmalloc.realloc(place, layout, size) },
            (true, true) => {
                let Some(place) = NonNull::new(place.cast::<c_void>()) else {
                    return ptr::null_mut();
                };
                let moved =
                    // SAFETY: a mapping of this size, which the caller gives up where it moves.
                    unsafe { mremap(place, layout.size(), size, MRemapFlags::MREMAP_MAYMOVE, None) };
                moved.map_or(ptr::null_mut(), |place| place.as_ptr().cast())
            }
            (true, false) | (false, true) => {
                // SAFETY: the size is not zero, as the caller promises.
                let new = unsafe { self.alloc(wanted) };
                if !new.is_null() {
                    // SAFETY: both are there, apart, and as long as the shorter of the two.
                    unsafe {
                        ptr::copy_nonoverlapping(place, new, layout.size().min(size));
                        self.dealloc(place, layout);
                    }
                }
                new
            }
        }
    }
}
