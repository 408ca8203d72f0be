//! Keeps values over time: one point a second, fewer in a run of many hours.
//!
//! # Invariants
//! - A point is the mean of what was heard in its interval; an interval without a value has none.
//! - Memory is bounded: when a series is full, neighbouring points become one.

use std::time::Duration;

use cupel_model::units::Seconds;

use crate::plan::seconds;
use crate::result::Series;
use crate::stage::Sample;

/// Most points of a series: four hours of seconds.
const MOST: usize = 4 * 3600;

#[derive(Debug)]
struct Track {
    series: Series,
    interval: Duration,
    /// Interval that is being filled, sum, count.
    open: Option<(u64, f64, f64)>,
}

/// All series of one stage.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    tracks: Vec<Track>,
}

impl Track {
    fn number(&self, at: Duration) -> u64 {
        u64::try_from(at.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    fn close(&mut self) {
        if let Some((number, sum, count)) = self.open.take() {
            let begins = self.interval.as_secs_f64() * number as f64;
            let mean = sum / count;
            // Six significant digits are more than any sensor has.
            self.series.points.push([begins, rounded(mean)]);
        }
        if self.series.points.len() >= MOST {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.interval *= 2;
        let width = self.interval.as_secs_f64();
        let mut halved: Vec<[f64; 2]> = Vec::with_capacity(self.series.points.len() / 2 + 1);
        let mut counts: Vec<f64> = Vec::new();
        for [at, value] in &self.series.points {
            let begins = (at / width).floor() * width;
            match (halved.last_mut(), counts.last_mut()) {
                (Some([last, mean]), Some(count)) if *last == begins => {
                    *mean = (*mean * *count + value) / (*count + 1.0);
                    *count += 1.0;
                }
                _ => {
                    halved.push([begins, *value]);
                    counts.push(1.0);
                }
            }
        }
        self.series.points = halved;
        self.series.interval_seconds = seconds(self.interval);
    }
}

fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powf(5.0 - value.abs().log10().floor());
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

impl Recorder {
    /// A value at a moment since the run began.
    pub(crate) fn add(&mut self, at: Duration, sample: &Sample) {
        let known = self.tracks.iter().position(|track| {
            track.series.name == sample.name
                && track.series.on == sample.on
                && track.series.unit == sample.unit
        });
        let place = known.unwrap_or_else(|| {
            self.tracks.push(Track {
                series: Series {
                    name: sample.name.clone(),
                    on: sample.on.clone(),
                    unit: sample.unit.clone(),
                    interval_seconds: one_second(),
                    points: Vec::new(),
                },
                interval: Duration::from_secs(1),
                open: None,
            });
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[place];
        let number = track.number(at);
        match &mut track.open {
            Some((open, sum, count)) if *open == number => {
                *sum += sample.value;
                *count += 1.0;
            }
            Some(_) | None => {
                track.close();
                let number = track.number(at);
                track.open = Some((number, sample.value, 1.0));
            }
        }
    }

    /// What was kept.
    pub(crate) fn series(self) -> Vec<Series> {
        self.tracks
            .into_iter()
            .map(|mut track| {
                track.close();
                track.series
            })
            .collect()
    }
}

fn one_second() -> Seconds {
    seconds(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: f64) -> Sample {
        Sample {
            name: "power".to_owned(),
            on: None,
            value,
            unit: "W".to_owned(),
        }
    }

    #[test]
    fn a_point_a_second_is_the_mean_of_the_second() {
        let mut recorder = Recorder::default();
        for (at, value) in [(100, 1.0), (900, 3.0), (1000, 5.0), (3500, 7.0)] {
            recorder.add(Duration::from_millis(at), &sample(value));
        }
        let series = recorder.series();
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].points, [[0.0, 2.0], [1.0, 5.0], [3.0, 7.0]]);
        assert_eq!(series[0].interval_seconds.get(), 1.0);
    }

    #[test]
    fn many_hours_are_thinned_and_say_so() {
        let mut recorder = Recorder::default();
        let hours = 9 * 3600;
        for second in 0..hours {
            recorder.add(Duration::from_secs(second), &sample(second as f64));
        }
        let series = recorder.series().remove(0);
        assert!(series.points.len() < MOST, "{}", series.points.len());
        assert_eq!(series.interval_seconds.get(), 4.0);
        let first = series.points[0];
        assert_eq!(first, [0.0, 1.5]);
        assert!(series.points.windows(2).all(|two| two[0][0] < two[1][0]));
    }
}
