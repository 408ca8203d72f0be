//! As much power as the limit allows.
//!
//! Tensor cores alone do not reach it, nor does memory alone. Products of random operands run
//! without a pause, and beside them memory is read and verified; how much of it is steered by the
//! measured power ([`control`](super::control)). Warps that only copy read it where the kernel has
//! them; elsewhere a second stream does.

use std::time::{Duration, Instant};

use cupel_model::worker_burnin::{BurnMismatch, BurnPlace, Element, Operands, Pulse, Staying};

use super::control::{Control, Meter};
use super::gpu::{Flow, Gpu, Kernel};
use super::log::ErrorLog;
use super::memory::{self, Piece};
use super::pattern::Numbers;
use super::product::{Checks, spoil};
use super::products::{Beside, Products};
use super::report::{Report, Stop};
use super::sensor::Sensor;
use crate::cuda::args::MemoryArgs;
use crate::cuda::{DeviceMemory, Stream};

/// What is asked.
pub struct Wanted {
    /// Type of the operands.
    pub element: Element,
    /// Rows, columns and depth.
    pub size: u32,
    /// How long.
    pub seconds: f64,
    /// Load that comes and goes.
    pub pulse: Option<Pulse>,
    /// Seed.
    pub seed: u64,
}

/// How long a step of the control is tried. NVML's power is the average of a second where it is not
/// that of the moment.
const TRIAL: Duration = Duration::from_millis(2500);
/// Trials at the start that do not count: the GPU warms up, the control searches.
const WARMING: u32 = 2;
/// Share of free memory that is read beside the products.
const SHARE: f64 = 0.5;

struct Load<'g> {
    gpu: &'g Gpu,
    seed: u64,
    products: Products,
    golden: DeviceMemory,
    result: DeviceMemory,
    checks: Checks,
    pieces: Vec<Piece>,
    log: ErrorLog,
    /// A stream of its own for memory, where products have no warps to spare.
    second: Option<(Stream, Kernel)>,
    launches: u32,
}

/// Runs the job.
///
/// # Errors
/// It ends before it is done.
pub fn run(
    gpu: &Gpu,
    wanted: &Wanted,
    sensor: Option<&Sensor>,
    report: &mut Report,
) -> Result<(), Stop> {
    gpu.board.phase("operands, and memory beside them");
    let mut load = Load::new(gpu, wanted, report)?;
    report.asked = 1;
    load.checks
        .prove(gpu, &load.products, &load.golden, &load.result, report)?;
    report.proof_complete = true;

    let began = Instant::now();
    let (mut control, mut meter) = (Control::new(), Meter::default());
    let (mut busy, mut products, mut trials) = (0.0, 0_u32, 0);
    if let Some(pulse) = wanted.pulse {
        // Not the same on every GPU, though the seed is.
        let own = wanted.seed ^ u64::from(std::process::id()) << 32 ^ u64::from(gpu.index);
        let wait = Numbers::new(own, 3).below(u64::from(pulse.stagger_ms).max(1));
        idle(gpu, Duration::from_millis(wait))?;
    }
    loop {
        gpu.go_on()?;
        let left = wanted.seconds - began.elapsed().as_secs_f64();
        if trials > 0 && left <= 0.0 {
            break;
        }
        trials += 1;
        let time = wanted.pulse.map_or(TRIAL, |pulse| ramped(pulse, trials));
        gpu.board.phase(match wanted.pulse {
            Some(_) => format!("pulse {trials}"),
            None => format!("load, memory at step {}", control.rate()),
        });
        let step = load.step(
            time.as_secs_f64().min(left.max(0.0)),
            control.rate(),
            || {
                if let Some(sensor) = sensor {
                    meter.take(sensor.reading(gpu.index), began.elapsed().as_secs_f64());
                }
            },
        )?;
        let counts = trials > WARMING || left < TRIAL.as_secs_f64();
        let (watts, limit, capped) = meter.trial(counts);
        control.next(watts, limit, capped);
        busy += step.seconds;
        products += step.products;
        let rate = load.products.operations() * f64::from(step.products) / step.seconds / 1e12;
        gpu.board.sample(gpu.index, "compute rate", rate, "TFLOP/s");
        let beside = step.beside_bytes / step.seconds / 1e9;
        gpu.board
            .sample(gpu.index, "memory read beside", beside, "GB/s");
        load.verify(trials, report)?;
        report.verified += 1;
        if let Some(pulse) = wanted.pulse {
            idle(gpu, Duration::from_millis(u64::from(pulse.off_ms)))?;
        }
    }
    report.covered = 1;
    let rate = load.products.operations() * f64::from(products) / f64::max(busy, 1e-9) / 1e12;
    report.measure(gpu.index, "compute rate", rate, "TFLOP/s");
    meter.report(gpu.index, began.elapsed().as_secs_f64(), report);
    if sensor.is_none() {
        report.note("power was not measured: there is no NVML");
    }
    Ok(())
}

/// A pulse grows to its full length.
fn ramped(pulse: Pulse, number: u32) -> Duration {
    let ramp = pulse.ramp.max(1);
    Duration::from_millis(u64::from(pulse.on_ms.max(1))) * number.min(ramp) / ramp
}

/// Leaves the GPU alone, unless the job is asked to end.
fn idle(gpu: &Gpu, time: Duration) -> Result<(), Stop> {
    let began = Instant::now();
    while let Some(left) = time.checked_sub(began.elapsed()) {
        gpu.go_on()?;
        std::thread::sleep(left.min(Duration::from_millis(50)));
        gpu.board.step();
    }
    Ok(())
}

/// What was done in a step.
struct Step {
    seconds: f64,
    products: u32,
    beside_bytes: f64,
}

