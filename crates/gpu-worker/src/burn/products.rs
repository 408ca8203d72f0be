//! Matrix products on a GPU: which kernel, its operands, and one launch after the other.

use cupel_model::worker_burnin::{Element, Operands};

use super::gpu::{Gpu, Kernel};
use super::operands::{bytes_of, number_of, result_bytes};
use super::report::{Report, Stop};
use crate::cuda::args::{FillArgs, GemmArgs, HopperArgs, TensorMap};
use crate::cuda::{DeviceMemory, Function};

/// How a product is laid out on the GPU: which kernel, and the sizes that it is written for.
#[derive(Clone, Copy, Debug)]
struct Shape {
    kernel: &'static str,
    threads: u32,
    shared: u32,
    tile: [u32; 2],
    /// What rows and columns have to be multiples of.
    multiple: [u32; 2],
    /// Bytes of depth that a step takes.
    slice: u32,
    warpgroups: bool,
}

/// Tile 128 x 256, two of them one below the other; 1 KiB of barriers and four slots of 48 KiB.
const fn hopper(kernel: &'static str) -> Shape {
    Shape {
        kernel,
        threads: 384,
        shared: 1024 + 4 * (48 << 10),
        tile: [128, 256],
        multiple: [256, 256],
        slice: 128,
        warpgroups: true,
    }
}

/// Tile 256 x 128; four slots of 24 KiB.
const fn warps(kernel: &'static str) -> Shape {
    Shape {
        kernel,
        threads: 256,
        shared: 4 * (24 << 10),
        tile: [256, 128],
        multiple: [256, 128],
        slice: 64,
        warpgroups: false,
    }
}

/// Square tiles; 16 of depth of both operands, four elements of padding a line.
const fn plain(kernel: &'static str, tile: u32, bytes: u32) -> Shape {
    Shape {
        kernel,
        threads: 256,
        shared: 2 * 16 * (tile + 4) * bytes,
        tile: [tile, tile],
        multiple: [tile, tile],
        slice: 16 * bytes,
        warpgroups: false,
    }
}

/// Kernels of a type, the best first.
fn shapes(element: Element) -> &'static [Shape] {
    const BF16: [Shape; 2] = [hopper("gemm_hopper_bf16"), warps("gemm_mma_bf16")];
    const FP8: [Shape; 2] = [hopper("gemm_hopper_e4m3"), warps("gemm_mma_e4m3")];
    const FP32: [Shape; 1] = [plain("gemm_f32", 128, 4)];
    const FP64: [Shape; 1] = [plain("gemm_f64", 64, 8)];
    match element {
        Element::Bf16 => &BF16,
        Element::Fp8 => &FP8,
        Element::Fp32 => &FP32,
        Element::Fp64 => &FP64,
    }
}

/// Memory that is read and verified beside a product, by the warps that only copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// Where.
    pub base: u64,
    /// Index of its first word.
    pub first_word: u64,
    /// Units of 512 bytes: a multiple of four.
    pub units: u64,
    /// Seed and mask of the pattern there.
    pub seed: u64,
    /// See `seed`.
    pub mask: u64,
    /// Log of differences.
    pub errors: u64,
    /// Units that each warp reads in 16 steps of a tile; 0: none.
    pub rate: u32,
    /// Where to begin.
    pub phase: u32,
}

/// Operands on the GPU, and the kernel that multiplies them.
pub struct Products {
    shape: Shape,
    function: Function,
    blocks: u32,
    element: Element,
    /// Rows and columns of the result, and the depth.
    pub size: u32,
    a: DeviceMemory,
    b: DeviceMemory,
    tile_sm: DeviceMemory,
    maps: Option<[TensorMap; 2]>,
    group: u32,
}

