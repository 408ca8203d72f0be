//! The library: loaded, its symbols found, and called.

use std::cell::Cell;
use std::ffi::c_void;
use std::os::raw::{c_char, c_int, c_uint};
use std::rc::Rc;
use std::sync::Arc;

use cupel_model::worker_burnin::{BurnError, BurnErrorKind};

use super::args::LaunchConfig;
use super::codes;
use crate::burn::Board;

/// A driver call that gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaError {
    /// The C function, or `dlopen`.
    pub call: &'static str,
    /// CUDA's result, where the function was reached.
    pub code: Option<i32>,
    /// In words.
    pub what: String,
    /// What it means.
    pub kind: BurnErrorKind,
}

impl CudaError {
    /// A result above success.
    pub fn code(call: &'static str, code: i32) -> Self {
        let (name, kind) = codes::meaning(code);
        let what = match codes::advice(code) {
            Some(advice) => format!("{name} ({code}): {advice}"),
            None => format!("{name} ({code})"),
        };
        Self {
            call,
            code: Some(code),
            what,
            kind,
        }
    }

    /// A failure that is not the driver's own word.
    pub fn other(call: &'static str, kind: BurnErrorKind, what: impl Into<String>) -> Self {
        Self {
            call,
            code: None,
            what: what.into(),
            kind,
        }
    }

    fn missing(call: &'static str) -> Self {
        Self::other(
            call,
            BurnErrorKind::Other,
            "the driver library has no such function",
        )
    }

    /// For the answer.
    pub fn told(self, gpu: Option<u32>) -> BurnError {
        BurnError {
            kind: self.kind,
            call: self.call.to_owned(),
            code: self.code,
            what: self.what,
            gpu,
        }
    }
}