impl<'g> Load<'g> {
    fn new(gpu: &'g Gpu, wanted: &Wanted, report: &mut Report) -> Result<Self, Stop> {
        let mut products = Products::new(gpu, wanted.element, wanted.size, report)?;
        let golden = gpu.memory(products.result_bytes())?;
        let result = gpu.memory(products.result_bytes())?;
        let mut checks = Checks::new(gpu, wanted.seed)?;
        products.fill(gpu, Operands::Random, wanted.seed)?;
        spoil(gpu, &golden)?;
        products.multiply(gpu, &golden, Beside::default())?;
        gpu.finish()?;
        checks.agree(gpu, &mut products, &golden, &result, report)?;
        products.unshuffle();
        let second = if products.has_beside() {
            None
        } else {
            let stream = Stream::new(&gpu.context).map_err(|error| gpu.stop(error))?;
            Some((stream, gpu.kernel("memory_verify", 256, 0)?))
        };
        let load = Self {
            gpu,
            seed: wanted.seed,
            products,
            golden,
            result,
            checks,
            log: ErrorLog::new(gpu)?,
            pieces: memory::take(gpu, SHARE)?,
            second,
            launches: 0,
        };
        let write = gpu.kernel("memory_write", 256, 0)?;
        for piece in &load.pieces {
            let args = load.memory_args(piece);
            gpu.launch(&write, args.units.div_ceil(32), &args)?;
        }
        gpu.finish()?;
        Ok(load)
    }

    fn memory_args(&self, piece: &Piece) -> MemoryArgs {
        MemoryArgs {
            base: piece.memory.address(),
            first_word: piece.first_word,
            units: piece.memory.bytes() / 512,
            seed: self.seed,
            errors: self.log.address(),
            ..MemoryArgs::default()
        }
    }

    /// Products without a pause for some seconds; `look` is called after each.
    fn step(&mut self, seconds: f64, rate: u32, mut look: impl FnMut()) -> Result<Step, Stop> {
        let gpu = self.gpu;
        let begun = Instant::now();
        spoil(gpu, &self.result)?;
        let begin = gpu.mark()?;
        let mut flow = Flow::new(gpu);
        let (mut products, mut beside_bytes) = (0, 0.0);
        while products == 0 || begun.elapsed().as_secs_f64() < seconds {
            gpu.go_on()?;
            beside_bytes += self.launch(rate)?;
            flow.begun()?;
            products += 1;
            look();
        }
        let end = gpu.mark()?;
        gpu.wait(&end)?;
        if let Some((stream, _)) = &self.second {
            let mark = gpu.mark_on(stream)?;
            gpu.wait(&mark)?;
        }
        Ok(Step {
            seconds: gpu.seconds(&begin, &end)?.max(1e-9),
            products,
            beside_bytes,
        })
    }

    /// Begins one product with memory beside it; about how many bytes that reads.
    fn launch(&mut self, rate: u32) -> Result<f64, Stop> {
        let gpu = self.gpu;
        let number = self.launches;
        self.launches = self.launches.wrapping_add(1);
        let count = self.pieces.len();
        let piece = usize::try_from(number)
            .ok()
            .and_then(|number| self.pieces.get(number.checked_rem(count)?));
        let Some(piece) = piece.filter(|_| rate > 0) else {
            self.products
                .multiply(gpu, &self.result, Beside::default())?;
            return Ok(0.0);
        };
        let args = self.memory_args(piece);
        let Some((stream, verify)) = &self.second else {
            let beside = Beside {
                base: args.base,
                first_word: args.first_word,
                units: args.units,
                seed: args.seed,
                mask: 0,
                errors: args.errors,
                rate,
                phase: number.wrapping_mul(977),
            };
            self.products.multiply(gpu, &self.result, beside)?;
            return Ok(self.products.beside_bytes(rate));
        };
        // A part of the piece, so that the product does not wait for all of it.
        let units = (args.units * u64::from(rate) / 48 / 32).max(1) * 32;
        let part = MemoryArgs { units, ..args };
        let blocks = [
            verify
                .blocks
                .min(u32::try_from(units.div_ceil(32)).unwrap_or(u32::MAX)),
            1,
        ];
        gpu.context
            .launch(&verify.function, blocks, &part, stream)
            .map_err(|error| gpu.stop(error))?;
        self.products
            .multiply(gpu, &self.result, Beside::default())?;
        Ok(f64::from(u32::try_from(units).unwrap_or(u32::MAX)) * 512.0)
    }

    /// Holds the last product, and the memory that was read, against what they must be.
    fn verify(&mut self, trial: u32, report: &mut Report) -> Result<(), Stop> {
        let gpu = self.gpu;
        let bytes = self.products.result_bytes();
        let found = self
            .checks
            .compare(gpu, &self.golden, &self.result, bytes)?;
        let step = format!("power, product of trial {trial}");
        self.checks
            .tell(gpu, &self.products, &found, &step, report)?;
        let memory = self.log.take(gpu)?;
        for record in &memory.records {
            report.mismatch(BurnMismatch {
                gpu: gpu.index,
                place: BurnPlace::Memory,
                step: format!("power, memory of trial {trial}"),
                word: record.word,
                row: None,
                column: None,
                tile: None,
                sm: Some(record.sm),
                expected: Some(record.expected),
                got: Some(record.got),
                difference: None,
                repeats: 1,
                staying: Staying::NotTold,
                holds_word: None,
            });
        }
        report.count(memory.unlisted());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulses_grow() {
        let pulse = Pulse {
            on_ms: 400,
            off_ms: 100,
            stagger_ms: 0,
            ramp: 4,
        };
        let lengths: Vec<_> = (1..7).map(|n| ramped(pulse, n).as_millis()).collect();
        assert_eq!(lengths, [100, 200, 300, 400, 400, 400]);
    }
}
