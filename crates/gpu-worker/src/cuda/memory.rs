//! Memory of a GPU, and memory of the host that a GPU can reach.

use std::ffi::c_void;
use std::rc::Rc;

use super::context::Context;
use super::library::{CudaError, call};
use super::stream::Stream;

/// Memory of a GPU.
pub struct DeviceMemory {
    context: Rc<Context>,
    address: u64,
    bytes: u64,
}

impl DeviceMemory {
    /// Takes some; nothing is written.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(context: &Rc<Context>, bytes: u64) -> Result<Self, CudaError> {
        context.enter()?;
        let mut address = 0;
        let cuda = context.cuda();
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        call!(cuda.cuMemAlloc_v2(&raw mut address, size))?;
        Ok(Self {
            context: Rc::clone(context),
            address,
            bytes,
        })
    }

    /// Where.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How much.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies from the host, at once.
    ///
    /// # Errors
    /// The driver's; it would not fit.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), CudaError> {
        let at = self.at(offset, data.len(), "cuMemcpyHtoD_v2")?;
        self.context.enter()?;
        let cuda = self.context.cuda();
        call!(cuda.cuMemcpyHtoD_v2(at, data.as_ptr().cast(), data.len()))
    }

    /// Copies to the host, at once. What the GPU was asked for before on this context's own streams
    /// must have been waited for.
    ///
    /// # Errors
    /// The driver's; there is not as much.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), CudaError> {
        let at = self.at(offset, data.len(), "cuMemcpyDtoH_v2")?;
        self.context.enter()?;
        let cuda = self.context.cuda();
        call!(cuda.cuMemcpyDtoH_v2(data.as_mut_ptr().cast(), at, data.len()))
    }

    /// Words of 8 bytes, to the GPU.
    ///
    /// # Errors
    /// As [`DeviceMemory::write`].
    pub fn write_words(&self, offset: u64, words: &[u64]) -> Result<(), CudaError> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(offset, &bytes)
    }

    /// Words of 8 bytes, from the GPU.
    ///
    /// # Errors
    /// As [`DeviceMemory::read`].
    pub fn read_words(&self, offset: u64, count: usize) -> Result<Vec<u64>, CudaError> {
        let mut bytes = vec![0; count * 8];
        self.read(offset, &mut bytes)?;
        Ok(bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
            .collect())
    }

    /// Words of 4 bytes, from the GPU.
    ///
    /// # Errors
    /// As [`DeviceMemory::read`].
    pub fn read_halves(&self, offset: u64, count: usize) -> Result<Vec<u32>, CudaError> {
        let mut bytes = vec![0; count * 4];
        self.read(offset, &mut bytes)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()))
            .collect())
    }

    /// Begins to fill it with one byte.
    ///
    /// # Errors
    /// The driver's.
    pub fn fill(&self, byte: u8, stream: &Stream) -> Result<(), CudaError> {
        self.context.enter()?;
        let cuda = self.context.cuda();
        let size = usize::try_from(self.bytes).unwrap_or(0);
        call!(cuda.cuMemsetD8Async(self.address, byte, size, stream.handle()))
    }

    /// Begins to copy all of `from` here.
    ///
    /// # Errors
    /// The driver's; it would not fit.
    pub fn copy_from_host(&self, from: &PinnedMemory, stream: &Stream) -> Result<(), CudaError> {
        let at = self.at(0, from.bytes(), "cuMemcpyHtoDAsync_v2")?;
        self.context.enter()?;
        let cuda = self.context.cuda();
        call!(cuda.cuMemcpyHtoDAsync_v2(at, from.pointer, from.bytes(), stream.handle()))
    }

    /// Begins to copy from here until `to` is full.
    ///
    /// # Errors
    /// The driver's; there is not as much.
    pub fn copy_to_host(&self, to: &PinnedMemory, stream: &Stream) -> Result<(), CudaError> {
        let at = self.at(0, to.bytes(), "cuMemcpyDtoHAsync_v2")?;
        self.context.enter()?;
        let cuda = self.context.cuda();
        call!(cuda.cuMemcpyDtoHAsync_v2(to.pointer, at, to.bytes(), stream.handle()))
    }

    fn at(&self, offset: u64, bytes: usize, call: &'static str) -> Result<u64, CudaError> {
        let end = offset.checked_add(bytes as u64);
        if end.is_none_or(|end| end > self.bytes) {
            return Err(CudaError::other(
                call,
                cupel_model::worker_burnin::BurnErrorKind::Other,
                format!("{bytes} bytes at {offset} of {}", self.bytes),
            ));
        }
        Ok(self.address + offset)
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        let cuda = self.context.cuda();
        if cuda.is_abandoned() || self.context.enter().is_err() {
            return;
        }
        // An error leaves nothing to be done: the memory ends with the context.
        let _ = call!(cuda.cuMemFree_v2(self.address));
    }
}

/// Memory of the host that is pinned, so that copy engines reach it.
pub struct PinnedMemory {
    context: Rc<Context>,
    pointer: *mut c_void,
    words: usize,
}

impl PinnedMemory {
    /// Takes some, near the processor that asks.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(context: &Rc<Context>, bytes: u64) -> Result<Self, CudaError> {
        /// `CU_MEMHOSTALLOC_PORTABLE`: pinned for every context.
        const PORTABLE: u32 = 1;
        context.enter()?;
        let words = usize::try_from(bytes / 8).unwrap_or(0);
        let mut pointer = std::ptr::null_mut();
        let cuda = context.cuda();
        call!(cuda.cuMemHostAlloc(&raw mut pointer, words * 8, PORTABLE))?;
        let memory = Self {
            context: Rc::clone(context),
            pointer,
            words,
        };
        if pointer.is_null() || !pointer.cast::<u64>().is_aligned() {
            return Err(CudaError::other(
                "cuMemHostAlloc",
                cupel_model::worker_burnin::BurnErrorKind::Other,
                "gave memory at an address that cannot be",
            ));
        }
        // Touched here, so that it lies where this thread runs, and holds values.
        // SAFETY: the driver gave `words * 8` bytes there, which nobody else knows.
        unsafe { std::ptr::write_bytes(pointer.cast::<u8>(), 0, words * 8) };
        Ok(memory)
    }

    fn bytes(&self) -> usize {
        self.words * 8
    }

    /// What is there. Copies that were begun must have been waited for.
    pub fn words(&mut self) -> &mut [u64] {
        // SAFETY: aligned, `words` long, initialised, alive while `self` is, and borrowed mutably:
        // only copy engines write there, and the caller has waited for them.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.cast(), self.words) }
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        let cuda = self.context.cuda();
        if cuda.is_abandoned() || self.context.enter().is_err() {
            return;
        }
        // An error leaves nothing to be done: the process ends soon.
        let _ = call!(cuda.cuMemFreeHost(self.pointer));
    }
}
