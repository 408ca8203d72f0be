//! The driver library, loaded and initialised, and the handles of its GPUs.
//!
//! # Invariants
//! - The wrapper's `Nvml` is never dropped: its destructor panics where `nvmlShutdown` is missing.
//!   [`Session::close`] calls that function by its symbol.

use std::ffi::{CStr, OsStr};
use std::mem::ManuallyDrop;
use std::time::Duration;

use cupel_model::worker::{Answer, Group, Opened, Refused, Watched, WorkerError};
use cupel_model::{PciAddress, Reading};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlPciInfo_t};

use crate::calls::{Announcer, Gpu, Refusal, Told, invoke, reading, refused};
use crate::watch::{Watchable, watch};
use crate::{groups, text};

/// Most GPUs that one machine is believed to have.
const GPUS_MAX: u32 = 256;

/// Size of the buffers for versions (`NVML_SYSTEM_*_VERSION_BUFFER_SIZE` is 80).
const VERSION_BUFFER: usize = 80;

/// An open driver.
pub struct Session {
    nvml: ManuallyDrop<Nvml>,
    handles: Vec<Told<nvmlDevice_t>>,
    addresses: Vec<Reading<PciAddress>>,
}

/// Why there is no session.
pub enum Unopened {
    /// The library cannot be loaded, or does not count its GPUs.
    Failed(WorkerError),
    /// The library refused to initialise.
    Refused(Refused),
}

impl From<WorkerError> for Unopened {
    fn from(error: WorkerError) -> Self {
        Self::Failed(error)
    }
}

impl Session {
    /// Loads and initialises the library, and lists the GPUs.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(
        library: &str,
        skip: &[u32],
        announcer: &Announcer<'_>,
    ) -> Result<(Self, Opened), Unopened> {
        load(library, announcer)?;
        announcer.calling("nvmlInit_v2", None);
        let nvml = Nvml::builder()
            .lib_path(OsStr::new(library))
            .init()
            .map_err(|error| not_initialised(library, error, announcer))?;
        let nvml = ManuallyDrop::new(nvml);
        let symbols = nvml.lib();

        let driver_version = version(
            announcer,
            "nvmlSystemGetDriverVersion",
            &symbols.nvmlSystemGetDriverVersion,
        );
        let nvml_version = nvml_version(announcer, symbols);
        let cuda_version = invoke(
            announcer,
            None,
            "nvmlSystemGetCudaDriverVersion_v2",
            &symbols.nvmlSystemGetCudaDriverVersion_v2,
            |function| {
                let mut version = 0;
                // SAFETY: the signature is the bindings'; `version` is live.
                (unsafe { function(&raw mut version) }, version)
            },
        );
        let count = invoke(
            announcer,
            None,
            "nvmlDeviceGetCount_v2",
            &symbols.nvmlDeviceGetCount_v2,
            |function| {
                let mut count = 0;
                // SAFETY: the signature is the bindings'; `count` is live.
                (unsafe { function(&raw mut count) }, count)
            },
        )
        .map_err(Refusal::error)?;
        if count > GPUS_MAX {
            return Err(Refusal::impossible(
                "nvmlDeviceGetCount_v2",
                format!("{count} GPUs cannot be"),
            )
            .error()
            .into());
        }

        let mut handles = Vec::new();
        let mut gpus = Vec::new();
        for index in 0..count {
            let handle = if skip.contains(&index) {
                Err(Refusal {
                    call: "nvmlDeviceGetHandleByIndex_v2",
                    code: None,
                    what: "left alone after an earlier hang or crash".to_owned(),
                    unsupported: false,
                })
            } else {
                handle(announcer, &nvml, index)
            };
            gpus.push(match &handle {
                Ok(device) => address(&Gpu::new(&nvml, *device, index, announcer)),
                Err(refusal) => refusal.clone().reading(),
            });
            handles.push(handle);
        }

        let opened = Opened {
            driver_version,
            nvml_version,
            cuda_version: cuda(reading(cuda_version)),
            library_path: library_path(nvml.lib()),
            gpus,
        };
        let addresses = opened.gpus.clone();
        let session = Self {
            nvml,
            handles,
            addresses,
        };
        Ok((session, opened))
    }

    /// One group of calls on one GPU.
    ///
    /// # Errors
    /// There is no handle for the GPU.
    pub fn read(
        &self,
        index: u32,
        group: Group,
        announcer: &Announcer<'_>,
    ) -> Result<Answer, WorkerError> {
        let handle = usize::try_from(index)
            .ok()
            .and_then(|index| self.handles.get(index));
        match handle {
            Some(Ok(device)) => {
                let gpu = Gpu::new(&self.nvml, *device, index, announcer);
                Ok(groups::read(&gpu, group))
            }
            Some(Err(refusal)) => Err(refusal.clone().error()),
            None => Err(WorkerError {
                call: "nvmlDeviceGetHandleByIndex_v2".to_owned(),
                code: None,
                what: format!("the driver lists {} GPUs", self.handles.len()),
            }),
        }
    }

    /// Watches for events of all GPUs that have a handle, but those in `skip`.
    pub fn watch(&self, skip: &[u32], time: Duration, announcer: &Announcer<'_>) -> Watched {
        let with_address = (0_u32..).zip(&self.handles).zip(&self.addresses);
        let gpus: Vec<Watchable<'_>> = with_address
            .filter(|((index, _), _)| !skip.contains(index))
            .filter_map(|((index, handle), pci)| {
                let device = *handle.as_ref().ok()?;
                Some(Watchable {
                    index,
                    device,
                    pci,
                    gpu: Gpu::new(&self.nvml, device, index, announcer),
                })
            })
            .collect();
        watch(self.nvml.lib(), &gpus, time, announcer)
    }

    /// Lets go of the driver. The library stays mapped: unloading one is what crashes.
    ///
    /// # Errors
    /// The driver's.
    pub fn close(self, announcer: &Announcer<'_>) -> Result<(), WorkerError> {
        invoke(
            announcer,
            None,
            "nvmlShutdown",
            &self.nvml.lib().nvmlShutdown,
            // SAFETY: takes nothing; no handle is used after it, for `self` is consumed.
            |function| (unsafe { function() }, ()),
        )
        .map_err(Refusal::error)
    }
}

