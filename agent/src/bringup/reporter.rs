//! Live progress on standard error: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use cupel_burnin::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text;
use crate::output::{note, printable, stderr_is_terminal};

/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Steps of a whole bar.
const WHOLE: u64 = 1000;

/// Tells a person what goes on.
#[derive(Debug)]
pub struct Reporter {
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Default for Reporter {
    fn default() -> Self {
        Self {
            bar: stderr_is_terminal().then(|| {
                let bar = ProgressBar::with_draw_target(Some(WHOLE), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template(
                    "{spinner} {prefix:<7} [{bar:30}] {percent:>3} %  {elapsed}  {wide_msg}",
                ) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar
            }),
            last: Instant::now(),
        }
    }
}

impl Reporter {
    /// A line that stays.
    pub fn line(&self, line: &str) {
        let line = printable(line);
        match &self.bar {
            Some(bar) => bar.suspend(|| note(&line)),
            None => note(&line),
        }
    }

    /// Something happened in a burn-in.
    pub fn burn_in(&mut self, event: &Progress) {
        match event {
            Progress::Started { .. } => {}
            Progress::Sampled { .. } => {}
            Progress::GivenUp { stage, why } => {
                self.line(&format!("burn-in, {stage}: GIVEN UP: {why}"));
            }
            Progress::StageStarted { stage, what } => {
                self.line(&format!("burn-in, {stage}: {what}"));
                self.last = Instant::now();
                if let Some(bar) = &self.bar {
                    bar.reset();
                    bar.set_prefix(stage.to_string());
                }
            }
            Progress::Advanced { stage, done, doing } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(position(done.get()));
                    bar.set_message(doing.clone());
                } else if self.last.elapsed() >= PLAIN_EVERY {
                    self.last = Instant::now();
                    note(&format!("burn-in, {stage}: {:.0} %, {doing}", done.get()));
                }
            }
            Progress::Mismatch { stage, mismatch } => {
                self.line(&format!("burn-in, {stage}: WRONG: {mismatch}"));
            }
            Progress::StageFinished(result) => self.line(&format!(
                "burn-in, {}: {}, {}",
                result.name,
                text::outcome(result.outcome),
                text::coverage(result)
            )),
            Progress::Finished { .. } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
        }
    }
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
}