macro_rules! functions {
    ($($symbol:ident($($argument:ty),*);)*) => {
        /// The functions that are called, each where the library has it.
        #[expect(non_snake_case, reason = "the driver's own names")]
        pub struct Symbols {
            $(pub $symbol: Option<unsafe extern "C" fn($($argument),*) -> c_int>,)*
        }

        impl Symbols {
            fn find(library: &libloading::Library) -> Self {
                Self {
                    $($symbol: {
                        // SAFETY: cuda.h declares the function with these arguments; the library
                        // is never unloaded.
                        unsafe {
                            library.get(concat!(stringify!($symbol), "\0").as_bytes())
                        }
                        .ok()
                        .map(|found: libloading::Symbol<'_, unsafe extern "C" fn($($argument),*) -> c_int>| *found)
                    },)*
                }
            }
        }
    };
}

functions! {
    cuInit(c_uint);
    cuDriverGetVersion(*mut c_int);
    cuDeviceGetByPCIBusId(*mut c_int, *const c_char);
    cuDeviceGetName(*mut c_char, c_int, c_int);
    cuDeviceGetAttribute(*mut c_int, c_int, c_int);
    cuDeviceTotalMem_v2(*mut usize, c_int);
    cuDeviceCanAccessPeer(*mut c_int, c_int, c_int);
    cuCtxCreate_v2(*mut *mut c_void, c_uint, c_int);
    cuCtxDestroy_v2(*mut c_void);
    cuCtxSetCurrent(*mut c_void);
    cuCtxEnablePeerAccess(*mut c_void, c_uint);
    cuMemGetInfo_v2(*mut usize, *mut usize);
    cuMemAlloc_v2(*mut u64, usize);
    cuMemFree_v2(u64);
    cuMemHostAlloc(*mut *mut c_void, usize, c_uint);
    cuMemFreeHost(*mut c_void);
    cuMemcpyHtoD_v2(u64, *const c_void, usize);
    cuMemcpyDtoH_v2(*mut c_void, u64, usize);
    cuMemcpyHtoDAsync_v2(u64, *const c_void, usize, *mut c_void);
    cuMemcpyDtoHAsync_v2(*mut c_void, u64, usize, *mut c_void);
    cuMemcpyPeerAsync(u64, *mut c_void, u64, *mut c_void, usize, *mut c_void);
    cuMemsetD8Async(u64, u8, usize, *mut c_void);
    cuStreamCreate(*mut *mut c_void, c_uint);
    cuStreamDestroy_v2(*mut c_void);
    cuEventCreate(*mut *mut c_void, c_uint);
    cuEventRecord(*mut c_void, *mut c_void);
    cuEventQuery(*mut c_void);
    cuEventElapsedTime(*mut f32, *mut c_void, *mut c_void);
    cuEventDestroy_v2(*mut c_void);
    cuModuleLoadData(*mut *mut c_void, *const c_void);
    cuModuleGetFunction(*mut *mut c_void, *mut c_void, *const c_char);
    cuFuncSetAttribute(*mut c_void, c_int, c_int);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(*mut c_int, *mut c_void, c_int, usize);
    cuLaunchKernel(*mut c_void, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, *mut c_void, *mut *mut c_void, *mut *mut c_void);
    cuLaunchKernelEx(*const LaunchConfig, *mut c_void, *mut *mut c_void, *mut *mut c_void);
    cuTensorMapEncodeTiled(*mut c_void, c_int, c_uint, *mut c_void, *const u64, *const u64, *const c_uint, *const c_uint, c_int, c_int, c_int, c_int);
}

/// The library, initialised.
pub struct Cuda {
    symbols: Symbols,
    board: Arc<Board>,
    abandoned: Cell<bool>,
}

impl Cuda {
    /// Loads the library and initialises it.
    ///
    /// # Errors
    /// It cannot be loaded, is no CUDA driver, or does not start.
    pub fn open(path: &str, board: &Arc<Board>) -> Result<Rc<Self>, CudaError> {
        board.calling("dlopen");
        // SAFETY: loading runs the library's initialisers. It is the driver library that the
        // operator or the search path names; running it is this program's purpose.
        let library = unsafe { libloading::Library::new(path) };
        board.returned();
        let library = library.map_err(|error| {
            use std::error::Error;
            // The loader's own words are the error's source; they name the file.
            let what = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            let what: String = what.chars().filter(|c| !c.is_control()).take(400).collect();
            CudaError::other("dlopen", BurnErrorKind::NoDriver, what)
        })?;
        let symbols = Symbols::find(&library);
        // Unloading a driver library is what crashes.
        std::mem::forget(library);
        if symbols.cuInit.is_none() {
            return Err(CudaError::other(
                "cuInit",
                BurnErrorKind::NoDriver,
                "the library has no such function: it is not the CUDA driver",
            ));
        }
        let cuda = Rc::new(Self {
            symbols,
            board: Arc::clone(board),
            abandoned: Cell::new(false),
        });
        call!(cuda.cuInit(0))?;
        Ok(cuda)
    }

    /// The functions.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Where progress is shown.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// No destructor calls the driver any more: the GPU hangs or is gone, and giving back would.
    pub fn abandon(&self) {
        self.abandoned.set(true);
    }

    /// Whether it was abandoned.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Version of the driver's API, e.g. `12.8`.
    pub fn version(&self) -> Result<String, CudaError> {
        let mut version = 0;
        call!(self.cuDriverGetVersion(&raw mut version))?;
        Ok(format!("{}.{}", version / 1000, version % 1000 / 10))
    }

    /// What a call came to: the name of the function is known to the board until it returns.
    pub fn result(&self, call: &'static str, code: c_int) -> Result<(), CudaError> {
        self.board.returned();
        if code == codes::SUCCESS {
            return Ok(());
        }
        Err(CudaError::code(call, code))
    }

    /// The library lacks a function.
    pub fn lacks(&self, call: &'static str) -> CudaError {
        CudaError::missing(call)
    }
}

/// Calls a function of the driver by its symbol: `call!(cuda.cuInit(0))`.
macro_rules! call {
    ($cuda:ident . $symbol:ident ( $($argument:expr),* $(,)? )) => {
        match $cuda.symbols().$symbol {
            None => Err($cuda.lacks(stringify!($symbol))),
            Some(function) => {
                $cuda.board().calling(stringify!($symbol));
                // SAFETY: the function has the C signature that it was found with; the caller
                // gives live outputs and handles that the driver gave and that were not given back.
                let code = unsafe { function($($argument),*) };
                $cuda.result(stringify!($symbol), code)
            }
        }
    };
}
pub(crate) use call;
