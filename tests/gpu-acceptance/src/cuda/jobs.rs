//! The jobs, each beside the peer, within a given time.
//!
//! # Invariants
//! - A rate below its target is reported as measured; a wrong word or a missed planted fault fails.
//! - A part whose time is over is not run, and says so.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cupel_hardware::gpu::{BurnOptions, BurnTask, Library, WorkerProgram, burn};
use cupel_model::PciAddress;
use cupel_model::worker_burnin::{BurnEnd, BurnOutcome, BurnWork, Element, Operands, Pulse};
use serde_json::Value;

use super::peer::Peer;
use super::product::Product;
use super::table::{Row, Target, markdown};
use crate::report::{Step, StepResult};

/// Rows, columns and depth of products.
const SIZE: u32 = 8192;
/// Seed of operands, of both sides.
const SEED: u64 = 0x00c0_ffee_0000_0001;
/// Seconds of a measurement of a rate, in a run of [`WHOLE`].
const RATE_SECONDS: f64 = 4.0;
/// Seconds of a load for power, of each side, in a run of [`WHOLE`].
const POWER_SECONDS: f64 = 60.0;
/// Seconds of work that has to be without an error, in a run of [`WHOLE`].
const SOAK_SECONDS: f64 = 90.0;
/// What all parts together take; with less time each is shorter.
const WHOLE: Duration = Duration::from_secs(400);

/// How it is run.
pub struct Options {
    /// Directory with the worker and the peer's script.
    pub kit: PathBuf,
    /// Where outputs go.
    pub out: PathBuf,
    /// The GPU.
    pub gpu: PciAddress,
    /// All of it together: what is not begun by then is not run.
    pub limit: Duration,
    /// Of the time that each part but power would take had it all that it wants.
    pub scale: f64,
    /// Of the time that power wants: less than a minute proves less.
    pub power_scale: f64,
    /// How workers are started and watched.
    pub workers: BurnOptions,
}

impl Options {
    /// With the worker of the kit, and the libraries where `CUPEL_CUDA` and `CUPEL_NVML` say, or
    /// the loader finds them.
    pub fn new(kit: &Path, out: &Path, gpu: PciAddress, limit: Duration) -> Self {
        let mut workers = BurnOptions::new(WorkerProgram::File(kit.join("cupel-gpu-worker")));
        for (name, library) in [
            ("CUPEL_CUDA", &mut workers.cuda),
            ("CUPEL_NVML", &mut workers.nvml),
        ] {
            if let Some(path) = std::env::var_os(name) {
                *library = Library::At(path.into());
            }
        }
        let (power_scale, scale) = scales(limit);
        Self {
            kit: kit.to_owned(),
            out: out.to_owned(),
            gpu,
            limit,
            scale,
            power_scale,
            workers,
        }
    }
}

/// How much of their time power and the rest have. With half of all the time power has all of its
/// own, and the rest makes do.
fn scales(limit: Duration) -> (f64, f64) {
    let (limit, whole) = (limit.as_secs_f64(), WHOLE.as_secs_f64());
    let power = 2.0 * POWER_SECONDS;
    if limit < whole / 2.0 {
        return (limit / whole, limit / whole);
    }
    (1.0, ((limit - power) / (whole - power)).min(1.0))
}

/// What came of it.
#[derive(Default)]
pub struct Came {
    /// Steps, for the report.
    pub steps: Vec<Step>,
    /// The table and what else is to be read, in Markdown.
    pub text: String,
}

struct Part<'o> {
    options: &'o Options,
    began: Instant,
    rate_seconds: f64,
    power_seconds: f64,
    peer: anyhow::Result<Peer>,
    rows: Vec<Row>,
    notes: Vec<String>,
    steps: Vec<Step>,
    planted: u64,
    found: u64,
    wrong: u64,
}

/// Runs all parts.
pub fn run(options: &Options) -> Came {
    let mut part = Part {
        options,
        began: Instant::now(),
        rate_seconds: RATE_SECONDS * options.scale,
        power_seconds: POWER_SECONDS * options.power_scale,
        peer: Peer::new(&options.kit, &options.out),
        rows: Vec::new(),
        notes: Vec::new(),
        steps: Vec::new(),
        planted: 0,
        found: 0,
        wrong: 0,
    };
    for element in [Element::Bf16, Element::Fp8, Element::Fp32, Element::Fp64] {
        part.products(&Product::of(element));
    }
    part.memory_and_copies();
    part.power();
    part.pulses();
    part.soak();
    part.verdict();
    let mut text = markdown(&part.rows);
    for note in &part.notes {
        let _ = write!(text, "\n- {note}");
    }
    text.push('\n');
    Came {
        steps: part.steps,
        text,
    }
}

