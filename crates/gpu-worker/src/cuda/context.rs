//! A GPU, opened: its context, its image, its kernels.

use std::ffi::{CString, c_void};
use std::rc::Rc;

use cupel_model::PciAddress;
use cupel_model::worker_burnin::{BurnErrorKind, CudaGpu};

use super::args::{KernelArgs, LaunchAttribute, LaunchConfig, TensorMap};
use super::images::{Image, image};
use super::library::{Cuda, CudaError, call};
use super::{Stream, codes};

/// `CUdevice_attribute`.
const MULTIPROCESSORS: i32 = 16;
const L2_CACHE_BYTES: i32 = 38;
const CAPABILITY_MAJOR: i32 = 75;
const CAPABILITY_MINOR: i32 = 76;

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const MAX_DYNAMIC_SHARED: i32 = 8;

/// A GPU that the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    handle: i32,
}

/// A context on a GPU, with the image that the GPU runs.
pub struct Context {
    cuda: Rc<Cuda>,
    device: Device,
    handle: *mut c_void,
    module: *mut c_void,
    /// The image as the driver was given it. It may look again when it loads a kernel at its first
    /// use.
    loaded: Vec<u64>,
    /// What it is.
    pub about: CudaGpu,
    /// What it runs.
    pub image: Image,
}

/// A kernel.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    handle: *mut c_void,
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory of a block, bytes.
    pub shared: u32,
    /// Blocks of a cluster; 1 where there is none.
    pub cluster: u32,
}

impl Context {
    /// Opens the GPU at `pci`.
    ///
    /// # Errors
    /// The driver's, or [`BurnErrorKind::Image`] for a GPU without an image.
    pub fn open(cuda: &Rc<Cuda>, pci: PciAddress) -> Result<Rc<Self>, CudaError> {
        let device = find(cuda, pci)?;
        let (major, minor) = (
            attribute(cuda, device, CAPABILITY_MAJOR)?,
            attribute(cuda, device, CAPABILITY_MINOR)?,
        );
        let Some(image) = image(major, minor) else {
            return Err(CudaError::other(
                "cuDeviceGetAttribute",
                BurnErrorKind::Image,
                format!("compute capability {major}.{minor} is older than Ampere's 8.0"),
            ));
        };
        let mut memory = 0;
        call!(cuda.cuDeviceTotalMem_v2(&raw mut memory, device.handle))?;
        let (name, driver) = (name(cuda, device)?, cuda.version()?);
        let multiprocessors = unsigned(attribute(cuda, device, MULTIPROCESSORS)?);
        let cache_bytes = u64::from(unsigned(attribute(cuda, device, L2_CACHE_BYTES)?));
        let mut handle = std::ptr::null_mut();
        call!(cuda.cuCtxCreate_v2(&raw mut handle, 0, device.handle))?;
        // From here on the context is given back whatever happens.
        let mut context = Self {
            cuda: Rc::clone(cuda),
            device,
            handle,
            module: std::ptr::null_mut(),
            loaded: Vec::new(),
            about: CudaGpu {
                pci,
                name,
                capability: format!("{major}.{minor}"),
                multiprocessors,
                cache_bytes,
                memory_bytes: memory as u64,
                free_bytes: 0,
                image: image.name.to_owned(),
                driver,
            },
            image,
        };
        context.load()?;
        context.about.free_bytes = context.free_bytes()?;
        Ok(Rc::new(context))
    }