/// Loads the library, so that a failure to load is told apart from one to initialise. It stays
/// loaded: initialising loads it again by the same name.
fn load(library: &str, announcer: &Announcer<'_>) -> Result<(), WorkerError> {
    announcer.calling("dlopen", None);
    // SAFETY: loading runs the library's initialisers. It is the driver library that the operator
    // or the search path names; running it is this program's purpose.
    match unsafe { libloading::Library::new(library) } {
        Ok(loaded) => {
            std::mem::forget(loaded);
            Ok(())
        }
        Err(error) => {
            use std::error::Error;
            // The loader's own words are the error's source; they name the file.
            let what = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            let what: String = what.chars().filter(|c| !c.is_control()).take(400).collect();
            Err(WorkerError {
                call: "dlopen".to_owned(),
                code: None,
                what,
            })
        }
    }
}

/// Tells why the library did not initialise, and what it tells all the same. Neither needs the
/// driver: of a library that refuses the loaded kernel module its version is what one has to know.
fn not_initialised(library: &str, error: NvmlError, announcer: &Announcer<'_>) -> Unopened {
    let error = init_error(error);
    if error.code.is_none() {
        return Unopened::Failed(error);
    }
    // SAFETY: it is loaded already, and stays so (see `load`): no initialiser runs again.
    let Ok(symbols) = (unsafe { NvmlLib::new(OsStr::new(library)) }) else {
        return Unopened::Failed(error);
    };
    Unopened::Refused(Refused {
        error,
        nvml_version: nvml_version(announcer, &symbols),
        library_path: library_path(&symbols),
    })
}