impl Products {
    /// Takes memory for operands of `size` x `size`, and chooses the kernel.
    ///
    /// # Errors
    /// The driver's; no kernel of the image multiplies this type or this size.
    pub fn new(gpu: &Gpu, element: Element, size: u32, report: &mut Report) -> Result<Self, Stop> {
        let (shape, function) = choose(gpu, element)?;
        let multiple = shape.multiple[0].max(shape.multiple[1]);
        let asked = size;
        let size = fitting(gpu, element, size, multiple)?;
        if size < asked {
            report.note(format!(
                "{} products of {size}, not {asked}: for a GPU with so little memory",
                element.name()
            ));
        }
        let depth_bytes = u64::from(size) * bytes_of(element);
        if size == 0
            || !size.is_multiple_of(multiple)
            || !depth_bytes.is_multiple_of(u64::from(shape.slice))
        {
            return Err(Stop::Unsupported(format!(
                "products of {size} x {size}: {} wants multiples of {multiple}",
                shape.kernel
            )));
        }
        let bytes = u64::from(size) * depth_bytes;
        let (a, b) = (gpu.memory(bytes)?, gpu.memory(bytes)?);
        let maps = if shape.warpgroups {
            let map = |memory: &DeviceMemory| {
                gpu.context
                    .tensor_map(memory.address(), depth_bytes, u64::from(size), 128)
                    .map_err(|error| gpu.stop(error))
            };
            Some([map(&a)?, map(&b)?])
        } else {
            None
        };
        let tiles = size / shape.tile[0] * (size / shape.tile[1]);
        let blocks = if shape.warpgroups {
            2 * clusters(gpu.context.about.multiprocessors / 2, tiles / 2)
        } else {
            tiles
        };
        let tile_sm = gpu.memory(u64::from(tiles) * 4)?;
        tile_sm
            .fill(0xff, &gpu.stream)
            .map_err(|error| gpu.stop(error))?;
        Ok(Self {
            shape,
            function,
            blocks,
            element,
            size,
            a,
            b,
            tile_sm,
            maps,
            group: 8,
        })
    }

    /// Name of the kernel.
    pub fn kernel(&self) -> &'static str {
        self.shape.kernel
    }

    /// Whether memory can be read beside the product.
    pub fn has_beside(&self) -> bool {
        self.shape.warpgroups
    }

    /// Rows and columns of a tile.
    pub fn tile(&self) -> [u32; 2] {
        self.shape.tile
    }

    /// How many tiles the result has.
    pub fn tiles(&self) -> u32 {
        self.size / self.shape.tile[0] * (self.size / self.shape.tile[1])
    }

    /// Tile of an element.
    pub fn tile_of(&self, row: u32, column: u32) -> u32 {
        row / self.shape.tile[0] * (self.size / self.shape.tile[1]) + column / self.shape.tile[1]
    }

    /// Bytes of the result.
    pub fn result_bytes(&self) -> u64 {
        u64::from(self.size) * u64::from(self.size) * result_bytes(self.element)
    }

    /// Operations of one product.
    pub fn operations(&self) -> f64 {
        2.0 * f64::from(self.size).powi(3)
    }

    /// Bytes that are read beside one product at a rate.
    pub fn beside_bytes(&self, rate: u32) -> f64 {
        let slices = f64::from(self.size)
            * f64::from(u32::try_from(bytes_of(self.element)).unwrap_or(8))
            / f64::from(self.shape.slice);
        // Three warps of every block, in steps of four units.
        f64::from(self.tiles()) * slices / 16.0 * f64::from(rate) * 3.0 * 512.0
    }

    /// Seeds of both operands.
    pub fn seeds(seed: u64) -> [u64; 2] {
        [
            super::pattern::word(seed, 0xa),
            super::pattern::word(seed, 0xb),
        ]
    }

    /// Begins to write the operands.
    ///
    /// # Errors
    /// The driver's.
    pub fn fill(&self, gpu: &Gpu, operands: Operands, seed: u64) -> Result<(), Stop> {
        let fill: Kernel = gpu.kernel("fill_operands", 256, 0)?;
        let elements = u64::from(self.size) * u64::from(self.size);
        for (memory, seed) in [&self.a, &self.b].into_iter().zip(Self::seeds(seed)) {
            let args = FillArgs {
                to: memory.address(),
                elements,
                seed,
                element: number_of(self.element),
                operands: match operands {
                    Operands::Exact => 0,
                    Operands::Random => 1,
                },
            };
            gpu.launch(&fill, elements.div_ceil(2048), &args)?;
        }
        Ok(())
    }

    /// Which multiprocessor a tile is worked on by is a matter of the order of tiles. Another one
    /// with each product: a multiprocessor that computes wrong, always the same way, then does so in
    /// other tiles.
    pub fn shuffle(&mut self, number: u64) {
        let down = self.size / self.shape.multiple[0];
        let groups = [8, 5, 16, 7, 12, 3];
        let at = usize::try_from(number % groups.len() as u64).unwrap_or(0);
        self.group = groups[at].min(down.max(1));
    }

    /// The order that serves the cache best.
    pub fn unshuffle(&mut self) {
        self.shuffle(0);
    }

    /// Begins a product into `result`.
    ///
    /// # Errors
    /// The driver's.
    pub fn multiply(&self, gpu: &Gpu, result: &DeviceMemory, beside: Beside) -> Result<(), Stop> {
        let gemm = GemmArgs {
            a: self.a.address(),
            b: self.b.address(),
            c: result.address(),
            tile_sm: self.tile_sm.address(),
            rows: self.size,
            columns: self.size,
            depth: self.size,
            element: number_of(self.element),
            group: self.group,
            reserved: 0,
        };
        let blocks = [self.blocks, 1];
        let Some([a, b]) = self.maps else {
            return gpu.launch_blocks(&self.function, blocks, &gemm);
        };
        let args = HopperArgs {
            a,
            b,
            gemm,
            stream_base: beside.base,
            stream_first_word: beside.first_word,
            stream_units: beside.units.max(4) / 4 * 4,
            stream_seed: beside.seed,
            stream_mask: beside.mask,
            stream_errors: beside.errors,
            stream_rate: if beside.units < 4 { 0 } else { beside.rate },
            stream_phase: beside.phase,
        };
        gpu.launch_blocks(&self.function, blocks, &args)
    }

    /// The multiprocessor that worked on each tile in the last product.
    ///
    /// # Errors
    /// The driver's.
    pub fn multiprocessors(&self, gpu: &Gpu) -> Result<Vec<u32>, Stop> {
        let tiles = usize::try_from(self.tiles()).unwrap_or(0);
        self.tile_sm
            .read_halves(0, tiles)
            .map_err(|error| gpu.stop(error))
    }
}

