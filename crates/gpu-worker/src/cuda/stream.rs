//! What a GPU does one after the other, and marks in it.

use std::ffi::c_void;
use std::rc::Rc;

use super::codes;
use super::context::Context;
use super::library::{CudaError, call};

/// `CU_STREAM_DEFAULT`: what the stream is asked for comes after plain copies that were made before,
/// which may still be on their way when their function returns.
const ORDERED: u32 = 0;

/// A stream.
pub struct Stream {
    context: Rc<Context>,
    handle: *mut c_void,
}

impl Stream {
    /// A new one.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(context: &Rc<Context>) -> Result<Self, CudaError> {
        context.enter()?;
        let mut handle = std::ptr::null_mut();
        let cuda = context.cuda();
        call!(cuda.cuStreamCreate(&raw mut handle, ORDERED))?;
        Ok(Self {
            context: Rc::clone(context),
            handle,
        })
    }

    /// The driver's handle.
    pub fn handle(&self) -> *mut c_void {
        self.handle
    }

    /// Whose it is.
    pub fn context(&self) -> &Rc<Context> {
        &self.context
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let cuda = self.context.cuda();
        if cuda.is_abandoned() || self.context.enter().is_err() {
            return;
        }
        // An error leaves nothing to be done: the stream ends with the context.
        let _ = call!(cuda.cuStreamDestroy_v2(self.handle));
    }
}

/// A mark in a stream.
pub struct Event {
    context: Rc<Context>,
    handle: *mut c_void,
}

impl Event {
    /// A new one, nowhere yet.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(context: &Rc<Context>) -> Result<Self, CudaError> {
        context.enter()?;
        let mut handle = std::ptr::null_mut();
        let cuda = context.cuda();
        call!(cuda.cuEventCreate(&raw mut handle, 0))?;
        Ok(Self {
            context: Rc::clone(context),
            handle,
        })
    }

    /// Puts it behind what the stream was asked for.
    ///
    /// # Errors
    /// The driver's.
    pub fn record(&self, stream: &Stream) -> Result<(), CudaError> {
        stream.context.enter()?;
        let cuda = self.context.cuda();
        call!(cuda.cuEventRecord(self.handle, stream.handle))
    }

    /// Whether the stream has come there.
    ///
    /// # Errors
    /// The driver's, also that of anything that the stream was asked for before.
    pub fn happened(&self) -> Result<bool, CudaError> {
        self.context.enter()?;
        let cuda = self.context.cuda();
        match call!(cuda.cuEventQuery(self.handle)) {
            Ok(()) => Ok(true),
            Err(error) if error.code == Some(codes::NOT_READY) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Seconds from `earlier` to here, by the GPU's clock. Both must have happened.
    ///
    /// # Errors
    /// The driver's.
    pub fn seconds_since(&self, earlier: &Self) -> Result<f64, CudaError> {
        self.context.enter()?;
        let mut milliseconds = 0.0;
        let cuda = self.context.cuda();
        call!(cuda.cuEventElapsedTime(&raw mut milliseconds, earlier.handle, self.handle))?;
        Ok(f64::from(milliseconds) / 1000.0)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let cuda = self.context.cuda();
        if cuda.is_abandoned() || self.context.enter().is_err() {
            return;
        }
        // An error leaves nothing to be done: the mark ends with the context.
        let _ = call!(cuda.cuEventDestroy_v2(self.handle));
    }
}
