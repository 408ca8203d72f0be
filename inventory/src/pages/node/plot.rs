//! Temperature and power of each GPU over time: one small plot a GPU, all on the same scale, so that
//! the one that is not like the others is seen.
//!
//! # Invariants
//! - A time without a reading is a gap in the line, never a 0 and never bridged.
//! - The highest value of each stretch is drawn: what was hot for a moment stays visible.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupel_model::Timestamp;
use maud::{Markup, html};

use crate::pages::text::{age, clock, decimal, span, whole};
use crate::pages::topology::slot_of;
use crate::pages::view::Node;

/// Stretches that the time is cut into.
const STRETCHES: usize = 96;
/// Most GPUs with a plot.
const MOST_GPUS: usize = 16;

/// A part of a whole in thousandths.
pub(super) fn share(part: f64) -> u32 {
    u32::try_from(whole((part.clamp(0.0, 1.0) * 1000.0).round())).unwrap_or(0)
}

/// What one stretch of time knows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stretch {
    /// Nothing was told in it.
    #[default]
    Nothing,
    /// It was told that the value could not be read.
    Unread,
    /// The highest value in it.
    Highest(f64),
}

impl Stretch {
    fn take(&mut self, value: Option<f64>) {
        *self = match (*self, value) {
            (Self::Highest(old), Some(new)) => Self::Highest(old.max(new)),
            (Self::Highest(old), None) => Self::Highest(old),
            (Self::Nothing | Self::Unread, Some(new)) => Self::Highest(new),
            (Self::Nothing | Self::Unread, None) => Self::Unread,
        };
    }

    fn value(self) -> Option<f64> {
        match self {
            Self::Highest(value) => Some(value),
            Self::Nothing | Self::Unread => None,
        }
    }
}

/// One quantity of one GPU.
#[derive(Clone, Debug)]
struct Series {
    stretches: Vec<Stretch>,
    /// What the newest sample told.
    last: Option<f64>,
    lowest: Option<f64>,
    highest: Option<f64>,
}

impl Series {
    fn new() -> Self {
        Self {
            stretches: vec![Stretch::Nothing; STRETCHES],
            last: None,
            lowest: None,
            highest: None,
        }
    }

    fn take(&mut self, at: usize, value: Option<f64>) {
        if let Some(stretch) = self.stretches.get_mut(at) {
            stretch.take(value);
        }
        self.last = value;
        if let Some(value) = value {
            self.lowest = Some(self.lowest.map_or(value, |old| old.min(value)));
            self.highest = Some(self.highest.map_or(value, |old| old.max(value)));
        }
    }
}

/// A quantity of all GPUs, on one scale.
struct Panel {
    unit: &'static str,
    decimals: usize,
    /// By GPU index.
    series: BTreeMap<u32, Series>,
    low: f64,
    high: f64,
    /// Limits to be drawn, by GPU index.
    limits: BTreeMap<u32, f64>,
    /// Most empty stretches that a line passes over: samples may come less often than stretches.
    reach: usize,
}

impl Panel {
    /// Fixes the scale: from `low` in whole `step`s to what is highest.
    fn scale(&mut self, low: Option<f64>, step: f64) {
        if !self.is_read() {
            return;
        }
        let lowest = self.series.values().filter_map(|series| series.lowest);
        let lowest = low.unwrap_or_else(|| lowest.fold(f64::MAX, f64::min));
        let highest = self.series.values().filter_map(|series| series.highest);
        let highest = highest.fold(f64::MIN, f64::max);
        self.low = (lowest / step).floor() * step;
        self.high = ((highest / step).ceil() * step).max(self.low + 2.0 * step);
        let near = self.high + 3.0 * step;
        let limit = self.limits.values().copied().filter(|limit| *limit <= near);
        self.high = limit.fold(self.high, f64::max);
    }

    /// Whether anything was ever read.
    fn is_read(&self) -> bool {
        self.series.values().any(|series| series.highest.is_some())
    }

    fn y(&self, value: f64) -> u32 {
        100 - share((value - self.low) / (self.high - self.low)) / 10
    }

