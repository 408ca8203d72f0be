//! The live view of a burn-in: a line a GPU and a line a stage of the host, with bars, watts,
//! degrees, rates and errors; plain lines where there is no terminal.
//!
//! # Invariants
//! - What is wrong becomes a line that stays, at once. Stages of many GPUs that pass become one line
//!   a kind.
//! - It only listens: nothing waits for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cupel_burnin::{
    Outcome, Progress, Resource, Sample, Schedule, StageKind, StageName, StageResult,
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::schedule::clock;
use super::text;
use crate::output::{note, printable, stderr_is_terminal};

/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Steps of a whole bar.
const WHOLE: u64 = 1000;

/// What is known of a line: a GPU, or a stage.
#[derive(Debug, Default)]
struct Line {
    bar: Option<ProgressBar>,
    stage: String,
    done: f64,
    doing: String,
    /// Newest values, by name.
    values: BTreeMap<String, (f64, String)>,
    wrong: u64,
}

/// How many stages of a kind there are, and how they ended.
#[derive(Debug, Default)]
struct Tally {
    all: usize,
    ended: usize,
    passed: usize,
    /// Cannot be tested here, and nobody needs it.
    apart: usize,
}

/// Tells a person what goes on.
#[derive(Debug)]
pub struct View {
    screen: Option<MultiProgress>,
    lines: BTreeMap<String, Line>,
    kinds: BTreeMap<StageKind, Tally>,
    began: Instant,
    last: Instant,
}

impl Default for View {
    fn default() -> Self {
        let screen = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self {
            screen: stderr_is_terminal().then(screen),
            lines: BTreeMap::new(),
            kinds: BTreeMap::new(),
            began: Instant::now(),
            last: Instant::now(),
        }
    }
}

/// The line that a stage is shown on: its GPU's, else its own.
fn key(stage: &StageName) -> String {
    match &stage.target {
        Some(target) if stage.kind.is_gpu() => target.clone(),
        Some(_) | None => stage.to_string(),
    }
}

/// Values in the order in which people read them, and how exact they are.
const VALUES: [(&str, usize); 9] = [
    ("power", 0),
    ("temperature", 0),
    ("memory temperature", 0),
    ("sm clock", 0),
    ("clock", 0),
    ("compute", 0),
    ("bandwidth", 1),
    ("throttled", 0),
    ("errors", 0),
];

impl Line {
    fn message(&self) -> String {
        let mut parts = Vec::new();
        for (name, digits) in VALUES {
            if let Some((value, unit)) = self.values.get(name) {
                let unit = match (name, unit.as_str()) {
                    ("errors", _) => "errors",
                    ("memory temperature", _) => "°C memory",
                    (_, unit) => unit,
                };
                parts.push(format!("{value:.digits$} {unit}"));
            }
        }
        if self.wrong > 0 {
            parts.push(format!("{} WRONG", self.wrong));
        }
        let values = parts.join("  ");
        let gap = if values.is_empty() { "" } else { "  " };
        format!("{values}{gap}{} {}", self.stage, self.doing)
    }

    fn draw(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(position(self.done));
            bar.set_message(self.message());
        }
    }
}

impl View {
    /// A line that stays.
    pub fn line(&self, line: &str) {
        let line = printable(line);
        match &self.screen {
            Some(screen) => screen.suspend(|| note(&line)),
            None => note(&line),
        }
    }

    /// Something happened.
    pub fn hear(&mut self, event: &Progress) {
        match event {
            Progress::Started { schedule, .. } => self.begin(schedule),
            Progress::StageStarted { stage, what } => self.stage_begins(stage, what),
            Progress::Advanced { stage, done, doing } => {
                let line = self.of(&key(stage));
                line.done = done.get();
                line.doing.clone_from(doing);
                line.draw();
                self.plain();
            }
            Progress::Sampled { stage, sample } => self.sampled(stage, sample),
            Progress::Mismatch { stage, mismatch } => {
                let line = self.of(&key(stage));
                line.wrong += 1;
                line.draw();
                self.line(&format!("burn-in, {stage}: WRONG: {mismatch}"));
            }
            Progress::GivenUp { stage, why } => {
                self.line(&format!("burn-in, {stage}: GIVEN UP: {why}"));
            }
            Progress::StageFinished(result) => self.stage_ends(result),
            Progress::Finished { .. } => {
                for line in self.lines.values() {
                    if let Some(bar) = &line.bar {
                        bar.finish_and_clear();
                    }
                }
                self.lines.clear();
            }
        }
    }

    fn begin(&mut self, schedule: &Schedule) {
        self.began = Instant::now();
        self.kinds.clear();
        for slot in &schedule.slots {
            self.kinds.entry(slot.stage.kind).or_default().all += 1;
        }
    }

    fn of(&mut self, key: &str) -> &mut Line {
        let screen = &self.screen;
        self.lines.entry(key.to_owned()).or_insert_with(|| Line {
            bar: screen.as_ref().map(|screen| screen.add(bar(key))),
            ..Line::default()
        })
    }