fn number(told: &Value, name: &str) -> Option<f64> {
    told[name].as_f64()
}

fn measured(outcome: Option<&BurnOutcome>, name: &str) -> Option<f64> {
    let sample = outcome?.measured.iter().find(|one| one.name == name)?;
    Some(sample.value)
}

impl Part<'_> {
    fn has(&self, seconds: f64) -> bool {
        let left = self.options.limit.saturating_sub(self.began.elapsed());
        left.as_secs_f64() >= seconds
    }

    fn step(&mut self, name: &'static str, result: StepResult) {
        println!("{name}: {}", result.line());
        self.steps.push(Step { name, result });
    }

    /// One job; what it planted, found and saw wrong is added up.
    fn job(&mut self, name: &'static str, work: BurnWork) -> Option<BurnOutcome> {
        let task = BurnTask {
            gpus: vec![self.options.gpu],
            seed: SEED,
            cpus: Vec::new(),
            work,
        };
        match burn(&self.options.workers, &task, &mut |_| true) {
            Ok(outcome) => {
                let path = self
                    .options
                    .out
                    .join(format!("{}.json", name.replace(' ', "-")));
                let _ = save(&path, &outcome);
                self.planted += outcome.planted;
                self.found += outcome.found;
                self.wrong += outcome.mismatch_count;
                self.notes
                    .extend(outcome.notes.iter().map(|note| format!("{name}: {note}")));
                let seen = format!(
                    "{:.1} s, {} of {} planted faults found, {} words wrong",
                    outcome.seconds, outcome.found, outcome.planted, outcome.mismatch_count
                );
                let fine = outcome.end == BurnEnd::Done
                    && outcome.found == outcome.planted
                    && outcome.proof_complete
                    && outcome.mismatch_count == 0;
                let result = match &outcome.end {
                    BurnEnd::Unsupported(why) => StepResult::NotRun(why.clone()),
                    _ if fine => StepResult::Passed(seen),
                    BurnEnd::Done | BurnEnd::Stopped | BurnEnd::Failed(_) | BurnEnd::Unsafe(_) => {
                        StepResult::Failed(format!("{:?}; {seen}", outcome.end))
                    }
                };
                self.step(name, result);
                Some(outcome)
            }
            Err(lost) => {
                self.step(name, StepResult::Failed(lost.to_string()));
                None
            }
        }
    }

    /// One measurement of the peer.
    fn peer(&mut self, what: &str, name: &str, seconds: f64) -> Option<Value> {
        let told = match &self.peer {
            Ok(peer) => peer.measure(what, name, SEED, SIZE, seconds),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        match told {
            Ok(told) => Some(told),
            Err(error) => {
                self.notes.push(format!("PyTorch, {what}: {error:#}"));
                None
            }
        }
    }

    fn row(
        &mut self,
        name: &str,
        cupel: Option<f64>,
        peer: Option<f64>,
        unit: &'static str,
        target: Option<Target>,
    ) {
        self.rows.push(Row {
            name: name.to_owned(),
            cupel,
            peer,
            unit,
            target,
        });
    }

    /// The peer before and after, so that a GPU that warms up favours nobody.
    fn products(&mut self, product: &Product) {
        if !self.has(4.0 * self.rate_seconds) {
            return;
        }
        let Product {
            element,
            what,
            name,
            random,
            exact,
        } = *product;
        let before = self.peer(what, &format!("peer-{what}-before"), self.rate_seconds);
        let ours = self.job(
            random,
            BurnWork::Product {
                element,
                operands: Operands::Random,
                size: SIZE,
                seconds: self.rate_seconds * 2.0,
            },
        );
        let after = self.peer(what, &format!("peer-{what}-after"), self.rate_seconds);
        let rates: Vec<f64> = [&before, &after]
            .into_iter()
            .filter_map(|told| number(told.as_ref()?, "tflops"))
            .collect();
        if rates.len() == 2 {
            self.notes.push(format!(
                "PyTorch, {what}: {:.1} before and {:.1} TFLOP/s after Cupel",
                rates[0], rates[1]
            ));
        }
        let peer = rates.iter().copied().reduce(f64::max);
        let target = (element == Element::Bf16).then_some(Target::RatioAtLeast(1.0));
        let rate = measured(ours.as_ref(), "peak compute rate");
        self.row(name, rate, peer, "TFLOP/s", target);
        if let Some(told) = &before
            && let Some(single) = number(told, "tflops_fp32_result")
        {
            let name = format!("{name}, float results of both");
            self.row(&name, rate, Some(single), "TFLOP/s", None);
        }
        self.job(
            exact,
            BurnWork::Product {
                element,
                operands: Operands::Exact,
                size: SIZE,
                seconds: self.rate_seconds,
            },
        );
    }

    fn memory_and_copies(&mut self) {
        if !self.has(10.0 * self.rate_seconds) {
            return;
        }
        let copies = self.peer("copies", "peer-copies", self.rate_seconds);
        let told = |name| copies.as_ref().and_then(|told| number(told, name));
        let memory = self.job(
            "memory",
            BurnWork::Memory {
                share: 0.99,
                passes: 3,
                seconds: self.rate_seconds * 5.0,
            },
        );
        let outcome = memory.as_ref();
        let covered = outcome.map(|one| share(one.covered, one.asked));
        self.row(
            "free memory covered",
            covered,
            None,
            "%",
            Some(Target::AtLeast(97.0)),
        );
        let tested = measured(outcome, "tested memory");
        let sweep = measured(outcome, "write and verify sweep");
        // A byte is written once and read once; a copy at this rate moves both.
        let allowed = tested
            .zip(told("device_gbps"))
            .map(|(gigabytes, rate)| 2.0 * gigabytes / rate);
        self.row(
            "write and verify sweep, against the time of a copy",
            sweep,
            allowed,
            "s",
            Some(Target::RatioAtMost(1.2)),
        );
        for step in [
            "write, upwards",
            "verify, upwards",
            "verify and write, upwards",
            "verify and write, downwards",
            "verify and write, random order",
            "verify, random order",
        ] {
            let rate = measured(outcome, step);
            self.row(
                &format!("memory: {step}"),
                rate,
                told("device_gbps"),
                "GB/s",
                None,
            );
        }
        let link = self.job(
            "host link",
            BurnWork::HostLink {
                bytes: 1 << 30,
                seconds: self.rate_seconds * 0.75,
            },
        );
        for (name, peer) in [
            ("host to GPU", told("to_gpu_gbps")),
            ("GPU to host", told("to_host_gbps")),
            ("host and GPU, both ways", None),
        ] {
            let rate = measured(link.as_ref(), name);
            self.row(name, rate, peer, "GB/s", None);
        }
    }

    fn power(&mut self) {
        if !self.has(2.0 * self.power_seconds) {
            self.step(
                "power",
                StepResult::NotRun("no time is left for two minutes of load".to_owned()),
            );
            return;
        }
        let peer = self.peer("power", "peer-power", self.power_seconds);
        let ours = self.job(
            "power",
            BurnWork::Power {
                element: Element::Bf16,
                size: SIZE,
                seconds: self.power_seconds,
                pulse: None,
            },
        );
        let told = |name| peer.as_ref().and_then(|told| number(told, name));
        let outcome = ours.as_ref();
        let rows = [
            ("power: mean", "mean power", told("watts"), "W"),
            (
                "power: mean, by energy",
                "mean power by energy",
                told("watts_by_energy"),
                "W",
            ),
            ("power: limit", "power limit", told("limit"), "W"),
            (
                "power: time at the limit",
                "time at the power limit",
                None,
                "%",
            ),
            (
                "power: compute rate meanwhile",
                "compute rate",
                told("tflops"),
                "TFLOP/s",
            ),
        ];
        for (name, of, peer, unit) in rows {
            self.row(name, measured(outcome, of), peer, unit, None);
        }
        let of_limit = measured(outcome, "power of the limit");
        let of_peer = told("watts")
            .zip(told("limit"))
            .map(|(watts, limit)| watts / limit * 100.0);
        self.row(
            "power of the limit",
            of_limit,
            of_peer,
            "%",
            Some(Target::AtLeast(95.0)),
        );
        let capped = measured(outcome, "time at the power limit").unwrap_or(0.0);
        if of_limit.is_some_and(|share| share < 95.0) && capped < 50.0 {
            self.step(
                "power limit",
                StepResult::NotRun("INCOMPLETE: less than 0.95 of the limit was drawn".to_owned()),
            );
        }
    }

    /// A load that comes and goes, for regulators and power supplies.
    fn pulses(&mut self) {
        if !self.has(self.rate_seconds * 2.0) {
            return;
        }
        let pulse = Pulse {
            on_ms: 100,
            off_ms: 100,
            stagger_ms: 0,
            ramp: 5,
        };
        let ours = self.job(
            "power in pulses",
            BurnWork::Power {
                element: Element::Bf16,
                size: SIZE,
                seconds: self.rate_seconds * 2.0,
                pulse: Some(pulse),
            },
        );
        for (name, of) in [
            ("pulses of 100 ms: mean power", "mean power"),
            (
                "pulses of 100 ms: mean power by energy",
                "mean power by energy",
            ),
        ] {
            self.row(name, measured(ours.as_ref(), of), None, "W", None);
        }
    }

    /// What time is left is spent on work that has to be without an error.
    fn soak(&mut self) {
        let left = self.options.limit.saturating_sub(self.began.elapsed());
        let seconds = (left.as_secs_f64() * 0.8).min(SOAK_SECONDS * self.options.scale);
        if seconds < 1.0 {
            return;
        }
        self.job(
            "soak: products",
            BurnWork::Product {
                element: Element::Bf16,
                operands: Operands::Random,
                size: SIZE,
                seconds: seconds * 0.6,
            },
        );
        self.job(
            "soak: memory",
            BurnWork::Memory {
                share: 0.99,
                passes: u32::MAX,
                seconds: seconds * 0.4,
            },
        );
    }

    fn verdict(&mut self) {
        let seen = format!(
            "{} of {} planted faults found, {} words wrong that nobody planted",
            self.found, self.planted, self.wrong
        );
        let fine = self.planted > 0 && self.found == self.planted && self.wrong == 0;
        let result = if fine {
            StepResult::Passed(seen)
        } else {
            StepResult::Failed(seen)
        };
        self.step("planted faults and clean soak", result);
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / (whole.max(1)) as f64 * 100.0
}

fn save(path: &Path, outcome: &BurnOutcome) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(outcome)?;
    std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_fake_driver::models::Model;
    use cupel_fake_driver::state::State;

    fn built(name: &str) -> PathBuf {
        let own = std::env::current_exe().expect("own path");
        let deps = own.parent().expect("deps");
        [deps.parent().expect("profile"), deps]
            .map(|directory| directory.join(name))
            .into_iter()
            .find(|path| path.exists())
            .unwrap_or_else(|| panic!("no {name}: run `cargo build --workspace` first"))
    }

    /// The whole of it on a simulated GPU, where rates mean nothing and there is no PyTorch.
    #[test]
    fn every_part_runs_and_is_in_the_report() {
        let kit = tempfile::tempdir().expect("directory");
        let library = |name: &str| {
            let path = kit.path().join(name);
            std::fs::copy(built("libcupel_fake_driver.so"), &path).expect("copy");
            Library::At(path)
        };
        let state = State::healthy(Model::H200, &["0000:9b:00.0"]);
        state.write_beside(kit.path()).expect("state");
        let mut workers = BurnOptions::new(WorkerProgram::File(built("cupel-gpu-worker")));
        workers.cuda = library("libcuda.so.1");
        workers.nvml = library("libnvidia-ml.so.1");
        let came = run(&Options {
            kit: kit.path().to_owned(),
            out: kit.path().to_owned(),
            gpu: "0000:9b:00.0".parse().expect("address"),
            limit: Duration::from_secs(900),
            scale: 0.05,
            power_scale: 0.05,
            workers,
        });
        let failed: Vec<_> = came
            .steps
            .iter()
            .filter(|step| matches!(step.result, StepResult::Failed(_)))
            .map(|step| format!("{}: {}", step.name, step.result.line()))
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
        let last = came.steps.last().expect("a step");
        assert_eq!(last.name, "planted faults and clean soak");
        for row in [
            "TFLOP/s of bf16 products",
            "TFLOP/s of fp8 products",
            "write and verify sweep",
            "host to GPU",
            "power of the limit",
            "free memory covered",
        ] {
            assert!(came.text.contains(row), "no {row} in:\n{}", came.text);
        }
    }
}
