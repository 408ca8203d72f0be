//! Calling the driver: announced, named, and with a refusal that says what the driver said.
//!
//! # Invariants
//! - No call without [`Announcer::calling`] before it.
//! - A symbol that the library lacks is a refusal like any other, and means "not offered".

mod notes;

use std::io::Write;
use std::os::unix::net::UnixStream;

use cupel_model::Reading;
use cupel_model::worker::{FromWorker, WorkerError, write_frame};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlReturn_t};

use crate::codes;

/// Tells the agent which call comes next.
pub struct Announcer<'s> {
    id: u64,
    socket: &'s UnixStream,
}

impl<'s> Announcer<'s> {
    /// For the request `id`.
    pub fn new(id: u64, socket: &'s UnixStream) -> Self {
        Self { id, socket }
    }

    /// About to call `call`: noted where the agent gave a place for that, else sent. Where the
    /// agent is gone, sending the answer will say so.
    pub fn calling(&self, call: &str, gpu: Option<u32>) {
        let message = FromWorker::Calling {
            id: self.id,
            call: call.to_owned(),
            gpu,
        };
        let mut frame = Vec::new();
        // Writing to memory does not fail, and a name fits.
        if write_frame(&mut frame, &message).is_ok() && !notes::note(&frame) {
            let _ = (&mut &*self.socket).write_all(&frame);
        }
    }
}

/// A call that gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The C function.
    pub call: &'static str,
    /// NVML's return code, where the function was reached.
    pub code: Option<nvmlReturn_t>,
    /// In words.
    pub what: String,
    /// Whether it means that GPU or driver do not offer the value.
    pub unsupported: bool,
}

/// What a call gave.
pub type Told<T> = Result<T, Refusal>;

impl Refusal {
    fn code(call: &'static str, code: nvmlReturn_t) -> Self {
        Self {
            call,
            code: Some(code),
            what: codes::words(code),
            unsupported: codes::is_unsupported(code),
        }
    }

    fn missing(call: &'static str) -> Self {
        Self {
            call,
            code: None,
            what: "the driver library has no such function".to_owned(),
            unsupported: true,
        }
    }

    /// The call succeeded, and what it gave cannot be.
    pub fn impossible(call: &'static str, what: impl Into<String>) -> Self {
        Self {
            call,
            code: None,
            what: what.into(),
            unsupported: false,
        }
    }

    /// As a reading without a value.
    pub fn reading<T>(self) -> Reading<T> {
        let why = format!("{}: {}", self.call, self.what);
        if self.unsupported {
            Reading::Unsupported(why)
        } else {
            Reading::Failed(why)
        }
    }

    /// As the failure of a whole request.
    pub fn error(self) -> WorkerError {
        WorkerError {
            call: self.call.to_owned(),
            code: self.code,
            what: self.what,
        }
    }
}

/// What a call gave, as a reading.
pub fn reading<T>(told: Told<T>) -> Reading<T> {
    told.map_or_else(Refusal::reading, Reading::Value)
}

/// As [`reading`], with the value changed.
pub fn reading_of<T, U>(told: Told<T>, change: impl FnOnce(T) -> U) -> Reading<U> {
    reading(told.map(change))
}

/// What the wrapper's error means.
pub fn refused(call: &'static str, error: NvmlError) -> Refusal {
    if matches!(error, NvmlError::FailedToLoadSymbol(_)) {
        return Refusal::missing(call);
    }
    if matches!(error, NvmlError::Utf8Error(_)) {
        return Refusal::impossible(call, "text that is not UTF-8");
    }
    // A code that the wrapper has no name for comes as `UnexpectedVariant`, which gives it back.
    Refusal::code(call, nvmlReturn_t::from(error))
}

/// One GPU, and the way to ask the driver about it.
pub struct Gpu<'n> {
    nvml: &'n Nvml,
    device: nvmlDevice_t,
    index: u32,
    announcer: &'n Announcer<'n>,
}

impl<'n> Gpu<'n> {
    /// The GPU `index`, whose handle is `device`.
    pub fn new(
        nvml: &'n Nvml,
        device: nvmlDevice_t,
        index: u32,
        announcer: &'n Announcer<'n>,
    ) -> Self {
        Self {
            nvml,
            device,
            index,
            announcer,
        }
    }

    /// The library's symbols.
    pub fn library(&self) -> &'n NvmlLib {
        self.nvml.lib()
    }

    /// A call by the safe wrapper; `call` is the C function that it makes.
    pub fn wrapped<T>(
        &self,
        call: &'static str,
        ask: impl FnOnce(&Device<'_>) -> Result<T, NvmlError>,
    ) -> Told<T> {
        self.announcer.calling(call, Some(self.index));
        // SAFETY: the handle was given by this library, which stays initialised while `nvml` is
        // borrowed.
        let device = unsafe { Device::new(self.device, self.nvml) };
        ask(&device).map_err(|error| refused(call, error))
    }

    /// A call by its symbol.
    pub fn raw<F: Copy, E, T>(
        &self,
        call: &'static str,
        symbol: &Result<F, E>,
        ask: impl FnOnce(F, nvmlDevice_t) -> (nvmlReturn_t, T),
    ) -> Told<T> {
        invoke(self.announcer, Some(self.index), call, symbol, |function| {
            ask(function, self.device)
        })
    }
}

/// Announces and makes one call, of a GPU or of none.
pub fn invoke<F: Copy, E, T>(
    announcer: &Announcer<'_>,
    gpu: Option<u32>,
    call: &'static str,
    symbol: &Result<F, E>,
    ask: impl FnOnce(F) -> (nvmlReturn_t, T),
) -> Told<T> {
    let Ok(function) = symbol else {
        return Err(Refusal::missing(call));
    };
    announcer.calling(call, gpu);
    match ask(*function) {
        (codes::SUCCESS, value) => Ok(value),
        (code, _) => Err(Refusal::code(call, code)),
    }
}

/// Calls `function(device, arguments…, &mut output)` and gives the output.
macro_rules! get {
    ($gpu:expr, $function:ident ( $($argument:expr),* ) -> $initial:expr) => {
        $gpu.raw(
            stringify!($function),
            &$gpu.library().$function,
            |function, device| {
                let mut output = $initial;
                // SAFETY: the function has the C signature that the bindings give it; the handle is
                // the library's own, and `output` is a live value of the type it writes.
                let code = unsafe { function(device, $($argument,)* &raw mut output) };
                (code, output)
            },
        )
    };
}
pub(crate) use get;