    fn stage_begins(&mut self, stage: &StageName, what: &str) {
        let many = self.kinds.get(&stage.kind).is_some_and(|kind| kind.all > 2);
        if !many {
            self.line(&format!("burn-in, {stage}: {what}"));
        }
        let line = self.of(&key(stage));
        line.stage = stage.kind.name().to_owned();
        line.done = 0.0;
        line.doing = String::new();
        line.values.clear();
        line.draw();
    }

    fn sampled(&mut self, stage: &StageName, sample: &Sample) {
        let key = match &sample.on {
            Some(Resource::Gpu { index }) => format!("gpu{index}"),
            Some(_) | None => key(stage),
        };
        let line = self.of(&key);
        line.values
            .insert(sample.name.clone(), (sample.value, sample.unit.clone()));
        line.draw();
    }

    fn stage_ends(&mut self, result: &StageResult) {
        let tally = self.kinds.entry(result.stage).or_default();
        tally.ended += 1;
        let well = matches!(result.outcome, Outcome::Pass | Outcome::Skipped);
        let apart = result.outcome == Outcome::Unsupported && !result.required;
        tally.passed += usize::from(well);
        tally.apart += usize::from(apart);
        let (many, last) = (tally.all > 2, tally.ended == tally.all);
        let (passed, all_apart, all) = (tally.passed, tally.apart, tally.all);
        if (!well && !apart) || !many {
            let first = result.reasons.first().filter(|_| !well);
            self.line(&format!(
                "burn-in, {}: {}, {}{}",
                result.name,
                text::outcome(result.outcome),
                text::coverage(result),
                first.map(|why| format!(": {why}")).unwrap_or_default()
            ));
        }
        if many && last {
            let mut line = format!("burn-in, {}: {passed} of {all} pass", result.stage);
            if all_apart > 0 {
                let why = result.reasons.first().map_or("", String::as_str);
                line = format!("{line}, {all_apart} cannot be tested here ({why})");
            }
            self.line(&line);
        }
        let own = result.name.target.is_none() || !result.stage.is_gpu();
        if own && let Some(line) = self.lines.remove(&key(&result.name)) {
            if let Some(bar) = line.bar {
                bar.finish_and_clear();
            }
        } else if let Some(line) = self.lines.get_mut(&key(&result.name)) {
            line.done = 100.0;
            line.doing = text::outcome(result.outcome).to_owned();
            line.draw();
        }
    }

    /// Where there is no terminal: all that goes on in a line, now and then.
    fn plain(&mut self) {
        if self.screen.is_some() || self.last.elapsed() < PLAIN_EVERY {
            return;
        }
        self.last = Instant::now();
        let mut stages: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in self.lines.values().filter(|line| !line.doing.is_empty()) {
            stages.entry(&line.stage).or_default().push(line);
        }
        let said: Vec<_> = stages
            .into_iter()
            .map(|(stage, lines)| {
                let least = lines.iter().map(|line| line.done).fold(100.0, f64::min);
                match lines.as_slice() {
                    [one] => format!("{stage} {least:.0} % ({})", one.doing),
                    many => format!("{stage} {least:.0} % on {}", many.len()),
                }
            })
            .collect();
        let at = clock(self.began.elapsed().as_secs_f64());
        note(&format!("burn-in, {at}: {}", printable(&said.join(", "))));
    }
}

fn bar(key: &str) -> ProgressBar {
    let bar = ProgressBar::new(WHOLE);
    let template = "{prefix:<16} [{bar:20}] {percent:>3} %  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(key.to_owned());
    bar
}

/// Steps of the bar for a share in per cent.
fn position(percent: f64) -> u64 {
    (0..=WHOLE)
        .rev()
        .find(|step| *step as f64 <= percent * 10.0)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_becomes_a_place_on_the_bar() {
        assert_eq!(position(0.0), 0);
        assert_eq!(position(50.0), 500);
        assert_eq!(position(100.0), WHOLE);
        assert_eq!(position(1e9), WHOLE);
    }

    #[test]
    fn stages_of_a_gpu_share_its_line_and_values_are_in_order() {
        let memory = StageName::on(StageKind::GpuMemory, "gpu3");
        let compute = StageName::on(StageKind::GpuCompute, "gpu3");
        assert_eq!(key(&memory), key(&compute));
        assert_eq!(key(&StageName::on(StageKind::Nvme, "nvme0")), "nvme/nvme0");
        let mut line = Line {
            stage: "gpu-compute".to_owned(),
            doing: "bf16".to_owned(),
            ..Line::default()
        };
        for (name, value, unit) in [
            ("errors", 0.0, ""),
            ("compute", 745.4, "TFLOP/s"),
            ("temperature", 71.0, "°C"),
            ("power", 698.2, "W"),
        ] {
            line.values
                .insert(name.to_owned(), (value, unit.to_owned()));
        }
        assert_eq!(
            line.message(),
            "698 W  71 °C  745 TFLOP/s  0 errors  gpu-compute bf16"
        );
    }
}