    /// A path through the stretches, broken where nothing could be read.
    fn path(&self, values: &[Stretch]) -> String {
        let mut path = String::new();
        let mut before: Option<usize> = None;
        for (at, stretch) in values.iter().enumerate() {
            match stretch {
                Stretch::Nothing => {}
                Stretch::Unread => before = None,
                Stretch::Highest(value) => {
                    let (x, y) = (at * 10 + 5, self.y(*value));
                    let joined = before.is_some_and(|before| at - before <= self.reach);
                    // A lone point is a line of its own length.
                    let _ = match joined {
                        true => write!(path, "L{x} {y}"),
                        false => write!(path, "M{x} {y}h1"),
                    };
                    before = Some(at);
                }
            }
        }
        path
    }

    /// Middle of all GPUs in each stretch.
    fn middle(&self) -> Vec<Stretch> {
        (0..STRETCHES)
            .map(|at| {
                let stretches = self.series.values().map(|series| series.stretches[at]);
                let mut values: Vec<f64> = stretches.filter_map(Stretch::value).collect();
                values.sort_by(f64::total_cmp);
                values
                    .get(values.len() / 2)
                    .map_or(Stretch::Nothing, |value| Stretch::Highest(*value))
            })
            .collect()
    }

    fn plot(&self, gpu: u32, name: &str, first: bool) -> Markup {
        let series = self.series.get(&gpu);
        let limit = self.limits.get(&gpu).filter(|limit| **limit <= self.high);
        if !self.is_read() {
            return html! { span.nil { "no reading" } };
        }
        html! {
            div.plot {
                span { (decimal(self.high, 0)) } span { (decimal(self.low, 0)) }
                svg viewBox="0 0 960 100" preserveAspectRatio="none" aria-hidden="true" {
                    @if self.series.len() > 2 {
                        @if first { path.mid id=(name) d=(self.path(&self.middle())) {} }
                        @else { use.mid href={ "#" (name) } {} }
                    }
                    @if let Some(limit) = limit { path.limit d=(format!("M0 {}h960", self.y(*limit))) {} }
                    @if let Some(series) = series { path.line d=(self.path(&series.stretches)) {} }
                }
            }
        }
    }

    fn numbers(&self, gpu: u32) -> Markup {
        let text = |value: f64| decimal(value, self.decimals);
        html! {
            @match self.series.get(&gpu) {
                Some(Series { last: Some(last), lowest: Some(low), highest: Some(high), .. }) => {
                    b { (text(*last)) " " (self.unit) }
                    span.soft { (text(*low)) "–" (text(*high)) }
                }
                Some(Series { lowest: Some(low), highest: Some(high), .. }) => {
                    b.nil { "unreadable" } span.soft { (text(*low)) "–" (text(*high)) }
                }
                Some(_) | None => b.nil { "never read" },
            }
        }
    }
}

/// When the drawn time begins and ends.
pub(super) fn time_axis(from: Timestamp, now: Timestamp) -> Markup {
    let begin = clock(from);
    let end = clock(now);
    let minute = |text: &str| text[..text.len().saturating_sub(3)].to_owned();
    html! {
        div.axis {
            span { (minute(&begin)) " (" (age(now, from)) ")" }
            span { (minute(&end)) " UTC" }
        }
    }
}

/// In which stretch a moment lies.
fn stretch(from: Timestamp, now: Timestamp, at: Timestamp) -> Option<usize> {
    let part = at.seconds_since(from) / now.seconds_since(from);
    if !(0.0..=1.0).contains(&part) {
        return None;
    }
    let thousandths = usize::try_from(share(part)).ok()?;
    Some((thousandths * STRETCHES / 1000).min(STRETCHES - 1))
}

/// How many stretches lie between two samples that follow each other.
fn reach(node: &Node) -> usize {
    let mut between: Vec<f64> = node
        .vitals
        .windows(2)
        .map(|pair| pair[1].at.seconds_since(pair[0].at))
        .collect();
    between.sort_by(f64::total_cmp);
    let usual = between.get(between.len() / 2).copied().unwrap_or(0.0);
    let shown = node.context.now.seconds_since(node.history_from).max(1.0);
    let thousandths = usize::try_from(share(usual * 3.0 / shown)).unwrap_or(0);
    (thousandths * STRETCHES / 1000 + 1).max(2)
}