fn nvml_version(announcer: &Announcer<'_>, symbols: &NvmlLib) -> Reading<String> {
    version(
        announcer,
        "nvmlSystemGetNVMLVersion",
        &symbols.nvmlSystemGetNVMLVersion,
    )
}

fn init_error(error: NvmlError) -> WorkerError {
    if let NvmlError::FailedToLoadSymbol(_) | NvmlError::LibloadingError(_) = error {
        return WorkerError {
            call: "nvmlInit_v2".to_owned(),
            code: None,
            what: "the library has no such function: it is not NVML".to_owned(),
        };
    }
    refused("nvmlInit_v2", error).error()
}

type VersionFunction =
    unsafe extern "C" fn(*mut std::os::raw::c_char, std::os::raw::c_uint) -> std::os::raw::c_uint;

fn version<E>(
    announcer: &Announcer<'_>,
    call: &'static str,
    symbol: &Result<VersionFunction, E>,
) -> Reading<String> {
    let told = invoke(announcer, None, call, symbol, |function| {
        let mut buffer = [0_u8; VERSION_BUFFER];
        // SAFETY: the signature is the bindings'; 80 is the length of the live buffer.
        let code = unsafe { function(buffer.as_mut_ptr().cast(), 80) };
        (code, buffer)
    });
    reading(told).and_then(|buffer| text::read(call, &buffer))
}

fn cuda(version: Reading<i32>) -> Reading<String> {
    version.and_then(|version| {
        if (1000..1_000_000).contains(&version) {
            Reading::Value(format!("{}.{}", version / 1000, version % 1000 / 10))
        } else {
            Reading::failed(format!(
                "nvmlSystemGetCudaDriverVersion_v2: {version} is no version"
            ))
        }
    })
}

fn handle(announcer: &Announcer<'_>, nvml: &Nvml, index: u32) -> Told<nvmlDevice_t> {
    let call = "nvmlDeviceGetHandleByIndex_v2";
    announcer.calling(call, Some(index));
    let device = nvml
        .device_by_index(index)
        .map_err(|error| refused(call, error))?;
    // SAFETY: the handle is kept beside the library that gave it, and used while that is open.
    Ok(unsafe { device.handle() })
}

/// Where a GPU is.
fn address(gpu: &Gpu<'_>) -> Reading<PciAddress> {
    let told = gpu.raw(
        "nvmlDeviceGetPciInfo_v3",
        &gpu.library().nvmlDeviceGetPciInfo_v3,
        |function, device| {
            let mut info = EMPTY_PCI_INFO;
            // SAFETY: the signature is the bindings'; `info` is live.
            (unsafe { function(device, &raw mut info) }, info)
        },
    );
    reading(told).and_then(|info| groups::pci_address("nvmlDeviceGetPciInfo_v3", &info))
}

/// A PCI description to be written to.
pub const EMPTY_PCI_INFO: nvmlPciInfo_t = nvmlPciInfo_t {
    busIdLegacy: [0; 16],
    domain: 0,
    bus: 0,
    device: 0,
    pciDeviceId: 0,
    pciSubSystemId: 0,
    busId: [0; 32],
};

/// Where the loader found the library: the file that holds `nvmlInit_v2`.
fn library_path(symbols: &NvmlLib) -> Reading<String> {
    let Ok(function) = &symbols.nvmlInit_v2 else {
        return Reading::failed("dlsym: no nvmlInit_v2");
    };
    let address = *function as *const libc::c_void;
    let mut found = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: `found` is live; the address is only compared with the loader's own table.
    let told = unsafe { libc::dladdr(address, &raw mut found) };
    if told == 0 || found.dli_fname.is_null() {
        return Reading::failed("dladdr: the loader does not know the library's file");
    }
    // SAFETY: the loader's own string, terminated, and alive while the library is mapped.
    let path = unsafe { CStr::from_ptr(found.dli_fname) };
    match path.to_str() {
        Ok(path) if !path.chars().any(char::is_control) => Reading::Value(path.to_owned()),
        Ok(_) | Err(_) => Reading::failed("dladdr: the library's path is not text"),
    }
}
