//! Products, verified.
//!
//! Exact operands have one right result. The first product is held against sums that the host
//! computed from the seed alone; every later one is compared with it, bit by bit. Random operands
//! have no oracle: two products must agree before one of them is what the others are compared with,
//! and the hashes of its tiles are compared between GPUs by whoever asked.

use std::time::Instant;

use cupel_model::worker_burnin::{BurnMismatch, BurnPlace, Element, Operands, Staying, TileHashes};

use super::gpu::{Flow, Gpu, Kernel};
use super::log::{ErrorLog, Logged};
use super::operands::result_bytes;
use super::oracle;
use super::pattern::Numbers;
use super::products::{Beside, Products};
use super::report::{Report, Stop};
use crate::cuda::DeviceMemory;
use crate::cuda::args::{CompareArgs, HashArgs};

/// What is asked.
pub struct Wanted {
    /// Type of the operands.
    pub element: Element,
    /// What they are.
    pub operands: Operands,
    /// Rows, columns and depth.
    pub size: u32,
    /// How long.
    pub seconds: f64,
    /// Seed.
    pub seed: u64,
}

/// Faults that are planted each time.
const PLANTED: u64 = 8;
/// Products that are timed one after the other without a check between: so many, and so many more
/// until this share of the job's time, at most half a second, is over.
const TIMED: u32 = 10;
/// See [`TIMED`].
const TIMED_SHARE: f64 = 0.1;

/// Checks of results.
pub struct Checks {
    /// Log of differences.
    pub log: ErrorLog,
    compare: Kernel,
    numbers: Numbers,
}

/// Runs the job.
///
/// # Errors
/// It ends before it is done.
pub fn run(gpu: &Gpu, wanted: &Wanted, report: &mut Report) -> Result<(), Stop> {
    let began = Instant::now();
    gpu.board
        .phase(format!("{} operands", wanted.element.name()));
    let mut products = Products::new(gpu, wanted.element, wanted.size, report)?;
    let wanted = &Wanted {
        size: products.size,
        ..*wanted
    };
    if !gpu.context.image.peak {
        report.note(format!(
            "not peak: {} is multiplied by {} ({})",
            wanted.element.name(),
            products.kernel(),
            gpu.context.about.image
        ));
    }
    let golden = gpu.memory(products.result_bytes())?;
    let result = gpu.memory(products.result_bytes())?;
    let mut checks = Checks::new(gpu, wanted.seed)?;
    products.fill(gpu, wanted.operands, wanted.seed)?;
    spoil(gpu, &golden)?;
    spoil(gpu, &result)?;
    products.multiply(gpu, &golden, Beside::default())?;
    gpu.finish()?;
    report.asked += 1;
    match wanted.operands {
        Operands::Exact => oracle::hold(gpu, wanted, &products, &golden, &mut checks, report)?,
        Operands::Random => {
            checks.agree(gpu, &mut products, &golden, &result, report)?;
            report.hashes = hashes(gpu, wanted, &products, &golden)?;
        }
    }
    report.covered += 1;
    report.verified += 1;
    checks.prove(gpu, &products, &golden, &result, report)?;
    report.proof_complete = true;
    time(gpu, &mut products, &result, wanted.seconds, report)?;

    let mut number = 0;
    let (mut busy, mut operations) = (0.0, 0.0);
    while number == 0 || began.elapsed().as_secs_f64() < wanted.seconds {
        gpu.go_on()?;
        number += 1;
        gpu.board
            .phase(format!("{} product {number}", wanted.element.name()));
        products.shuffle(number);
        report.asked += 1;
        // What the last product left there is right: a write that is lost must not go unseen.
        spoil(gpu, &result)?;
        let begin = gpu.mark()?;
        products.multiply(gpu, &result, Beside::default())?;
        let end = gpu.mark()?;
        let found = checks.compare(gpu, &golden, &result, products.result_bytes())?;
        busy += gpu.seconds(&begin, &end)?;
        operations += products.operations();
        gpu.board.sample(
            gpu.index,
            "compute rate",
            operations / busy / 1e12,
            "TFLOP/s",
        );
        checks.tell(gpu, &products, &found, &format!("product {number}"), report)?;
        report.covered += 1;
        report.verified += 1;
    }
    report.measure(
        gpu.index,
        "compute rate",
        operations / busy / 1e12,
        "TFLOP/s",
    );
    Ok(())
}

/// What is not written from here on is a NaN.
///
/// # Errors
/// The driver's.
pub fn spoil(gpu: &Gpu, result: &DeviceMemory) -> Result<(), Stop> {
    result
        .fill(0xff, &gpu.stream)
        .map_err(|error| gpu.stop(error))
}