fn panels(node: &Node) -> (Panel, Panel) {
    let (from, now) = (node.history_from, node.context.now);
    let panel = |unit, decimals| Panel {
        unit,
        decimals,
        series: BTreeMap::new(),
        low: 0.0,
        high: 1.0,
        limits: BTreeMap::new(),
        reach: reach(node),
    };
    let (mut heat, mut power) = (panel("°C", 0), panel("W", 0));
    for sample in &node.vitals {
        let Some(at) = stretch(from, now, sample.at) else {
            continue;
        };
        for gpu in &sample.gpus {
            let both = [
                (&mut heat, gpu.temperature_celsius.map(|value| value.get())),
                (&mut power, gpu.power_watts.map(|value| value.get())),
            ];
            for (panel, value) in both {
                panel
                    .series
                    .entry(gpu.index)
                    .or_insert_with(Series::new)
                    .take(at, value);
            }
        }
    }
    for gpu in node.snapshot.iter().flat_map(|snapshot| &snapshot.gpus) {
        let Some(index) = gpu.index.get() else {
            continue;
        };
        if let Some(limit) = gpu.thermal.slowdown_celsius.get() {
            heat.limits.insert(index, limit.get());
        }
        if let Some(limit) = gpu.thermal.power_limit_watts.get() {
            power.limits.insert(index, limit.get());
        }
    }
    heat.scale(None, 10.0);
    power.scale(Some(0.0), 100.0);
    (heat, power)
}

fn slot(node: &Node, index: u32) -> Option<String> {
    let snapshot = node.snapshot.as_deref()?;
    let mut gpus = snapshot.gpus.iter();
    let gpu = gpus.find(|gpu| gpu.index.get() == Some(index))?;
    slot_of(snapshot, gpu)
}

/// One row a GPU: temperature and power.
pub(super) fn vitals(node: &Node) -> Markup {
    let (heat, power) = panels(node);
    let gpus: Vec<u32> = heat.series.keys().copied().collect();
    let shown = node.context.now.seconds_since(node.history_from).max(0.0);
    html! {
        @if gpus.is_empty() { p.nil { "No temperature or power of a GPU was told in this time." } } @else {
            table.vitals {
                caption {
                    "GPUs: highest value in each " (span(shown / 96.0))
                    ". " span.key.line { "this GPU" }
                    @if gpus.len() > 2 { ", " span.key.mid { "middle of all GPUs" } }
                    ", " span.key.limit { "limit" } "."
                }
                thead { tr {
                    th scope="col" { "GPU" }
                    th scope="col" colspan="2" { "Temperature, °C" }
                    th scope="col" colspan="2" { "Power, W" }
                } }
                tbody { @for (at, gpu) in gpus.iter().take(MOST_GPUS).enumerate() { tr {
                    th scope="row" { (gpu) @if let Some(slot) = slot(node, *gpu) { span.soft { " " (slot) } } }
                    td { (heat.plot(*gpu, "mid-heat", at == 0)) }
                    td.num { (heat.numbers(*gpu)) }
                    td { (power.plot(*gpu, "mid-power", at == 0)) }
                    td.num { (power.numbers(*gpu)) }
                } } }
                tfoot { tr {
                    td {}
                    td { (time_axis(node.history_from, node.context.now)) } td {}
                    td { (time_axis(node.history_from, node.context.now)) } td {}
                } }
            }
            @if gpus.len() > MOST_GPUS { p.soft { "And " (gpus.len() - MOST_GPUS) " more GPUs." } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(values: &[Option<f64>]) -> Panel {
        let mut series = Series::new();
        for (at, value) in values.iter().enumerate() {
            series.take(at, *value);
        }
        let mut panel = Panel {
            unit: "°C",
            decimals: 0,
            series: BTreeMap::from([(0, series)]),
            low: 0.0,
            high: 1.0,
            limits: BTreeMap::new(),
            reach: 2,
        };
        panel.scale(None, 10.0);
        panel
    }

    #[test]
    fn shares_are_thousandths() {
        assert_eq!(share(0.0), 0);
        assert_eq!(share(0.5), 500);
        assert_eq!(share(2.0), 1000);
        assert_eq!(share(f64::NAN), 0);
    }

    #[test]
    fn a_gap_is_not_bridged() {
        let panel = panel(&[Some(30.0), Some(50.0), None, Some(40.0)]);
        assert_eq!((panel.low, panel.high), (30.0, 50.0));
        let path = panel.path(&panel.series[&0].stretches);
        assert_eq!(path, "M5 100h1L15 0M35 50h1");
    }

    #[test]
    fn what_was_never_read_is_said() {
        let panel = panel(&[None, None]);
        assert!(panel.numbers(0).into_string().contains("never read"));
        assert!(panel.numbers(1).into_string().contains("never read"));
        let lost = self::panel(&[Some(30.0), None]);
        assert!(lost.numbers(0).into_string().contains("unreadable"));
    }
}
