//! The oracle of exact products: sums of rows and columns that the host computes from the seed, and
//! where they disagree with the GPU's, the elements one by one.

use cupel_model::worker_burnin::Element;

use super::gpu::{Gpu, Kernel};
use super::operands::{Exact, Sums};
use super::product::{Checks, Wanted, at_element};
use super::products::Products;
use super::report::{Report, Stop};
use crate::cuda::DeviceMemory;
use crate::cuda::args::SumsArgs;

/// Elements that are computed one by one after the sums disagreed, at most.
const SUSPECTS: usize = 1 << 16;

/// Holds the first exact product against the host's sums, and faults in it too.
pub fn hold(
    gpu: &Gpu,
    wanted: &Wanted,
    products: &Products,
    golden: &DeviceMemory,
    checks: &mut Checks,
    report: &mut Report,
) -> Result<(), Stop> {
    gpu.board.phase("the host's sums");
    let [seed_a, seed_b] = Products::seeds(wanted.seed);
    let size = u64::from(wanted.size);
    let exact = Exact {
        element: wanted.element,
        rows: size,
        columns: size,
        depth: size,
        seed_a,
        seed_b,
    };
    let must = exact.sums();
    gpu.board.phase("exact product against the host's sums");
    let sums = SumsOnGpu::new(gpu, wanted)?;
    let wrong = sums.wrong(gpu, golden, &must, checks)?;
    let suspects = wrong.suspects(size);
    let multiprocessors = products.multiprocessors(gpu)?;
    let mut told = 0;
    for (row, column) in &suspects {
        let (bits, is) = (
            exact.bits_at(*row, *column),
            checks.element(gpu, golden, wanted, *row, *column)?,
        );
        if bits != is {
            told += 1;
            let word = row * size + column;
            report.mismatch(at_element(
                gpu,
                products,
                &multiprocessors,
                "first product",
                word,
                Some(bits),
                is,
            ));
        }
    }
    if told == 0 && !wrong.is_empty() {
        report.count(1);
        report.note(format!(
            "sums of {} rows and {} columns are wrong, and no element of them is",
            wrong.rows.len(),
            wrong.columns.len()
        ));
    }
    // The same check has to find what is planted.
    let planted = checks.plant(gpu, golden, wanted.element, products.result_bytes(), report)?;
    let seen = sums.wrong(gpu, golden, &must, checks)?;
    for (word, _) in &planted {
        report.found += u64::from(seen.names(word / size, word % size));
    }
    checks.unplant(gpu, golden, wanted.element, &planted)
}

/// Sums that the GPU makes of its result.
struct SumsOnGpu {
    rows: DeviceMemory,
    columns: DeviceMemory,
    row_sums: Kernel,
    column_sums: Kernel,
    size: u32,
    wide: bool,
}

/// Rows and columns whose sums are wrong, and elements that are no integers.
#[derive(Default)]
struct Wrong {
    rows: Vec<u64>,
    columns: Vec<u64>,
    elements: Vec<u64>,
    size: u64,
}

impl Wrong {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.columns.is_empty() && self.elements.is_empty()
    }

    /// Whether they point at this element.
    fn names(&self, row: u64, column: u64) -> bool {
        self.elements.contains(&(row * self.size + column))
            || self.rows.binary_search(&row).is_ok() && self.columns.binary_search(&column).is_ok()
    }

    /// Elements that may be wrong: where wrong rows and columns cross. Where the errors of a row or
    /// of a column cancel, all of the other one.
    fn suspects(&self, size: u64) -> Vec<(u64, u64)> {
        let all: Vec<u64> = (0..size).collect();
        let (rows, columns) = match (self.rows.is_empty(), self.columns.is_empty()) {
            (true, true) => (&[][..], &[][..]),
            (false, true) => (&self.rows[..], &all[..]),
            (true, false) => (&all[..], &self.columns[..]),
            (false, false) => (&self.rows[..], &self.columns[..]),
        };
        let listed = self.elements.iter().map(|word| (word / size, word % size));
        let crossing = rows
            .iter()
            .flat_map(|row| columns.iter().map(move |column| (*row, *column)));
        let mut suspects: Vec<_> = listed.chain(crossing).take(SUSPECTS).collect();
        suspects.sort_unstable();
        suspects.dedup();
        suspects
    }
}

impl SumsOnGpu {
    fn new(gpu: &Gpu, wanted: &Wanted) -> Result<Self, Stop> {
        let bytes = u64::from(wanted.size) * 8;
        Ok(Self {
            rows: gpu.memory(bytes)?,
            columns: gpu.memory(bytes)?,
            row_sums: gpu.kernel("row_sums", 256, 256 * 8)?,
            column_sums: gpu.kernel("column_sums", 256, 0)?,
            size: wanted.size,
            wide: wanted.element == Element::Fp64,
        })
    }

    fn wrong(
        &self,
        gpu: &Gpu,
        matrix: &DeviceMemory,
        must: &Sums,
        checks: &Checks,
    ) -> Result<Wrong, Stop> {
        /// Rows that one block adds up a column of.
        const SLAB: u32 = 256;
        let args = |sums: &DeviceMemory| SumsArgs {
            matrix: matrix.address(),
            sums: sums.address(),
            errors: checks.log.address(),
            rows: self.size,
            columns: self.size,
            wide: u32::from(self.wide),
            slab: SLAB,
        };
        self.columns
            .fill(0, &gpu.stream)
            .map_err(|error| gpu.stop(error))?;
        gpu.launch(&self.row_sums, u64::from(self.size), &args(&self.rows))?;
        let blocks = [self.size.div_ceil(256), self.size.div_ceil(SLAB)];
        gpu.launch_blocks(&self.column_sums.function, blocks, &args(&self.columns))?;
        let logged = checks.log.take(gpu)?;
        let count = usize::try_from(self.size).unwrap_or(0);
        let differing = |sums: &DeviceMemory, must: &[i64]| -> Result<Vec<u64>, Stop> {
            let is = sums.read_words(0, count).map_err(|error| gpu.stop(error))?;
            Ok((0..)
                .zip(is.iter().zip(must))
                .filter(|(_, (is, must))| is.cast_signed() != **must)
                .map(|(at, _)| at)
                .collect())
        };
        Ok(Wrong {
            rows: differing(&self.rows, &must.rows)?,
            columns: differing(&self.columns, &must.columns)?,
            elements: logged.records.iter().map(|record| record.word).collect(),
            size: u64::from(self.size),
        })
    }
}
