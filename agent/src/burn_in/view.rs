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
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::schedule::clock;
use super::text;
use crate::output::{note, printable, stderr_is_terminal};
use crate::render::table::Layout;

/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Width of a bar.
const WHOLE: usize = 20;

/// What is known of a line: a GPU, or a stage.
#[derive(Debug, Default)]
struct Line {
    /// Whether there was anything to be shown yet.
    shown: bool,
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
    /// All lines as one block, so that it grows and shrinks in one piece.
    screen: Option<ProgressBar>,
    lines: BTreeMap<Key, Line>,
    kinds: BTreeMap<StageKind, Tally>,
    began: Instant,
    last: Instant,
}

impl Default for View {
    fn default() -> Self {
        let screen = || {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        };
        Self {
            screen: stderr_is_terminal().then(screen),
            lines: BTreeMap::new(),
            kinds: BTreeMap::new(),
            began: Instant::now(),
            last: Instant::now(),
        }
    }
}

/// What a line is of; in the order in which lines stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A stage that is not of one GPU.
    Stage(String),
    /// A GPU, by number.
    Gpu(u32),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stage(name) => f.write_str(name),
            Self::Gpu(index) => write!(f, "gpu{index}"),
        }
    }
}

/// The line that a stage is shown on: its GPU's, else its own.
fn key(stage: &StageName) -> Key {
    let index = stage.target.as_ref().and_then(|target| {
        let digits = target.strip_prefix("gpu").filter(|_| stage.kind.is_gpu())?;
        digits.parse().ok()
    });
    index.map_or_else(|| Key::Stage(stage.to_string()), Key::Gpu)
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

    /// As it is drawn.
    fn row(&self, key: &Key) -> String {
        let full = (0..=WHOLE)
            .rev()
            .find(|step| *step as f64 <= self.done / 100.0 * WHOLE as f64)
            .unwrap_or(0);
        let tip = if full < WHOLE { ">" } else { "" };
        let bar = format!("{}{tip}", "=".repeat(full));
        format!(
            "{:<16} [{bar:<WHOLE$}] {:>3.0} %  {}",
            key.to_string(),
            self.done,
            self.message()
        )
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
                let line = self.of(key(stage));
                line.done = done.get();
                line.doing.clone_from(doing);
                self.draw();
                self.plain();
            }
            Progress::Sampled { stage, sample } => self.sampled(stage, sample),
            Progress::Mismatch { stage, mismatch } => {
                let line = self.of(key(stage));
                line.wrong += 1;
                self.draw();
                self.line(&format!("burn-in, {stage}: WRONG: {mismatch}"));
            }
            Progress::GivenUp { stage, why } => {
                self.line(&format!("burn-in, {stage}: GIVEN UP: {why}"));
            }
            Progress::StageFinished(result) => self.stage_ends(result),
            Progress::Finished { .. } => {
                self.lines.clear();
                if let Some(screen) = &self.screen {
                    screen.finish_and_clear();
                }
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

    /// The line, which is drawn from now on.
    fn of(&mut self, key: Key) -> &mut Line {
        let line = self.lines.entry(key).or_default();
        line.shown = true;
        line
    }

    /// Draws all lines, each cut to the terminal's width.
    fn draw(&self) {
        let Some(screen) = &self.screen else { return };
        let width = Layout::of_terminal(false).width;
        let rows: Vec<String> = self
            .lines
            .iter()
            .filter(|(_, line)| line.shown)
            .map(|(key, line)| {
                let row = line.row(key);
                printable(&row)
                    .chars()
                    .take(width.saturating_sub(1))
                    .collect()
            })
            .collect();
        screen.set_message(rows.join("\n"));
    }

    fn stage_begins(&mut self, stage: &StageName, what: &str) {
        let many = self.kinds.get(&stage.kind).is_some_and(|kind| kind.all > 2);
        if !many {
            self.line(&format!("burn-in, {stage}: {what}"));
        }
        let line = self.lines.entry(key(stage)).or_default();
        line.stage = stage.kind.name().to_owned();
        line.done = 0.0;
        line.doing = String::new();
        line.values.clear();
        self.draw();
    }

    fn sampled(&mut self, stage: &StageName, sample: &Sample) {
        let key = match &sample.on {
            Some(Resource::Gpu { index }) => Key::Gpu(*index),
            Some(_) | None => key(stage),
        };
        let line = self.of(key);
        line.values
            .insert(sample.name.clone(), (sample.value, sample.unit.clone()));
        self.draw();
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
        match key(&result.name) {
            own @ Key::Stage(_) => {
                self.lines.remove(&own);
            }
            gpu @ Key::Gpu(_) => {
                if let Some(line) = self.lines.get_mut(&gpu) {
                    line.done = 100.0;
                    line.doing = text::outcome(result.outcome).to_owned();
                }
            }
        }
        self.draw();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_becomes_a_bar() {
        let row = |done| {
            let line = Line {
                done,
                ..Line::default()
            };
            line.row(&Key::Gpu(3))
        };
        assert!(row(0.0).starts_with("gpu3             [>                   ]   0 %"));
        assert!(row(50.0).contains("[==========>         ]  50 %"));
        assert!(row(100.0).contains("[====================] 100 %"));
        assert!(row(1e9).contains("[====================]"));
    }

    #[test]
    fn stages_of_a_gpu_share_its_line_and_values_are_in_order() {
        let memory = StageName::on(StageKind::GpuMemory, "gpu3");
        let compute = StageName::on(StageKind::GpuCompute, "gpu3");
        assert_eq!(key(&memory), key(&compute));
        let drive = key(&StageName::on(StageKind::Nvme, "nvme0"));
        assert_eq!(drive.to_string(), "nvme/nvme0");
        assert!(drive < Key::Gpu(0) && Key::Gpu(2) < Key::Gpu(10));
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