    fn load(&mut self) -> Result<(), CudaError> {
        self.enter()?;
        // The driver wants a file's alignment; bytes in a program have none.
        let mut aligned = vec![0_u64; self.image.bytes.len().div_ceil(8) + 1];
        for (word, bytes) in aligned.iter_mut().zip(self.image.bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        self.loaded = aligned;
        let mut module = std::ptr::null_mut();
        let cuda = &self.cuda;
        call!(cuda.cuModuleLoadData(&raw mut module, self.loaded.as_ptr().cast()))?;
        self.module = module;
        Ok(())
    }

    /// The driver.
    pub fn cuda(&self) -> &Rc<Cuda> {
        &self.cuda
    }

    /// Makes it the one that the next calls of this thread concern.
    ///
    /// # Errors
    /// The driver's.
    pub fn enter(&self) -> Result<(), CudaError> {
        let cuda = &self.cuda;
        call!(cuda.cuCtxSetCurrent(self.handle))
    }

    /// Memory that is free now.
    ///
    /// # Errors
    /// The driver's.
    pub fn free_bytes(&self) -> Result<u64, CudaError> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        let cuda = &self.cuda;
        call!(cuda.cuMemGetInfo_v2(&raw mut free, &raw mut total))?;
        Ok(free.min(total) as u64)
    }

    /// A kernel by its name, or none where the image lacks it.
    ///
    /// # Errors
    /// The driver's.
    pub fn function(
        &self,
        name: &'static str,
        threads: u32,
        shared: u32,
        cluster: u32,
    ) -> Result<Option<Function>, CudaError> {
        self.enter()?;
        let symbol = c_text(name);
        let mut handle = std::ptr::null_mut();
        let cuda = &self.cuda;
        let found = call!(cuda.cuModuleGetFunction(&raw mut handle, self.module, symbol.as_ptr()));
        match found {
            Err(error) if error.code == Some(codes::NOT_FOUND) => return Ok(None),
            found => found?,
        }
        if shared > 48 << 10 {
            let bytes = i32::try_from(shared).unwrap_or(i32::MAX);
            call!(cuda.cuFuncSetAttribute(handle, MAX_DYNAMIC_SHARED, bytes))?;
        }
        Ok(Some(Function {
            handle,
            threads,
            shared,
            cluster,
        }))
    }

    /// As [`Context::function`], of a kernel that every image has.
    ///
    /// # Errors
    /// The driver's; the image lacks it.
    pub fn kernel(
        &self,
        name: &'static str,
        threads: u32,
        shared: u32,
    ) -> Result<Function, CudaError> {
        self.function(name, threads, shared, 1)?.ok_or_else(|| {
            CudaError::other(
                "cuModuleGetFunction",
                BurnErrorKind::Image,
                format!("the image has no kernel {name}"),
            )
        })
    }

    /// Blocks of a kernel that fill the GPU.
    ///
    /// # Errors
    /// The driver's.
    pub fn filling(&self, function: &Function) -> Result<u32, CudaError> {
        self.enter()?;
        let mut blocks = 0;
        let cuda = &self.cuda;
        let threads = i32::try_from(function.threads).unwrap_or(i32::MAX);
        call!(cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(
            &raw mut blocks,
            function.handle,
            threads,
            function.shared as usize,
        ))?;
        Ok(unsigned(blocks).max(1) * self.about.multiprocessors.max(1))
    }

    /// Starts a kernel.
    ///
    /// # Errors
    /// The driver's.
    pub fn launch<A: KernelArgs>(
        &self,
        function: &Function,
        blocks: [u32; 2],
        args: &A,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        self.enter()?;
        let mut parameters = [std::ptr::from_ref(args).cast_mut().cast::<c_void>()];
        let cuda = &self.cuda;
        if function.cluster == 1 {
            return call!(cuda.cuLaunchKernel(
                function.handle,
                blocks[0],
                blocks[1],
                1,
                function.threads,
                1,
                1,
                function.shared,
                stream.handle(),
                parameters.as_mut_ptr(),
                std::ptr::null_mut(),
            ));
        }
        let attribute = LaunchAttribute::cluster(function.cluster);
        let config = LaunchConfig {
            grid: [blocks[0], blocks[1], 1],
            block: [function.threads, 1, 1],
            shared: function.shared,
            stream: stream.handle(),
            attributes: &raw const attribute,
            attribute_count: 1,
        };
        call!(cuda.cuLaunchKernelEx(
            &raw const config,
            function.handle,
            parameters.as_mut_ptr(),
            std::ptr::null_mut(),
        ))
    }