/// The rate of products alone.
///
/// # Errors
/// The driver's.
fn time(
    gpu: &Gpu,
    products: &mut Products,
    result: &DeviceMemory,
    seconds: f64,
    report: &mut Report,
) -> Result<(), Stop> {
    products.unshuffle();
    gpu.board.phase("timing");
    let begun = Instant::now();
    let mut flow = Flow::new(gpu);
    let begin = gpu.mark()?;
    let mut count = 0.0;
    while count == 0.0 || begun.elapsed().as_secs_f64() < (seconds * TIMED_SHARE).min(0.5) {
        for _ in 0..TIMED {
            products.multiply(gpu, result, Beside::default())?;
        }
        flow.begun()?;
        count += f64::from(TIMED);
    }
    let end = gpu.mark()?;
    gpu.wait(&end)?;
    let seconds = gpu.seconds(&begin, &end)?.max(1e-9);
    let rate = products.operations() * count / seconds / 1e12;
    report.measure(gpu.index, "peak compute rate", rate, "TFLOP/s");
    Ok(())
}

impl Checks {
    /// Takes its memory.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(gpu: &Gpu, seed: u64) -> Result<Self, Stop> {
        Ok(Self {
            log: ErrorLog::new(gpu)?,
            compare: gpu.kernel("compare_words", 256, 0)?,
            numbers: Numbers::new(seed, 2),
        })
    }

    /// Where two results differ: words of 4 bytes.
    ///
    /// # Errors
    /// The driver's.
    pub fn compare(
        &self,
        gpu: &Gpu,
        left: &DeviceMemory,
        right: &DeviceMemory,
        bytes: u64,
    ) -> Result<Logged, Stop> {
        let args = CompareArgs {
            left: left.address(),
            right: right.address(),
            vectors: bytes / 16,
            errors: self.log.address(),
        };
        gpu.launch(&self.compare, (bytes / 16).div_ceil(512), &args)?;
        self.log.take(gpu)
    }

    /// Two products must agree; where they do not, a third one says which is wrong.
    ///
    /// # Errors
    /// The driver's.
    pub fn agree(
        &mut self,
        gpu: &Gpu,
        products: &mut Products,
        golden: &DeviceMemory,
        result: &DeviceMemory,
        report: &mut Report,
    ) -> Result<(), Stop> {
        for attempt in 1..4 {
            gpu.board.phase("two products that agree");
            products.shuffle(attempt);
            spoil(gpu, result)?;
            products.multiply(gpu, result, Beside::default())?;
            let found = self.compare(gpu, golden, result, products.result_bytes())?;
            report.asked += 1;
            report.covered += 1;
            if found.total == 0 {
                return Ok(());
            }
            self.tell(gpu, products, &found, "one of two first products", report)?;
            products.shuffle(attempt + 1);
            spoil(gpu, golden)?;
            products.multiply(gpu, golden, Beside::default())?;
            gpu.finish()?;
        }
        report
            .note("no two products agreed: what later ones are compared with may itself be wrong");
        Ok(())
    }

    /// The comparison has to find what is planted in a product.
    ///
    /// # Errors
    /// The driver's.
    pub fn prove(
        &mut self,
        gpu: &Gpu,
        products: &Products,
        golden: &DeviceMemory,
        result: &DeviceMemory,
        report: &mut Report,
    ) -> Result<(), Stop> {
        gpu.board.phase("planted faults");
        spoil(gpu, result)?;
        products.multiply(gpu, result, Beside::default())?;
        gpu.finish()?;
        // Words of 4 bytes, whatever the element: that is what is compared.
        let planted = self.plant(gpu, result, Element::Fp32, products.result_bytes(), report)?;
        let mut found = self.compare(gpu, golden, result, products.result_bytes())?;
        for (word, mask) in &planted {
            let at = found.records.iter().position(|r| r.word == *word);
            let Some(at) = at else {
                report.proof_cut_short |= found.unlisted() > 0;
                continue;
            };
            report.found += 1;
            found.records[at].got ^= mask;
            if found.records[at].got == found.records[at].expected {
                found.records.swap_remove(at);
                found.total -= 1;
            }
        }
        self.tell(gpu, products, &found, "product with planted faults", report)
    }

    /// Flips one bit in each of some elements; which, and the masks.
    pub fn plant(
        &mut self,
        gpu: &Gpu,
        matrix: &DeviceMemory,
        element: Element,
        bytes: u64,
        report: &mut Report,
    ) -> Result<Vec<(u64, u64)>, Stop> {
        let width = result_bytes(element);
        let mut planted: Vec<(u64, u64)> = Vec::new();
        while (planted.len() as u64) < PLANTED {
            let word = self.numbers.below(bytes / width);
            if planted.iter().any(|(other, _)| *other == word) {
                continue;
            }
            planted.push((word, 1 << self.numbers.below(width * 8)));
        }
        self.unplant(gpu, matrix, element, &planted)?;
        report.planted += PLANTED;
        Ok(planted)
    }

    /// Flips the same bits once more.
    pub fn unplant(
        &self,
        gpu: &Gpu,
        matrix: &DeviceMemory,
        element: Element,
        planted: &[(u64, u64)],
    ) -> Result<(), Stop> {
        let width = result_bytes(element);
        for (word, mask) in planted {
            let mut bytes = [0; 8];
            let used = &mut bytes[..usize::try_from(width).unwrap_or(8)];
            let mut flip = || {
                matrix.read(word * width, used)?;
                for (byte, mask) in used.iter_mut().zip(mask.to_le_bytes()) {
                    *byte ^= mask;
                }
                matrix.write(word * width, used)
            };
            flip().map_err(|error| gpu.stop(error))?;
        }
        Ok(())
    }

    /// An element's bits.
    pub fn element(
        &self,
        gpu: &Gpu,
        matrix: &DeviceMemory,
        wanted: &Wanted,
        row: u64,
        column: u64,
    ) -> Result<u64, Stop> {
        let width = result_bytes(wanted.element);
        let mut bytes = [0; 8];
        let used = &mut bytes[..usize::try_from(width).unwrap_or(8)];
        matrix
            .read((row * u64::from(wanted.size) + column) * width, used)
            .map_err(|error| gpu.stop(error))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reports words that differ.
    ///
    /// # Errors
    /// The driver's.
    pub fn tell(
        &self,
        gpu: &Gpu,
        products: &Products,
        found: &Logged,
        step: &str,
        report: &mut Report,
    ) -> Result<(), Stop> {
        if found.total == 0 {
            return Ok(());
        }
        let multiprocessors = products.multiprocessors(gpu)?;
        // A double is two words.
        let words =
            products.result_bytes() / 4 / (u64::from(products.size) * u64::from(products.size));
        for record in &found.records {
            let word = record.word / words.max(1);
            report.mismatch(at_element(
                gpu,
                products,
                &multiprocessors,
                step,
                word,
                Some(record.expected),
                record.got,
            ));
        }
        report.count(found.unlisted());
        Ok(())
    }
}