/// How many clusters work on so many pairs of tiles: no more than it takes to be done in as few
/// rounds as all of them would need. The others would wait, and draw power that those at work could
/// use.
fn clusters(most: u32, pairs: u32) -> u32 {
    let rounds = pairs.div_ceil(most.max(1));
    pairs.div_ceil(rounds.max(1)).max(1)
}

/// A size of which both operands and two results take no more than a part of the free memory: half
/// of what was asked, and half again, as far as a tile reaches.
fn fitting(gpu: &Gpu, element: Element, size: u32, multiple: u32) -> Result<u32, Stop> {
    /// One in so many bytes of what is free.
    const PART: u64 = 32;
    let free = gpu.context.free_bytes().map_err(|error| gpu.stop(error))?;
    let each = 2 * (bytes_of(element) + result_bytes(element));
    let mut size = size;
    while u64::from(size) * u64::from(size) * each > free / PART
        && size / 2 >= multiple
        && (size / 2).is_multiple_of(multiple)
    {
        size /= 2;
    }
    Ok(size)
}

fn choose(gpu: &Gpu, element: Element) -> Result<(Shape, Function), Stop> {
    for shape in shapes(element) {
        if shape.warpgroups && !gpu.context.image.warpgroups {
            continue;
        }
        let cluster = if shape.warpgroups { 2 } else { 1 };
        let found = gpu
            .context
            .function(shape.kernel, shape.threads, shape.shared, cluster)
            .map_err(|error| gpu.stop(error))?;
        if let Some(function) = found {
            return Ok((*shape, function));
        }
    }
    Err(Stop::Unsupported(format!(
        "{} products on {} ({}): its image has no such kernel",
        element.name(),
        gpu.context.about.name,
        gpu.context.about.image
    )))
}

#[cfg(test)]
mod tests {
    use super::clusters;

    #[test]
    fn no_more_clusters_work_than_the_rounds_need() {
        // H200: 1,024 pairs of tiles on 66 clusters take 16 rounds; so they do on 64.
        assert_eq!(clusters(66, 1024), 64);
        // All that there are, where the last round is full.
        assert_eq!(clusters(66, 1056), 66);
        // Fewer pairs than clusters: one round.
        assert_eq!(clusters(66, 16), 16);
        assert_eq!(clusters(66, 0), 1);
        assert_eq!(clusters(0, 4), 1);
    }
}