    /// Rows of bytes as the copy engine wants them: boxes of 128 bytes by `box_rows`, swizzled.
    ///
    /// # Errors
    /// The driver's.
    pub fn tensor_map(
        &self,
        address: u64,
        row_bytes: u64,
        rows: u64,
        box_rows: u32,
    ) -> Result<TensorMap, CudaError> {
        /// `CU_TENSOR_MAP_DATA_TYPE_UINT8`, `…INTERLEAVE_NONE`, `…FLOAT_OOB_FILL_NONE`.
        const NONE: i32 = 0;
        /// `CU_TENSOR_MAP_SWIZZLE_128B` and `CU_TENSOR_MAP_L2_PROMOTION_L2_256B`.
        const THREE: i32 = 3;
        let mut map = TensorMap::default();
        let (sizes, pitch) = ([row_bytes, rows], [row_bytes]);
        let (boxes, steps) = ([128, box_rows], [1, 1]);
        let cuda = &self.cuda;
        call!(cuda.cuTensorMapEncodeTiled(
            (&raw mut map).cast(),
            NONE,
            2,
            std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(0)),
            sizes.as_ptr(),
            pitch.as_ptr(),
            boxes.as_ptr(),
            steps.as_ptr(),
            NONE,
            THREE,
            THREE,
            NONE,
        ))?;
        Ok(map)
    }

    /// Whether it can reach the memory of `other`.
    ///
    /// # Errors
    /// The driver's.
    pub fn reaches(&self, other: &Self) -> Result<bool, CudaError> {
        let mut can = 0;
        let cuda = &self.cuda;
        call!(cuda.cuDeviceCanAccessPeer(&raw mut can, self.device.handle, other.device.handle))?;
        Ok(can != 0)
    }

    /// Maps the memory of `other`.
    ///
    /// # Errors
    /// The driver's.
    pub fn map_peer(&self, other: &Self) -> Result<(), CudaError> {
        self.enter()?;
        let cuda = &self.cuda;
        match call!(cuda.cuCtxEnablePeerAccess(other.handle, 0)) {
            Err(error) if error.code == Some(codes::PEER_ACCESS_ALREADY_ENABLED) => Ok(()),
            result => result,
        }
    }

    /// Starts a copy by the copy engines, between GPUs or within one.
    ///
    /// # Errors
    /// The driver's.
    pub fn copy_from(
        &self,
        to: u64,
        source: &Self,
        from: u64,
        bytes: u64,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        stream.context().enter()?;
        let cuda = &self.cuda;
        let bytes = usize::try_from(bytes).unwrap_or(0);
        call!(cuda.cuMemcpyPeerAsync(to, self.handle, from, source.handle, bytes, stream.handle()))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let cuda = &self.cuda;
        if cuda.is_abandoned() {
            return;
        }
        // What a context holds ends with it. An error leaves nothing to be done.
        let _ = call!(cuda.cuCtxDestroy_v2(self.handle));
    }
}

fn find(cuda: &Cuda, pci: PciAddress) -> Result<Device, CudaError> {
    let address = c_text(&pci.to_string());
    let mut handle = 0;
    call!(cuda.cuDeviceGetByPCIBusId(&raw mut handle, address.as_ptr())).map_err(|error| {
        CudaError {
            what: format!("{}: {pci}", error.what),
            ..error
        }
    })?;
    Ok(Device { handle })
}

fn name(cuda: &Cuda, device: Device) -> Result<String, CudaError> {
    let mut buffer = [0_u8; 128];
    call!(cuda.cuDeviceGetName(buffer.as_mut_ptr().cast(), 127, device.handle))?;
    let text = buffer.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text)
        .chars()
        .filter(|c| !c.is_control())
        .collect())
}

fn attribute(cuda: &Cuda, device: Device, attribute: i32) -> Result<i32, CudaError> {
    let mut value = 0;
    call!(cuda.cuDeviceGetAttribute(&raw mut value, attribute, device.handle))?;
    Ok(value)
}

fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// Our own names and addresses hold no zero byte.
fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