/// A wrong element, with its place.
pub fn at_element(
    gpu: &Gpu,
    products: &Products,
    multiprocessors: &[u32],
    step: &str,
    word: u64,
    expected: Option<u64>,
    got: u64,
) -> BurnMismatch {
    let size = u64::from(products.size);
    let narrow = |value| u32::try_from(value).unwrap_or(u32::MAX);
    let (row, column) = (narrow(word / size), narrow(word % size));
    let tile = products.tile_of(row, column);
    let sm = usize::try_from(tile)
        .ok()
        .and_then(|tile| multiprocessors.get(tile))
        .copied();
    BurnMismatch {
        gpu: gpu.index,
        place: BurnPlace::Product,
        step: step.to_owned(),
        word,
        row: Some(row),
        column: Some(column),
        tile: Some(tile),
        sm: sm.filter(|sm| *sm != u32::MAX),
        expected,
        got: Some(got),
        difference: None,
        repeats: 1,
        staying: Staying::NotTold,
        holds_word: None,
    }
}

/// Hashes of the tiles of a result; none of doubles.
fn hashes(
    gpu: &Gpu,
    wanted: &Wanted,
    products: &Products,
    result: &DeviceMemory,
) -> Result<Option<TileHashes>, Stop> {
    if wanted.element == Element::Fp64 {
        return Ok(None);
    }
    let [tile_rows, tile_columns] = products.tile();
    let tiles = products.tiles();
    let memory = gpu.memory(u64::from(tiles) * 8)?;
    let kernel = gpu.kernel("hash_tiles", 256, 256 * 8)?;
    let args = HashArgs {
        matrix: result.address(),
        hashes: memory.address(),
        rows: wanted.size,
        columns: wanted.size,
        tile_rows,
        tile_columns,
    };
    gpu.launch_blocks(&kernel.function, [tiles, 1], &args)?;
    gpu.finish()?;
    let hashes = memory
        .read_words(0, usize::try_from(tiles).unwrap_or(0))
        .map_err(|error| gpu.stop(error))?;
    Ok(Some(TileHashes {
        of: format!(
            "{} {} {} seed {:#x} on {}",
            products.kernel(),
            wanted.element.name(),
            wanted.size,
            wanted.seed,
            gpu.context.about.capability
        ),
        tile_rows,
        tile_columns,
        tiles_across: wanted.size / tile_columns,
        hashes,
    }))
}
